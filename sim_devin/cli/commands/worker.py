"""``sim-devin worker``: drive the runs in the store until stopped."""

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
@click.option("--once", is_flag=True, help="Stop when no run can proceed at the moment.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Maximum number of runs driven at a time; waiting runs do not count.",
)
@click.option(
    "--http",
    "address",
    metavar="[HOST:]PORT",
    callback=lambda _ctx, _param, value: None if value is None else _address(value),
    help="Serve webhooks, /metrics and /healthz; on this machine only unless HOST is given.",
)
@json_option("Print events as JSON lines; errors are JSON on standard error too.")
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
    """Drive the runs in the store that are ready, and those whose wait is over.

    Any number of workers on one machine share the runs; if one dies, another takes over its runs
    within seconds. Ctrl-C releases the runs and stops; Devin's sessions continue. Workers also
    start runs from the schedules in the config file: see sim-devin schedules.
    """
    with options.open() as app:
        start_due = _schedules(app)
        listener = None if quiet else _listener(as_json=as_json)
        served = nullcontext(listener) if address is None else _served(app, address, listener)
        with cancelled_by_signals("Releasing the runs…") as cancel, served as listening:
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
    """Return what starts the runs that are due by the schedules in the config file."""
    if not app.settings.schedules:
        return lambda: False
    from sim_devin.service.scheduler import Scheduler
    from sim_devin.service.schedules import read_schedules
    from sim_devin.service.starts import warn_of

    schedules = read_schedules(app.settings.schedules)
    for schedule in schedules:
        warn_of(app, f"schedule {schedule.name}", schedule.workflow, schedule.inputs)
    return Scheduler(app, schedules).start_due


@contextmanager
def _served(app: App, address: tuple[str, int], other: Listener | None) -> Iterator[Listener]:
    """Serve the endpoint; yield a listener that counts for its metrics and forwards to `other`."""
    from sim_devin.service.http_server import listening, serving

    try:
        import uvicorn  # noqa: F401

        from sim_devin.service import server
        from sim_devin.service.hooks import read_hooks
        from sim_devin.service.metrics import CountedTransport, Metrics
        from sim_devin.service.starts import warn_of
    except ImportError:
        raise MissingDependency("worker --http", "metrics") from None
    hooks = read_hooks(app.settings.hooks, app.settings.env)
    for hook in hooks.values():
        warn_of(app, f"hook {hook.name}", hook.workflow, None)
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
