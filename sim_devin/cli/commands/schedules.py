"""``sim-devin schedules``: the worker's schedules and their next start times."""

from __future__ import annotations

import os

import click

from sim_devin.cli.commands.options import AppOptions, app_options, json_option
from sim_devin.cli.commands.output import echo_json, echo_table

SHOWN = 3  # times


@click.command("schedules")
@json_option("Print one JSON object per schedule and line; errors are JSON on standard error too.")
@app_options(talks=False)
def command(as_json: bool, options: AppOptions) -> None:
    """List the schedules in the config file, each with its next three start times.

    A schedule is a table [schedules.NAME] with workflow, cron and timezone. Any worker that is
    running at such a time starts the workflow.
    """
    from sim_devin.service.schedules import read_schedules
    from sim_devin.settings import config_path

    with options.open(strict=False) as app:
        schedules = read_schedules(app.settings.schedules)
        now = app.clock.time()
    if not schedules:
        path = options.config or config_path(os.environ)
        click.echo(f"No schedules. Define them as tables [schedules.NAME] in {path}.", err=True)
        return
    if as_json:
        for schedule in schedules:
            body = {
                "name": schedule.name,
                "workflow": str(schedule.workflow),
                "cron": schedule.cron,
                "timezone": schedule.zone.key,
                "overlap": schedule.overlap,
                "catchUp": schedule.catch_up,
                "next": [moment.isoformat() for moment in schedule.following(now, SHOWN)],
            }
            echo_json(body, compact=True)
        return
    rows = (
        (
            schedule.name,
            schedule.cron,
            schedule.zone.key,
            ", ".join(f"{moment:%Y-%m-%d %H:%M}" for moment in schedule.following(now, SHOWN)),
            schedule.workflow,
        )
        for schedule in schedules
    )
    echo_table(("SCHEDULE", "CRON", "TIMEZONE", "NEXT", "WORKFLOW"), rows)
