"""The Human in the Loop block: the run waits for a person to fill in a form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sim_devin.engine import pauses
from sim_devin.engine.contract import BlockContext, Pause, Written, handler
from sim_devin.engine.problem import Problem
from sim_devin.engine.references import parse_json
from sim_devin.engine.workflow import Block

HEADERS = {"Content-Type": "application/json"}


def _rows(value: Any) -> list[Mapping[str, Any]]:
    rows = parse_json(value) if isinstance(value, str) else value
    return [
        row
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, Mapping) and isinstance(row.get("name"), str) and row["name"]
    ]


def declared(block: Block) -> dict[str, Any]:
    """Return what may be read of the block: the form's fields and what tells of the pause."""
    fields: dict[str, Any] = {
        str(row["name"]): {} for row in _rows(block.values.get("inputFormat"))
    }
    known = ("response", "url", "resumeEndpoint", "submission", "resumeInput", "submittedAt")
    return fields | {name: {} for name in known}


def check(written: Written) -> Iterator[Problem]:
    """Yield that nothing sends the notification."""
    if written.block.values.get("notification"):
        yield Problem(
            "the notification is not sent",
            place="notification",
            hint="Workers send reminders for open forms: see [reminders] in their config file.",
            level="warning",
        )


@handler(inline=True, retries=False, outputs=declared, check=check)
def human(block: BlockContext) -> Pause:
    """Show the data and the form; continue when they are answered."""
    shown = [
        {"name": row["name"], "type": row.get("type"), "value": row.get("value")}
        for row in _rows(block.values.get("builderData"))
    ]
    form = [_field(row) for row in _rows(block.values.get("inputFormat"))]
    links = pauses.links(block.run_id, block.context_id)
    parts = {
        "operation": "human",
        "responseStructure": shown,
        "inputFormat": form,
        "submission": None,
    }
    response = {"data": {**parts, "_resume": links}, "status": 200, "headers": HEADERS}
    output = {
        **{field["name"]: field.get("value") for field in form},
        "response": {**response, **parts, "resume": links},
        "url": links["uiUrl"],
        "resumeEndpoint": links["apiUrl"],
    }
    return Pause(output, response)


def _field(row: Mapping[str, Any]) -> dict[str, Any]:
    field = {
        "id": row.get("id"),
        "name": row["name"],
        "label": row.get("label") or row["name"],
        "type": row.get("type") or "string",
        "description": row.get("description"),
        "placeholder": row.get("placeholder"),
        "value": row.get("value"),
        "required": bool(row.get("required")),
    }
    return {key: value for key, value in field.items() if value is not None}
