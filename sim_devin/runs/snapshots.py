"""Runs whose state is a snapshot: in a `RunStore` that was passed in, or of an earlier version.

Everything else is recorded step by step, and continues from its record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from sim_devin.engine import engine
from sim_devin.engine.document import load_workflow
from sim_devin.engine.program import Program
from sim_devin.engine.run import RunResult
from sim_devin.runs.secrets import finder, known_of, typed_secrets
from sim_devin.runs.services import AppServices, Attendance
from sim_devin.store.marked import from_marks
from sim_devin.store.sealing import Seal, from_json, names, to_json
from sim_devin.toolbox import Toolbox


class RunStore(Protocol):
    """Keeps the JSON record of each run of `App.run` under its id."""

    def save(self, run_id: str, record: Mapping[str, Any]) -> None:
        """Keep a run's record, replacing an older one."""
        ...

    def load(self, run_id: str) -> Mapping[str, Any]:
        """Return a run's record.

        Raises:
            UnknownName: there is no such run.
        """
        ...


def keep(store: RunStore, result: RunResult, seal: Seal) -> None:
    """Put a run into the store without its secrets, which the seal takes out."""
    closed = seal.close({"result": result.to_json(), "snapshot": result.snapshot})
    store.save(result.run_id, to_json(closed) | {"secrets": sorted(set(names(closed)))})


def seal_of_result(app: Toolbox, result: RunResult, bindings: Mapping[str, Any]) -> Seal:
    """Return what takes the secrets out of a run that is not recorded here.

    `bindings` holds secrets of its document that its snapshot leaves out.
    """
    env = app.environment() if result.bound is None else result.bound.env
    document, kind = load_workflow(result.snapshot["workflow"]), result.snapshot["trigger"]
    programs = {"": Program(document, AppServices(app), kind=kind)}
    return Seal({**app.secrets(env), **known_of(programs, env), **typed_secrets(bindings)})


def load(
    app: Toolbox,
    store: RunStore,
    run_id: str,
    env: Mapping[str, str] | None,
    bindings: Mapping[str, Any],
) -> Any:
    """Return the snapshot of a run that was put into the store.

    `bindings` are the secrets of its document, ``"block id.field"`` -> value.

    Raises:
        UnknownName: no run of that id is in it.
        MissingCredentials: a secret that stands in it is not known here.
    """
    record = store.load(run_id)
    # Without the names it was written with marks in texts, and every mark in it is ours.
    named = "secrets" in record
    closed = from_json(record["snapshot"]) if named else from_marks(record["snapshot"])
    allowed = set(record["secrets"] if named else names(closed))
    env = env or app.environment()
    known = finder(app, env, typed_secrets(bindings))
    return Seal(app.secrets(env), known, allowed.__contains__).open(closed)


def resume(
    app: Toolbox,
    paused: RunResult | Mapping[str, Any],
    answer: Any,
    attendance: Attendance,
    *,
    context_id: str | None,
    env: Mapping[str, str] | None,
    bindings: Mapping[str, Any],
) -> RunResult:
    """Answer a run that is not recorded here, and let it continue from its snapshot.

    Raises:
        CallerError: it is not paused, or has no such pause.
        InvalidWorkflow: the snapshot cannot be read.
    """
    policy = (attendance.gate or app.gate).policy
    bound = paused.bound if isinstance(paused, RunResult) else None
    return engine.resume(
        paused,
        answer,
        services=AppServices(app, attendance=attendance),
        context_id=context_id,
        env=app.environment() if env is None and not isinstance(paused, RunResult) else env,
        bindings={**(bound.bindings if bound else {}), **bindings},
        deadline=attendance.deadline,
        cancel=attendance.cancel,
        ceilings=policy.run_ceilings(),
        call_ceilings=policy.call_ceilings(),
        sessions=policy.sessions_per_run,
        on_event=attendance.on_event,
    )
