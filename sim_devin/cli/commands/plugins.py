"""``sim-devin plugins``: list, diagnose and scaffold plugins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sim_devin.cli.commands.options import AppOptions, app_options, json_option
from sim_devin.cli.commands.output import echo_json, echo_table, harmless

if TYPE_CHECKING:
    from sim_devin.plugins.loading import Loaded


@click.group("plugins", invoke_without_command=True)
@json_option()
@app_options(talks=False)
@click.pass_context
def command(ctx: click.Context, as_json: bool, options: AppOptions) -> None:
    """List the plugins: the source, state and contents of each."""
    if ctx.invoked_subcommand is not None:
        ctx.obj = options
        return
    report = _report(options)
    if as_json:
        echo_json([plugin.to_json() for plugin in report])
        return
    echo_table(
        ("PLUGIN", "PACKAGE", "VERSION", "STATE", "BRINGS"),
        (
            (
                plugin.name,
                plugin.distribution or "-",
                plugin.version or "-",
                plugin.state,
                _brings(plugin),
            )
            for plugin in report
        ),
    )
    if any(plugin.state == "broken" for plugin in report):
        click.echo("\nA plugin is broken; run: sim-devin plugins doctor", err=True)


@command.command("doctor")
@json_option()
@app_options(talks=False)
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, options: AppOptions) -> None:
    """Explain every plugin failure, with its traceback. Exit code 1 if there is one."""
    parent: AppOptions = ctx.obj
    report = _report(
        AppOptions(config=options.config or parent.config, specs=(*parent.specs, *options.specs))
    )
    broken = [plugin for plugin in report if plugin.failures]
    if as_json:
        echo_json(
            {
                "ok": not broken,
                "plugins": [
                    {**plugin.to_json(), "tracebacks": plugin.details} for plugin in report
                ],
            }
        )
    else:
        for plugin in broken:
            _explain(plugin)
        fine = sum(plugin.state == "ok" for plugin in report)
        off = sum(plugin.state == "disabled" for plugin in report)
        click.echo(f"{fine} ok, {len(broken)} broken" + (f", {off} disabled" if off else "") + ".")
    ctx.exit(1 if broken else 0)


@command.command("new")
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    help="Target folder; by default, a folder named after the plugin.",
)
def new(name: str, folder: Path | None) -> None:
    """Scaffold a plugin package: a tool, a block and passing tests."""
    from sim_devin.plugins import scaffold

    target = folder if folder is not None else Path(name)
    files = scaffold.create(name, target)
    for file in files:
        click.echo(str(file))
    click.echo(
        f"\nNext:\n  cd {target}\n  pip install -e '.[test]'\n  pytest\n  sim-devin plugins",
        err=True,
    )


def _report(options: AppOptions) -> Sequence[Loaded]:
    # Never strict: this command diagnoses broken plugins.
    with options.open(strict=False) as app:
        return app.registry.report


def _brings(plugin: Loaded) -> str:
    brought = plugin.to_json()
    counts = [
        f"{len(brought[kind])} {kind if len(brought[kind]) != 1 else kind[:-1]}"
        for kind in ("tools", "blocks", "connections", "handlers")
        if brought[kind]
    ]
    return ", ".join(counts) or "nothing"


def _explain(plugin: Loaded) -> None:
    package = f" ({plugin.distribution} {plugin.version})" if plugin.distribution else ""
    click.echo(f"{plugin.name}{package}")
    for failure, trace in zip(plugin.failures, plugin.details, strict=True):
        click.echo(f"  {harmless(failure)}")
        for line in trace.rstrip().splitlines():
            click.echo(f"    {harmless(line)}")
    click.echo("")
