"""A small valid instance of a JSON Schema (Draft 7), for structured output.

It knows the common keywords. What it makes is checked before it is used, so that a schema
beyond it leads to an empty object and never to wrong data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

_DEEPEST = 12
_OPTIONAL_DEPTH = 4
_FORMATS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T12:00:00Z",
    "time": "12:00:00Z",
    "email": "devin@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "/example",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_TEXTS = (
    "example", "EXAMPLE", "Example", "1", "example-1", "acme/app", "1.0.0", "v1.0.0", "true",
    "ABC-123", "#1", *_FORMATS.values(), "https://github.com/acme/app/pull/1",
    "0123456789abcdef0123456789abcdef01234567",
)  # fmt: skip


def instance(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a small object that is valid against `schema`, or ``{}`` if none was found."""
    try:
        candidates = islice(_candidates(schema, schema, 0), 200)
        for candidate in candidates:
            if isinstance(candidate, dict) and fits(candidate, schema):
                return candidate
    except (RecursionError, TypeError, ValueError, re.error):
        pass  # not a schema that can be followed; the empty object stands for it
    return {}


def fits(value: Any, schema: Any, root: Any = None) -> bool:
    """Return whether `value` is valid against `schema`, by the keywords of Draft 7.

    `root` is the document that local references point into (`schema` itself when left out).
    Formats are not checked.
    """
    root = schema if root is None else root
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema:
        return fits(value, _resolve(schema["$ref"], root), root)
    kinds = schema.get("type")
    if kinds is not None and not any(_is(value, kind) for kind in _as_list(kinds)):
        return False
    if "const" in schema and not _same(value, schema["const"]):
        return False
    if "enum" in schema and not any(_same(value, item) for item in schema["enum"]):
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
        fitting = pattern is None or re.search(pattern, value) is not None
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
        and (step is None or value % step == 0)
    )


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
        matching = [each for pattern, each in patterns.items() if re.search(pattern, name)]
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


def _candidates(schema: Any, root: Any, depth: int) -> Iterator[Any]:
    """Yield values that may be valid against `schema`, likely ones first."""
    if schema is False or depth > _DEEPEST:
        return
    if schema is True or not schema:
        yield "example"
        yield {}
        return
    if "$ref" in schema:
        yield from _candidates(_resolve(schema["$ref"], root), root, depth + 1)
        return
    if "const" in schema:
        yield schema["const"]
        return
    if "enum" in schema:
        yield from schema["enum"]
        return
    for merged in _branches(schema, root, depth):
        for kind in _kinds(merged):
            yield from _of_kind(kind, merged, root, depth)


