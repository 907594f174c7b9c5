"""A small valid instance of a JSON Schema (Draft 7), for structured output.

It knows the common keywords. What it makes is checked before it is used, so that a schema
beyond it leads to an empty object and never to wrong data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from sim_devin.simulator.schema_check import as_list, fits, matches, resolve, same

_DEEPEST = 12
_EFFORT = 5_000
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
        for candidate in _Maker(schema).candidates(schema, 0):
            if isinstance(candidate, dict) and fits(candidate, schema):
                return candidate
    except (
        RecursionError,
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        ArithmeticError,
    ):
        pass  # not a schema that can be followed; the empty object stands for it
    return {}


class _Maker:
    """Makes values that may be valid against parts of the schema `root`, likely ones first.

    `ValueError` once too many were tried: combinations multiply.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.left = _EFFORT

    def candidates(self, schema: Any, depth: int) -> Iterator[Any]:
        if schema is False or depth > _DEEPEST:
            return
        self.left -= 1
        if self.left < 0:
            raise ValueError("too hard")
        if schema is True or not schema:
            yield "example"
            yield {}
        elif "$ref" in schema:
            yield from self.candidates(resolve(schema["$ref"], self.root), depth + 1)
        else:
            for merged in self.branches(schema, depth):
                for kind in _kinds(merged):
                    yield from self.of_kind(kind, merged, depth)

    def first(self, schema: Any, depth: int) -> Any:
        """Return the first candidate that is valid, or `_NOTHING`."""
        for candidate in islice(self.candidates(schema, depth), 100):
            if fits(candidate, schema, self.root):
                return candidate
        return _NOTHING

    def branches(self, schema: Mapping[str, Any], depth: int) -> Iterator[Mapping[str, Any]]:
        """Yield `schema` with its combinations resolved: all of allOf, one of the others."""
        base = dict(schema)
        for _ in range(_DEEPEST):
            for part in base.pop("allOf", ()):
                base = _merge(base, self.followed(part))
        for key in ("then", "else"):
            if key in base:
                branch = base.pop(key)
                yield from self.branches(_merge(base, self.followed(branch)), depth)
        for key in ("anyOf", "oneOf"):
            if key in base and depth <= _DEEPEST:
                for choice in base.pop(key):
                    yield from self.branches(_merge(base, self.followed(choice)), depth + 1)
                return
        yield base

    def followed(self, schema: Any) -> Any:
        for _ in range(_DEEPEST):
            if not isinstance(schema, Mapping) or "$ref" not in schema:
                break
            schema = resolve(schema["$ref"], self.root)
        return schema

    def of_kind(self, kind: str, schema: Mapping[str, Any], depth: int) -> Iterator[Any]:
        if kind == "given":
            yield from [schema["const"]] if "const" in schema else schema["enum"]
        elif kind == "object":
            yield from self.objects(schema, depth)
        elif kind == "array":
            yield from self.arrays(schema, depth)
        elif kind == "string":
            yield from _strings(schema)
        elif kind in ("integer", "number"):
            yield from _numbers(schema, whole=kind == "integer")
        elif kind == "boolean":
            yield True
            yield False
        elif kind == "null":
            yield None

    def objects(self, schema: Mapping[str, Any], depth: int) -> Iterator[dict[str, Any]]:
        properties = schema.get("properties", {})
        required = list(schema.get("required", ()))
        optional = [name for name in properties if name not in required]
        for names in ([*required, *optional] if depth < _OPTIONAL_DEPTH else required, required):
            made: dict[str, Any] = {}
            for name in names:
                value = self.first(_property(schema, name), depth + 1)
                if value is not _NOTHING:
                    made[name] = value
            for number in range(len(made), min(schema.get("minProperties", 0), 100)):
                name = f"extra_{number}"
                made[name] = self.first(_property(schema, name), depth + 1)
            yield made

    def arrays(self, schema: Mapping[str, Any], depth: int) -> Iterator[list[Any]]:
        items = schema.get("items", schema.get("contains", True))
        if isinstance(items, list):
            yield [self.first(item, depth + 1) for item in items]
            return
        fewest = max(schema.get("minItems", 0), 1 if "contains" in schema else 0)
        unique = schema.get("uniqueItems") is True
        for count in (max(fewest, 1), fewest) if depth < _OPTIONAL_DEPTH else (fewest,):
            made: list[Any] = []
            for candidate in islice(self.candidates(items, depth + 1), 100):
                if len(made) == count:
                    break
                fresh = not unique or not any(same(candidate, other) for other in made)
                if fresh and fits(candidate, items, self.root):
                    made.append(candidate)
            if made and not unique:
                made += [made[-1]] * (min(count, 1_000) - len(made))
            yield made


def _property(schema: Mapping[str, Any], name: str) -> Any:
    """Return the schema of the property `name` of an object with `schema`."""
    patterns = schema.get("patternProperties", {})
    parts = [part for pattern, part in patterns.items() if matches(pattern, name)]
    if name in schema.get("properties", {}):
        parts.append(schema["properties"][name])
    if len(parts) > 1:
        return {"allOf": parts}
    return parts[0] if parts else schema.get("additionalProperties", True)


def _merge(left: Mapping[str, Any], right: Any) -> dict[str, Any]:
    """Return a schema that asks for what both ask, as far as one level can say it."""
    if not isinstance(right, Mapping):
        return dict(left)
    merged = {**left, **right}
    for key in ("properties", "patternProperties"):
        if key in left and key in right:
            merged[key] = {**left[key], **right[key]}
    if "required" in left and "required" in right:
        merged["required"] = list(dict.fromkeys([*left["required"], *right["required"]]))
    return merged


def _kinds(schema: Mapping[str, Any]) -> list[str]:
    if "const" in schema or "enum" in schema:
        return ["given"]
    if "type" in schema:
        kinds = as_list(schema["type"])
        return sorted(kinds, key=lambda kind: kind == "null")
    if {"properties", "required", "minProperties", "additionalProperties"} & schema.keys():
        return ["object"]
    if {"items", "minItems", "contains"} & schema.keys():
        return ["array"]
    if {"minimum", "maximum", "multipleOf", "exclusiveMinimum"} & schema.keys():
        return ["number"]
    return ["string", "object", "boolean", "integer", "null"]


def _strings(schema: Mapping[str, Any]) -> Iterator[str]:
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
    texts = (_FORMATS[schema["format"]],) if schema.get("format") in _FORMATS else _TEXTS
    if "pattern" in schema:
        texts += tuple(letter * length for length in range(1, 13) for letter in "1aA")
    for text in texts:
        padded = text + "x" * (min(shortest, 100_000) - len(text))
        yield padded if longest is None else padded[:longest]


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
