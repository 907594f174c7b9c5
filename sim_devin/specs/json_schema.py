"""Checking against JSON Schemas that a user, a model or a service gave. Nothing is ever fetched.

The one place that makes validators: `jsonschema`, with patterns of ECMA-262 that have a deadline
(`sim_devin.specs.patterns`) and exact multiples (`sim_devin.specs.keywords`). A reference leads to
the schema itself or to one of the published meta-schemas, which are part of the package; any other
is a mistake that is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from sim_devin.errors import InvalidParams
from sim_devin.specs import patterns

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

Draft = Literal["draft 7", "draft 2020-12"]

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_DATA = frozenset({"const", "default", "enum", "example", "examples"})  # no schemas in there
_NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
_SAMPLES: tuple[Any, ...] = (None, "", 0, [], {})
REFERS, OUTSIDE = "refers to", "outside of the schema or missing"
SHOWN = 200  # characters of a reference or a message worth repeating


def validator(schema: Any, draft: Draft = "draft 2020-12") -> Any:
    """Return a `jsonschema` validator that retrieves nothing."""
    # Slow to import; only a call that checks something pays for it.
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

    return _class(draft)(schema, registry=REGISTRY)


@cache
def _class(draft: Draft) -> Any:
    from jsonschema import Draft7Validator, Draft202012Validator
    from jsonschema.validators import extend

    from sim_devin.specs.keywords import KEYWORDS, unevaluated_properties

    if draft == "draft 7":
        return extend(Draft7Validator, KEYWORDS)  # type: ignore[no-untyped-call]
    keywords = {**KEYWORDS, "unevaluatedProperties": unevaluated_properties}
    return extend(Draft202012Validator, keywords)  # type: ignore[no-untyped-call]


@cache
def _formats() -> Any:
    """Return the checks of formats in a schema, without that of Python's regular expressions."""
    from jsonschema import FormatChecker

    return FormatChecker(set(FormatChecker.checkers) - {"regex"})


def unwrapped(schema: Any) -> Any:
    """Return the schema in ``{name, schema, strict}``, as providers of models take one.

    What is no such wrapper is returned as it is; ``schema`` is no keyword of JSON Schema.
    """
    for key in ("json_schema", "schema"):  # {"type": "json_schema", "json_schema": {…}}
        if isinstance(schema, Mapping) and isinstance(schema.get(key), Mapping):
            schema = schema[key]
    return schema


