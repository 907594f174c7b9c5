"""``sim-devin runs start``: a durable run, recorded before anything happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sim_devin.commands import run_input
from sim_devin.commands.arguments import json_object, named_texts, named_values
from sim_devin.commands.examples import CommandWithExamples
from sim_devin.commands.failures import SIMULATED
from sim_devin.commands.interrupts import cancelled_by_signals
from sim_devin.commands.options import (
    SPEED,
    AppOptions,
    app_options,
    json_option,
    quiet_option,
    seconds,
)
from sim_devin.commands.output import echo_json
from sim_devin.commands.runs_report import leave, tell


@click.command(
    "start",
    cls=CommandWithExamples,
    examples=(
        "sim-devin runs start fix-issue.json --input issue=123",
        "sim-devin runs start fix-issue.json --detach",
        "sim-devin runs start fix-issue.json --simulate",
    ),
)
@click.argument("workflow", metavar="WORKFLOW")
@click.option("--input", "inputs", multiple=True, metavar="NAME=VALUE", help="Give an input.")
@click.option("--input-json", metavar="-|FILE|TEXT", help="Take the inputs as a JSON object.")
@click.option(
    "--set", "settings", multiple=True, metavar="BLOCK.FIELD=VALUE", help="Give a field a value."
)
@click.option(
    "--child",
    "children",
    multiple=True,
    metavar="ID=FILE",
    help="Say which file a Workflow block's workflow id stands for.",
)
@click.option("--trigger", default="manual", show_default=True, help="How the run starts.")
@click.option(
    "--deadline",
    type=seconds,
    metavar="TIME",
    help="Cancel the run after this time, waiting included: 90, 15m, 2h.",
)
@click.option("--max-acu", type=click.IntRange(min=1), help="Most ACUs of all sessions together.")
@click.option("--allow-python", is_flag=True, help="Let Function blocks run Python.")
@click.option(
    "--on-question",
    type=click.Choice(["return", "hold"]),
    default="return",
    show_default=True,
    help="When Devin asks something: return ends the Devin Wait block with that outcome; hold "
    "sets the run aside until sim-devin runs answer.",
)
@click.option(
    "--answer-within",
    type=seconds,
    metavar="TIME",
    help="How long a question or form waits for an answer: 30m, 2h. Then a worker gives the "
    "default answer; without one the block fails.",
)
@click.option("--default-answer", metavar="TEXT|JSON", help="The answer to give then.")
@click.option("--detach", is_flag=True, help="Leave the run to a worker and print its id.")
@json_option()
@quiet_option
@app_options()
@click.pass_context
def start(
    ctx: click.Context,
    workflow: str,
    inputs: tuple[str, ...],
    input_json: str | None,
    settings: tuple[str, ...],
    children: tuple[str, ...],
    trigger: str,
    deadline: float | None,
    max_acu: int | None,
    allow_python: bool,
    on_question: str,
    answer_within: float | None,
    default_answer: str | None,
    detach: bool,
    as_json: bool,
    quiet: bool,
    options: AppOptions,
) -> None:
    """Start a durable run: recorded step by step, so that a crash loses and repeats nothing.

    It is driven here until it is over or needs you; stop it hard and sim-devin runs resume, or
    a worker, goes on with it. Ctrl-C cancels the run.
    """
    given: dict[str, Any] = json_object(input_json) if input_json is not None else {}
    given |= named_values(inputs)
    with options.open(speed=SPEED) as app:
        document = run_input.document(workflow)
        env = run_input.environment(app, {}, simulated=bool(ctx.meta.get(SIMULATED)))
        values = named_values(settings)
        run_input.require_values(app, document, values, env, trigger)
        run_id = app.runs.start(
            document,
            given,
            env=env,
            trigger=trigger,
            children={key: Path(file) for key, file in named_texts(children).items()} or None,
            deadline=deadline,
            bindings=values,
            max_acu=max_acu,
            allow_python=allow_python,
            on_question=on_question,
            answer_within=answer_within,
            default_answer=_answer(default_answer),
        )
        if detach:
            echo_json({"runId": run_id}, compact=True) if as_json else click.echo(run_id)
            return
        from sim_devin.commands import run_view

        with cancelled_by_signals("Cancelling the run… it is recorded.") as cancel:
            if quiet:
                app.runs.follow(run_id, cancel=cancel, on_event=app.telemetry.listener(None))
            else:
                with run_view.progress(app.clock) as listener:
                    heard = app.telemetry.listener(listener)
                    app.runs.follow(run_id, cancel=cancel, on_event=heard)
        run = app.runs.show(run_id)
    tell(run, as_json=as_json)
    leave(ctx, run)


def _answer(text: str | None) -> Any:
    """Return an answer: the fields of a form as a JSON object, else the text itself."""
    if text is None or not text.lstrip().startswith("{"):
        return text
    return json_object(text)
