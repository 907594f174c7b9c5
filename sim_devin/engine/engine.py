"""Running a workflow: `run`, `resume`, and what both prepare and conclude."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sim_devin.engine import events, pauses
from sim_devin.engine import snapshot as snapshots
from sim_devin.engine.bindings import bind
from sim_devin.engine.budget import Budget
from sim_devin.engine.code_check import require_extras
from sim_devin.engine.contract import BlockError
from sim_devin.engine.document import load_workflow
from sim_devin.engine.execution import Execution
from sim_devin.engine.from_block import require_block, start_at
from sim_devin.engine.origins import Origins
from sim_devin.engine.program import Program
from sim_devin.engine.run import RunResult
from sim_devin.engine.run_state import Control
from sim_devin.engine.secret_fields import (
    literal_secrets,
    literal_texts,
    named_secrets,
    named_texts,
    secret_names,
)
from sim_devin.engine.services import Services
from sim_devin.engine.start import START_TYPES, start_output
from sim_devin.engine.typed_inputs import form_of, with_types
from sim_devin.engine.variables import initial_values
from sim_devin.engine.workflow import Workflow
from sim_devin.errors import CallerError, UnknownName
from sim_devin.redaction import Redactor
from sim_devin.secret_names import is_secret_name
from sim_devin.specs.json_input import require_json

MAX_DEPTH = 25  # of child workflows, as in Sim

Source = Workflow | Mapping[str, Any] | str | Path
Children = Mapping[str, Any] | Callable[[str], Any]


@dataclass(frozen=True)
class Bound:
    """What a run was given that its snapshot leaves out, for resuming in the same process."""

    env: Mapping[str, str] = field(repr=False)
    bindings: Mapping[str, Any] = field(repr=False)
    children: Children | None = None
    budget: Budget | None = None
    depth: int = 0
    origins: Origins = field(default_factory=dict)  # of the inputs, for a child run


@dataclass(frozen=True, kw_only=True)
class Given(Control):
    """What a run of a document is given besides its inputs.

    Attributes:
        env: what ``{{NAME}}`` stands for; the process's environment unless given.
        bindings: values for fields that exports leave out, ``"Block name.field"`` -> value.
        children: workflow id -> document or path for Workflow blocks, or a function of the id;
            the registered ones unless given.
        trigger: ``manual``, ``api``, ``chat``, or ``external`` for webhooks and schedules.
        from_block: run only this block and what follows it, on the outputs of `snapshot`.
        snapshot: `RunResult.snapshot` of an earlier run.
        ceilings: tool parameter -> the most all calls of the run may have of it together.
        call_ceilings: the same for each of them alone.
        sessions: the most sessions that the calls of the run may start.
    """

    env: Mapping[str, str] | None = field(default=None, repr=False)
    bindings: Mapping[str, Any] | None = field(default=None, repr=False)
    children: Children | None = None
    trigger: str = "manual"
    from_block: str | None = None
    snapshot: Mapping[str, Any] | None = field(default=None, repr=False)
    ceilings: Mapping[str, float] | None = None
    call_ceilings: Mapping[str, float] | None = None
    sessions: int | None = None

    def budget(self, left: Mapping[str, float] | None = None) -> Budget:
        """Return the ceilings, of which a run that was suspended has this `left`."""
        return Budget(self.ceilings or {}, self.call_ceilings, sessions=self.sessions, left=left)


def run(workflow: Source, inputs: Any = None, *, services: Services, **given: Any) -> RunResult:
    """Run a workflow and return how it ended.

    A failing block is not an exception: the result says so. What is wrong with the document
    or the arguments is found before anything runs, and raised.

    Args:
        workflow: a Sim export as parsed JSON, the path of one, or a `Workflow`.
        inputs: what the start block is given.
        services: everything outside.
        given: the fields of a `Given`.

    Raises:
        InvalidWorkflow: the document cannot be run; lists every problem.
        MissingCredentials: a credential refers to a variable that is not set.
        UnknownName: no such block to start or stop at.
    """
    asked = Given(**given)
    document = bind(load_workflow(workflow), asked.bindings or {})
    everything = asked.from_block is not None
    program = Program(document, services, kind=asked.trigger, everything=everything)
    if asked.from_block is not None:
        require_block(program, asked.from_block)
    bound = Bound(
        env=os.environ if asked.env is None else asked.env,
        bindings={**_literal_secrets(program), **(asked.bindings or {})},
        children=asked.children,
        budget=asked.budget(),
    )
    begin = asked.from_block, asked.snapshot
    return _run_program(program, inputs, bound, asked, *begin)


def run_program(
    program: Program,
    inputs: Any = None,
    *,
    bound: Bound,
    from_block: str | None = None,
    earlier: Mapping[str, Any] | None = None,
    **control: Any,
) -> RunResult:
    """Run a compiled workflow. A program can be run many times.

    Args:
        program: the workflow.
        inputs: what the start block is given.
        bound: what else the run is given.
        from_block: run only this block and what follows it, on the outputs of `earlier`.
        earlier: `RunResult.snapshot` of an earlier run.
        control: the fields of a `Control`.

    Raises:
        InvalidWorkflow, MissingCredentials, UnknownName: as `run` does.
    """
    return _run_program(program, inputs, bound, Control(**control), from_block, earlier)


def _run_program(
    program: Program,
    inputs: Any,
    bound: Bound,
    control: Control,
    from_block: str | None,
    earlier: Mapping[str, Any] | None,
) -> RunResult:
    stop_after = control.stop_after
    if stop_after is not None and stop_after not in program.workflow.blocks:
        raise UnknownName("block", stop_after, program.workflow.blocks)
    external = program.start.type not in START_TYPES
    first = start_output(program.start, inputs, external=external)
    program.require_fields(bound.env)
    require_extras(program)
    execution = _execution(program, bound, control, start_output=first)
    if from_block is None:
        execution.begin(execution.root, program.graph.place[program.start.id][1])
    else:
        start_at(execution, from_block, earlier)
    return _conclude(execution, bound)


def resume(
    paused: RunResult | Mapping[str, Any],
    answer: Any = None,
    *,
    services: Services,
    context_id: str | None = None,
    **given: Any,
) -> RunResult:
    """Answer a pause of a run and let it continue.

    Args:
        paused: the result of the paused run, or its snapshot. What the run was given (env,
            bindings, children) need not be given again with a result of this process, and what
            is left of its ceilings is known.
        answer: the fields of the form, or anything; for a ``time`` pause nothing is needed.
        services: everything outside.
        context_id: which pause is answered; the first one unless given.
        given: the fields of a `Given`; the ceilings are for a run of another process.

    Raises:
        CallerError: the run is not paused, has no such pause, or the answer cannot be JSON.
        InvalidWorkflow: the snapshot cannot be read.
    """
    require_json(answer, "The answer")
    asked = Given(**given)
    known = paused.bound if isinstance(paused, RunResult) else None
    state = snapshots.check(paused.snapshot if isinstance(paused, RunResult) else paused)
    env, bindings, children = asked.env, asked.bindings, asked.children
    bound = Bound(
        env=env if env is not None else known.env if known else os.environ,
        bindings=bindings if bindings is not None else known.bindings if known else {},
        children=children if children is not None else known.children if known else None,
        budget=(known and known.budget) or asked.budget(state.get("left")),
    )
    if not state["pauses"]:
        raise CallerError("This run is not paused.", hint="Only a paused run can be resumed.")
    document = bind(load_workflow(state["workflow"]), bound.bindings)
    program = Program(document, services, kind=state["trigger"])
    program.require_fields(bound.env)
    execution = _execution(program, bound, replace(asked, run_id=state["runId"]))
    snapshots.restore(execution, state)
    _answer(execution, context_id, answer)
    return _conclude(execution, bound)


def _literal_secrets(program: Program) -> dict[str, str]:
    """Return as bindings what a snapshot leaves out, so that this process can resume the run."""
    secrets = snapshots.literal_secrets(program)
    return {f"{block_id}.{field}": value for (block_id, field), value in secrets.items()}


def _execution(
    program: Program, bound: Bound, control: Control, start_output: dict[str, Any] | None = None
) -> Execution:
    return Execution(
        program,
        env=bound.env,
        variables=initial_values(program.workflow.variables),
        redactor=_redactor(program, bound),
        budget=bound.budget,
        run_child=lambda parent, workflow_id, inputs, origins: _run_child(
            parent, bound, workflow_id, inputs, origins
        ),
        find_child=lambda workflow_id: _child_source(program.services, bound.children, workflow_id),
        origins=bound.origins,
        start_output=start_output,
        control=control,
    )


def _redactor(program: Program, bound: Bound) -> Redactor:
    """Return what masks the run's secrets: credentials by field, variables by use and by name."""
    names = secret_names(program)
    secrets = [value for name, value in bound.env.items() if is_secret_name(name) or name in names]
    for value in named_secrets(program).values():
        secrets += [text for _, text in named_texts(value)]
    for value in literal_secrets(program).values():
        secrets += [text for _, text in literal_texts(value)]
    return Redactor([*program.services.secrets, *secrets])


