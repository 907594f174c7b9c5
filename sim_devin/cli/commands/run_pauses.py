"""A run's questions and their answers: given in advance, or typed at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from sim_devin.cli.commands.options import Finite
from sim_devin.cli.commands.output import harmless, json_text
from sim_devin.errors import InvalidParams
from sim_devin.store.records import ASKING


def answer_to(
    waits: Sequence[Mapping[str, Any]], given: Iterator[Any], *, ask: bool
) -> tuple[str, Any] | None:
    """Return the wait to answer (its context id) and the answer, or None.

    The answer is the next one in `given`; after those, with `ask`, the person at the terminal is
    prompted.
    """
    asked = [wait for wait in waits if wait["kind"] in ASKING]
    if not asked:
        return None
    wait = asked[0]
    answer = next(given, None)
    if answer is None and ask and sys.stdin.isatty() and sys.stderr.isatty():
        answer = _fitting(wait)
    return None if answer is None else (wait["contextId"], answer)


def shown(point: Mapping[str, Any]) -> Iterator[str]:
    """Yield, line by line, what a pause shows to the person who answers it."""
    shows = [(item.get("name"), item.get("value")) for item in _data(point, "responseStructure")]
    for name, value in [*shows, *point.get("parameters", {}).items()]:
        text = harmless(value if isinstance(value, str) else json_text(value))
        # Indented further than the names, so that no value looks like another line.
        yield f"  {harmless(name)}: {text.replace(chr(10), chr(10) + ' ' * 6)}"


def fields(point: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the fields of a pause's form."""
    return _data(point, "inputFormat")


def _data(point: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    response = point.get("response")
    data = response.get("data") if isinstance(response, Mapping) else None
    items = data.get(key) if isinstance(data, Mapping) else None
    return [item for item in items or () if isinstance(item, Mapping)]


def _asked(wait: Mapping[str, Any]) -> Any:
    click.echo(f"\n{harmless(wait.get('blockName', 'The run'))} is waiting for you.", err=True)
    for name in ("question", "message", "note", "hint"):
        if wait.get(name):
            click.echo(f"  {harmless(wait[name])}", err=True)
    if wait["kind"] == "question":
        return click.prompt("Your answer to Devin", err=True)
    if wait["kind"] == "uncertain":
        return _found_out()
    for line in shown(wait):
        click.echo(line, err=True)
    if wait["kind"] == "approval":
        return _yes_or_no()
    return {str(field["name"]): _field(field) for field in fields(wait)}


def _fitting(wait: Mapping[str, Any]) -> Any:
    """Return what the person at the terminal answers; a form is shown until it is right."""
    from sim_devin.engine.typed_inputs import read_answer

    while True:
        answer = _asked(wait)
        if wait["kind"] != "human":
            return answer
        try:
            read_answer(fields(wait), answer, place=str(wait.get("blockName", "The run")))
        except InvalidParams as error:
            click.echo(harmless(str(error)), err=True)
        else:
            return answer


def _yes_or_no() -> dict[str, Any] | None:
    known = click.Choice(["yes", "no", "later"])
    word = click.prompt("Approve this call?", type=known, default="later", err=True)
    return None if word == "later" else {"approved": word == "yes"}


def _found_out() -> dict[str, Any] | None:
    known = click.Choice(["done", "repeat", "fail", "later"])
    word = click.prompt("Was the request carried out?", type=known, default="later", err=True)
    if word == "done":
        return {"sessionId": click.prompt("Session id", err=True)}
    return None if word == "later" else {word: True}


def _field(field: Mapping[str, Any]) -> Any:
    label = harmless(field.get("label") or field["name"])
    kind, default = field.get("type"), field.get("value")
    if kind == "boolean":
        return click.confirm(label, default=default in (True, "true"), err=True)
    if kind == "number":
        return click.prompt(label, type=Finite(), default=default or None, err=True)
    text = default if isinstance(default, str) else "" if default is None else json_text(default)
    required = bool(field.get("required")) and not text
    return click.prompt(label, default=None if required else text, err=True)
