"""The intents of one process."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from threading import RLock

from sim_devin.calls.intents import (
    TAG_PREFIX,
    Intent,
    State,
    may_double,
    next_state,
)
from sim_devin.specs.jobs import JobSpec


@dataclass
class MemoryLedger:
    """Intents of this process.

    Attributes:
        intents: by tag.
        reports: what was told about them, oldest first.
    """

    intents: dict[str, Intent] = field(default_factory=dict)
    reports: list[str] = field(default_factory=list)
    _lock: RLock = field(default_factory=RLock, repr=False)

    def tag(self, number: str) -> str:  # noqa: ARG002 - every call is a new one here
        """Return a fresh tag."""
        return TAG_PREFIX + secrets.token_hex(8)

    def earlier(self) -> list[Intent]:
        """Return nothing: every call is a new one here."""
        return []

    def claim(self, intent: Intent) -> bool:
        """Record an intent; return whether it may be sent."""
        with self._lock:
            known = self.intents.setdefault(intent.tag, intent)
            if known is not intent:
                vars(intent).update(vars(known))
                return False
            if intent.state == "repeat":
                intent.state, intent.sends = "open", intent.sends + 1
            elif intent.state == "rejected":
                intent.state = "open"
            return intent.state == "open"

    def confirm(self, intent: Intent, *, stale: bool = False) -> None:
        """Let it be sent: no other process knows of it."""

    def settle(
        self,
        tag: str,
        state: State,
        session_id: str | None = None,
        *,
        adopted: bool = False,
        sends: int | None = None,
    ) -> Intent:
        """Record what became of an intent; return what is recorded then."""
        with self._lock:
            intent = self.intents[tag]
            after = next_state(intent, state, adopted=adopted, sends=sends)
            if after != intent.state:
                intent.state, intent.session_id = after, session_id or intent.session_id
            return replace(intent)

    def watched(self, creates: Collection[str], since: float) -> list[Intent]:
        """Return the creates sent after `since` (Unix seconds) that may turn out doubles."""
        with self._lock:
            return [
                replace(intent)
                for intent in self.intents.values()
                if intent.tool in creates and intent.at >= since and may_double(intent)
            ]

    def in_use(self, job: JobSpec, job_id: str) -> bool:
        """Return whether a job is what an intent led to."""
        with self._lock:
            return any(intent.state == "done" for intent in self._about(job, job_id))

    def same_text(self, job: JobSpec, job_id: str, text: str) -> list[Intent]:
        """Return the intents of all messages of a text to a job."""
        with self._lock:
            return [replace(one) for one in self._about(job, job_id) if one.text == text]

    def take(
        self, job: JobSpec, tags: Sequence[str], copies: int, others: Sequence[Intent]
    ) -> bool:
        """Record that a message has arrived, if one of the copies of its text is nobody's yet."""
        with self._lock:
            mine = self.intents[tags[-1]]
            same = self.same_text(job, mine.session_id or "", mine.text or "")
            return take(self.settle, same, tags, copies, others)

    def report(self, tag: str, message: str, session_id: str) -> None:  # noqa: ARG002
        """Keep what was found out about an intent."""
        with self._lock:
            self.reports.append(message)

    def _about(self, job: JobSpec, job_id: str) -> list[Intent]:
        tools = job.tools.values()
        return [
            intent
            for intent in self.intents.values()
            if intent.tool in tools and intent.session_id and job.same(intent.session_id, job_id)
        ]


def take(
    settle: Callable[..., Intent],
    same: Sequence[Intent],
    tags: Sequence[str],
    copies: int,
    others: Sequence[Intent],
) -> bool:
    """Carry out `Ledger.take` among the intents of one text, which nothing changes meanwhile."""
    left = copies - sum(intent.state == "done" and intent.tag not in tags for intent in same)
    if left <= 0 or settle(tags[-1], "done", adopted=True).state != "done":
        return False
    for other in others[left - 1 :]:
        settle(other.tag, "missing", sends=other.sends)
    return True
