"""Read folders of spec files, and report problems precisely.

A folder contains ``*.tool.json``, ``*.block.json``, ``*.connection.json``, ``*.job.json`` and, if
outputs are shared, one ``shapes.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from sim_devin.errors import InvalidSpec, UnknownName
from sim_devin.specs.job_check import job_problems
from sim_devin.specs.jobs import JobSpec
from sim_devin.specs.json_input import NotJson, parse_json
from sim_devin.specs.models import SHAPES, BlockSpec, Connection, Schema, SpecModel, ToolSpec
from sim_devin.specs.spec_problems import problems_of
from sim_devin.text import did_you_mean

M = TypeVar("M", bound=SpecModel)

FUNCTIONS = ("prepare", "read", "run", "reconcile")
_KINDS: dict[str, type[SpecModel]] = {
    ".tool.json": ToolSpec,
    ".block.json": BlockSpec,
    ".connection.json": Connection,
    ".job.json": JobSpec,
}


@dataclass(frozen=True)
class Specs:
    """What one plugin provides, and the `problems` of its files.

    It provides tools, blocks, connections, and the kinds of jobs that its tools handle.
    """

    tools: tuple[ToolSpec, ...] = ()
    blocks: tuple[BlockSpec, ...] = ()
    connections: tuple[Connection, ...] = ()
    problems: tuple[InvalidSpec, ...] = field(default=(), compare=False)
    jobs: tuple[JobSpec, ...] = ()

    def attach(self, tool_id: str, **functions: Callable[..., Any]) -> Specs:
        """Return the specs with Python functions attached to one of the tools.

        `functions` are `prepare`, `read`, `run` or `reconcile`, see `ToolSpec`. If files are
        broken, a missing tool is assumed to be in one of them.

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
        """Return the specs with the function that interprets a job's state.

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
    """Return the folder of the built-in specs: inside the installed package, or beside it."""
    package = Path(__file__).parent.parent
    installed = package / "tool_specs"
    return installed if installed.is_dir() else package.parent / "tool_specs"


def load_specs(folder: Path | Traversable) -> Specs:
    """Return the specs of a folder, for a plugin's hook `sim_devin_specs`.

    A broken file disables only itself: it is listed in `Specs.problems`, which the registry reports
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
    found: dict[type[SpecModel], list[Any]] = {kind: [] for kind in _KINDS.values()}
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
        if wrong:  # if the tool's own file is broken, that file's error says what to fix
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
        InvalidSpec: not JSON, not in the spec language, or inconsistent.
    """
    document = _json_object(file)
    try:
        spec = kind.model_validate(document)
    except ValidationError as error:
        raise InvalidSpec(file.name, [_words(item, kind) for item in error.errors()]) from None
    if isinstance(spec, ToolSpec):
        spec = spec.model_copy(update={"shapes": shapes or {}})
    problems = list(problems_of(spec)) if thorough else []
    if problems:
        raise InvalidSpec(file.name, problems)
    return spec


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


def _words(item: Any, kind: type[SpecModel]) -> str:
    place = ".".join(str(part) for part in item["loc"]) or "the file"
    if item["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in _model_at(item["loc"], kind).items()]
        hint = did_you_mean(str(item["loc"][-1]), known) or f"Known: {', '.join(known)}."
        return f"{place}: unknown key. {hint}"
    message = item["msg"].removeprefix("Value error, ")
    return f"{place}: {message[0].lower()}{message[1:]}"


def _model_at(place: Sequence[str | int], kind: type[SpecModel]) -> Mapping[str, FieldInfo]:
    """Return the fields of the model that holds the key at a place in a file."""
    fields = kind.model_fields
    for part in place[:-1]:
        named = next((f for name, f in fields.items() if part in (name, f.alias)), None)
        if named is not None:
            fields = next(_models(named.annotation), kind).model_fields
    return fields


def _models(annotation: Any) -> Iterator[type[SpecModel]]:
    """Yield the models in a field's type."""
    if isinstance(annotation, type) and issubclass(annotation, SpecModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
