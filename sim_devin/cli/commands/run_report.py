"""The result of a run in readable form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from sim_devin.cli.commands.output import duration, harmless, json_text
from sim_devin.cli.commands.runs_report import waits

if TYPE_CHECKING:
    from sim_devin.engine.run import RunResult
    from sim_devin.plugins.registry import Registry
    from sim_devin.specs.jobs import JobSpec

RESPONSE = {"data", "status", "headers"}  # the output of a Response block
LONGEST = 4000  # longest output shown, in characters; --json shows all of it


def report(
    result: RunResult,
    run: Mapping[str, Any],
    registry: Registry,
    *,
    kept: bool,
    task: bool = False,
) -> None:
    """Print how a run ended: its jobs, its output, and what to do next.

    `run` is the same run as returned by `Runs.show`; `kept` says whether it outlives this process.
    Of a `task` for Devin the session says it all.
    """
    for line in _lines(result, run, registry, kept=kept, task=task):
        click.echo(line)


def jobs(result: RunResult, registry: Registry) -> list[tuple[JobSpec, dict[str, Any]]]:
    """Return what the blocks of a run said of each job, the latest word winning."""
    found: dict[tuple[str, str], tuple[JobSpec, dict[str, Any]]] = {}
    for log in result.logs:
        output = log.output
        job = registry.job_seen(output)
        if job is None:
            continue
        _, known = found.setdefault((job.id, job.bare(job.id_of(output))), (job, {}))
        known |= {key: value for key, value in output.items() if value not in (None, "", [], {})}
    return list(found.values())


def _lines(
    result: RunResult, run: Mapping[str, Any], registry: Registry, *, kept: bool, task: bool
) -> Iterator[str]:
    yield _task_headline(result) if task else _headline(result)
    found = jobs(result, registry)
    for job, seen in found:
        yield ""
        yield from _job(job, seen)
    if found and result.status == "cancelled":
        first = registry.job()
        mine = [harmless(job.bare(job.id_of(seen))) for job, seen in found if job is first]
        others = [harmless(str(job.id_of(seen))) for job, seen in found if job is not first]
        yield ""
        if mine:
            yield f"Devin may still be working: sim-devin wait {' '.join(mine)}"
        if others:
            yield f"May still be working: {', '.join(others)}"
    if result.error:
        yield ""
        yield f"Error: {harmless(result.error)}"
        if result.hint:
            yield f"  {harmless(result.hint)}"
    if run["waits"]:
        yield ""
        yield from waits(run, kept=kept)
    if not task and result.status is None and result.output not in (None, {}, ""):
        yield ""
        yield from _output(result.output)


def _output(output: Any) -> Iterator[str]:
    if isinstance(output, Mapping) and set(output) == RESPONSE:
        yield f"Response (status {output['status']})"
        yield from _indented(_shown(output["data"]))
    else:
        yield "Output"
        if isinstance(output, Mapping):
            output = {key: value for key, value in output.items() if not key.startswith("_")}
        yield from _indented(_shown(output))


def _headline(result: RunResult) -> str:
    if result.status == "cancelled":
        state = "timed out" if result.reason == "deadline" else "was cancelled"
    elif result.status == "paused":
        state = "is paused"
    else:
        state = "succeeded" if result.success else "failed"
    took = duration(max(0.0, result.ended - result.started))
    blocks = len(result.logs) + result.dropped_logs
    return f"The run {state} after {took}, {blocks} block{'' if blocks == 1 else 's'}."


def _task_headline(result: RunResult) -> str:
    took = duration(max(0.0, result.ended - result.started))
    if result.status is not None or not result.success:
        return _headline(result).replace("The run", "The task", 1)
    outcome = result.output.get("outcome") if isinstance(result.output, Mapping) else None
    return f"The task is {'done' if outcome == 'done' else 'not done'} after {took}."


def _job(job: JobSpec, seen: Mapping[str, Any]) -> Iterator[str]:
    states = (job.field(seen, "state"), job.field(seen, "detail"))
    cost, result = job.cost_of(seen), job.field(seen, "result")
    facts = {
        job.noun.capitalize(): job.id_of(seen),
        "Title": job.field(seen, "title"),
        "Link": job.field(seen, "url"),
        "Outcome": _outcome(seen),
        "Status": " · ".join(str(state) for state in states if state),
        job.unit or "Cost": None if cost is None else f"{cost:g}",
    }
    for name, value in facts.items():
        if value:
            yield f"{name:<14}{harmless(value)}"
    for item in job.artifacts_of(seen):
        state = str(item.get(job.fields.artifact_state) or "")
        url = harmless(item[job.fields.artifact_url])
        yield f"{job.artifact:<14}{url}{harmless(state and f' ({state})')}"
    if result is not None:
        yield "Structured output"
        yield from _indented(_shown(result))


def _outcome(session: Mapping[str, Any]) -> str | None:
    if "outcome" not in session:
        return None
    outcome = str(session["outcome"]).replace("_", " ")
    return f"{outcome} ({session['reason']})" if session.get("reason") else outcome


def _shown(value: Any) -> str:
    text = json_text(value) if not isinstance(value, str) else value
    if len(text) > LONGEST:
        return f"{text[:LONGEST]}\n… ({len(text)} characters; --json shows all)"
    return text


def _indented(text: str) -> Iterator[str]:
    for line in harmless(text).splitlines():
        yield f"  {line}"
