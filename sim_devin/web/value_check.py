"""Values of a block that are known before a run, held against what its tool takes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from sim_devin.app import App
from sim_devin.engine import serializer
from sim_devin.engine.document import load_workflow
from sim_devin.engine.problem import Problem
from sim_devin.engine.references import split
from sim_devin.engine.workflow import Block
from sim_devin.errors import InvalidParams, InvalidWorkflow, SimDevinError
from sim_devin.specs.forms import operation_of

logger = logging.getLogger("sim_devin")


def value_problems(document: Mapping[str, Any], app: App) -> Iterator[Problem]:
    """Yield a problem for each value that a call would refuse."""
    try:
        workflow = load_workflow(document)
    except InvalidWorkflow:
        return  # what is wrong with the document itself is told elsewhere
    for block in workflow.blocks.values():
        spec = app.registry.blocks.get(block.type)
        if spec is not None and spec.operations and block.enabled:
            yield from _problems(block, app)


def _problems(block: Block, app: App) -> Iterator[Problem]:
    spec, form = app.registry.blocks[block.type], app.registry.form(block.type)
    settled = {
        name: value
        for name, value in serializer.params(block, form).items()
        if not _is_blank(value) and not _is_open(value)
    }
    try:
        operation = operation_of(spec, block.values)
        tool, params = app.plan_block(block.type, {**settled, spec.operation_field: operation})
        app.build_request(tool, params)
    except InvalidParams as error:
        fields = {item.param: item for item in form if item.shown(block.values)}
        for problem in error.problems:
            name, _, what = problem.partition(": ")
            field = fields.get(name.strip("'"))
            if field is not None and field.id in settled:
                yield Problem(
                    f"{field.title or field.id}: {what}",
                    place=f"{block.name}.{field.id}",
                    block_id=block.id,
                )
    except SimDevinError:
        return  # a missing credential, an unknown operation: told elsewhere, too
    except Exception as error:  # code of a plugin; a run tells what becomes of it
        logger.warning("block %s cannot be checked: %s", block.name, type(error).__name__)


def _is_blank(value: Any) -> bool:
    return value in (None, [], {}) or (isinstance(value, str) and not value.strip())


def _is_open(value: Any) -> bool:
    """Return whether a value holds references, so that only a run knows it."""
    if isinstance(value, str):
        return any(not isinstance(segment, str) for segment in split(value))
    if isinstance(value, Mapping):
        return any(map(_is_open, value.values()))
    return isinstance(value, list) and any(map(_is_open, value))
