"""The command line: which commands there are, and how errors leave.

Each command is a module of `sim_devin.cli.commands`, imported when it is used, so that
``sim-devin --help`` loads next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click

from sim_devin.cli.commands.failures import Failure, from_exception, redacted
from sim_devin.cli.commands.verbosity import verbose_option
from sim_devin.errors import Cancelled
from sim_devin.text import did_you_mean

# Command -> its help in one line; `sim_devin.cli.commands.<name>.command` is the command itself.
COMMANDS: Mapping[str, str] = {
    "run": "Run a workflow and show how it went.",
    "call": "Call one tool and print its output as JSON.",
    "wait": "Wait for Devin sessions.",
    "runs": "Look at recorded runs; answer, resume, cancel them.",
    "worker": "Drive the durable runs of this machine.",
    "schedules": "List the schedules of the worker, and when they start next.",
    "tools": "List the tools, or show one.",
    "blocks": "List the blocks, or show the form of one.",
    "check": "Check spec files and workflows, and say what is wrong.",
    "mcp": "Offer the tools to MCP clients.",
    "serve": "Serve the canvas: draw, run and watch workflows.",
    "simulate": "Serve a simulated Devin on this machine.",
    "plugins": "List the plugins; explain or start one.",
    "config": "Show the settings and where they come from; store a key.",
    "completion": "Print the completion script of a shell.",
}

EXIT_CODES = (
    ("0", "done"),
    ("1", "the run failed, or a session that was waited for is not done"),
    ("2", "a mistake in what was asked for; nothing was sent"),
    ("3", "no usable API key or organization"),
    ("4", "no usable answer came back"),
    ("5", "the service answered with an error"),
    ("130", "interrupted"),
)


class Commands(click.Group):
    """The group of all commands, each imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        """Return the names of the commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - as click calls it
        cmd_name: str,
    ) -> click.Command | None:
        """Return a command, importing its module; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"sim_devin.cli.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` start with, and the rest of them.

        Raises:
            click.UsageError: there is no such command; names the nearest.
        """
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            suggestion = did_you_mean(name, COMMANDS)
            raise click.UsageError(f"No such command {name!r}. {suggestion}".rstrip(), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - as click calls it
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(
        self,
        ctx: click.Context,  # noqa: ARG002 - as click calls it
        formatter: click.HelpFormatter,
    ) -> None:
        """Write what the exit codes mean."""
        with formatter.section("Exit codes"):
            formatter.write_dl(list(EXIT_CODES))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for.

        Raises:
            click.ClickException: what went wrong, with the exit code of its kind.
        """
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            # It may repeat what was typed.
            error.message = redacted(error.message, ctx)  # type: ignore[misc]
            raise
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            raise Failure(Cancelled("Interrupted."), ctx) from None
        except Exception as error:
            raise from_exception(error, ctx) from error


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="sim-devin", message="sim-devin %(version)s")
@verbose_option
def cli() -> None:
    """Put Devin, the autonomous software engineer, into automated work.

    Try it without an account: every command that talks to Devin takes --simulate.
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the code of how it went."""
    cli.main(args=None if args is None else list(args), prog_name="sim-devin")
