"""Values that are known before a run, held against what the block does with them.

A value without references is checked as a call would check it; one with references is left to
the run, except that variables of the environment are filled in where they are known.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from sim_devin.calls.ceilings import amount
from sim_devin.engine.contract import Written
from sim_devin.engine.graph import surely_run
from sim_devin.engine.problem import Level, Problem
from sim_devin.engine.program import Program
from sim_devin.engine.references import EnvName, split
from sim_devin.engine.serializer import missing_fields, params, unset_credentials
from sim_devin.engine.start import is_start
from sim_devin.engine.workflow import NOTE, Block
from sim_devin.errors import SimDevinError, UnknownName
from sim_devin.specs.forms import FormField
from sim_devin.specs.models import BlockSpec, Schema
from sim_devin.specs.schema import Checker, describe, shorten
from sim_devin.text import did_you_mean

_CHECKED = ("integer", "number", "boolean")  # lists and objects are read by the handlers


def field_problems(program: Program, env: Mapping[str, str] | None) -> Iterator[Problem]:
    """Yield what is wrong with the values of each block that may run.

    `env` is what ``{{NAME}}`` stands for; None if that is not known.
    """
    surely = surely_run(program.graph)
    for block in program.workflow.blocks.values():
        if not block.enabled or block.is_container or block.type == NOTE:
            continue
        if not is_start(block, program.is_trigger):
            yield from _block_problems(program, block, env, surely)


def _block_problems(
    program: Program, block: Block, env: Mapping[str, str] | None, surely: Container[str]
) -> Iterator[Problem]:
    told: set[str] = set()
    for problem in _missing(program, block, env):
        told.add(problem.place)
        yield problem
    if block.id not in program.graph.place:
        return  # it never runs; that is told
    written = known(program, block, env)
    spec = program.services.block(block.type)
    if spec is not None and spec.operations:
        found = _call_problems(program, block, written, surely)
    else:
        found = _own_problems(program, block, written)
    for problem in found:
        if problem.place not in told:
            yield _without_variables(problem, block, written)


def _missing(program: Program, block: Block, env: Mapping[str, str] | None) -> Iterator[Problem]:
    credentials = program.services.credentials(block.type)
    provided = [name for name in credentials if program.services.has_credential(name)]
    for item in missing_fields(block, program.form(block.type), credentials, provided):
        variable = credentials.get(item.id)
        hint = f"Bind it, for example --set '{block.name}.{item.id}=…'"
        yield _no_value(block, item, f"{hint}, or set {variable}." if variable else f"{hint}.")
    for field, variable in unset_credentials(block, credentials, env) if env is not None else ():
        yield Problem(
            f"the variable {variable} is not set",
            place=f"{block.name}.{field}",
            block_id=block.id,
            hint=f"Set {variable} in the environment.",
        )


def _no_value(block: Block, item: FormField, hint: str) -> Problem:
    return Problem(
        f"the field {item.title or item.id!r} has no value",
        place=f"{block.name}.{item.id}",
        block_id=block.id,
        hint=hint,
    )


# -- which values are known ------------------------------------------------------------------------


def known(program: Program, block: Block, env: Mapping[str, str] | None) -> Written:
    """Return the values of a block as far as they are known before a run."""
    form = program.form(block.type)
    values = params(block, form) if form else block.values
    settled: dict[str, Any] = {}
    unknown: set[str] = set()
    from_env: set[str] = set()
    for name, value in values.items():
        if is_open(value, env):
            unknown.add(name)
        else:
            settled[name] = _filled(value, env)
            if settled[name] != value:
                from_env.add(name)
    return Written(
        block,
        settled,
        frozenset(unknown),
        frozenset(from_env),
        partial(is_open, env=env),
        program.services,
        env,
    )


def is_open(value: Any, env: Mapping[str, str] | None = None) -> bool:
    """Return whether only a run knows a value: it holds references, or variables not known."""
    if isinstance(value, str):
        return any(
            not isinstance(part, str)
            and not (isinstance(part, EnvName) and env is not None and part.name in env)
            for part in split(value)
        )
    if isinstance(value, Mapping):
        return any(is_open(item, env) for item in value.values())
    return isinstance(value, list) and any(is_open(item, env) for item in value)


def _filled(value: Any, env: Mapping[str, str] | None) -> Any:
    if isinstance(value, str):
        parts = (p if isinstance(p, str) else (env or {})[p.name] for p in split(value))  # type: ignore[union-attr]
        return "".join(parts)
    if isinstance(value, Mapping):
        return {key: _filled(item, env) for key, item in value.items()}
    return [_filled(item, env) for item in value] if isinstance(value, list) else value


def _without_variables(problem: Problem, block: Block, written: Written) -> Problem:
    """Return a problem that shows the variable where it would show the variable's value."""
    field = problem.place.removeprefix(f"{block.name}.").partition(".")[0]
    if field not in written.from_env:
        return problem
    _, _, wanted = problem.text.rpartition("; ")
    text = f"the value of {shorten(block.values.get(field))} is invalid"
    return replace(problem, text=f"{text}; {wanted}" if wanted.startswith("pass ") else text)


