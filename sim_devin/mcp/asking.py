"""What a paused run asks: told to a model, put to a person as a form, and the answer read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sim_devin.calls.jobs.verdict import classify
from sim_devin.engine.references import MISSING, parse_json
from sim_devin.plugins.registry import Registry
from sim_devin.specs.models import Schema
from sim_devin.store.records import Wait

MESSAGE = "message"
APPROVED, REASON = "approved", "reason"
FORMS = ("human", "question", "approval")  # what can be put to a person as a form

_TYPES = ("string", "number", "boolean")


@dataclass(frozen=True)
class ElicitedAnswer:
    """What a person said to what a run asked."""

    wait: Wait
    value: Any


def is_jobs_question(registry: Registry, wait: Wait) -> bool:
    """Return whether a job asks for words; an approval that it asks for is another matter."""
    if wait.kind != "question":
        return False
    session = (wait.seen or {}).get("session", {})
    return classify(registry.job(wait.job), session).state == "blocked_on_user"


def told(wait: Wait) -> dict[str, Any]:
    """Return what is asked, as JSON data."""
    asked: dict[str, Any] = {
        "question": wait.context_id,
        "kind": "form" if wait.kind == "human" else wait.kind,
        "block": wait.point.get("blockName", wait.block_id),
        "asks": wait.point.get("question") or wait.point.get("message"),
        "reason": wait.point.get("reason"),
        "note": wait.point.get("note"),
        "sessionId": wait.about.get("sessionId"),
        "url": wait.point.get("url"),
    }
    if wait.kind == "human":
        asked["shows"] = {item.get("name"): item.get("value") for item in _shown(wait)}
        asked["fields"] = _fields(wait)
    elif wait.kind == "approval":
        asked["shows"] = wait.point["parameters"]
    return {name: value for name, value in asked.items() if value is not None}


def words(wait: Wait) -> str:
    """Return what a person reads over the form."""
    asked = told(wait)
    lines = [f"{asked['block']} is waiting for you."]
    lines += [str(asked[name]) for name in ("asks", "note", "url") if asked.get(name)]
    for name, value in asked.get("shows", {}).items():
        text = value if isinstance(value, str) else json.dumps(value)
        # Deeper than the names, so that no text looks like a line of its own.
        lines.append(f"{name}: " + "\n    ".join(text.splitlines()))
    return "\n".join(lines)


def form(wait: Wait) -> Schema:
    """Return JSON Schema of the answer, in what MCP clients can show."""
    if wait.kind == "question":
        message = {"type": "string", "title": "Your answer to Devin", "minLength": 1}
        return {"type": "object", "properties": {MESSAGE: message}, "required": [MESSAGE]}
    if wait.kind == "approval":
        yes = {"type": "boolean", "title": "Approve"}
        why = {"type": "string", "title": "Why"}
        return {
            "type": "object",
            "properties": {APPROVED: yes, REASON: why},
            "required": [APPROVED],
        }
    fields = _fields(wait)
    required = [field["name"] for field in fields if field.get("required")]
    return {
        "type": "object",
        "properties": {field["name"]: _property(field) for field in fields},
        **({"required": required} if required else {}),
    }


def _property(field: Mapping[str, Any]) -> Schema:
    kind = field.get("type")
    described = str(field.get("description") or "")
    if kind not in _TYPES:
        described = f"{described} Pass it as JSON.".strip()
    schema: Schema = {
        "type": kind if kind in _TYPES else "string",
        "title": str(field.get("label") or field["name"]),
    }
    if described:
        schema["description"] = described
    return schema


def read(wait: Wait, content: Mapping[str, Any]) -> ElicitedAnswer:
    """Return a person's answer as the run takes it."""
    if wait.kind == "question":
        return ElicitedAnswer(wait, content.get(MESSAGE))
    if wait.kind == "approval":
        return ElicitedAnswer(wait, dict(content))
    kinds = {field["name"]: field.get("type") for field in _fields(wait)}
    fields = {
        name: value if kinds.get(name) in _TYPES else _parsed(value)
        for name, value in content.items()
    }
    return ElicitedAnswer(wait, fields)


def _parsed(value: Any) -> Any:
    parsed = parse_json(value) if isinstance(value, str) else MISSING
    return value if parsed is MISSING else parsed


def _fields(wait: Wait) -> list[dict[str, Any]]:
    known = ("name", "label", "type", "description", "required")
    return [
        {key: field[key] for key in known if key in field} for field in _data(wait, "inputFormat")
    ]


def _shown(wait: Wait) -> Iterator[Mapping[str, Any]]:
    return _data(wait, "responseStructure")


def _data(wait: Wait, key: str) -> Iterator[Mapping[str, Any]]:
    rows = wait.point.get("response", {}).get("data", {}).get(key)
    return (row for row in rows or () if isinstance(row, Mapping))
