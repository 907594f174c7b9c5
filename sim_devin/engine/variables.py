"""Workflow variables: what their stored values mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.engine.references import MISSING, parse_json, value_text
from sim_devin.engine.workflow import Variable
from sim_devin.specs.schema import number


def blank_value(kind: str) -> Any:
    """Return what a variable of this type is when nothing is stored."""
    return {"number": 0, "boolean": False, "object": {}, "array": []}.get(kind, "")


def initial_values(variables: Mapping[str, Variable]) -> dict[str, Any]:
    """Return variable id -> value at the start of a run."""
    return {key: typed(item.type, item.value) for key, item in variables.items()}


def typed(kind: str, value: Any) -> Any:
    """Return a stored value as its declared type; what does not parse is the type's blank."""
    if kind == "number":
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, (int, float)):
            return value
        parsed = number(value) if isinstance(value, str) else None
        whole = isinstance(parsed, float) and parsed.is_integer()
        return int(parsed) if whole and parsed is not None else (parsed or 0)
    if kind == "boolean":
        return value if isinstance(value, bool) else str(value).strip().lower() == "true"
    if kind in ("object", "array"):
        parsed = parse_json(value) if isinstance(value, str) else value
        wanted = dict if kind == "object" else list
        return parsed if parsed is not MISSING and isinstance(parsed, wanted) else blank_value(kind)
    return "" if value is None else value_text(value)
