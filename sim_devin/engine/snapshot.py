"""A run's state as JSON data and back: for pauses, for resuming, for running from a block.

Credentials are not in it: environment values and bindings are passed in again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.engine.contract import BlockContext
from sim_devin.engine.execution import BlockTask, Execution
from sim_devin.engine.frontier import Frontier
from sim_devin.engine.program import Program
from sim_devin.engine.references import split
from sim_devin.engine.run import BlockLog
from sim_devin.engine.scopes import ContainerRun, Scope
from sim_devin.errors import InvalidWorkflow

VERSION = 1


def take(execution: Execution) -> dict[str, Any]:
    """Return the state of a run that stands still."""
    program = execution.program
    return {
        "version": VERSION,
        "runId": execution.run_id,
        "workflow": without_secrets(program),
        "trigger": program.kind,
        "start": program.start.id,
        "outputs": dict(execution.outputs),
        "variables": dict(execution.variables),
        "output": execution.output,
        "order": execution.order,
        "left": execution.budget.left(),
        "logs": [log.to_json() for log in execution.logs.entries],
        "origins": execution.fields.provenance.by_block(),
        "warnings": [[*place, text] for place, text in execution.fields.warnings.items()],
        "pauses": [
            {
                "block": task.step.node.id,
                "path": [list(item) for item in task.scope.path()],
                "log": execution.logs.entries.index(task.log)
                if task.log in execution.logs.entries
                else None,
                "point": point,
            }
            for task, point in execution.paused.values()
        ],
        "scope": _scope(execution.root),
    }


def without_secrets(program: Program) -> dict[str, Any]:
    """Return the document with every secret that stands in it as plain text left out."""
    document = dict(program.workflow.document)
    blocks = dict(document["blocks"])
    for block_id, field in literal_secrets(program):
        block = blocks[block_id]
        sub_blocks = block["subBlocks"]
        blank = {**sub_blocks, field: {**sub_blocks[field], "value": None}}
        blocks[block_id] = {**block, "subBlocks": blank}
    return {**document, "blocks": blocks}


def literal_secrets(program: Program) -> dict[tuple[str, str], str]:
    """Return (block id, field) -> value of the secrets the document itself holds."""
    found: dict[tuple[str, str], str] = {}
    stored = program.workflow.document.get("blocks", {})
    for block in program.workflow.blocks.values():
        for item in program.form(block.type):
            sub_block = (stored.get(block.id, {}).get("subBlocks") or {}).get(item.id)
            value = sub_block.get("value") if isinstance(sub_block, Mapping) else None
            if item.secret and isinstance(value, str) and value:
                if not all(isinstance(segment, str) for segment in split(value)):
                    continue
                found[block.id, item.id] = value
    return found


def _scope(scope: Scope) -> dict[str, Any]:
    return {
        "index": scope.index,
        "slot": scope.slot,
        "frontier": scope.frontier.to_json(),
        "outputs": scope.outputs,
        "running": {str(index): _container(run) for index, run in scope.running.items()},
    }


def _container(run: ContainerRun) -> dict[str, Any]:
    return {
        "items": run.items,
        "total": run.total,
        "next": run.next,
        "results": run.results,
        "started": run.started,
        "open": [_scope(scope) for scope in run.open.values()],
    }


def check(snapshot: Any) -> Mapping[str, Any]:
    """Return a snapshot after a look at its version.

    Raises:
        InvalidWorkflow: it is not one, or of a version this package does not read.
    """
    if not isinstance(snapshot, Mapping) or snapshot.get("version") != VERSION:
        raise InvalidWorkflow(
            ["this version cannot read the snapshot"],
            hint="Pass RunResult.snapshot of an earlier run.",
        )
    return snapshot


def restore(execution: Execution, snapshot: Mapping[str, Any]) -> None:
    """Put a fresh execution of the same workflow into the state of a snapshot."""
    execution.outputs.update(snapshot["outputs"])
    execution.variables.update(snapshot["variables"])
    execution.output = snapshot["output"]
    execution.order = snapshot["order"]
    for entry in snapshot["logs"]:
        execution.logs.append(BlockLog.from_json(entry, execution.redactor))
    for block_id, field, text in snapshot.get("warnings", ()):
        execution.fields.warnings[block_id, field] = text
    _fill(execution, execution.root, snapshot["scope"])
    for paused in snapshot["pauses"]:
        _restore_pause(execution, paused)


def _fill(execution: Execution, scope: Scope, state: Mapping[str, Any]) -> None:
    graph = execution.program.graph
    scope.frontier = Frontier.from_json(scope.body, state["frontier"])
    scope.outputs = list(state["outputs"])
    for key, saved in state["running"].items():
        index = int(key)
        block_id = scope.body.nodes[index].id
        container = graph.workflow.containers[block_id]
        run = ContainerRun(
            container, scope, index, scope.node_id(block_id), saved["items"], saved["total"]
        )
        run.next, run.started = saved["next"], saved["started"]
        run.results = [list(item) for item in saved["results"]]
        scope.running[index] = run
        for inner in saved["open"]:
            child = Scope(graph, graph.bodies[block_id], run, inner["index"], inner["slot"])
            run.open[child.slot] = child
            _fill(execution, child, inner)


def _restore_pause(execution: Execution, saved: Mapping[str, Any]) -> None:
    scope = _find(execution.root, [(name, index) for name, index in saved["path"]])
    program = execution.program
    step = program.steps[saved["block"]]
    index = program.graph.place[saved["block"]][1]
    node_id = scope.node_id(saved["block"])
    number = saved["log"]
    log = (
        execution.logs.entries[number]
        if number is not None
        else BlockLog(node_id, step.name, step.node.block.type, 0, 0.0, execution.redactor)
    )
    task = BlockTask(step, scope, index, node_id, log)
    task.context = BlockContext(execution, log, step.node, node_id, {}, {}, scope)
    execution.paused[saved["point"]["contextId"]] = (task, dict(saved["point"]))


def _find(scope: Scope, path: list[tuple[str, int]]) -> Scope:
    for container_id, index in path:
        run = next(run for run in scope.running.values() if run.container.id == container_id)
        scope = next(inner for inner in run.open.values() if inner.index == index)
    return scope
