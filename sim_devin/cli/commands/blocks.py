"""``sim-devin blocks``: the blocks available to workflows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from sim_devin.cli.commands.examples import CommandWithExamples
from sim_devin.cli.commands.options import AppOptions, app_options, json_option
from sim_devin.cli.commands.output import echo_json, echo_table
from sim_devin.errors import UnknownName

if TYPE_CHECKING:
    from sim_devin.plugins.registry import Registry
    from sim_devin.specs.forms import FormField
    from sim_devin.specs.models import BlockSpec


FEW = 3  # operations named in the list


@click.command(
    "blocks",
    cls=CommandWithExamples,
    examples=(
        "sim-devin blocks",
        "sim-devin blocks devin --operation create_session",
    ),
)
@click.argument("block_type", metavar="[TYPE]", required=False)
@click.option("--operation", metavar="NAME", help="Show the form of this operation only.")
@json_option()
@app_options(talks=False)
def command(
    block_type: str | None, operation: str | None, as_json: bool, options: AppOptions
) -> None:
    """List the blocks, or show the form of one, operation by operation."""
    with options.open() as app:
        registry = app.registry
    if block_type is not None:
        block = registry.block(block_type)
        if operation is not None and operation not in block.operations:
            raise UnknownName(f"operation of the block {block_type!r}", operation, block.operations)
        if as_json:
            echo_json(_described(block, registry, operation))
        else:
            _show(block, registry, operation)
    elif as_json:
        echo_json([_described(block, registry) for block in registry.blocks.values()])
    else:
        types = list(dict.fromkeys([*registry.blocks, *registry.handlers]))
        echo_table(("BLOCK", "OWNER", "TITLE", "OPERATIONS"), _rows(types, registry))


def _rows(types: list[str], registry: Registry) -> Iterator[tuple[str, str, str, str]]:
    for block_type in types:
        block = registry.blocks.get(block_type)
        kind = "handler" if block is None else "block"
        owner = registry.owners[f"{kind}:{block_type}"]
        title = block_type.replace("_", " ").title() if block is None else block.title
        yield block_type, owner, title, "" if block is None else _operations(block)


def _operations(block: BlockSpec) -> str:
    names = list(block.operations)
    more = f", … ({len(names)} in total)" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


def _described(
    block: BlockSpec, registry: Registry, operation: str | None = None
) -> dict[str, Any]:
    return {
        "type": block.type,
        "title": block.title,
        "description": block.description,
        "owner": registry.owners[f"block:{block.type}"],
        "operationField": block.operation_field,
        "defaultOperation": block.default_operation,
        "operations": dict(block.operations),
        "form": [field.to_json() for field in registry.form(block.type)],
        "outputs": registry.outputs(block.type, operation),
    }


def _show(block: BlockSpec, registry: Registry, operation: str | None) -> None:
    click.echo(f"{block.type} · {block.title}\n  {block.description}")
    form = registry.form(block.type)
    chosen: list[str | None] = [operation] if operation else [*block.operations] or [None]
    for name in chosen:
        if name is not None:
            label = block.labels.get(name, name)
            click.echo(f"\n{name} · {label} ({block.operations[name]})")
        values = {block.operation_field: name}
        for field in form:
            if field.id != block.operation_field and field.shown(values):
                click.echo(f"  {_field(field, values)}")
        outputs = registry.outputs(block.type, name)
        if outputs:
            click.echo(f"  → {', '.join(outputs)}")


def _field(field: FormField, values: dict[str, Any]) -> str:
    star = "*" if field.required(values) else ""
    facts = [field.type]
    if field.options:
        facts = [" | ".join(option["id"] for option in field.options)]
    facts += [word for word in ("advanced", "secret") if getattr(field, word)]
    if field.default not in (None, ""):
        facts.append(f"default {field.default}")
    return f"{field.id}{star}  {field.title}  ({', '.join(facts)})"