def problems(
    schema: Any, draft: Draft = "draft 2020-12", *, closed: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield (place, what is wrong) of a schema; the place is a path with dots, maybe empty.

    A `closed` schema refers to places in itself alone, each with ``#``.
    """
    from jsonschema.exceptions import SchemaError

    try:
        _class(draft).check_schema(schema, format_checker=_formats())
    except SchemaError as error:
        yield ".".join(map(str, error.absolute_path)), error.message
        return
    except RecursionError:
        yield "", "it is nested too deeply"
        return
    for place, pattern in _patterns(schema):
        if reason := patterns.problem(pattern):
            yield place, f"the pattern {pattern[:SHOWN]!r} is not a regular expression: {reason}"
            return
    unresolved = outside(schema, draft, closed=closed)
    yield from (("", text) for text in unresolved)
    if not unresolved and _goes_round(schema, draft):
        yield "", f"{REFERS} itself endlessly"


def legacy_patterns(schema: Any) -> Iterator[tuple[str, str]]:
    """Yield (place, pattern) of each pattern that compiles without the flag ``u`` alone."""
    for place, pattern in _patterns(schema):
        if patterns.is_legacy(pattern):
            yield place, pattern


def _patterns(schema: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    if isinstance(schema, Mapping):
        if isinstance(schema.get("pattern"), str):
            yield ".".join((*place, "pattern")), schema["pattern"]
        named = schema.get("patternProperties")
        for name in named if isinstance(named, Mapping) else ():
            yield ".".join((*place, "patternProperties")), name
    for path, item in _inside(schema):
        yield from _patterns(item, place + path)


def outside(schema: Any, draft: Draft = "draft 2020-12", *, closed: bool = False) -> list[str]:
    """Return one sentence for each reference to what is not in a schema."""
    unresolved = dict.fromkeys(_unresolved(schema, draft, closed=closed))
    return [f"{REFERS} {reference[:SHOWN]!r}, {OUTSIDE}" for reference in unresolved]


def told(schema: Any, name: str, draft: Draft, *, closed: bool = False) -> list[str]:
    """Return what is wrong with a schema that was given under a name, in sentences."""
    return [
        f"{'.'.join(filter(None, (name, place)))}: "
        + (text if text.startswith(REFERS) else f"is not a {draft} JSON Schema: {text[:SHOWN]}")
        for place, text in problems(schema, draft, closed=closed)
    ]


def require(schema: Any, name: str, draft: Draft) -> Any:
    """Return a schema, out of its wrapper if it has one, once it can be checked against.

    `name` says where it was given.

    Raises:
        InvalidParams: it is not a schema of that draft, or refers to what is not part of it.
    """
    schema = unwrapped(schema)
    found = told(schema, name, draft)
    if found:
        raise InvalidParams(name, found)
    return schema


def errors(value: Any, schema: Any, name: str, draft: Draft) -> list[ValidationError]:
    """Return why a value does not fit a schema, [] if it does.

    Raises:
        InvalidParams: the schema cannot be checked against; `name` says where it was given.
    """
    from referencing.exceptions import Unresolvable

    try:
        return list(validator(schema, draft).iter_errors(value))
    except Unresolvable as error:
        text = f"{name}: {REFERS} {str(error.ref)[:SHOWN]!r}, {OUTSIDE}"
    except RecursionError:
        text = f"{name}: {REFERS} itself endlessly, or the value is nested too deeply"
    raise InvalidParams(name, [text])


def _goes_round(schema: Any, draft: Draft) -> bool:
    checking = validator(schema, draft)
    try:
        for sample in _SAMPLES:
            checking.is_valid(sample)
    except RecursionError:
        return True
    return False


def _unresolved(schema: Any, draft: Draft, *, closed: bool) -> Iterator[str]:
    """Yield each reference to what is not in the schema."""
    if not _refers(schema):
        return
    from jsonschema_specifications import REGISTRY
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT7, DRAFT202012

    specification = DRAFT7 if draft == "draft 7" else DRAFT202012
    led_to: set[int] = set()

    def look(node: Any, around: Any) -> Iterator[str]:
        resolver = around
        if isinstance(node, Mapping):
            try:
                resolver = around.in_subresource(specification.create_resource(node))
            except ValueError:  # an id that is no address
                yield str(node.get("$id"))
                return
            for reference in (node.get(keyword) for keyword in _REFERENCES):
                if not isinstance(reference, str):
                    continue
                try:
                    target = resolver.lookup(reference)
                except (Unresolvable, ValueError, TypeError):
                    yield reference
                else:
                    if closed and not reference.startswith("#"):
                        yield reference
                    elif id(target.contents) not in led_to:  # data that is used as a schema, too
                        led_to.add(id(target.contents))
                        yield from look(target.contents, target.resolver)
        for _, item in _inside(node):
            yield from look(item, resolver)

    if isinstance(schema, Mapping):
        try:
            root = REGISTRY.resolver_with_root(specification.create_resource(schema))
        except ValueError:
            yield str(schema.get("$id"))
            return
        yield from look(schema, root)


def _inside(node: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield (path from here, what is there) of what may be schemas right inside of one."""
    if isinstance(node, list):
        yield from (((str(index),), item) for index, item in enumerate(node))
    elif isinstance(node, Mapping):
        for key, item in node.items():
            if key in _NAMED and isinstance(item, Mapping):
                # A property may be called like a keyword.
                yield from (((key, name), part) for name, part in item.items())
            elif key not in _DATA:
                yield (key,), item


def _refers(node: Any) -> bool:
    if isinstance(node, Mapping) and any(isinstance(node.get(name), str) for name in _REFERENCES):
        return True
    return any(_refers(item) for _, item in _inside(node))
