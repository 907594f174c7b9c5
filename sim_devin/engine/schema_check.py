"""JSON Schemas that stand in the fields of a workflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sim_devin.engine.problem import Problem
from sim_devin.engine.program import Program
from sim_devin.engine.references import parse_json, split
from sim_devin.engine.tool_block import SCHEMA_FIELD
from sim_devin.specs import json_schema

_FIELDS = (SCHEMA_FIELD, "responseFormat")


def schema_problems(program: Program) -> Iterator[Problem]:
    """Yield an error for each schema that refers to what is not part of it: nothing is fetched."""
    for block_id, step in program.steps.items():
        for field in _FIELDS:
            draft: json_schema.Draft = "draft 7" if field == SCHEMA_FIELD else "draft 2020-12"
            for text in json_schema.outside(_schema(step.stored.get(field)), draft):
                yield Problem(
                    f"the schema {text}",
                    place=f"{step.name}.{field}",
                    block_id=block_id,
                    hint="Put what it refers to under $defs or definitions, and refer with #/….",
                )


def _schema(value: Any) -> Any:
    if isinstance(value, str):
        if any(not isinstance(part, str) for part in split(value)):
            return None  # the run will know it
        value = parse_json(value)
    if not isinstance(value, Mapping):
        return None
    inner = value.get("schema")
    return inner if isinstance(inner, Mapping) else value
