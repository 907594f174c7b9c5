"""The result of a run in readable form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from sim_devin.cli.commands.output import duration, harmless, json_text
from sim_devin.cli.commands.runs_report import waits
from sim_devin.devin.verdict import acus, pull_requests

if TYPE_CHECKING:
    from sim_devin.engine.run import RunResult

RESPONSE = {"data", "status", "headers"}  # the output of a Response block
LONGEST = 4000  # longest output shown, in characters; --json shows all of it


def report(result: RunResult, run: Mapping[str, Any], *, kept: bool, task: bool = False) -> None:
    """Print how a run ended: its sessions, its output, and what to do next.

    `run` is the same run as returned by `Runs.show`; `kept` says whether it outlives this process.
    Of a `task` for Devin the session says it all.
    """
    for line in _lines(result, run, kept=kept, task=task):
        click.echo(line)


def sessions(result: RunResult) -> dict[str, dict[str, Any]]:
    """Return the latest output about each Devin session from the blocks of a run."""
    found: dict[str, dict[str, Any]] = {}
    for log in result.logs:
        output = log.output
        if not isinstance(output, Mapping) or not isinstance(output.get("sessionId"), str):
            continue
        session_id = output["sessionId"].removeprefix("devin-")
        known = found.setdefault(session_id, {})
        known |= {key: value for key, value in output.items() if value not in (None, "", [], {})}
    return found


def _lines(result: RunResult, run: Mapping[str, Any], *, kept: bool, task: bool) -> Iterator[str]:
    yield _task_headline(result) if task else _headline(result)
    found = sessions(result)
    for session in found.values():
        yield ""
        yield from _session(session)
    if found and result.status == "cancelled":
        yield ""
        yield f"Devin may still be working: sim-devin wait {' '.join(map(harmless, found))}"
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


def _session(session: Mapping[str, Any]) -> Iterator[str]:
    status = " · ".join(str(session[key]) for key in ("status", "statusDetail") if session.get(key))
    used = acus(session)
    facts = {
        "Session": session["sessionId"],
        "Title": session.get("title"),
        "Link": session.get("url"),
        "Outcome": _outcome(session),
        "Status": status,
        "ACUs": None if used is None else f"{used:g}",
    }
    for name, value in facts.items():
        if value:
            yield f"{name:<14}{harmless(value)}"
    for item in pull_requests(session):
        state = f" ({item['pr_state']})" if item.get("pr_state") else ""
        yield f"{'Pull request':<14}{harmless(item['pr_url'])}{harmless(state)}"
    if "structuredOutput" in session:
        yield "Structured output"
        yield from _indented(_shown(session["structuredOutput"]))


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
