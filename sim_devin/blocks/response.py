"""The Response block: what the run answers. It ends the run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from sim_devin.blocks.table import table_pairs
from sim_devin.engine.contract import BlockContext, Written, handler
from sim_devin.engine.problem import Problem
from sim_devin.engine.references import MISSING, parse_json
from sim_devin.specs.schema import number


def check(written: Written) -> Iterator[Problem]:
    """Yield that the status is none."""
    value = written.values.get("status")
    if value not in (None, "") and _as_status(value) is None:
        yield Problem(
            f"{str(value)[:60]!r} is not an HTTP status: the response has 200",
            place="status",
            hint="Write a number from 100 to 599.",
            level="warning",
        )


@handler(inline=True, check=check)
def response(block: BlockContext) -> dict[str, Any]:
    """Return data, status and headers of the answer."""
    values = block.values
    if values.get("dataMode") == "json" and values.get("data") not in (None, ""):
        data = values["data"]
        parsed = parse_json(data)
        data = data if parsed is MISSING else parsed
    elif values.get("dataMode") != "json" and values.get("builderData"):
        data = _reparsed(_built(values["builderData"]))
    else:
        data = {}
    return {
        "data": data,
        "status": _status(values.get("status")),
        "headers": _headers(values.get("headers")),
    }


def _status(value: Any) -> int:
    return _as_status(value) or 200


def _as_status(value: Any) -> int | None:
    parsed = number(value) if isinstance(value, str) else value
    if isinstance(parsed, bool) or not isinstance(parsed, (int, float)):
        return None
    status = math.floor(parsed)
    return status if 100 <= status <= 599 else None


def _headers(table: Any) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    for key, value in table_pairs(table):
        headers[key] = "" if value is None else str(value)
    return headers


def _built(fields: Any) -> dict[str, Any]:
    rows = parse_json(fields) if isinstance(fields, str) else fields
    return {
        row["name"]: _field(row.get("type"), row.get("value"))
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, Mapping) and isinstance(row.get("name"), str) and row["name"].strip()
    }


def _field(kind: Any, value: Any) -> Any:
    """Return a field's value as its declared type, or unchanged where that fails."""
    match kind:
        case "number" if isinstance(value, str):
            parsed = number(value) if value.strip() else value
            return value if parsed is None else parsed
        case "boolean" if isinstance(value, str):
            return value.lower() == "true"
        case "object" | "files" if isinstance(value, list):
            return _built(value)
        case "array" if isinstance(value, list):
            return [
                _field(item.get("type"), item.get("value"))
                if isinstance(item, Mapping) and "value" in item
                else item
                for item in value
            ]
        case "object" | "array" if isinstance(value, str):
            parsed = parse_json(value)
            return value if parsed is MISSING else parsed
    return value


def _reparsed(value: Any) -> Any:
    """Return a value in which every text that is JSON is what it says, as Sim does here."""
    if isinstance(value, str):
        parsed = parse_json(value.strip()) if value.strip() else MISSING
        return value if parsed is MISSING else _reparsed(parsed) if parsed != value else parsed
    if isinstance(value, Mapping):
        return {key: _reparsed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_reparsed(item) for item in value]
    return value