def is_blank(value: Any) -> bool:
    """Return whether a value is none: null, blank text, an empty list or object."""
    return value in (None, [], {}) or (isinstance(value, str) and not value.strip())


# -- blocks over tools -----------------------------------------------------------------------------


def _call_problems(
    program: Program, block: Block, written: Written, surely: Container[str]
) -> Iterator[Problem]:
    """Yield what the block's tool would refuse, miss or not know when it is called."""
    services, form = program.services, program.form(block.type)
    spec = services.block(block.type)
    if spec is None or spec.operation_field in written.unknown:
        return
    node = program.graph.node(block.id)
    # Of these Sim says only when the tool is called.
    is_sure = block.id in surely and not (node is not None and node.has_error_port)
    level: Level = "error" if is_sure else "warning"
    place = f"{block.name}.{spec.operation_field}"
    open_values = {name: block.values[name] for name in written.unknown if name in block.values}
    try:
        tool_id, planned = services.plan(block.type, {**open_values, **written.values})
    except UnknownName as error:
        hint = error.hint or f"Choose one of {', '.join(spec.operations)}."
        yield Problem(error.message, place=place, block_id=block.id, hint=hint, level=level)
        return
    chosen = _chosen(spec, written.values)
    shown = {item.param or item.id: item for item in form if item.shown(chosen)}
    credentials = services.credentials(block.type)
    for item in form:
        if item.param is None or item.id in credentials or item.id in written.unknown:
            continue
        if item.required(chosen) and is_blank(planned.get(item.param)):
            for problem in _not_given(block, spec, item, chosen):
                yield replace(problem, level=level)
    for text in services.refusals(tool_id, planned):
        name, _, what = text.partition(": ")
        field = shown.get(name.partition("[")[0].partition(".")[0].strip("'"))
        if field is None or field.id in written.unknown or field.id in credentials:
            continue
        if not is_blank(planned.get(field.param or field.id)):
            yield Problem(
                f"{field.title or field.id}: {what}",
                place=f"{block.name}.{field.id}",
                block_id=block.id,
                hint="Correct the value: a call with it would be rejected.",
            )


def _chosen(spec: BlockSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with the operation that a run takes where none was chosen."""
    default = spec.default_operation or next(iter(spec.operations))
    if len(spec.operations) == 1:
        return {**values, spec.operation_field: default}
    return {**values, spec.operation_field: values.get(spec.operation_field) or default}


def _not_given(
    block: Block, spec: BlockSpec, item: FormField, chosen: Mapping[str, Any]
) -> Iterator[Problem]:
    if not is_blank(block.values.get(spec.operation_field)) or len(spec.operations) == 1:
        yield _no_value(block, item, "Set a value: a call without it would be rejected.")
        return
    operation = chosen[spec.operation_field]
    yield Problem(
        f"no operation is selected: {operation} is used, and {item.title or item.id!r} gets no "
        "value, since the fields of an operation count only if it is selected",
        place=f"{block.name}.{spec.operation_field}",
        block_id=block.id,
        hint=f"Select the operation: {operation!r} or another one.",
    )


# -- blocks with handlers of their own -------------------------------------------------------------


def _own_problems(program: Program, block: Block, written: Written) -> Iterator[Problem]:
    """Yield what does not fit the declared types, and what the block's handler cannot use."""
    for item in program.form(block.type):
        value = written.values.get(item.id)
        if item.id in written.unknown or is_blank(value):
            continue
        place = f"{block.name}.{item.id}"
        if item.type in _CHECKED:
            schema: Schema = {"type": item.type}
            checker = Checker({"type": "object", "properties": {item.id: schema}})
            for text in checker.problems(checker.coerce({item.id: value}), {item.id: value}):
                what = f"{item.title or item.id}: {text.partition(': ')[2]}"
                hint = f"Write {describe(schema)}, or leave it empty."
                yield Problem(what, place=place, block_id=block.id, hint=hint)
        elif item.bounds(block.values) and amount(value) is None:
            yield Problem(
                f"{item.title or item.id}: got {shorten(value)}; pass a number above 0",
                place=place,
                block_id=block.id,
                hint="The field is a ceiling: leave it empty for no ceiling.",
                widens=True,
            )
        elif item.options:
            yield from _option_problems(block, item, value)
    step = program.steps.get(block.id)
    check = None if step is None else step.check
    if check is None:
        return
    try:
        found = list(check(written))
    except SimDevinError as error:
        found = [Problem(error.message, hint=error.hint)]
    for problem in found:
        place = f"{block.name}.{problem.place}" if problem.place else block.name
        yield replace(problem, place=place, block_id=block.id)


def _option_problems(block: Block, item: FormField, value: Any) -> Iterator[Problem]:
    ids = [option["id"] for option in item.options]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if text not in ids and text.lower() not in map(str.lower, ids):
        yield Problem(
            f"{shorten(value)} is not a choice of {item.title or item.id!r}",
            place=f"{block.name}.{item.id}",
            block_id=block.id,
            hint=did_you_mean(text, ids) or f"Choose one of {', '.join(ids)}.",
            level="warning",
        )
