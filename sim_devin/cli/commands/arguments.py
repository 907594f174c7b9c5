"""Values on the command line: ``NAME=VALUE``, files and JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from sim_devin.errors import CallerError
from sim_devin.specs.json_input import read_json


def named_values(items: Iterable[str]) -> dict[str, Any]:
    """Return ``NAME=VALUE`` items as a mapping; the values of a repeated name become a list.

    ``NAME=@FILE`` reads a file, ``NAME=@-`` standard input, ``NAME=@@TEXT`` is ``@TEXT``.

    Raises:
        CallerError: an item has no name, or a file cannot be read.
    """
    found: dict[str, list[str]] = {}
    for item in items:
        name, separator, text = item.partition("=")
        if not separator or not name:
            raise CallerError(
                f"{item[:40]!r} is not NAME=VALUE.",
                hint="Quote values with spaces: prompt='fix the build'.",
            )
        found.setdefault(name, []).append(_value(name, text))
    return {name: texts[0] if len(texts) == 1 else texts for name, texts in found.items()}


def named_texts(items: Iterable[str]) -> dict[str, str]:
    """Return ``NAME=VALUE`` items like `named_values`, keeping the last value of a repeated name.

    Raises:
        CallerError: an item has no name, or a file cannot be read.
    """
    found = named_values(items)
    return {name: text if isinstance(text, str) else text[-1] for name, text in found.items()}


def _value(name: str, text: str) -> str:
    if text.startswith("@@"):
        return text[1:]
    if not text.startswith("@"):
        return text
    return read_text(text[1:], hint=f"For a value that starts with @, write {name}=@{text[:20]}.")


def read_text(source: str, *, hint: str = "") -> str:
    """Return the content of a file, or of standard input for ``-``.

    Raises:
        CallerError: it cannot be read, or is not UTF-8.
    """
    try:
        if source == "-":
            return sys.stdin.buffer.read().decode("utf-8-sig")
        return Path(source).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise CallerError(f"{source} is not UTF-8 text.", hint=hint) from None
    except OSError as error:
        raise CallerError(f"{source} cannot be read: {error.strerror}.", hint=hint) from None


def json_object(source: str) -> dict[str, Any]:
    """Return a JSON object given as ``-`` (standard input), a file name, or the JSON itself.

    Raises:
        CallerError: it cannot be read, or is not a JSON object.
    """
    literal = source.lstrip().startswith(("{", "["))
    place = "The JSON text" if literal else "Standard input" if source == "-" else source
    text = source if literal else read_text(source)
    value = read_json(text, place)
    if not isinstance(value, dict):
        raise CallerError(f"{place} is not a JSON object.")
    return value


def warn_about_history(names: Iterable[str]) -> None:
    """Warn that the shell may keep secrets with these names, given as arguments."""
    listed = ", ".join(names)
    if listed:
        click.echo(
            f"warning: {listed} given on the command line may stay in the shell history; use the "
            "environment, sim-devin config set-key, or NAME=@FILE.",
            err=True,
        )


def text_or_object(source: str) -> Any:
    """Return the JSON object in a string, a .json file or standard input; other text unchanged.

    Raises:
        CallerError: it starts like a JSON object but is not valid.
    """
    is_object = source.lstrip().startswith("{") or source == "-" or source.endswith(".json")
    return json_object(source) if is_object else source
