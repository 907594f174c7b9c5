"""Running from a block: it and what follows run again, on the outputs of an earlier run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.engine import graph, snapshot
from sim_devin.engine.execution import Execution
from sim_devin.engine.program import Program
from sim_devin.engine.scopes import block_of
from sim_devin.engine.start import is_start
from sim_devin.errors import CallerError, UnknownName


def require_block(program: Program, block_id: str) -> None:
    """Check that a run can start at a block.

    Raises:
        UnknownName: there is no such block.
        CallerError: it is inside a container, or disabled.
    """
    blocks = program.workflow.blocks
    if block_id not in blocks:
        raise UnknownName("block", block_id, blocks)
    if program.workflow.chain(block_id):
        raise CallerError(
            f"Cannot run from {blocks[block_id].name!r}: it is inside a loop or parallel.",
            hint="Run from the container itself.",
        )
    if block_id not in program.graph.place:
        raise CallerError(f"Cannot run from {blocks[block_id].name!r}: it is disabled.")


def start_at(execution: Execution, block_id: str, earlier: Mapping[str, Any] | None) -> None:
    """Make a block the only one that is ready, on the outputs of an earlier run's snapshot.

    Raises:
        CallerError: a block right before it has not run.
        InvalidWorkflow: the snapshot cannot be read.
    """
    program = execution.program
    outputs: Mapping[str, Any] = snapshot.check(earlier)["outputs"] if earlier is not None else {}
    root = execution.root
    indices = graph.downstream(program.graph, block_id)
    _, first = program.graph.place[block_id]
    for source in root.body.nodes[first].sources:
        block = root.body.nodes[source].block
        if block.id not in outputs and not is_start(block, program.is_trigger):
            raise CallerError(
                f"Cannot run from {program.workflow.blocks[block_id].name!r}: {block.name!r}, "
                "which comes before it, has not run.",
                hint="Pass the snapshot of a run in which it ran.",
            )
    again = _inside(program, {root.body.nodes[index].id for index in indices})
    execution.outputs |= {
        key: value for key, value in outputs.items() if block_of(key) not in again
    }
    if earlier is not None:
        execution.variables.update(earlier["variables"])
        execution.fields.provenance.goes_on(earlier.get("origins", {}))
    root.frontier.restrict(indices, first)
    execution.begin(root, first)


def _inside(program: Program, block_ids: set[str]) -> set[str]:
    """Return the blocks, with all that is inside those of them that are containers."""
    workflow = program.workflow
    return block_ids | {
        block.id for block in workflow.blocks.values() if block_ids & set(workflow.chain(block.id))
    }
