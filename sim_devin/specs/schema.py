"""JSON Schema at work: coerce what shells and forms send, check it, publish it.

Coercion turns text into the declared type (``"a, b"`` → list, ``"50"`` → 50, ``"true"`` →
true), and a number where text is wanted into that text (a client that reads each value as JSON
sends 2024 for a title). It leaves alone what it cannot turn; the check then says what is wrong,
all at once.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from sim_devin.redaction import MASK, Redactor
from sim_devin.secret_names import is_secret_name
from sim_devin.specs import json_schema
from sim_devin.specs.json_input import NotJson, parse_json
from sim_devin.specs.models import Schema
from sim_devin.text import did_you_mean, text, trim

SHOWN = 60  # characters of a wrong value worth repeating
DEEPEST = 64  # levels of lists and objects in one value

_JS_INTEGER = re.compile(r"0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+")
_JS_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class Checker:
    """Coerces and checks the values of one object schema. Cheap to keep, safe to share."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.properties: Mapping[str, Schema] = schema.get("properties", {})
        self.required: tuple[str, ...] = tuple(schema.get("required", ()))

    @cached_property
    def _validator(self) -> Any:
        return json_schema.validator(self.schema)

    def coerce(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return `values` with absent ones (null, empty text) left out and texts converted."""
        coerced: dict[str, Any] = {}
        for name, value in values.items():
            if value is None or value == "":
                continue
            schema = self.properties.get(name)
            coerced[name] = value if schema is None else coerce(schema, value)
        return coerced

    def problems(self, values: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
        """Return everything wrong with coerced `values`; `given` is what the caller wrote."""
        problems = [
            self._blank(name, given)
            for name in self.required
            if _is_blank(values.get(name), given.get(name))
        ]
        # A slip of the name counts even where its value says nothing.
        names = dict.fromkeys([*values, *given])
        problems += [self._unknown(name) for name in names if name not in self.properties]
        odd = [name for name in values if name in self.properties and not is_json(values[name])]
        problems += [self._odd(name, values[name]) for name in odd]
        if odd:
            values = {name: value for name, value in values.items() if name not in odd}
        if problems or not self._validator.is_valid(values):
            problems += self._details(values, problems)
        return problems

    def _blank(self, name: str, given: Mapping[str, Any]) -> str:
        state = "is blank" if given.get(name) not in (None, "") else "is required"
        return f"{name}: {state}; pass {describe(self.properties[name])}"

    def _unknown(self, name: str) -> str:
        known = list(self.properties)
        suggestion = did_you_mean(str(name), known) or f"Known: {', '.join(known) or 'none'}."
        return f"{shorten(name)}: unknown parameter. {suggestion}".rstrip(".?") + (
            "?" if suggestion.endswith("?") else ""
        )

    def _odd(self, name: str, value: Any) -> str:
        what = f"a {type(value).__name__}, which JSON cannot represent"
        return f"{name}: got {what}; pass {describe(self.properties[name])}"

    def _details(self, values: Mapping[str, Any], reported: list[str]) -> Iterator[str]:
        told = {problem.partition(":")[0] for problem in reported}
        for error in sorted(
            self._validator.iter_errors(values), key=lambda e: list(map(str, e.path))
        ):
            path = [str(part) for part in error.absolute_path]
            if not path:
                if error.validator not in ("required", "additionalProperties"):
                    rule = f"{error.validator} {shorten(error.validator_value)}"
                    yield f"parameters: the combination must satisfy {rule}"
                continue
            place = path[0] + "".join(f"[{p}]" if p.isdigit() else f".{p}" for p in path[1:])
            if path[0] in told or place in told:
                continue
            told.add(place)
            secret = any(map(is_secret_name, path)) or _holds_secret(
                self.properties.get(path[0], {})
            )
            shown = MASK if secret else shorten(Redactor().data(error.instance))
            yield f"{place}: got {shown}; pass {describe(error.schema, error)}"


def _is_blank(value: Any, given: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, str):
        return not trim(value)
    # An explicit empty list is a statement; a text or list of nothing but blanks is not.
    return value == [] and given not in ([], (), "[]")


def _holds_secret(schema: Schema) -> bool:
    parts = [*schema.get("properties", {}).values(), schema.get("items", {})]
    return bool(schema.get("writeOnly")) or any(map(_holds_secret, filter(None, parts)))


def is_json(value: Any, depth: int = 0) -> bool:
    """Return whether JSON has a form for a value: finite numbers, text keys, not too deep."""
    if value is None or isinstance(value, (str, bool)):
        return True
    if isinstance(value, (int, float)):
        return -sys.float_info.max <= value <= sys.float_info.max
    if depth == DEEPEST:
        return False
    if isinstance(value, dict):
        return all(isinstance(k, str) and is_json(v, depth + 1) for k, v in value.items())
    return isinstance(value, (list, tuple)) and all(is_json(item, depth + 1) for item in value)


def coerce(schema: Schema, value: Any) -> Any:
    """Return `value` as the schema's declared type if it can be, else as it is."""
    match _type(schema):
        case "array":
            return _to_list(schema, value)
        case "integer":
            return _to_integer(value)
        case "number":
            return _to_number(value)
        case "boolean" if value in ("true", "false"):
            return value == "true"
        case "object" if isinstance(value, str):
            parsed = _json(value)
            return parsed if isinstance(parsed, dict) else value
        case "string" if _is_number(value) and not {"integer", "number"} & _types(schema):
            return text(value)
        case _:
            return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and is_json(value)


def _types(schema: Schema) -> set[str]:
    declared = schema.get("type", ())
    return {declared} if isinstance(declared, str) else set(declared)


def _type(schema: Schema) -> str:
    declared = schema.get("type", "")
    if isinstance(declared, list):
        declared = next((item for item in declared if item != "null"), "")
    return str(declared)


def _to_list(schema: Schema, value: Any) -> Any:
    items = schema.get("items", {})
    if _type(items) != "string":
        parsed = _json(value) if isinstance(value, str) else value
        return parsed if isinstance(parsed, list) else value
    if isinstance(value, str):
        parsed = _json(value) if value.lstrip().startswith("[") else None
        value = parsed if isinstance(parsed, list) else _split(items, value)
    if not isinstance(value, (list, tuple)):
        return value
    try:
        texts = ["null" if item is None else _item_text(item) for item in value]
    except RecursionError:
        return value  # lists in lists without end
    if not all(isinstance(item, str) for item in texts):
        return list(value)
    kept = (trim(item) for item in texts)
    return list(dict.fromkeys(item for item in kept if item))


def _split(items: Schema, value: str) -> list[str]:
    """Cut text into a list at its commas; addresses, which may hold commas, at white space."""
    return value.split() if items.get("format") == "uri" else value.split(",")


def _item_text(item: Any) -> Any:
    """Return a list's item as JavaScript's String() writes it; what is no JSON stays as it is."""
    if item is None:
        return ""
    if isinstance(item, (list, tuple)):
        parts = [_item_text(part) for part in item]
        return ",".join(parts) if all(isinstance(part, str) for part in parts) else item
    return text(item) if isinstance(item, (bool, int, float)) else item


def number(value: str) -> int | float | None:
    """Return the number JavaScript's Number() reads from a text, or None if it reads none."""
    value = trim(value)
    if _JS_INTEGER.fullmatch(value):
        try:
            whole = int(value, 0)
        except ValueError:  # more digits than Python reads
            return None
        return whole if whole <= sys.float_info.max else None
    if not _JS_DECIMAL.fullmatch(value):
        return None
    parsed = float(value)
    return parsed if abs(parsed) != float("inf") else None


def _to_number(value: Any) -> Any:
    if isinstance(value, str):
        parsed = number(value)
        return value if parsed is None else _whole(parsed)
    return value


def _to_integer(value: Any) -> Any:
    return _whole(_to_number(value))


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _json(value: str) -> Any:
    try:
        return parse_json(value)
    except NotJson:
        return None


# -- words -----------------------------------------------------------------------------------

_NOUNS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
}


