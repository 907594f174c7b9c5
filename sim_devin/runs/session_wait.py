"""The row that a run becomes while it waits for a job, such as a Devin session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.calls.jobs.wait import FIRST_PAUSE
from sim_devin.calls.jobs.wait_tool import DEFAULT_TIMEOUT, schema_param
from sim_devin.errors import InvalidParams
from sim_devin.runs.places import credentials_in, place_of
from sim_devin.specs import json_schema
from sim_devin.specs.jobs import JobSpec
from sim_devin.specs.schema import Checker
from sim_devin.store.records import Wait
from sim_devin.toolbox import Toolbox


def session_wait(
    app: Toolbox,
    job: JobSpec,
    run_id: str,
    step: str,
    params: Mapping[str, Any],
    on_question: str,
) -> Wait:
    """Return what a block waits for that calls the tool which waits for a kind of job.

    Args:
        app: knows the tool, the time, and where an organization's jobs are created.
        job: the kind of job.
        run_id: the run.
        step: the try of the block.
        params: the tool's parameters and its connection's fields.
        on_question: ``return`` or ``hold``, see `Runs.start`.

    Raises:
        InvalidParams: the parameters are wrong; all problems are listed.
    """
    spec = app.registry.tool(job.tools["wait"])
    fields = app.registry.connections[spec.connection or ""].fields
    credentials = credentials_in(app, spec.id, params)
    own = {name: value for name, value in params.items() if name not in fields}
    checker = Checker(spec.params)
    asked = checker.coerce(own)
    problems = checker.problems(asked, own)
    if problems:
        raise InvalidParams(spec.id, problems)
    schema = asked.get(schema_param(job))
    if schema is not None:
        schema = json_schema.require(schema, schema_param(job), "draft 7")
    now = app.clock.time()
    return Wait(
        run_id,
        step,
        "session",
        about={
            "sessionId": asked[job.look.id],
            "until": asked.get("until", "settled"),
            "schema": schema,
            "credentials": credentials or None,
            "onQuestion": on_question,
        },
        job=job.id,
        place=place_of(app, job, credentials),
        due=now + float(asked.get("timeoutSeconds", DEFAULT_TIMEOUT)),
        next_look=now + FIRST_PAUSE,
        pause=FIRST_PAUSE,
    )
