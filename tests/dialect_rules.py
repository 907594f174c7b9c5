"""What each provider publishes about function schemas, as checkers that list what is wrong.

Written from the providers' pages, not from our exporter. `schema_problems` walks a schema;
`function_problems` checks a whole exported function.
"""

import re

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,55}")
PARAMETER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")
BOUNDS = {
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "pattern", "format", "minItems", "maxItems", "uniqueItems"),
    *("minProperties", "maxProperties"),
}
NOWHERE = {
    *("$ref", "$defs", "definitions", "$schema", "oneOf", "allOf", "not", "if", "then", "else"),
    *("patternProperties", "propertyNames", "dependentRequired", "dependentSchemas"),
    *("prefixItems", "contains", "unevaluatedProperties", "const", "title", "examples", "default"),
}
ALLOWED = {
    *("type", "properties", "required", "items", "enum", "description"),
    *("additionalProperties", "anyOf"),
}
TYPES = {"string", "number", "integer", "boolean", "array", "object", "null"}


def walk(schema, path="parameters", depth=1):
    yield path, schema, depth
    for name, item in schema.get("properties", {}).items():
        yield from walk(item, f"{path}.{name}", depth + 1)
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]", depth + 1)
    for index, item in enumerate(schema.get("anyOf", ())):
        yield from walk(item, f"{path}|{index}", depth)


def kinds(schema):
    declared = schema.get("type", [])
    return [declared] if isinstance(declared, str) else declared


def portable(schema):
    for path, node, _ in walk(schema):
        for key in node:
            if key in NOWHERE | BOUNDS or key not in ALLOWED:
                yield f"{path}: {key}"
        if "anyOf" not in node and not kinds(node):
            yield f"{path}: no type"
        if not set(kinds(node)) <= TYPES:
            yield f"{path}: type {kinds(node)}"
        if "array" in kinds(node) and "items" not in node:
            yield f"{path}: untyped items"
        if "anyOf" in node.get("items", {}):
            yield f"{path}: a union as items"
        if any(value is not None and not isinstance(value, str) for value in node.get("enum", ())):
            yield f"{path}: an enum of other than texts"
        if "properties" in node and node.get("additionalProperties") is not False:
            yield f"{path}: open object"
        if not set(node.get("required", ())) <= set(node.get("properties", {})):
            yield f"{path}: requires what it does not have"
    if schema.get("type") != "object" or "properties" not in schema:
        yield "the root is no object"
    for name in schema.get("properties", {}):
        if not PARAMETER.fullmatch(name):
            yield f"parameter {name!r}"


def openai_strict(schema):
    yield from portable(schema)
    for path, node, depth in walk(schema):
        if "object" in kinds(node):
            if node.get("additionalProperties") is not False:
                yield f"{path}: open object"
            if list(node.get("required", ())) != list(node.get("properties", {})):
                yield f"{path}: not every property is required"
        if depth > 6:
            yield f"{path}: too deep"


def anthropic_strict(schema):
    yield from portable(schema)
    for path, node, _ in walk(schema):
        if "object" in kinds(node) and node.get("additionalProperties") is not False:
            yield f"{path}: open object"
        if isinstance(node.get("type"), list):
            yield f"{path}: null is not a branch"


def mcp(schema):
    if schema.get("type") != "object":
        yield "the root is no object"
    for path, node, _ in walk(schema):
        yield from (f"{path}: {key}" for key in node if key.startswith("x-"))


def parts(function, dialect):
    """Return name, description and schema of an exported function."""
    match dialect:
        case "openai":
            assert function["type"] == "function"
            inner = function["function"]
            return inner["name"], inner["description"], inner["parameters"]
        case "openai-responses":
            assert function["type"] == "function"
            return function["name"], function["description"], function["parameters"]
        case "anthropic":
            return function["name"], function["description"], function["input_schema"]
        case "gemini":
            assert set(function) == {"name", "description", "parametersJsonSchema"}
            return function["name"], function["description"], function["parametersJsonSchema"]
        case "mcp":
            return function["name"], function["description"], function["inputSchema"]
        case "jsonschema":
            return function["name"], function["description"], function["parameters"]


def function_problems(function, dialect, strict):
    name, description, schema = parts(function, dialect)
    if not NAME.fullmatch(name):
        yield f"name {name!r}"
    if not description or len(description) > 1024:
        yield "description"
    if dialect in ("mcp", "jsonschema"):
        yield from mcp(schema)
    elif strict and dialect.startswith("openai"):
        yield from openai_strict(schema)
    elif strict and dialect == "anthropic":
        yield from anthropic_strict(schema)
    else:
        yield from portable(schema)
