"""What becomes of the sessions of durable runs: their slots, and what they used of their share.

A session holds a slot of its organization from its create until it is seen not to work any
more. Its share of a ceiling is settled to what it used once it has been over for a while,
since the service counts late. Runs that wait for a session see most of that; sessions that no
run waits for are looked at seldom, in list calls of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from sim_devin.calls.jobs.looking import listed, single
from sim_devin.calls.jobs.verdict import classify, is_over
from sim_devin.calls.jobs.wait import MISSING_FOR
from sim_devin.errors import Cancelled, RateLimited, SimDevinError, StoreError
from sim_devin.runs.looks import Caller, LookTask, UnderWay, by_kind
from sim_devin.runs.places import credentials_here
from sim_devin.specs.jobs import JobSpec
from sim_devin.store.records import SessionRecord
from sim_devin.store.sealing import Seals
from sim_devin.store.session_rows import LONGEST
from sim_devin.store.sql_store import SqlStore
from sim_devin.toolbox import Toolbox

log = logging.getLogger("sim_devin")

SELDOM = 60.0  # seconds between two looks at a session that no run waits for
RARELY = 600.0  # the same for one that sleeps, or waits for a person
COUNTED_AFTER = 300.0  # seconds after its end by which the service has counted what it used
BRIEF = 60.0  # seconds in which a session can have used nothing
AT_ONCE = 150  # sessions that are looked at together at most


def note(store: SqlStore, job: JobSpec, session: Mapping[str, Any], now: float) -> None:
    """Record what a look at a job says of its slot and its share; others are ignored.

    Args:
        store: where the jobs of durable runs are.
        job: the kind of job.
        session: the job, as its tools give it.
        now: the moment of the look.
    """
    job_id = job.id_of(session)
    if job_id is None or not job.is_seen(session):
        return
    if not store.sessions_named(job, job_id):
        return
    with store.database.write():
        for ours in store.sessions_named(job, job_id):
            _note(store, job, ours, session, now)


def _note(
    store: SqlStore, job: JobSpec, ours: SessionRecord, session: Mapping[str, Any], now: float
) -> None:
    verdict = classify(job, session)
    working = verdict.state == "in_flight"
    blocked = job.meaning(session)[0] == "blocked_on_user"  # may continue, result or not
    over = is_over(verdict) and not blocked
    over_since = None if not over else now if ours.over_since is None else ours.over_since
    has_share = store.has_share(ours)
    next_look: float | None = None
    if over_since is not None:
        used = job.cost_of(session)
        if has_share and used is not None:
            if now < over_since + COUNTED_AFTER:
                next_look = over_since + COUNTED_AFTER
            elif used > 0 or over_since - ours.since < BRIEF:
                # On plans billed by quota 0 is said of every session: it says nothing of one that
                # had the time to use something.
                store.settle_share(ours, float(used))
    else:
        if working and (has_share or ours.next_look is not None):
            next_look = now + SELDOM
        elif has_share:
            next_look = now + RARELY
        if ours.over_since is not None:
            store.settle_share(ours, None)
    if now - ours.since > LONGEST:
        next_look = None
    store.change_session(ours, working=int(working), over_since=over_since, next_look=next_look)


class SessionWatch:
    """Looks at the sessions of durable runs that no run looks after.

    Args:
        app: makes the calls.
        store: where the sessions are.
        seals: put their credentials back in place.
    """

    def __init__(self, app: Toolbox, store: SqlStore, seals: Seals) -> None:
        self._app = app
        self._store = store
        self._seals = seals
        self._slots = app.settings.max_sessions is not None

    def tasks(self) -> Iterator[LookTask]:
        """Yield a task for each organization with sessions that are due.

        Sessions whose key is not known here, and an organization that another process looks
        after, are left to others.
        """
        now = self._app.clock.time()
        self._store.leave_to_waits(now)
        for place, credentials, own, run, kind in self._store.session_groups(
            now, slots=self._slots
        ):
            try:
                job = self._app.registry.job(kind)
                known = credentials_here(self._app, job, self._seals(run), place, credentials)
            except SimDevinError:
                continue
            if known is not None:
                name = f"watch {place} {credentials or ''} {own or ''}"
                act = partial(self._look_at, place, credentials, own, known)
                yield LookTask(name, act, turn=f"sessions {place}")

    def _look_at(
        self,
        place: str,
        credentials: str | None,
        run_id: str | None,
        known: Mapping[str, str],
        under_way: UnderWay,
    ) -> int:
        now = self._app.clock.time()
        call = Caller(self._app, known, under_way)
        while True:
            batch = self._store.sessions_due(
                place, credentials, now, slots=self._slots, limit=AT_ONCE, run_id=run_id
            )
            if not batch:
                return call.calls
            self._later(batch, SELDOM)
            try:
                for job, ours in by_kind(self._app, batch):
                    self._see(job, ours, call)
            except (Cancelled, StoreError):
                raise
            except SimDevinError as error:
                log.debug("could not poll %d sessions: %s", len(batch), type(error).__name__)
                if isinstance(error, RateLimited):
                    self._later(batch, max(SELDOM, error.retry_after or 0.0))
                return call.calls

    def _see(self, job: JobSpec, batch: list[SessionRecord], call: Caller) -> None:
        shown = listed(job, (str(ours.session_id) for ours in batch), call)
        for ours in batch:
            job_id = str(ours.session_id)
            found = shown.get(job.bare(job_id)) or single(job, job_id, call)
            if found is None:
                self._missing(ours)
            else:
                note(self._store, job, found, self._app.clock.time())

    def _missing(self, ours: SessionRecord) -> None:
        if self._app.clock.time() - ours.since >= MISSING_FOR:
            self._store.change_session(ours, working=0, next_look=None)

    def _later(self, batch: list[SessionRecord], pause: float) -> None:
        with self._store.database.write():
            for ours in batch:
                self._store.change_session(ours, next_look=self._app.clock.time() + pause)
