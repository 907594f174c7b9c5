"""Rewrite a JSON Schema into the subset that a model provider accepts. Pure.

The portable subset is what OpenAI, Anthropic and Gemini all take: types, properties,
required, items, enums, descriptions, closed objects, and unions only where nothing else
says it. What a keyword outside of it says is repeated in words in the description. What the
subset cannot say at all becomes JSON text, which `functions` reads back. Facts: the
providers' function-calling pages and the type definitions of their SDKs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, get_args

from sim_devin.errors import UnknownName
from sim_devin.specs.models import Schema
from sim_devin.specs.rewriting import (
    DEEPEST,
    MARKS,
    REMARKS,
    branched,
    is_of,
    merged,
    resolve,
    types,
    without,
)

Dialect = Literal["openai", "openai-responses", "anthropic", "gemini", "mcp", "jsonschema"]
DIALECTS: tuple[str, ...] = get_args(Dialect)

QUOTED = 400  # characters of a schema worth repeating in a description

_STRUCTURE = ("type", "properties", "required", "items", "additionalProperties", "enum", "const")
_COMPOSITION = ("anyOf", "oneOf", "allOf", "$ref", "$defs", "definitions")
_SAID_OTHERWISE = frozenset((*_STRUCTURE, *_COMPOSITION, *REMARKS, *MARKS))


@dataclass(frozen=True)
class _Rules:
    """How a dialect differs from the portable subset.

    Attributes:
        all_required: every property is required, and an optional one may be null.
        free_objects: objects of any shape may stay; they become JSON text otherwise.
        null: how "or null" is written: in the list of types, or as a branch.
    """

    all_required: bool = False
    free_objects: bool = True
    null: Literal["type", "branch"] = "type"


_RULES: Mapping[tuple[str, bool], _Rules] = {
    ("openai", False): _Rules(),
    ("openai", True): _Rules(all_required=True, free_objects=False),
    ("anthropic", False): _Rules(null="branch"),
    ("anthropic", True): _Rules(free_objects=False, null="branch"),
    ("gemini", False): _Rules(),
}


def named(dialect: str) -> str:
    """Return `dialect` if there is one of that name.

    Raises:
        UnknownName: there is none; suggests the nearest.
    """
    if dialect not in DIALECTS:
        known = f"Known: {', '.join(DIALECTS)}."
        raise UnknownName("dialect", dialect, DIALECTS, hint=known)
    return dialect


def has_strict(dialect: str) -> bool:
    """Return whether a dialect has a mode in which the provider enforces the schema."""
    return dialect in ("openai", "openai-responses", "anthropic")


def rewrite(schema: Schema, dialect: str, *, strict: bool = False) -> Schema:
    """Return a function's parameters, an object schema, in the dialect.

    ``mcp`` and ``jsonschema`` get all of JSON Schema, as `branched` writes it. `strict` counts
    where `has_strict`.
    """
    if dialect in ("mcp", "jsonschema"):
        return branched(schema, optional_null=True)
    family = "openai" if dialect == "openai-responses" else dialect
    rules = _RULES[family, strict and has_strict(dialect)]
    return _Rewriting(schema, rules).object(schema, depth=1)


class _Rewriting:
    def __init__(self, root: Schema, rules: _Rules) -> None:
        self.root = root
        self.rules = rules
        self.open: list[str] = []  # references being followed

    def any(self, schema: Any, depth: int) -> Schema:
        """Return one subschema, its description completed in words."""
        reference = schema.get("$ref") if isinstance(schema, Mapping) else None
        if isinstance(reference, str):
            if reference in self.open:
                return self.text(resolve(schema, self.root))
            self.open.append(reference)
            try:
                return self.any(resolve(schema, self.root), depth)
            finally:
                self.open.pop()
        schema = merged(resolve(schema, self.root), self.root)
        branches = schema.get("anyOf") or schema.get("oneOf")
        if branches:
            return self.union(schema, branches, depth)
        kinds = sorted(types(schema, self.root) - {"null"})
        nullable = "null" in types(schema, self.root)
        if len(kinds) > 1:
            split = [{**without(schema, "description"), "type": kind} for kind in kinds]
            return self.union(schema, [*split, *([{"type": "null"}] if nullable else [])], depth)
        result = self.single(schema, kinds[0] if kinds else "", depth)
        return self.or_null(result) if nullable else result

    def single(self, schema: Schema, kind: str, depth: int) -> Schema:
        """Return a schema of one type."""
        if not kind:
            return self.text(schema)
        if kind == "object":
            if not schema.get("properties") and schema.get("additionalProperties") is not False:
                return self.free(schema)
            return self.object(schema, depth + 1) if depth < DEEPEST else self.text(schema)
        result: Schema = {"type": kind}
        if kind == "array":
            items = self.any(schema.get("items", {}), depth + 1) if depth < DEEPEST else None
            # Gemini refuses a union with an object in it as the items of an array.
            if items is None or "prefixItems" in schema or "anyOf" in items:
                return self.text(schema)
            result["items"] = items
        listed = schema.get("enum", [schema["const"]] if "const" in schema else ())
        values = [value for value in listed if is_of(value, kind)]
        if values:
            if kind == "string":
                result["enum"] = values
            else:  # Gemini accepts enums of texts alone
                schema = {**schema, "oneOfThese": values}
        return _described(result, schema)

    def object(self, schema: Schema, depth: int) -> Schema:
        """Return a closed object."""
        properties = schema.get("properties", {})
        required = [name for name in schema.get("required", ()) if name in properties]
        rewritten: dict[str, Schema] = {}
        for name, item in properties.items():
            result = self.any(item, depth)
            if self.rules.all_required and name not in required:
                result = self.or_null(result)
            rewritten[name] = result
        names = list(properties) if self.rules.all_required else required
        result = {"type": "object", "properties": rewritten, "additionalProperties": False}
        if names or self.rules.all_required:
            result["required"] = names
        return _described(result, schema)

    def free(self, schema: Schema) -> Schema:
        """Return an object of any shape."""
        if not self.rules.free_objects:
            return self.text(schema)
        return _described({"type": "object", "additionalProperties": True}, schema)

    def union(self, schema: Schema, branches: list[Any], depth: int) -> Schema:
        """Return one of several; a union that has a single member is that member."""
        nullable = any(types(item, self.root) == {"null"} for item in branches)
        rest = [item for item in branches if types(item, self.root) != {"null"}]
        texts = [_texts(resolve(item, self.root)) for item in rest]
        if texts and all(texts):
            rest = [{"type": "string", "enum": list(dict.fromkeys(chain.from_iterable(texts)))}]
        if len(rest) == 1:
            said = {key: value for key, value in schema.items() if key == "description"}
            result = self.any({**rest[0], **said}, depth)
        else:
            options = [self.any(item, depth) for item in rest]
            if not options:
                return self.text(schema)
            result = _described({"anyOf": options}, schema)
        return self.or_null(result) if nullable else result

    def or_null(self, schema: Schema) -> Schema:
        """Return the schema with null added."""
        if "anyOf" in schema:
            if {"type": "null"} in schema["anyOf"]:
                return schema
            return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
        if self.rules.null == "branch":
            said = {key: value for key, value in schema.items() if key == "description"}
            return {"anyOf": [without(schema, "description"), {"type": "null"}], **said}
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        result = {**schema, "type": list(dict.fromkeys([*kinds, "null"]))}
        if "enum" in schema:
            result["enum"] = list(dict.fromkeys([*schema["enum"], None]))
        return result

    def text(self, schema: Schema) -> Schema:
        """Return a text that holds JSON, for what the dialect cannot say."""
        shape = json.dumps(without(schema, "description"), ensure_ascii=False)
        trivial = shape in ("{}", '{"type": "object"}')
        fits = "" if trivial or len(shape) > QUOTED else f" It must match this schema: {shape}"
        words = f"{schema.get('description', '')} Pass it as JSON text.{fits}"
        return {"type": "string", "description": words.strip()}


def _texts(schema: Schema) -> list[str]:
    """Return the texts that a schema enumerates; empty if it is anything else."""
    values: list[Any] = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return values if all(isinstance(value, str) for value in values) else []


# -- words -----------------------------------------------------------------------------------

_WORDS = {
    "minimum": "At least {}.",
    "maximum": "At most {}.",
    "exclusiveMinimum": "More than {}.",
    "exclusiveMaximum": "Less than {}.",
    "multipleOf": "A multiple of {}.",
    "minLength": "At least {} characters.",
    "maxLength": "At most {} characters.",
    "pattern": "Matches {}.",
    "format": "Format: {}.",
    "minItems": "At least {} items.",
    "maxItems": "At most {} items.",
    "minProperties": "At least {} entries.",
    "maxProperties": "At most {} entries.",
    "default": "Default: {}.",
    "oneOfThese": "One of {}.",
}


def in_words(schema: Schema) -> str:
    """Return what the keywords outside of the portable subset say, in words."""
    return " ".join(_sentences(schema))


def _sentences(schema: Schema) -> Iterable[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        yield f"From {low} to {high}."
        schema = without(without(schema, "minimum"), "maximum")
    for key, value in schema.items():
        if key in _WORDS:
            quoted = value if key in ("pattern", "format") else json.dumps(value)
            if key == "oneOfThese":
                quoted = ", ".join(json.dumps(item) for item in value)
            yield _WORDS[key].format(quoted)
        elif key == "uniqueItems":
            yield from ["Items must be unique."] if value else []
        elif key not in _SAID_OTHERWISE and not key.startswith("x-"):
            quoted = json.dumps(value, ensure_ascii=False)
            if len(quoted) <= QUOTED:
                yield f"{key}: {quoted}."


def _described(result: Schema, schema: Schema) -> Schema:
    said = schema.get("description", "")
    words = f"{said} {in_words(schema)}".strip()
    return {**result, "description": words} if words else result
