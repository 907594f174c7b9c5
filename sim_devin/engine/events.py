"""What happens in a run, told to one listener.

The progress of the command line, the log, the web stream and the store all listen to
these. A listener is called from the thread that drives the run, one event at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim_devin.engine.run import BlockLog

RUN_STARTED = "run.started"
RUN_FINISHED = "run.finished"
RUN_FAILED = "run.failed"
RUN_PAUSED = "run.paused"
RUN_CANCELLED = "run.cancelled"
RUN_REMINDER = "run.reminder"
# The kinds that end a drive of a run -> how it ended.
RUN_ENDS = {
    RUN_FINISHED: "finished",
    RUN_FAILED: "failed",
    RUN_PAUSED: "paused",
    RUN_CANCELLED: "cancelled",
}
BLOCK_STARTED = "block.started"
BLOCK_FINISHED = "block.finished"
BLOCK_FAILED = "block.failed"
BLOCK_WAITING = "block.waiting"
BLOCK_RETRYING = "block.retrying"
BLOCK_WARNING = "block.warning"

KINDS = (
    RUN_STARTED,
    RUN_FINISHED,
    RUN_FAILED,
    RUN_PAUSED,
    RUN_CANCELLED,
    RUN_REMINDER,
    BLOCK_STARTED,
    BLOCK_FINISHED,
    BLOCK_FAILED,
    BLOCK_WAITING,
    BLOCK_RETRYING,
    BLOCK_WARNING,
)


class Event:
    """One thing that happened.

    Attributes:
        kind: one of `KINDS`.
        run_id: id of the run.
        time: seconds since the Unix epoch.
        log: the block's log entry, for ``block.*``; it is filled in as the block continues.
        data: what else there is to say, such as the reason of a wait or the error of a run.
    """

    __slots__ = ("data", "kind", "log", "run_id", "time")

    def __init__(
        self,
        kind: str,
        run_id: str,
        time: float,
        log: BlockLog | None = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.run_id = run_id
        self.time = time
        self.log = log
        self.data = data

    def __repr__(self) -> str:
        place = f", {self.log.block_id}" if self.log is not None else ""
        return f"Event({self.kind}{place})"

    def to_json(self) -> dict[str, Any]:
        """Return the event as JSON data, secrets masked; the block's output is left out."""
        moment = datetime.fromtimestamp(self.time, UTC)
        body: dict[str, Any] = {
            "event": self.kind,
            "runId": self.run_id,
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        if self.log is not None:
            body |= self.log.summary()
        return body | (self.data or {})


Listener = Callable[[Event], None]
