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

from sim_devin.devin.verdict import bare, classify
from sim_devin.devin.wait import BATCH, MISSING_FOR
from sim_devin.errors import Cancelled, RateLimited, SimDevinError, StoreError
from sim_devin.runs.looks import Caller, Task, UnderWay
from sim_devin.runs.places import credentials_here
from sim_devin.store.records import Session
from sim_devin.store.sealing import Seals
from sim_devin.store.session_rows import LONGEST
from sim_devin.store.sql_store import SqlStore
from sim_devin.toolbox import Toolbox

log = logging.getLogger("sim_devin")

SELDOM = 60.0  # seconds between two looks at a session that no run waits for
RARELY = 600.0  # the same for one that sleeps, or waits for a person
COUNTED_AFTER = 300.0  # seconds after its end by which the service has counted what it used
BRIEF = 60.0  # seconds in which a session can have used nothing


def note(store: SqlStore, session: Mapping[str, Any], now: float) -> None:
    """Record what a look at a session says of its slot and its share; others are ignored.

    Args:
        store: where the sessions of durable runs are.
        session: the session, as `devin_get_session` or a list gives it.
        now: the moment of the look.
    """
    session_id = session.get("sessionId")
    if not isinstance(session_id, str) or not session.get("status"):
        return
    if not store.sessions_named(session_id):
        return
    with store.database.write():
        for ours in store.sessions_named(session_id):
            _note(store, ours, session, now)


def _note(store: SqlStore, ours: Session, session: Mapping[str, Any], now: float) -> None:
    verdict = classify(session)
    working = verdict.state == "in_flight"
    blocked = session.get("statusDetail") == "waiting_for_user"  # may go on, result or not
    over = verdict.state in ("done", "failed", "ended") and not blocked
    over_since = None if not over else now if ours.over_since is None else ours.over_since
    has_share = store.has_share(ours)
    next_look: float | None = None
    if over_since is not None:
        used = session.get("acusConsumed")
        if has_share and isinstance(used, (int, float)):
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

    def tasks(self) -> Iterator[Task]:
        """Yield a task for each organization with sessions that are due.

        Sessions whose key is not known here, and an organization that another process looks
        after, are left to others.
        """
        now = self._app.clock.time()
        self._store.leave_to_waits(now)
        for place, credentials, own, run in self._store.session_groups(now, slots=self._slots):
            try:
                known = credentials_here(self._app, self._seals(run), place, credentials)
            except SimDevinError:
                continue
            if known is not None:
                name = f"watch {place} {credentials or ''} {own or ''}"
                act = partial(self._look_at, place, credentials, own, known)
                yield Task(name, act, turn=f"sessions {place}")

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
                place, credentials, now, slots=self._slots, limit=BATCH, run_id=run_id
            )
            if not batch:
                return call.calls
            self._later(batch, SELDOM)
            try:
                listed = call.listed(str(ours.session_id) for ours in batch)
                for ours in batch:
                    session_id = str(ours.session_id)
                    found = listed.get(bare(session_id)) or call.single(session_id)
                    if found is None:
                        self._missing(ours)
                    else:
                        note(self._store, found, self._app.clock.time())
            except (Cancelled, StoreError):
                raise
            except SimDevinError as error:
                log.debug("could not look at %d sessions: %s", len(batch), type(error).__name__)
                if isinstance(error, RateLimited):
                    self._later(batch, max(SELDOM, error.retry_after or 0.0))
                return call.calls

    def _missing(self, ours: Session) -> None:
        if self._app.clock.time() - ours.since >= MISSING_FOR:
            self._store.change_session(ours, working=0, next_look=None)

    def _later(self, batch: list[Session], pause: float) -> None:
        with self._store.database.write():
            for ours in batch:
                self._store.change_session(ours, next_look=self._app.clock.time() + pause)
