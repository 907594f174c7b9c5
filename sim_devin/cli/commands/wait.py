"""``sim-devin wait``: wait until sessions are done, or need a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sim_devin.cli.commands.interrupts import cancelled_by_signals
from sim_devin.cli.commands.options import (
    AppOptions,
    app_options,
    json_option,
    quiet_option,
    seconds,
)
from sim_devin.cli.commands.output import duration, echo_json, echo_table
from sim_devin.cli.commands.progress import wait_progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim_devin.calls.jobs.wait import Outcome
    from sim_devin.specs.jobs import JobSpec


@click.command("wait")
@click.argument("session_ids", nargs=-1, required=True, metavar="ID...")
@click.option(
    "--until",
    type=click.Choice(["settled", "over"]),
    default="settled",
    show_default=True,
    help="settled: stop at any state that does not change by itself, such as a question. over: "
    "stop only at the end, when someone else answers questions.",
)
@click.option(
    "--timeout", type=seconds, metavar="TIME", help="Stop waiting after this long: 90, 15m, 2h."
)
@json_option("Print one JSON object per outcome and line; errors are JSON on standard error too.")
@quiet_option
@app_options()
@click.pass_context
def command(
    ctx: click.Context,
    session_ids: tuple[str, ...],
    until: str,
    timeout: float | None,
    as_json: bool,
    quiet: bool,
    options: AppOptions,
) -> None:
    """Wait for Devin sessions and show how each ended.

    The sessions are polled together, at growing intervals. Stopping the wait (with Ctrl-C or the
    timeout) does not affect the sessions; wait again with the same ids.

    Exit code 0: all are done. 1: at least one failed, ended without a result, is asleep, is out of
    money, waits for a person, or was still in progress at the timeout.
    """
    unique = list(dict.fromkeys(session_ids))
    with options.open() as app:
        notice = "Stopped waiting; the sessions continue."
        with cancelled_by_signals(notice) as cancel, wait_progress(quiet=quiet) as progress:
            kind = app.registry.job()
            outcomes = app.wait(
                unique, until=until, deadline=timeout, cancel=cancel, on_progress=progress
            )
    if as_json:
        for outcome in outcomes:
            echo_json(outcome.to_json(), compact=True)
    else:
        echo_table(("SESSION", "OUTCOME", "WAITED", "ACUS", "SEE", "REASON"), _rows(kind, outcomes))
    ctx.exit(0 if all(outcome.state == "done" for outcome in outcomes) else 1)


def _rows(job: JobSpec, outcomes: Sequence[Outcome]) -> Iterator[tuple[object, ...]]:
    for outcome in outcomes:
        session = outcome.session
        links = [item[job.fields.artifact_url] for item in job.artifacts_of(session)]
        used = job.cost_of(session)
        yield (
            outcome.session_id,
            outcome.state.replace("_", " "),
            duration(outcome.waited),
            "" if used is None else f"{used:g}",
            " ".join(links) or str(job.field(session, "url") or ""),
            "timeout" if outcome.timed_out else outcome.reason,
        )
