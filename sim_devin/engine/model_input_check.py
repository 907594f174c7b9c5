"""Fields that a model reads and that name an environment variable, or refer to one's value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sim_devin.engine.model_input import REASON, WAY_OUT, brace
from sim_devin.engine.origins import Provenance, texts
from sim_devin.engine.problem import Problem
from sim_devin.engine.program import Program
from sim_devin.engine.references import EnvName, Reference, parse_json, split
from sim_devin.engine.workflow import Block
from sim_devin.errors import SimDevinError


def model_input_problems(program: Program) -> Iterator[Problem]:
    """Yield one warning for each field into which a run would not put a variable's value."""
    provenance = Provenance(program, program.services.workflow)
    for block_id, step in program.steps.items():
        block = program.workflow.blocks[block_id]
        for field, value in step.stored.items():
            if field in step.read_by_models:
                found = _found(provenance, block_id, value)
            elif field in step.also_for_model:
                found = _found(provenance, block_id, _tool_inputs(program, value))
            else:
                continue
            if found:
                yield _problem(block, field, found)


def _problem(block: Block, field: str, found: set[str]) -> Problem:
    return Problem(
        REASON.format(", ".join(sorted(found))),
        place=f"{block.name}.{field}",
        hint=WAY_OUT,
        level="warning",
        block_id=block.id,
    )


def _found(provenance: Provenance, block_id: str, value: Any) -> set[str]:
    """Return the variables that texts name, or that what they refer to is computed with."""
    found: set[str] = set()
    for text in texts(value):
        for part in split(text):
            if isinstance(part, EnvName):
                found.add(part.text)
            elif isinstance(part, Reference):
                origins = provenance.of_reference(block_id, part)
                found |= {brace(name) for name, direct in origins.items() if direct}
    return found


def _tool_inputs(program: Program, value: Any) -> list[Any]:
    """Return what is fixed for the tools of an agent and continues to a model."""
    rows = parse_json(value) if isinstance(value, str) else value
    found: list[Any] = []
    for row in rows if isinstance(rows, list) else ():
        params = row.get("params") if isinstance(row, dict) else None
        if not isinstance(params, dict):
            continue
        try:
            tool_id = _tool_id(program, row, params)
        except SimDevinError:
            continue  # the run says what is wrong with it
        names = program.services.model_input(tool_id)
        found += [params[name] for name in names if name in params]
    return found


def _tool_id(program: Program, row: dict[str, Any], params: dict[str, Any]) -> str:
    if row.get("type") == "tool":
        return str(row.get("toolId") or "")
    operation = {"operation": row["operation"]} if row.get("operation") else {}
    return program.services.plan(str(row.get("type") or ""), {**operation, **params})[0]
