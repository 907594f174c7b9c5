"""Read what a model wrote as arguments: JSON that may hold JSON text, and null for absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.errors import InvalidParams
from sim_devin.functions import dialects
from sim_devin.specs.json_input import DEEPEST, NotJson, parse_json
from sim_devin.specs.models import Schema

TOO_DEEP = "the arguments are nested too deeply"


def parse(name: str, arguments: str | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the arguments of the function `name` as an object; text may hold JSON text.

    Raises:
        InvalidParams: they are no JSON object.
    """
    value: Any = arguments
    for _ in range(2):
        if not isinstance(value, str):
            break
        try:
            value = parse_json(value or "{}")
        except NotJson as error:
            problem = f"the text of the arguments {error}; pass one JSON object"
            raise InvalidParams(name, [problem]) from None
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        kind = "a list" if isinstance(value, list) else f"a {type(value).__name__}"
        raise InvalidParams(name, [f"the arguments are {kind}; pass one JSON object"])
    return value


def read(name: str, schema: Schema, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the function `name` as their schema means them.

    JSON text is parsed where no text is wanted, and a null that is not wanted is left out.

    Raises:
        InvalidParams: they are nested too deeply.
    """
    try:
        result: dict[str, Any] = _read(schema, values, schema, 0)
    except RecursionError:
        raise InvalidParams(name, [TOO_DEEP]) from None
    return result


def _read(schema: Any, value: Any, root: Schema, depth: int) -> Any:
    """Return a value as its schema means it: JSON text parsed, nulls for absent left out."""
    if depth > DEEPEST:
        raise RecursionError
    schema = dialects.resolve(schema, root)
    if isinstance(value, str):
        value = _untexted(schema, value, root)
    if isinstance(value, Mapping):
        properties = schema.get("properties", {})
        others = None if schema.get("additionalProperties") is False else {"type": "null"}
        return {
            key: _read(properties.get(key, {}), item, root, depth + 1)
            for key, item in value.items()
            if item is not None or "null" in dialects.types(properties.get(key, others), root)
        }
    if isinstance(value, list):
        return [_read(schema.get("items", {}), item, root, depth + 1) for item in value]
    return value


def _untexted(schema: Schema, text: str, root: Schema) -> Any:
    """Return what JSON text holds, where the schema wants something else than text."""
    wanted = dialects.types(schema, root)
    if not wanted or "string" in wanted:
        return text
    try:
        value = parse_json(text)
    except NotJson:
        return text
    names = {dict: "object", list: "array", bool: "boolean", int: "integer", float: "number"}
    kind = names.get(type(value), "")
    fits = kind in wanted or (kind == "integer" and "number" in wanted)
    return value if fits else text
