"""Never twice: settle a create or a message whose outcome is unknown, without repeating it.

Before a create an intent with a fresh tag is recorded, and the tag goes out with the
request. After an ambiguous end nobody sends again until a grace window longer than the
request can still live has passed; meanwhile the tag is looked up, archived and not, and
membership is checked here, since lists may lag. What is found is adopted. What is settled
as not there follows the policy: ``hold`` leaves it to a human, ``retry`` sends once more.
A message is looked for by its text and position instead of a tag.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal, Protocol, TypeVar

from sim_devin.errors import (
    AmbiguousResult,
    Cancelled,
    RateLimited,
    ServerError,
    TransportError,
    UncertainResult,
    UnreadableResponse,
)
from sim_devin.invoke import Context
from sim_devin.wait import bare

TAG_PREFIX = "sim-"
TAG_LIMIT = 50
GRACE = 300.0  # seconds: longer than a request, and a lagging list, can still surprise
FIRST_LOOK = 1.0
LONGEST_PAUSE = 30.0

T = TypeVar("T")
Policy = Literal["hold", "retry"]


@dataclass(frozen=True)
class Settle:
    """How an ambiguous end is settled.

    Attributes:
        grace: seconds to keep looking before "not there" is believed.
        policy: ``hold`` raises `UncertainResult` for a human; ``retry`` sends once more.
    """

    grace: float = GRACE
    policy: Policy = "hold"


@dataclass
class Intent:
    """One thing that must not happen twice, recorded before it is sent."""

    tag: str
    tool: str
    at: float
    state: Literal["open", "done", "rejected", "uncertain"] = "open"
    session_id: str | None = None


class Ledger(Protocol):
    """Where intents are kept. `claim` decides who may send: only the first claim of a tag."""

    def claim(self, intent: Intent) -> bool:
        """Record an intent; return whether this caller may send."""
        ...

    def settle(self, tag: str, state: str, session_id: str | None = None) -> None:
        """Record how an intent ended."""
        ...


@dataclass
class MemoryLedger:
    """Intents of this process."""

    intents: dict[str, Intent] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def claim(self, intent: Intent) -> bool:
        """Record an intent; return whether it is the first of its tag."""
        with self._lock:
            return self.intents.setdefault(intent.tag, intent) is intent

    def settle(self, tag: str, state: Any, session_id: str | None = None) -> None:
        """Record how an intent ended."""
        with self._lock:
            intent = self.intents[tag]
            intent.state, intent.session_id = state, session_id


def create_session(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Create a session at most once and return it.

    Raises:
        UncertainResult: it may exist, was not found in the grace window, and the policy is
            to hold. The message says how to look for it.
        SimDevinError: the service refused it; nothing was created.
    """
    attempts = 2 if context.settle.policy == "retry" else 1
    for attempt in range(attempts):
        tag = TAG_PREFIX + secrets.token_hex(8)
        tags = list(params.get("tags") or [])
        if len(tags) >= TAG_LIMIT:
            return _create_untagged(params, context)
        intent = Intent(tag, "devin_create_session", context.clock.time())
        context.ledger.claim(intent)
        found = _create_once({**params, "tags": [*tags, tag]}, intent, context)
        if found is not None:
            return found
        if attempt + 1 == attempts:
            context.ledger.settle(tag, "uncertain")
            raise UncertainResult(
                "It is not known whether a session was created.",
                hint=f"None with the tag {tag!r} appeared within {context.settle.grace:g} s. "
                f"Look for it later: sim-devin call devin_list_sessions tags={tag}",
            )
    raise AssertionError("unreachable")


def _create_once(
    params: Mapping[str, Any], intent: Intent, context: Context
) -> dict[str, Any] | None:
    """Return the session of one POST, found or answered; None when it settled as not there."""
    try:
        output = context.call("devin_create_session", params)
    except AmbiguousResult:
        pass
    except UnreadableResponse as error:
        if not error.accepted:
            raise
    except BaseException:
        context.ledger.settle(intent.tag, "rejected")
        raise
    else:
        context.ledger.settle(intent.tag, "done", output["sessionId"])
        return output
    found = _look_until(context, lambda: _tagged(intent, context))
    if found is not None:
        context.ledger.settle(intent.tag, "done", found["sessionId"])
    return found


