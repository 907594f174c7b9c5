"""A durable run as it begins: checked as a whole, its document kept without a secret."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sim_devin.calls.ceilings import checked
from sim_devin.engine import engine, start
from sim_devin.engine.bindings import bind
from sim_devin.engine.document import load_workflow
from sim_devin.engine.from_block import require_block
from sim_devin.engine.program import Program
from sim_devin.errors import CallerError
from sim_devin.policy.rules import Policy
from sim_devin.runs.secrets import known_of, sealed_document
from sim_devin.runs.services import AppServices
from sim_devin.store.records import Run
from sim_devin.store.sealing import Seal
from sim_devin.store.sql_store import SqlStore
from sim_devin.toolbox import Toolbox


def new_run(
    app: Toolbox,
    store: SqlStore,
    workflow: engine.Source,
    inputs: Any,
    *,
    env: Mapping[str, str],
    trigger: str,
    run_id: str | None,
    children: Mapping[str, Any] | None,
    from_block: str | None,
    snapshot: Mapping[str, Any] | None,
    stop_after: str | None,
    deadline: float | None,
    bindings: Mapping[str, Any] | None,
    max_acu: int | None,
    max_sessions: int | None,
    allow_python: bool,
    on_question: str,
    answer_within: float | None,
    default_answer: Any,
    remind_every: float | None,
    secret_names: Iterable[str],
) -> tuple[Run, dict[str, str]]:
    """Return a run to be recorded, and its secrets by name. See `Runs.start` for the arguments.

    Raises:
        InvalidWorkflow: the document cannot be run; every problem is listed.
        CredentialsError: a credential refers to a variable that is not set.
        StoreError: the documents cannot be kept.
    """
    if on_question not in ("return", "hold"):
        raise CallerError(f"on_question is {on_question!r}; it must be return or hold.")
    if remind_every is not None and not remind_every > 0:
        raise CallerError(f"remind_every is {remind_every!r}; it must be a number of seconds.")
    checked("max_acu", max_acu)
    Policy(sessions_per_run=max_sessions)  # raises if it is none
    services = AppServices(app, allows_python=allow_python)
    document = bind(load_workflow(workflow), bindings or {})
    program = Program(document, services, kind=trigger, everything=from_block is not None)
    if from_block is not None:
        require_block(program, from_block)
    program.require_fields(env)
    start.start_output(program.start, inputs, external=program.start.type not in start.START_TYPES)
    programs = {"": program} | {
        f"{key}/": Program(load_workflow(source), services, kind="child")
        for key, source in (children or {}).items()
    }
    every = {**app.environment(), **env}
    given = app.secrets(every, [f"env:{name}" for name in secret_names])
    given |= known_of(programs, env)
    seal = Seal(given)
    now = app.clock.time()
    run = Run(
        id=run_id or str(uuid.uuid4()),
        state="ready",
        name=document.name,
        document=store.put_document(sealed_document(program, seal), seal),
        children={
            prefix[:-1]: store.put_document(sealed_document(child, seal, prefix), seal)
            for prefix, child in programs.items()
            if prefix
        },
        inputs=inputs,
        options={
            "trigger": trigger,
            "fromBlock": from_block,
            "snapshot": snapshot,
            "stopAfter": stop_after,
            "maxAcu": max_acu,
            "maxSessions": max_sessions,
            "allowPython": allow_python,
            "onQuestion": on_question,
            "answerWithin": answer_within,
            "defaultAnswer": default_answer,
            "remindEvery": remind_every,
        },
        secrets=sorted(given),
        created=now,
        updated=now,
        deadline=None if deadline is None else now + deadline,
    )
    return run, given
