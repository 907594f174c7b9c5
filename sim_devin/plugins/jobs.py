"""What a kind of job makes of a plugin's tools: never twice, a cap, a tool and a block to wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from sim_devin.calls.jobs import exactly_once
from sim_devin.calls.jobs.wait_tool import wait_block, wait_tool
from sim_devin.errors import InvalidSpec
from sim_devin.specs.files import Specs
from sim_devin.specs.job_check import job_problems
from sim_devin.specs.jobs import JobSpec
from sim_devin.specs.models import ToolSpec


def with_jobs(specs: Specs, failed: Callable[[InvalidSpec], None]) -> Specs:
    """Return a plugin's specs with what its kinds of jobs make of them.

    The tool that creates a job, and the one that says something to it, settle an ambiguous end
    themselves, unless the plugin has given them a function for that. `failed` is told of a kind
    that does not fit the plugin's tools; it is left out.
    """
    for job in specs.jobs:
        tools = {tool.id: tool for tool in specs.tools}
        problems = [*job_problems(job, tools), *_claimed(job, tools.values())]
        if problems:
            specs = replace(specs, jobs=tuple(one for one in specs.jobs if one is not job))
            failed(InvalidSpec(f"job {job.id}", problems))
            continue
        roles = set(job.tools.values())
        linked = [_linked(tool, job) if tool.id in roles else tool for tool in specs.tools]
        specs = replace(specs, tools=tuple(linked))
        if job.wait is not None:
            look = tools[job.look.tool]
            connection = next((c for c in specs.connections if c.id == look.connection), None)
            specs = replace(
                specs,
                tools=(*specs.tools, wait_tool(job, job.wait, look)),
                blocks=(*specs.blocks, wait_block(job, job.wait, connection)),
            )
    return specs


def _claimed(job: JobSpec, tools: Iterable[ToolSpec]) -> list[str]:
    """Return which of the job's tools are those of another kind."""
    return [
        f"{role}.tool: {tool.id!r} has to do with {tool.job!r} already; a tool is of one kind"
        for role, named in job.tools.items()
        for tool in tools
        if tool.id == named and tool.job not in ("", job.id)
    ]


def _linked(tool: ToolSpec, job: JobSpec) -> ToolSpec:
    creates = tool.id == job.create.tool
    answers = job.answer is not None and tool.id == job.answer.tool
    settle = exactly_once.create if creates else exactly_once.send
    changes = {"job": job.id, "creates_job": creates, "cap": job.create.cap if creates else ""}
    if (creates or answers) and tool.reconcile is None:
        changes["reconcile"] = partial(settle, job)
    return tool.model_copy(update=changes)
