"""What a plugin's tools and blocks have to hold to, beyond being valid; see `sim_devin.testing`.

Each check yields sentences; nothing is sent and no clock is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sim_devin.calls import invoke
from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.engine.contract import options_of
from sim_devin.errors import SimDevinError
from sim_devin.plugins.registry import Registry
from sim_devin.secret_names import is_secret_name
from sim_devin.specs import forms as blocks
from sim_devin.specs import json_schema
from sim_devin.specs.job_check import job_problems
from sim_devin.specs.jobs import JobSpec
from sim_devin.specs.models import BlockSpec, Connection, Schema, ToolSpec
from sim_devin.specs.schema import Checker, publish
from sim_devin.specs.spec_problems import connection_problems, tool_problems

# What a service behind a bad proxy, or one that changed, may answer with.
_JUNK = (b"", b"null", b"[]", b"[1]", b"{}", b'"text"', b"12", b"<html></html>", b"\xff\xfe", b"{")
_JUNK_STATUSES = (200, 204, 400, 401, 403, 404, 409, 422, 429, 500, 502)

_SAMPLES: Mapping[str, Any] = {
    "string": "text",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "null": None,
}


def tool_violations(spec: ToolSpec, registry: Registry, answers: Iterable[Any]) -> Iterator[str]:
    """Yield what is wrong with a tool.

    `answers` are bodies the service is known to give: bytes, or JSON values.
    """
    inconsistent = list(tool_problems(spec))
    inconsistent += connection_problems(spec, registry.connections.values())
    yield from inconsistent
    yield from _words(spec)
    yield from _traits(spec)
    yield from _visibility(spec)
    if inconsistent or spec.request is None:
        return  # what follows builds requests and reads answers
    connection = registry.connections[spec.connection or ""]
    yield from _examples(spec, connection)
    yield from _reading(spec, list(answers))


def _words(spec: ToolSpec) -> Iterator[str]:
    if ToolSpec.model_validate(spec.to_json()).to_json() != spec.to_json():
        yield "does not survive a round trip through JSON"
    if not spec.title.strip() or not spec.description.strip():
        yield "title and description: must not be blank; models choose tools by them"
    for place, schema in (("params", spec.params), ("output", spec.answer)):
        for name, item in schema.get("properties", {}).items():
            if not str(item.get("description", "")).strip():
                yield f"{place}.properties.{name}: has no description"


def _traits(spec: ToolSpec) -> Iterator[str]:
    for name in spec.traits.model_input:
        item = spec.properties.get(name, {})
        if item.get("writeOnly") or is_secret_name(name):
            yield f"traits.modelInput: {name} is a secret, which models must not read"


def _visibility(spec: ToolSpec) -> Iterator[str]:
    hidden = {name for name, item in spec.properties.items() if "x-visibility" in item}
    for name, item in spec.properties.items():
        if name not in hidden and (item.get("writeOnly") or is_secret_name(name)):
            yield f"params.properties.{name}: is a secret; mark it x-visibility: user-only"
        for inner in (*_inner(item.get("properties", {})), item.get("items", {})):
            if "x-visibility" in json.dumps(inner):
                yield f"params.properties.{name}: x-visibility applies to whole parameters only"
    published = publish(spec.params, hide=hidden)
    if hidden & set(json.dumps(published).split('"')):
        yield "params: the published schema contains a user-only parameter"


def _inner(properties: Any) -> Iterable[Any]:
    return properties.values() if isinstance(properties, Mapping) else ()


def _examples(spec: ToolSpec, connection: Connection) -> Iterator[str]:
    if spec.required and not spec.examples:
        yield "examples: at least one is required, for people and models"
    secrets = {name: f"made-up-{name}" for name in connection.fields}
    target = invoke.Target(connection, secrets, connection.base_url)
    for index, example in enumerate(spec.examples):
        try:
            prepared = invoke.prepare(spec, example, target, Checker(spec.params))
            request = prepared.request()
        except SimDevinError as error:
            yield f"examples.{index}: {error}"
            continue
        except Exception as error:
            yield f"examples.{index}: prepare raised {type(error).__name__}: {error}"
            continue
        if not isinstance(request, Request):
            yield f"examples.{index}: prepare returned a {type(request).__name__}, not a Request"
            continue
        if not request.url.startswith(connection.base_url):
            yield f"examples.{index}: the request is not sent to {connection.base_url}"
        shown = f"{prepared!r} {request!r}"
        for name, declared in connection.fields.items():
            if declared.secret and secrets[name] in shown:
                yield f"examples.{index}: the repr of the request contains {name}"


def _reading(spec: ToolSpec, answers: list[Any]) -> Iterator[str]:
    for status in _JUNK_STATUSES:
        for junk in _JUNK:
            try:
                _read(spec, junk, status)
            except SimDevinError:
                pass
            except Exception as error:
                yield (
                    f"reading {junk!r} with status {status} raised {type(error).__name__}: "
                    f"{error}; raise a SimDevinError, such as UnreadableResponse"
                )
                return
    if not answers and spec.read is None:
        answers = [_wire_sample(spec.answer)]
    elif not answers:
        yield "answers: read= is Python, so pass answers=[…] as sent by the service"
    for index, answer in enumerate(answers):
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        try:
            output = _read(spec, body, 200)
        except Exception as error:
            yield f"answers.{index}: reading it raised {type(error).__name__}: {error}"
            continue
        yield from _output(spec, output, index)


def _output(spec: ToolSpec, output: Any, index: int) -> Iterator[str]:
    for error in json_schema.validator(spec.answer).iter_errors(output):
        place = ".".join(str(part) for part in error.absolute_path) or "the output"
        yield f"answers.{index}: {place}: {error.message}"
    if not isinstance(output, dict):
        return
    for name in spec.answer["properties"]:
        if name not in output:
            yield f"answers.{index}: the declared output {name!r} is missing"
    for name in spec.answer.get("required", ()):
        if output.get(name) is None:
            yield f"answers.{index}: the required output {name!r} is null"


def _read(spec: ToolSpec, body: bytes, status: int) -> Any:
    return invoke.read(spec, Response(status, {}, body), now=0.0)


def _wire_sample(schema: Schema) -> Any:
    """Return a value as the service would send it: keys by `x-from`, of the declared types."""
    if schema.get("examples"):
        return schema["examples"][0]
    if schema.get("enum"):
        return schema["enum"][0]
    declared = schema.get("type", "string")
    kind = declared if isinstance(declared, str) else next(k for k in declared if k != "null")
    if kind == "object":
        return {
            item.get("x-from", name): _wire_sample(item)
            for name, item in schema.get("properties", {}).items()
        }
    if kind == "array":
        return [_wire_sample(schema["items"])] if "items" in schema else []
    return _SAMPLES[kind]


# -- jobs ------------------------------------------------------------------------------------


def job_violations(job: JobSpec, registry: Registry) -> Iterator[str]:
    """Yield what is wrong with a kind of job."""
    if JobSpec.model_validate(job.to_json()).to_json() != job.to_json():
        yield "it does not come back the same from its JSON"
    inconsistent = list(job_problems(job, registry.tools))
    yield from inconsistent
    if inconsistent:
        return
    traits = {role: registry.tools[tool].traits for role, tool in job.tools.items()}
    for role in ("look", "look_many", "find", "messages"):
        if role in traits and not traits[role].read_only:
            yield f"{role}: {job.tools[role]} is not readOnly, and is called again and again"
    for role in ("create", "answer"):
        if role in traits and (traits[role].read_only or traits[role].idempotent):
            yield f"{role}: {job.tools[role]} must be neither readOnly nor idempotent"
    if "end" in traits and not traits["end"].idempotent:
        yield f"end: {job.tools['end']} is not idempotent, and may be called twice"
    for cap in filter(None, [job.create.cap]):
        if cap not in traits["create"].ceilings:
            yield f"create.cap: {cap!r} is not among the ceilings of {job.create.tool}"


# -- blocks ----------------------------------------------------------------------------------


def block_violations(block: BlockSpec, registry: Registry) -> Iterator[str]:
    """Yield what is wrong with a block."""
    if not block.title.strip() or not block.description.strip():
        yield "title and description: must not be blank; they are shown in the list of blocks"
    yield from _ids(block)
    missing = [tool for tool in block.operations.values() if tool not in registry.tools]
    for tool in missing:
        yield f"operations: unknown tool {tool!r}"
    for operation in block.labels:
        if operation not in block.operations:
            yield f"labels.{operation}: not an operation"
    if not block.operations:
        yield from _own_block(block, registry)
    elif not missing:
        yield from _overlays(block, registry)
        for operation in block.operations:
            yield from _plans(block, registry, operation)


def _ids(block: BlockSpec) -> Iterator[str]:
    ids = [item.id for item in block.fields]
    known = {*ids, block.operation_field}
    for item in block.fields:
        if ids.count(item.id) > 1:
            yield f"fields.{item.id}: two fields have this id"
        for name in item.shown_for or {}:
            if name not in known:
                yield f"fields.{item.id}.shownFor: unknown field {name!r}"
        if item.widget == "dropdown" and not item.options:
            yield f"fields.{item.id}: a dropdown needs options"


def _own_block(block: BlockSpec, registry: Registry) -> Iterator[str]:
    if block.type not in registry.handlers:
        yield "operations: the block has neither operations nor a handler"
    elif not block.outputs and options_of(registry.handlers[block.type]).outputs is None:
        yield "outputs: must be declared, so that invalid references are found before a run"
    for name, schema in block.outputs.items():
        for place, text in json_schema.problems(schema):
            yield f"outputs.{'.'.join(filter(None, (name, place)))}: {text}"


def _overlays(block: BlockSpec, registry: Registry) -> Iterator[str]:
    tools = [registry.tools[tool] for tool in block.operations.values()]
    for item in block.fields:
        if item.param == "":
            continue
        param = item.param or item.id
        schemas = [tool.properties[param] for tool in tools if param in tool.properties]
        if not schemas:
            yield f"fields.{item.id}: none of the block's tools has a parameter {param!r}"
        allowed = [str(choice) for schema in schemas for choice in schema.get("enum", ())]
        for option in item.options:
            if allowed and option.get("id") not in allowed:
                yield f"fields.{item.id}.options: {param} does not accept {option.get('id')!r}"


def _plans(block: BlockSpec, registry: Registry, operation: str) -> Iterator[str]:
    """Fill the form with each of the tool's examples and see whether it arrives."""
    tool = registry.tools[block.operations[operation]]
    chosen = {block.operation_field: operation}
    shown = [item for item in registry.form(block.type) if item.shown(chosen)]
    names = [item.param for item in shown if item.param is not None]
    for param in dict.fromkeys(names):
        if names.count(param) > 1:
            yield f"operations.{operation}: two fields set {param}"
    ids = {item.param: item.id for item in shown}
    for example in tool.examples:
        values = {ids[param]: value for param, value in example.items() if param in ids}
        planned, params = blocks.plan(
            block, registry.tools, registry.connections, {**values, **chosen}
        )
        checker = Checker(tool.params)
        if planned != tool.id or checker.coerce(params) != checker.coerce(example):
            yield f"operations.{operation}: the form turns the example {example} into {params}"
