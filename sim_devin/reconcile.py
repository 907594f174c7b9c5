"""Never twice: settle a create or a message whose outcome is unknown, without repeating it.

Before a create an intent with a fresh tag is recorded, and the tag goes out with the
request. After an ambiguous end nobody sends again until a grace window longer than the
request can still live has passed; meanwhile the tag is looked up, archived and not, and
membership is checked here, since lists may lag. What is found is adopted. What is settled
as not there follows the policy: ``hold`` leaves it to a human, ``retry`` sends once more.
A session that appears after it was given up is ended and reported (`end_strays`).

A message is looked for by its text and position instead of a tag.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal, Protocol, TypeVar

from sim_devin.errors import (
    AmbiguousResult,
    ApiError,
    BadRequest,
    PermissionDenied,
    SimDevinError,
    TransportError,
    UncertainResult,
    UnreadableResponse,
)
from sim_devin.invoke import Context
from sim_devin.lookup import look_until
from sim_devin.paging import items
from sim_devin.verdict import bare

log = logging.getLogger("sim_devin")

CREATE = "devin_create_session"
SEND = "devin_send_message"

TAG_PREFIX = "sim-"
TAG_LIMIT = 50
GRACE = 300.0  # seconds: longer than a request, and a lagging list, can still surprise
STRAYS_FOR = 24 * 3600.0  # seconds a session that was given up is still watched for
CANDIDATES = 10  # sessions worth naming when nothing but prompt and time can tell

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


State = Literal["open", "done", "rejected", "uncertain", "missing", "stray"]


@dataclass
class Intent:
    """One thing that must not happen twice, recorded before it is sent.

    Attributes:
        tag: its unique name; for a create also the tag that goes out.
        tool: what is sent.
        at: when, in Unix seconds.
        state: ``open`` until it is known; then ``done``, ``rejected`` (by the service, or
            never sent), ``uncertain`` (left to a human), ``missing`` (not there after the
            grace window and sent again), ``stray`` (it appeared later and was ended).
        session_id: the session it led to or is for.
        position: number of messages in the session before this one.
    """

    tag: str
    tool: str
    at: float
    state: State = "open"
    session_id: str | None = None
    position: int = 0


class Ledger(Protocol):
    """Where intents are kept. `claim` decides who may send: only the first claim of a tag."""

    def tag(self, number: str) -> str:
        """Return the tag of the try called `number`: a fresh one, or always the same for a step.

        A ledger of a durable run answers the same after a crash, so that the try is found.
        """
        ...

    def claim(self, intent: Intent) -> bool:
        """Record an intent; return whether this caller may send.

        When it was recorded before, its `at` and `position` become those of the record.
        """
        ...

    def settle(self, tag: str, state: State, session_id: str | None = None) -> None:
        """Record how an intent ended."""
        ...

    def missing(self, since: float) -> list[Intent]:
        """Return the ``missing`` creates that were sent after `since`, in Unix seconds."""
        ...


@dataclass
class MemoryLedger:
    """Intents of this process."""

    intents: dict[str, Intent] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def tag(self, number: str) -> str:  # noqa: ARG002 - every call is a new one here
        """Return a fresh tag."""
        return TAG_PREFIX + secrets.token_hex(8)

    def claim(self, intent: Intent) -> bool:
        """Record an intent; return whether it is the first of its tag."""
        with self._lock:
            return self.intents.setdefault(intent.tag, intent) is intent

    def settle(self, tag: str, state: State, session_id: str | None = None) -> None:
        """Record how an intent ended."""
        with self._lock:
            intent = self.intents[tag]
            intent.state, intent.session_id = state, session_id or intent.session_id

    def missing(self, since: float) -> list[Intent]:
        """Return the ``missing`` creates that were sent after `since`, in Unix seconds."""
        with self._lock:
            return [
                intent
                for intent in self.intents.values()
                if (intent.state, intent.tool) == ("missing", CREATE) and intent.at >= since
            ]


def create_session(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Create a session at most once and return it.

    Raises:
        UncertainResult: it may exist, was not found in the grace window, and the policy is
            to hold; or nothing can tell. The message says how to look for it.
        SimDevinError: the service refused it; nothing was created.
    """
    tags = list(params.get("tags") or [])
    if len(tags) >= TAG_LIMIT:
        return _create_untagged(params, context, f"it already has {TAG_LIMIT} tags")
    sent: list[Intent] = []
    for number in range(_tries(context)):
        intent = Intent(context.ledger.tag(str(number)), CREATE, context.clock.time())
        sent.append(intent)
        try:
            session = _post(intent, {**params, "tags": [*tags, intent.tag]}, context)
        except (BadRequest, PermissionDenied) as error:
            if isinstance(error, PermissionDenied) and "tag" not in str(error).lower():
                raise
            # Perhaps only our tag is refused (allow-lists exist); without it the answer is
            # the one the caller would have got.
            return _create_untagged(params, context, "the service refused a further tag")
        session = session or _look(context, sent, lambda: _adopt(sent, context))
        if session is not None:
            end_strays(context)
            return session
        context.ledger.settle(intent.tag, "missing")
    for intent in sent:
        context.ledger.settle(intent.tag, "uncertain")
    named = " or ".join(repr(intent.tag) for intent in sent)
    raise UncertainResult(
        "It is not known whether a session was created.",
        hint=f"None with the tag {named} appeared within {context.settle.grace:g} s. "
        f"Look for it later: sim-devin call devin_list_sessions tags={sent[-1].tag}",
    )


