"""``sim-devin runs``: list, show, answer, resume and cancel durable runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

import click

from sim_devin.cli.commands.arguments import named_values
from sim_devin.cli.commands.interrupts import cancelled_by_signals
from sim_devin.cli.commands.options import AppOptions, app_options, json_option, seconds
from sim_devin.cli.commands.output import echo_json, echo_table, harmless
from sim_devin.cli.commands.run_view import reminder
from sim_devin.cli.commands.runs_report import leave, moment, tell
from sim_devin.engine.events import RUN_REMINDER
from sim_devin.specs.json_input import read_json
from sim_devin.store.records import RunState

if TYPE_CHECKING:
    from sim_devin.store.records import EventRecord


@click.group("runs")
def command() -> None:
    """List, show, answer, resume or cancel recorded runs."""


@command.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(get_args(RunState)),
    help="Only runs in this state. Repeatable.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Maximum number of runs to list.",
)
@click.option("--before", metavar="RUN", help="Only runs older than this one: the next page.")
@json_option("Print one JSON object per run and line; errors are JSON on standard error too.")
@app_options()
def list_runs(
    states: tuple[str, ...], limit: int, before: str | None, as_json: bool, options: AppOptions
) -> None:
    """List the runs, newest first."""
    with options.open() as app:
        found = app.runs.list(states, limit=limit, before=before)
    if as_json:
        for run in found:
            echo_json(run, compact=True)
        return
    rows = (
        (run["runId"], _state(run), moment(run["createdAt"]), run["workflow"], run["error"] or "")
        for run in found
    )
    echo_table(("RUN", "STATE", "STARTED", "WORKFLOW", "ERROR"), rows)


def _state(run: Mapping[str, Any]) -> str:
    return f"{run['state']} ({', '.join(run['waitsFor'])})" if run["waitsFor"] else run["state"]


@command.command("show")
@click.argument("run_id", metavar="RUN")
@click.option("--full", is_flag=True, help="Also show each block's input and output.")
@json_option()
@app_options()
def show(run_id: str, full: bool, as_json: bool, options: AppOptions) -> None:
    """Show a run: its blocks, ACUs and totals, its waits and its output.

    RUN is an id or the beginning of one.
    """
    with options.open() as app:
        run = app.runs.show(run_id)
    tell(run, app.registry, as_json=as_json, full=full)


@command.command("resume")
@click.argument("run_id", metavar="RUN")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="BLOCK.FIELD=VALUE",
    help="Supply a secret from the workflow again; values may be @FILE.",
)
@json_option()
@app_options()
def resume(run_id: str, settings: tuple[str, ...], as_json: bool, options: AppOptions) -> None:
    """Resume a failed, held or uncertain run and drive it here.

    Failed blocks run again. An uncertain request is looked up once more, never repeated. Ctrl-C
    cancels the run; Devin's sessions continue.
    """
    bindings = {key: str(value) for key, value in named_values(settings).items()}
    with options.open() as app:
        found = app.runs.resume(run_id, bindings=bindings)
        with cancelled_by_signals("Cancelling the run…") as cancel:
            app.runs.follow(found, cancel=cancel, on_event=app.telemetry.listener(None))
        run = app.runs.show(found)
    tell(run, app.registry, as_json=as_json)
    leave(click.get_current_context(), run)


@command.command("fork")
@click.argument("run_id", metavar="RUN")
@click.option(
    "--from-block",
    required=True,
    metavar="BLOCK",
    help="Start from this block; copy the record of the blocks before it.",
)
@json_option()
@app_options()
def fork(run_id: str, from_block: str, as_json: bool, options: AppOptions) -> None:
    """Start a new run from a block of another run; a worker or resume drives it.

    The other run is unchanged. Blocks that run again create new sessions.
    """
    with options.open() as app:
        made, store = app.runs.fork(run_id, from_block), app.runs.store
        for file in store.files([store.run(run_id).id]).values():
            store.put_file(made, file, app.clock.time())
    if as_json:
        echo_json({"runId": made}, compact=True)
    else:
        click.echo(made)


@command.command("cancel")
@click.argument("run_id", metavar="RUN")
@json_option()
@app_options()
def cancel(run_id: str, as_json: bool, options: AppOptions) -> None:
    """Cancel a run. Devin's sessions continue."""
    with options.open() as app:
        state = app.runs.cancel(run_id)
    if as_json:
        echo_json({"state": state}, compact=True)
    else:
        click.echo("Cancelled." if state == "cancelled" else "It will stop shortly.")


