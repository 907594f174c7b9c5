"""Whether what a job shows is newer than the last message that was sent to it.

What the service shows may lag: right after a message a job may still read finished, or waiting
for the user, as the turn before left it. A wait that follows a message must not take that for
the answer. What counts as newer:

- the job was seen at work since;
- it changed last later than the message;
- it has said something after it.

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
from sim_devin.errors import Cancelled, SimDevinError
from sim_devin.specs.jobs import JobSpec, seconds

SETTLING = 60.0  # seconds after which a state is believed that nothing shows to be newer
EARLY = 30.0  # the same where something newer is shown, but not the session at work
AT_ONCE = 2.0  # seconds of a change after a message that the message itself may account for
LONG_AGO = 600.0  # seconds after which no service lags behind a message any more

REMEMBERED = 10_000  # sessions whose last message a process remembers


class PlainCall(Protocol):
    """Carries out a tool."""

    def __call__(self, tool_id: str, params: Mapping[str, Any], /) -> Mapping[str, Any]:
        """Return the tool's output or raise a `SimDevinError`."""
        ...


def messages_of(job: JobSpec, job_id: str, call: PlainCall) -> list[Mapping[str, Any]]:
    """Return all messages of a job, oldest first, each once; none where no tool lists them."""
    spec = job.messages
    if spec is None:
        return []

    def fetch(after: str | None) -> Mapping[str, Any]:
        more = {} if after is None else {"after": after}
        return call(spec.tool, {spec.id: job_id, **spec.with_, **more})

    messages = items(fetch, spec.items)
    # Pages that shift show a message twice.
    return list({item.get(spec.key) or n: item for n, item in enumerate(messages)}.values())


def is_users(job: JobSpec, message: Mapping[str, Any]) -> bool:
    """Return whether a user of the service wrote a message, and not the job itself."""
    return job.messages is not None and message.get(job.messages.author) in job.messages.users


def question_of(job: JobSpec, messages: Sequence[Mapping[str, Any]]) -> str:
    """Return what a job has said last."""
    said = [item for item in messages if not is_users(job, item)]
    text = said[-1].get(job.messages.text) if said and job.messages is not None else None
    return str(text or "")


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
    """The last message that this process sent to each job."""

    def __init__(self) -> None:
        self._sent: dict[tuple[str, str], Sent] = {}
        self._count = 0
        self._lock = threading.Lock()

    @contextmanager
    def noting(
        self, job: JobSpec | None, tool_id: str, params: Mapping[str, Any]
    ) -> Iterator[None]:
        """Remember the message that the body sends, unless it is refused.

        `job` is the kind of job that the tool has to do with, if any.
        """
        try:
            yield
        except SimDevinError as error:
            if not (error.means.did_nothing or error.means.callers_fault):
                self._note(job, tool_id, params)
            raise
        self._note(job, tool_id, params)

    def _note(self, job: JobSpec | None, tool_id: str, params: Mapping[str, Any]) -> None:
        answer = None if job is None else job.answer
        if job is None or answer is None or tool_id != answer.tool:
            return
        key = (job.id, job.bare(params[answer.id]))
        with self._lock:
            self._count += 1
            self._sent.pop(key, None)
            self._sent[key] = Sent(self._count, params[answer.text])
            if len(self._sent) > REMEMBERED:
                del self._sent[next(iter(self._sent))]

    def last(self, job: JobSpec | None, job_id: str) -> Sent | None:
        """Return the last message to a job; None if this process sent it none."""
        with self._lock:
            return None if job is None else self._sent.get((job.id, job.bare(job_id)))


def settling(
    job: JobSpec,
    session: Mapping[str, Any],
    messages: Sequence[Mapping[str, Any]],
    *,
    sent: Sent | None,
    worked: float | None,
    now: float,
) -> float:
    """Return for how many seconds a state has to be shown until it is believed.

    Args:
        job: the kind of job.
        session: the job as it is shown.
        messages: its messages, oldest first; empty if they could not be read.
        sent: the message that is waited past, if it is known that there is one.
        worked: its latest change with which the job was seen at work since the message, 0 if
            that showed no time; None if it was not seen at work.
        now: the present, in Unix seconds.
    """
    index = _message(job, messages, sent)
    if index is None:
        if sent is None:
            return 0.0  # there is nothing to wait past
        return SETTLING if worked is None else 0.0
    asked = messages[index]
    at = "" if job.messages is None else job.messages.at
    said, shown = seconds(asked.get(at)), job.moment(session, "changed")
    if sent is None and (
        _is_prompt(job, index, said, session) or (said is not None and now - said > LONG_AGO)
    ):
        return 0.0
    if shown and said and shown < said:
        return SETTLING
    if worked is not None and (not worked or not said or worked >= said):
        return 0.0
    later = bool(shown and said and shown >= said + AT_ONCE)
    if later or any(not is_users(job, item) for item in messages[index + 1 :]):
        return EARLY
    return SETTLING


@dataclass
class Turn:
    """How far a wait has come in telling whether what a session shows is of the present turn.

    Attributes:
        worked: its latest change with which it was seen at work, 0 if that showed no time; None
            if it was not seen at work.
        stopped: when it was first seen to have stopped, by the clock of whoever waits.
    """

    worked: float | None = None
    stopped: float | None = None

    def at_work(self, job: JobSpec, session: Mapping[str, Any]) -> None:
        """Take in that the job was seen at work."""
        self.worked = max(self.worked or 0.0, job.moment(session, "changed") or 0.0)
        self.stopped = None

    def is_over(
        self,
        job: JobSpec,
        session: Mapping[str, Any],
        messages: Callable[[], Sequence[Mapping[str, Any]]],
        sent: Sent | None,
        *,
        now: float,
        time: float,
    ) -> bool:
        """Return whether a state in which the session has stopped is to be believed.

        Args:
            job: the kind of job.
            session: the job as it is shown.
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
        needed = settling(job, session, found, sent=sent, worked=self.worked, now=time)
        return shown_for >= needed


def _message(job: JobSpec, messages: Sequence[Mapping[str, Any]], sent: Sent | None) -> int | None:
    """Return where the message stands that is waited past; None if it is not there."""
    users = [at for at, item in enumerate(messages) if is_users(job, item)]
    if sent is not None and sent.position is not None:
        users = [at for at in users if at >= sent.position]
    elif sent is not None and sent.text is not None:
        key = "" if job.messages is None else job.messages.text
        users = [at for at in users if messages[at].get(key) == sent.text]
    return users[-1] if users else None


def _is_prompt(job: JobSpec, index: int, said: float | None, session: Mapping[str, Any]) -> bool:
    created = job.moment(session, "created")
    return index == 0 and (not said or not created or said - created < AT_ONCE)
