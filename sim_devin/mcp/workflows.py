"""Workflows as MCP tools: durable runs that outlive one call, the server, and a question.

A run that takes longer than a call continues and is asked for by its id; one that waits for
someone is answered by a person, through the client where it can ask.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim_devin.app import App
from sim_devin.calls.ceilings import CAP, amount, least
from sim_devin.engine.document import load_workflow
from sim_devin.engine.start import input_fields, start_block
from sim_devin.engine.workflow import Workflow
from sim_devin.errors import CallerError, NotAllowed, RunFailed, UnknownName
from sim_devin.functions.arguments import KEEP_EMPTY
from sim_devin.mcp import asking
from sim_devin.mcp.driving import Driving
from sim_devin.policy.rules import Allowed
from sim_devin.runs.starting import RunRequest
from sim_devin.specs.models import Schema, ToolSpec, Traits
from sim_devin.store.records import ASKING, EventRecord, Run, Wait
from sim_devin.store.sqlite_file import IN_MEMORY

if TYPE_CHECKING:
    from sim_devin.runs.runs import Runs

RESULT_TOOL = "workflow_result"
ANSWER_TOOL = "workflow_answer"
STARTED = "mcp.started"  # recorded with a run: the tool that started it

_TYPES = {"string", "number", "boolean", "object", "array"}
_OUTPUT: Schema = {
    "type": "object",
    "properties": {
        "runId": {"type": "string", "description": "Id of the run."},
        "status": {
            "type": "string",
            "description": "running, completed or paused. If running, ask again; if paused, the "
            "run waits for a person.",
        },
        "output": {"description": "The output of the workflow."},
        "questions": {
            "type": "array",
            "description": "The questions of a paused run.",
            "items": {"type": "object"},
        },
        "next": {"type": "string", "description": "How to continue a paused run."},
    },
    "required": ["runId", "status"],
}


class WorkflowTools:
    """One tool for each workflow, one for the results of runs, one for answers to them.

    Args:
        app: runs the workflows, as durable runs.
        files: the workflows.
        longest_call: real seconds after which a call answers that the run continues.
        model_may_answer: whether a model may answer what Devin asks. Forms and approvals are
            for a person in any case.

    Attributes:
        specs: tool id -> the tool.
    """

    def __init__(
        self,
        app: App,
        files: Iterable[Path],
        longest_call: float,
        *,
        model_may_answer: bool = False,
    ) -> None:
        self._app = app
        self._longest = longest_call
        self._model_may_answer = model_may_answer
        self._workflows: dict[str, Workflow] = {}
        self._take_cap: set[str] = set()
        self._mine: set[str] = set()
        self.specs: dict[str, ToolSpec] = {}
        for file in files:
            self._add(file, load_workflow(file))
        if self.specs:
            self.specs[RESULT_TOOL] = _RESULT_SPEC
            self.specs[ANSWER_TOOL] = _answer_spec(model_may_answer=model_may_answer)
            self._driving = Driving(self._runs)

    @property
    def _runs(self) -> Runs:
        return self._app.runs

    def _add(self, file: Path, workflow: Workflow) -> None:
        tool_id = _tool_id(workflow.name or file.stem)
        if tool_id in self.specs or tool_id in self._app.registry.tools:
            raise CallerError(f"{file}: there is already a tool called {tool_id!r}.")
        self._workflows[tool_id] = workflow
        fields = _fields(self._app, workflow)
        if any(row["name"] == CAP for row in fields):
            self._take_cap.add(tool_id)
        self.specs[tool_id] = ToolSpec(
            id=tool_id,
            title=workflow.name or file.stem,
            description=f"Run the workflow {workflow.name or file.stem}. {workflow.description} "
            "Returns its output; or the run's id if it takes longer than one call; "
            "or the question if it waits for a person.",
            params=_params(fields),
            output=_OUTPUT,
            traits=Traits(destructive=True, costsMoney=True, ceilings=(CAP,)),
        )

    def call(
        self,
        tool_id: str,
        params: Mapping[str, Any],
        *,
        cancel: threading.Event,
        on_progress: Callable[[Any], None],
        ceilings: Mapping[str, float] | None = None,
        answer: asking.ElicitedAnswer | None = None,
        **_options: Any,
    ) -> dict[str, Any]:
        """Start a run, answer one or look for one, and wait for it as long as a call may last.

        `answer` is what a person said, for the tool that takes answers; without one the model
        answers, if it may.

        Raises:
            UnknownName: there is no run of that id.
            RunFailed: the run failed.
            NotAllowed: the model may not answer this.
            Cancelled: `cancel` was set; the run was cancelled if this call had started it.
        """
        wait_for = partial(
            self._driving.wait, longest=self._longest, cancel=cancel, on_progress=on_progress
        )
        if tool_id in self._workflows:
            run_id = self._start(tool_id, params, ceilings or {})
            wait_for(run_id, cancels=True)
        else:
            run_id = self._known(params["runId"]).id
            if tool_id == ANSWER_TOOL:
                self._answer(params, answer)
            wait_for(run_id, cancels=False)
        return self._told(self._runs.store.run(run_id))

    def question(self, params: Mapping[str, Any]) -> Wait | None:
        """Return what a call of the answering tool has to ask a person; None if it need not.

        Raises:
            UnknownName: there is no such run, or it asks no such thing.
            CallerError: the run asks nothing, or several things.
        """
        wait = self._asked(params)
        return None if self._is_for_model(wait, params) else wait

    def where(self, run_id: str) -> str:
        """Return where a person answers a run if the client cannot ask."""
        if self._runs.store.database.name == IN_MEMORY:
            return "The run exists in this process only: use a client that supports elicitation."
        return (
            f"A person can answer with: sim-devin runs answer {run_id}, or on the page of "
            f"sim-devin serve. Then call {RESULT_TOOL}."
        )

    # -- runs --------------------------------------------------------------------------------

    def _start(self, tool_id: str, params: Mapping[str, Any], ceilings: Mapping[str, float]) -> str:
        cap = least(amount(params.get(CAP)), ceilings.get(CAP))
        most = None if cap is None else int(cap)
        inputs = {name: value for name, value in params.items() if name != CAP}
        if most is not None and tool_id in self._take_cap:
            inputs[CAP] = most
        request = RunRequest(
            workflow=self._workflows[tool_id], inputs=inputs, max_acu=most, on_question="hold"
        )
        run_id = self._runs.start(request)
        now = self._app.clock.time()
        self._runs.store.add_event(EventRecord(run_id, now, STARTED, {"tool": tool_id}))
        self._mine.add(run_id)
        return run_id

    def _known(self, run_id: str) -> Run:
        """Return a run that one of these tools started, here or before a restart.

        Others of the store are none of a model's business.
        """
        if run_id not in self._mine:
            begun = self._runs.store.events(run_id, limit=50)
            tools = {event.data.get("tool") for event in begun if event.kind == STARTED}
            if not tools & self._workflows.keys():
                raise UnknownName("run", run_id, sorted(self._mine))
            self._mine.add(run_id)
        return self._runs.store.run(run_id)

    def _asked(self, params: Mapping[str, Any]) -> Wait:
        run = self._known(params["runId"])
        waits = self._questions(run)
        name = params.get("question")
        if name is not None:
            waits = [wait for wait in waits if wait.context_id == name]
            if not waits:
                names = [wait.context_id for wait in self._questions(run)]
                raise UnknownName("question", name, names)
        if not waits:
            raise CallerError(f"The run {run.id} has no open question: it is {run.state}.")
        if len(waits) > 1:
            names = [wait.context_id for wait in waits]
            raise CallerError(
                f"The run {run.id} has {len(waits)} open questions.",
                hint=f"Say which question: {', '.join(names)}.",
            )
        return waits[0]

    def _questions(self, run: Run) -> list[Wait]:
        waits = self._runs.store.waits(run.id, only_open=True)
        return [wait for wait in waits if wait.kind in ASKING]

    def _is_for_model(self, wait: Wait, params: Mapping[str, Any]) -> bool:
        if not (self._model_may_answer and asking.MESSAGE in params):
            return False
        # The answer goes out as a message, and so by the policy that binds blocks.
        registry = self._app.registry
        if not asking.is_jobs_question(registry, wait):
            return False
        answer = registry.job(wait.job).answer
        return answer is not None and isinstance(
            self._app.policy.check(registry.tool(answer.tool), {}), Allowed
        )

    def _answer(self, params: Mapping[str, Any], answer: asking.ElicitedAnswer | None) -> None:
        wait = self._asked(params)
        if answer is None:
            if not self._is_for_model(wait, params):
                raise NotAllowed("A person has to answer this.", hint=self.where(wait.run_id))
            value = params[asking.MESSAGE]
        elif asking.told(wait) != asking.told(answer.wait):
            raise CallerError("The run has a different question by now.", hint="Check it again.")
        else:
            value = answer.value
        self._runs.answer(wait.run_id, value, context_id=wait.context_id)

    def _told(self, run: Run) -> dict[str, Any]:
        result = run.result or {}
        told: dict[str, Any] = {"runId": run.id, "status": "running"}
        if run.state == "done":
            return {**told, "status": "completed", "output": result.get("output")}
        if run.state in ("failed", "cancelled", "held"):
            why = run.error or f"it is {run.state}"
            raise RunFailed(f"Run {run.id} failed: {why}", hint=result.get("hint") or "")
        questions = self._questions(run)
        if run.state not in ("asking", "uncertain") or not questions:
            return told
        return {
            **told,
            "status": "paused",
            "questions": [asking.told(wait) for wait in questions],
            "next": f"Call {ANSWER_TOOL}: it asks a person through this client. "
            f"{self.where(run.id)}",
        }


_RESULT_SPEC = ToolSpec(
    id=RESULT_TOOL,
    title="Result of a workflow",
    description="Wait for a workflow run that took longer than one call, and return its output. "
    "While the status is running, call it again with the same id.",
    params={
        "type": "object",
        "properties": {
            "runId": {
                "type": "string",
                "description": "Id of the run, as returned when it started.",
            }
        },
        "required": ["runId"],
        "additionalProperties": False,
    },
    output=_OUTPUT,
    traits=Traits(idempotent=True),  # after a restart of the server it drives the run on
)


def _answer_spec(*, model_may_answer: bool) -> ToolSpec:
    properties: dict[str, Schema] = {
        "runId": {"type": "string", "description": "Id of the paused run."},
        "question": {
            "type": "string",
            "description": "Which question, as named by the run, if there are several.",
        },
    }
    who = "A person is asked through this client; you cannot answer yourself."
    if model_may_answer:
        properties[asking.MESSAGE] = {
            "type": "string",
            "description": "Your answer to Devin's question. Omit it to have a person asked.",
        }
        who = (
            "You may answer Devin's questions with a message. Forms and approvals, and questions "
            "you leave without a message, go to a person through this client."
        )
    return ToolSpec(
        id=ANSWER_TOOL,
        title="Answer a workflow",
        description=f"Answer a question of a paused workflow run, and wait for the run. {who}",
        params={
            "type": "object",
            "properties": properties,
            "required": ["runId"],
            "additionalProperties": False,
        },
        output=_OUTPUT,
        traits=Traits(costsMoney=True),
    )


def _tool_id(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return f"run_{slug or 'workflow'}"[:56].rstrip("_")


def _fields(app: App, workflow: Workflow) -> list[Mapping[str, Any]]:
    """Return what a workflow's start block takes."""

    def is_trigger(block_type: str) -> bool:
        block = app.registry.blocks.get(block_type)
        return block is not None and block.category == "triggers"

    return list(input_fields(start_block(workflow, "manual", is_trigger)))


def _params(fields: Iterable[Mapping[str, Any]]) -> Schema:
    """Return parameters for the fields, and a cap for the sessions of a run together."""
    properties: dict[str, Schema] = {}
    for row in fields:
        kind = row.get("type") if row.get("type") in _TYPES else None
        schema: Schema = {"type": kind} if kind else {}
        if kind == "array":
            schema["items"] = {}
        if kind in ("array", "object"):
            schema[KEEP_EMPTY] = True  # a workflow is given what it was called with
        if row.get("description"):
            schema["description"] = str(row["description"])
        properties[row["name"]] = schema
    if not properties:
        properties["input"] = {"type": "string", "description": "The inputs of the workflow."}
    # A field of that name means the same, and gets the value as well.
    properties[CAP] = {
        "type": "integer",
        "minimum": 1,
        "description": "Maximum ACUs for all Devin sessions of the run together.",
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}
