"""``sim-devin do``: hand one task to Devin and see it through."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from sim_devin.cli.commands import run_input
from sim_devin.cli.commands.arguments import json_object, read_text
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
from sim_devin.cli.commands.run_follow import follow
from sim_devin.cli.commands.run_report import report
from sim_devin.cli.commands.run_view import listening
from sim_devin.cli.commands.runs_report import tell
from sim_devin.errors import Cancelled

if TYPE_CHECKING:
    from sim_devin.app import App
    from sim_devin.engine.run import RunResult

# Exit codes for scripts that continue differently.
BLOCKED = 6
OUT_OF_MONEY = 7


@click.command(
    "do",
    cls=CommandWithExamples,
    examples=(
        'sim-devin do "Fix the flaky test in acme/web" --simulate',
        'sim-devin do "Fix the flaky test" --repo acme/web --max-acu 5',
        "sim-devin do @task.md --schema result.schema.json --json",
        'sim-devin do "Upgrade lodash in acme/web" --detach',
    ),
)
@click.argument("task", metavar="TASK", required=False)
@click.option("--resume", "resume_id", metavar="RUN", help="Resume an interrupted task instead.")
@click.option("--max-acu", type=click.IntRange(min=1), help="Maximum ACUs the session may use.")
@click.option(
    "--repo", "repos", multiple=True, metavar="OWNER/NAME", help="Repository. Repeatable."
)
@click.option("--playbook", metavar="ID", help="Playbook the session follows.")
@click.option("--tag", "tags", multiple=True, help="Tag of the session. Repeatable.")
@click.option("--title", help="Title of the session; by default, Devin chooses one.")
@click.option(
    "--schema", metavar="FILE|TEXT", help="JSON Schema of the result the session has to deliver."
)
@click.option(
    "--timeout", type=seconds, metavar="TIME", help="Stop waiting after this long: 90, 15m, 2h."
)
@click.option(
    "--answer",
    "answers",
    multiple=True,
    metavar="TEXT",
    help="Answer Devin's questions, in order. At a terminal you are prompted.",
)
@click.option(
    "--follow/--detach",
    default=True,
    help="Wait for the session here (the default), or leave it to a worker and print the run's id.",
)
@speed_option
@json_option("Print the result as JSON; errors are JSON on standard error too.")
@quiet_option
@app_options()
@click.pass_context
def command(
    ctx: click.Context,
    /,
    task: str | None,
    resume_id: str | None,
    answers: tuple[str, ...],
    speed: float,
    as_json: bool,
    quiet: bool,
    options: AppOptions,
    **given: Any,
) -> None:
    """Hand a task to Devin, wait for it, answer its questions, and show the pull request.

    TASK is the prompt, or @FILE, or - for standard input. It is recorded as a durable run before
    anything is sent, so nothing is created twice: if this process is killed, --resume with the
    run's id continues. Ctrl-C cancels the run; Devin's session continues.

    Exit code 0: the task is done. 1: it failed, timed out, or ended without a result. 6: Devin
    waits for a person. 7: there is no money left. 130: interrupted.
    """
    if (task is None) == (resume_id is None):
        raise click.UsageError("Give a task, or --resume RUN.", ctx)
    asked = {} if task is None else _asked(task, given)
    with options.open(speed=speed) as app:
        simulated = bool(ctx.meta.get(SIMULATED))
        if not given["follow"]:
            refuse_detached_simulation(ctx)
        if resume_id is not None:
            run_id = app.runs.resume(resume_id)
        else:
            run_id = _start(app, asked, timeout=given["timeout"], simulated=simulated)
        if not given["follow"]:
            echo_json({"runId": run_id}, compact=True) if as_json else click.echo(run_id)
            return
        if not (simulated or quiet):
            click.echo(f"To continue if interrupted: sim-devin do --resume {run_id}", err=True)
        run, result = follow(
            app,
            run_id,
            partial(listening, app.clock, events=False, quiet=quiet),
            iter(answers),
            ask=not (as_json or quiet),
        )
    if as_json:
        echo_json(_as_json(run))
    elif result is None:
        tell(run, app.registry, as_json=False)
    else:
        report(result, run, app.registry, kept=not simulated, task=True)
    ctx.exit(_exit_code(run, result))


def _asked(task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the task as parameters of the tool that creates a session."""
    schema = given["schema"]
    return {
        "prompt": read_text(task.removeprefix("@")) if task == "-" or task[:1] == "@" else task,
        "maxAcuLimit": given["max_acu"],
        "repos": list(given["repos"]),
        "playbookId": given["playbook"],
        "tags": list(given["tags"]),
        "title": given["title"],
        "structuredOutputSchema": None if schema is None else json_object(schema),
    }


def _start(app: App, asked: Mapping[str, Any], *, timeout: float | None, simulated: bool) -> str:
    from sim_devin.devin.task import TOOL, task_workflow
    from sim_devin.engine.document import load_workflow
    from sim_devin.runs.starting import RunRequest

    source, inputs = task_workflow(asked, timeout=timeout)
    document = load_workflow(source)
    env = run_input.environment(app, {}, simulated=simulated)
    run_input.require_values(app, document, {}, env, "manual")
    app.build_request(TOOL, inputs)  # refuses what the service would
    return app.runs.start(RunRequest(workflow=document, inputs=inputs, env=env, on_question="hold"))


def _output(run: Mapping[str, Any]) -> Mapping[str, Any]:
    output = (run["result"] or {}).get("output")
    return output if isinstance(output, Mapping) else {}


def _as_json(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the session and its outcome, the run, and what the run waits for."""
    about = {"runId": run["runId"], "state": run["state"], "error": run["error"]}
    return {**about, **_output(run), **({"waits": run["waits"]} if run["waits"] else {})}


def _exit_code(run: Mapping[str, Any], result: RunResult | None) -> int:
    if run["state"] == "asking":
        return BLOCKED
    if run["state"] == "cancelled" and (result is None or result.reason != "deadline"):
        return Cancelled.exit_code
    outcome = str(_output(run).get("outcome", ""))
    if run["state"] == "done" and outcome == "done":
        return 0
    if outcome == "out_of_money":
        return OUT_OF_MONEY
    return BLOCKED if outcome.startswith("blocked") else 1
