"""Read what a model wrote as arguments: JSON that may hold JSON text, and nothing for absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.errors import InvalidParams
from sim_devin.specs import rewriting
from sim_devin.specs.json_input import DEEPEST, NotJson, parse_json
from sim_devin.specs.models import Schema

KEEP_EMPTY = "x-keepEmpty"  # of a parameter: empty is not the same as left out
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
            problem = f"the arguments string {error}; pass one JSON object"
            raise InvalidParams(name, [problem]) from None
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        kind = "a list" if isinstance(value, list) else f"a {type(value).__name__}"
        raise InvalidParams(name, [f"the arguments are {kind}; pass one JSON object"])
    return value


def read(name: str, schema: Schema, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the function `name` as their schema means them.

    JSON text is parsed where no text is wanted. Many a model has to send every parameter: a null
    that is not wanted is left out, and so is an empty list or object of an optional parameter,
    unless it is marked `x-keepEmpty`.

    Raises:
        InvalidParams: they are nested too deeply.
    """
    try:
        result: dict[str, Any] = _read(schema, values, schema, 0)
    except RecursionError:
        raise InvalidParams(name, [TOO_DEEP]) from None
    return result


def _read(schema: Any, value: Any, root: Schema, depth: int) -> Any:
    if depth > DEEPEST:
        raise RecursionError
    schema = rewriting.resolve(schema, root)
    if isinstance(value, str):
        value = _untexted(schema, value, root)
    if isinstance(value, Mapping):
        properties, required = schema.get("properties", {}), schema.get("required", ())
        result = {}
        for key, item in value.items():
            declared = properties.get(key)
            read = _read(declared or {}, item, root, depth + 1)
            # What is not declared is kept: it may be a slip of the name, which is to be told.
            needed = key in required
            if declared is None or not _is_absent(declared, read, root, needed, depth):
                result[key] = read
        return result
    if isinstance(value, list):
        return [_read(schema.get("items", {}), item, root, depth + 1) for item in value]
    return value


def _is_absent(schema: Any, value: Any, root: Schema, required: bool, depth: int) -> bool:
    """Return whether a value only says that what it stands for is not wanted."""
    if value is None:
        # Inside of a parameter null may be a value; of a whole one it never is.
        return (not required and depth == 0) or "null" not in rewriting.types(schema, root)
    if required or value not in ([], {}):
        return False
    return not rewriting.resolve(schema, root).get(KEEP_EMPTY)


def _untexted(schema: Schema, text: str, root: Schema) -> Any:
    """Return what JSON text holds, where the schema wants something else than text."""
    wanted = rewriting.types(schema, root)
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
