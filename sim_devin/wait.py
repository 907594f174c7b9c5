"""When is a session done, blocked, asleep, out of money or failed; and waiting for that.

`classify` is one table over what the service says (status, detail, archived, structured
output, pull requests). `Poller` asks for many sessions in one list call and tells each
waiter when its session settled. Facts: Devin API reference, session status.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sim_devin.clock import Clock
from sim_devin.errors import (
    Cancelled,
    NotFound,
    RateLimited,
    ServerError,
    SimDevinError,
    TransportError,
    UnknownName,
    UnreadableResponse,
    WaitTimedOut,
)
from sim_devin.spec import Schema

State = Literal[
    "in_flight",
    "done",
    "blocked_on_user",
    "blocked_on_approval",
    "asleep",
    "out_of_money",
    "failed",
    "ended",
]
Scope = Literal["session", "user", "organisation", "unknown"]

BATCH = 150  # ids in one list call; 200 real ones make an address of over 8 KB
FIRST_PAUSE = 5.0  # seconds between the first looks
LONGEST_PAUSE = 60.0
GROWTH = 1.3  # each look that changes nothing makes the pause this much longer
MISSING_FOR = 120.0  # seconds a session may be unknown to the service before it counts as gone

_MONEY: dict[str, Scope] = {
    "usage_limit_exceeded": "session",
    "total_session_limit_exceeded": "unknown",
    "user_usage_limit_exceeded": "user",
    "org_usage_limit_exceeded": "organisation",
    "out_of_credits": "organisation",
    "out_of_quota": "organisation",
    "no_quota_allocation": "organisation",
    "payment_declined": "organisation",
    "contract_expired": "organisation",
}


@dataclass(frozen=True)
class Verdict:
    """What a session's state means. `scope` says whose money ran out, for `out_of_money`."""

    state: State
    reason: str
    scope: Scope | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more happens without somebody acting."""
        return self.state != "in_flight"


def classify(session: Mapping[str, Any], *, schema: Schema | None = None) -> Verdict:
    """Return what a session's state means, from the output of get or list.

    `schema` is the JSON Schema the structured output has to fit to count as a result;
    without one any structured output counts. Unknown statuses are in flight, and unknown
    details count as their status alone says, so that new values break nothing.
    """
    status = session.get("status")
    detail = session.get("statusDetail")
    result = _has_result(session, schema)
    output = result or bool(session.get("pullRequests"))
    if status == "error":
        return Verdict("failed", "the session failed")
    if status == "exit":
        return _exited(detail, output)
    if status == "suspended":
        return _suspended(detail, output, archived=bool(session.get("isArchived")))
    if status == "running":
        if detail == "finished":
            return Verdict("done", "the task is complete")
        if detail == "waiting_for_user":
            if result:
                return Verdict("done", "it waits for the user, but its result is there")
            return Verdict("blocked_on_user", "Devin waits for an answer")
        if detail == "waiting_for_approval":
            return Verdict("blocked_on_approval", "Devin waits for an approval")
        if detail == "error":
            return Verdict("failed", "the session was stopped by a fault")
    return Verdict("in_flight", f"{status or 'unknown'}{f', {detail}' if detail else ''}")


def _exited(detail: Any, output: bool) -> Verdict:
    if detail == "error":
        return Verdict("failed", "the session was stopped by a fault")
    if detail == "finished" or output:
        return Verdict("done", "the session ended with a result")
    return Verdict("ended", "the session ended without a result")


def _suspended(detail: Any, output: bool, *, archived: bool) -> Verdict:
    if detail == "error":
        return Verdict("failed", "the session was stopped by a fault")
    if detail in _MONEY:
        scope = _MONEY[detail]
        return Verdict("out_of_money", f"{detail.replace('_', ' ')}", scope)
    if detail == "finished" or (output and detail != "user_request"):
        return Verdict("done", "it fell asleep, and its result is there")
    if archived:
        return Verdict("ended", "the session is archived and cannot be resumed")
    why = "a person paused it" if detail == "user_request" else "it fell asleep while idle"
    return Verdict("asleep", f"{why}; a message wakes it")


def _has_result(session: Mapping[str, Any], schema: Schema | None) -> bool:
    output = session.get("structuredOutput")
    if output is None:
        return False
    if schema is None:
        return True
    from jsonschema import Draft7Validator

    return bool(Draft7Validator(schema).is_valid(output))


def bare(session_id: str) -> str:
    """Return a session id without its ``devin-`` prefix, the form to compare ids in."""
    return session_id.removeprefix("devin-")


@dataclass(frozen=True)
class Outcome:
    """How waiting for one session ended.

    Attributes:
        session_id: the id that was waited for.
        state: see `classify`; ``in_flight`` when the deadline came first.
        reason: the same in words.
        scope: whose money ran out, for ``out_of_money``.
        session: the session as last seen, as `devin_get_session` gives it.
        waited: seconds from the start of the wait.
        timed_out: whether the deadline came first.
    """

    session_id: str
    state: State
    reason: str
    scope: Scope | None = None
    session: Mapping[str, Any] = field(default_factory=dict)
    waited: float = 0.0
    timed_out: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON data."""
        return {
            "sessionId": self.session_id,
            "outcome": self.state,
            "reason": self.reason,
            "scope": self.scope,
            "timedOut": self.timed_out,
            "waitedSeconds": round(self.waited, 3),
            "session": dict(self.session),
        }


