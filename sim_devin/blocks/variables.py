"""The Variables block: sets workflow variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sim_devin.engine.contract import BlockContext, BlockError, Written, handler
from sim_devin.engine.field_check import is_open
from sim_devin.engine.problem import Problem
from sim_devin.engine.references import MISSING, parse_json
from sim_devin.engine.variables import blank_value

PREFIX = "Variables block execution failed"


def check(written: Written) -> Iterator[Problem]:
    """Yield the assignments whose values cannot be of their type."""
    known = written.values.get("variables")  # with variables of the environment filled in
    for row in _rows(written.block.values.get("variables") if known is None else known):
        if is_open(row):
            continue
        try:
            assign(str(row["variableName"]), str(row.get("type") or "string"), row.get("value"))
        except BlockError as error:
            hint = "Correct the value, or the type of the variable."
            yield Problem(str(error), place=f"variables.{row['variableName']}", hint=hint)


@handler(inline=True, outputs=lambda _: None, check=check)
def variables(block: BlockContext) -> dict[str, Any]:
    """Set every assignment's variable; an unknown one only shows in the output."""
    assigned: dict[str, Any] = {}
    for row in _rows(block.values.get("variables")):
        name = str(row["variableName"])
        variable = block.variable(name, row.get("variableId"))
        kind = str(row.get("type") or "string")
        value = assign(name, kind, row.get("value"))
        if variable is not None:
            block.set_variable(variable, value)
            name = variable.name
        assigned[name] = value
    return assigned


def _rows(value: Any) -> list[Mapping[str, Any]]:
    rows = parse_json(value) if isinstance(value, str) else value
    return [
        row
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, Mapping) and row.get("variableName")
    ]


def assign(name: str, kind: str, value: Any) -> Any:
    """Return the value of an assignment as its declared type.

    Raises:
        BlockError: the value cannot be one.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return blank_value(kind)
    if kind == "number":
        return _number(name, value)
    if kind == "boolean":
        if isinstance(value, bool):
            return value
        text = str(value).strip().lower()
        if text in ("true", "false"):
            return text == "true"
        raise BlockError(
            f'{PREFIX}: Invalid boolean value for variable "{name}": "{value}". '
            'Expected "true" or "false".'
        )
    if kind in ("object", "array"):
        return _structure(name, kind, value)
    return value


def _number(name: str, value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    from sim_devin.specs.schema import number

    parsed = number(str(value))
    if parsed is None:
        raise BlockError(
            f'{PREFIX}: Invalid number value for variable "{name}": "{value}". '
            "Expected a valid number."
        )
    return int(parsed) if isinstance(parsed, float) and parsed.is_integer() else parsed


def _structure(name: str, kind: str, value: Any) -> Any:
    parsed = parse_json(value) if isinstance(value, str) else value
    wanted = dict if kind == "object" else list
    if parsed is MISSING or not isinstance(parsed, wanted):
        raise BlockError(
            f'{PREFIX}: Invalid JSON for variable "{name}": expected an {kind}, got {value!s:.80}'
        )
    return parsed
