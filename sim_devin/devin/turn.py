"""Whether what a session shows is newer than the last message that was sent to it.

What the service shows may lag: right after a message a session may still read finished, or
waiting for the user, as the turn before left it. A wait that follows a message must not take
that for the answer. What counts as newer:

- the session was seen at work since;
- its ``updatedAt`` is later than the message;
- Devin has said something after it.

Where the service shows none of these, what it shows is believed after a settling time: the
turn may have been over at once, and without a word.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from sim_devin.calls.paging import items
from sim_devin.devin.intents import SEND
from sim_devin.devin.verdict import bare
from sim_devin.errors import Cancelled, SimDevinError

SETTLING = 60.0  # seconds after which a state is believed that nothing shows to be newer
EARLY = 30.0  # the same where something newer is shown, but not the session at work
AT_ONCE = 2.0  # seconds of `updatedAt` after a message that the message itself may account for
LONG_AGO = 600.0  # seconds after which no service lags behind a message any more

REMEMBERED = 10_000  # sessions whose last message a process remembers


class Call(Protocol):
    """Carries out a tool."""

    def __call__(self, tool_id: str, params: Mapping[str, Any], /) -> Mapping[str, Any]:
        """Return the tool's output or raise a `SimDevinError`."""
        ...


def messages_of(session_id: str, call: Call) -> list[Mapping[str, Any]]:
    """Return all messages of a session, oldest first, each once."""

    def fetch(after: str | None) -> Mapping[str, Any]:
        more = {} if after is None else {"after": after}
        params = {"sessionId": session_id, "limit": 200, **more}
        return call("devin_list_session_messages", params)

    messages = items(fetch, "messages")
    # Pages that shift show a message twice.
    return list({item.get("eventId") or n: item for n, item in enumerate(messages)}.values())


@dataclass(frozen=True)
class Sent:
    """A message that is known to have been sent to a session.

    Attributes:
        number: tells it from others to the same session.
        text: what it says; None if it is not known here.
        position: how many messages the session had before it; None if it was not counted.
    """

    number: int = 0
    text: str | None = None
    position: int | None = None


class SentMessages:
    """The last message that this process sent to each session."""

    def __init__(self) -> None:
        self._sent: dict[str, Sent] = {}
        self._count = 0
        self._lock = threading.Lock()

    @contextmanager
    def noting(self, tool_id: str, params: Mapping[str, Any]) -> Iterator[None]:
        """Remember the message that the body sends, unless it is refused."""
        try:
            yield
        except SimDevinError as error:
            if not (error.means.did_nothing or error.means.callers_fault):
                self._note(tool_id, params)
            raise
        self._note(tool_id, params)

    def _note(self, tool_id: str, params: Mapping[str, Any]) -> None:
        if tool_id != SEND:
            return
        key = bare(params["sessionId"])
        with self._lock:
            self._count += 1
            self._sent.pop(key, None)
            self._sent[key] = Sent(self._count, params["message"])
            if len(self._sent) > REMEMBERED:
                del self._sent[next(iter(self._sent))]

    def last(self, session_id: str) -> Sent | None:
        """Return the last message to a session; None if this process sent it none."""
        with self._lock:
            return self._sent.get(bare(session_id))


def settling(
    session: Mapping[str, Any],
    messages: Sequence[Mapping[str, Any]],
    *,
    sent: Sent | None,
    worked: float | None,
    now: float,
) -> float:
    """Return for how many seconds a state has to be shown until it is believed.

    Args:
        session: the session as it is shown.
        messages: its messages, oldest first; empty if they could not be read.
        sent: the message that is waited past, if it is known that there is one.
        worked: the latest ``updatedAt`` with which the session was seen at work since the
            message, 0 if that showed no time; None if it was not seen at work.
        now: the present, in Unix seconds.
    """
    index = _message(messages, sent)
    if index is None:
        if sent is None:
            return 0.0  # there is nothing to wait past
        return SETTLING if worked is None else 0.0
    asked = messages[index]
    said, shown = _seconds(asked.get("createdAt")), _seconds(session.get("updatedAt"))
    if sent is None and (
        _is_prompt(index, said, session) or (said is not None and now - said > LONG_AGO)
    ):
        return 0.0
    if shown and said and shown < said:
        return SETTLING
    if worked is not None and (not worked or not said or worked >= said):
        return 0.0
    later = bool(shown and said and shown >= said + AT_ONCE)
    if later or any(item.get("source") != "user" for item in messages[index + 1 :]):
        return EARLY
    return SETTLING


@dataclass
class Turn:
    """How far a wait has come in telling whether what a session shows is of the present turn.

    Attributes:
        worked: the latest ``updatedAt`` with which it was seen at work, 0 if that showed no
            time; None if it was not seen at work.
        stopped: when it was first seen to have stopped, by the clock of whoever waits.
    """

    worked: float | None = None
    stopped: float | None = None

    def at_work(self, session: Mapping[str, Any]) -> None:
        """Take in that the session was seen at work."""
        self.worked = max(self.worked or 0.0, _seconds(session.get("updatedAt")) or 0.0)
        self.stopped = None

    def is_over(
        self,
        session: Mapping[str, Any],
        messages: Callable[[], Sequence[Mapping[str, Any]]],
        sent: Sent | None,
        *,
        now: float,
        time: float,
    ) -> bool:
        """Return whether a state in which the session has stopped is to be believed.

        Args:
            session: the session as it is shown.
            messages: reads its messages, oldest first.
            sent: the message that is waited past, if it is known that there is one.
            now: the present, by the clock of whoever waits.
            time: the same in Unix seconds.

        Raises:
            Cancelled: the caller wants to stop.
        """
        if sent is None and self.worked is not None:
            return True
        if self.stopped is None or self.stopped > now:
            self.stopped = now
        shown_for = now - self.stopped
        if shown_for >= SETTLING:
            return True
        try:
            found = messages()
        except Cancelled:
            raise
        except SimDevinError:
            found = ()
        needed = settling(session, found, sent=sent, worked=self.worked, now=time)
        return shown_for >= needed


def _message(messages: Sequence[Mapping[str, Any]], sent: Sent | None) -> int | None:
    """Return where the message stands that is waited past; None if it is not there."""
    users = [at for at, item in enumerate(messages) if item.get("source") == "user"]
    if sent is not None and sent.position is not None:
        users = [at for at in users if at >= sent.position]
    elif sent is not None and sent.text is not None:
        users = [at for at in users if messages[at].get("message") == sent.text]
    return users[-1] if users else None


def _is_prompt(index: int, said: float | None, session: Mapping[str, Any]) -> bool:
    created = _seconds(session.get("createdAt"))
    return index == 0 and (not said or not created or said - created < AT_ONCE)


def _seconds(value: Any) -> float | None:
    """Return a moment that the service shows, in Unix seconds: some show milliseconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value / 1000 if value > 1e11 else float(value)
