"""The Workflow blocks: run another workflow and return its result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sim_devin.engine.contract import BlockContext, BlockError, Written, handler
from sim_devin.engine.problem import Problem
from sim_devin.engine.references import MISSING, parse_json

NO_WORKFLOW = "No workflow selected for execution"
CHOOSE = 'Exports omit the choice: bind it, for example --set "Block.workflowId=ID".'


def check(written: Written) -> Iterator[Problem]:
    """Yield that no workflow is chosen, or that its inputs are not JSON."""
    is_open = written.unknown.intersection(("workflowId", "manualWorkflowId"))
    if not is_open and not _chosen(written.values):
        yield Problem(NO_WORKFLOW, place="workflowId", hint=CHOOSE)
    try:
        inputs(written.values)
    except BlockError as error:
        hint = 'Write a JSON object: {"name of the input": value}.'
        yield Problem(str(error), place="inputMapping", hint=hint)


def _chosen(values: Mapping[str, Any]) -> str:
    chosen = values.get("workflowId") or values.get("manualWorkflowId")
    return chosen if isinstance(chosen, str) else ""


@handler(check=check)
def child_workflow(block: BlockContext) -> dict[str, Any]:
    """Run the child with the mapped inputs."""
    workflow_id = _chosen(block.values)
    if not workflow_id:
        raise BlockError(NO_WORKFLOW, hint=CHOOSE, retry=False)
    try:
        result = block.run_child(workflow_id, inputs(block.values))
    except BlockError as error:
        error.output.setdefault("childWorkflowName", workflow_id)
        raise
    name = result.workflow_name or "Workflow"
    about = {"childWorkflowName": name, "childWorkflowId": workflow_id}
    if result.status == "paused":
        raise BlockError(
            f'"{name}" paused; a child workflow cannot be paused',
            output=about,
            hint="Move the pause into the parent workflow.",
            retry=False,
        )
    if not result.success:
        reason = result.error or f"it was {result.status or 'stopped'}"
        raise BlockError(
            f'"{name}" failed: {reason}',
            output={"childWorkflowName": name},
            hint=result.hint or "",
            retry=False,
            child_logs=result.logs,
        )
    return {"success": True, **about, "result": result.output}


def inputs(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the child's inputs: the mapping (JSON text or object), or the one ``input``."""
    mapping = values.get("inputMapping")
    parsed = parse_json(mapping) if isinstance(mapping, str) else mapping
    if isinstance(parsed, Mapping):
        return dict(parsed)
    if mapping not in (None, "") and parsed is MISSING:
        raise BlockError("the input mapping is not JSON", retry=False)
    given = values.get("input")
    if given is None:
        return {}
    return dict(given) if isinstance(given, Mapping) else {"input": given}