def end_strays(context: Context) -> list[str]:
    """End the sessions that appeared after their create was given up; return their ids.

    Called after every reconciled create; a long-lived process may call it from time to time.
    What cannot be looked up or ended now stays recorded for the next time.
    """
    ended: list[str] = []
    for intent in context.ledger.missing(context.clock.time() - STRAYS_FOR):
        try:
            strays = _carriers(intent.tag, context)
        except SimDevinError:
            continue
        for session in strays:
            if _try_to_end(session, intent, context):
                ended.append(session["sessionId"])
                context.ledger.settle(intent.tag, "stray", session["sessionId"])
    return ended


def _tries(context: Context) -> int:
    return 2 if context.settle.policy == "retry" else 1


def _post(intent: Intent, params: Mapping[str, Any], context: Context) -> dict[str, Any] | None:
    """Send once and return the answer; None when the outcome is unknown or not ours to send."""
    if not context.ledger.claim(intent):
        return None
    try:
        output = context.call(intent.tool, params)
    except AmbiguousResult:
        return None
    except SimDevinError as error:
        if isinstance(error, UnreadableResponse) and error.accepted:
            return None
        context.ledger.settle(intent.tag, "rejected")
        raise
    context.ledger.settle(intent.tag, "done", output["sessionId"])
    return output


def _adopt(sent: list[Intent], context: Context) -> dict[str, Any] | None:
    """Return the oldest session that carries the tag of one of `sent`; the rest are strays."""
    found = [(intent, session) for intent in sent for session in _carriers(intent.tag, context)]
    if not found:
        return None
    intent, session = min(found, key=lambda pair: pair[1].get("createdAt") or 0)
    context.ledger.settle(intent.tag, "done", session["sessionId"])
    for other in sent:
        if other is not intent:
            context.ledger.settle(other.tag, "missing")
    for owner, twin in found:  # one request, carried out twice on its way
        if owner is intent and twin is not session:
            _try_to_end(twin, intent, context)
    # A create's answer has the same shape with a structured output, which is not there yet.
    return {**session, "structuredOutput": None}


def _carriers(tag: str, context: Context) -> list[Mapping[str, Any]]:
    """Return the sessions that carry a tag, archived or not."""
    return [
        session
        for archived in (False, True)
        for session in context.call(
            "devin_list_sessions", {"tags": [tag], "isArchived": archived, "limit": 200}
        )["sessions"]
        if tag in (session.get("tags") or ()) and session.get("sessionId")
    ]


def _try_to_end(session: Mapping[str, Any], intent: Intent, context: Context) -> bool:
    """End a duplicate and say so; return whether that worked."""
    session_id = session["sessionId"]
    about = {"session": session_id, "tag": intent.tag}
    try:
        context.call("devin_terminate_session", {"sessionId": session_id})
    except SimDevinError as error:
        reason = type(error).__name__
        log.warning("could not end the duplicate session %s: %s", session_id, reason, extra=about)
        return False
    log.warning("ended the duplicate session %s", session_id, extra=about)
    return True


