"""``sim-devin check``: find problems in spec files and workflows before anything runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sim_devin.cli.commands.options import AppOptions, app_options, json_option
from sim_devin.cli.commands.output import echo_json, harmless

if TYPE_CHECKING:
    from sim_devin.cli.commands.checking import Finding


@click.command("check")
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@json_option()
@app_options(talks=False)
@click.pass_context
def command(
    ctx: click.Context, paths: tuple[Path, ...], as_json: bool, options: AppOptions
) -> None:
    """Check spec files and workflows; show each problem, its location and how to fix it.

    A PATH is a file or a folder: *.tool.json, *.block.json, *.connection.json and shapes.json are
    spec files; other *.json files are workflows. Credentials are not checked; a run lists any that
    are missing before it starts.

    Exit code 0: no problems (warnings do not count). 2: there are problems.
    """
    from sim_devin.cli.commands.checking import check, files

    # Simulated, so that credentials count as present: they belong to the person who runs a
    # workflow.
    with replace(options, simulate=True).open(strict=False) as app:
        found: list[Finding] = []
        checked = 0
        for path in paths:
            listed = files(path)
            checked += len(listed)
            found += check(listed, app)
    errors = sum(finding.level == "error" for finding in found)
    if as_json:
        echo_json({"ok": not errors, "files": checked, "problems": [f.to_json() for f in found]})
    else:
        for finding in found:
            click.echo(harmless(finding.text()))
        click.echo(_summary(checked, errors, len(found) - errors), err=bool(errors))
    ctx.exit(2 if errors else 0)


def _summary(checked: int, errors: int, warnings: int) -> str:
    text = f"{_count(checked, 'file')} checked: {_count(errors, 'problem')}"
    return f"{text}, {_count(warnings, 'warning')}." if warnings else f"{text}."


def _count(number: int, thing: str) -> str:
    return f"{number or 'no'} {thing}{'' if number == 1 else 's'}"
