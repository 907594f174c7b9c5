"""How a run goes through loops and parallels: pass by pass, batch by batch."""

from __future__ import annotations

from sim_devin.engine import conditions, containers, events
from sim_devin.engine.contract import BlockError
from sim_devin.engine.failures import describe
from sim_devin.engine.run import BlockLog
from sim_devin.engine.run_state import RunState
from sim_devin.engine.scopes import ContainerRun, Scope
from sim_devin.engine.workflow import Parallel
from sim_devin.errors import SimDevinError


class Passes:
    """The containers of one run."""

    def __init__(self, run: RunState) -> None:
        self._run = run

    def enter(self, scope: Scope, index: int) -> None:
        """Begin with a container: its first pass, the first batch of branches, or nothing."""
        state = self._run
        started = state.clock.time()
        try:
            run = containers.open_container(state.program, scope, index, state)
            goes_on = self._goes_on(run)
        except (BlockError, SimDevinError) as error:
            self._fail(scope, index, error, started)
            return
        run.started = started
        scope.running[index] = run
        start_id, _ = containers.sentinel_ids(run)
        state.outputs[start_id] = {"sentinelStart": True}
        if not run.is_loop:
            run.results = [[] for _ in range(run.total or 0)]
        if goes_on:
            self._next(run)
        else:
            route = "loop_exit" if run.is_loop else "parallel_exit"
            state.outputs[start_id] |= {"shouldExit": True, "selectedRoute": route}
            self._leave(run)

    def over(self, scope: Scope) -> None:
        """Go on after a pass in which every node has run or never will."""
        run = scope.owner
        if run is None or self._run.halted:
            return
        run.open.pop(scope.slot)
        if run.is_loop:
            run.results.append(scope.outputs)
        else:
            run.results[scope.index] = scope.outputs
            if run.open:
                return
        try:
            goes_on = self._goes_on(run)
        except SimDevinError as error:
            self._fail(run.parent, run.index, error, run.started)
            return
        if not goes_on:
            self._leave(run)
            return
        if run.is_loop:
            self._run.outputs[containers.sentinel_ids(run)[1]] = dict(containers.CONTINUES)
        self._next(run)

    def _goes_on(self, run: ContainerRun) -> bool:
        state = self._run
        return containers.goes_on(run, state.program, state, conditions.loop_goes_on)

    def _next(self, run: ContainerRun) -> None:
        """Open the next iteration, or the next batch of branches."""
        graph = self._run.program.graph
        body = graph.bodies[run.container.id]
        count = 1
        if isinstance(run.container, Parallel):
            count = min(run.container.batch, (run.total or 0) - run.next)
        for slot in range(count):
            run.open[slot] = Scope(graph, body, run, run.next, slot)
            run.next += 1
        for entry in body.entries:
            for scope in run.open.values():
                self._run.begin(scope, entry)

    def _leave(self, run: ContainerRun) -> None:
        state, scope, index = self._run, run.parent, run.index
        node = scope.body.nodes[index]
        output = {"results": run.results}
        final = containers.sentinel_output(run)
        state.outputs[run.node_id] = output
        state.outputs[containers.sentinel_ids(run)[1]] = final
        log = self._log(scope, index, run.started)
        log.success = True
        log.raw_output = output
        del scope.running[index]
        if scope.owner is not None:
            scope.outputs.append(output)
        elif not node.out and not state.locked:
            state.output = final
        state.emit(events.BLOCK_FINISHED, log)
        if node.id == state.stop_after:
            state.halted = True
        for ready in scope.frontier.leave(index):
            state.begin(scope, ready)
        if scope.owner is not None and not scope.frontier.left:
            self.over(scope)

    def _fail(self, scope: Scope, index: int, error: BaseException, started: float) -> None:
        state = self._run
        described = describe(error)
        text = state.redactor.text(described.text)
        log = self._log(scope, index, started)
        log.error, log.hint = text, described.hint or None
        log.raw_output = {"error": text}
        log.raw_input = scope.body.nodes[index].block.data
        state.emit(events.BLOCK_FAILED, log)
        state.fail_run(text, log.block_id, described.hint)

    def _log(self, scope: Scope, index: int, started: float) -> BlockLog:
        state = self._run
        block = scope.body.nodes[index].block
        log = BlockLog(
            scope.node_id(block.id),
            block.name,
            block.type,
            state.next_order(),
            started,
            state.redactor,
        )
        log.ended = state.clock.time()
        if scope.owner is not None:
            place(log, scope, named=False)
        state.logs.append(log)
        return log


def place(log: BlockLog, scope: Scope, *, named: bool = True) -> None:
    """Write into a log entry in which pass of which container it stands."""
    owner = scope.owner
    if owner is None:
        return
    if named:
        log.block_name = f"{log.block_name} (iteration {scope.index})"
    if owner.is_loop:
        log.loop_id = owner.node_id
    else:
        log.parallel_id = owner.node_id
    log.iteration_index = scope.index
    log.parent_iterations = scope.parent_iterations()
