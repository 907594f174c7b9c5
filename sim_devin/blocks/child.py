"""The Workflow blocks: run another workflow and return its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.engine.contract import BlockContext, BlockError, handler
from sim_devin.engine.references import MISSING, parse_json


@handler()
def child_workflow(block: BlockContext) -> dict[str, Any]:
    """Run the child with the mapped inputs."""
    workflow_id = block.values.get("workflowId") or block.values.get("manualWorkflowId")
    if not isinstance(workflow_id, str) or not workflow_id:
        raise BlockError(
            "No workflow selected for execution",
            hint='Exports leave the choice out: bind it, for example --set "Block.workflowId=ID".',
            retry=False,
        )
    result = block.run_child(workflow_id, inputs(block.values))
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
