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

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from sim_devin.calls.invoke import Context
from sim_devin.calls.lookup import look_until, while_temporary
from sim_devin.devin.doubles import STRAYS_FOR, carriers, end_double, end_strays
from sim_devin.devin.intents import (
    CREATE,
    SEND,
    Intent,
    Ledger,
    MemoryLedger,
    Settle,
    digest,
    same_session,
)
from sim_devin.devin.same_texts import Copies
from sim_devin.devin.turn import messages_of
from sim_devin.devin.verdict import bare
from sim_devin.errors import (
    AmbiguousResult,
    ApiError,
    BadRequest,
    Cancelled,
    Conflict,
    PermissionDenied,
    SimDevinError,
    StoreError,
    TimedOut,
    TransportError,
    UncertainResult,
    UnreadableResponse,
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

log = logging.getLogger("sim_devin")

TAG_LIMIT = 50
CANDIDATES = 10  # sessions worth naming when nothing but prompt and time can tell
TURNED_AWAY = 5  # times one create or message is sent to a service that says "later"
LATER = 3600.0  # seconds a service may ask to wait until it is sent again
LAST_LOOKS = 5.0  # seconds to look for what was left to a human before

Output = dict[str, Any]


class _Sending:
    """One create or message on its way: sent, looked for, and sent again where that is safe.

    Args:
        context: makes the calls.
        params: what is sent; a function of the intent.
        make: returns a new intent of a tag.
        look: returns what was sent if it is there, or None; decides among `sent`.
        unclear: whether the last look could not tell.
        explained: whether a conflict (409) follows from the state of what it was sent to.
    """

    def __init__(
        self,
        context: Context,
        params: Callable[[Intent], Mapping[str, Any]],
        make: Callable[[str], Intent],
        look: Callable[[list[Intent]], Output | None],
        unclear: Callable[[], bool] = lambda: False,
        explained: Callable[[], bool] = lambda: False,
    ) -> None:
        self._context = context
        self._ledger: Ledger = context.ledger
        self._params = params
        self._make = make
        self._look = look
        self._unclear = unclear
        self._explained = explained
        self.sent = [intent for intent in self._ledger.earlier() if intent.state != "rejected"]
        self.error: SimDevinError | None = None  # what left it open, with the service's words

    def run(self) -> Output | None:
        """Return the session; None when nobody knows, which is recorded.

        Raises:
            SimDevinError: it was refused, and nothing came of it.
        """
        tries = 2 if self._context.settle.policy == "retry" else 1
        for number in range(tries):
            tag = self._ledger.tag(str(number))
            intent = while_temporary(self._context, partial(self._make, tag))
            self.sent = [one for one in self.sent if one.tag != intent.tag] + [intent]
            session = self._try(intent, last=number == tries - 1)
            if session is not None:
                return session
            if intent.state == "uncertain":
                break  # only a human lets it be sent again
        self._leave()
        return None

    def _try(self, intent: Intent, *, last: bool) -> Output | None:
        """Carry one tag through; None when it is not there after the grace window."""
        grace = self._context.settle.grace
        for turn in range(1, TURNED_AWAY + 1):
            claimed = self._context.clock.monotonic()
            mine = self._ledger.claim(intent)
            if intent.state == "done" and not mine:
                return self._known(intent)
            if not mine and intent.state in ("missing", "stray") and not last:
                return None  # given up before; what took its place comes next
            if not mine and intent.state == "uncertain":
                grace = min(grace, LAST_LOOKS)
            error: SimDevinError | None = None
            sent_at = claimed
            if mine:
                if intent.sends > 1:  # nothing is sent again before another look
                    session = self._look_once()
                    if session is not None:
                        return session
                sent_at = self._context.clock.monotonic()
                try:
                    session, error = self._post(intent, claimed)
                except TimedOut:  # before it was sent
                    if turn == TURNED_AWAY or self._is_late():
                        raise
                    continue  # this process stood still: it has all its time again
                if session is None and isinstance(error, Conflict) and self._explained():
                    session = self._look_once()
                    if session is None:
                        self._settle(intent, "rejected")
                        raise error
                if session is not None:
                    return session
            session = self._look_for(grace)
            if session is not None:
                return session
            if self._unclear():
                self._leave()
                intent.state = "uncertain"
            if intent.state == "uncertain":
                return None
            if _says_later(error) and turn < TURNED_AWAY and self._wait(error, sent_at):
                self._settle(intent, "repeat")
                continue
            kept = self._settle(intent, "missing")
            if kept.state == "done":  # another process had its answer meanwhile
                return self._known(kept)
            if isinstance(error, ApiError):  # it was answered, and nothing came of it
                raise error
            if kept.state != "rejected":  # else: another process was refused meanwhile
                return None
        return None

    def _post(self, intent: Intent, claimed: float) -> tuple[Output | None, SimDevinError | None]:
        """Send it; return the answer, or the error that leaves open whether it was taken."""
        context, clock = self._context, self._context.clock
        limit = context.settle.grace / 3

        def confirm() -> None:
            self._ledger.confirm(intent, stale=clock.monotonic() - claimed > limit)

        try:
            # So short that it is over long before anybody believes that it is not there.
            deadline = max(1.0, context.settle.grace / 2)
            output = context.call(
                intent.tool,
                self._params(intent),
                deadline=deadline,
                confirm=confirm,
                late=lambda output: self._came_late(intent, output),
            )
        except StoreError:
            raise  # ours, and before anything was sent
        except SimDevinError as error:
            if error.means.did_nothing or isinstance(error, Cancelled):
                self._settle(intent, "rejected")
                raise
            again = " before it is sent again" if _says_later(error) else " at most"
            grace = context.settle.grace
            log.warning("%s Looking for it, for %g s%s.", error.message, grace, again)
            self.error = error
            return None, error
        return self._kept(intent, output), None

    def _came_late(self, intent: Intent, output: Output) -> None:
        """Record an answer that came when nobody waited for it any more."""
        with suppress(SimDevinError):
            self._kept(replace(intent), output)

    def _kept(self, intent: Intent, output: Output) -> Output:
        """Record an answer, and return the session that counts: another may have come first."""
        kept = self._settle(intent, "done", output["sessionId"])
        if kept.state == "done" and same_session(kept.session_id, output["sessionId"]):
            return output
        if intent.tool == CREATE:
            end_double(output, intent.tag, self._context)
        else:
            text = f"A message reached {bare(output['sessionId'])} after it had been given up."
            self._ledger.report(intent.tag, text, output["sessionId"])
        if kept.state == "done":
            return self._known(kept)
        raise UncertainResult(
            f"The answer to {intent.tool} came after it had been given up.",
            hint=f"The session {bare(output['sessionId'])} is not used.",
        )

    def _known(self, intent: Intent) -> Output:
        """Return the session that an intent is known to have led to."""
        session = _session(intent.session_id, self._context)
        # A create's answer has the same shape with a structured output, which is not there yet.
        return {**session, "structuredOutput": None} if intent.tool == CREATE else session

    def _look_for(self, grace: float) -> Output | None:
        """Look again and again until something is found or the grace window has passed.

        Returns None only when a look after the window saw nothing. Whatever else ends the
        looking leaves what was sent uncertain. The window is this process's own, measured by a
        clock that never goes back: it does not matter when another process has sent it.
        """
        try:
            return look_until(self._context, lambda: self._look(self.sent), grace=grace)
        except UncertainResult as error:
            self._leave()
            raise UncertainResult(
                f"{error.message}{_words_of(self.error)}", hint=error.hint
            ) from None

    def _look_once(self) -> Output | None:
        try:
            return while_temporary(self._context, lambda: self._look(self.sent))
        except Cancelled:
            raise
        except SimDevinError as error:
            self._leave()
            raise UncertainResult(
                f"It was not sent again, since the look before that failed: {error.message}",
                hint="Try again later.",
            ) from None

    def _is_late(self) -> bool:
        deadline = self._context.deadline
        return deadline is not None and self._context.clock.monotonic() >= deadline

    def _wait(self, error: SimDevinError | None, sent_at: float) -> bool:
        """Wait for as long as the service asked to; return whether there is the time for it."""
        context = self._context
        asked = sent_at + (getattr(error, "retry_after", None) or 0.0)
        left = asked - context.clock.monotonic()
        if left > LATER or (context.deadline is not None and asked >= context.deadline):
            return False
        if left > 0 and context.clock.wait(context.cancel, left):
            raise Cancelled("Cancelled while the service wanted to be left alone.")
        return True

    def _settle(self, intent: Intent, state: Any, session_id: str | None = None) -> Intent:
        kept = self._ledger.settle(intent.tag, state, session_id)
        if kept.tag == intent.tag:
            intent.state, intent.session_id = kept.state, kept.session_id
        return kept

    def _leave(self) -> None:
        for intent in self.sent:
            self._ledger.settle(intent.tag, "uncertain")


def _session(session_id: str | None, context: Context) -> Output:
    """Return a session that something is known to have come to; temporary errors are waited out."""
    read = partial(context.call, "devin_get_session", {"sessionId": session_id})
    return while_temporary(context, read)


def _words_of(error: SimDevinError | None) -> str:
    """Return what left an outcome open, to go on a sentence."""
    return "" if error is None else f" {error.message}"


def _says_later(error: SimDevinError | None) -> bool:
    """Return whether an answer asks to send the same again later."""
    if not isinstance(error, AmbiguousResult):
        return False
    return error.status in (425, 429) or (error.status == 503 and error.retry_after is not None)


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
    sending = _Sending(
        context,
        lambda intent: {**params, "tags": [*tags, intent.tag]},
        lambda tag: Intent(tag, CREATE, context.clock.time()),
        lambda sent: _adopt(sent, context),
    )
    try:
        session = sending.run()
    except (BadRequest, PermissionDenied) as error:
        if isinstance(error, PermissionDenied) and "tag" not in str(error).lower():
            raise
        # Perhaps only our tag is refused (allow-lists exist); without it the answer is
        # the one the caller would have got.
        return _create_untagged(params, context, "the service refused a further tag")
    if session is not None:
        end_strays(context)
        return session
    sent = sending.sent
    named = " or ".join(repr(intent.tag) for intent in sent)
    raise UncertainResult(
        f"It is not known whether a session was created.{_words_of(sending.error)}",
        status=getattr(sending.error, "status", None),
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
            session = _session(kept.session_id, context)
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
            words = _words_of(error)
        else:
            ledger.settle(intent.tag, "done", output["sessionId"])
            return output
    elif intent.state == "done" and intent.session_id:
        session = _session(intent.session_id, context)
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
        context.ledger.settle(sent[-1].tag, "done", adopted=True)
        return _after_sending(session_id, context)

    def explained() -> bool:
        try:
            session = context.call("devin_get_session", {"sessionId": session_id})
        except SimDevinError:
            return False
        return session.get("status") in ("exit", "error") or bool(session.get("isArchived"))

    sending = _Sending(context, lambda _: params, make, look, copies.cannot_tell, explained)
    session = sending.run()
    if session is not None:
        return session
    raise UncertainResult(
        f"It is not known whether the message reached {bare(session_id)}."
        f"{_words_of(sending.error)}",
        status=None if copies.cannot_tell() else getattr(sending.error, "status", None),
        hint=f"Read the session first: sim-devin call devin_list_session_messages "
        f"sessionId={session_id}",
    )


def _after_sending(session_id: str, context: Context) -> Output:
    try:
        return _session(session_id, context)
    except (TransportError, ApiError, UnreadableResponse) as error:
        raise UnreadableResponse(
            f"The message reached {bare(session_id)}, but the session cannot be read: "
            f"{error.message}",
            accepted=True,
            hint="Do not send it again.",
        ) from None
