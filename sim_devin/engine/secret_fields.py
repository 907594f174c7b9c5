"""What is secret in a workflow: variables by the places they are used in, texts by their field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sim_devin.engine.program import Program
from sim_devin.engine.references import EnvName, parse_json, split
from sim_devin.redaction import texts_by_name


def secret_names(program: Program) -> set[str]:
    """Return the names of the variables that stand in secret places.

    Those are secret fields, and in any other field headers, keys and parameters of addresses
    whose names say so.
    """
    found: set[str] = set()
    for block in program.workflow.blocks.values():
        secret = {field.id for field in program.form(block.type) if field.secret}
        for name, value in block.values.items():
            for text in _all_texts(value) if name in secret else texts_by_name(value):
                found |= {part.name for part in split(text) if isinstance(part, EnvName)}
    return found


def tool_secrets(program: Program) -> Iterator[str]:
    """Yield the secrets that a document itself fixes for tools of its agents, such as a key."""
    for block in program.workflow.blocks.values():
        tools = block.values.get("tools")
        rows = parse_json(tools) if isinstance(tools, str) else tools
        for row in rows if isinstance(rows, list) else ():
            for text in texts_by_name(row.get("params")) if isinstance(row, Mapping) else ():
                yield from (secret for _, secret in literal_texts(text))


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


def _all_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, Mapping)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _all_texts(item)
