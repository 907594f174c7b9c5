"""The command line: the list of commands, and how errors are reported.

Each command is a module in `sim_devin.cli.commands`, imported on first use so that
``sim-devin --help`` stays fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click

from sim_devin.cli.commands.failures import CommandFailure, from_exception, redacted
from sim_devin.cli.commands.verbosity import verbose_option
from sim_devin.errors import Cancelled
from sim_devin.text import did_you_mean

# Command -> its one-line help; `sim_devin.cli.commands.<name>.command` is the command itself.
COMMANDS: Mapping[str, str] = {
    "do": "Hand one task to Devin and see it through.",
    "run": "Run a workflow and show its progress and result.",
    "call": "Call one tool and print its output as JSON.",
    "wait": "Wait for Devin sessions.",
    "runs": "List, show, answer, resume or cancel recorded runs.",
    "worker": "Drive the durable runs in the store.",
    "schedules": "List the worker's schedules and their next start times.",
    "tools": "List the tools, or show one.",
    "blocks": "List the blocks, or show the form of one.",
    "check": "Check spec files and workflows for problems.",
    "mcp": "Offer the tools to MCP clients.",
    "serve": "Serve the canvas: draw, run and watch workflows.",
    "simulate": "Run a simulated Devin API on this machine.",
    "plugins": "List, diagnose or scaffold plugins.",
    "config": "Show the settings and their sources; store a key.",
    "doctor": "Check the installation for problems.",
    "completion": "Print a shell completion script.",
}

EXIT_CODES = (
    ("0", "done"),
    ("1", "the run failed, or a session that was waited for is not done"),
    ("2", "invalid usage or input; nothing was sent"),
    ("3", "no usable API key or organization"),
    ("4", "network error or unreadable response"),
    ("5", "the service returned an error"),
    ("6", "do: Devin waits for a person"),
    ("7", "do: there is no money left"),
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
        """Return a command, importing its module; None if there is no command of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"sim_devin.cli.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` start with, and the remaining arguments.

        Raises:
            click.UsageError: no such command; suggests the nearest.
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
        """Write the exit codes."""
        with formatter.section("Exit codes"):
            formatter.write_dl(list(EXIT_CODES))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the selected command.

        Raises:
            click.ClickException: any failure, with its exit code.
        """
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            # The message may repeat what was typed.
            error.message = redacted(error.message, ctx)  # type: ignore[misc]
            raise
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            raise CommandFailure(Cancelled("Interrupted."), ctx) from None
        except Exception as error:
            raise from_exception(error, ctx) from error


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="sim-devin", message="sim-devin %(version)s")
@verbose_option
def cli() -> None:
    """Use Devin, the autonomous software engineer, in automated work.

    Try it without an account: every command that talks to Devin accepts --simulate.
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its exit code."""
    cli.main(args=None if args is None else list(args), prog_name="sim-devin")
