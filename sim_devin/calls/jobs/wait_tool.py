"""Waiting for a job as a tool, and as a block over it: both made from the kind of job."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from sim_devin.calls.invoke import Context
from sim_devin.calls.jobs import wait
from sim_devin.calls.jobs.verdict import UNTIL
from sim_devin.specs.jobs import JobSpec, JobWait
from sim_devin.specs.models import BlockField, BlockSpec, Connection, ToolSpec, Traits

DEFAULT_TIMEOUT = 3600  # seconds
LONGEST_TIMEOUT = 30 * 24 * 3600  # seconds
SCHEMA = "resultSchema"  # the tool's parameter, where the create has none for a schema


def _run(job: JobSpec, params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Wait for one job and return it with its outcome."""
    timeout = float(params.get("timeoutSeconds", DEFAULT_TIMEOUT))
    if context.deadline is not None:
        timeout = min(timeout, context.deadline - context.clock.monotonic())
    (outcome,) = wait.wait(
        job,
        [params[job.look.id]],
        context.call,
        context.clock,
        until=UNTIL[params.get("until", "settled")],
        timeout=max(0.0, timeout),
        schema=params.get(schema_param(job)),
        cancel=context.cancel,
        on_progress=context.on_progress,
        minutes=context.minutes_per_session,
        sent=context.sent,
    )
    return outcome.to_output(job)


def schema_param(job: JobSpec) -> str:
    """Return the name of the parameter that takes a JSON Schema for the result."""
    return job.create.schema_ or SCHEMA


_OUTCOME: dict[str, Any] = {
    "outcome": {
        "type": "string",
        "description": "done, blocked_on_user, blocked_on_approval, asleep, out_of_money, failed "
        "or ended; in_flight if the wait timed out.",
    },
    "reason": {"type": "string", "description": "The outcome in words."},
    "scope": {
        "type": ["string", "null"],
        "description": "Whose money ran out: session, user, organization or unknown.",
    },
    "timedOut": {"type": "boolean", "description": "Whether the wait timed out."},
    "waitedSeconds": {"type": "number", "description": "Duration of the wait, in seconds."},
}


def wait_tool(job: JobSpec, wanted: JobWait, look: ToolSpec) -> ToolSpec:
    """Return the tool that waits for a job; `look` is the tool that looks at one."""
    schema = {
        "type": "object",
        "description": "JSON Schema that the structured output must match to count as the "
        f"{job.noun}'s result.",
        "x-advanced": True,
    }
    return ToolSpec(
        id=wanted.tool,
        title=f"Wait for {job.title}",
        description=f"Wait until a {job.title} is done or needs a person: an answer, an "
        f"approval, money. Returns the {job.noun} with its outcome. If the wait "
        "times out, call it again with the same id to keep waiting.",
        connection=look.connection,
        params={
            "type": "object",
            "properties": {
                job.look.id: {
                    "type": "string",
                    "description": f"Id of the {job.noun} to wait for, as returned by another "
                    "tool.",
                },
                "timeoutSeconds": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": LONGEST_TIMEOUT,
                    "description": "Maximum time to wait, in seconds; default: one hour.",
                },
                "until": {
                    "type": "string",
                    "enum": list(UNTIL),
                    "description": "settled: stop at any state that does not change by itself. "
                    "over: keep waiting while someone else answers or wakes the "
                    f"{job.noun}.",
                },
                **({schema_param(job): schema} if job.fields.result else {}),
            },
            "required": [job.look.id],
            "additionalProperties": False,
        },
        output={
            "type": "object",
            "properties": {**look.answer["properties"], **_OUTCOME},
            "required": [job.fields.id],
        },
        traits=Traits(readOnly=True, idempotent=True, ceilings=("timeoutSeconds",)),
        permission=look.permission,
        run=partial(_run, job),
        job=job.id,
    )


def wait_block(job: JobSpec, wanted: JobWait, connection: Connection | None) -> BlockSpec:
    """Return the block that waits for a job."""
    noun, who = job.noun.capitalize(), job.title if connection is None else connection.title
    return BlockSpec(
        type=wanted.block,
        title=wanted.title or f"Wait for {job.title}",
        description=f"Wait until a {job.title} is done or needs a person.",
        color="#12141a",
        operations={f"wait_for_{job.noun}".replace(" ", "_").lower(): wanted.tool},
        labels={f"wait_for_{job.noun}".replace(" ", "_").lower(): f"Wait for {noun}"},
        fields=(
            BlockField(
                id=job.look.id,
                title=f"{noun} ID",
                placeholder=f"{job.id_prefix}…" if job.id_prefix else "",
            ),
            BlockField(id="timeoutSeconds", title="Longest Wait (s)", placeholder="3600"),
            BlockField(
                id="until",
                title="Wait Until",
                widget="dropdown",
                options=(
                    {"id": "settled", "label": "Settled"},
                    {"id": "over", "label": "Over"},
                ),
            ),
            BlockField(
                id="onQuestion",
                param="",
                title=f"When {who} Asks",
                widget="dropdown",
                options=(
                    {"id": "return", "label": "End the wait"},
                    {"id": "hold", "label": "Ask a person, then keep waiting"},
                ),
                description="For recorded runs. Default: as set for the run with --on-question; "
                "on the canvas a person is asked.",
                advanced=True,
            ),
        ),
    )
