"""A durable run in readable form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from sim_devin.cli.commands.output import echo_json, harmless, json_text
from sim_devin.cli.commands.run_pauses import fields, shown
from sim_devin.store.records import ASKING

if TYPE_CHECKING:
    from sim_devin.plugins.registry import Registry

WAITS_FOR = {
    "session": "for a session",
    "question": "for your answer to Devin",
    "sending": "to send your answer",
    "human": "for a form to be filled in",
    "approval": "for your approval",
    "time": "until a set time",
    "service": "for the service, which cannot be read",
    "turn": "in the queue to create a session",
    "uncertain": "for you to say whether a request was carried out",
}


def tell(run: Mapping[str, Any], registry: Registry, *, as_json: bool, full: bool = False) -> None:
    """Print a run; with `full`, also the input and output of each block."""
    if as_json:
        echo_json(run)
    else:
        for line in lines(run, registry, full=full):
            click.echo(line)


def lines(run: Mapping[str, Any], registry: Registry, *, full: bool = False) -> Iterator[str]:
    """Yield the lines that describe a run."""
    yield f"Run {run['runId']} is {run['state']}."
    if run["error"]:
        yield f"  {harmless(run['error'])}"
    for log in run["blocks"]:
        took = f"{(log.get('durationMs') or 0) / 1000:.1f} s"
        state = "done" if log["success"] else f"failed: {log.get('error')}"
        job = registry.job_seen(log.get("output"))
        cost = None if job is None else job.cost_of(log["output"])
        used = "" if job is None or cost is None else f", {_amount(cost, job.unit)} so far"
        yield f"  {harmless(log['blockName'])}: {harmless(state)}, {took}{used}"
        for part in ("input", "output") if full else ():
            if log.get(part) not in (None, {}, ""):
                yield f"    {part}"
                yield from (f"      {line}" for line in harmless(json_text(log[part])).splitlines())
    yield from (f"  Warning: {harmless(text)}" for text in run.get("warnings", ()))
    yield from (f"  {harmless(text)}" for text in run.get("damaged", ()))
    yield _totals(run, registry)
    yield from waits(run)
    result = run.get("result") or {}
    if result.get("output") not in (None, {}, ""):
        yield "Output"
        yield from (f"  {line}" for line in harmless(json_text(result["output"])).splitlines())


def waits(run: Mapping[str, Any], *, kept: bool = True) -> Iterator[str]:
    """Yield the waits of a run; if it is `kept`, also how to answer its questions."""
    for wait in run["waits"]:
        yield f"  {harmless(wait.get('blockName', wait['blockId']))} is waiting {_waits_for(wait)}"
        for key in ("question", "message", "note", "hint", "resolve"):
            if wait.get(key):
                yield f"    {harmless(wait[key])}"
        yield from (f"  {line}" for line in shown(wait))
        names = [str(field.get("name")) for field in fields(wait)]
        if names:
            yield f"    Fields: {harmless(', '.join(names))}"
        if wait.get("reminders"):
            times = "once" if wait["reminders"] == 1 else f"{wait['reminders']} times"
            yield f"    Reminded {times}; next reminder at {moment(wait['remindAt'])}."
        if wait["kind"] in ASKING:
            how = "--approve, or --decline" if wait["kind"] == "approval" else "…"
            command = f"sim-devin runs answer {run['runId']} --context {wait['contextId']} {how}"
            yield f"    {command if kept else 'Answer it with --answer, or at a terminal.'}"


def _amount(cost: float, unit: str) -> str:
    return f"{cost:g} {unit}".rstrip()


def _totals(run: Mapping[str, Any], registry: Registry) -> str:
    """Return the total blocks, time and costs; a job counts once, as last seen."""
    jobs: dict[tuple[str, str], dict[str, float]] = {}  # noun and unit -> job -> its cost
    for log in run["blocks"]:
        job = registry.job_seen(log.get("output"))
        cost = None if job is None else job.cost_of(log["output"])
        if job is not None and cost is not None:
            of_kind = jobs.setdefault((job.noun, job.unit), {})
            of_kind[job.bare(job.id_of(log["output"]))] = cost
    failed = sum(not log["success"] for log in run["blocks"])
    blocks = len(run["blocks"])
    parts = [f"{blocks} block{'' if blocks == 1 else 's'}", f"{failed} failed"]
    if run.get("startedAt") and run.get("endedAt"):
        parts.append(f"{run['endedAt'] - run['startedAt']:.1f} s")
    first = registry.job() if registry.jobs else None
    if first is not None and not jobs:
        jobs[first.noun, first.unit] = {}
    for (noun, unit), costs in jobs.items():
        many = "" if len(costs) == 1 else "s"
        parts.append(f"{_amount(sum(costs.values()), unit)} in {len(costs)} {noun}{many}")
    return f"  Total: {', '.join(parts)}"


def _waits_for(wait: Mapping[str, Any]) -> str:
    session = f" {wait['session']}" if wait.get("session") else ""
    ahead = f", {wait['ahead']} ahead of it" if wait.get("ahead") else ""
    return f"{WAITS_FOR.get(wait['kind'], wait['kind'])}{session}{ahead}."


def moment(when: float) -> str:
    """Return a Unix time in words."""
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M:%S")


def leave(ctx: click.Context, run: Mapping[str, Any]) -> None:
    """Exit with the code for a run's state."""
    code = {"done": 0, "cancelled": 130}.get(run["state"], 1)
    ctx.exit(code)
