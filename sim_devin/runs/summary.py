"""What a run came to: how many blocks ran, and how its sessions were at the end."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sim_devin.calls.jobs.verdict import Verdict, classify
from sim_devin.plugins.registry import Registry
from sim_devin.specs.jobs import JobSpec, JobState

# From what needs least to be seen to what needs it most.
_URGENT: tuple[JobState, ...] = (
    *("done", "in_flight", "ended", "asleep", "blocked_on_approval", "blocked_on_user"),
    *("failed", "out_of_money"),
)
CONTAINERS = ("loop", "parallel")

# Tools whose output is one job as it is: what they say of it counts. One that ends or archives a
# job says how it was found or left, on purpose.
_READS = ("create", "look", "wait")


def verdict_of(registry: Registry, log: Mapping[str, Any], output: Any) -> Verdict | None:
    """Return the state of the job that a block's output is about; None if about none.

    Of an agent that is the one of its jobs that needs most to be seen.

    Args:
        registry: knows the tools and the kinds of jobs.
        log: the block's log entry.
        output: what the block output.
    """
    found = _verdicts(registry, log, output).values()
    return max(found, key=lambda verdict: _URGENT.index(verdict.state), default=None)


def _verdicts(
    registry: Registry, log: Mapping[str, Any], output: Any
) -> dict[tuple[str, str], Verdict]:
    """Return the kind and id of each job that a block's output is about -> its state."""
    if log.get("error") is not None or not isinstance(output, Mapping):
        return {}
    outputs: list[tuple[str, Any]] = [(_tool_of(registry, log), output)]
    if log.get("blockType") == "agent":
        calls = output.get("toolCalls")
        listed = calls.get("list") if isinstance(calls, Mapping) else None
        outputs = [
            (str(call.get("name")), call.get("result"))
            for call in (listed if isinstance(listed, list) else ())
            if isinstance(call, Mapping)
        ]
    found: dict[tuple[str, str], Verdict] = {}
    for tool, result in outputs:
        job = registry.job_of(tool) or registry.job_seen(result)
        verdict = None if job is None else _of_job(job, tool, result)
        if job is not None and verdict is not None:  # the last word on each counts
            found[job.id, job.bare(job.id_of(result))] = verdict
    return found


def _tool_of(registry: Registry, log: Mapping[str, Any]) -> str:
    """Return the tool that a block has called; empty for none."""
    block, given = registry.blocks.get(str(log.get("blockType"))), log.get("input")
    if block is None or not block.operations:
        return ""
    chosen = given.get(block.operation_field) if isinstance(given, Mapping) else None
    first = block.default_operation or next(iter(block.operations))
    return block.operations.get(str(chosen or first), "")


def _of_job(job: JobSpec, tool: str, output: Any) -> Verdict | None:
    if not isinstance(output, Mapping) or job.id_of(output) is None:
        return None
    for state in _URGENT:
        if output.get("outcome") == state:
            return Verdict(state, str(output.get("reason") or ""))
    reads = [job.tools.get(role) for role in _READS]
    answers = tool == job.tools.get("answer")
    if not job.is_seen(output) or not (tool in reads or answers):
        return None
    verdict = classify(job, output)
    # An answer wakes a job that slept, or asked; that one has failed counts.
    if answers and verdict.state not in ("failed", "out_of_money"):
        return None
    return verdict


class Tally:
    """Counts what the blocks of a run come to, child runs included. Safe for many threads."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._ran: set[str] = set()
        self._sessions: dict[tuple[str, str], JobState] = {}

    def add(self, key: str, log: Mapping[str, Any], output: Any) -> None:
        """Count what a block came to, in the order in which blocks end.

        Args:
            key: which block, in which passes.
            log: its log entry.
            output: its output.
        """
        if log.get("blockType") in CONTAINERS:
            return
        verdicts = _verdicts(self._registry, log, output)
        with self._lock:
            self._ran.add(key)
            self._sessions |= {session: verdict.state for session, verdict in verdicts.items()}

    def to_json(self) -> dict[str, Any]:
        """Return ``blocks``, how many ran, and ``sessions``, state -> how many are left in it."""
        with self._lock:
            return {"blocks": len(self._ran), "sessions": dict(Counter(self._sessions.values()))}
