"""What is inconsistent in a spec although it is of the language: it cannot work, or is unsafe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sim_devin.specs import json_schema
from sim_devin.specs.models import (
    EXTRA_BODY,
    EXTRA_QUERY,
    PARAMETER,
    PLACEHOLDER,
    SHAPES,
    Connection,
    Schema,
    SpecModel,
    ToolSpec,
)
from sim_devin.text import did_you_mean


def problems_of(spec: SpecModel) -> Iterator[str]:
    """Yield what is inconsistent inside one spec, as ``place: what``."""
    if isinstance(spec, ToolSpec):
        yield from tool_problems(spec)
    elif isinstance(spec, Connection):
        yield from _address_problems(spec)


def _address_problems(connection: Connection) -> Iterator[str]:
    held = PLACEHOLDER.findall(connection.base_url)
    if held:
        yield (
            f"baseUrl: {{{held[0]}}} is not filled in here; put it into the tools' paths, or the "
            "whole address into the variable that baseUrlEnv names"
        )
    elif not re.match(r"https?://[^/?#\s]+[^?#\s]*$", connection.base_url):
        yield "baseUrl: must be an address such as https://api.example.com/v1, without a query"
    for header, template in connection.headers.items():
        for name in PLACEHOLDER.findall(template):
            if name not in connection.fields:
                hint = did_you_mean(name, connection.fields)
                yield f"headers.{header}: {{{name}}} is not a field. {hint}".rstrip()


def tool_problems(spec: ToolSpec) -> Iterator[str]:
    """Yield what is inconsistent inside one tool, as ``place: what``."""
    problems = list(_schemas_problems(spec))
    if not problems:  # what follows relies on them
        problems += _parameter_problems(spec)
        problems += _own_keyword_problems(spec)
    problems += _repeating_problems(spec)
    if not problems and spec.request is not None:
        problems += _request_problems(spec)
        problems += _example_problems(spec)
    yield from problems


def _schemas_problems(spec: ToolSpec) -> Iterator[str]:
    yield from _schema_problems("params", spec.params)
    if spec.params.get("type") != "object":
        yield 'params: must be {"type": "object", …}'
    if "$ref" in spec.output:
        reference, known = spec.output["$ref"], [f"{SHAPES}#/{name}" for name in spec.shapes]
        if reference not in known:
            hint = did_you_mean(str(reference), known)
            yield f"output.$ref: unknown shape {reference!r}. {hint}".rstrip()
            return
        if len(spec.output) > 1:
            yield "output: $ref must be the only key"
    answer: Any = spec.answer
    if (
        not isinstance(answer, dict)
        or answer.get("type") != "object"
        or not answer.get("properties")
    ):
        yield 'output: must be {"type": "object", "properties": {…}}'
    else:
        yield from _schema_problems("output", answer)


def _parameter_problems(spec: ToolSpec) -> Iterator[str]:
    for name in spec.required:
        if name not in spec.properties:
            yield f"params.required: {name!r} is not one of the properties"
    for name, item in spec.properties.items():
        if not re.fullmatch(PARAMETER, name):
            yield f"params.properties.{name}: the name must match {PARAMETER}"
        if item.get("x-visibility", "user-only") != "user-only":
            # A slip of the pen would show the parameter to models.
            yield f"params.properties.{name}.x-visibility: must be 'user-only' or absent"
    named = (("modelInput", spec.traits.model_input), ("ceilings", spec.traits.ceilings))
    for trait, names in named:
        for name in names:
            if name not in spec.properties:
                yield f"traits.{trait}: {name!r} is not a parameter. " + did_you_mean(
                    name, spec.properties
                )


# After one of these it is unknown whether it happened.
_AMBIGUOUS = frozenset({"reset", "timeout", "5xx"})


def _repeating_problems(spec: ToolSpec) -> Iterator[str]:
    traits = spec.traits
    risky = [reason for reason in traits.retry_on if reason in _AMBIGUOUS]
    if risky and not (traits.read_only or traits.idempotent):
        yield (
            f"traits.retryOn: after {', '.join(risky)} the outcome is unknown; only a readOnly "
            "or idempotent tool may be retried"
        )
    if traits.read_only and traits.destructive:
        yield "traits: a read-only tool cannot be destructive"
    if traits.read_only and spec.request and spec.request.method in ("PUT", "PATCH", "DELETE"):
        yield f"traits.readOnly: a {spec.request.method} changes something"


_OF_PARAMETERS = ("x-visibility", "x-advanced", "x-keepEmpty")
_OF_OUTPUTS = ("x-from",)


def _own_keyword_problems(spec: ToolSpec) -> Iterator[str]:
    """Yield where a keyword of ours is misspelled, or stands where nothing reads it."""
    for name, item in spec.properties.items():
        yield from _misspelled(f"params.properties.{name}", item, _OF_PARAMETERS)
    yield from _source_problems("output", spec.answer, read=True)


def _source_problems(place: str, schema: Schema, *, read: bool) -> Iterator[str]:
    """Yield what is wrong with the ``x-from`` of an object's properties.

    They are `read` of the output itself and of objects in its lists; other objects are taken as
    the service sends them.
    """
    for name, item in schema.get("properties", {}).items():
        at = f"{place}.properties.{name}"
        yield from _misspelled(at, item, _OF_OUTPUTS)
        if "x-from" in item:
            key = item["x-from"]
            if not isinstance(key, str) or not key:
                yield f"{at}.x-from: must be a key of the answer"
            elif not read:
                yield (
                    f"{at}.x-from: is never read: of objects inside of the answer, only those in "
                    "its lists are renamed"
                )
            elif _PATH.search(key):
                yield (
                    f"{at}.x-from: {key!r} is a path and matches nothing; x-from takes one key of "
                    "the answer. Take a nested value with read= in Python"
                )
        yield from _source_problems(at, item, read=False)
        if isinstance(item.get("items"), dict):
            yield from _source_problems(f"{at}.items", item["items"], read=read)


_PATH = re.compile(r"^[$/]|\[|^[\w-]+(\.[\w-]+)+$")


def _misspelled(place: str, schema: Schema, known: Sequence[str]) -> Iterator[str]:
    words = {name.removeprefix("x-"): name for name in known}
    for key in schema:
        if key.startswith("x-") and key not in known:
            near = did_you_mean(key.removeprefix("x-"), words)
            if near:
                hint = near.replace("'", "'x-", 1)
                yield f"{place}.{key}: unknown key. {hint}"


def _schema_problems(place: str, schema: Schema) -> Iterator[str]:
    found = list(json_schema.problems(schema))
    for path, text in found:
        yield f"{'.'.join(filter(None, (place, path)))}: {text}"
    if not found:
        yield from _boolean_problems(place, schema)


def _boolean_problems(place: str, schema: Schema) -> Iterator[str]:
    """Yield where a schema is `true` or `false` although we read what it says."""
    parts = {f"properties.{name}": item for name, item in schema.get("properties", {}).items()}
    if "items" in schema:
        parts["items"] = schema["items"]
    for name, part in parts.items():
        if isinstance(part, dict):
            yield from _boolean_problems(f"{place}.{name}", part)
        else:
            yield f"{place}.{name}: must be an object"


def _request_problems(spec: ToolSpec) -> Iterator[str]:
    request = spec.request
    assert request is not None  # noqa: S101 - the caller checked
    if not request.path.startswith("/"):
        yield "request.path: must start with /"
    if re.search(r"[?#]", request.path):
        yield "request.path: must have no ? or #; name what stands in the query under request.query"
    if request.body is not None and request.method == "GET":
        yield "request.body: a GET cannot have a body"
    used = set(PLACEHOLDER.findall(request.path))
    for part, mapping in (("query", request.query), ("body", request.body or {})):
        for wire, template in mapping.items():
            if not PLACEHOLDER.fullmatch(template):
                yield f'request.{part}.{wire}: must be a single "{{parameter}}"'
            used |= set(PLACEHOLDER.findall(template))
    for name in sorted(used - set(spec.properties)):
        # What is no parameter has to be a field of the connection; the registry knows those.
        if spec.connection is None:
            yield f"request: {{{name}}} is not a parameter. {did_you_mean(name, spec.properties)}"
    for name in spec.properties:
        if name not in used and name not in (EXTRA_BODY, EXTRA_QUERY):
            yield f"params.properties.{name}: not used in the request"


def _example_problems(spec: ToolSpec) -> Iterator[str]:
    from sim_devin.specs.schema import Checker

    checker = Checker(spec.params)
    for index, example in enumerate(spec.examples):
        for problem in checker.problems(checker.coerce(example), example):
            yield f"examples.{index}: {problem}"


def connection_problems(spec: ToolSpec, connections: Iterable[Connection]) -> Iterator[str]:
    """Yield what is wrong between a tool and the connection it names."""
    known = {connection.id: connection for connection in connections}
    if spec.connection is None or spec.request is None:
        return
    connection = known.get(spec.connection)
    if connection is None:
        yield (
            f"connection: unknown connection {spec.connection!r}. "
            f"{did_you_mean(spec.connection, known)}"
        )
        return
    placeholders = set(PLACEHOLDER.findall(spec.request.path))
    for name in sorted(placeholders - set(spec.properties) - set(connection.fields)):
        names = [*spec.properties, *connection.fields]
        yield (
            f"request.path: {{{name}}} is neither a parameter nor a field of "
            f"{connection.id!r}. {did_you_mean(name, names)}"
        )
    for name in sorted(set(spec.properties) & set(connection.fields)):
        yield f"params.properties.{name}: the connection {connection.id!r} has a field of that name"
