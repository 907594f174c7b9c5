"""References in text: which ``<…>`` and ``{{…}}`` are meant as such, and walking their paths.

A reference is ``<name.path>`` to a block, a loop, a parallel or a variable; ``{{NAME}}`` is
an environment variable. Everything here is pure and knows no run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sim_devin.specs import json_input
from sim_devin.specs.json_input import NotJson
from sim_devin.text import text as scalar_text

_ANGLE = re.compile(r"<([^<>]+)>")
_ENV = re.compile(r"\{\{([^}]+)\}\}")
_OPERATOR = re.compile(r"(^|\s)[<>=!+*/]+\s|^\s*[<>=!]+\s*$")
_NOT_A_NAME = re.compile(r"[+*/=<>!]")
_PIECE = re.compile(r"([^\[\]]*)((?:\[[^\]]*\])*)")
_INDEX = re.compile(r"\[([^\]]*)\]")


class _Missing:
    """The one value for "there is nothing there", as opposed to null."""

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Any = _Missing()


@dataclass(frozen=True)
class Reference:
    """``<head.path>``: `head` as written, `path` in pieces, a number being an index."""

    text: str
    head: str
    path: tuple[str | int, ...]

    @property
    def path_text(self) -> str:
        """The path as written, for messages."""
        return self.text[1:-1].partition(".")[2]


@dataclass(frozen=True)
class EnvName:
    """``{{name}}``: the name is used exactly as written."""

    text: str
    name: str


Segment = str | Reference | EnvName


def normalize(name: str) -> str:
    """Return a block's or variable's name as references spell it."""
    return re.sub(r"\s+", "", name).replace(".", "").lower()


@lru_cache(maxsize=4096)
def split(text: str) -> tuple[Segment, ...]:
    """Return `text` cut into literal text, references and environment names, in order."""
    segments: list[Segment] = []
    end = 0
    for match in _ANGLE.finditer(text):
        if looks_like_reference(match.group(1)):
            segments += _split_env(text[end : match.start()])
            segments.append(parse_reference(match.group(0)))
            end = match.end()
    segments += _split_env(text[end:])
    return tuple(segments)


def _split_env(text: str) -> list[Segment]:
    segments: list[Segment] = []
    end = 0
    for match in _ENV.finditer(text):
        if match.start() > end:
            segments.append(text[end : match.start()])
        segments.append(EnvName(match.group(0), match.group(1)))
        end = match.end()
    if end < len(text):
        segments.append(text[end:])
    return segments


def looks_like_reference(inner: str) -> bool:
    """Return whether the text between ``<`` and ``>`` is a reference, not a comparison or markup.

    There is no escape: what looks like a reference to an existing block is one.
    """
    if inner.startswith(" ") or _OPERATOR.search(inner):
        return False
    head, dot, tail = inner.partition(".")
    if dot:
        return " " not in tail and not _NOT_A_NAME.search(head) and not _NOT_A_NAME.search(tail)
    return not (_NOT_A_NAME.search(inner) or _is_number(inner) or re.search(r"\s\d", inner))


def parse_reference(text: str) -> Reference:
    """Return the reference in ``<…>``."""
    head, *pieces = text[1:-1].split(".")
    path: list[str | int] = []
    for piece in pieces:
        path += _piece(piece)
    return Reference(text, head, tuple(path))


def _piece(piece: str) -> list[str | int]:
    match = _PIECE.fullmatch(piece)
    if match is None or not match.group(2):
        return [int(piece) if _is_number(piece) else piece]
    name, brackets = match.groups()
    parts: list[str | int] = [int(name) if _is_number(name) else name] if name else []
    # An index that is not a plain number is ignored: the list itself is meant.
    return parts + [int(index) for index in _INDEX.findall(brackets) if _is_number(index)]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()  # "²" is a digit to Python, and no number


def walk(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return what `path` leads to inside JSON data, or `MISSING`."""
    for piece in path:
        if isinstance(value, list):
            if isinstance(piece, int):
                value = value[piece] if piece < len(value) else MISSING
            else:
                value = len(value) if piece == "length" else MISSING
        elif isinstance(value, Mapping):
            value = value.get(str(piece), MISSING)
        else:
            return MISSING
        if value is MISSING:
            return MISSING
    return value


# -- values as text ------------------------------------------------------------------------------


def value_text(value: Any) -> str:
    """Return a value as it stands in an ordinary text: JavaScript's String(), JSON for the rest."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, (bool, int, float)):
        return scalar_text(value)
    return json_text(value)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return JSON as JavaScript's JSON.stringify writes it."""
    separators = (",", ": ") if indent else (",", ":")
    return json.dumps(_js_numbers(value), ensure_ascii=False, separators=separators, indent=indent)


def _js_numbers(value: Any) -> Any:
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return None
        return int(value) if value.is_integer() and abs(value) < 1e21 else value
    if isinstance(value, Mapping):
        return {str(key): _js_numbers(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_js_numbers(item) for item in value]
    return value


def parse_json(text: Any) -> Any:
    """Return parsed JSON text, or `MISSING` when it does not parse as strict JSON."""
    if not isinstance(text, str):
        return MISSING
    try:
        return json_input.parse_json(text)
    except NotJson:
        return MISSING
