"""``sim-devin call``: call one tool once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sim_devin.cli.commands.arguments import json_object, named_values, warn_about_history
from sim_devin.cli.commands.examples import CommandWithExamples
from sim_devin.cli.commands.interrupts import cancelled_by_signals
from sim_devin.cli.commands.options import (
    AppOptions,
    app_options,
    complete_tool,
    json_input_option,
    quiet_option,
    seconds,
)
from sim_devin.cli.commands.output import echo_json
from sim_devin.cli.commands.progress import wait_progress
from sim_devin.errors import CallerError

if TYPE_CHECKING:
    from sim_devin.app import App


@click.command(
    "call",
    cls=CommandWithExamples,
    examples=(
        "sim-devin call devin_create_session prompt='Fix the flaky test' maxAcuLimit=5",
        "sim-devin call devin_create_session prompt=@task.md --simulate",
        "echo '{\"limit\": 5}' | sim-devin call devin_list_sessions --json -",
    ),
)
@click.argument("tool", shell_complete=complete_tool)
@click.argument("params", nargs=-1, metavar="[NAME=VALUE]...")
@json_input_option(
    "Read the parameters as a JSON object from standard input, a file or the argument itself; "
    "errors are then JSON too."
)
@click.option("--dry-run", is_flag=True, help="Print the request instead of sending it.")
@click.option(
    "--no-reconcile",
    is_flag=True,
    help="If a create or message gets no clear response, fail at once instead of looking for its "
    "effect.",
)
@click.option(
    "--timeout", type=seconds, metavar="TIME", help="Give up after this long: 90, 15m, 2h."
)
@quiet_option
@app_options()
def command(
    tool: str,
    params: tuple[str, ...],
    json_input: str | None,
    dry_run: bool,
    no_reconcile: bool,
    timeout: float | None,
    quiet: bool,
    options: AppOptions,
) -> None:
    """Call one tool and print its output as JSON.

    Values are converted to the types that the parameters declare. NAME=@FILE reads the value
    from a file, NAME=@- from standard input; write @@ for a value that starts with @. A repeated
    NAME makes a list.
    """
    given: dict[str, Any] = json_object(json_input) if json_input is not None else {}
    typed = named_values(params)
    with options.open() as app:
        _warn(app, tool, params)
        values = {**given, **typed}
        _require_ceilings(app, tool, values)
        if dry_run:
            echo_json(_request(app, tool, values))
            return
        with (
            cancelled_by_signals("Stopping… press Ctrl-C again to stop at once.") as cancel,
            wait_progress(quiet=quiet) as progress,
        ):
            output = app.call(
                tool,
                values,
                reconcile=not no_reconcile,
                deadline=timeout,
                cancel=cancel,
                on_progress=progress,
            )
        echo_json(output)


def _require_ceilings(app: App, tool: str, values: dict[str, Any]) -> None:
    """Reject a ceiling given without a value, for example from an unset shell variable."""
    from sim_devin.calls.ceilings import is_nothing

    for name in app.registry.tool(tool).traits.ceilings:
        if name in values and is_nothing(values[name]):
            raise CallerError(
                f"{name} has no value.",
                hint="It is a ceiling, so nothing was sent. Omit it to set no ceiling.",
            )


def _warn(app: App, tool: str, items: tuple[str, ...]) -> None:
    from sim_devin.secret_names import is_secret_name

    connection = app.registry.connections.get(app.registry.tool(tool).connection or "")
    fields = connection.fields if connection is not None else {}
    pairs = (item.partition("=")[::2] for item in items)
    warn_about_history(
        name
        for name, value in pairs
        if ((name in fields and fields[name].secret) or is_secret_name(name))
        and value
        and not (value.startswith("@") and not value.startswith("@@"))
    )


def _request(app: App, tool: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the request that a call would send, as JSON data with secrets masked."""
    from sim_devin.redaction import Redactor
    from sim_devin.secret_names import is_secret_name

    if app.registry.tool(tool).request is None:
        raise CallerError(f"{tool} is not a single request.", hint="Omit --dry-run.")
    request = app.build_request(tool, values)
    own = Redactor(value for name, value in values.items() if is_secret_name(name))
    return {
        "method": request.method,
        "url": own.text(app.redactor.text(request.url)),
        "headers": own.headers(app.redactor.headers(request.headers)),
        "json": own.data(app.redactor.data(request.json)),
    }
