"""JSON Schemas that stand in the fields of a workflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from sim_devin.engine.problem import Problem
from sim_devin.engine.program import Program
from sim_devin.engine.references import parse_json, split
from sim_devin.engine.tool_block import SCHEMA_FIELD
from sim_devin.specs import json_schema

Level = Literal["error", "warning"]

_FIELDS = (SCHEMA_FIELD, "responseFormat")
_REFERENCE_HINT = "Move it into the schema under $defs or definitions, and refer to it with #/…."


def schema_problems(program: Program) -> Iterator[Problem]:
    """Yield what is wrong with the schemas of a workflow, before one of them is used."""
    for block_id, step in program.steps.items():
        for field in _FIELDS:
            schema = _schema(step.stored.get(field))
            if schema is not None:
                for level, text, hint in _judged(schema, field):
                    place = f"{step.name}.{field}"
                    yield Problem(text, place=place, level=level, block_id=block_id, hint=hint)


def _judged(schema: Any, field: str) -> Iterator[tuple[Level, str, str]]:
    """Yield (level, text, hint) of what is wrong; a model's provider judges its own formats."""
    draft: json_schema.Draft = "draft 7" if field == SCHEMA_FIELD else "draft 2020-12"
    level: Level = "error" if field == SCHEMA_FIELD else "warning"
    for place, text in json_schema.problems(schema, draft):
        if text.startswith(json_schema.REFERS):
            yield "error", f"the schema {text}", _REFERENCE_HINT
        else:
            at = f" at {place}" if place else ""
            yield level, f"the schema is not a valid {draft} JSON Schema{at}: {text}", ""
    for place, pattern in json_schema.legacy_patterns(schema):
        yield (
            "warning",
            f"the pattern {pattern[: json_schema.SHOWN]!r} at {place} is invalid for validators "
            "that compile with the flag u; it is used without the flag",
            "Escape only characters with a meaning, and a hyphen in a class as \\-.",
        )


def _schema(value: Any) -> Any:
    if isinstance(value, str):
        if any(not isinstance(part, str) for part in split(value)):
            return None  # the run will know it
        value = parse_json(value)
    value = json_schema.unwrapped(value)
    return value if isinstance(value, Mapping) else None
