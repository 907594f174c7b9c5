"""What is secret in a workflow: variables by the places they are used in, texts by their field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sim_devin.engine.program import Program
from sim_devin.engine.references import EnvName, parse_json, split
from sim_devin.redaction import texts_by_name

# What stands in places of secret names and is none: it would be masked wherever it stands.
HARMLESS = frozenset(
    (
        *("api_key", "apikey", "basic", "bearer", "cookie", "default", "digest", "disabled"),
        *("enabled", "false", "header", "include", "login", "none", "null", "oauth", "oauth2"),
        *("omit", "optional", "password", "private", "public", "query", "required", "same-origin"),
        *("secret", "string", "token", "true", "undefined", "user"),
    )
)


def secret_names(program: Program) -> set[str]:
    """Return the names of the variables that stand in secret places.

    Those are secret fields, and in any other field headers, keys and parameters of addresses
    whose names say so.
    """
    found: set[str] = set()
    for block in program.workflow.blocks.values():
        secret = {field.id for field in program.form(block.type) if field.secret}
        for name, value in block.values.items():
            for _, text in texts_by_name(value, named=name in secret):
                found |= {part.name for part in split(text) if isinstance(part, EnvName)}
    return found


def named_secrets(program: Program) -> dict[tuple[str, str], Any]:
    """Return (block id, field) -> value of further fields with secrets in places of such names.

    What a model reads is none of them: it leaves as it stands.
    """
    found: dict[tuple[str, str], Any] = {}
    for block in program.workflow.blocks.values():
        others = {
            field.id
            for field in program.form(block.type)
            if field.secret or field.model_input or field.model_input_for
        }
        for name, value in block.values.items():
            if name not in others and any(named_texts(value)):
                found[block.id, name] = value
    return found


def named_texts(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the texts in a field's value that are secret by their names, and where they are in it.

    Of a header with a scheme (``Bearer …``) that is what follows it.
    """
    data = parse_json(value) if isinstance(value, str) else value
    for place, text in texts_by_name(data if isinstance(data, (list, Mapping)) else value):
        scheme, _, rest = text.strip().partition(" ")
        secret = rest.strip() if rest and scheme.isalpha() else text.strip()
        plain = all(isinstance(part, str) for part in split(text))
        if plain and secret and secret.lower() not in HARMLESS:
            yield f"{place}?", secret  # unlike the places of `literal_texts`
            for inner, part in literal_texts(parse_json(text), place):  # a list typed as JSON
                if part.lower() not in HARMLESS:
                    yield f"{inner}?", part


def literal_secrets(program: Program) -> dict[tuple[str, str], Any]:
    """Return (block id, field) -> value of the fields that hold secrets themselves."""
    return {
        (block.id, field.id): block.values[field.id]
        for block in program.workflow.blocks.values()
        for field in program.form(block.type)
        if field.secret and any(literal_texts(block.values.get(field.id)))
    }


def literal_texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the texts in a field's value that hold no references, and where they are in it."""
    if isinstance(value, str):
        segments = split(value)
        if value.strip() and all(isinstance(segment, str) for segment in segments):
            yield place, value
        if value.lstrip().startswith(("[", "{")):
            try:
                yield from literal_texts(json.loads(value), place)
            except ValueError:  # no JSON, or not before its references are resolved
                return
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from literal_texts(item, f"{place}/{number}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key != "key":  # the name of a session's secret
                yield from literal_texts(item, f"{place}/{key}")
