"""Values given on the command line: ``NAME=VALUE``, files and JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from sim_devin.errors import CallerError
from sim_devin.specs.json_input import read_json


def named_values(items: Iterable[str]) -> dict[str, Any]:
    """Return ``NAME=VALUE`` items as a mapping; a repeated name collects a list.

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
    """Return ``NAME=VALUE`` items as `named_values` does, of a repeated name the last.

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
    return read_text(text[1:], hint=f"For a text that starts with @, write {name}=@{text[:20]}.")


def read_text(source: str, *, hint: str = "") -> str:
    """Return the text of a file, or of standard input for ``-``.

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
    """Return a JSON object given as ``-`` (standard input), a file, or the text itself.

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
    """Say that secrets of these names, given as arguments, may be kept by the shell."""
    listed = ", ".join(names)
    if listed:
        click.echo(
            f"warning: {listed} on the command line may stay in the shell's history; use the "
            "environment, sim-devin config set-key, or NAME=@FILE.",
            err=True,
        )


def text_or_object(source: str) -> Any:
    """Return the JSON object in a text, a .json file or standard input; other text as it is.

    Raises:
        CallerError: it starts as a JSON object and is none.
    """
    is_object = source.lstrip().startswith("{") or source == "-" or source.endswith(".json")
    return json_object(source) if is_object else source
