"""``sim-devin worker``: drives the runs of the store for as long as it is left running."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from sim_devin.cli.commands.examples import CommandWithExamples
from sim_devin.cli.commands.interrupts import cancelled_by_signals
from sim_devin.cli.commands.options import AppOptions, app_options, json_option, quiet_option
from sim_devin.cli.commands.output import echo_json, harmless
from sim_devin.errors import MissingDependency

if TYPE_CHECKING:
    from sim_devin.app import App
    from sim_devin.engine.events import Event, Listener


@click.command(
    "worker",
    cls=CommandWithExamples,
    examples=(
        "sim-devin worker",
        "sim-devin worker --once --json",
        "sim-devin worker --http 9090",
    ),
)
@click.option("--once", is_flag=True, help="Stop when nothing can go on at this moment.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Most runs to drive at a time; runs that wait do not count.",
)
@click.option(
    "--http",
    "address",
    metavar="[HOST:]PORT",
    callback=lambda _ctx, _param, value: None if value is None else _address(value),
    help="Serve hooks, /metrics and /healthz; on this machine only unless HOST is given.",
)
@json_option("Print what happens as JSON lines; errors are JSON on standard error, too.")
@quiet_option
@app_options()
def command(
    once: bool,
    concurrency: int,
    address: tuple[str, int] | None,
    as_json: bool,
    quiet: bool,
    options: AppOptions,
) -> None:
    """Drive the runs of the store: those that are ready, and those that what they waited for wakes.

    Any number of workers on one machine share the runs; when one dies, another takes its
    runs over within seconds. Ctrl-C gives the runs back and stops; Devin's sessions go on.
    Schedules of the config file start runs meanwhile: see sim-devin schedules.
    """
    with options.open() as app:
        start_due = _schedules(app)
        listener = None if quiet else _listener(as_json=as_json)
        served = nullcontext(listener) if address is None else _served(app, address, listener)
        with cancelled_by_signals("Giving the runs back…") as cancel, served as listening:
            driven = app.runs.work(
                once=once,
                concurrency=concurrency,
                cancel=cancel,
                on_event=app.telemetry.listener(listening),
                each_turn=start_due,
            )
        if once and not quiet:
            text = f"Drove {driven} time{'' if driven == 1 else 's'}."
            echo_json({"driven": driven}, compact=True) if as_json else click.echo(text)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter("Give a port, or HOST:PORT.")
    return host.strip("[]") or "127.0.0.1", int(port)


def _schedules(app: App) -> Callable[[], bool]:
    """Return what starts the runs that are due by the schedules of the config file."""
    if not app.settings.schedules:
        return lambda: False
    from sim_devin.service.scheduler import Scheduler
    from sim_devin.service.schedules import read_schedules

    return Scheduler(app, read_schedules(app.settings.schedules)).start_due


@contextmanager
def _served(app: App, address: tuple[str, int], other: Listener | None) -> Iterator[Listener]:
    """Serve the endpoint; yield a listener that counts for its metrics and tells `other`."""
    from sim_devin.service.http_server import listening, serving

    try:
        import uvicorn  # noqa: F401

        from sim_devin.service import server
        from sim_devin.service.hooks import read_hooks
        from sim_devin.service.metrics import CountedTransport, Metrics
    except ImportError:
        raise MissingDependency("worker --http", "metrics") from None
    hooks = read_hooks(app.settings.hooks, app.settings.env)
    app.runs  # noqa: B018 - made once, and before two threads ask for it
    metrics = Metrics(app)
    app.sender = replace(app.sender, transport=CountedTransport(app.transport, metrics))

    def listen(event: Event) -> None:
        metrics.hear(event)
        if other is not None:
            other(event)

    socket = listening(*address)
    host, port = socket.getsockname()[:2]
    with serving(server.application(app, hooks, metrics), socket):
        name = f"[{host}]" if ":" in host else host
        click.echo(f"Serving http://{name}:{port}", err=True)
        yield listen


def _listener(*, as_json: bool) -> Listener:
    def listen(event: Event) -> None:
        if as_json:
            echo_json(event.to_json(), compact=True)
            return
        from sim_devin.cli.commands.run_view import told

        if event.log is None:
            click.echo(f"{event.run_id}: {harmless(told(event))}", err=True)
        else:
            name = harmless(event.log.block_name)
            click.echo(f"{event.run_id}: {name}: {harmless(told(event))}", err=True)

    return listen
