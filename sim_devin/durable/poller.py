"""The poller: looks after every session that parked runs wait for, and wakes the runs.

Sessions of one organization are asked for in one list call per 150. Each has its own
growing interval; a session the list leaves out is asked for alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sim_devin.durable.places import credentials_here
from sim_devin.durable.session_watch import note
from sim_devin.errors import NotFound, RateLimited, SimDevinError
from sim_devin.paging import items
from sim_devin.store.records import Wait
from sim_devin.store.sealing import Seals, names
from sim_devin.store.sql_store import SqlStore
from sim_devin.verdict import Verdict, bare, classify
from sim_devin.wait import (
    BATCH,
    FIRST_PAUSE,
    GROWTH,
    LONGEST_PAUSE,
    MISSING_FOR,
    Outcome,
    needs_full,
    until_named,
)

if TYPE_CHECKING:
    from sim_devin.app import App

log = logging.getLogger("sim_devin")

TOGETHER = FIRST_PAUSE / 2  # seconds by which a look may come early to share a call
TURN = 30.0  # seconds one process may take over the sessions of one organization
UNMENDABLE_PAUSE = 60.0  # seconds until a look is tried again that failed for good, so it seems
BLOCKED = ("blocked_on_user", "blocked_on_approval")


class Poller:
    """Looks after the session waits in a store.

    Args:
        app: makes the calls.
        store: where the waits are.
        seals: put the credentials of a wait back in place.
        owner: name of this process, for taking turns with others.
    """

    def __init__(self, app: App, store: SqlStore, seals: Seals, owner: str) -> None:
        self._app = app
        self._store = store
        self._seals = seals
        self._owner = owner

    def poll(self, run_id: str | None = None) -> int:
        """Look at the sessions that are due, of one run or of all; return how many calls it took.

        An organization that another process looks after is left to it, and so are sessions
        whose key is not known here.

        Raises:
            MissingCredentials: the key for the sessions of `run_id` is not known here.
        """
        now = self._app.clock.time()
        calls = 0
        for place, credentials, own, member in self._store.groups(now, run_id):
            run = run_id or own
            turn = f"poll {place} {run or ''}"
            try:
                known = credentials_here(self._app, self._seals(member), place, credentials)
            except SimDevinError:
                if run_id is not None:
                    raise
                continue
            if known is None or not self._store.lease(turn, self._owner, now, TURN):
                continue
            calls += self._poll_group(place, credentials, known, run)
        return calls

    def _poll_group(
        self, place: str, credentials: str | None, known: Mapping[str, str], run_id: str | None
    ) -> int:
        calls, after = 0, 0
        now = self._app.clock.time() + TOGETHER
        while True:
            batch = self._store.due_sessions(
                place, credentials, now, after=after, limit=BATCH, run_id=run_id
            )
            if not batch:
                return calls
            after = batch[-1].id
            look = _Look(self._app, self._store, known)
            look.at([self._opened(wait) for wait in batch])
            calls += look.calls
            if look.asked_to_wait:
                return calls

    def _opened(self, wait: Wait) -> Wait:
        """Return a wait with its secrets back in place, as far as they are known here."""
        asked = {"about": wait.about, "seen": wait.seen}
        return (
            replace(wait, **self._seals(wait.run_id).open_known(asked))
            if any(names(asked))
            else wait
        )


class _Look:
    """One look at one batch of sessions."""

    def __init__(self, app: App, store: SqlStore, credentials: Mapping[str, str]) -> None:
        self._app = app
        self._store = store
        self._credentials = credentials
        self.calls = 0
        self.asked_to_wait = 0.0

    def at(self, batch: list[Wait]) -> None:
        """Look at the sessions and record what was seen."""
        try:
            listed = self._listed(batch) if len(batch) > 1 else {}
        except SimDevinError as error:
            for wait in batch:
                self._not_seen(wait, error)
            return
        for wait in batch:
            try:
                session = listed.get(bare(wait.about["sessionId"])) or self._single(wait)
                self._seen(wait, session)
            except SimDevinError as error:
                self._not_seen(wait, error)

    def _call(self, tool_id: str, params: Mapping[str, Any]) -> dict[str, Any]:
        self.calls += 1
        return self._app.call(tool_id, {**params, **self._credentials})

    def _listed(self, batch: list[Wait]) -> dict[str, Mapping[str, Any]]:
        ids = list(dict.fromkeys(wait.about["sessionId"] for wait in batch))
        page = self._call("devin_list_sessions", {"sessionIds": ids, "limit": 200})
        return {
            bare(item["sessionId"]): item
            for item in page["sessions"]
            if isinstance(item.get("sessionId"), str)
        }

    def _single(self, wait: Wait) -> Mapping[str, Any] | None:
        try:
            return self._call("devin_get_session", {"sessionId": wait.about["sessionId"]})
        except NotFound:
            return None

    def _seen(self, wait: Wait, session: Mapping[str, Any] | None) -> None:
        now = self._app.clock.time()
        before = wait.seen or {}
        if session is None:
            since = before.get("missingSince", now)
            if now - since >= MISSING_FOR:
                verdict = Verdict("failed", "the service does not know this session")
                self._settle(wait, verdict, before.get("session", {}))
            else:
                self._later(wait, {**before, "missingSince": since}, FIRST_PAUSE)
            return
        news = _state(before.get("session", {})) != _state(session)
        if not news:
            session = before["session"]  # a list entry; what is known may be more
        if needs_full(session):
            session = self._single(wait) or session
        if news:
            note(self._store, session, now)
        verdict = classify(session, schema=wait.about.get("schema"))
        if verdict.state in BLOCKED and wait.about.get("onQuestion") == "hold":
            if self._ask(wait, verdict, session):
                return
        elif until_named(wait.about["until"])(verdict):
            self._settle(wait, verdict, session)
            return
        pause = FIRST_PAUSE if news else min(LONGEST_PAUSE, wait.pause * GROWTH)
        self._later(wait, {"session": dict(session)}, pause)

    def _not_seen(self, wait: Wait, error: SimDevinError) -> None:
        pause = min(LONGEST_PAUSE, wait.pause * GROWTH)
        if isinstance(error, RateLimited):
            self.asked_to_wait = max(self.asked_to_wait, error.retry_after or pause)
            pause = max(pause, self.asked_to_wait)
        elif error.exit_code in (2, 3):
            pause = UNMENDABLE_PAUSE
        log.debug("could not look at %s: %s", wait.about["sessionId"], type(error).__name__)
        self._later(wait, {**(wait.seen or {}), "error": error.message}, pause)

    def _later(self, wait: Wait, seen: dict[str, Any], pause: float) -> None:
        now = self._app.clock.time()
        if wait.due is not None and wait.due <= now:
            self._time_out(wait, seen)
            return
        self._store.change_wait(wait, "session", seen=seen, pause=pause, next_look=now + pause)

    def _time_out(self, wait: Wait, seen: Mapping[str, Any]) -> None:
        session = seen.get("session")
        if session is None:
            why = f" Last error: {seen['error']}" if seen.get("error") else ""
            text = f"Nothing was heard of {wait.about['sessionId']} before the deadline.{why}"
            self._store.finish_wait(wait, self._app.clock.time(), error=text)
            return
        verdict = classify(session, schema=wait.about.get("schema"))
        self._settle(wait, verdict, session, timed_out=True)

    def _settle(
        self,
        wait: Wait,
        verdict: Verdict,
        session: Mapping[str, Any],
        *,
        timed_out: bool = False,
    ) -> None:
        now = self._app.clock.time()
        outcome = Outcome(
            session_id=wait.about["sessionId"],
            state=verdict.state,
            reason=verdict.reason,
            scope=verdict.scope,
            session=session,
            waited=now - wait.created,
            timed_out=timed_out,
        ).to_json()
        seen = outcome.pop("session")
        self._store.finish_wait(wait, now, {**seen, **outcome})

    def _ask(self, wait: Wait, verdict: Verdict, session: Mapping[str, Any]) -> bool:
        """Turn the wait into a question for a person; False if Devin has the last word to come."""
        messages = self._messages(wait)
        if messages and messages[-1].get("source") == "user" and self._store.answers(wait):
            return False  # the answer is there, and Devin has not taken it up yet
        said = [item for item in messages if item.get("source") != "user"]
        point = {
            **wait.point,
            "question": said[-1].get("message", "") if said else "",
            "reason": verdict.reason,
            "url": session.get("url"),
            "since": self._app.clock.time(),
        }
        within = self._store.run(wait.run_id).options.get("answerWithin")
        return self._store.change_wait(
            wait,
            "session",
            kind="question",
            point=point,
            seen={"session": dict(session)},
            answer_by=None if within is None else self._app.clock.time() + within,
        )

    def _messages(self, wait: Wait) -> list[Mapping[str, Any]]:
        def fetch(after: str | None) -> Mapping[str, Any]:
            more = {} if after is None else {"after": after}
            params = {"sessionId": wait.about["sessionId"], "limit": 200, **more}
            return self._call("devin_list_session_messages", params)

        return items(fetch, "messages")


def _state(session: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("sessionId", "status", "statusDetail", "acusConsumed", "updatedAt")
    return tuple(session.get(name) for name in names)