def _branches(schema: Mapping[str, Any], root: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    """Yield `schema` with its combinations resolved: everything of allOf, one of the others."""
    parts = schema.get("allOf", ())
    base = {key: value for key, value in schema.items() if key not in ("allOf", "anyOf", "oneOf")}
    for part in parts:
        base = _merge(base, _followed(part, root))
    for key in ("then", "else"):
        if key in schema:
            yield from _branches(_merge({**base, "if": True}, schema[key]), root, depth + 1)
    choices = [schema[key] for key in ("anyOf", "oneOf") if key in schema]
    choices += [base.pop(key) for key in ("anyOf", "oneOf") if key in base]
    if not choices or depth > _DEEPEST:
        yield base
        return
    for choice in choices[0]:
        merged = _merge(base, _followed(choice, root))
        if len(choices) > 1:
            merged["anyOf"] = choices[1]
        yield from _branches(merged, root, depth + 1)


def _merge(left: Mapping[str, Any], right: Any) -> dict[str, Any]:
    if not isinstance(right, Mapping):
        return dict(left)
    merged = {**left, **right}
    for key in ("properties", "patternProperties"):
        if key in left and key in right:
            merged[key] = {**left[key], **right[key]}
    if "required" in left and "required" in right:
        merged["required"] = list(dict.fromkeys([*left["required"], *right["required"]]))
    return merged


def _followed(schema: Any, root: Any) -> Any:
    hops = 0
    while isinstance(schema, Mapping) and "$ref" in schema and hops < _DEEPEST:
        schema = _resolve(schema["$ref"], root)
        hops += 1
    return schema


def _kinds(schema: Mapping[str, Any]) -> list[str]:
    if "const" in schema or "enum" in schema:
        return ["given"]
    if "type" in schema:
        kinds = _as_list(schema["type"])
        return sorted(kinds, key=lambda kind: kind == "null")
    if {"properties", "required", "minProperties", "additionalProperties"} & schema.keys():
        return ["object"]
    if {"items", "minItems", "contains"} & schema.keys():
        return ["array"]
    if {"minimum", "maximum", "multipleOf", "exclusiveMinimum"} & schema.keys():
        return ["number"]
    return ["string", "object", "boolean", "integer", "null"]


def _of_kind(kind: str, schema: Mapping[str, Any], root: Any, depth: int) -> Iterator[Any]:
    if kind == "given":
        yield from [schema["const"]] if "const" in schema else schema["enum"]
    elif kind == "object":
        yield from _objects(schema, root, depth)
    elif kind == "array":
        yield from _arrays(schema, root, depth)
    elif kind == "string":
        yield from _strings(schema)
    elif kind in ("integer", "number"):
        yield from _numbers(schema, whole=kind == "integer")
    elif kind == "boolean":
        yield True
        yield False
    elif kind == "null":
        yield None


def _objects(schema: Mapping[str, Any], root: Any, depth: int) -> Iterator[dict[str, Any]]:
    properties = schema.get("properties", {})
    required = list(schema.get("required", ()))
    optional = [name for name in properties if name not in required]
    for names in ([*required, *optional] if depth < _OPTIONAL_DEPTH else required, required):
        made: dict[str, Any] = {}
        for name in names:
            part = properties.get(name, schema.get("additionalProperties", True))
            value = _first(part, root, depth + 1)
            if value is not _NOTHING:
                made[name] = value
        while len(made) < schema.get("minProperties", 0):
            made[f"extra_{len(made)}"] = _first(
                schema.get("additionalProperties", True), root, depth + 1
            )
        yield made


def _arrays(schema: Mapping[str, Any], root: Any, depth: int) -> Iterator[list[Any]]:
    items = schema.get("items", schema.get("contains", True))
    if isinstance(items, list):
        yield [_first(item, root, depth + 1) for item in items]
        return
    fewest = max(schema.get("minItems", 0), 1 if "contains" in schema else 0)
    for count in dict.fromkeys((max(fewest, 1 if depth < _OPTIONAL_DEPTH else 0), fewest)):
        made: list[Any] = []
        for candidate in islice(_candidates(items, root, depth + 1), 100):
            if len(made) == count:
                break
            fresh = not schema.get("uniqueItems") or not any(_same(candidate, x) for x in made)
            if fresh and fits(candidate, items, root):
                made.append(candidate)
        if made and not schema.get("uniqueItems"):
            made += [made[-1]] * (count - len(made))
        if len(made) == count:
            yield made
    if fewest == 0:
        yield []


def _strings(schema: Mapping[str, Any]) -> Iterator[str]:
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
    texts = (_FORMATS[schema["format"]],) if schema.get("format") in _FORMATS else _TEXTS
    for text in texts:
        padded = text + "x" * (shortest - len(text))
        yield padded if longest is None else padded[:longest]
    for number in range(max(0, shortest)):
        yield str(number).rjust(shortest, "0")


def _numbers(schema: Mapping[str, Any], *, whole: bool) -> Iterator[float]:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    step = schema.get("multipleOf", 1)
    start = low if low is not None else min(1, high) if high is not None else 1
    yield from (1, 0) if low is None and high is None else ()
    first = -(-start // step) * step  # the first multiple from `start` on
    for number in range(-2, 20):
        value = first + number * step
        yield int(value) if value == int(value) else value
    if not whole:
        yield start
        if low is not None and high is not None:
            yield (low + high) / 2


_NOTHING = object()


def _first(schema: Any, root: Any, depth: int) -> Any:
    for candidate in islice(_candidates(schema, root, depth), 100):
        if fits(candidate, schema, root):
            return candidate
    return _NOTHING


def _resolve(reference: str, root: Any) -> Any:
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


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return bool(left == right)


def _repeats(values: list[Any]) -> bool:
    return any(_same(item, other) for at, item in enumerate(values) for other in values[:at])


def _within(size: float, schema: Mapping[str, Any], least: str, most: str) -> bool:
    return bool(schema.get(least, size) <= size <= schema.get(most, size))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