def describe(schema: Schema, error: Any = None) -> str:
    """Return in words what a schema accepts, such as ``a whole number from 1 to 200``."""
    if error is not None and error.validator == "additionalProperties":
        return f"only {', '.join(schema.get('properties', {}))}"
    if error is not None and error.validator == "required":
        return f"an object with {', '.join(schema['required'])}"
    if "enum" in schema:
        return f"one of {', '.join(json.dumps(item) for item in schema['enum'])}"
    words = _NOUNS.get(_type(schema), "a value")
    if _type(schema) == "array":
        item = schema.get("items", {})
        words = "comma-separated text or a list of strings" if _type(item) == "string" else "a list"
        if item.get("format") == "uri":
            words = "a list of URLs, or text with one URL per line"
        if _type(item) == "object":
            words = "a list of objects"
    return words + _bounds(schema)


def _bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if low is not None:
        return f" of at least {low}"
    if high is not None:
        return f" of at most {high}"
    for key, words in (
        ("maxItems", "with at most {} items"),
        ("minItems", "with at least {} items"),
        ("maxLength", "of at most {} characters"),
        ("minLength", "of at least {} characters"),
        ("pattern", "matching {}"),
    ):
        if key in schema:
            return " " + words.format(schema[key])
    return ""


def shorten(value: Any) -> str:
    """Return a value as short text for a message."""
    if isinstance(value, str):
        shown = repr(value)
    elif isinstance(value, (list, dict)) and len(value) > 5:
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    else:
        try:
            shown = json.dumps(value)
        except (TypeError, ValueError, RecursionError):
            shown = f"a {type(value).__name__}"
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"


# -- publish ---------------------------------------------------------------------------------


def publish(schema: Schema, *, hide: Iterable[str] = (), keep_defaults: bool = True) -> Schema:
    """Return the schema without our own keys (``x-…``) and without the properties to hide."""
    hidden = set(hide)

    def clean(node: Any, *, root: bool = False) -> Any:
        if isinstance(node, list):
            return [clean(item) for item in node]
        if not isinstance(node, dict):
            return node
        result: Schema = {}
        for key, value in node.items():
            if key.startswith("x-") or (key == "default" and not keep_defaults):
                continue
            if key == "properties":
                result[key] = {
                    name: clean(item)
                    for name, item in value.items()
                    if not (root and name in hidden)
                }
            elif key == "required" and root:
                result[key] = [name for name in value if name not in hidden]
            else:
                result[key] = clean(value)
        return result

    cleaned: Schema = clean(schema, root=True)
    return cleaned