@command.command("answer")
@click.argument("run_id", metavar="RUN")
@click.argument("answer", metavar="[TEXT|NAME=VALUE]...", nargs=-1)
@click.option("--json-answer", metavar="JSON", help="The answer as JSON.")
@click.option("--approve", is_flag=True, help="Approve the call.")
@click.option("--decline", is_flag=True, help="Decline the call; its block fails.")
@click.option("--because", metavar="TEXT", help="The reason, with --approve or --decline.")
@click.option("--context", metavar="ID", help="The question to answer, if there are several.")
@json_option()
@app_options()
def answer(
    run_id: str,
    answer: tuple[str, ...],
    json_answer: str | None,
    context: str | None,
    as_json: bool,
    options: AppOptions,
    **verdict: Any,
) -> None:
    """Answer a run's question: text for Devin, or the fields of a form as NAME=VALUE.

    Use --approve or --decline for a call that requires approval. For an uncertain request give
    sessionId=…, repeat=true, or fail=true. A worker, or ``sim-devin runs resume``, then continues
    the run.
    """
    approve, decline = verdict["approve"], verdict["decline"]
    because = verdict["because"]
    if approve + decline + bool(answer or json_answer is not None) > 1:
        raise click.UsageError("Give exactly one answer.")
    if because is not None and not (approve or decline):
        raise click.UsageError("--because requires --approve or --decline.")
    with options.open() as app:
        if approve or decline:
            given: Any = {"approved": approve, "reason": because or ""}
        else:
            waits = app.runs.show(run_id)["waits"]
            asks_devin = any(wait["kind"] == "question" for wait in waits)
            given = _answer(answer, json_answer, text=asks_devin)
        found = app.runs.answer(run_id, given, context_id=context)
        run = app.runs.show(found)
    if as_json:
        echo_json(run)
    else:
        click.echo(f"Answered. The run is {run['state']}.")


@command.command("watch")
@click.argument("run_id", metavar="RUN")
@json_option("Print the events as JSON lines.")
@app_options()
def watch(run_id: str, as_json: bool, options: AppOptions) -> None:
    """Show the events of a run until it ends; a worker drives it."""
    with options.open() as app, cancelled_by_signals("Stopped watching.") as cancel:
        after = 0
        while True:
            run = app.runs.show(run_id)
            events = app.runs.events(run_id, after=after)  # some of them, if there are many
            for event in events:
                after = event.id
                _echo_event(event, as_json=as_json)
            if cancel.is_set() or not (events or run["endedAt"] is None):
                break
            if not events:
                app.clock.wait(cancel, 1.0)
    leave(click.get_current_context(), run)


@command.command("prune")
@click.option(
    "--older-than", type=seconds, required=True, metavar="TIME", help="For example 30d or 12h."
)
@json_option()
@app_options()
def prune(older_than: float, as_json: bool, options: AppOptions) -> None:
    """Delete runs that ended longer ago than this.

    Deletes in small steps, so other processes can write in between. Ctrl-C stops after a step.
    """
    told = 0

    def progress(count: int) -> None:
        nonlocal told
        if count >= told + 1000 and not as_json:
            told = count
            click.echo(f"{count} runs deleted so far…", err=True)

    with options.open() as app, cancelled_by_signals("Stopping…") as cancel:
        before = app.clock.time() - older_than
        count = app.runs.prune(before, cancel=cancel, on_progress=progress)
    if as_json:
        echo_json({"forgotten": count}, compact=True)
    else:
        click.echo(f"Deleted {count} run{'' if count == 1 else 's'}.")
    if cancel.is_set():
        click.get_current_context().exit(130)


def _answer(words: tuple[str, ...], json_answer: str | None, *, text: bool) -> Any:
    if json_answer is not None:
        return read_json(json_answer, "--json-answer")
    if text or not all("=" in word for word in words):
        return " ".join(words)
    values = {
        name: {"true": True, "false": False}.get(str(value), value)
        for name, value in named_values(words).items()
    }
    return values or None


def _echo_event(event: EventRecord, *, as_json: bool) -> None:
    if as_json:
        echo_json(event.to_json(), compact=True)
        return
    if event.kind == RUN_REMINDER:
        click.echo(harmless(f"{moment(event.at)}  {reminder(event.data)}"))
        return
    name = event.data.get("blockName") or event.data.get("blockId") or "run"
    more = event.data.get("error") or event.data.get("reason") or ""
    what = event.kind.partition(".")[2]
    click.echo(harmless(f"{moment(event.at)}  {name}: {what} {more}".rstrip()))
