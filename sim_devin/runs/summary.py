"""What a run came to: how many blocks ran, and how its sessions were at the end."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, get_args

from sim_devin.devin.verdict import State, Verdict, bare, classify

_STATES: tuple[State, ...] = get_args(State)
CONTAINERS = ("loop", "parallel")

# Operations of a Devin block whose output is one session as it is: what they say of it counts.
# One that ends, archives or wakes a session says how it was found or left, on purpose.
_READS = ("create_session", "get_session", "wait_for_session")
_DEVIN = ("devin", "devin_wait")


def verdict_of(log: Mapping[str, Any], output: Any) -> Verdict | None:
    """Return the state of the session that a block's output is about; None if about none.

    Args:
        log: the block's log entry.
        output: what the block put out.
    """
    if log.get("error") is not None or not isinstance(output, Mapping):
        return None
    if not isinstance(output.get("sessionId"), str):
        return None
    for state in _STATES:
        if output.get("outcome") == state:
            return Verdict(state, str(output.get("reason") or ""))
    if log.get("blockType") not in _DEVIN or not output.get("status"):
        return None
    given = log.get("input")
    operation = given.get("operation") if isinstance(given, Mapping) else None
    return classify(output) if operation in (None, *_READS) else None


class Tally:
    """Counts what the blocks of a run come to, child runs included. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ran: set[str] = set()
        self._sessions: dict[str, State] = {}

    def add(self, key: str, log: Mapping[str, Any], output: Any) -> None:
        """Count what a block came to, in the order in which blocks end.

        Args:
            key: which block, in which passes.
            log: its log entry.
            output: what it put out.
        """
        if log.get("blockType") in CONTAINERS:
            return
        verdict = verdict_of(log, output)
        with self._lock:
            self._ran.add(key)
            if verdict is not None:
                self._sessions[bare(output["sessionId"])] = verdict.state

    def to_json(self) -> dict[str, Any]:
        """Return ``blocks``, how many ran, and ``sessions``, state -> how many are left in it."""
        with self._lock:
            return {"blocks": len(self._ran), "sessions": dict(Counter(self._sessions.values()))}
