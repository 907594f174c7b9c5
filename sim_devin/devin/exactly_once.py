"""Never twice: settle a create or a message whose outcome is unknown, without repeating it.

Before a create an intent with a fresh tag is recorded, and the tag goes out with the
request. After any end that does not prove that nothing was taken, whatever the answer was,
nobody sends again until a grace window longer than the request can still live has passed;
meanwhile the tag is looked up, archived and not, and membership is checked here, since lists
may lag. What is found is adopted. What is settled as not there is sent once more if the
service said "later" (429, 503 with Retry-After); otherwise the policy decides: ``hold`` leaves
it to a human, ``retry`` sends once more. A session that appears too late is ended and reported
(`sim_devin.devin.doubles`).

A message is looked for by its text instead of a tag: see `sim_devin.devin.same_texts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from sim_devin.calls.intents import Intent, Ledger, Settle
from sim_devin.calls.invoke import Context
from sim_devin.devin.delivery import Delivery, Output, created, reached, read_session, words_of
from sim_devin.devin.doubles import STRAYS_FOR, carriers, end_double, end_strays
from sim_devin.devin.intents import CREATE, SEND, MemoryLedger, digest, same_session
from sim_devin.devin.same_texts import Copies
from sim_devin.devin.turn import messages_of
from sim_devin.devin.verdict import bare
from sim_devin.errors import (
    BadRequest,
    Cancelled,
    PermissionDenied,
    SimDevinError,
    StoreError,
    UncertainResult,
)

__all__ = [
    "STRAYS_FOR",
    "Intent",
    "Ledger",
    "MemoryLedger",
    "Settle",
    "create_session",
    "end_strays",
    "send_message",
]

TAG_LIMIT = 50
CANDIDATES = 10  # sessions worth naming when nothing but prompt and time can tell


# -- creates ----------------------------------------------------------------------------------


def create_session(params: Mapping[str, Any], context: Context) -> Output:
    """Create a session at most once and return it.

    Raises:
        UncertainResult: it may exist, was not found in the grace window, and the policy is
            to hold; or nothing can tell. The message says how to look for it.
        SimDevinError: the service refused it; nothing was created.
    """
    tags = list(params.get("tags") or [])
    if len(tags) >= TAG_LIMIT:
        return _create_untagged(params, context, f"it already has {TAG_LIMIT} tags")
    delivery = Delivery(
        context,
        lambda intent: {**params, "tags": [*tags, intent.tag]},
        lambda tag: Intent(tag, CREATE, context.clock.time()),
        lambda sent: _adopt(sent, context),
    )
    try:
        session = delivery.run()
    except (BadRequest, PermissionDenied) as error:
        if isinstance(error, PermissionDenied) and "tag" not in str(error).lower():
            raise
        # Perhaps only our tag is refused (allow-lists exist); without it the answer is
        # the one the caller would have got.
        return _create_untagged(params, context, "the service refused a further tag")
    if session is not None:
        end_strays(context)
        return session
    sent = delivery.sent
    named = " or ".join(repr(intent.tag) for intent in sent)
    raise UncertainResult(
        f"It is not known whether a session was created.{words_of(delivery.error)}",
        status=getattr(delivery.error, "status", None),
        hint=f"None with the tag {named} appeared within {context.settle.grace:g} s. "
        f"Look for it later: sim-devin call devin_list_sessions tags={sent[-1].tag}",
    )


def _adopt(sent: list[Intent], context: Context) -> Output | None:
    """Return the oldest session that carries the tag of one of `sent`; the rest are doubles."""
    ledger: Ledger = context.ledger
    found = [
        (intent, session)
        for intent in sent
        if intent.state != "stray"
        for session in carriers(intent.tag, context)
    ]
    found.sort(key=lambda pair: (pair[1].get("createdAt") or 0, str(pair[1]["sessionId"])))
    for intent, session in found:
        kept = ledger.settle(intent.tag, "done", session["sessionId"], adopted=True)
        if kept.state != "done":
            continue  # another process has given it up, and ends it
        for other in sent:
            if other.tag != kept.tag:
                ledger.settle(other.tag, "missing")
        for owner, twin in found:
            if owner is intent and not same_session(twin["sessionId"], kept.session_id):
                end_double(twin, owner.tag, context)  # one request, carried out twice
        if not same_session(session["sessionId"], kept.session_id):
            session = read_session(kept.session_id, context, created(kept.session_id))
        # A create's answer has the same shape with a structured output, which is not there yet.
        return {**session, "structuredOutput": None}
    return None


def _create_untagged(params: Mapping[str, Any], context: Context, why: str) -> Output:
    """Create without a tag to find it by: an ambiguous end stays uncertain."""
    since = int(context.clock.time()) - 60
    ledger: Ledger = context.ledger
    intent = Intent(ledger.tag("untagged"), CREATE, context.clock.time())
    words = ""

    def came_late(output: Output) -> None:
        with suppress(SimDevinError):
            ledger.settle(intent.tag, "done", output["sessionId"])

    if ledger.claim(intent):
        try:
            confirm = partial(ledger.confirm, intent)
            output = context.call(CREATE, params, confirm=confirm, late=came_late)
        except StoreError:
            raise
        except SimDevinError as error:
            if error.means.did_nothing or isinstance(error, Cancelled):
                ledger.settle(intent.tag, "rejected")
                raise
            words = words_of(error)
        else:
            ledger.settle(intent.tag, "done", output["sessionId"])
            return output
    elif intent.state == "done" and intent.session_id:
        session = read_session(intent.session_id, context, created(intent.session_id))
        return {**session, "structuredOutput": None}
    ledger.settle(intent.tag, "uncertain")
    alike = _alike(params, since, context)
    seen = f"These have the same prompt: {', '.join(alike)}. " if alike else ""
    raise UncertainResult(
        f"It is not known whether a session was created, and no tag can tell: {why}.{words}",
        hint=f"{seen}Look for it: sim-devin call devin_list_sessions createdAfter={since}",
    )


def _alike(params: Mapping[str, Any], since: int, context: Context) -> list[str]:
    """Return the ids of new sessions whose first message is the prompt; none when unsure."""
    try:
        page = context.call("devin_list_sessions", {"createdAfter": since, "limit": CANDIDATES})
        return [
            session_id
            for session_id in (str(item.get("sessionId")) for item in page["sessions"])
            for first in messages_of(session_id, context.call)[:1]
            if first.get("message") == params["prompt"]
        ]
    except SimDevinError:
        return []


# -- messages ---------------------------------------------------------------------------------


def send_message(params: Mapping[str, Any], context: Context) -> Output:
    """Send a message at most once and return the session.

    Raises:
        UncertainResult: it may have been sent, was not found in the grace window, and the
            policy is to hold; or it cannot be told from messages of the same text.
        NothingSent: the session's messages could not be read for a whole grace window.
        UnreadableResponse: it was sent, but the session cannot be read (`accepted` is true).
        SimDevinError: the service refused it; nothing was sent.
    """
    session_id, message = params["sessionId"], params["message"]
    copies = Copies(session_id, message, context)

    def make(tag: str) -> Intent:
        intent = Intent(
            tag, SEND, context.clock.time(), session_id=session_id, text=digest(message)
        )
        copies.count_before(intent)
        return intent

    def look(sent: list[Intent]) -> Output | None:
        if not copies.arrived(sent):
            return None
        return read_session(session_id, context, reached(session_id))

    def explained() -> bool:
        try:
            session = context.call("devin_get_session", {"sessionId": session_id})
        except SimDevinError:
            return False
        return session.get("status") in ("exit", "error") or bool(session.get("isArchived"))

    delivery = Delivery(
        context, lambda _: params, make, look, copies.cannot_tell, copies.more, explained
    )
    session = delivery.run()
    if session is not None:
        return session
    raise UncertainResult(
        f"It is not known whether the message reached {bare(session_id)}."
        f"{words_of(delivery.error)}",
        status=None if copies.cannot_tell() else getattr(delivery.error, "status", None),
        hint=f"Read the session first: sim-devin call devin_list_session_messages "
        f"sessionId={session_id}",
    )
