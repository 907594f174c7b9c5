"""Checking against JSON Schemas that a user, a model or a service gave. Nothing is ever fetched.

The one place that makes validators. A reference leads to the schema itself or to one of the
published meta-schemas, which are part of the package; any other is a mistake that is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from sim_devin.errors import InvalidParams

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

Draft = Literal["draft 7", "draft 2020-12"]

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_DATA = frozenset({"const", "default", "enum", "example", "examples"})  # no schemas in there
_NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
_SAMPLES: tuple[Any, ...] = (None, "", 0, [], {})
REFERS, OUTSIDE = "refers to", "outside of itself or not there"
SHOWN = 200  # characters of a reference or a message worth repeating


def validator(schema: Any, draft: Draft = "draft 2020-12") -> Any:
    """Return a `jsonschema` validator that retrieves nothing."""
    # Slow to import; only a call that checks something pays for it.
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

    return _class(draft)(schema, registry=REGISTRY)


def _class(draft: Draft) -> Any:
    from jsonschema import Draft7Validator, Draft202012Validator

    return Draft7Validator if draft == "draft 7" else Draft202012Validator


def problems(
    schema: Any, draft: Draft = "draft 2020-12", *, closed: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield (place, what is wrong) of a schema; the place is a path with dots, maybe empty.

    A `closed` schema refers to places in itself alone, each with ``#``.
    """
    from jsonschema.exceptions import SchemaError

    try:
        _class(draft).check_schema(schema)
    except SchemaError as error:
        yield ".".join(map(str, error.absolute_path)), error.message
        return
    except RecursionError:
        yield "", "it is nested too deeply"
        return
    unresolved = outside(schema, draft, closed=closed)
    yield from (("", text) for text in unresolved)
    if not unresolved and _goes_round(schema, draft):
        yield "", f"{REFERS} itself without end"


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


def require(schema: Any, name: str, draft: Draft) -> None:
    """Check a schema before it is used; `name` says where it was given.

    Raises:
        InvalidParams: it is not a schema of that draft, or refers to what is not part of it.
    """
    found = told(schema, name, draft)
    if found:
        raise InvalidParams(name, found)


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
        text = f"{name}: {REFERS} itself without end, or the value is nested too deeply"
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
        for item in _inside(node):
            yield from look(item, resolver)

    if isinstance(schema, Mapping):
        try:
            root = REGISTRY.resolver_with_root(specification.create_resource(schema))
        except ValueError:
            yield str(schema.get("$id"))
            return
        yield from look(schema, root)


def _inside(node: Any) -> Iterator[Any]:
    """Yield what may be schemas right inside of one."""
    if isinstance(node, list):
        yield from node
    elif isinstance(node, Mapping):
        for key, item in node.items():
            if key in _NAMED and isinstance(item, Mapping):
                yield from item.values()  # a property may be called like a keyword
            elif key not in _DATA:
                yield item


def _refers(node: Any) -> bool:
    if isinstance(node, Mapping) and any(isinstance(node.get(name), str) for name in _REFERENCES):
        return True
    return any(map(_refers, _inside(node)))
