"""``sim-devin tools``: the available tools."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from sim_devin.cli.commands.examples import CommandWithExamples
from sim_devin.cli.commands.options import AppOptions, app_options, complete_tool, json_option
from sim_devin.cli.commands.output import echo_json, echo_table, harmless

if TYPE_CHECKING:
    from sim_devin.plugins.registry import Registry
    from sim_devin.specs.models import Schema, ToolSpec

_TRAITS = {
    "read_only": "read-only",
    "destructive": "destructive",
    "idempotent": "idempotent",
    "costs_money": "costs money",
    "paginated": "paginated",
}


@click.command(
    "tools",
    cls=CommandWithExamples,
    examples=(
        "sim-devin tools",
        "sim-devin tools devin_create_session",
    ),
)
@click.argument("name", required=False, shell_complete=complete_tool)
@click.option("--advanced", is_flag=True, help="Also show the tool's advanced parameters.")
@json_option()
@app_options(talks=False)
def command(name: str | None, advanced: bool, as_json: bool, options: AppOptions) -> None:
    """List the tools, or show one: parameters, outputs, traits, permission, an example."""
    with options.open() as app:
        registry = app.registry
    if name is not None:
        tool = registry.tool(name)
        if as_json:
            echo_json(described(tool, registry))
        else:
            for line in _page(tool, registry, advanced=advanced):
                click.echo(line)
    elif as_json:
        echo_json([described(tool, registry) for tool in registry.tools.values()])
    else:
        echo_table(
            ("TOOL", "OWNER", "TITLE", "TRAITS"),
            (
                (tool.id, registry.owners[f"tool:{tool.id}"], tool.title, _traits(tool))
                for tool in registry.tools.values()
            ),
        )


def described(tool: ToolSpec, registry: Registry) -> dict[str, Any]:
    """Return a tool as JSON data; its connection's fields are among its parameters."""
    return {
        "id": tool.id,
        "title": tool.title,
        "description": tool.description,
        "owner": registry.owners[f"tool:{tool.id}"],
        "connection": tool.connection,
        "permission": tool.permission,
        "traits": tool.traits.model_dump(mode="json", by_alias=True),
        "parameters": list(_parameters(tool, registry)),
        "outputs": [
            {
                "name": name,
                "type": _type(schema),
                "description": schema.get("description", ""),
            }
            for name, schema in tool.answer["properties"].items()
        ],
        "examples": list(tool.examples),
        "params": tool.params,
    }


def _parameters(tool: ToolSpec, registry: Registry) -> Iterator[dict[str, Any]]:
    for name, schema in tool.properties.items():
        yield {
            "name": name,
            "type": _type(schema),
            "required": name in tool.required,
            "visibility": schema.get("x-visibility", "user-or-model"),
            "advanced": bool(schema.get("x-advanced")),
            "description": schema.get("description", ""),
        }
    connection = registry.connections.get(tool.connection or "")
    for name, field in (connection.fields if connection else {}).items():
        yield {
            "name": name,
            "type": "string",
            "required": True,
            "visibility": "user-only",
            "advanced": False,
            "description": field.description,
            "environment": field.env,
        }


def _type(schema: Schema) -> str:
    kind = schema.get("type", "any")
    kinds = [item for item in (kind if isinstance(kind, list) else [kind]) if item != "null"]
    text = " or ".join(kinds)
    items = schema.get("items", {}).get("type")
    if kinds == ["array"] and isinstance(items, str):
        return f"list of {items}s"
    if "enum" in schema and len(schema["enum"]) <= 8:
        return " | ".join(str(item) for item in schema["enum"])
    return text


def _traits(tool: ToolSpec) -> str:
    return ", ".join(words for name, words in _TRAITS.items() if getattr(tool.traits, name))


def _page(tool: ToolSpec, registry: Registry, *, advanced: bool) -> Iterator[str]:
    facts = [f"from {registry.owners[f'tool:{tool.id}']}", _traits(tool)]
    if tool.permission:
        facts.append(f"needs {tool.permission}")
    yield f"{tool.id} · {tool.title}"
    yield _wrapped(tool.description, "  ")
    yield f"  ({' · '.join(fact for fact in facts if fact)})"
    yield ""
    yield "Parameters (* required)"
    parameters = list(_parameters(tool, registry))
    shown = [item for item in parameters if advanced or not item["advanced"] or item["required"]]
    yield from _rows(shown)
    hidden = len(parameters) - len(shown)
    if hidden:
        yield f"  … and {hidden} advanced: sim-devin tools {tool.id} --advanced"
    yield ""
    yield "Outputs"
    yield from _rows(described(tool, registry)["outputs"])
    if tool.examples:
        yield ""
        yield "Example"
        yield f"  {example_call(tool)}"


def _rows(items: list[dict[str, Any]]) -> Iterator[str]:
    for item in items:
        star = "*" if item.get("required") else ""
        source = f", from {item['environment']}" if "environment" in item else ""
        model = ", hidden from models" if item.get("visibility") == "user-only" else ""
        yield f"  {item['name']}{star}  ({item['type']}{source}{model})"
        if item["description"]:
            yield _wrapped(item["description"], "      ")


def _wrapped(text: str, indent: str) -> str:
    return click.wrap_text(
        harmless(text), width=98, initial_indent=indent, subsequent_indent=indent
    )


def example_call(tool: ToolSpec) -> str:
    """Return the command line of a tool's first example."""
    example: Mapping[str, Any] = tool.examples[0]
    words = ["sim-devin", "call", tool.id]
    words += [f"{name}={_argument(value)}" for name, value in example.items()]
    return shlex.join(words)


def _argument(value: Any) -> str:
    if isinstance(value, str):
        return f"@{value}" if value.startswith("@") else value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    return json.dumps(value)
