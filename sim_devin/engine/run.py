"""What a run leaves behind: the log of its blocks and its result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from sim_devin.engine.references import MISSING, parse_json
from sim_devin.redaction import Redactor

SYSTEM_KEYS = frozenset({"triggerMode", "advancedMode"})
HIDDEN_OUTPUTS = frozenset({"childTraceSpans"})


def iso(seconds: float) -> str:
    """Return a Unix time as ISO 8601 text with milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class BlockLog:
    """The record of one block, or container, having run once.

    `input` and `output` are what a reader may see: secrets masked by provenance (a value
    that came from ``{{NAME}}`` shows the name) and by value.
    """

    __slots__ = (
        "block_id",
        "block_name",
        "block_type",
        "child_logs",
        "ended",
        "error",
        "error_handled",
        "execution_order",
        "hint",
        "iteration_index",
        "loop_id",
        "parallel_id",
        "parent_iterations",
        "raw_input",
        "raw_output",
        "redactor",
        "shown",
        "started",
        "success",
        "tries",
    )

    def __init__(
        self,
        block_id: str,
        block_name: str,
        block_type: str,
        execution_order: int,
        started: float,
        redactor: Redactor,
    ) -> None:
        self.block_id = block_id
        self.block_name = block_name
        self.block_type = block_type
        self.execution_order = execution_order
        self.started = started
        self.redactor = redactor
        self.ended: float | None = None
        self.success = False
        self.error: str | None = None
        self.hint: str | None = None
        self.error_handled = False
        self.tries = 1
        self.loop_id: str | None = None
        self.parallel_id: str | None = None
        self.iteration_index: int | None = None
        self.parent_iterations: list[dict[str, Any]] | None = None
        self.child_logs: list[BlockLog] | None = None
        self.raw_input: Mapping[str, Any] | None = None
        self.raw_output: Mapping[str, Any] | None = None
        self.shown: Mapping[str, Any] | None = None  # inputs as they may be seen, if they differ

    def __repr__(self) -> str:
        state = "ok" if self.success else (self.error or "running")
        return f"BlockLog({self.block_name!r}, {state})"

    @property
    def duration_ms(self) -> int | None:
        """How long it took in whole milliseconds; None while it runs."""
        return None if self.ended is None else round((self.ended - self.started) * 1000)

    @property
    def input(self) -> Any:
        """The resolved inputs, masked; JSON texts parsed for reading. None if there were none."""
        if self.raw_input is None:
            return None
        merged = {**self.raw_input, **(self.shown or {})}
        readable = {
            key: _readable(value) for key, value in merged.items() if key not in SYSTEM_KEYS
        }
        return self.redactor.data(readable)

    @property
    def output(self) -> Any:
        """The output, masked and without internal keys; None if there was none."""
        if self.raw_output is None:
            return None
        return self.redactor.data(
            {
                key: value
                for key, value in self.raw_output.items()
                if not key.startswith("_") and key not in HIDDEN_OUTPUTS
            }
        )

    def summary(self) -> dict[str, Any]:
        """Return what identifies the entry and how it went, without inputs and outputs."""
        body: dict[str, Any] = {
            "blockId": self.block_id,
            "blockName": self.block_name,
            "blockType": self.block_type,
            "startedAt": iso(self.started),
            "endedAt": None if self.ended is None else iso(self.ended),
            "durationMs": self.duration_ms,
            "success": self.success,
            "executionOrder": self.execution_order,
        }
        optional = {
            "error": self.error,
            "hint": self.hint,
            "errorHandled": self.error_handled or None,
            "tries": self.tries if self.tries > 1 else None,
            "loopId": self.loop_id,
            "parallelId": self.parallel_id,
            "iterationIndex": self.iteration_index,
            "parentIterations": self.parent_iterations,
        }
        return body | {key: value for key, value in optional.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """Return the entry as Sim writes it."""
        body = self.summary()
        for key, value in (("input", self.input), ("output", self.output)):
            if value is not None:
                body[key] = value
        if self.child_logs:
            body["childLogs"] = [log.to_json() for log in self.child_logs]
        return body

    @classmethod
    def from_json(cls, data: Mapping[str, Any], redactor: Redactor) -> BlockLog:
        """Return the entry that `to_json` wrote."""
        log = cls(
            data["blockId"],
            data["blockName"],
            data["blockType"],
            data["executionOrder"],
            unix(data["startedAt"]),
            redactor,
        )
        log.ended = None if data.get("endedAt") is None else unix(data["endedAt"])
        log.success = data["success"]
        log.error, log.hint = data.get("error"), data.get("hint")
        log.error_handled = data.get("errorHandled", False)
        log.tries = data.get("tries", 1)
        log.loop_id, log.parallel_id = data.get("loopId"), data.get("parallelId")
        log.iteration_index = data.get("iterationIndex")
        log.parent_iterations = data.get("parentIterations")
        log.raw_input, log.raw_output = data.get("input"), data.get("output")
        children = data.get("childLogs")
        log.child_logs = children and [cls.from_json(item, redactor) for item in children]
        return log


def unix(text: str) -> float:
    """Return the Unix time of ISO 8601 text."""
    return datetime.fromisoformat(text).timestamp()


def _readable(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        parsed = parse_json(value)
        return value if parsed is MISSING else parsed
    return value


class Logs:
    """The block logs of a run in order of start, the oldest dropped beyond `limit`."""

    def __init__(self, limit: int, earlier: Iterable[BlockLog] = ()) -> None:
        self.limit = limit
        self.entries: list[BlockLog] = list(earlier)
        self.dropped = 0

    def append(self, log: BlockLog) -> None:
        """Add an entry."""
        self.entries.append(log)
        if len(self.entries) > self.limit + self.limit // 8:
            # Trimmed in batches: dropping one at a time would move the whole list each time.
            excess = len(self.entries) - self.limit
            del self.entries[:excess]
            self.dropped += excess


@dataclass
class RunResult:
    """How a run ended.

    Attributes:
        success: whether nothing failed; a paused run has not failed so far.
        status: None for a run that ended by itself, else ``paused`` or ``cancelled``.
        output: the final output; of a paused run what its pause shows.
        error: ``block name: message`` of the first failure, redacted.
        failed_block: id of the block that failed.
        logs: one entry for each time a block or container ran, in order of start; the
            oldest are dropped beyond the engine's limit (`dropped_logs` counts them).
        block_outputs: node id -> output, of everything that ran.
        pause_points: where the run waits, as JSON data.
        bound: env and bindings of the run, kept for resuming it in the same process only.
        reason: why it was cancelled: ``cancel`` or ``deadline``.
        variables: workflow variable name -> value at the end.
        warnings: what the workflow's author should know, such as a field that a model reads
            and that therefore did not get the value of an environment variable.
    """

    run_id: str
    success: bool
    status: str | None = None
    output: Any = None
    error: str | None = None
    failed_block: str | None = None
    logs: list[BlockLog] = field(default_factory=list)
    block_outputs: dict[str, Any] = field(default_factory=dict, repr=False)
    pause_points: list[dict[str, Any]] = field(default_factory=list)
    reason: str | None = None
    hint: str | None = None
    workflow_name: str = ""
    variables: dict[str, Any] = field(default_factory=dict, repr=False)
    warnings: list[str] = field(default_factory=list, repr=False)
    dropped_logs: int = 0
    started: float = 0.0
    ended: float = 0.0
    take_snapshot: Callable[[], dict[str, Any]] = field(default=dict, repr=False, compare=False)
    bound: Any = field(default=None, repr=False, compare=False)

    @cached_property
    def snapshot(self) -> dict[str, Any]:
        """The run's state as JSON data without credentials; made when first asked for."""
        return self.take_snapshot()

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON data, without the snapshot."""
        body: dict[str, Any] = {
            "runId": self.run_id,
            "success": self.success,
            "status": self.status,
            "output": self.output,
            "error": self.error,
            "hint": self.hint,
            "failedBlock": self.failed_block,
            "reason": self.reason,
            "warnings": self.warnings or None,
            "logs": [log.to_json() for log in self.logs],
            "pausePoints": self.pause_points,
            "startedAt": iso(self.started),
            "endedAt": iso(self.ended),
            "durationMs": round((self.ended - self.started) * 1000),
        }
        return {key: value for key, value in body.items() if value is not None or key == "output"}
