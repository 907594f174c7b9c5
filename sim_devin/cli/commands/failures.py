"""How an error is reported: a line on standard error, or JSON, and an exit code."""

from __future__ import annotations

import json
import os
import traceback
from typing import IO, Any

import click

from sim_devin.calls.local_faults import remedy
from sim_devin.cli.commands.verbosity import VERBOSE
from sim_devin.errors import NotFound, SimDevinError

# Keys in `Context.meta`, which the contexts of all nested commands share.
JSON_ERRORS = "sim_devin.json"  # the command was called with --json
SIMULATED = "sim_devin.simulated"  # the command has its own simulator
REDACTOR = "sim_devin.redactor"  # masks the secrets known to the opened app

ISOLATED = (
    "Each command with --simulate has its own simulated Devin; to share one between commands, "
    "use sim-devin simulate."
)


class CommandFailure(click.ClickException):
    """An error of this package for click: redacted, with the exit code of its class."""

    def __init__(self, error: SimDevinError, ctx: click.Context) -> None:
        super().__init__(error.message)
        self.exit_code = error.exit_code  # type: ignore[misc]  # click reads it here
        if isinstance(error, NotFound) and ctx.meta.get(SIMULATED):
            error.hint = f"{error.hint} {ISOLATED}".strip()
        self.as_json = bool(ctx.meta.get(JSON_ERRORS))
        self.text = redacted(_json(error) if self.as_json else _words(error), ctx)

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the error to standard error."""
        click.echo(self.text, file=file, err=file is None)


class CommandRefused(SimDevinError):
    """The operating system refused an operation: descriptors, space, permissions."""


class Unexpected(SimDevinError):
    """A bug in this program."""


def from_exception(error: Exception, ctx: click.Context) -> CommandFailure:
    """Return what to show for an exception, including its traceback with ``--verbose``."""
    if isinstance(error, SimDevinError):
        return CommandFailure(error, ctx)
    if isinstance(error, OSError) and (hint := remedy(error, error.filename)):
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
        return CommandFailure(CommandRefused(f"{what}.", hint=hint), ctx)
    if ctx.meta.get(VERBOSE):
        trace = "".join(traceback.format_exception(error)).rstrip()
        click.echo(redacted(trace, ctx), err=True)
        hint = "Please report it with the traceback above."
    else:
        hint = "Run it again with --verbose for the traceback, and please report it."
    return CommandFailure(
        Unexpected(f"Unexpected {type(error).__name__}: {error}.", hint=hint), ctx
    )


def redacted(text: str, ctx: click.Context) -> str:
    """Return `text` with the secrets of the environment and of the opened app masked."""
    from sim_devin.redaction import Redactor
    from sim_devin.secret_names import is_secret_name

    known = Redactor(value for name, value in os.environ.items() if is_secret_name(name))
    app: Redactor | None = ctx.meta.get(REDACTOR)
    return known.text(text if app is None else app.text(text))


def _words(error: SimDevinError) -> str:
    problems: list[str] = getattr(error, "problems", [])
    if len(problems) < 2:
        return f"error: {error}"
    # The message joins them in one line; a list is easier to read.
    subject = getattr(error, "subject", None) or getattr(error, "place", None)
    lines = [f"error: {subject or 'there are'}{':' if subject else ''} {len(problems)} problems"]
    lines += [f"  - {problem}" for problem in problems]
    return "\n".join([*lines, error.hint] if error.hint else lines)


def _json(error: SimDevinError) -> str:
    return json.dumps({"error": error.to_json()}, default=str, ensure_ascii=False)