def _conclude(execution: Execution, bound: Bound) -> RunResult:
    """Drive a run to its end and say how it was."""
    execution.emit(events.RUN_STARTED, data={"workflow": execution.program.workflow.name})
    try:
        execution.drive()
    except KeyboardInterrupt:
        execution.emit(events.RUN_CANCELLED, data={"reason": "interrupt"})
        raise
    result = _result(execution, bound)
    kind = {
        "paused": events.RUN_PAUSED,
        "cancelled": events.RUN_CANCELLED,
        None: events.RUN_FINISHED if result.success else events.RUN_FAILED,
    }[result.status]
    data: dict[str, Any] = {"success": result.success}
    if result.error:
        data["error"] = result.error
    if result.pause_points:
        data["pausePoints"] = result.pause_points
    if result.reason:
        data["reason"] = result.reason
    execution.emit(kind, data=data)
    return result


def _result(execution: Execution, bound: Bound) -> RunResult:
    workflow = execution.program.workflow
    names = {item.id: item.name for item in workflow.variables.values()}
    result = RunResult(
        run_id=execution.run_id,
        success=True,
        output=execution.output,
        logs=execution.logs.entries,
        dropped_logs=execution.logs.dropped,
        block_outputs=execution.outputs,
        variables={names[key]: value for key, value in execution.variables.items()},
        warnings=list(execution.fields.warnings.values()),
        workflow_name=workflow.name,
        started=execution.started,
        ended=execution.clock.time(),
        take_snapshot=lambda: snapshots.take(execution),
        bound=bound,
    )
    if execution.locked:
        return result
    if execution.cancelled:
        for log in result.logs:
            log.ended = result.ended if log.ended is None else log.ended
        result.success, result.status = False, "cancelled"
        result.reason = execution.cancelled
    elif execution.failure is not None:
        result.success = False
        result.error, result.failed_block, hint = execution.failure
        result.hint = hint or None
    elif execution.paused:
        result.status = "paused"
        result.pause_points = [point for _, point in execution.paused.values()]
        result.output = pauses.paused_output(result.pause_points)
    return result


