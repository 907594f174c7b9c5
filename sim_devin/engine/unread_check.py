"""What stands in a document and nobody reads: misspelt names, mostly.

It is an error where leaving it out widens what happens: a ceiling, a filter, a block that was to
be switched off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sim_devin.engine.field_check import is_blank
from sim_devin.engine.problem import Problem
from sim_devin.engine.program import Program
from sim_devin.engine.start import is_start
from sim_devin.engine.workflow import NOTE, Block, Workflow
from sim_devin.specs.forms import FormField
from sim_devin.specs.schema import shorten
from sim_devin.text import did_you_mean, nearest

# What Sim stores where nothing was chosen.
_NOT_CHOSEN = (False, "none", "auto", "default", "false")

_STATE = ("blocks", "edges", "loops", "parallels", "metadata", "variables")
_BLOCK = ("type", "name", "subBlocks", "enabled", "advancedMode", "triggerMode", "retry", "data")
_SUB_BLOCK = ("id", "type", "value")
_RETRY = ("enabled", "maxTries", "waitBetweenTriesMs")
_EDGE = ("source", "target", "sourceHandle", "targetHandle")
_LOOP = ("parentId", "loopType", "count", "collection", "whileCondition", "doWhileCondition")
_PARALLEL = ("parentId", "parallelType", "count", "collection", "batchSize")
# Where a misspelt name makes more happen than was asked for.
_WIDENING = {"enabled", "sourceHandle", "loopType", "whileCondition"}


def document_problems(workflow: Workflow) -> Iterator[Problem]:
    """Yield the keys of the document that look like known ones, but are none."""
    state = workflow.document
    yield from _keys(state, _STATE, "the workflow")
    for key, block in workflow.blocks.items():
        raw = _at(state, "blocks", key)
        place, block_id = block.name, block.id
        yield from _keys(raw, _BLOCK, place, block_id, known=("id", "position", "outputs"))
        yield from _keys(raw.get("retry"), _RETRY, f"{place}.retry", block_id)
        if block.type in ("loop", "parallel"):
            names = _LOOP if block.type == "loop" else _PARALLEL
            yield from _keys(raw.get("data"), names, place, block_id, known=("type", "extent"))
        for name in _at(raw, "subBlocks"):
            field = _at(raw, "subBlocks", name)
            yield from _keys(field, _SUB_BLOCK, f"{place}.{name}", block_id)
    edges = state.get("edges")
    for raw in edges if isinstance(edges, list) else ():
        source = workflow.blocks.get(raw["source"]) if isinstance(raw, Mapping) else None
        if source is not None:
            yield from _keys(raw, _EDGE, source.name, source.id, known=("id", "type", "data"))


def _at(value: Any, *path: str) -> Mapping[str, Any]:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _keys(
    raw: Any,
    names: Iterable[str],
    place: str,
    block_id: str | None = None,
    known: Iterable[str] = (),
) -> Iterator[Problem]:
    """Yield keys that are none of the known ones, but close to a name that is read."""
    if not isinstance(raw, Mapping):
        return
    for key in raw:
        if key in names or key in known or is_blank(raw[key]):
            continue
        close = _typo(str(key), names, cutoff=0.7)
        if close:
            yield Problem(
                f"unknown key {shorten(key)}",
                place=place,
                block_id=block_id,
                hint=f"Did you mean {close!r}?",
                level="error" if close in _WIDENING else "warning",
                widens=close in _WIDENING,
            )


def _typo(name: str, known: Iterable[str], cutoff: float = 0.8) -> str:
    """Return the known name that one is a slip of; empty if it is like none."""
    by_case = {item.lower(): item for item in known}
    close = nearest(name.lower(), by_case, limit=1, cutoff=cutoff)
    return by_case[close[0]] if close else ""


# -- fields of blocks --------------------------------------------------------------------------


def unread_problems(program: Program) -> Iterator[Problem]:
    """Yield the fields of blocks that nothing reads."""
    for block in program.workflow.blocks.values():
        form = program.form(block.type)
        if not form or not block.enabled or block.is_container or block.type == NOTE:
            continue
        if block.id in program.graph.place:
            starts = is_start(block, program.is_trigger)
            yield from _unknown_fields(program, block, form, starts=starts)
            yield from _other_field(program, block, form)


def _unknown_fields(
    program: Program, block: Block, form: tuple[FormField, ...], *, starts: bool
) -> Iterator[Problem]:
    ids = [item.id for item in form]
    params = {item.param: item for item in form if item.param is not None}
    for name, value in block.values.items():
        if name in ids or name in params or is_blank(value) or value in _NOT_CHOSEN:
            continue
        shown = [item for item in form if item.shown(block.values) or item.advanced] or list(form)
        close = _typo(name, [item.id for item in shown] + [item.id for item in form])
        if starts and not close:
            continue  # what a trigger of another service needs is read there
        item = next((item for item in form if item.id == close), None)
        widens = item is not None and (
            item.bounds(block.values) or _filters(program, block, item.param)
        )
        what = "a ceiling" if item is not None and item.bounds(block.values) else "a filter"
        yield Problem(
            f"unknown field {shorten(name)}"
            + (f": it looks like {what}, which would not apply" if widens else ""),
            place=f"{block.name}.{name}",
            block_id=block.id,
            hint=did_you_mean(close or name, ids)
            if close
            else did_you_mean(name, ids) or f"Remove it. The block has: {', '.join(ids)}.",
            level="error" if widens else "warning",
            widens=widens,
        )


def _other_field(program: Program, block: Block, form: tuple[FormField, ...]) -> Iterator[Problem]:
    """Yield values that stand in the field of another operation, under the parameter's name.

    The block's operation takes a parameter of that name from a field that is empty, so that what
    was meant to narrow it down would not.
    """
    ids = {item.id: item for item in form}
    for item in form:
        own = ids.get(item.param or "")
        if own is None or own is item or item.param is None or not item.shown(block.values):
            continue
        value = block.values.get(item.param)
        if own.shown(block.values) or is_blank(value) or not is_blank(block.values.get(item.id)):
            continue
        widens = _filters(program, block, item.param)
        yield Problem(
            f"this operation ignores the field {item.param!r}"
            + (": it would not filter anything" if widens else ""),
            place=f"{block.name}.{item.param}",
            block_id=block.id,
            hint=f"Its field here is {item.id!r} ({item.title}). Move the value, or remove it.",
            level="error" if widens else "warning",
            widens=widens,
        )


def _filters(program: Program, block: Block, param: str | None) -> bool:
    """Return whether a parameter narrows down what the block's tool lists."""
    spec = program.services.block(block.type)
    if spec is None or not spec.operations or param is None:
        return False
    operation = block.values.get(spec.operation_field) or spec.default_operation
    operation = next(iter(spec.operations)) if len(spec.operations) == 1 else operation
    tool_id = spec.operations.get(operation) if isinstance(operation, str) else None
    return tool_id is not None and param in program.services.filters(tool_id)
