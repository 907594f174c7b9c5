"""The JSON Schemas of the spec files, derived from the models, for editors and a test."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

from sim_devin.specs.jobs import (
    JobAnswer,
    JobCall,
    JobCreate,
    JobFields,
    JobFind,
    JobLookMany,
    JobMessages,
    JobSpec,
    JobWait,
)
from sim_devin.specs.models import (
    PARAMETER,
    BlockField,
    BlockSpec,
    Connection,
    CredentialField,
    RequestSpec,
    SpecModel,
    SuccessOn,
    ToolSpec,
    Traits,
)

FOLDER = Path(__file__).parent.parent / "tool_specs"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

_MODELS: dict[str, type[SpecModel]] = {
    model.__name__: model
    for model in (
        BlockField,
        BlockSpec,
        Connection,
        CredentialField,
        JobAnswer,
        JobCall,
        JobCreate,
        JobFields,
        JobFind,
        JobLookMany,
        JobMessages,
        JobSpec,
        JobWait,
        RequestSpec,
        SuccessOn,
        ToolSpec,
        Traits,
    )
}
_FILES = {"tool": ToolSpec, "block": BlockSpec, "connection": Connection, "job": JobSpec}
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_PARAMETER = {"type": "string", "pattern": rf"^\{{{_NAME}\}}$"}

# An object schema whose properties may say which key of the answer they take.
_OUTPUT: dict[str, Any] = {
    "type": "object",
    "required": ["type", "properties"],
    "properties": {
        "type": {"const": "object"},
        "properties": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": "object",
                "properties": {
                    "x-from": {
                        "description": "Key of the answer to take; the property's own name unless "
                        "given.",
                        "type": "string",
                        "minLength": 1,
                    },
                    "default": {"description": "Taken where the answer has nothing, or null."},
                },
            },
        },
    },
    "allOf": [{"$ref": DIALECT}],
}

# What the models cannot say, by model and key.
_REFINED: dict[tuple[str, str], dict[str, Any]] = {
    ("RequestSpec", "path"): {"pattern": "^/"},
    ("RequestSpec", "query"): {"additionalProperties": _PARAMETER},
    ("RequestSpec", "body"): {"additionalProperties": _PARAMETER},
    ("ToolSpec", "title"): {"minLength": 1},
    ("ToolSpec", "description"): {"minLength": 1},
    ("ToolSpec", "params"): {
        "required": ["type", "properties"],
        "properties": {
            "type": {"const": "object"},
            "properties": {
                "propertyNames": {"pattern": PARAMETER},
                "additionalProperties": {
                    "type": "object",
                    "properties": {
                        "x-visibility": {
                            "description": "user-only: people and code may set it, models never "
                            "see it.",
                            "const": "user-only",
                        },
                        "x-advanced": {
                            "description": "Whether forms fold it away at first.",
                            "type": "boolean",
                        },
                        "x-keepEmpty": {
                            "description": "Whether an empty list or object means something else "
                            "than leaving the parameter out. A model's is taken for left out "
                            "otherwise.",
                            "type": "boolean",
                        },
                    },
                },
            },
        },
        "allOf": [{"$ref": DIALECT}],
    },
    ("ToolSpec", "output"): {
        "oneOf": [
            {
                "type": "object",
                "required": ["$ref"],
                "properties": {"$ref": {"type": "string", "pattern": r"^shapes\.json#/[^/]+$"}},
                "additionalProperties": False,
            },
            _OUTPUT,
        ],
    },
    ("Connection", "baseUrl"): {"format": "uri", "pattern": "^https?://"},
    ("Connection", "fields"): {"propertyNames": {"pattern": f"^{_NAME}$"}},
    ("BlockSpec", "operations"): {"additionalProperties": {"type": "string", "minLength": 1}},
    ("BlockField", "options"): {
        "items": {
            "type": "object",
            "required": ["id", "label"],
            "properties": {"id": {"type": "string"}, "label": {"type": "string"}},
            "additionalProperties": {"type": "string"},
        },
    },
    ("BlockField", "type"): {
        "enum": ["string", "integer", "number", "boolean", "array", "object"],
    },
}


def schemas() -> dict[Path, str]:
    """Return the text of each schema file."""
    documents = {f"{kind}.schema.json": _of_file(kind) for kind in _FILES}
    documents["shapes.schema.json"] = {
        "$schema": DIALECT,
        "title": "sim_devin output shapes",
        "description": "Name -> output schema, for tools whose answers look the same. A tool takes "
        'one with {"$ref": "shapes.json#/NAME"}.',
        "type": "object",
        "properties": {"$schema": {"type": "string"}},
        "additionalProperties": _OUTPUT,
    }
    return {
        FOLDER / name: json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        for name, document in documents.items()
    }


def _of_file(kind: str) -> dict[str, Any]:
    model = _FILES[kind]
    # The mode leaves out the functions, which no file can hold.
    document = model.model_json_schema(by_alias=True, mode="serialization")
    inner = document.pop("$defs", {})
    result = {
        "$schema": DIALECT,
        "title": f"sim_devin {kind}",
        **_pleasant(model.__name__, document),
    }
    if inner:
        result["$defs"] = {name: _pleasant(name, schema) for name, schema in inner.items()}
    return result


def _pleasant(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one model with its documentation and what the model cannot say."""
    model = _MODELS[name]
    summary, documented = _docstring(model)
    keys = {field.alias or key: key for key, field in model.model_fields.items()}
    properties = {}
    for key, item in schema["properties"].items():
        refined = {**_without_null(item), **_REFINED.get((name, key), {})}
        if (name, key) == ("ToolSpec", "output"):
            del refined["type"], refined["additionalProperties"]
        properties[key] = {"description": documented[keys[key]], **refined}
    return {
        "description": summary,
        "type": "object",
        "required": schema.get("required", []),
        "properties": properties,
        "additionalProperties": False,
    }


def _without_null(item: dict[str, Any]) -> dict[str, Any]:
    """Return a property's schema without the null that stands for leaving the key out."""
    kept = {key: value for key, value in item.items() if key != "title"}
    choices = [choice for choice in kept.pop("anyOf", ()) if choice != {"type": "null"}]
    if kept.get("default", ...) in (None, "", [], {}) or isinstance(kept.get("default"), dict):
        kept.pop("default", None)
    return {**kept, **choices[0]} if choices else kept


def _docstring(model: type[SpecModel]) -> tuple[str, dict[str, str]]:
    """Return the summary of a model's docstring, and attribute -> description."""
    summary, _, attributes = inspect.cleandoc(model.__doc__ or "").partition("\n\nAttributes:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", attributes, re.MULTILINE)
    return _one_line(summary), {name: _sentence(_one_line(text)) for name, text in entries}


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("`", "").strip()


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
