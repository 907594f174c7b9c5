"""Read folders of spec files, and say precisely what is wrong in them.

A folder holds ``*.tool.json``, ``*.block.json``, ``*.connection.json``, ``*.job.json`` and, if
outputs are shared, one ``shapes.json``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from sim_devin.errors import InvalidSpec, UnknownName
from sim_devin.specs import json_schema
from sim_devin.specs.job_check import job_problems
from sim_devin.specs.jobs import JobSpec
from sim_devin.specs.json_input import NotJson, parse_json
from sim_devin.specs.models import (
    EXTRA_BODY,
    EXTRA_QUERY,
    PARAMETER,
    PLACEHOLDER,
    BlockSpec,
    Connection,
    Model,
    Schema,
    ToolSpec,
)
from sim_devin.text import did_you_mean

M = TypeVar("M", bound=Model)

SHAPES = "shapes.json"
FUNCTIONS = ("prepare", "read", "run", "reconcile")
_KINDS: dict[str, type[Model]] = {
    ".tool.json": ToolSpec,
    ".block.json": BlockSpec,
    ".connection.json": Connection,
    ".job.json": JobSpec,
}


@dataclass(frozen=True)
class Specs:
    """What one plugin brings, and `problems` with its files.

    That is tools, blocks, connections, and the kinds of jobs that its tools deal with.
    """

    tools: tuple[ToolSpec, ...] = ()
    blocks: tuple[BlockSpec, ...] = ()
    connections: tuple[Connection, ...] = ()
    problems: tuple[InvalidSpec, ...] = field(default=(), compare=False)
    jobs: tuple[JobSpec, ...] = ()

    def attach(self, tool_id: str, **functions: Callable[..., Any]) -> Specs:
        """Return the specs with Python functions attached to one of the tools.

        `functions` are `prepare`, `read`, `run` or `reconcile`, see `ToolSpec`. Where files
        are broken, a tool that is not there is taken to be in one of them.

        Raises:
            UnknownName: there is no such tool here, or a tool has no such function.
        """
        for name in functions:
            if name not in FUNCTIONS:
                raise UnknownName("function of a tool", name, FUNCTIONS)
        ids = [tool.id for tool in self.tools]
        if tool_id not in ids:
            if self.problems:
                return self
            raise UnknownName("tool", tool_id, ids)
        tools = list(self.tools)
        index = ids.index(tool_id)
        tools[index] = tools[index].model_copy(update=functions)
        return replace(self, tools=tuple(tools))

    def attach_judge(self, job_id: str, judge: Callable[..., Any]) -> Specs:
        """Return the specs with the function that says what a job's state means.

        See `JobSpec.judge`.

        Raises:
            UnknownName: there is no such kind of job here.
        """
        ids = [job.id for job in self.jobs]
        if job_id not in ids:
            if self.problems:
                return self
            raise UnknownName("kind of job", job_id, ids)
        jobs = [
            job.model_copy(update={"judge": judge}) if job.id == job_id else job
            for job in self.jobs
        ]
        return replace(self, jobs=tuple(jobs))


def builtin_folder() -> Path:
    """Return the folder of the built-in specs: inside the installed package, else beside it."""
    package = Path(__file__).parent.parent
    installed = package / "tool_specs"
    return installed if installed.is_dir() else package.parent / "tool_specs"


def load_specs(folder: Path | Traversable) -> Specs:
    """Return the specs of a folder, for a plugin's hook `sim_devin_specs`.

    A broken file costs only itself: it stands in `Specs.problems`, which the registry reports
    and which strict mode makes fatal.
    """
    return read_folder(folder)


def read_folder(folder: Path | Traversable, *, thorough: bool = True) -> Specs:
    """Return the valid specs of a folder, and in `problems` one error for each broken file.

    `thorough` also checks each tool's schemas, placeholders and examples.
    """
    if not folder.is_dir():
        missing = InvalidSpec(str(folder), ["is not a folder of spec files"])
        return Specs(problems=(missing,))
    files = sorted((item for item in folder.iterdir() if item.is_file()), key=lambda f: f.name)
    problems: list[InvalidSpec] = []
    shapes: dict[str, Schema] = {}
    found: dict[type[Model], list[Any]] = {kind: [] for kind in _KINDS.values()}
    named: dict[str, str] = {}  # kind of job -> its file
    # shapes.json first: the tools refer to it.
    for file in sorted(files, key=lambda f: f.name != SHAPES):
        kind = next((kind for ending, kind in _KINDS.items() if file.name.endswith(ending)), None)
        try:
            if file.name == SHAPES:
                shapes = _json_object(file)
            elif kind is not None:
                spec = read_file(file, kind, shapes, thorough=thorough)
                found[kind].append(spec)
                if isinstance(spec, JobSpec):
                    named[spec.id] = file.name
        except InvalidSpec as error:
            problems.append(error)
    tools = {tool.id: tool for tool in found[ToolSpec]}
    for job in [*found[JobSpec]] if thorough else ():
        wrong = list(job_problems(job, tools))
        if wrong:  # of a tool whose own file is broken, that file says what to mend
            problems.append(InvalidSpec(named[job.id], wrong))
            found[JobSpec].remove(job)
    return Specs(
        tuple(found[ToolSpec]),
        tuple(found[BlockSpec]),
        tuple(found[Connection]),
        tuple(problems),
        tuple(found[JobSpec]),
    )


def read_file(
    file: Traversable,
    kind: type[M],
    shapes: dict[str, Schema] | None = None,
    *,
    thorough: bool = True,
) -> M:
    """Return one spec file as its model.

    Raises:
        InvalidSpec: not JSON, not of the language, or inconsistent in itself.
    """
    document = _json_object(file)
    try:
        spec = kind.model_validate(document)
    except ValidationError as error:
        raise InvalidSpec(file.name, [_words(item, kind) for item in error.errors()]) from None
    if not isinstance(spec, ToolSpec):
        return spec
    tool = spec.model_copy(update={"shapes": shapes or {}})
    problems = list(tool_problems(tool)) if thorough else []
    if problems:
        raise InvalidSpec(file.name, problems)
    return tool


def _json_object(file: Traversable) -> dict[str, Any]:
    try:
        document = parse_json(file.read_bytes())
    except OSError as error:
        raise InvalidSpec(file.name, [f"cannot be read: {error.strerror}"]) from None
    except NotJson as error:
        raise InvalidSpec(file.name, [str(error)]) from None
    if not isinstance(document, dict):
        raise InvalidSpec(file.name, ["is not a JSON object"])
    return document


def _words(item: Any, kind: type[Model]) -> str:
    place = ".".join(str(part) for part in item["loc"]) or "the file"
    if item["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in kind.model_fields.items()]
        hint = did_you_mean(str(item["loc"][-1]), known)
        return f"{place}: unknown key. {hint}".strip()
    message = item["msg"].removeprefix("Value error, ")
    return f"{place}: {message[0].lower()}{message[1:]}"


def tool_problems(spec: ToolSpec) -> Iterator[str]:
    """Yield what is inconsistent inside one tool, as ``place: what``."""
    problems = list(_schemas_problems(spec))
    if not problems:  # what follows relies on them
        problems += _parameter_problems(spec)
    if not problems and spec.request is not None:
        problems += _request_problems(spec)
        problems += _example_problems(spec)
    yield from problems


def _schemas_problems(spec: ToolSpec) -> Iterator[str]:
    yield from _schema_problems("params", spec.params)
    if spec.params.get("type") != "object":
        yield 'params: must be {"type": "object", …}'
    if "$ref" in spec.output:
        reference, known = spec.output["$ref"], [f"{SHAPES}#/{name}" for name in spec.shapes]
        if reference not in known:
            hint = did_you_mean(str(reference), known)
            yield f"output.$ref: unknown shape {reference!r}. {hint}".rstrip()
            return
        if len(spec.output) > 1:
            yield "output: $ref must be the only key"
    answer: Any = spec.answer
    if (
        not isinstance(answer, dict)
        or answer.get("type") != "object"
        or not answer.get("properties")
    ):
        yield 'output: must be {"type": "object", "properties": {…}}'
    else:
        yield from _schema_problems("output", answer)


def _parameter_problems(spec: ToolSpec) -> Iterator[str]:
    for name in spec.required:
        if name not in spec.properties:
            yield f"params.required: {name!r} is not one of the properties"
    for name, item in spec.properties.items():
        if not re.fullmatch(PARAMETER, name):
            yield f"params.properties.{name}: the name must match {PARAMETER}"
        if item.get("x-visibility", "user-only") != "user-only":
            # A slip of the pen would show the parameter to models.
            yield f"params.properties.{name}.x-visibility: must be 'user-only' or absent"
    named = (("modelInput", spec.traits.model_input), ("ceilings", spec.traits.ceilings))
    for trait, names in named:
        for name in names:
            if name not in spec.properties:
                yield f"traits.{trait}: {name!r} is not a parameter. " + did_you_mean(
                    name, spec.properties
                )


def _schema_problems(place: str, schema: Schema) -> Iterator[str]:
    found = list(json_schema.problems(schema))
    for path, text in found:
        yield f"{'.'.join(filter(None, (place, path)))}: {text}"
    if not found:
        yield from _boolean_problems(place, schema)


def _boolean_problems(place: str, schema: Schema) -> Iterator[str]:
    """Yield where a schema is `true` or `false` although we read what it says."""
    parts = {f"properties.{name}": item for name, item in schema.get("properties", {}).items()}
    if "items" in schema:
        parts["items"] = schema["items"]
    for name, part in parts.items():
        if isinstance(part, dict):
            yield from _boolean_problems(f"{place}.{name}", part)
        else:
            yield f"{place}.{name}: must be an object"


def _request_problems(spec: ToolSpec) -> Iterator[str]:
    request = spec.request
    assert request is not None  # noqa: S101 - the caller checked
    if not request.path.startswith("/"):
        yield "request.path: must start with /"
    if request.body is not None and request.method == "GET":
        yield "request.body: a GET cannot have a body"
    used = set(PLACEHOLDER.findall(request.path))
    for part, mapping in (("query", request.query), ("body", request.body or {})):
        for wire, template in mapping.items():
            if not PLACEHOLDER.fullmatch(template):
                yield f'request.{part}.{wire}: must be a single "{{parameter}}"'
            used |= set(PLACEHOLDER.findall(template))
    for name in sorted(used - set(spec.properties)):
        # What is no parameter has to be a field of the connection; the registry knows those.
        if spec.connection is None:
            yield f"request: {{{name}}} is not a parameter. {did_you_mean(name, spec.properties)}"
    for name in spec.properties:
        if name not in used and name not in (EXTRA_BODY, EXTRA_QUERY):
            yield f"params.properties.{name}: not used in the request"


def _example_problems(spec: ToolSpec) -> Iterator[str]:
    from sim_devin.specs.schema import Checker

    checker = Checker(spec.params)
    for index, example in enumerate(spec.examples):
        for problem in checker.problems(checker.coerce(example), example):
            yield f"examples.{index}: {problem}"


def connection_problems(spec: ToolSpec, connections: Iterable[Connection]) -> Iterator[str]:
    """Yield what is wrong between a tool and the connection it names."""
    known = {connection.id: connection for connection in connections}
    if spec.connection is None or spec.request is None:
        return
    connection = known.get(spec.connection)
    if connection is None:
        yield (
            f"connection: unknown connection {spec.connection!r}. "
            f"{did_you_mean(spec.connection, known)}"
        )
        return
    placeholders = set(PLACEHOLDER.findall(spec.request.path))
    for name in sorted(placeholders - set(spec.properties) - set(connection.fields)):
        names = [*spec.properties, *connection.fields]
        yield (
            f"request.path: {{{name}}} is neither a parameter nor a field of "
            f"{connection.id!r}. {did_you_mean(name, names)}"
        )
    for name in sorted(set(spec.properties) & set(connection.fields)):
        yield f"params.properties.{name}: the connection {connection.id!r} has a field of that name"
