"""Whether a value is valid against a JSON Schema (Draft 7).

Kept to the keywords that structured output uses in practice; formats are not checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

# A group that is repeated without end, or often: what a search may need ages for.
_REPEATED_GROUP = re.compile(r"\)(?:[*+]|\{\d+,\d*\}|\{\d{2,}\})|\\[1-9k]")
_SHORT = 14  # characters, for which any such pattern is quick


def fits(value: Any, schema: Any, root: Any = None) -> bool:
    """Return whether `value` is valid against `schema`, by the keywords of Draft 7.

    `root` is the document that local references point into (`schema` itself when left out).
    """
    root = schema if root is None else root
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema:
        return fits(value, resolve(schema["$ref"], root), root)
    kinds = schema.get("type")
    if kinds is not None and not any(_is(value, kind) for kind in as_list(kinds)):
        return False
    if "const" in schema and not same(value, schema["const"]):
        return False
    if "enum" in schema and not any(same(value, item) for item in schema["enum"]):
        return False
    return _fits_combined(value, schema, root) and _fits_kind(value, schema, root)


def _fits_combined(value: Any, schema: Mapping[str, Any], root: Any) -> bool:
    if not all(fits(value, item, root) for item in schema.get("allOf", ())):
        return False
    if "anyOf" in schema and not any(fits(value, item, root) for item in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(fits(value, item, root) for item in schema["oneOf"]) != 1:
        return False
    if "not" in schema and fits(value, schema["not"], root):
        return False
    if "if" in schema:
        branch = "then" if fits(value, schema["if"], root) else "else"
        return fits(value, schema.get(branch, True), root)
    return True


def _fits_kind(value: Any, schema: Mapping[str, Any], root: Any) -> bool:
    if isinstance(value, str):
        pattern = schema.get("pattern")
        fitting = pattern is None or matches(pattern, value)
        return fitting and _within(len(value), schema, "minLength", "maxLength")
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int | float):
        return _fits_number(value, schema)
    if isinstance(value, list):
        return _fits_array(value, schema, root)
    return _fits_object(value, schema, root)


def _fits_number(value: float, schema: Mapping[str, Any]) -> bool:
    step = schema.get("multipleOf")
    return (
        _within(value, schema, "minimum", "maximum")
        and value > schema.get("exclusiveMinimum", float("-inf"))
        and value < schema.get("exclusiveMaximum", float("inf"))
        and (step is None or _exact(value) % _exact(step) == 0)
    )


def _exact(value: float) -> Fraction:
    return Fraction(value) if isinstance(value, int) else Fraction(Decimal(repr(value)))


def matches(pattern: str, text: str) -> bool:
    """Return whether a pattern of ECMA-262 matches in a text.

    Patterns come from outside, and the engine looks at no clock. The texts are the simulator's
    own, and short; one that a pattern with repeated groups could take long over does not match.

    Raises:
        ValueError: it is no such pattern.
    """
    from regress import Regex, RegressError  # the simulator itself needs no library

    if len(text) > _SHORT and _REPEATED_GROUP.search(pattern):
        return False
    try:
        made = Regex(pattern, "u")
    except RegressError:
        try:
            made = Regex(pattern, "")
        except RegressError as error:
            raise ValueError(str(error)) from None
    return made.find(text) is not None


def _fits_array(value: list[Any], schema: Mapping[str, Any], root: Any) -> bool:
    items = schema.get("items", True)
    if isinstance(items, list):
        schemas = [*items, *([schema.get("additionalItems", True)] * len(value))]
    else:
        schemas = [items] * len(value)
    contained = schema.get("contains")
    return (
        _within(len(value), schema, "minItems", "maxItems")
        and all(fits(item, each, root) for item, each in zip(value, schemas, strict=False))
        and (contained is None or any(fits(item, contained, root) for item in value))
        and not (schema.get("uniqueItems") and _repeats(value))
    )


def _fits_object(value: Mapping[str, Any], schema: Mapping[str, Any], root: Any) -> bool:
    properties = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    others = schema.get("additionalProperties", True)
    if not _within(len(value), schema, "minProperties", "maxProperties"):
        return False
    if not all(name in value for name in schema.get("required", ())):
        return False
    for name, item in value.items():
        matching = [each for pattern, each in patterns.items() if matches(pattern, name)]
        if name in properties:
            matching.append(properties[name])
        if not all(fits(item, each, root) for each in matching or [others]):
            return False
        if not fits(name, schema.get("propertyNames", True), root):
            return False
    for name, needed in schema.get("dependencies", {}).items():
        if name in value:
            wanted = {"required": needed} if isinstance(needed, list) else needed
            if not fits(value, wanted, root):
                return False
    return True


def resolve(reference: str, root: Any) -> Any:
    """Return what a local `reference` points at; `ValueError` when it leaves the document."""
    if not reference.startswith("#"):
        raise ValueError(f"reference {reference} leaves the schema")
    found = root
    for part in reference[1:].strip("/").split("/"):
        if part:
            key = part.replace("~1", "/").replace("~0", "~")
            found = found[int(key)] if isinstance(found, list) else found[key]
    return found


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, float) and value.is_integer() and kind == "integer":
        return True
    kinds: dict[str, type | tuple[type, ...]] = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "array": list,
        "object": dict,
        "null": type(None),
    }
    return isinstance(value, kinds.get(kind, ()))


def same(left: Any, right: Any) -> bool:
    """Return whether two JSON values are equal; true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def _repeats(values: list[Any]) -> bool:
    return any(same(item, other) for at, item in enumerate(values) for other in values[:at])


def _within(size: float, schema: Mapping[str, Any], least: str, most: str) -> bool:
    return bool(schema.get(least, size) <= size <= schema.get(most, size))


def as_list(value: Any) -> list[Any]:
    """Return `value`, or a list of just it."""
    return value if isinstance(value, list) else [value]
