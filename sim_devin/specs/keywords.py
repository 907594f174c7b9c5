"""Keywords of JSON Schema that `jsonschema` reads in Python's way: patterns, and multiples.

Each function has the signature of that library's keyword functions and yields its errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from jsonschema.exceptions import ValidationError

from sim_devin.specs import patterns

SHOWN = 100  # characters of a pattern worth repeating


def pattern(validator: Any, expression: str, instance: Any, _: Any) -> Iterator[ValidationError]:
    """A text holds a match of the pattern."""
    if not validator.is_type(instance, "string"):
        return
    try:
        if not patterns.found(expression, instance):
            yield ValidationError(f"{instance!r} does not match {expression!r}")
    except patterns.CannotTell as error:
        yield ValidationError(f"the pattern {expression[:SHOWN]!r} {error}")


def pattern_properties(
    validator: Any, schemas: Mapping[str, Any], instance: Any, _: Any
) -> Iterator[ValidationError]:
    """The values whose names a pattern matches fit its schema."""
    if not validator.is_type(instance, "object"):
        return
    for expression, schema in schemas.items():
        for name, value in instance.items():
            try:
                matches = patterns.found(expression, name)
            except patterns.CannotTell as error:
                yield ValidationError(f"the pattern {expression[:SHOWN]!r} {error}")
                break
            if matches:
                yield from validator.descend(value, schema, path=name, schema_path=expression)


def additional_properties(
    validator: Any, rest: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """The values that neither a name nor a pattern speaks of fit the schema."""
    if validator.is_type(instance, "object"):
        named = {*schema.get("properties", {}), *_matched(schema, instance)}
        yield from _rest(validator, rest, instance, named, "Additional")


def unevaluated_properties(
    validator: Any, rest: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """The values that nothing else in the schema speaks of fit the schema."""
    if validator.is_type(instance, "object"):
        others = {key: item for key, item in schema.items() if key != "unevaluatedProperties"}
        named = _evaluated(validator, others, instance)
        yield from _rest(validator, rest, instance, named, "Unevaluated")


def multiple_of(validator: Any, step: float, instance: Any, _: Any) -> Iterator[ValidationError]:
    """A number is a multiple of the step, both as they are written: 19.99 is one of 0.01."""
    if not validator.is_type(instance, "number"):
        return
    if not math.isfinite(_clipped(instance)) or _exact(instance) % _exact(step):
        yield ValidationError(f"{instance!r} is not a multiple of {step!r}")


KEYWORDS = {
    "pattern": pattern,
    "patternProperties": pattern_properties,
    "additionalProperties": additional_properties,
    "multipleOf": multiple_of,
}


def _clipped(value: float) -> float:
    return 0.0 if isinstance(value, int) else value


def _exact(value: float) -> Fraction:
    return Fraction(value) if isinstance(value, int) else Fraction(Decimal(repr(value)))


def _rest(
    validator: Any, rest: Any, instance: Mapping[str, Any], named: set[str], kind: str
) -> Iterator[ValidationError]:
    others = [name for name in instance if name not in named]
    if rest is False and others:
        unexpected = ", ".join(map(repr, sorted(others)))
        verb = "was" if len(others) == 1 else "were"
        yield ValidationError(f"{kind} properties are not allowed ({unexpected} {verb} unexpected)")
        return
    for name in others:
        yield from validator.descend(instance[name], rest, path=name)


def _matched(schema: Mapping[str, Any], instance: Mapping[str, Any]) -> set[str]:
    matched = set()
    for expression in schema.get("patternProperties", ()):
        for name in instance:
            try:
                if patterns.found(expression, name):
                    matched.add(name)
            except patterns.CannotTell:
                break  # the keyword itself says so
    return matched


def _evaluated(validator: Any, schema: Any, instance: Mapping[str, Any]) -> set[str]:
    """Return the names that a schema, where it holds, speaks of, by the rules of 2020-12."""
    if not isinstance(schema, Mapping):
        return set()
    named = {*schema.get("properties", {})} | _matched(schema, instance)
    if {"additionalProperties", "unevaluatedProperties"} & schema.keys():
        return set(instance)
    for keyword in ("$ref", "$dynamicRef"):
        if keyword in schema:
            resolved = validator._resolver.lookup(schema[keyword])  # noqa: SLF001 - no public way
            inner = validator.evolve(schema=resolved.contents, _resolver=resolved.resolver)
            named |= _evaluated(inner, resolved.contents, instance)
    for keyword in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(keyword, ()):
            if validator.evolve(schema=part).is_valid(instance):
                named |= _evaluated(validator, part, instance)
    for name, part in schema.get("dependentSchemas", {}).items():
        if name in instance:
            named |= _evaluated(validator, part, instance)
    if "if" in schema:
        holds = validator.evolve(schema=schema["if"]).is_valid(instance)
        if holds:
            named |= _evaluated(validator, schema["if"], instance)
        named |= _evaluated(validator, schema.get("then" if holds else "else"), instance)
    return named
