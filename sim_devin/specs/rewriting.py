"""JSON Schemas in other words: the same meaning, written so that it survives what comes after.

Clients of MCP, libraries and providers rewrite the schemas that they are given, each in its own
way. What is written here keeps its meaning on all the ways that are tried in
``tests/consumers``. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sim_devin.specs.models import Schema

DEEPEST = 5  # levels of nesting that every strict mode of a provider accepts
REMARKS = ("$schema", "$id", "$comment", "description", "title", "examples", "example")
MARKS = ("deprecated", "readOnly", "writeOnly")

_OF_TYPE: Mapping[str, frozenset[str]] = {
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "number": frozenset(
        {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    ),
    "array": frozenset({"items", "prefixItems", "contains", "minItems", "maxItems", "uniqueItems"}),
    "object": frozenset(
        {"properties", "required", "additionalProperties", "patternProperties", "propertyNames"}
        | {"minProperties", "maxProperties", "dependentRequired", "dependentSchemas"}
    ),
    "boolean": frozenset(),
    "null": frozenset(),
}
_VALUE = frozenset(("type", "enum", "const")).union(*_OF_TYPE.values())
_OUTSIDE = frozenset((*REMARKS, *MARKS, "default"))  # said of the whole, not of a branch
_SUBSCHEMAS = frozenset({"items", "additionalProperties"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_MAPS = frozenset({"properties", "$defs", "definitions", "patternProperties"})


def resolve(schema: Any, root: Schema) -> Schema:
    """Return a schema with a local reference followed; a boolean schema says nothing."""
    if not isinstance(schema, Mapping):
        return {}
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return dict(schema)
    target: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        target = target.get(name, {}) if isinstance(target, Mapping) else {}
    siblings = {key: value for key, value in schema.items() if key != "$ref"}
    return {**target, **siblings} if isinstance(target, Mapping) else siblings


def types(schema: Any, root: Schema, _depth: int = 0) -> frozenset[str]:
    """Return the JSON types a schema accepts, as far as it says so; empty for any."""
    schema = resolve(schema, root)
    if _depth > DEEPEST:
        return frozenset()
    declared = schema.get("type")
    if declared is not None:
        return frozenset([declared] if isinstance(declared, str) else declared)
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return frozenset(_type_of(value) for value in values)
    branches = schema.get("anyOf") or schema.get("oneOf") or ()
    found = [types(branch, root, _depth + 1) for branch in branches]
    if not found or not all(found):
        return frozenset({"object"} if "properties" in schema else ())
    return frozenset().union(*found)


def _type_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return "null" if value is None else names.get(type(value), "object")


def is_of(value: Any, kind: str) -> bool:
    """Return whether a value is of a JSON type."""
    found = _type_of(value)
    if kind == "integer" and found == "number":
        return bool(value.is_integer())
    return found == kind or (found, kind) == ("integer", "number")


def merged(schema: Schema, root: Schema, depth: int = 0) -> Schema:
    """Return a schema with its `allOf` merged into it, as far as that is said by addition."""
    if "allOf" not in schema:
        return schema
    if depth > DEEPEST:  # it may hold itself
        return without(schema, "allOf")
    whole: Schema = {}
    for part in [*schema["allOf"], without(schema, "allOf")]:
        resolved = merged(resolve(part, root), root, depth + 1)
        properties = {**whole.get("properties", {}), **resolved.get("properties", {})}
        required = [*whole.get("required", ()), *resolved.get("required", ())]
        whole |= resolved
        whole |= {"properties": properties} if properties else {}
        whole |= {"required": list(dict.fromkeys(required))} if required else {}
    return whole


def without(schema: Schema, key: str) -> Schema:
    """Return a schema without one of its keywords."""
    return {name: value for name, value in schema.items() if name != key}


def _within(node: Schema, change: Callable[[Any], Any]) -> Schema:
    """Return a schema with each schema right inside of it changed."""
    result: Schema = {}
    for key, value in node.items():
        if key in _SUBSCHEMAS:
            result[key] = change(value)
        elif key in _LISTS and isinstance(value, list):
            result[key] = [change(item) for item in value]
        elif key in _MAPS and isinstance(value, Mapping):
            result[key] = {name: change(item) for name, item in value.items()}
        else:
            result[key] = value
    return result


def _upwards(node: Any, change: Callable[[Schema], Schema]) -> Any:
    """Return a schema with each schema in it changed, the innermost first."""
    if not isinstance(node, Mapping):
        return node
    return change(_within(dict(node), lambda item: _upwards(item, change)))


# -- a root of its own ---------------------------------------------------------------------------


def as_object(schema: Schema) -> Schema:
    """Return the schema of an object with properties of its own, as providers want it at the root.

    A reference at the root is followed, `allOf` is merged everywhere, and what an `anyOf` or
    `oneOf` at the root has to choose from is taken together, the choice said in the description. A
    schema that no object fits is returned as it is.
    """
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    if "definitions" in schema:
        moved = _upwards(without(schema, "definitions"), _from_defs)
        schema = {**moved, "$defs": {k: _upwards(v, _from_defs) for k, v in definitions.items()}}
    root = _one(schema, schema)
    branches = [_one(item, schema) for item in root.get("anyOf") or root.get("oneOf") or ()]
    branches = [item for item in branches if _is_object(item, schema)]
    if not _is_object(root, schema) and not branches:
        return schema
    if branches:
        root = _together(without(without(root, "anyOf"), "oneOf"), branches)
    whole: Schema = {"properties": {}, **root, "type": "object"}
    if definitions:
        whole["$defs"] = schema["$defs"]
    flat: Schema = _within(whole, lambda item: _flat(item, whole, 1))
    return flat


def _one(schema: Any, root: Schema) -> Schema:
    """Return a schema with references followed and `allOf` merged."""
    for _ in range(DEEPEST):
        if not isinstance(schema, Mapping) or "$ref" not in schema:
            break
        schema = resolve(schema, root)
    return without(merged(resolve(schema, root), root), "$defs")


def _is_object(schema: Schema, root: Schema) -> bool:
    kinds = types(schema, root)
    return "object" in kinds or not kinds


def _from_defs(schema: Schema) -> Schema:
    """Return a schema that refers to ``$defs`` and not to ``definitions``."""
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/definitions/"):
        return schema
    return {**schema, "$ref": reference.replace("definitions", "$defs", 1)}


def _flat(node: Any, root: Schema, depth: int) -> Any:
    """Return a schema with every `allOf` in it merged, as deep as providers go."""
    if not isinstance(node, Mapping) or depth > 2 * DEEPEST:
        return node
    whole = dict(node)
    if "allOf" in whole:
        parts = whole["allOf"]
        only = len(parts) == 1 and isinstance(parts[0], Mapping) and "$ref" in parts[0]
        # A lone reference stays one: it may lead to what this is part of.
        whole = {**parts[0], **without(whole, "allOf")} if only else merged(whole, root)
    return _within(whole, lambda item: _flat(item, root, depth + 1))


def _together(rest: Schema, branches: list[Schema]) -> Schema:
    """Return an object for a choice of several: what each may have, and what all of them need."""
    properties: dict[str, list[Any]] = {}
    for part in (rest, *branches):
        for name, item in part.get("properties", {}).items():
            known = properties.setdefault(name, [])
            known.extend(() if item in known else [item])
    needed = set.intersection(*(set(branch.get("required", ())) for branch in branches))
    required = [*rest.get("required", ()), *(name for name in properties if name in needed)]
    words = " or ".join(json.dumps(branch, ensure_ascii=False) for branch in branches)
    description = f"{rest.get('description', '')} It has to fit one of these: {words}"
    closed = all(branch.get("additionalProperties") is False for branch in branches)
    return {
        **({"additionalProperties": False} if closed else {}),
        **rest,
        "properties": {
            name: items[0] if len(items) == 1 else {"anyOf": items}
            for name, items in properties.items()
        },
        "required": list(dict.fromkeys(required)),
        "description": description.strip(),
    }


# -- branches ------------------------------------------------------------------------------------


def branched(schema: Schema, *, optional_null: bool = False) -> Schema:
    """Return a schema that others may rewrite for a provider without changing what it means.

    It accepts the same values, except that a choice of ``oneOf`` may fit twice. Types and null
    are branches of ``anyOf``, since lists of types lose their enums on the way to some providers;
    each enum has its type; an object of any shape says so, or it would be closed. With
    `optional_null` optional properties may be null: where all of them are forced to be sent, null
    is what stands for absent.
    """
    rewritten: Schema = _upwards(
        schema, lambda node: _branch(node, schema, optional_null=optional_null)
    )
    return rewritten


def says_open(schema: Schema) -> bool:
    """Return whether an object in a schema says that it takes properties of any name."""
    found: list[Any] = []

    def look(node: Schema) -> Schema:
        found.append(node.get("additionalProperties", False))
        return node

    _upwards(schema, look)
    return any(item is not False for item in found)


def _branch(schema: Schema, root: Schema, *, optional_null: bool) -> Schema:
    schema = dict(schema)
    if optional_null and "properties" in schema:
        required = schema.get("required", ())
        schema["properties"] = {
            name: item if name in required else _null_too(item, root)
            for name, item in schema["properties"].items()
        }
    if "oneOf" in schema and "anyOf" not in schema:
        schema["anyOf"] = schema.pop("oneOf")
    return _by_type(schema)


def _by_type(schema: Schema) -> Schema:
    """Return a schema with one branch for each type that it lists."""
    declared = schema.get("type")
    listed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if (declared is None and listed is None) or {"enum", "const"} <= schema.keys():
        return schema
    kinds = [declared] if isinstance(declared, str) else declared
    if kinds is None:
        kinds = list(dict.fromkeys(_type_of(value) for value in listed or ()))
    branches = []
    for kind in kinds:
        family = "number" if kind == "integer" else kind
        branch: Schema = {"type": kind}
        branch |= {key: value for key, value in schema.items() if key in _OF_TYPE.get(family, ())}
        if listed is not None:
            values = [value for value in listed if is_of(value, kind)]
            if not values:
                continue
            if kind != "null":
                branch["enum"] = values
        if kind == "object" and not branch.get("properties"):
            branch.setdefault("additionalProperties", True)
        branches.append(branch)
    around = {key: value for key, value in schema.items() if key not in _VALUE}
    if len(branches) == 1:
        return {**branches[0], **around}
    if not branches or "anyOf" in schema:
        return schema
    return {"anyOf": branches, **around}


def _null_too(schema: Any, root: Schema) -> Any:
    """Return a schema that accepts null as well."""
    if not isinstance(schema, Mapping) or not schema.keys() - _OUTSIDE:
        return schema  # it accepts anything
    if "null" in types(schema, root):
        return schema
    about = {key: value for key, value in schema.items() if key in _OUTSIDE}
    rules = {key: value for key, value in schema.items() if key not in _OUTSIDE}
    branches = rules["anyOf"] if rules.keys() == {"anyOf"} else [rules]
    return {"anyOf": [*branches, {"type": "null"}], **about}
