"""One run under way: what is ready, what is in flight, and what follows from what ends.

All state changes happen in the thread that drives the run; worker threads only call
handlers and hand their results back through a queue.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from sim_devin import conditions, containers, events, pauses
from sim_devin.budget import Budget
from sim_devin.errors import Cancelled, SimDevinError
from sim_devin.events import Event, Listener
from sim_devin.failures import describe, may_retry
from sim_devin.handler import BlockContext, BlockError, Pause, Sleep
from sim_devin.program import Program, Step
from sim_devin.redaction import Redactor
from sim_devin.run import BlockLog, Logs, RunResult, unix
from sim_devin.scopes import ContainerRun, Scope, branch_alias, mark
from sim_devin.workers import Workers
from sim_devin.workflow import Variable

POLL = 0.05  # seconds between looks at the caller's cancel event while calls are in flight
GRACE = 2.0  # seconds that calls in flight get to notice a stop

logger = logging.getLogger("sim_devin")


class Task:
    """One block being run once in one pass."""

    __slots__ = ("attempt", "context", "index", "log", "node_id", "scope", "step")

    def __init__(self, step: Step, scope: Scope, index: int, node_id: str, log: BlockLog) -> None:
        self.step = step
        self.scope = scope
        self.index = index
        self.node_id = node_id
        self.log = log
        self.attempt = 1
        self.context: BlockContext | None = None


class Execution:
    """The state of a run and the rules by which it moves on.

    `outputs`, `variables` and `env` are what references read.
    """

    def __init__(
        self,
        program: Program,
        *,
        run_id: str | None = None,
        env: Mapping[str, str],
        variables: dict[str, Any],
        redactor: Redactor,
        on_event: Listener | None = None,
        cancel: threading.Event | None = None,
        deadline: float | None = None,
        stop_after: str | None = None,
        budget: Budget | None = None,
        run_child: Callable[[Execution, str, Mapping[str, Any]], RunResult] | None = None,
        workers: int = 16,
        max_logs: int = 10_000,
        start_output: dict[str, Any] | None = None,
    ) -> None:
        self.program = program
        self.services = program.services
        self.clock = program.services.clock
        self.run_id = run_id or str(uuid.uuid4())
        self.env = env
        self.variables = variables
        self.redactor = redactor
        self.outputs: dict[str, Any] = {}
        self.root = Scope(program.graph, program.graph.root)
        self.logs = Logs(max_logs)
        self.order = 0
        self.output: Any = {}
        self.locked = False
        self.halted = False
        self.failure: tuple[str, str | None, str] | None = None  # text, block id, hint
        self.paused: dict[str, tuple[Task, dict[str, Any]]] = {}
        self.cancelled: str | None = None
        self.stop = threading.Event()
        self.started = self.clock.time()
        self.start_output = start_output or {}
        self.budget = budget or Budget({})
        self._on_event = on_event
        self._cancel = cancel
        self._deadline = None if deadline is None else self.clock.monotonic() + deadline
        self._stop_after = stop_after
        self._run_child = run_child
        self._ready: list[tuple[Scope, int]] = []
        self._in_flight: set[Task] = set()
        self._timers: list[tuple[float, int, Task, Mapping[str, Any] | None]] = []
        self._sequence = itertools.count()
        self._done: queue.SimpleQueue[tuple[Task, Any, BaseException | None]] = queue.SimpleQueue()
        self._workers = Workers(workers)

    # -- driving -------------------------------------------------------------------------------

    def begin(self, scope: Scope, index: int) -> None:
        """Make a node ready."""
        self._ready.append((scope, index))

    def drive(self) -> None:
        """Run until nothing more can happen.

        Raises:
            KeyboardInterrupt: passed on once calls in flight were told to stop.
        """
        try:
            while self._advance():
                self._wait()
        except KeyboardInterrupt:
            self._interrupt("cancel")
            raise
        finally:
            if self.cancelled:
                self._drain()
            self._workers.close(GRACE if self.cancelled else None)

    def _advance(self) -> bool:
        """Run what is ready; return whether to wait for something in flight."""
        while self._ready and not self.halted:
            if self._is_interrupted():
                break
            batch, self._ready = self._ready, []
            inline: list[Task] = []
            for scope, index in batch:
                task = self._start(scope, index)
                if task is None:
                    continue
                if task.step.inline:
                    inline.append(task)
                else:
                    self._submit(task)
            for task in inline:
                self._run_inline(task)
            if self._in_flight:
                self._take_done()
        if self.halted:
            self._timers.clear()
        return bool(self._in_flight or self._timers) and not self.cancelled

    def _wait(self) -> None:
        """Wait for the next thing to happen: a call to end, a timer, a cancel, the deadline."""
        if self._in_flight:
            watched = self._cancel is not None or self._deadline is not None or self._timers
            try:
                self._handle(*self._done.get(timeout=POLL if watched else None))
            except queue.Empty:
                pass
            self._take_done()
        elif self._timers:
            delay = self._timers[0][0] - self.clock.monotonic()
            if self._deadline is not None:
                delay = min(delay, self._deadline - self.clock.monotonic())
            if delay > 0:
                self.clock.wait(self._cancel or self.stop, delay)
        if not self._is_interrupted():
            self._fire_timers()

    def _is_interrupted(self) -> bool:
        if self.cancelled:
            return True
        if self._cancel is not None and self._cancel.is_set():
            self._interrupt("cancel")
        elif self._deadline is not None and self.clock.monotonic() >= self._deadline:
            self._interrupt("deadline")
        return bool(self.cancelled)

    def _interrupt(self, reason: str) -> None:
        self.cancelled = reason
        self.halted = True
        self.stop.set()

    def _drain(self) -> None:
        """Give calls in flight a moment to end, then close the logs of those that did not."""
        patience = GRACE
        while self._in_flight and patience > 0:
            try:
                task, _, _ = self._done.get(timeout=POLL)
            except queue.Empty:
                patience -= POLL
                continue
            self._in_flight.discard(task)
        now = self.clock.time()
        for log in self.logs.entries:
            if log.ended is None:
                log.ended = now

    def _take_done(self) -> None:
        while True:
            try:
                done = self._done.get_nowait()
            except queue.Empty:
                return
            self._handle(*done)

    def _fire_timers(self) -> None:
        now = self.clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, task, output = heapq.heappop(self._timers)
            if output is not None:
                self._finish(task, output)
            elif task.step.inline:
                self._run_inline(task)
            else:
                self._submit(task)

    # -- one block -----------------------------------------------------------------------------

    def _start(self, scope: Scope, index: int) -> Task | None:
        """Open a node's log entry and resolve its fields; None if it is done already."""
        block = scope.body.nodes[index].block
        step = self.program.steps.get(block.id)
        if step is None:
            self._enter(scope, index)
            return None
        owner = scope.owner
        node_id = block.id if owner is None else scope.node_id(block.id)
        self.order += 1
        log = BlockLog(node_id, step.name, block.type, self.order, self.clock.time(), self.redactor)
        if owner is not None:
            _place(log, scope)
        self.logs.append(log)
        task = Task(step, scope, index, node_id, log)
        if self._on_event is not None:
            self.emit(events.BLOCK_STARTED, log)
        try:
            values = self._resolve(step, scope, log)
        except BlockError as error:
            self._fail_block(task, error)
            return None
        source = step.source and self._output_at(scope, step.source)
        task.context = BlockContext(self, log, step.node, node_id, values, source or {}, scope)
        return task

    def _resolve(self, step: Step, scope: Scope, log: BlockLog) -> dict[str, Any]:
        values = step.constants.copy()
        if step.dynamic:
            shown: dict[str, Any] = {}
            for key, template in step.dynamic:
                values[key] = template.render(scope, self)
                if template.has_env:
                    shown[key] = template.shown(scope, self)
            if shown:
                log.shown = shown
        log.raw_input = values
        return values

    def _output_at(self, scope: Scope, block_id: str) -> Mapping[str, Any] | None:
        output: Mapping[str, Any] | None = self.outputs.get(scope.node_id(block_id))
        return output

    def _run_inline(self, task: Task) -> None:
        if task.step.node.id == self.program.start.id and task.scope is self.root:
            self._finish(task, self.start_output)
            return
        try:
            output = task.step.handler(task.context)  # type: ignore[arg-type]
        except Exception as error:  # whatever a handler raises is the failure of its block
            self._failed(task, error)
            return
        self._handle_output(task, output)

    def _submit(self, task: Task) -> None:
        self._in_flight.add(task)
        done, handler, context = self._done, task.step.handler, task.context

        def work() -> None:
            try:
                output = handler(context)  # type: ignore[arg-type]
            except BaseException as error:  # a thread must hand back whatever ends it
                done.put((task, None, error))
            else:
                done.put((task, output, None))

        self._workers.submit(work)

    def _handle(self, task: Task, output: Any, error: BaseException | None) -> None:
        if isinstance(output, _Said):
            self.emit(events.BLOCK_WAITING, task.log, output.data)
            return
        self._in_flight.discard(task)
        if error is not None:
            self._failed(task, error)
        else:
            self._handle_output(task, output)

    def _handle_output(self, task: Task, output: Any) -> None:
        if type(output) is dict:
            self._finish(task, output)
        elif isinstance(output, Sleep):
            self.emit(events.BLOCK_WAITING, task.log, {"reason": output.reason or "waiting"})
            self._after(output.seconds, task, output.output)
        elif isinstance(output, Pause):
            self._pause(task, output)
        elif output is None:
            self._finish(task, {})
        elif isinstance(output, Mapping):
            self._finish(task, dict(output))
        else:
            self._finish(task, {"result": output})

    def _after(self, seconds: float, task: Task, output: Mapping[str, Any] | None) -> None:
        due = self.clock.monotonic() + max(0.0, seconds)
        heapq.heappush(self._timers, (due, next(self._sequence), task, output))

    def _finish(self, task: Task, output: Mapping[str, Any]) -> None:
        log, step = task.log, task.step
        log.ended = self.clock.time()
        log.success = True
        log.raw_output = output
        self._store(task, output)
        if self._on_event is not None:
            self.emit(events.BLOCK_FINISHED, log)
        block = step.node.block
        if not self.locked:
            if block.type == "response" and self.failure is None:
                self.output, self.locked, self.halted = output, True, True
            elif step.leaf:
                self.output = output
        if block.id == self._stop_after:
            self.halted = True
        self._settle(task.scope, task.index, output)

    def _store(self, task: Task, output: Mapping[str, Any]) -> None:
        scope = task.scope
        self.outputs[task.node_id] = output
        if scope.owner is None:
            return
        scope.outputs.append(output)
        if not scope.owner.is_loop:
            # Batches reuse node ids; these two keep every branch's output.
            block_id = task.step.node.id
            self.outputs[task.node_id.removesuffix(mark(scope.slot)) + mark(scope.index)] = output
            alias = branch_alias(self.program.graph, block_id, scope)
            if alias is not None:
                self.outputs[alias] = output

    def _settle(self, scope: Scope, index: int, output: Mapping[str, Any]) -> None:
        for ready in scope.frontier.settle(index, output):
            self._ready.append((scope, ready))
        if scope.owner is not None and not scope.frontier.left:
            self._pass_over(scope)

    # -- failures ------------------------------------------------------------------------------

    def _failed(self, task: Task, error: BaseException) -> None:
        if isinstance(error, Cancelled) and self.stop.is_set():
            return
        step = task.step
        if task.attempt < step.tries and may_retry(error) and not self.halted:
            task.attempt += 1
            text = self.redactor.text(describe(error).text)
            self.emit(events.BLOCK_RETRYING, task.log, {"attempt": task.attempt, "error": text})
            self._after(step.wait, task, None)
            return
        self._fail_block(task, error)

    def _fail_block(self, task: Task, error: BaseException) -> None:
        described = describe(error)
        log = task.log
        text = self.redactor.text(described.text)
        output = {"error": text, **described.output}
        log.ended = self.clock.time()
        log.error = text
        log.hint = self.redactor.text(described.hint) or None
        log.raw_output = output
        log.tries = task.attempt
        handled = task.step.node.has_error_port
        log.error_handled = handled
        if described.child_logs:
            log.child_logs = described.child_logs
        if handled:
            self._store(task, output)
        else:
            self.outputs[task.node_id] = output
        self.emit(events.BLOCK_FAILED, log)
        if handled:
            self._settle(task.scope, task.index, output)
        else:
            self._fail_run(f"{task.step.name}: {text}", task.node_id, log.hint or "")

    def _fail_run(self, text: str, block_id: str, hint: str) -> None:
        self.halted = True
        if self.failure is None and not self.locked:
            self.failure = (text, block_id, hint)

    # -- containers ----------------------------------------------------------------------------

    def _enter(self, scope: Scope, index: int) -> None:
        started = self.clock.time()
        try:
            run = containers.open_container(self.program, scope, index, self)
            goes_on = not run.is_loop or containers.goes_on(
                run, self.program, self, conditions.loop_goes_on
            )
        except (BlockError, SimDevinError) as error:
            self._fail_container(scope, index, error, started)
            return
        run.started = started
        scope.running[index] = run
        start_id, _ = containers.sentinel_ids(run)
        self.outputs[start_id] = {"sentinelStart": True}
        if not run.is_loop:
            run.results = [[] for _ in range(run.total or 0)]
            goes_on = bool(run.total)
        if goes_on:
            self._next_passes(run)
        else:
            route = "loop_exit" if run.is_loop else "parallel_exit"
            self.outputs[start_id] |= {"shouldExit": True, "selectedRoute": route}
            self._exit(run)

    def _next_passes(self, run: ContainerRun) -> None:
        body = self.program.graph.bodies[run.container.id]
        count = 1
        if not run.is_loop:
            count = min(getattr(run.container, "batch", 1), (run.total or 0) - run.next)
        for slot in range(count):
            run.open[slot] = Scope(self.program.graph, body, run, run.next, slot)
            run.next += 1
        for entry in body.entries:
            self._ready += [(scope, entry) for scope in run.open.values()]

    def _pass_over(self, scope: Scope) -> None:
        run = scope.owner
        assert run is not None
        run.open.pop(scope.slot)
        if run.is_loop:
            run.results.append(scope.outputs)
            try:
                goes_on = containers.goes_on(run, self.program, self, conditions.loop_goes_on)
            except SimDevinError as error:
                self._fail_container(run.parent, run.index, error, run.started)
                return
        else:
            run.results[scope.index] = scope.outputs
            goes_on = run.next < (run.total or 0)
            if run.open:
                return
        if goes_on:
            self._next_passes(run)
        else:
            self._exit(run)

    def _exit(self, run: ContainerRun) -> None:
        scope, index = run.parent, run.index
        node = scope.body.nodes[index]
        output = {"results": run.results}
        _, end_id = containers.sentinel_ids(run)
        final = containers.sentinel_output(run)
        self.outputs[run.node_id] = output
        self.outputs[end_id] = final
        log = self._container_log(scope, index, run.started)
        log.success = True
        log.raw_output = output
        del scope.running[index]
        if scope.owner is not None:
            scope.outputs.append(output)
        elif not node.out and not self.locked:
            self.output = final
        self.emit(events.BLOCK_FINISHED, log)
        if node.id == self._stop_after:
            self.halted = True
        for ready in scope.frontier.leave(index):
            self._ready.append((scope, ready))
        if scope.owner is not None and not scope.frontier.left:
            self._pass_over(scope)

    def _fail_container(
        self, scope: Scope, index: int, error: BaseException, started: float
    ) -> None:
        described = describe(error)
        text = self.redactor.text(described.text)
        log = self._container_log(scope, index, started)
        log.error, log.hint = text, described.hint or None
        log.raw_output = {"error": text}
        self.emit(events.BLOCK_FAILED, log)
        self._fail_run(text, log.block_id, described.hint)

    def _container_log(self, scope: Scope, index: int, started: float) -> BlockLog:
        block = scope.body.nodes[index].block
        self.order += 1
        log = BlockLog(
            scope.node_id(block.id), block.name, block.type, self.order, started, self.redactor
        )
        log.ended = self.clock.time()
        if scope.owner is not None:
            _place(log, scope, named=False)
        self.logs.append(log)
        return log

    # -- pauses --------------------------------------------------------------------------------

    def _pause(self, task: Task, pause: Pause) -> None:
        context = task.context
        assert context is not None
        point = pauses.point(context, pause, self.clock.time())
        log = task.log
        log.ended = self.clock.time()
        log.success = True
        log.raw_output = pause.output
        self.outputs[task.node_id] = {**pause.output, "_pauseMetadata": dict(point)}
        self.paused[context.context_id] = (task, point)
        data = {"reason": pause.kind, "contextId": context.context_id}
        self.emit(events.BLOCK_WAITING, log, data)

    def answer(self, context_id: str, answer: Any) -> None:
        """Let a paused block go on with an answer."""
        task, record = self.paused.pop(context_id)
        now = self.clock.time()
        paused_at = unix(record["registeredAt"])
        output = pauses.answered(
            self.outputs[task.node_id],
            record,
            answer,
            run_id=self.run_id,
            now=now,
            paused_at=paused_at,
        )
        self._finish(task, output)

    # -- what handlers reach (RunAccess) ---------------------------------------------------------

    def call_tool(
        self, tool_id: str, params: Mapping[str, Any], on_progress: Callable[[Any], None]
    ) -> dict[str, Any]:
        """Call a tool under the run's ceilings, deadline and cancel event."""
        shares = self.budget.reserve(self.services.tool_params(tool_id), params)
        try:
            return self.services.call_tool(
                tool_id,
                params,
                cancel=self.stop,
                timeout=self.remaining(),
                ceilings=shares,
                on_progress=on_progress,
            )
        except SimDevinError as error:
            self.budget.settle(shares, error)
            raise

    def remaining(self) -> float | None:
        """Return the seconds left until the deadline, or None without one."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - self.clock.monotonic())

    def variable(self, name: str, variable_id: str | None) -> Variable | None:
        """Return the workflow variable of that id, else of exactly that name."""
        known = self.program.workflow.variables
        if variable_id is not None and variable_id in known:
            return known[variable_id]
        return next((item for item in known.values() if item.name == name), None)

    def set_variable(self, variable: Variable, value: Any) -> None:
        """Set a workflow variable for everything that resolves it later."""
        self.variables[variable.id] = value

    def run_child(self, workflow_id: str, inputs: Mapping[str, Any]) -> RunResult:
        """Run another workflow and return its result."""
        if self._run_child is None:
            raise BlockError("child workflows cannot be run here")
        return self._run_child(self, workflow_id, inputs)

    def waiting(self, log: BlockLog, reason: str, data: Mapping[str, Any]) -> None:
        """Tell the listener why a block is waiting; from any thread."""
        task = next((task for task in self._in_flight if task.log is log), None)
        if task is not None:
            self._done.put((task, _Said({"reason": reason, **data}), None))

    @property
    def listener(self) -> Listener | None:
        """Passes on what a child run has to tell, from its own thread."""
        return self._on_event

    # -- telling -------------------------------------------------------------------------------

    def emit(self, kind: str, log: BlockLog | None = None, data: Any = None) -> None:
        """Tell the listener. A listener that raises does not disturb the run."""
        if self._on_event is None:
            return
        try:
            self._on_event(Event(kind, self.run_id, self.clock.time(), log, data))
        except Exception:
            logger.exception("a listener of run %s failed at %s", self.run_id, kind)


class _Said:
    """Passed through the queue of results by a handler that is still running."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data


def _place(log: BlockLog, scope: Scope, *, named: bool = True) -> None:
    """Write into a log entry in which pass of which container it stands."""
    owner = scope.owner
    assert owner is not None
    if named:
        log.block_name = f"{log.block_name} (iteration {scope.index})"
    if owner.is_loop:
        log.loop_id = owner.node_id
    else:
        log.parallel_id = owner.node_id
    log.iteration_index = scope.index
    log.parent_iterations = scope.parent_iterations()
