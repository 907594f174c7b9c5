"""Where a run starts, and what its start block outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sim_devin.engine.references import MISSING, parse_json, value_text
from sim_devin.engine.workflow import Block, Workflow
from sim_devin.errors import InvalidWorkflow
from sim_devin.specs.json_input import require_json
from sim_devin.specs.schema import number

START_TYPES = (
    "start_trigger",
    "api_trigger",
    "input_trigger",
    "manual_trigger",
    "chat_trigger",
    "starter",
)
EXTERNAL_TYPES = ("webhook", "generic_webhook", "schedule", "sim_workspace_event")
RESERVED = ("error", "selectedOption", "selectedRoute", "_pauseMetadata")

_PRIORITY: Mapping[str, tuple[str, ...]] = {
    "manual": ("start_trigger", "api_trigger", "input_trigger", "manual_trigger", "starter", "*"),
    "api": ("start_trigger", "api_trigger", "input_trigger", "starter"),
    "chat": ("start_trigger", "chat_trigger", "starter"),
    "external": ("*",),
    "child": ("start_trigger", "input_trigger", "starter"),
}
TRIGGERS = (*_PRIORITY, "webhook", "schedule")

IsTrigger = Callable[[str], bool]


def is_start(block: Block, is_trigger: IsTrigger) -> bool:
    """Return whether a block can start a run: a start block, or any kind of trigger."""
    return block.type in START_TYPES or _external(block, is_trigger)


def _external(block: Block, is_trigger: IsTrigger) -> bool:
    if block.type in START_TYPES:
        return False
    return block.trigger_mode or block.type in EXTERNAL_TYPES or is_trigger(block.type)


def start_block(workflow: Workflow, trigger: str, is_trigger: IsTrigger) -> Block:
    """Return the block that a run of this kind starts at.

    `trigger` is ``manual``, ``api``, ``chat``, ``child`` or ``external`` (also ``webhook``,
    ``schedule``). `is_trigger` says whether a block type is nothing but a trigger.

    Raises:
        InvalidWorkflow: there is no such block, or a child workflow has several.
    """
    kind = "external" if trigger in ("webhook", "schedule") else trigger
    if kind not in _PRIORITY:
        raise InvalidWorkflow([f"unknown trigger {trigger!r}; use one of {', '.join(TRIGGERS)}"])
    enabled = [block for block in workflow.blocks.values() if block.enabled]
    for wanted in _PRIORITY[kind]:
        found = [
            block
            for block in enabled
            if (_external(block, is_trigger) if wanted == "*" else block.type == wanted)
        ]
        if kind == "child" and len(found) > 1:
            raise InvalidWorkflow(["the child workflow has more than one start block"])
        if found:
            return found[0]
    known = ", ".join("any trigger" if name == "*" else name for name in _PRIORITY[kind])
    raise InvalidWorkflow(
        ["No start block found. Add a start block to this workflow."],
        hint=f"A {trigger} run can start at: {known}.",
    )


def input_fields(block: Block) -> list[Mapping[str, Any]]:
    """Return the fields a start block declares, named ones only."""
    value = block.values.get("inputFormat")
    rows = parse_json(value) if isinstance(value, str) else value
    return [
        row
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, Mapping) and isinstance(row.get("name"), str) and row["name"].strip()
    ]


def start_output(block: Block, inputs: Any, *, external: bool) -> dict[str, Any]:
    """Return what a start block outputs for the inputs of a run.

    Raises:
        InvalidWorkflow: a field of the block or an input has a reserved name.
        CallerError: the inputs hold what JSON has no form for, or are nested too deeply.
    """
    require_json(inputs, "The input")
    given: dict[str, Any] = dict(inputs) if isinstance(inputs, Mapping) else {}
    if inputs is not None and not isinstance(inputs, Mapping):
        given = {"input": inputs}
    fields = input_fields(block)
    _refuse_reserved([field["name"] for field in fields], given)
    nested = given.get("input")
    typed = {
        field["name"]: _field_value(field, given, nested if isinstance(nested, Mapping) else {})
        for field in fields
    }
    if block.type == "chat_trigger":
        return {key: given[key] for key in ("input", "conversationId") if key in given}
    if block.type in ("starter", "api_trigger", "input_trigger", "manual_trigger"):
        return _wrapped(block, typed, given)
    output = {**given}
    for key, value in typed.items():
        if value is not None or key not in output:
            output[key] = value
    if not external:
        # An empty text counts as absent; it would otherwise hide the default of `input`.
        output = {
            key: value
            for key, value in output.items()
            if not (key in ("input", "conversationId") and value == "" and key not in typed)
        }
    return output


def _wrapped(block: Block, typed: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    if typed:
        final = typed
    else:
        nested = given.get("input")
        final = dict(nested) if isinstance(nested, Mapping) else dict(given)
    if block.type == "manual_trigger":
        return {**final, "input": final.get("input", given.get("input", {**final}))}
    return {**final, "input": {**final}}


def _refuse_reserved(names: Iterable[str], given: Mapping[str, Any]) -> None:
    problems = [
        f"the start block's field {name!r} is a reserved name" for name in names if name in RESERVED
    ]
    problems += [f"the input {name!r} is a reserved name" for name in given if name in RESERVED]
    if problems:
        raise InvalidWorkflow(problems, hint=f"Reserved: {', '.join(RESERVED)}. Rename it.")


def _field_value(
    field: Mapping[str, Any], given: Mapping[str, Any], nested: Mapping[str, Any]
) -> Any:
    name = field["name"]
    value = nested[name] if name in nested else given.get(name)
    if value is None:
        value = field.get("value")
    return coerce_input(field.get("type"), value)


def coerce_input(kind: Any, value: Any) -> Any:
    """Return a start field's value as its declared type, or unchanged where that fails."""
    if value is None:
        return value
    if kind == "string":
        return value if isinstance(value, str) else value_text(value)
    if kind == "number":
        return _number(value)
    if kind == "boolean":
        return _boolean(value)
    if kind in ("object", "array"):
        parsed = parse_json(value)
        return value if parsed is MISSING else parsed
    return value


def _boolean(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if value in ("true", "1", 1):
        return True
    return False if value in ("false", "0", 0) else value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        parsed = number(value) if value.strip() else 0  # Number("") is 0
        if parsed is None:
            return value
        value = parsed
    return int(value) if isinstance(value, float) and value.is_integer() else value
