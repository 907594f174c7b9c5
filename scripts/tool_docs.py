"""docs/tools.md: a section for each built-in tool, from its spec."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sim_devin.devin.plugin import sim_devin_specs
from sim_devin.errors import InvalidSpec
from sim_devin.plugins.jobs import with_jobs
from sim_devin.specs.models import Connection, Schema, ToolSpec
from sim_devin.specs.schema import describe

PAGE = Path(__file__).parent.parent / "docs" / "tools.md"
SESSION = "devin-4f1c9a7e2b6d4c0f9e8a1d3b5c7f2a90"

HEAD = """\
# The Devin tools

<!-- Written by scripts/generate.py from the spec files in tool_specs/. Change those instead. -->

Each tool is one operation of Devin's API v3. The same parameters go in and the same outputs come
out wherever a tool is called: command line, Python, a workflow's block, an MCP client or a model's
function call. `sim-devin tools NAME` shows a tool on the terminal.

Texts are converted to the declared type: `"50"` to a whole number, `"true"` to a boolean,
`"a, b"` to a list, JSON text to an object; a number where text is wanted is that text. Whatever is
wrong is reported at once, before anything is sent. *Who may set it*: a parameter that only people
may set is not shown to models.
"""

_RETRIES = {
    "connect": "the service could not be reached",
    "reset": "the connection broke",
    "timeout": "no answer came in time",
    "429": "the service asked to slow down",
    "5xx": "the service failed",
}


def _refuse(error: InvalidSpec) -> None:
    raise error


def page() -> str:
    """Return the page."""
    specs = with_jobs(sim_devin_specs(), _refuse)
    connections = {connection.id: connection for connection in specs.connections}
    lines = [HEAD, *_contents(specs.tools), *_credentials(specs.connections)]
    for tool in specs.tools:
        lines += _tool(tool, connections[tool.connection or ""])
    return "\n".join(lines)


def _contents(tools: Iterable[ToolSpec]) -> Iterator[str]:
    yield "| Tool | What for |"
    yield "| --- | --- |"
    for tool in tools:
        yield f"| [`{tool.id}`](#{tool.id}) | {tool.title} |"
    yield ""


def _credentials(connections: Iterable[Connection]) -> Iterator[str]:
    for connection in connections:
        yield f"Every tool needs the fields of the connection `{connection.id}`, given once:\n"
        yield "| Field | Variable | Description |"
        yield "| --- | --- | --- |"
        for name, field in connection.fields.items():
            yield f"| `{name}` | `{field.env}` | {_cell(field.description)} |"
        yield ""


def _tool(tool: ToolSpec, connection: Connection) -> Iterator[str]:
    yield f"## {tool.id}\n"
    yield f"{tool.description}\n"
    for sentence in (*_http(tool, connection), *_traits(tool)):
        yield f"- {sentence}"
    yield "\n### Parameters\n"
    yield from _parameters(tool)
    yield "\n### Outputs\n"
    yield from _outputs(tool.answer)
    yield "\n### Example\n"
    yield from _example(tool)


def _http(tool: ToolSpec, connection: Connection) -> Iterator[str]:
    if tool.request is not None:
        base = connection.base_url.rpartition("/")[2]
        yield f"Request: `{tool.request.method} /{base}{tool.request.path}`"
    else:
        yield "Request: none of its own; it looks at the session with `devin_list_sessions`"
    if tool.permission:
        yield f"Permission: {tool.permission}"


def _traits(tool: ToolSpec) -> Iterator[str]:
    traits = tool.traits
    effects = [
        "reads only" if traits.read_only else "makes changes",
        *(["may end or overwrite something"] if traits.destructive else []),
        *(["costs money"] if traits.costs_money else []),
        *(["doing it twice is the same as once"] if traits.idempotent else []),
        *(["returns one page of a list"] if traits.paginated else []),
    ]
    yield f"Effect: {', '.join(effects)}"
    if traits.retry_on:
        yield f"Tried again when {_either([_RETRIES[reason] for reason in traits.retry_on])}"
        if not {"reset", "timeout"} & set(traits.retry_on):
            yield "After an unclear end (a timeout, a broken connection) it is not repeated blindly"
    if traits.model_input:
        names = ", ".join(f"`{name}`" for name in traits.model_input)
        yield f"Read by a model, so never given the value of an environment variable: {names}"
    if traits.ceilings:
        names = ", ".join(f"`{name}`" for name in traits.ceilings)
        yield f"Ceilings, which a block never leaves out for want of a value: {names}"
    for rule in traits.success_on:
        yield f"A {rule.status} that says “{rule.contains}” counts as success"


def _parameters(tool: ToolSpec) -> Iterator[str]:
    yield "| Name | Type | Required | Who may set it | Description |"
    yield "| --- | --- | --- | --- | --- |"
    # Required first, advanced last; the order of the file otherwise.
    properties = sorted(
        tool.properties.items(),
        key=lambda item: (item[0] not in tool.required, item[1].get("x-advanced", False)),
    )
    for name, schema in properties:
        required = "yes" if name in tool.required else "no"
        if schema.get("x-advanced"):
            required += " (advanced)"
        who = "people" if schema.get("x-visibility") == "user-only" else "people and models"
        text = _cell(schema["description"])
        yield f"| `{name}` | {_cell(describe(schema))} | {required} | {who} | {text} |"


def _outputs(schema: Schema, prefix: str = "") -> Iterator[str]:
    if not prefix:
        yield "| Name | Type | Description |"
        yield "| --- | --- | --- |"
    for name, item in schema["properties"].items():
        yield f"| `{prefix}{name}` | {_type(item)} | {_cell(item.get('description', ''))} |"
        if "properties" in item.get("items", {}):
            yield from _outputs(item["items"], f"{prefix}{name}[].")


def _type(schema: Schema) -> str:
    declared = schema.get("type", "anything")
    kinds = [declared] if isinstance(declared, str) else declared
    return " or ".join(kinds)


def _example(tool: ToolSpec) -> Iterator[str]:
    example = tool.examples[0] if tool.examples else {"sessionId": SESSION, "timeoutSeconds": 1800}
    words = [f"{name}={_argument(value)}" for name, value in example.items()]
    command = " ".join(["sim-devin", "call", tool.id, *map(shlex.quote, words)])
    yield f"```console\n$ {command}\n```\n"
    yield f"```python\n{_python(tool.id, example)}\n```\n"


def _argument(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return json.dumps(value)


def _python(tool_id: str, example: Mapping[str, Any]) -> str:
    one_line = f'output = app.call("{tool_id}", {_literal(example)})'
    if len(one_line) <= 88:
        return one_line
    inner = "".join(f'    "{name}": {_literal(value)},\n' for name, value in example.items())
    return f'output = app.call("{tool_id}", {{\n{inner}}})'


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(k)}: {_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _either(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} or {items[-1]}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
