"""What is wrong between a kind of job and the tools of its plugin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sim_devin.specs.jobs import JobFields, JobSpec
from sim_devin.specs.models import Schema, ToolSpec
from sim_devin.text import did_you_mean


def job_problems(job: JobSpec, tools: Mapping[str, ToolSpec]) -> Iterator[str]:
    """Yield what is wrong between a job and the tools it names, as ``place: what``."""
    roles = {role: tool for role, tool in job.tools.items() if role != "wait"}
    missing = {role for role, tool in roles.items() if tool not in tools}
    for name in roles:
        role = JobSpec.model_fields[name].alias or name
        if name in missing:
            hint = did_you_mean(roles[name], tools)
            yield f"{role}.tool: its plugin has no tool {roles[name]!r}. {hint}".rstrip()
            continue
        part, tool = getattr(job, name), tools[roles[name]]
        for key in ("id", "ids", "task", "cap", "tag", "since", "schema_"):
            given = getattr(part, key, "")
            if given and given not in tool.properties:
                yield f"{role}.{key.rstrip('_')}: " + _no_parameter(given, tool)
        if role == "answer" and part.text not in tool.properties:
            yield "answer.text: " + _no_parameter(part.text, tool)
        constant = [("with", getattr(part, "with_", {}))]
        constant += [("each", params) for params in getattr(part, "each", ())]
        for key, params in constant:
            for given in params:
                if given not in tool.properties:
                    yield f"{role}.{key}.{given}: " + _no_parameter(given, tool)
        yield from _output_problems(role, part, tool)
    if "look" not in missing:
        yield from _field_problems(job, "look", tools[roles["look"]].answer)
    if "create" not in missing:
        yield from _create_problems(job, tools[roles["create"]])
    yield from _meaning_problems(job)


def _no_parameter(name: str, tool: ToolSpec) -> str:
    text = f"{tool.id} has no parameter {name!r}. {did_you_mean(name, tool.properties)}"
    return text.rstrip()


def _no_output(name: str, tool: str, known: Mapping[str, Any]) -> str:
    return f"{tool} has no output {name!r}. {did_you_mean(name, known)}".rstrip()


def _output_problems(role: str, part: Any, tool: ToolSpec) -> Iterator[str]:
    items = getattr(part, "items", None)
    if items is None:
        return
    outputs = tool.answer.get("properties", {})
    if items not in outputs:
        yield f"{role}.items: " + _no_output(items, tool.id, outputs)
        return
    of_item: Schema = outputs[items].get("items", {}).get("properties", {})
    for key in ("field", "text", "author", "key", "at"):
        name = getattr(part, key, "")
        if name and of_item and name not in of_item:
            yield f"{role}.{key}: " + _no_output(name, f"an item of {tool.id}", of_item)


def _field_problems(job: JobSpec, role: str, answer: Schema) -> Iterator[str]:
    outputs = answer.get("properties", {})
    for key, field in JobFields.model_fields.items():
        name = getattr(job.fields, key)
        if name and not key.startswith("artifact_") and name not in outputs:
            yield f"fields.{field.alias or key}: " + _no_output(name, job.tools[role], outputs)


def _create_problems(job: JobSpec, tool: ToolSpec) -> Iterator[str]:
    outputs = tool.answer.get("properties", {})
    if job.fields.id not in outputs:
        yield "create.tool: " + _no_output(job.fields.id, tool.id, outputs)
    if tool.traits.read_only or tool.traits.idempotent:
        yield f"create.tool: {tool.id} is readOnly or idempotent; one that creates jobs is neither"
    kind = tool.properties.get(job.create.tag, {}).get("type")
    if job.create.tag and kind not in ("array", "string"):
        yield f"create.tag: {job.create.tag!r} must be a text or a list"
    if job.create.tag and job.find is None:
        yield "find: create.tag puts a tag on a job, and nothing finds it by that"
    if job.find is not None and not job.create.tag:
        yield "create.tag: find looks for a tag, and create has no parameter for it"


def _meaning_problems(job: JobSpec) -> Iterator[str]:
    if job.judge is None and not job.states.get("done"):
        yield "states.done: no state means that the job is done, so nothing could wait for it"
    if job.wait is not None and job.wait.tool in {t for r, t in job.tools.items() if r != "wait"}:
        yield f"wait.tool: {job.wait.tool!r} is another tool of the job; it needs an id of its own"