def _tagged(intent: Intent, context: Context) -> dict[str, Any] | None:
    """Return the oldest session that carries the intent's tag, archived or not."""
    carriers: list[Mapping[str, Any]] = []
    for archived in (False, True):
        page = context.call(
            "devin_list_sessions", {"tags": [intent.tag], "isArchived": archived, "limit": 200}
        )
        carriers += [item for item in page["sessions"] if intent.tag in (item.get("tags") or ())]
    if not carriers:
        return None
    oldest = min(carriers, key=lambda item: item.get("createdAt") or 0)
    return context.call("devin_get_session", {"sessionId": oldest["sessionId"]})


def _create_untagged(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Create without room for a tag: an ambiguous end stays uncertain."""
    since = int(context.clock.time())
    try:
        return context.call("devin_create_session", params)
    except AmbiguousResult as error:
        raise UncertainResult(
            f"{error.message} It already has {TAG_LIMIT} tags, so none could be added to find it.",
            hint=f"Look for it: sim-devin call devin_list_sessions createdAfter={since - 60}",
        ) from None


def send_message(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Send a message at most once and return the session.

    Raises:
        UncertainResult: it may have been sent, was not found in the grace window, and the
            policy is to hold.
        SimDevinError: the service refused it; nothing was sent.
    """
    session_id, message = params["sessionId"], params["message"]
    attempts = 2 if context.settle.policy == "retry" else 1
    for _ in range(attempts):
        before = _messages(session_id, context)
        known = {item.get("eventId") for item in before}
        try:
            return context.call("devin_send_message", params)
        except AmbiguousResult:
            pass
        except UnreadableResponse as error:
            if not error.accepted:
                raise

        def arrived(known: set[Any] = known) -> bool | None:
            return (
                any(
                    item.get("message") == message
                    and item.get("source") == "user"
                    and item.get("eventId") not in known
                    for item in _messages(session_id, context)
                )
                or None
            )

        if _look_until(context, arrived):
            return context.call("devin_get_session", {"sessionId": session_id})
    raise UncertainResult(
        f"It is not known whether the message reached {bare(session_id)}.",
        hint=f"Read the session first: sim-devin call devin_list_session_messages "
        f"sessionId={session_id}",
    )


def _messages(session_id: str, context: Context) -> list[Mapping[str, Any]]:
    messages: list[Mapping[str, Any]] = []
    params: dict[str, Any] = {"sessionId": session_id, "limit": 200}
    cursors: set[str] = set()
    while True:
        page = context.call("devin_list_session_messages", params)
        messages += page["messages"]
        cursor = page.get("endCursor")
        if not page.get("hasNextPage") or not cursor or cursor in cursors:
            return messages
        cursors.add(cursor)
        params["after"] = cursor


def _look_until(context: Context, look: Callable[[], T | None]) -> T | None:
    """Look again and again until something is found or the grace window has passed."""
    clock = context.clock
    end = clock.monotonic() + context.settle.grace
    pause = FIRST_LOOK
    while True:
        try:
            found = look()
        except (TransportError, ServerError, RateLimited, UnreadableResponse):
            found = None  # a failed look says nothing
            last_look_failed = True
        else:
            last_look_failed = False
        if found is not None:
            return found
        left = end - clock.monotonic()
        if left <= 0 and not last_look_failed:
            return None
        if left <= -context.settle.grace:
            # Not one look succeeded at the end, so "not there" was never seen.
            raise UncertainResult(
                "An interrupted request could not be looked up: the service does not answer.",
                hint="Look for it before you repeat it.",
            )
        if clock.wait(context.cancel, min(pause, left) if left > 0 else pause):
            raise Cancelled("Cancelled while looking for the outcome of an interrupted request.")
        pause = min(LONGEST_PAUSE, pause * 2)
