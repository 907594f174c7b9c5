"""``sim-devin run``: run one workflow here."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sim_devin.cli.commands import run_input
from sim_devin.cli.commands import runs as durable_runs
from sim_devin.cli.commands.arguments import (
    json_object,
    named_texts,
    named_values,
    text_or_object,
    warn_about_history,
)
from sim_devin.cli.commands.examples import CommandWithExamples
from sim_devin.cli.commands.failures import SIMULATED
from sim_devin.cli.commands.options import (
    AppOptions,
    app_options,
    json_option,
    quiet_option,
    refuse_detached_simulation,
    seconds,
    speed_option,
)
from sim_devin.cli.commands.output import echo_json
from sim_devin.cli.commands.run_follow import as_json as follow_json
from sim_devin.cli.commands.run_follow import follow
from sim_devin.cli.commands.run_report import report
from sim_devin.cli.commands.run_view import listening
from sim_devin.cli.commands.runs_report import tell
from sim_devin.errors import CallerError, Cancelled

if TYPE_CHECKING:
    from sim_devin.engine.run import RunResult
    from sim_devin.engine.workflow import Workflow
    from sim_devin.runs.starting import RunRequest

TRIGGERS = ("manual", "api", "chat", "external", "webhook", "schedule")


@click.command(
    "run",
    cls=CommandWithExamples,
    examples=(
        "sim-devin run fix-issue.json --simulate",
        "sim-devin run fix-issue.json --input repo=acme/web --input issue=123",
        "sim-devin run fix-issue.json --set 'Ask Devin.maxAcuLimit=5' --json",
        "sim-devin run fix-issue.json --detach",
    ),
)
@click.argument("workflow", metavar="WORKFLOW", required=False)
@click.option("--resume", "resume_id", metavar="RUN", help="Resume a durable run instead.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set an input of the start block.",
)
@click.option(
    "--input-json",
    metavar="-|FILE|TEXT",
    help="Read the inputs as a JSON object from standard input, a file or the argument itself.",
)
@click.option(
    "--env",
    "env_items",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set the value of {{NAME}}; environment variables are available already.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="BLOCK.FIELD=VALUE",
    help="Set the value of a field, such as one omitted from the export.",
)
@click.option(
    "--bindings",
    metavar="-|FILE|TEXT",
    help='Read such values from a JSON object: {"Block.field": value}.',
)
@click.option(
    "--child",
    "children",
    multiple=True,
    metavar="ID=FILE",
    help="Set the file that a Workflow block's workflow id refers to.",
)
@click.option(
    "--trigger",
    type=click.Choice(TRIGGERS),
    default="manual",
    show_default=True,
    help="How the run is triggered, which selects the start block.",
)
@click.option("--from-block", metavar="BLOCK", help="Run only this block and the blocks after it.")
@click.option(
    "--snapshot",
    metavar="FILE",
    help="Snapshot of the earlier run that --from-block continues, written by --save-snapshot.",
)
@click.option(
    "--save-snapshot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a snapshot of the run to a file when it ends.",
)
@click.option("--stop-after", metavar="BLOCK", help="Start no further blocks after this one.")
@click.option(
    "--deadline", type=seconds, metavar="TIME", help="Cancel the run after this long: 90, 15m, 2h."
)
@click.option(
    "--answer",
    "answers",
    multiple=True,
    metavar="-|FILE|TEXT",
    help="Answer the run's questions, in order: a JSON object for a form, text for Devin. At a "
    "terminal you are prompted.",
)
@click.option(
    "--max-acu",
    type=click.IntRange(min=1),
    help="Maximum total ACUs reserved for the sessions of the run.",
)
@click.option(
    "--max-sessions",
    type=click.IntRange(min=1),
    help="Maximum number of sessions the run may create.",
)
@click.option(
    "--on-question",
    type=click.Choice(["return", "hold"]),
    default="return",
    show_default=True,
    help="When Devin asks a question: return ends the Devin Wait block with that outcome; hold "
    "asks you here, or suspends the run until sim-devin runs answer.",
)
@click.option(
    "--answer-within",
    type=seconds,
    metavar="TIME",
    help="How long a question or form waits for an answer: 30m, 2h. After that the default "
    "answer is given; without one the block fails.",
)
@click.option(
    "--default-answer", metavar="TEXT|JSON", help="The answer given after --answer-within."
)
@click.option(
    "--remind-every",
    type=seconds,
    metavar="TIME",
    help="Interval of reminders for an open question or form: 30m, 2h; default: [reminders] in "
    "the workers' config file.",
)
@click.option("--detach", is_flag=True, help="Leave the run to a worker and print its id.")
@click.option(
    "--no-record",
    is_flag=True,
    help="Keep the run in memory: nothing is written, and it ends with this process.",
)
@click.option(
    "--allow-python",
    is_flag=True,
    help="Let Function blocks run Python, in a separate process.",
)
@speed_option
@click.option(
    "--events",
    is_flag=True,
    help="Print the run's events as JSON lines; the last one has the result.",
)
@json_option("Print the result as JSON; errors are JSON on standard error too.")
@quiet_option
@app_options()
@click.pass_context
def command(ctx: click.Context, /, options: AppOptions, **given: Any) -> None:
    """Run a workflow exported from Sim and show its progress and result.

    WORKFLOW is a file, or - for standard input. Values may be @FILE. Secrets missing from the
    export are taken from the environment (DEVIN_API_KEY, DEVIN_ORG_ID); any that are still
    missing are listed before anything runs.

    The run is recorded step by step, without its secrets, so a crash neither loses nor repeats
    anything: if this process is killed, sim-devin runs resume or a worker continues the run.
    Ctrl-C cancels the run; Devin's sessions continue.

    Exit code 0: the run succeeded. 1: it failed, timed out, or stopped at an unanswered question.
    130: it was cancelled.
    """
    asked = _Asked(**given)
    if asked.resume_id is not None:
        ctx.invoke(
            durable_runs.resume,
            run_id=asked.resume_id,
            settings=asked.settings,
            as_json=asked.as_json,
            **vars(options),
        )
    if asked.workflow is None:
        raise click.UsageError("Give a workflow file, or --resume RUN.", ctx)
    if asked.detach:
        _refuse_with_detach(
            ctx,
            env=asked.env_items,
            answer=asked.answers,
            save_snapshot=asked.save_snapshot,
            no_record=asked.no_record,
        )
    inputs, values = asked.inputs_given(), asked.values_given()
    _warn(*asked.env_items, *asked.settings)
    with options.open(speed=asked.speed, store="memory" if asked.no_record else None) as app:
        document = run_input.document(asked.workflow)
        simulated = bool(ctx.meta.get(SIMULATED))
        if asked.detach:
            refuse_detached_simulation(ctx)
        env = run_input.environment(app, named_texts(asked.env_items), simulated=simulated)
        run_input.require_values(app, document, values, env, asked.trigger)
        request = asked.request(document)
        run_id = app.runs.start(replace(request, inputs=inputs, env=env, bindings=values))
        if asked.workflow != "-":
            app.runs.store.put_file(run_id, asked.workflow, app.clock.time())
        if asked.detach:
            echo_json({"runId": run_id}, compact=True) if asked.as_json else click.echo(run_id)
            return
        run, result = follow(
            app,
            run_id,
            partial(listening, app.clock, events=asked.events, quiet=asked.quiet),
            iter([text_or_object(item) for item in asked.answers]),
            ask=not (asked.as_json or asked.events or asked.quiet),
        )
        if asked.save_snapshot is not None and result is not None:
            _save(asked.save_snapshot, result.snapshot)
        if asked.events:
            body = follow_json(run, result)
            echo_json({"event": "result", "result": body}, compact=True)
        elif asked.as_json:
            echo_json(follow_json(run, result))
        elif result is None:
            tell(run, app.registry, as_json=False)
        else:
            report(result, run, app.registry, kept=not (asked.no_record or simulated))
    ctx.exit(_exit_code(run, result))


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The arguments and options, as click parsed them."""

    workflow: str | None
    resume_id: str | None
    inputs: tuple[str, ...]
    input_json: str | None
    env_items: tuple[str, ...]
    settings: tuple[str, ...]
    bindings: str | None
    children: tuple[str, ...]
    trigger: str
    from_block: str | None
    snapshot: str | None
    save_snapshot: Path | None
    stop_after: str | None
    deadline: float | None
    answers: tuple[str, ...]
    max_acu: int | None
    max_sessions: int | None
    on_question: str
    answer_within: float | None
    default_answer: str | None
    remind_every: float | None
    detach: bool
    no_record: bool
    allow_python: bool
    speed: float
    events: bool
    as_json: bool
    quiet: bool

    def inputs_given(self) -> dict[str, Any]:
        """Return the inputs of the start block."""
        given = json_object(self.input_json) if self.input_json is not None else {}
        return {**given, **named_values(self.inputs)}

    def values_given(self) -> dict[str, Any]:
        """Return the values of fields."""
        given = json_object(self.bindings) if self.bindings is not None else {}
        return {**given, **named_values(self.settings)}

    def request(self, document: Workflow) -> RunRequest:
        """Return the run's options, without inputs, environment and field values."""
        from sim_devin.runs.starting import RunRequest

        default = self.default_answer
        return RunRequest(
            workflow=document,
            trigger=self.trigger,
            children={key: Path(file) for key, file in named_texts(self.children).items()} or None,
            from_block=run_input.block(document, self.from_block),
            snapshot=json_object(self.snapshot) if self.snapshot is not None else None,
            stop_after=run_input.block(document, self.stop_after),
            deadline=self.deadline,
            max_acu=self.max_acu,
            max_sessions=self.max_sessions,
            allow_python=self.allow_python,
            on_question=self.on_question,
            answer_within=self.answer_within,
            default_answer=None if default is None else text_or_object(default),
            remind_every=self.remind_every,
        )


def _refuse_with_detach(ctx: click.Context, **given: Any) -> None:
    """Reject options that a worker, another process, would not receive."""
    for name, value in given.items():
        if value:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(f"{option} cannot be used with --detach.", ctx)


def _warn(*items: str) -> None:
    from sim_devin.secret_names import is_secret_name

    pairs = (item.partition("=")[::2] for item in items)
    warn_about_history(
        name
        for name, value in pairs
        if is_secret_name(name) and value and not value.startswith(("@", "{{"))
    )


def _save(file: Path, snapshot: Mapping[str, Any]) -> None:
    text = json.dumps(snapshot, default=str)
    try:
        # A run's outputs may be confidential.
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise CallerError(f"{file} cannot be written: {error.strerror}.") from None


def _exit_code(run: Mapping[str, Any], result: RunResult | None) -> int:
    out_of_time = result is not None and result.reason == "deadline"
    if run["state"] == "cancelled" and not out_of_time:
        return Cancelled.exit_code
    return 0 if run["state"] == "done" else 1
