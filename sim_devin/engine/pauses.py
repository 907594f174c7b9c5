"""Pause points: what a paused run says about itself, and what an answer makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sim_devin.engine.references import parse_json
from sim_devin.engine.run import iso

if TYPE_CHECKING:
    from sim_devin.engine.contract import BlockContext, Pause

ANSWERED: Mapping[str, Any] = {"status": 200, "headers": {"Content-Type": "application/json"}}


def links(run_id: str, context_id: str) -> dict[str, str]:
    """Return how a pause is addressed. Surfaces with an address of their own replace these."""
    return {
        "apiUrl": f"sim-devin:/runs/{run_id}/answers/{context_id}",
        "uiUrl": f"sim-devin:/runs/{run_id}",
        "contextId": context_id,
        "executionId": run_id,
    }


def point(context: BlockContext, pause: Pause, now: float) -> dict[str, Any]:
    """Return the record of a pause as JSON data."""
    record: dict[str, Any] = {
        "contextId": context.context_id,
        "blockId": context.node_id,
        "blockName": context.block.name,
        "response": dict(pause.response),
        "registeredAt": iso(now),
        "resumeStatus": "paused",
        "snapshotReady": True,
    }
    parallel = context.scope.enclosing(loop=False)
    if parallel is not None and parallel.owner is not None:
        record["parallelScope"] = {
            "parallelId": parallel.owner.node_id,
            "branchIndex": parallel.index,
            "branchTotal": parallel.owner.total,
        }
    loop = context.scope.enclosing(loop=True)
    if loop is not None and loop.owner is not None:
        record["loopScope"] = {"loopId": loop.owner.node_id, "iteration": loop.index}
    if pause.kind == "human":
        record["resumeLinks"] = links(context.run_id, context.context_id)
    record["pauseKind"] = pause.kind
    if pause.resume_at is not None:
        record["resumeAt"] = iso(pause.resume_at)
    return record


def paused_output(points: list[dict[str, Any]]) -> Any:
    """Return what a paused run outputs: what its one pause answers, or a list of pauses."""
    if len(points) == 1:
        return points[0]["response"]
    return {"pausedBlocks": [point["response"] for point in points], "pauseCount": len(points)}


def submission(answer: Any) -> dict[str, Any]:
    """Return the fields of an answer: an object, JSON text of one, or ``{"value": …}``."""
    if isinstance(answer, Mapping):
        inner = answer.get("submission")
        return dict(inner if isinstance(inner, Mapping) else answer)
    if answer is None or answer == "":
        return {}
    parsed = parse_json(answer)
    return parsed if isinstance(parsed, dict) else {"value": answer}


def answered(
    output: Mapping[str, Any],
    record: Mapping[str, Any],
    answer: Any,
    *,
    run_id: str,
    now: float,
    paused_at: float,
) -> dict[str, Any]:
    """Return the output of a paused block once it is answered."""
    fields = submission(answer)
    merged = {**output, **fields}
    response = output.get("response")
    known = response if isinstance(response, Mapping) else ANSWERED
    merged["response"] = {
        **known,
        "data": {**known.get("data", {}), "submission": fields, "submittedAt": iso(now)},
    }
    merged |= {
        "submission": fields,
        "resumeInput": {} if answer is None else answer,
        "submittedAt": iso(now),
        "_resumed": True,
        "_resumedFrom": run_id,
        "_pauseDurationMs": max(0, round((now - paused_at) * 1000)),
    }
    if record["pauseKind"] == "time":
        merged["status"] = "completed"
    else:
        merged["resume"] = record["resumeLinks"]
    return merged
