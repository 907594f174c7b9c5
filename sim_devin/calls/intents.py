"""Intents: what must not happen twice, recorded before it is sent, and what may become of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from sim_devin.specs.jobs import JobSpec

TAG_PREFIX = "sim-"
GRACE = 300.0  # seconds: longer than a request, and a lagging list, can still surprise

Policy = Literal["hold", "retry"]
State = Literal["open", "done", "rejected", "repeat", "uncertain", "missing", "stray"]


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
    """One thing that must not happen twice, recorded before it is sent.

    Attributes:
        tag: its unique name; for a create also the tag that goes out.
        tool: what is sent.
        at: when, in Unix seconds.
        state: ``open`` until it is known; then ``done``, ``rejected`` (by the service, or
            never sent), ``uncertain`` (left to a human), ``repeat`` (a human, or a service that
            says "later", lets it be sent again), ``missing`` (not there after the grace window
            and given up), ``stray`` (it appeared after it was given up, and is ended).
        session_id: the job it led to or is for.
        position: number of messages in the job before this one.
        text: what tells the message's text from others; None if it is none.
        least, most: how many copies of that text, sent by others than us, the job held
            before; None where that was not recorded.
        sends: how often it was sent, at most.
    """

    tag: str
    tool: str
    at: float
    state: State = "open"
    session_id: str | None = None
    position: int = 0
    text: str | None = None
    least: int | None = None
    most: int | None = None
    sends: int = 1


# What is known -> what is learned -> what is known then. What is not named changes nothing, so
# `done` and `stray` are final.
_NEXT: Mapping[State, Mapping[State, State]] = {
    "open": {
        "done": "done",
        "rejected": "rejected",
        "repeat": "repeat",
        "uncertain": "uncertain",
        "missing": "missing",
    },
    "rejected": {"done": "done"},
    "repeat": {"done": "done"},
    "uncertain": {"done": "done", "repeat": "repeat", "rejected": "rejected"},
    # Something else may have been sent in its place: what turns up now is one too many.
    "missing": {"done": "stray", "stray": "stray", "repeat": "repeat", "uncertain": "uncertain"},
    "done": {},
    "stray": {},
}


def next_state(
    intent: Intent, learned: State, *, adopted: bool = False, sends: int | None = None
) -> State:
    """Return the state of an intent after `learned`, whoever learned it and however late.

    Args:
        intent: as it is recorded.
        learned: what someone has found out.
        adopted: it was found by who may still decide that nothing else takes its place.
        sends: how often it had been sent, as far as they knew; None if that does not matter.
    """
    if sends is not None and sends < intent.sends and learned not in ("done", "stray"):
        return intent.state  # it was sent again since, of which they know nothing
    if adopted and learned == "done" and intent.state == "missing":
        return "done"
    if learned == "uncertain" and intent.state == "missing" and intent.text is not None:
        return "missing"  # all copies were counted: a late answer must not claim one of them
    if learned == "rejected" and intent.sends > 1 and intent.state in ("open", "uncertain"):
        return "missing"  # that says nothing of the times before
    return _NEXT[intent.state].get(learned, intent.state)


class Ledger(Protocol):
    """Where intents are kept. `claim` decides who may send: only the first claim of a tag."""

    def tag(self, number: str) -> str:
        """Return the tag of the try called `number`: a fresh one, or always the same for a step.

        A ledger of a durable run answers the same after a crash, so that the try is found.
        """
        ...

    def earlier(self) -> list[Intent]:
        """Return what is recorded of this step already, oldest first."""
        ...

    def claim(self, intent: Intent) -> bool:
        """Record an intent; return whether this caller may send.

        What was ``rejected``, or is to ``repeat``, may be claimed again. Otherwise, and for what
        is to repeat, the attributes of `intent` become those of the record.
        """
        ...

    def confirm(self, intent: Intent, *, stale: bool = False) -> None:
        """Raise if this caller may not send what it has claimed any more; it has not yet.

        Args:
            intent: as claimed.
            stale: it was claimed so long ago that others may be about to decide about it.
        """
        ...

    def settle(
        self,
        tag: str,
        state: State,
        session_id: str | None = None,
        *,
        adopted: bool = False,
        sends: int | None = None,
    ) -> Intent:
        """Record what became of an intent, and return what is recorded then: see `next_state`.

        Another intent of the step that is ``done`` makes this one ``stray``; that one is
        returned. While there is one, what was given up stays so.
        """
        ...

    def watched(self, creates: Collection[str], since: float) -> list[Intent]:
        """Return what was sent after `since` (Unix seconds) and may turn out a double.

        `creates` are the tools that create jobs.
        """
        ...

    def in_use(self, job: JobSpec, job_id: str) -> bool:
        """Return whether a job of a kind is what an intent led to."""
        ...

    def same_text(self, job: JobSpec, job_id: str, text: str) -> list[Intent]:
        """Return the intents of all messages of a text to a job."""
        ...

    def take(
        self, job: JobSpec, tags: Sequence[str], copies: int, others: Sequence[Intent]
    ) -> bool:
        """Record that a message has arrived, if one of the copies of its text is nobody's yet.

        Args:
            job: the kind of job that it was sent to.
            tags: those of the message, the last of which it is recorded of.
            copies: how many are ours, those that open intents other than `others` may own apart.
            others: open intents of that text whose answers cannot come any more. Those for
                which no copy is left become ``missing``, so that no late answer counts one twice.

        Returns:
            Whether it has; False if as many others of its text as `copies` are done by now.
        """
        ...

    def report(self, tag: str, message: str, session_id: str) -> None:
        """Tell whoever reads the outcome what was found out about an intent."""
        ...


MAY_ARRIVE: tuple[State, ...] = ("open", "uncertain", "repeat")


def may_double(intent: Intent) -> bool:
    """Return whether a further job may turn up that carries the tag of a create."""
    return intent.state in ("missing", "stray") or intent.sends > 1
