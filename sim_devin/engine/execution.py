"""One run in progress: what follows from what a block does.

All state changes happen in the thread that drives the run; worker threads only call
handlers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from sim_devin.engine import events, pauses
from sim_devin.engine.budget import Budget, caps
from sim_devin.engine.contract import BlockContext, BlockError, Pause, Sleep
from sim_devin.engine.failures import describe, may_retry
from sim_devin.engine.fields import Fields
from sim_devin.engine.origins import NOTHING, FindChild, Origins, Provenance
from sim_devin.engine.passes import Passes, place
from sim_devin.engine.program import Program, Step
from sim_devin.engine.run import BlockLog, RunResult, unix
from sim_devin.engine.run_state import RunState
from sim_devin.engine.scopes import Scope, branch_alias, mark
from sim_devin.engine.workflow import Block, Variable
from sim_devin.errors import Cancelled, SimDevinError

logger = logging.getLogger("sim_devin")

RunChild = Callable[["Execution", str, Mapping[str, Any], Origins], RunResult]


class BlockTask:
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


class Execution(RunState):
    """The rules by which a run moves on; `state` are the arguments of a `RunState`.

    Attributes:
        paused: context id -> what waits there, and its record.
        fields: resolves the fields of blocks; knows the run's warnings.
    """

    def __init__(
        self,
        program: Program,
        *,
        budget: Budget | None = None,
        run_child: RunChild | None = None,
        start_output: dict[str, Any] | None = None,
        find_child: FindChild = lambda _: None,
        origins: Origins = NOTHING,
        **state: Any,
    ) -> None:
        super().__init__(program, **state)
        self.paused: dict[str, tuple[BlockTask, dict[str, Any]]] = {}
        self.passes = Passes(self)
        self._start_output = start_output or {}
        self.budget = budget or Budget({})
        self._run_child = run_child
        self.fields = Fields(self, Provenance(program, find_child, origins))

    # -- one block -------------------------------------------------------------------------

    def start_batch(self, batch: list[tuple[Any, int]]) -> None:
        """Start everything that is ready: resolve all fields first, then run.

        So blocks that are ready together do not see each other's outputs.
        """
        inline: list[BlockTask] = []
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

    def _start(self, scope: Scope, index: int) -> BlockTask | None:
        """Open a node's log entry and resolve its fields; None if it is done already."""
        block = scope.body.nodes[index].block
        step = self.program.steps.get(block.id)
        if step is None:
            self.passes.enter(scope, index)
            return None
        owner = scope.owner
        node_id = block.id if owner is None else scope.node_id(block.id)
        log = BlockLog(
            node_id, step.name, block.type, self.next_order(), self.clock.time(), self.redactor
        )
        if owner is not None:
            place(log, scope)
        self.logs.append(log)
        task = BlockTask(step, scope, index, node_id, log)
        if self.listener is not None:
            self.emit(events.BLOCK_STARTED, log)
        try:
            values, for_model = self.fields.resolve(step, scope, log)
        except BlockError as error:
            self._fail_block(task, error)
            return None
        source = step.source and self._output_at(scope, step.source)
        task.context = BlockContext(
            self, log, step.node, node_id, values, source or {}, scope, for_model
        )
        return task

    def _output_at(self, scope: Scope, block_id: str) -> Mapping[str, Any] | None:
        output: Mapping[str, Any] | None = self.outputs.get(scope.node_id(block_id))
        return output

    def _run_inline(self, task: BlockTask) -> None:
        if task.step.node.id == self.program.start.id and task.scope is self.root:
            self._finish(task, self._start_output)
            return
        try:
            output = task.step.handler(task.context)  # type: ignore[arg-type]
        except Exception as error:  # whatever a handler raises is the failure of its block
            self._failed(task, error)
            return
        self._handle_output(task, output)

    def _submit(self, task: BlockTask) -> None:
        handler, context, stop = task.step.handler, task.context, self.stop

        def work() -> Callable[[], None]:
            if stop.is_set():  # it still waited for a free thread
                return lambda: None
            try:
                output = handler(context)  # type: ignore[arg-type]
            except BaseException as error:
                failure = error  # a thread has to hand back whatever ends it
                return lambda: self._failed(task, failure)
            return lambda: self._handle_output(task, output)

        self.submit(work)

    def _handle_output(self, task: BlockTask, output: Any) -> None:
        if type(output) is dict:
            self._finish(task, output)
        elif isinstance(output, Sleep):
            self.emit(events.BLOCK_WAITING, task.log, {"reason": output.reason or "waiting"})
            self.after(output.seconds, lambda: self._finish(task, output.output))
        elif isinstance(output, Pause):
            self._pause(task, output)
        elif output is None:
            self._finish(task, {})
        elif isinstance(output, Mapping):
            self._finish(task, dict(output))
        else:
            self._finish(task, {"result": output})

    def _finish(self, task: BlockTask, output: Mapping[str, Any]) -> None:
        log, step = task.log, task.step
        log.ended = self.clock.time()
        log.success = True
        log.tries = task.attempt
        log.raw_output = output
        self._store(task, output)
        if self.listener is not None:
            self.emit(events.BLOCK_FINISHED, log)
        block = step.node.block
        if not self.locked:
            if block.type == "response" and self.failure is None:
                self.output, self.locked, self.halted = output, True, True
            elif step.leaf:
                self.output = output
        if block.id == self.stop_after:
            self.halted = True
        self._settle(task.scope, task.index, output)

    def _store(self, task: BlockTask, output: Mapping[str, Any]) -> None:
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
            self.passes.over(scope)

    # -- failures ------------------------------------------------------------------------------

    def _failed(self, task: BlockTask, error: BaseException) -> None:
        if isinstance(error, Cancelled) and self.stop.is_set():
            return
        step = task.step
        if task.attempt < step.tries and may_retry(error) and not self.halted:
            task.attempt += 1
            text = self.redactor.text(describe(error).text)
            self.emit(events.BLOCK_RETRYING, task.log, {"attempt": task.attempt, "error": text})
            again = self._run_inline if step.inline else self._submit
            self.after(step.wait, lambda: again(task))
            return
        self._fail_block(task, error)

    def _fail_block(self, task: BlockTask, error: BaseException) -> None:
        described = describe(error)
        log = task.log
        text = self.redactor.text(described.text)
        output = {"error": text, **described.output}
        log.ended = self.clock.time()
        log.error = text
        log.hint = self.redactor.text(described.hint) or None
        log.raw_output = output
        if log.raw_input is None:  # they could not be resolved: show what stands there
            log.raw_input = task.step.stored
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
            self.fail_run(f"{task.step.name}: {text}", task.node_id, log.hint or "")

    # -- pauses --------------------------------------------------------------------------------

    def _pause(self, task: BlockTask, pause: Pause) -> None:
        context = task.context
        if context is None:  # only a block that was started can pause
            return
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
        """Let a paused block continue with an answer."""
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
                ceilings=caps(shares),
                on_progress=on_progress,
            )
        except SimDevinError as error:
            self.budget.settle(shares, error)
            raise

    def variable(self, name: str, variable_id: str | None) -> Variable | None:
        """Return the workflow variable of that id, else of exactly that name."""
        known = self.program.workflow.variables
        if variable_id is not None and variable_id in known:
            return known[variable_id]
        return next((item for item in known.values() if item.name == name), None)

    def set_variable(self, variable: Variable, value: Any) -> None:
        """Set a workflow variable for everything that resolves it later."""
        self.variables[variable.id] = value

    def run_child(self, workflow_id: str, inputs: Mapping[str, Any], block_id: str) -> RunResult:
        """Run another workflow for a block and return its result."""
        if self._run_child is None:
            raise BlockError("child workflows cannot be run here")
        return self._run_child(self, workflow_id, inputs, self.origins_of(block_id))

    def origins_of(self, block_id: str) -> Origins:
        """Return which environment variables the fields of a block may hold."""
        return self.fields.provenance.of_inputs(block_id)

    def without_variables(self, value: Any, block_id: str) -> Any:
        """Return data without the values of environment variables that a block has."""
        return self.fields.without_variables(value, block_id)

    def waiting(self, log: BlockLog, reason: str, data: Mapping[str, Any]) -> None:
        """Tell the listener why a block is waiting; from any thread."""
        self.tell(lambda: self.emit(events.BLOCK_WAITING, log, {"reason": reason, **data}))

    def warn(self, log: BlockLog, block: Block, text: str, field: str) -> None:
        """Add a warning to the run's result, once for each field of a block; from any thread."""
        self.tell(lambda: self.fields.warn(log, block, text, field))
