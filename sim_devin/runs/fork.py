"""A new run on the record of another one, that goes its own way from a block on."""

from __future__ import annotations

import re
from urllib.parse import unquote

from sim_devin.engine import graph
from sim_devin.engine.bindings import named_block
from sim_devin.engine.document import load_workflow
from sim_devin.engine.from_block import require_block
from sim_devin.engine.origins import Origins, Provenance
from sim_devin.engine.program import Program
from sim_devin.engine.services import Services
from sim_devin.store.records import BlockRecord, Run
from sim_devin.store.sql_store import SqlStore

_OUTERMOST = re.compile(r"([^/#>]+)(/?)")  # the head of a key: a block, or a container's pass


def record_before(store: SqlStore, run: Run, block: str, services: Services) -> list[BlockRecord]:
    """Return what is recorded of a run's blocks, without a block (id or name) and what follows it.

    Raises:
        UnknownName: there is no such block; suggests the nearest.
        CallerError: it is inside a container, or disabled.
    """
    program = _program(store, run, services)
    first = named_block(program.workflow, block).id
    require_block(program, first)
    nodes = program.graph.root.nodes
    again = {nodes[index].id for index in graph.downstream(program.graph, first)}
    return [outcome for outcome in store.outcomes(run.id) if _outermost(outcome.key) not in again]


def origins_of(store: SqlStore, run: Run, services: Services) -> dict[str, Origins]:
    """Return which environment variables may be in what the blocks of a run put out, by id."""
    return Provenance(_program(store, run, services), services.workflow).by_block()


def _program(store: SqlStore, run: Run, services: Services) -> Program:
    document = load_workflow(store.document(run.document))
    chosen = run.chosen
    everything = chosen.from_block is not None
    return Program(document, services, kind=chosen.trigger, everything=everything)


def _outermost(key: str) -> str:
    """Return the id of the block of the workflow itself that a key belongs to."""
    match = _OUTERMOST.match(key)
    if match is None:
        return ""
    return unquote(match[1].rpartition(".")[0] if match[2] else match[1])