@dataclass(frozen=True)
class Progress:
    """One look at one session, handed to `on_progress`."""

    session_id: str
    verdict: Verdict
    session: Mapping[str, Any]
    waited: float
    next_look: float  # seconds until the next look; 0 when the session settled

    def to_json(self) -> dict[str, Any]:
        """Return the look as JSON data, without the session."""
        return {
            "sessionId": self.session_id,
            "outcome": self.verdict.state,
            "reason": self.verdict.reason,
            "waitedSeconds": round(self.waited, 3),
            "nextLookSeconds": round(self.next_look, 3),
        }


Call = Callable[[str, Mapping[str, Any]], dict[str, Any]]
Until = Callable[[Verdict], bool]


def until_settled(verdict: Verdict) -> bool:
    """Stop at anything that does not move on by itself. The default."""
    return verdict.settled


def until_over(verdict: Verdict) -> bool:
    """Stop only when the session cannot go on by itself or by an answer: done, failed, ended.

    Somebody else is expected to answer or to wake the session meanwhile.
    """
    return verdict.state in ("done", "failed", "ended", "out_of_money")


UNTIL: Mapping[str, Until] = {"settled": until_settled, "over": until_over}


def until_named(name: str) -> Until:
    """Return a stop rule by its name.

    Raises:
        UnknownName: there is none of that name.
    """
    try:
        return UNTIL[name]
    except KeyError:
        raise UnknownName("way to wait", name, UNTIL, hint=f"Known: {', '.join(UNTIL)}.") from None


def wait(
    ids: Iterable[str],
    call: Call,
    clock: Clock,
    *,
    until: Until = until_settled,
    timeout: float | None = None,
    schema: Schema | None = None,
    cancel: threading.Event | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Outcome]:
    """Wait for sessions and return one outcome for each, in the order of `ids`.

    `call(tool_id, params)` carries out `devin_list_sessions` and `devin_get_session`;
    `timeout` is in seconds. All sessions that are still open are asked for in one list call
    per 150. A failing look is tried again until the timeout; sessions the service does not
    list are asked for one by one; one it does not know counts as failed after two minutes.

    Raises:
        WaitTimedOut: nothing at all was heard of a session before the timeout.
        Cancelled: `cancel` was set. The sessions themselves go on.
        SimDevinError: an error that waiting cannot mend, such as a wrong key.
    """
    return _Wait(list(ids), call, clock, until, schema, on_progress).run(
        timeout, cancel or threading.Event()
    )


