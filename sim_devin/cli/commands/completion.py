"""``sim-devin completion``: shell completion of commands, options and tools."""

from __future__ import annotations

import click

from sim_devin.cli.commands.examples import CommandWithExamples

PROGRAM = "sim-devin"
VARIABLE = "_SIM_DEVIN_COMPLETE"


@click.command(
    "completion",
    cls=CommandWithExamples,
    examples=(
        "sim-devin completion bash > ~/.local/share/bash-completion/completions/sim-devin",
        'sim-devin completion zsh > "${fpath[1]}/_sim-devin"',
        "sim-devin completion fish > ~/.config/fish/completions/sim-devin.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print a shell completion script."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choice above names click's own shells
    click.echo(kind(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())
