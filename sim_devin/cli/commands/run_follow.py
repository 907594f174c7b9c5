"""Drive a recorded run here until it ends or a question stays unanswered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sim_devin.cli.commands.interrupts import cancelled_by_signals
from sim_devin.cli.commands.run_pauses import answer_to
from sim_devin.errors import CallerError

if TYPE_CHECKING:
    from sim_devin.app import App
    from sim_devin.engine.events import Listener
    from sim_devin.engine.run import RunResult

NOTICE = "Cancelling the run… press Ctrl-C again to stop at once."

Listening = Callable[[], AbstractContextManager["Listener | None"]]


def follow(
    app: App, run_id: str, listening: Listening, answers: Iterator[Any], *, ask: bool
) -> tuple[dict[str, Any], RunResult | None]:
    """Drive a run and answer its questions; return it as `Runs.show` does, and its result.

    The result is None if another process drove the run to its end.
    """
    result: RunResult | None = None
    while True:
        with cancelled_by_signals(NOTICE) as cancel, listening() as listener:
            heard = app.telemetry.listener(listener)
            result = app.runs.follow(run_id, cancel=cancel, on_event=heard) or result
        run = app.runs.show(run_id)
        answered = answer_to(run["waits"], answers, ask=ask)
        if answered is None:
            _remind(app, run_id, listening)
            return run, _as_it_is(run, result)
        context_id, answer = answered
        app.runs.answer(run_id, answer, context_id=context_id)


def _remind(app: App, run_id: str, listening: Listening) -> None:
    """Send the first reminder for unanswered questions; workers send the others."""
    try:
        reminders = app.runs.reminders
    except CallerError as error:
        click.echo(f"warning: no reminder is sent from here: {error}", err=True)
        return
    with listening() as listener:
        reminders.remind(run_id, listener)


def as_json(run: Mapping[str, Any], result: RunResult | None) -> dict[str, Any]:
    """Return the state of a run: its result, and its waits if it has not ended."""
    known = run["result"] or {} if result is None else result.to_json()
    still = {} if run["endedAt"] is not None else {"state": run["state"], "waits": run["waits"]}
    return {"runId": run["runId"], "error": run["error"], **known, **still}


def _as_it_is(run: Mapping[str, Any], result: RunResult | None) -> RunResult | None:
    """Return the result of the last drive, if it still describes the run."""
    if result is None or result.status != "paused" or run["endedAt"] is None:
        return result
    if run["state"] == "cancelled":  # while it was suspended, so no process drove it
        return replace(result, success=False, status="cancelled", reason="cancel")
    return None
