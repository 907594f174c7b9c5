"""The state of a run in progress: the outputs of blocks, how it ends, and who is told."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim_devin.engine.driver import Driver
from sim_devin.engine.events import Event, Listener
from sim_devin.engine.program import Program
from sim_devin.engine.run import BlockLog, Logs
from sim_devin.engine.scopes import Scope
from sim_devin.redaction import Redactor

logger = logging.getLogger("sim_devin")


@dataclass(frozen=True, kw_only=True)
class Control:
    """How one run is carried out, whatever its workflow.

    Attributes:
        run_id: the run's id; made up unless given.
        stop_after: id of a block after which nothing new starts.
        deadline: seconds from now after which the run is cancelled.
        cancel: set it to cancel the run.
        on_event: told what happens, see `events`.
        is_heard: whether anybody is told by `on_event`; warnings go to the log otherwise.
        workers: blocks that do I/O at the same time, at most.
        max_logs: log entries kept; the oldest are dropped beyond it.
    """

    run_id: str | None = None
    stop_after: str | None = None
    deadline: float | None = None
    cancel: threading.Event | None = None
    on_event: Listener | None = None
    is_heard: bool = True
    workers: int = 16
    max_logs: int = 10_000


class RunState(Driver):
    """The state of a run. It changes only in the thread that drives the run.

    Attributes:
        outputs: node id -> output; with `variables` and `env` what references read.
        output: the final output so far; `locked` once a Response block has set it.
        failure: text, block id and hint of the first failure that no error port took.
    """

    def __init__(
        self,
        program: Program,
        *,
        env: Mapping[str, str],
        variables: dict[str, Any],
        redactor: Redactor,
        control: Control,
    ) -> None:
        super().__init__(
            program.services.clock,
            cancel=control.cancel,
            deadline=control.deadline,
            workers=control.workers,
        )
        self.program = program
        self.services = program.services
        self.run_id = control.run_id or str(uuid.uuid4())
        self.env = env
        self.variables = variables
        self.redactor = redactor
        self.outputs: dict[str, Any] = {}
        self.root = Scope(program.graph, program.graph.root)
        self.logs = Logs(control.max_logs)
        self.output: Any = {}
        self.locked = False
        self.failure: tuple[str, str, str] | None = None
        self.started = self.clock.time()
        self.order = 0
        self.stop_after = control.stop_after
        self.listener = control.on_event
        self.is_heard = control.is_heard and control.on_event is not None

    def begin(self, scope: Scope, index: int) -> None:
        """Make a node ready."""
        self._ready.append((scope, index))

    def next_order(self) -> int:
        """Return the number of the next log entry."""
        self.order += 1
        return self.order

    def fail_run(self, text: str, block_id: str, hint: str) -> None:
        """Record a failure that nothing handles; only the first one counts."""
        self.halted = True
        if self.failure is None and not self.locked:
            self.failure = (text, block_id, hint)

    def emit(self, kind: str, log: BlockLog | None = None, data: Any = None) -> None:
        """Tell the listener. A listener that raises does not disturb the run."""
        if self.listener is not None:
            data = self.redactor.data(data)
            self._hear(Event(kind, self.run_id, self.clock.time(), log, data))

    def _hear(self, event: Event) -> None:
        try:
            if self.listener is not None:
                self.listener(event)
        except Exception:
            logger.exception("a listener of run %s failed at %s", event.run_id, event.kind)

    def relay(self, event: Event) -> None:
        """Pass on an event of a child run, which has a thread of its own."""
        if self.listener is not None:
            self.tell(lambda: self._hear(event))
