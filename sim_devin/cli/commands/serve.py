"""``sim-devin serve``: the canvas, a page for drawing and running workflows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sim_devin.cli.commands.examples import CommandWithExamples
from sim_devin.cli.commands.failures import SIMULATED
from sim_devin.cli.commands.options import AppOptions, app_options, speed_option
from sim_devin.errors import CallerError, Cancelled, MissingDependency

if TYPE_CHECKING:
    from sim_devin.web.api import Api


@click.command(
    "serve",
    cls=CommandWithExamples,
    examples=("sim-devin serve --simulate", "sim-devin serve workflows --port 8765 --no-open"),
)
@click.argument(
    "folder", required=False, default=".", type=click.Path(file_okay=False, path_type=Path)
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="Port to listen on; 0 selects a free one.",
)
@click.option("--no-open", is_flag=True, help="Do not open the page in the browser.")
@speed_option
@click.option(
    "--allow-python",
    is_flag=True,
    help="Let Function blocks run Python, in a separate process.",
)
@app_options()
@click.pass_context
def command(
    ctx: click.Context,
    folder: Path,
    port: int,
    no_open: bool,
    speed: float,
    allow_python: bool,
    options: AppOptions,
) -> None:
    """Serve the canvas: draw, run and watch workflows in the browser.

    FOLDER contains the workflows, one JSON file each in Sim's export format; default: the current
    folder. The page can be opened on this machine only, and only with the printed address. Runs
    are durable, as with `sim-devin runs`: Ctrl-C stops the server, and its unfinished runs
    continue with the next server or worker.
    """
    if not folder.is_dir():
        raise CallerError(f"No such folder: {folder}.", hint="Create it, or give another.")
    try:
        from sim_devin.web.api import Api, ApiContext
    except ImportError:
        raise MissingDependency("The canvas", "canvas") from None
    with options.open(speed=speed) as app:
        from sim_devin.settings import config_path
        from sim_devin.web.documents import Folder
        from sim_devin.web.secret_store import SecretStore
        from sim_devin.web.templates import templates_folder

        simulated = bool(ctx.meta.get(SIMULATED))
        app.runs.reminders  # noqa: B018 - what cannot be used is an error before anything is served
        secrets = config_path(app.settings.env).parent / "secrets.json"
        api = Api(
            app,
            Folder(folder),
            SecretStore(secrets),
            ApiContext(simulated, speed if simulated else 1.0, templates_folder()),
            allow_python=allow_python,
        )
        _serve(ctx, api, port, no_open=no_open)


def _serve(ctx: click.Context, api: Api, port: int, *, no_open: bool) -> None:
    from sim_devin.web import server
    from sim_devin.web.page import NOT_BUILT, is_built

    def announce(url: str) -> None:
        click.echo(f"The canvas is at {url}")
        if not is_built():
            click.echo(NOT_BUILT, err=True)
        click.echo("Ctrl-C stops it.")
        if not no_open:
            click.launch(url)

    try:
        server.serve(api, port, announce)
    except KeyboardInterrupt:
        ctx.exit(Cancelled.exit_code)
