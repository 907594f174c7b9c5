"""What loops and parallels go over, when they continue, and what they output. No I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from sim_devin.engine.contract import BlockError
from sim_devin.engine.names import Memory
from sim_devin.engine.program import Program
from sim_devin.engine.references import MISSING, parse_json
from sim_devin.engine.scopes import ContainerRun, Scope
from sim_devin.engine.templates import Template
from sim_devin.engine.workflow import Loop, Parallel

EXECUTOR_COUNT = 1000  # what Sim's executor runs where a count is no number

CONTINUES: Mapping[str, Any] = {
    "shouldContinue": True,
    "shouldExit": False,
    "selectedRoute": "loop_continue",
}

Evaluate = Callable[[str], bool]


def open_container(program: Program, scope: Scope, index: int, memory: Memory) -> ContainerRun:
    """Return a container ready for its first pass, its collection resolved.

    Raises:
        BlockError: nothing to run inside, or the collection is not one.
    """
    block = scope.body.nodes[index].block
    container = program.workflow.containers[block.id]
    kind = "loop" if isinstance(container, Loop) else "parallel"
    if not program.graph.bodies[block.id].nodes:
        raise BlockError(
            f"{kind.title()} has no executable blocks inside. "
            f"Add or enable at least one block in the {kind}.",
            hint=f"Connect the {kind}'s start to the first block inside it.",
            retry=False,
        )
    items: list[Any] | None = None
    total: int | None = None
    if container.kind in ("forEach", "collection"):
        items = _items(program.collections[block.id], container, scope.outside(), memory)
        total = len(items)
    elif isinstance(container, Parallel) or _only_counts(container):
        total = _count(container.count)
    return ContainerRun(container, scope, index, scope.node_id(block.id), items, total)


def _only_counts(loop: Loop) -> bool:
    if loop.kind == "doWhile":
        return not loop.do_while_condition.strip()
    return loop.kind == "for"


def _count(value: Any) -> int:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return EXECUTOR_COUNT
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return EXECUTOR_COUNT
    return max(0, math.ceil(value)) or EXECUTOR_COUNT


def written_collection(text: str) -> Any:
    """Return the collection that a text writes out, also in single quotes; `MISSING` for none."""
    value = parse_json(text)
    return parse_json(text.replace("'", '"')) if value is MISSING else value


def _items(collection: Any, container: Loop | Parallel, scope: Scope, memory: Memory) -> list[Any]:
    is_loop = isinstance(container, Loop)
    failed = "ForEach loop resolution failed" if is_loop else "Parallel Items did not resolve"
    if isinstance(collection, Template):
        try:
            value = collection.render(scope, memory)
        except BlockError as error:
            raise BlockError(f"{failed}: {error}", hint=error.hint, retry=False) from error
        if value is None:
            return []
    elif isinstance(collection, str):
        if not collection.strip():
            blank = (
                "ForEach loop collection is empty"
                if is_loop
                else ("Parallel collection distribution is empty")
            )
            raise BlockError(
                f"{blank}. Provide an array or a reference that resolves to a collection.",
                retry=False,
            )
        value = written_collection(collection)
    else:
        value = collection
    if isinstance(value, Mapping):
        return [[key, item] for key, item in value.items()]
    if isinstance(value, list):
        return value
    raise BlockError(
        f"{failed}: Value did not resolve to an array or object",
        hint='Use a list such as ["a", "b"], or one reference such as <block.items> alone.',
        retry=False,
    )


def goes_on(run: ContainerRun, program: Program, memory: Memory, evaluate: Evaluate) -> bool:
    """Return whether a loop runs pass number `run.next`."""
    container = run.container
    if run.total is not None:
        return run.next < run.total
    if container.kind == "doWhile" and not run.next:
        return True
    coming = Scope(program.graph, program.graph.bodies[container.id], run, run.next)
    try:
        source = program.conditions[container.id].render(coming, memory)
    except BlockError:
        return False  # as Sim: a condition that fails ends the loop
    return bool(source.strip()) and evaluate(source)


def sentinel_output(run: ContainerRun) -> dict[str, Any]:
    """Return the final output of a run whose last step is this container."""
    if run.is_loop:
        return {
            "results": run.results,
            "shouldContinue": False,
            "shouldExit": True,
            "selectedRoute": "loop_exit",
            "totalIterations": len(run.results),
        }
    return {
        "results": run.results,
        "sentinelEnd": True,
        "selectedRoute": "parallel_exit",
        "totalBranches": len(run.results),
    }


def sentinel_ids(run: ContainerRun) -> tuple[str, str]:
    """Return the ids under which Sim keeps the state of a container's two ends."""
    kind = "loop" if run.is_loop else "parallel"
    return f"{kind}-{run.node_id}-sentinel-start", f"{kind}-{run.node_id}-sentinel-end"