class _Wait:
    def __init__(
        self,
        ids: Sequence[str],
        call: Call,
        clock: Clock,
        until: Until,
        schema: Schema | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self.ids = ids
        self.open = {bare(session_id): session_id for session_id in ids}
        self.call = call
        self.clock = clock
        self.until = until
        self.schema = schema
        self.on_progress = on_progress
        self.started = clock.monotonic()
        self.seen: dict[str, Mapping[str, Any]] = {}
        self.missing_since: dict[str, float] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.last_error: SimDevinError | None = None

    def run(self, timeout: float | None, cancel: threading.Event) -> list[Outcome]:
        end = None if timeout is None else self.started + timeout
        pause = FIRST_PAUSE
        while self.open:
            if cancel.is_set():
                raise Cancelled("The wait was cancelled; the sessions go on.")
            changed, asked = self._look()
            pause = FIRST_PAUSE if changed else min(LONGEST_PAUSE, pause * GROWTH)
            delay = max(pause, asked)
            if not self.open:
                break
            if end is not None:
                left = end - self.clock.monotonic()
                if left <= 0:
                    self._time_out()
                    break
                delay = min(delay, left)
            self._report(delay)
            self.clock.wait(cancel, delay)
        return [self.outcomes[bare(session_id)] for session_id in self.ids]

    def _look(self) -> tuple[bool, float]:
        """Look at every open session; return whether one changed and the pause asked for."""
        changed, asked = False, 0.0
        for batch in _batches(list(self.open.values()), BATCH):
            try:
                changed |= self._look_at(batch)
            except (TransportError, ServerError, UnreadableResponse) as error:
                self.last_error = error
            except RateLimited as error:
                self.last_error = error
                asked = max(asked, error.retry_after or 0.0)
        return changed, asked

    def _look_at(self, ids: Sequence[str]) -> bool:
        listed = self._listed(ids) if len(ids) > 1 else {}
        changed = False
        for session_id in ids:
            session = listed.get(bare(session_id)) or self._single(session_id)
            changed |= self._take(session_id, session)
        return changed

    def _listed(self, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        params = {"sessionIds": list(ids), "limit": 200}
        page = self.call("devin_list_sessions", params)
        found = {
            bare(item["sessionId"]): item
            for item in page["sessions"]
            if isinstance(item.get("sessionId"), str)
        }
        return {key: found[key] for key in map(bare, ids) if key in found}

    def _single(self, session_id: str) -> Mapping[str, Any] | None:
        try:
            return self.call("devin_get_session", {"sessionId": session_id})
        except NotFound:
            return None

    def _take(self, session_id: str, session: Mapping[str, Any] | None) -> bool:
        key = bare(session_id)
        waited = self.clock.monotonic() - self.started
        if session is None:
            since = self.missing_since.setdefault(key, self.clock.monotonic())
            if self.clock.monotonic() - since >= MISSING_FOR:
                self._settle(key, Verdict("failed", "the service does not know this session"))
            return False
        self.missing_since.pop(key, None)
        before = self.seen.get(key)
        if _needs_full(session):
            unchanged = before is not None and _state(before) == _state(session)
            session = (before if unchanged else self._single(session_id)) or session
        self.seen[key] = session
        verdict = classify(session, schema=self.schema)
        if self.until(verdict):
            self._settle(key, verdict)
            if self.on_progress:
                self.on_progress(Progress(session_id, verdict, session, waited, 0.0))
        return before is None or _state(before) != _state(session)

    def _settle(self, key: str, verdict: Verdict, *, timed_out: bool = False) -> None:
        self.outcomes[key] = Outcome(
            session_id=self.open.pop(key),
            state=verdict.state,
            reason=verdict.reason,
            scope=verdict.scope,
            session=self.seen.get(key, {}),
            waited=self.clock.monotonic() - self.started,
            timed_out=timed_out,
        )

    def _time_out(self) -> None:
        unheard = [session_id for key, session_id in self.open.items() if key not in self.seen]
        if unheard:
            why = f" Last error: {self.last_error}" if self.last_error else ""
            raise WaitTimedOut(
                f"Nothing was heard of {', '.join(unheard[:5])} before the deadline.{why}",
                hint="The sessions may go on; wait again with the same ids.",
            )
        for key in list(self.open):
            verdict = classify(self.seen[key], schema=self.schema)
            self._settle(key, verdict, timed_out=True)

    def _report(self, delay: float) -> None:
        if self.on_progress is None:
            return
        waited = self.clock.monotonic() - self.started
        for key, session_id in self.open.items():
            session = self.seen.get(key, {})
            verdict = classify(session, schema=self.schema)
            self.on_progress(Progress(session_id, verdict, session, waited, delay))


def _needs_full(session: Mapping[str, Any]) -> bool:
    """Return whether a list entry lacks what decides: lists do not carry structured output."""
    return (
        "structuredOutput" not in session
        and session.get("status")
        in (
            "running",
            "suspended",
            "exit",
        )
        and session.get("statusDetail") not in ("working", None)
    )


def _state(session: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(
        session.get(key) for key in ("status", "statusDetail", "acusConsumed", "updatedAt")
    )


def _batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
