"""What is asked for when a run is started, and the run as it begins.

It is checked as a whole, and its document is kept without a secret.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sim_devin.calls.ceilings import checked
from sim_devin.engine import engine, graph, start, workflow_check
from sim_devin.engine.bindings import bind
from sim_devin.engine.document import load_workflow
from sim_devin.engine.from_block import require_block
from sim_devin.engine.program import Program
from sim_devin.engine.reference_check import reads_input
from sim_devin.engine.typed_inputs import read_inputs
from sim_devin.errors import CallerError, UnknownName
from sim_devin.policy.rules import Policy
from sim_devin.runs.secrets import known_of, sealed_document
from sim_devin.runs.services import AppServices
from sim_devin.store.records import Run, RunOptions
from sim_devin.store.sealing import Seal, names
from sim_devin.store.sql_store import SqlStore
from sim_devin.toolbox import Toolbox


@dataclass(frozen=True, kw_only=True)
class RunRequest(RunOptions):
    """Everything that is asked for when a run is started, by whatever surface.

    Attributes:
        workflow: a Sim export as parsed JSON, the path of one, or one that was read.
        inputs: what the start block is given.
        env: what ``{{NAME}}`` stands for; the app's environment unless given. Not stored.
        run_id: the run's id; made up unless given.
        children: workflow id -> document or path, for Workflow blocks.
        deadline: seconds from now after which the run is cancelled, waiting included.
        bindings: values of fields that exports leave out, ``"Block.field"`` -> value.
        secret_names: variables that are secret though neither their name nor the fields they
            stand in say so.
        undeclared: whether the inputs may hold what the start block does not declare, as what
            another service delivers does.
        as_sim: refuse only what Sim refuses before a run; what is wrong with a block, or with a
            child workflow, fails the block.
    """

    workflow: engine.Source
    inputs: Any = None
    env: Mapping[str, str] | None = None
    run_id: str | None = None
    children: Mapping[str, Any] | None = None
    deadline: float | None = None
    bindings: Mapping[str, Any] | None = None
    secret_names: Iterable[str] = ()
    undeclared: bool = False
    as_sim: bool = False

    @property
    def options(self) -> RunOptions:
        """What of it is stored as it is."""
        return RunOptions(**{item.name: getattr(self, item.name) for item in fields(RunOptions)})


@dataclass(frozen=True)
class NewRun:
    """A run that was checked and is not recorded yet.

    Attributes:
        run: the run, without its documents.
        secrets: its secrets by name.
        documents: prefix of the steps -> document, the workflow's own under "".
        seal: closes the secrets in them.
    """

    run: Run
    secrets: Mapping[str, str] = field(repr=False)
    documents: Mapping[str, Any] = field(repr=False)
    seal: Seal = field(repr=False)

    def put_documents(self, store: SqlStore) -> None:
        """Keep the documents, in the transaction that records the run.

        Raises:
            StoreError: they cannot be kept.
        """
        for prefix, document in self.documents.items():
            key = store.put_document(document, self.seal)
            if prefix:
                self.run.children[prefix[:-1]] = key
            else:
                self.run.document = key


def new_run(app: Toolbox, request: RunRequest, env: Mapping[str, str]) -> NewRun:
    """Return a run to be recorded.

    Raises:
        InvalidWorkflow: the document cannot be run; every problem is listed.
        CredentialsError: a credential refers to a variable that is not set.
    """
    if request.on_question not in ("return", "hold"):
        raise CallerError(f"on_question is {request.on_question!r}; it must be return or hold.")
    if request.remind_every is not None and not request.remind_every > 0:
        raise CallerError(
            f"remind_every is {request.remind_every!r}; it must be a number of seconds."
        )
    checked("max_acu", request.max_acu)
    Policy(sessions_per_run=request.max_sessions)  # raises if it is none
    services = AppServices(app, allows_python=request.allow_python)
    document = bind(load_workflow(request.workflow), request.bindings or {})
    everything = request.from_block is not None
    program = Program(document, services, kind=request.trigger, everything=everything)
    if request.from_block is not None:
        require_block(program, request.from_block)
    stop = request.stop_after
    if request.as_sim and stop is not None and stop not in document.blocks:
        raise UnknownName("block", stop, document.blocks)
    program.require_fields(env)
    children = list(request.children or ())
    if not request.as_sim:
        running = _running(program, request.from_block)
        workflow_check.require(program, env, running, children=children)
    external = program.start.type not in start.START_TYPES
    inputs = request.inputs
    start.start_output(program.start, inputs, external=external)
    if request.from_block is None and not request.as_sim:
        inputs = read_inputs(
            start.input_fields(program.start),
            inputs,
            place=program.start.name,
            is_read=reads_input(program, everything=external or request.undeclared),
        )
    programs = {"": program}
    for key, source in (request.children or {}).items():
        try:
            child = Program(load_workflow(source), services, kind="child")
        except CallerError:
            if not request.as_sim:
                raise
            continue
        programs[f"{key}/"] = child
        if not request.as_sim:
            workflow_check.require(child, env, children=children, named=f"workflow {key!r}, ")
    every = {**app.environment(), **env}
    given = app.secrets(every, [f"env:{name}" for name in request.secret_names])
    given |= known_of(programs, env)
    seal = Seal(given)
    if request.run_id is not None and any(names(seal.close(request.run_id))):
        raise CallerError("The run's id holds a secret, and would be kept and shown.")
    now = app.clock.time()
    run = Run(
        id=request.run_id or str(uuid.uuid4()),
        state="ready",
        name=document.name,
        document="",
        inputs=inputs,
        options=request.options.to_json(),
        secrets=sorted(given),
        created=now,
        updated=now,
        deadline=None if request.deadline is None else now + request.deadline,
    )
    documents = {prefix: sealed_document(one, seal, prefix) for prefix, one in programs.items()}
    return NewRun(run, given, documents, seal)


def _running(program: Program, from_block: str | None) -> set[str] | None:
    """Return the blocks that a run from one of them consists of; None for all."""
    if from_block is None or from_block not in program.graph.place:
        return None
    body = program.graph.place[from_block][0]
    found = {body.nodes[index].id for index in graph.downstream(program.graph, from_block)}
    workflow = program.workflow
    return found | {key for key in workflow.blocks if found.intersection(workflow.chain(key))}