def _create_untagged(params: Mapping[str, Any], context: Context, why: str) -> dict[str, Any]:
    """Create without a tag to find it by: an ambiguous end stays uncertain."""
    since = int(context.clock.time()) - 60
    intent = Intent(context.ledger.tag("untagged"), CREATE, context.clock.time())
    session = _post(intent, params, context)
    if session is not None:
        return session
    context.ledger.settle(intent.tag, "uncertain")
    alike = _alike(params, since, context)
    seen = f"These have the same prompt: {', '.join(alike)}. " if alike else ""
    raise UncertainResult(
        f"It is not known whether a session was created, and no tag can tell: {why}.",
        hint=f"{seen}Look for it: sim-devin call devin_list_sessions createdAfter={since}",
    )


def _alike(params: Mapping[str, Any], since: int, context: Context) -> list[str]:
    """Return the ids of new sessions whose first message is the prompt; none when unsure."""
    try:
        page = context.call("devin_list_sessions", {"createdAfter": since, "limit": CANDIDATES})
        return [
            session_id
            for session_id in (str(item.get("sessionId")) for item in page["sessions"])
            for first in _messages(session_id, context)[:1]
            if first.get("message") == params["prompt"]
        ]
    except SimDevinError:
        return []


def send_message(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Send a message at most once and return the session.

    Raises:
        UncertainResult: it may have been sent, was not found in the grace window, and the
            policy is to hold.
        UnreadableResponse: it was sent, but the session cannot be read (`accepted` is true).
        SimDevinError: the service refused it; nothing was sent.
    """
    session_id = params["sessionId"]
    sent: list[Intent] = []
    for number in range(_tries(context)):
        intent = Intent(
            context.ledger.tag(str(number)),
            SEND,
            context.clock.time(),
            session_id=session_id,
            # Two messages with one text are told apart by where they stand.
            position=len(_messages(session_id, context)),
        )
        sent.append(intent)
        session = _post(intent, params, context)
        if session is not None:
            return session
        if _look(context, sent, lambda: _arrived(sent, params["message"], context)):
            context.ledger.settle(intent.tag, "done")
            return _after_sending(session_id, context)
    for intent in sent:
        context.ledger.settle(intent.tag, "uncertain")
    raise UncertainResult(
        f"It is not known whether the message reached {bare(session_id)}.",
        hint=f"Read the session first: sim-devin call devin_list_session_messages "
        f"sessionId={session_id}",
    )


def _arrived(sent: list[Intent], message: str, context: Context) -> bool | None:
    """Return whether the message stands behind those that were there before; None if not."""
    later = _messages(str(sent[0].session_id), context)[sent[0].position :]
    return (
        any(item.get("message") == message and item.get("source") == "user" for item in later)
        or None
    )


def _after_sending(session_id: str, context: Context) -> dict[str, Any]:
    try:
        return context.call("devin_get_session", {"sessionId": session_id})
    except (TransportError, ApiError, UnreadableResponse) as error:
        raise UnreadableResponse(
            f"The message reached {bare(session_id)}, but the session cannot be read: "
            f"{error.message}",
            accepted=True,
            hint="Do not send it again.",
        ) from None


def _messages(session_id: str, context: Context) -> list[Mapping[str, Any]]:
    def fetch(after: str | None) -> Mapping[str, Any]:
        more = {} if after is None else {"after": after}
        params = {"sessionId": session_id, "limit": 200, **more}
        return context.call("devin_list_session_messages", params)

    return items(fetch, "messages")


def _look(context: Context, sent: list[Intent], look: Callable[[], T | None]) -> T | None:
    """Look again and again until something is found or the grace window has passed.

    Returns None only when a look after the window saw nothing. Whatever else ends the
    looking leaves what was `sent` uncertain.
    """
    try:
        return look_until(context, look, grace=context.settle.grace)
    except UncertainResult:
        for intent in sent:
            context.ledger.settle(intent.tag, "uncertain")
        raise
