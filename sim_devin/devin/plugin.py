"""The built-in plugin: Devin's tools and block from the spec files, and what files cannot say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sim_devin.calls.request import Request
from sim_devin.devin.verdict import judge
from sim_devin.errors import InvalidParams
from sim_devin.plugins.hooks import hookimpl
from sim_devin.specs import json_schema
from sim_devin.specs.files import Specs, builtin_folder, read_folder
from sim_devin.specs.models import Schema, ToolSpec
from sim_devin.text import trim

SCHEMA_LIMIT = 64 * 1024  # bytes of a structured-output schema; Devin API, create session

_BARE_ID = re.compile(r"[0-9a-fA-F]{32}")

Build = Callable[[Mapping[str, Any]], Request]


@hookimpl
def sim_devin_specs() -> Specs:
    """Return the eleven Devin tools, their connection and block, and what a session is."""
    specs = read_folder(builtin_folder(), thorough=False)  # our own tests check them
    order = list(specs.blocks[0].operations.values())
    tools = [_complete(tool) for tool in sorted(specs.tools, key=lambda t: order.index(t.id))]
    return replace(specs, tools=tuple(tools)).attach_judge("devin_session", judge)


def _complete(tool: ToolSpec) -> ToolSpec:
    """Attach the functions a tool needs beyond its file."""
    create = tool.id == "devin_create_session"
    return tool.model_copy(update={"prepare": _prepare_create if create else _prepare})


def _prepare(params: Mapping[str, Any], build: Build) -> Request:
    """Write the session id as paths are documented: v3 answers with the bare id."""
    changed = dict(params)
    session_id = trim(str(params.get("sessionId", "")))
    if _BARE_ID.fullmatch(session_id):
        changed["sessionId"] = f"devin-{session_id}"
    if params.get("archive") is False:
        del changed["archive"]  # the service's default; Sim leaves it out too
    return build(changed)


def _prepare_create(params: Mapping[str, Any], build: Build) -> Request:
    given = dict(params)
    schema = given.get("structuredOutputSchema")
    if schema is not None:
        schema = given["structuredOutputSchema"] = json_schema.unwrapped(schema)
    problems = list(_schema_problems(schema))
    if problems:
        raise InvalidParams("devin_create_session", problems)
    # No tags and an empty list of tags are the same; Sim sends neither.
    return build({name: value for name, value in given.items() if (name, value) != ("tags", [])})


def _schema_problems(schema: Schema | None) -> Iterator[str]:
    """Yield why the service would refuse a structured-output schema (draft 7, 64 KB, closed)."""
    if schema is None:
        return
    yield from json_schema.told(schema, "structuredOutputSchema", "draft 7", closed=True)
    size = len(json.dumps(schema).encode())
    if size > SCHEMA_LIMIT:
        yield f"structuredOutputSchema: has {size} bytes; at most {SCHEMA_LIMIT} are accepted"
