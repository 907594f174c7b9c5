"""One task for Devin as a workflow: create a session, wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TOOL = "devin_create_session"
START, CREATE, WAIT = "start", "create", "wait"

_TYPES = {str: "string", int: "number", float: "number", bool: "boolean", list: "array"}


def task_workflow(
    task: Mapping[str, Any], *, timeout: float | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a workflow that carries out a task, and the inputs of its run.

    Whatever was asked for is an input, so text such as ``<start.prompt>`` or ``{{NAME}}`` in it
    reaches Devin as it was written.

    Args:
        task: parameters of the tool `TOOL`; None and empty ones are left out.
        timeout: seconds to wait for the session; the block's own default unless given.
    """
    inputs = {name: value for name, value in task.items() if value not in (None, "", [], {}, ())}
    asked = {name: f"<{START}.{name}>" for name in inputs}
    waiting = {"sessionId": f"<{CREATE}.sessionId>"}
    if timeout is not None:
        waiting["timeoutSeconds"] = str(max(1, round(timeout)))
    if "structuredOutputSchema" in asked:
        waiting["structuredOutputSchema"] = asked["structuredOutputSchema"]
    form = [
        {"id": name, "name": name, "type": _TYPES.get(type(value), "object")}
        for name, value in inputs.items()
    ]
    blocks = (
        _block(START, "start_trigger", "Start", inputFormat=form),
        _block(CREATE, "devin", "Create", operation="create_session", **asked),
        _block(WAIT, "devin_wait", "Wait", **waiting),
    )
    edges = [
        {"id": f"{source}-{target}", "source": source, "target": target, "sourceHandle": "source"}
        for source, target in ((START, CREATE), (CREATE, WAIT))
    ]
    state = {"blocks": {block["id"]: block for block in blocks}, "edges": edges}
    title = " ".join(str(inputs.get("title") or inputs.get("prompt", "")).split())
    return {**state, "metadata": {"name": title[:60]}}, inputs


def _block(key: str, kind: str, name: str, **values: Any) -> dict[str, Any]:
    sub_blocks = {
        field: {"id": field, "type": "short-input", "value": value}
        for field, value in values.items()
    }
    position = {"x": 320 * (START, CREATE, WAIT).index(key), "y": 0}
    return {"id": key, "type": kind, "name": name, "position": position, "subBlocks": sub_blocks}