def _answer(execution: Execution, context_id: str | None, answer: Any) -> None:
    chosen = context_id or next(iter(execution.paused))
    if chosen not in execution.paused:
        raise UnknownName("pause", chosen, execution.paused)
    answer = with_types(form_of(execution.paused[chosen][1]), answer)
    execution.answer(chosen, answer)


def _run_child(
    parent: Execution,
    bound: Bound,
    workflow_id: str,
    inputs: Mapping[str, Any],
    origins: Origins,
) -> RunResult:
    if bound.depth >= MAX_DEPTH:
        raise BlockError(f"child workflows are nested deeper than {MAX_DEPTH}", retry=False)
    source = _child_source(parent.services, bound.children, workflow_id)
    if source is None:
        raise BlockError(
            f"unknown workflow {workflow_id!r}",
            hint="Pass it in children, or register it.",
            retry=False,
        )
    program = Program(load_workflow(source), parent.services, kind="child")
    child_bound = Bound(bound.env, {}, bound.children, bound.budget, bound.depth + 1, origins)
    return run_program(
        program,
        inputs,
        bound=child_bound,
        run_id=f"{parent.run_id}.{workflow_id}",
        deadline=parent.remaining(),
        cancel=parent.stop,
        on_event=parent.relay if parent.listener is not None else None,
    )


def _child_source(services: Services, children: Children | None, workflow_id: str) -> Any:
    if callable(children):
        return children(workflow_id)
    if children is not None and workflow_id in children:
        return children[workflow_id]
    return services.workflow(workflow_id)
