"""Values for what an export leaves out: raw secrets, tables and selectors are null in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim_devin.engine.program import Program
from sim_devin.engine.references import normalize
from sim_devin.engine.serializer import missing_fields, unset_credentials
from sim_devin.engine.services import Services
from sim_devin.engine.start import is_start
from sim_devin.engine.workflow import Block, Workflow
from sim_devin.errors import CallerError, UnknownName
from sim_devin.text import did_you_mean


@dataclass(frozen=True)
class Missing:
    """A field that has no value yet. `variable` is the environment's name for it, if any."""

    block: str
    field: str
    title: str
    variable: str = ""

    @property
    def key(self) -> str:
        """What `bindings` call it."""
        return f"{self.block}.{self.field}"


def bind(workflow: Workflow, bindings: Mapping[str, Any]) -> Workflow:
    """Return the workflow with values set: ``"Block name.field"`` (or block id) -> value.

    Raises:
        CallerError: a key names no block; lists every one.
    """
    values: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for key, value in bindings.items():
        name, _, field = key.rpartition(".")
        block = find_block(workflow, name)
        if block is None or not field:
            known = [item.name for item in workflow.blocks.values()]
            problems.append(f"no block matches {key!r}. {did_you_mean(name, known)}".strip())
        else:
            values.setdefault(block.id, {})[field] = value
    if problems:
        raise CallerError("; ".join(problems), hint='A binding is "Block name.field": value.')
    return workflow.with_values(values) if values else workflow


def find_block(workflow: Workflow, name: str) -> Block | None:
    """Return the block of this id, or of this name as references spell it."""
    if name in workflow.blocks:
        return workflow.blocks[name]
    wanted = normalize(name)
    return next(
        (block for block in workflow.blocks.values() if normalize(block.name) == wanted), None
    )


def named_block(workflow: Workflow, name: str) -> Block:
    """Return the block of this id or name.

    Raises:
        UnknownName: there is no such block; suggests the nearest.
    """
    block = find_block(workflow, name)
    if block is None:
        raise UnknownName("block", name, [item.name for item in workflow.blocks.values()])
    return block


def missing(
    workflow: Workflow, services: Services, env: Mapping[str, str], *, kind: str = "manual"
) -> list[Missing]:
    """Return everything that has to be bound before the workflow can run."""
    program = Program(workflow, services, kind=kind)
    found: list[Missing] = []
    for block in workflow.blocks.values():
        if not block.enabled or is_start(block, program.is_trigger):
            continue
        credentials = services.credentials(block.type)
        provided = [name for name in credentials if services.has_credential(name)]
        found += [
            Missing(block.name, item.id, item.title, credentials.get(item.id, ""))
            for item in missing_fields(block, program.form(block.type), credentials, provided)
        ]
        found += [
            Missing(block.name, field, field, variable)
            for field, variable in unset_credentials(block, credentials, env)
        ]
    return found
