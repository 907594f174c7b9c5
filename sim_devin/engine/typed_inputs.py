"""What people and programs give by name: the inputs of a run, the answers to a form.

A start block and a form declare fields with a type in the same way (``inputFormat``), and what is
given for them is read here for every surface: text becomes the declared type where it says one, and
what cannot is refused, all at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sim_devin.engine.pauses import submission
from sim_devin.engine.references import MISSING, parse_json, value_text
from sim_devin.errors import InvalidParams
from sim_devin.specs.schema import number, shorten
from sim_devin.text import did_you_mean, nearest

Fields = Sequence[Mapping[str, Any]]

_TRUE = ("true", "yes", "y", "on", "1")
_FALSE = ("false", "no", "n", "off", "0")
TEXT = "value"  # what the answer to a form is called that is nothing but a text, as in Sim


def read_answer(fields: Fields, answer: Any, *, place: str) -> Any:
    """Return the answer to a form with its fields as their types.

    Args:
        fields: the rows of the form.
        answer: an object, JSON text of one, or a text, which is the field ``value``.
        place: what asks, for messages.

    Raises:
        InvalidParams: fields are missing, misspelt or no values of their type; names every one.
    """
    if not fields:
        return answer
    given = submission(answer)
    typed, problems = _read(fields, given)
    known = [str(field["name"]) for field in fields]
    is_text = not isinstance(answer, Mapping) and given.keys() == {TEXT}
    # What else is said is kept, as in Sim, unless it may be meant for a field that has no answer.
    is_whole = all(name in given for name in known)
    more = () if is_text else (name for name in given if not is_whole or nearest(name, known))
    problems += _unknown(more, known)
    if problems:
        raise InvalidParams(place, problems, hint=f"Its fields: {_listed(fields)}.")
    return answer if is_text and typed == given else typed


def with_types(fields: Fields, answer: Any) -> Any:
    """Return the answer to a form with what can be of its field's type as that, refusing nothing.

    So does Sim; `read_answer` is for where someone can be told.
    """
    if not fields or not isinstance(answer, Mapping):
        return answer
    typed, _ = _read(fields, submission(answer))
    return {**submission(answer), **typed}


def form_of(point: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the rows of the form that a pause shows, named ones only."""
    response = point.get("response")
    data = response.get("data") if isinstance(response, Mapping) else None
    rows = data.get("inputFormat") if isinstance(data, Mapping) else None
    return [row for row in rows or () if isinstance(row, Mapping) and row.get("name")]


def read_inputs(
    fields: Fields, inputs: Any, *, place: str, is_read: Callable[[str], bool] = lambda _: False
) -> Any:
    """Return the inputs of a run with the declared ones as their types.

    Args:
        fields: the rows of the start block; without any, the inputs are taken as they are.
        inputs: an object, or whatever else the run is given as its input.
        place: the start block, for messages.
        is_read: whether something reads an input of a name, declared or not.

    Raises:
        InvalidParams: as for `read_answer`.
    """
    if not fields:
        return inputs
    given = dict(inputs) if isinstance(inputs, Mapping) else {} if inputs is None else None
    if given is None:
        return inputs  # one value, which stands for no field
    nested = given.get("input")
    within = nested if isinstance(nested, Mapping) else {}
    typed, problems = _read(fields, {**given, **within})
    known = [str(field["name"]) for field in fields]
    problems += _unknown((name for name in given if not is_read(name)), known)
    if problems:
        raise InvalidParams(place, problems, hint=f"Its fields: {_listed(fields)}.")
    read = {name: typed[name] for name in given if name in typed}
    if within:
        read["input"] = {name: typed[name] for name in within if name in typed}
    return read


def _read(fields: Fields, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the given values as their types, and what is wrong with them."""
    typed, problems = dict(given), []
    for field in fields:
        name = str(field["name"])
        value = given.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            if field.get("required") is True and field.get("value") in (None, ""):
                problems.append(f"{name}: is required; pass {_wanted(field)}")
            elif value is not None and field.get("type") not in (None, "string"):
                typed.pop(name)  # nothing was filled in: the default counts
            continue
        found = typed_value(field.get("type"), value)
        if found is MISSING:
            problems.append(f"{name}: got {shorten(value)}; pass {_wanted(field)}")
        else:
            typed[name] = found
    return typed, problems


def _unknown(given: Iterable[str], known: Sequence[str]) -> list[str]:
    return [
        f"{shorten(name)}: is not one of its fields. {did_you_mean(name, known)}".strip().rstrip(
            "."
        )
        for name in given
        if name not in known
    ]


def typed_value(kind: Any, value: Any) -> Any:
    """Return a value as a field's type; `MISSING` if it is none. Other types take anything."""
    match kind:
        case "string":
            return value if isinstance(value, str) else value_text(value)
        case "number":
            found = number(value) if isinstance(value, str) else value
            is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
            if found is None or not is_number or not math.isfinite(found):
                return MISSING
            return int(found) if isinstance(found, float) and found.is_integer() else found
        case "boolean":
            return _boolean(value)
        case "array":
            return _list(value)
        case "object":
            found = parse_json(value) if isinstance(value, str) else value
            return found if isinstance(found, Mapping) else MISSING
        case "file" | "files" | "file[]":
            return _files(value)
    return value


def _boolean(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else str(value)
    return True if word in _TRUE else False if word in _FALSE else MISSING


def _list(value: Any) -> Any:
    if isinstance(value, str) and not value.lstrip().startswith(("[", "{")):
        return [item for part in value.split(",") if (item := part.strip())]
    found = parse_json(value) if isinstance(value, str) else value
    return found if isinstance(found, list) else MISSING


def _files(value: Any) -> Any:
    found = parse_json(value) if isinstance(value, str) else value
    files = [found] if isinstance(found, Mapping) else found
    is_right = isinstance(files, list) and all(
        isinstance(item, Mapping) and isinstance(item.get("name"), str) for item in files
    )
    return files if is_right else MISSING


def _wanted(field: Mapping[str, Any]) -> str:
    return {
        "string": "text",
        "number": "a number",
        "boolean": "true or false",
        "array": "a list: JSON, or comma-separated text",
        "object": "a JSON object",
        "file": "files: a list of objects with name and url",
        "files": "files: a list of objects with name and url",
        "file[]": "files: a list of objects with name and url",
    }.get(str(field.get("type")), "a value")


def _listed(fields: Fields) -> str:
    return ", ".join(f"{field['name']} ({_wanted(field).partition(':')[0]})" for field in fields)
