"""Sessions of durable runs that turn out one too many: looked for, ended, and reported.

A create that was given up, or that went out more than once, may still become a further
session, hours later and long after its run has ended.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import partial

from sim_devin.calls.intents import Intent
from sim_devin.calls.invoke import Context
from sim_devin.calls.jobs.doubles import STRAYS_FOR, end_doubles_of
from sim_devin.errors import SimDevinError, StoreError
from sim_devin.runs.looks import Caller, LookTask, UnderWay
from sim_devin.runs.places import credentials_here
from sim_devin.specs.jobs import JobSpec
from sim_devin.store.sealing import Seals
from sim_devin.store.sql_store import SqlStore
from sim_devin.store.step_ledger import StepLedger, watched_intents
from sim_devin.toolbox import Toolbox

log = logging.getLogger("sim_devin")

FIRST_PAUSE = 60.0  # seconds between two looks for one create; each pause is twice the last
LONGEST_PAUSE = 1800.0


class DoublesWatch:
    """Looks for doubles of the creates of durable runs, for a day after each.

    Several processes may: what is found is ended once, and ending it twice does no harm.

    Args:
        app: makes the calls.
        store: where the creates are recorded.
        seals: put their credentials back in place.
    """

    def __init__(self, app: Toolbox, store: SqlStore, seals: Seals) -> None:
        self._app = app
        self._store = store
        self._seals = seals
        self._next: dict[str, tuple[float, float]] = {}  # tag -> when to look, pause after that

    def tasks(self, run_id: str | None = None) -> Iterator[LookTask]:
        """Yield a task for each create that is due for a look, of one run or of all.

        Creates whose key is not known here are left to other processes.
        """
        clock = self._app.clock
        now = clock.monotonic()
        creates = self._app.registry.creates
        watched = watched_intents(self._store, creates, clock.time() - STRAYS_FOR, run_id)
        if run_id is None:
            tags = {intent.tag for _, _, intent in watched}
            self._next = {tag: when for tag, when in self._next.items() if tag in tags}
        for of_run, step, intent in watched:
            due, pause = self._next.get(intent.tag, (now, FIRST_PAUSE))
            if due <= now:
                self._next[intent.tag] = now + pause, min(LONGEST_PAUSE, 2 * pause)
                act = partial(self._look, of_run, step, intent)
                yield LookTask(f"doubles {intent.tag}", act, run_id=run_id)

    def look(self, run_id: str) -> None:
        """Look for those of one run that are due, and wait for it."""
        for task in self.tasks(run_id):
            task.act(UnderWay())

    def end_all(self) -> list[str]:
        """Look for those of every run, whether due or not; return the ids of what was ended."""
        since = self._app.clock.time() - STRAYS_FOR
        watched = watched_intents(self._store, self._app.registry.creates, since)
        return [found for place in watched for found in self._end(*place, UnderWay())]

    def _look(self, run_id: str, step: str, intent: Intent, under_way: UnderWay) -> int:
        return len(self._end(run_id, step, intent, under_way))

    def _end(self, run_id: str, step: str, intent: Intent, under_way: UnderWay) -> list[str]:
        try:
            job = self._app.registry.job_of(intent.tool)
            known = None if job is None else self._credentials(job, run_id, step)
            if job is None or known is None:
                return []
            run = self._store.run(run_id)
            ledger = StepLedger(self._store, run, step, self._app.clock, driven=False, job=job)
            call = Caller(self._app, known, under_way)
            context = Context(
                call=lambda tool_id, params, **_: call(tool_id, params),
                clock=self._app.clock,
                ledger=ledger,
            )
            return end_doubles_of(job, intent, context)
        except StoreError:
            raise
        except SimDevinError as error:
            log.debug("could not look for duplicates of %s: %s", intent.tag, type(error).__name__)
            return []

    def _credentials(self, job: JobSpec, run_id: str, step: str) -> Mapping[str, str] | None:
        session = self._store.session_of(run_id, step)
        if session is None:
            return {}
        seal = self._seals(run_id)
        return credentials_here(self._app, job, seal, session.place, session.credentials)
