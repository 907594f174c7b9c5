"""``sim-devin worker``: drives the runs of the store for as long as it is left running."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sim_devin.commands.examples import CommandWithExamples
from sim_devin.commands.interrupts import cancelled_by_signals
from sim_devin.commands.options import AppOptions, app_options, json_option, quiet_option
from sim_devin.commands.output import echo_json, harmless

if TYPE_CHECKING:
    from sim_devin.engine.events import Event, Listener


@click.command(
    "worker",
    cls=CommandWithExamples,
    examples=("sim-devin worker", "sim-devin worker --once --json"),
)
@click.option("--once", is_flag=True, help="Stop when nothing can go on at this moment.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Most runs to drive at a time; runs that wait do not count.",
)
@json_option("Print what happens as JSON lines; errors are JSON on standard error, too.")
@quiet_option
@app_options()
def command(once: bool, concurrency: int, as_json: bool, quiet: bool, options: AppOptions) -> None:
    """Drive the runs of the store: those that are ready, and those that what they waited for wakes.

    Any number of workers on one machine share the runs; when one dies, another takes its
    runs over within seconds. Ctrl-C gives the runs back and stops; Devin's sessions go on.
    """
    with options.open() as app:
        with cancelled_by_signals("Giving the runs back…") as cancel:
            driven = app.runs.work(
                once=once,
                concurrency=concurrency,
                cancel=cancel,
                on_event=app.telemetry.listener(None if quiet else _listener(as_json=as_json)),
            )
        if once and not quiet:
            text = f"Drove {driven} time{'' if driven == 1 else 's'}."
            echo_json({"driven": driven}, compact=True) if as_json else click.echo(text)


def _listener(*, as_json: bool) -> Listener:
    def listen(event: Event) -> None:
        if as_json:
            echo_json(event.to_json(), compact=True)
            return
        from sim_devin.commands.run_view import told

        if event.log is None:
            what = event.kind.partition(".")[2]
            click.echo(f"{event.run_id}: {what}", err=True)
        else:
            name = harmless(event.log.block_name)
            click.echo(f"{event.run_id}: {name}: {harmless(told(event))}", err=True)

    return listen
