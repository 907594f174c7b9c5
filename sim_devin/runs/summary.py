"""What a run came to: how many blocks ran, and how its sessions were at the end."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sim_devin.devin.verdict import State, Verdict, bare, classify

# From what needs least to be seen to what needs it most.
_URGENT: tuple[State, ...] = (
    *("done", "in_flight", "ended", "asleep", "blocked_on_approval", "blocked_on_user"),
    *("failed", "out_of_money"),
)
CONTAINERS = ("loop", "parallel")

# Operations whose output is one session as it is: what they say of it counts. One that ends or
# archives a session says how it was found or left, on purpose.
_READS = ("create_session", "get_session", "wait_for_session")
_SENDS = "send_message"  # it wakes a session that slept, or asked; that one has failed counts
_DEVIN = ("devin", "devin_wait")
_TOOL = "devin_"  # what stands before an operation in the name of its tool


def verdict_of(log: Mapping[str, Any], output: Any) -> Verdict | None:
    """Return the state of the session that a block's output is about; None if about none.

    Of an agent that is the one of its sessions that needs most to be seen.

    Args:
        log: the block's log entry.
        output: what the block put out.
    """
    found = _verdicts(log, output).values()
    return max(found, key=lambda verdict: _URGENT.index(verdict.state), default=None)


def _verdicts(log: Mapping[str, Any], output: Any) -> dict[str, Verdict]:
    """Return session -> its state, of the sessions that a block's output is about."""
    if log.get("error") is not None or not isinstance(output, Mapping):
        return {}
    if log.get("blockType") != "agent":
        given = log.get("input")
        operation = given.get("operation") if isinstance(given, Mapping) else None
        is_devins = log.get("blockType") in _DEVIN
        verdict = _of_session(output, (operation or _READS[0]) if is_devins else "")
        return {} if verdict is None else {bare(output["sessionId"]): verdict}
    calls = output.get("toolCalls")
    listed = calls.get("list") if isinstance(calls, Mapping) else None
    found = {}
    for call in listed if isinstance(listed, list) else ():
        result = call.get("result") if isinstance(call, Mapping) else None
        if isinstance(result, Mapping):
            verdict = _of_session(result, str(call.get("name")).removeprefix(_TOOL))
            if verdict is not None:  # the last word on each counts
                found[bare(result["sessionId"])] = verdict
    return found


def _of_session(output: Mapping[str, Any], operation: str) -> Verdict | None:
    if not isinstance(output.get("sessionId"), str):
        return None
    for state in _URGENT:
        if output.get("outcome") == state:
            return Verdict(state, str(output.get("reason") or ""))
    if not output.get("status") or operation not in (*_READS, _SENDS):
        return None
    verdict = classify(output)
    if operation == _SENDS and verdict.state not in ("failed", "out_of_money"):
        return None
    return verdict


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
        verdicts = _verdicts(log, output)
        with self._lock:
            self._ran.add(key)
            self._sessions |= {session: verdict.state for session, verdict in verdicts.items()}

    def to_json(self) -> dict[str, Any]:
        """Return ``blocks``, how many ran, and ``sessions``, state -> how many are left in it."""
        with self._lock:
            return {"blocks": len(self._ran), "sessions": dict(Counter(self._sessions.values()))}
