"""Workflows as MCP tools. A run that outlives one call goes on, and is asked for by its id."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from sim_devin.app import App
from sim_devin.errors import CallerError, Cancelled, RunFailed, SimDevinError, UnknownName
from sim_devin.policy import CAP
from sim_devin.run import RunResult
from sim_devin.spec import Schema, ToolSpec, Traits
from sim_devin.start import input_fields, start_block
from sim_devin.workflow import Workflow, load_workflow

RESULT_TOOL = "workflow_result"
KEPT = 100  # ended runs whose result can still be asked for
TICK = 0.1  # seconds between looks at a run that is waited for

_TYPES = {"string", "number", "boolean", "object", "array"}
_OUTPUT: Schema = {
    "type": "object",
    "properties": {
        "runId": {"type": "string", "description": "Id of the run."},
        "status": {
            "type": "string",
            "description": "running, completed or paused. Ask for a running one again.",
        },
        "output": {"description": "What the workflow put out."},
        "pausePoints": {
            "type": "array",
            "description": "Where a paused run waits for a person.",
            "items": {"type": "object"},
        },
    },
    "required": ["runId", "status"],
}


@dataclass
class _Run:
    run_id: str
    cancel: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    result: RunResult | None = None
    error: BaseException | None = None
    tell: Callable[[Any], None] = lambda _event: None


class WorkflowTools:
    """One tool for each workflow, and one for the results of those that take longer.

    Attributes:
        specs: tool id -> the tool.
    """

    def __init__(self, app: App, files: Iterable[Path], longest_call: float) -> None:
        self._app = app
        self._longest = longest_call
        self._workflows: dict[str, Workflow] = {}
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self.specs: dict[str, ToolSpec] = {}
        for file in files:
            self._add(file, load_workflow(file))
        if self.specs:
            self.specs[RESULT_TOOL] = _RESULT_SPEC

    def _add(self, file: Path, workflow: Workflow) -> None:
        tool_id = _tool_id(workflow.name or file.stem)
        if tool_id in self.specs or tool_id in self._app.registry.tools:
            raise CallerError(f"{file}: there already is a tool called {tool_id!r}.")
        self._workflows[tool_id] = workflow
        self.specs[tool_id] = ToolSpec(
            id=tool_id,
            title=workflow.name or file.stem,
            description=f"Run the workflow {workflow.name or file.stem}. {workflow.description} "
            "Returns its output; if it takes longer than one call, the id of the run.",
            params=_params(self._app, workflow),
            output=_OUTPUT,
            traits=Traits(destructive=True, costsMoney=True),
        )

    def call(
        self,
        tool_id: str,
        params: Mapping[str, Any],
        *,
        cancel: threading.Event,
        on_progress: Callable[[Any], None],
        ceilings: Mapping[str, float] | None = None,
        **_options: Any,
    ) -> dict[str, Any]:
        """Start a run, or look for one, and wait for its end as long as a call may last.

        Raises:
            UnknownName: there is no run of that id.
            RunFailed: the run failed.
            Cancelled: `cancel` was set; the run was cancelled with it.
        """
        if tool_id == RESULT_TOOL:
            run = self._known(params["runId"])
        else:
            run = self._start(tool_id, params, ceilings or {})
        run.tell = on_progress
        until = time.monotonic() + self._longest
        while not run.ended.wait(TICK) and time.monotonic() < until:
            if cancel.is_set():
                run.cancel.set()
                raise Cancelled("The run was cancelled with the call.")
        return self._told(run)

    def _known(self, run_id: str) -> _Run:
        try:
            return self._runs[run_id]
        except KeyError:
            raise UnknownName("run", run_id, self._runs) from None

    def _start(
        self, tool_id: str, params: Mapping[str, Any], ceilings: Mapping[str, float]
    ) -> _Run:
        run = _Run(str(uuid4()))
        inputs = {name: value for name, value in params.items() if name != CAP}
        caps = [int(cap) for cap in (params.get(CAP), ceilings.get(CAP)) if cap is not None]

        def work() -> None:
            try:
                run.result = self._app.run(
                    self._workflows[tool_id],
                    inputs,
                    run_id=run.run_id,
                    cancel=run.cancel,
                    reconcile=True,
                    max_acu=min(caps, default=None),
                    on_event=lambda event: run.tell(event),
                )
            except BaseException as error:  # told to whoever asks for the run
                run.error = error
            finally:
                run.ended.set()

        self._keep(run)
        threading.Thread(target=work, name=f"run {run.run_id}", daemon=True).start()
        return run

    def _keep(self, run: _Run) -> None:
        self._runs[run.run_id] = run
        ended = [run_id for run_id, known in self._runs.items() if known.ended.is_set()]
        for run_id in ended[: max(0, len(ended) - KEPT)]:
            with suppress(KeyError):
                del self._runs[run_id]

    def _told(self, run: _Run) -> dict[str, Any]:
        told: dict[str, Any] = {"runId": run.run_id, "status": "running"}
        if not run.ended.is_set():
            return told
        if isinstance(run.error, SimDevinError):
            raise run.error
        result = run.result
        if result is None:
            raise RunFailed(f"The run failed inside: {type(run.error).__name__}.")
        if result.status == "paused":
            return {**told, "status": "paused", "pausePoints": result.pause_points}
        if not result.success:
            why = result.error or f"the run was cancelled ({result.reason})"
            raise RunFailed(f"Run {run.run_id} failed: {why}", hint=result.hint or "")
        return {**told, "status": "completed", "output": result.output}


_RESULT_SPEC = ToolSpec(
    id=RESULT_TOOL,
    title="Result of a workflow",
    description="Wait for a run of a workflow that took longer than one call, and return its "
    "output. While the status is running, call it again with the same id.",
    params={
        "type": "object",
        "properties": {
            "runId": {"type": "string", "description": "Id of the run, as its start returned it."}
        },
        "required": ["runId"],
        "additionalProperties": False,
    },
    output=_OUTPUT,
    traits=Traits(readOnly=True, idempotent=True),
)


def _tool_id(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return f"run_{slug or 'workflow'}"[:56].rstrip("_")


def _params(app: App, workflow: Workflow) -> Schema:
    """Return what a workflow's start block takes, and a cap for its sessions together."""

    def is_trigger(block_type: str) -> bool:
        block = app.registry.blocks.get(block_type)
        return block is not None and block.category == "triggers"

    fields = input_fields(start_block(workflow, "manual", is_trigger))
    properties: dict[str, Schema] = {}
    for row in fields:
        kind = row.get("type") if row.get("type") in _TYPES else None
        schema: Schema = {"type": kind} if kind else {}
        if kind == "array":
            schema["items"] = {}
        if row.get("description"):
            schema["description"] = str(row["description"])
        properties[row["name"]] = schema
    if not properties:
        properties["input"] = {"type": "string", "description": "What the workflow is given."}
    properties.setdefault(
        CAP,
        {
            "type": "integer",
            "minimum": 1,
            "description": "Most ACUs that all Devin sessions of the run may use together.",
        },
    )
    return {"type": "object", "properties": properties, "additionalProperties": False}
