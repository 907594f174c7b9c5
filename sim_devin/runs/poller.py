"""The poller: looks after every job that parked runs wait for, and wakes the runs.

Jobs of one organization, such as Devin sessions, are asked for in list calls of many. Each has
its own growing interval; a job the list leaves out is asked for alone. Each organization is looked
after by a thread of its own (`looks`), for no longer than it may take.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from sim_devin.calls.jobs.looking import listed, needs_full, single, unknown
from sim_devin.calls.jobs.turn import Turn, messages_of, question_of
from sim_devin.calls.jobs.verdict import BLOCKED, Verdict, classify, until_named
from sim_devin.calls.jobs.wait import (
    FIRST_PAUSE,
    GROWTH,
    LONGEST_PAUSE,
    MISSING_FOR,
    NOTHING_NEW,
)
from sim_devin.errors import (
    ApiError,
    Cancelled,
    RateLimited,
    SimDevinError,
    StoreError,
    TimedOut,
)
from sim_devin.runs.looks import HELD_PAUSE, MEND, Caller, LookTask, UnderWay, by_kind
from sim_devin.runs.overtime import as_ended, output_of
from sim_devin.runs.places import credentials_here
from sim_devin.runs.session_watch import note
from sim_devin.specs.jobs import JobSpec
from sim_devin.store.records import Wait
from sim_devin.store.sealing import Seals, names
from sim_devin.store.sql_store import SqlStore
from sim_devin.store.step_ledger import last_message
from sim_devin.toolbox import Toolbox

log = logging.getLogger("sim_devin")

TOGETHER = FIRST_PAUSE / 2  # seconds by which a look may come early to share a call
BATCH = 150  # waits that are read from the store together


class Poller:
    """Looks after the session waits in a store.

    Args:
        app: makes the calls.
        store: where the waits are.
        seals: put the credentials of a wait back in place.
    """

    def __init__(self, app: Toolbox, store: SqlStore, seals: Seals) -> None:
        self._app = app
        self._store = store
        self._seals = seals

    def tasks(self, run_id: str | None = None) -> Iterator[LookTask]:
        """Yield a task for each organization with sessions that are due, of one run or of all.

        An organization that another process looks after is left to it, and so are sessions
        whose key is not known here.

        Raises:
            MissingCredentials: the key for the sessions of `run_id` is not known here.
        """
        now = self._app.clock.time()
        for place, credentials, own, member, kind in self._store.groups(now, run_id):
            run = run_id or own
            try:
                job = self._app.registry.job(kind)
                known = credentials_here(self._app, job, self._seals(member), place, credentials)
            except SimDevinError:
                if run_id is not None:
                    raise
                continue
            if known is not None:
                yield LookTask(
                    f"poll {place} {credentials or ''} {run or ''}",
                    partial(self._look_at, place, credentials, known, run),
                    partial(self._time_out, place, credentials, run),
                    run_id,
                    turn=f"poll {place} {run or ''}",
                )

    def _look_at(
        self,
        place: str,
        credentials: str | None,
        known: Mapping[str, str],
        run_id: str | None,
        under_way: UnderWay,
    ) -> int:
        now = self._app.clock.time()
        call, after = Caller(self._app, known, under_way), 0
        look = _Look(self._app, self._store, call)
        while not look.given_up:
            batch = self._store.due_sessions(
                place, credentials, now + TOGETHER, after=after, limit=BATCH, run_id=run_id
            )
            if not batch:
                break
            after = batch[-1].id
            for job, waits in by_kind(self._app, batch):
                look.at(job, [self._opened(wait) for wait in waits])
        return call.calls

    def _time_out(self, place: str, credentials: str | None, run_id: str | None) -> None:
        """End the waits whose time is over although the look at them is still in progress."""
        now = self._app.clock.time()
        look = _Look(self._app, self._store, Caller(self._app, {}, UnderWay()))
        for wait in self._store.overdue_sessions(place, credentials, now, run_id=run_id):
            look.time_out(self._app.registry.job(wait.job), self._opened(wait), wait.seen or {})

    def _opened(self, wait: Wait) -> Wait:
        """Return a wait with its secrets back in place, as far as they are known here."""
        asked = {"about": wait.about, "seen": wait.seen}
        return (
            replace(wait, **self._seals(wait.run_id).open_known(asked))
            if any(names(asked))
            else wait
        )


class _Look:
    """One look at the sessions of one organization.

    Attributes:
        given_up: whether the service wants to be left alone, or has used up the time.
    """

    def __init__(self, app: Toolbox, store: SqlStore, call: Caller) -> None:
        self._app = app
        self._store = store
        self._call = call
        self.given_up = False

    def at(self, job: JobSpec, batch: list[Wait]) -> None:
        """Look at the jobs of a kind, as many as one list takes, and record what was seen."""
        try:
            ids = [wait.about["sessionId"] for wait in batch]
            shown = listed(job, ids, self._call) if len(batch) > 1 else {}
        except (Cancelled, StoreError):
            raise
        except SimDevinError as error:
            for wait in batch:
                self._not_seen(job, wait, error)
            return
        for wait in batch:
            try:
                job_id = wait.about["sessionId"]
                session = shown.get(job.bare(job_id)) or single(job, job_id, self._call)
                self._seen(job, wait, session)
            except (Cancelled, StoreError):
                raise
            except SimDevinError as error:
                self._not_seen(job, wait, error)

    def _seen(self, job: JobSpec, wait: Wait, session: Mapping[str, Any] | None) -> None:
        now = self._app.clock.time()
        before = wait.seen or {}
        if session is None:
            since = before.get("missingSince", now)
            if now - since >= MISSING_FOR:
                self._settle(job, wait, unknown(job), before.get("session", {}))
            else:
                self._later(job, wait, {**before, "missingSince": since}, FIRST_PAUSE)
            return
        self._go_on(wait)
        news = job.outlines(before.get("session", {})) != job.outlines(session)
        if not news:
            session = before["session"]  # a list entry; what is known may be more
        if needs_full(job, session):
            session = single(job, wait.about["sessionId"], self._call) or session
        if news:
            note(self._store, job, session, now)
        verdict = classify(job, session, schema=wait.about.get("schema"))
        turn = Turn(before.get("worked"), before.get("stopped"))
        if not verdict.settled:
            turn.at_work(job, session)
        asks = _asks(wait, verdict)
        stops = asks or until_named(wait.about["until"])(verdict)
        if stops and self._is_over(job, turn, wait, session):
            if not asks:
                self._settle(job, wait, verdict, session)
                return
            if self._ask(job, wait, verdict, session):
                return
        pause = FIRST_PAUSE if news else min(LONGEST_PAUSE, wait.pause * GROWTH)
        seen = {"session": dict(session), "worked": turn.worked, "stopped": turn.stopped}
        self._later(job, wait, seen, pause)

    def _is_over(self, job: JobSpec, turn: Turn, wait: Wait, session: Mapping[str, Any]) -> bool:
        """Return whether a state is of the turn that the last message began."""
        job_id, now = wait.about["sessionId"], self._app.clock.time()
        created, sent = last_message(self._store, wait.run_id, job, job_id)
        if created and sent is None:
            return True  # there is no turn before this one
        messages = partial(messages_of, job, job_id, self._call)
        return turn.is_over(job, session, messages, sent, now=now, time=now)

    def _not_seen(self, job: JobSpec, wait: Wait, error: SimDevinError) -> None:
        seen = {**(wait.seen or {}), "error": error.message}
        pause = min(LONGEST_PAUSE, wait.pause * GROWTH)
        if isinstance(error, RateLimited):
            pause = max(pause, error.retry_after or 0.0)
        elif not error.means.temporary:
            pause = HELD_PAUSE
        self.given_up |= isinstance(error, (RateLimited, TimedOut))
        log.debug("could not poll %s: %s", wait.about["sessionId"], type(error).__name__)
        held = error.means.access and isinstance(error, ApiError)
        if self._later(job, wait, {**seen, "held": held}, pause) and held:
            why = f"{wait.about['sessionId']} cannot be polled: {error} {MEND}"
            self._store.hold_run(wait.run_id, self._app.clock.time(), why)

    def _go_on(self, wait: Wait) -> None:
        """Let the run wait on if it was held for this wait."""
        if (wait.seen or {}).get("held"):
            self._store.unhold_run(wait.run_id)

    def _later(self, job: JobSpec, wait: Wait, seen: dict[str, Any], pause: float) -> bool:
        """Look again after a pause; False if the wait is over."""
        now = self._app.clock.time()
        if wait.due is not None and wait.due <= now:
            self.time_out(job, wait, seen)
            return False
        changes = {"seen": seen, "pause": pause, "next_look": now + pause}
        return self._store.change_wait(wait, "session", **changes)

    def time_out(self, job: JobSpec, wait: Wait, seen: Mapping[str, Any]) -> None:
        """End a wait whose time is over with what is known of its session."""
        self._go_on(wait)
        session = seen.get("session")
        if session is None:
            why = f" Last error: {seen['error']}" if seen.get("error") else ""
            text = f"{wait.about['sessionId']} could not be read before the deadline.{why}"
            self._store.finish_wait(wait, self._app.clock.time(), error=text)
            return
        verdict = classify(job, session, schema=wait.about.get("schema"))
        if _asks(wait, verdict) or until_named(wait.about["until"])(verdict):
            verdict = NOTHING_NEW  # and so it was not believed
        self._settle(job, wait, verdict, session, timed_out=True)

    def _settle(
        self,
        job: JobSpec,
        wait: Wait,
        verdict: Verdict,
        session: Mapping[str, Any],
        *,
        timed_out: bool = False,
    ) -> None:
        now = self._app.clock.time()
        minutes = self._app.policy.minutes_per_session
        verdict = as_ended(self._store, job, wait.about["sessionId"], verdict, minutes)
        output = output_of(wait, job, session, verdict, now, timed_out=timed_out)
        self._store.finish_wait(wait, now, output)

    def _ask(self, job: JobSpec, wait: Wait, verdict: Verdict, session: Mapping[str, Any]) -> bool:
        """Turn the wait into a question for a person; False if it is over by now."""
        point = {
            **wait.point,
            "question": question_of(job, messages_of(job, wait.about["sessionId"], self._call)),
            "reason": verdict.reason,
            "url": job.field(session, "url"),
            "since": self._app.clock.time(),
        }
        within = self._store.run(wait.run_id).chosen.answer_within
        return self._store.change_wait(
            wait,
            "session",
            kind="question",
            point=point,
            seen={"session": dict(session)},
            answer_by=None if within is None else self._app.clock.time() + within,
        )


def _asks(wait: Wait, verdict: Verdict) -> bool:
    return verdict.state in BLOCKED and wait.about.get("onQuestion") == "hold"
