"""Ends the sessions of durable runs that take longer than the policy lets one take.

Where a plan reports no ACUs, time is what bounds a session. The minutes count from its create, by
the clock that all processes over the store share; waiting for a person counts, too. A session is
ended once: that it is going to be is recorded before the request, and what came of it, the event
that tells of it and the end of the waits for it are recorded together.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from sim_devin.calls.jobs.looking import end, single
from sim_devin.calls.jobs.verdict import Verdict, classify, ended_for_time, is_over
from sim_devin.calls.jobs.wait import Outcome
from sim_devin.errors import Cancelled, SimDevinError, StoreError
from sim_devin.runs.looks import Caller, LookTask, UnderWay
from sim_devin.runs.places import credentials_here
from sim_devin.specs.jobs import JobSpec
from sim_devin.store.records import OVERTIME, EventRecord, SessionRecord, Wait
from sim_devin.store.sealing import Seals
from sim_devin.store.sql_store import SqlStore
from sim_devin.toolbox import Toolbox

log = logging.getLogger("sim_devin")

AT_ONCE = 20  # sessions that are ended in one go
AGAIN = 30.0  # seconds until it is tried again after a failure


class Overtime:
    """Ends sessions that are over their time.

    Args:
        app: makes the calls; its policy says how long a session may take.
        store: where the sessions are.
        seals: put their credentials back in place.
    """

    def __init__(self, app: Toolbox, store: SqlStore, seals: Seals) -> None:
        self._app = app
        self._store = store
        self._seals = seals

    def tasks(self) -> Iterator[LookTask]:
        """Yield a task for each organization with sessions whose time is over.

        An organization that another process looks after is left to it, and so are sessions whose
        key is not known here. What fails is tried again at a later look.
        """
        minutes = self._app.policy.minutes_per_session
        if minutes is None:
            return
        now = self._store.now(self._app.clock)
        overdue = self._store.sessions_overdue(now - 60 * minutes, now, limit=AT_ONCE)
        by_place: dict[str, list[SessionRecord]] = {}
        for ours in overdue:
            by_place.setdefault(ours.place, []).append(ours)
        for place, sessions in by_place.items():
            name = f"overtime {place}"
            yield LookTask(name, partial(self._end_all, place, sessions, minutes), turn=name)

    def _end_all(
        self, place: str, sessions: list[SessionRecord], minutes: float, under_way: UnderWay
    ) -> int:
        now, calls = self._store.now(self._app.clock), 0
        for ours in sessions:
            try:
                seal, job = self._seals(ours.run_id), self._app.registry.job(ours.job)
                known = credentials_here(self._app, job, seal, place, ours.credentials)
            except SimDevinError:
                continue
            if known is None or job.end is None:
                continue
            call = Caller(self._app, known, under_way)
            try:
                self._end(ours, job, call, minutes)
            except (Cancelled, StoreError):
                raise
            except SimDevinError as error:
                log.warning("could not end %s: %s", ours.session_id, type(error).__name__)
                self._store.change_session(ours, overtime_look=now + AGAIN)
            calls += call.calls
        return calls

    def _end(self, ours: SessionRecord, job: JobSpec, call: Caller, minutes: float) -> None:
        job_id = str(ours.session_id)
        (ours,) = [
            one
            for one in self._store.sessions_named(job, job_id)
            if (one.run_id, one.step) == (ours.run_id, ours.step)
        ] or [ours]  # as it is by now: another process may have had its turn meanwhile
        if ours.overtime not in (None, "ending"):
            return
        session = single(job, job_id, call)
        if session is None:
            self._store.change_session(ours, overtime="over")
            return
        if not is_over(classify(job, session)):
            self._store.change_session(ours, overtime="ending")
            session = end(job, job_id, session, call)
        elif ours.overtime != "ending":  # else this, or another process, did it before it died
            self._store.change_session(ours, overtime="over")
            return
        self._tell(ours, job, session, minutes)

    def _tell(
        self, ours: SessionRecord, job: JobSpec, session: Mapping[str, Any], minutes: float
    ) -> None:
        verdict, now = ended_for_time(minutes), self._app.clock.time()
        told = f"the {job.noun} {ours.session_id} was ended: {verdict.reason}"
        data = {"sessionId": ours.session_id, "minutes": minutes, "message": told}
        with self._store.database.write():
            self._store.change_session(ours, overtime="ended", working=0)
            self._store.add_event(EventRecord(ours.run_id, now, OVERTIME, data))
            for wait in self._store.waits(ours.run_id, only_open=True):
                same = is_about(wait, job, str(ours.session_id))
                if same and wait.kind in ("session", "question"):
                    output = output_of(wait, job, session, verdict, now)
                    self._store.finish_wait(wait, now, output)
        log.warning("%s", told, extra={"session": ours.session_id})


def is_about(wait: Wait, job: JobSpec, job_id: str) -> bool:
    """Return whether a wait is for a job."""
    return wait.job in (None, job.id) and job.same(wait.about.get("sessionId"), job_id)


def output_of(
    wait: Wait,
    job: JobSpec,
    session: Mapping[str, Any],
    verdict: Verdict,
    now: float,
    *,
    timed_out: bool = False,
) -> dict[str, Any]:
    """Return the output of a wait for a job that ends with a verdict."""
    return Outcome(
        session_id=wait.about["sessionId"],
        state=verdict.state,
        reason=verdict.reason,
        scope=verdict.scope,
        session=session,
        waited=now - wait.created,
        timed_out=timed_out,
    ).to_output(job)


def as_ended(
    store: SqlStore, job: JobSpec, job_id: str, verdict: Verdict, minutes: float | None
) -> Verdict:
    """Return the verdict of a job, saying so if it was ended for its time."""
    if minutes is None or not is_over(verdict):
        return verdict
    ours = store.sessions_named(job, job_id)
    ended = any(one.overtime in ("ending", "ended") for one in ours)
    return ended_for_time(minutes) if ended else verdict
