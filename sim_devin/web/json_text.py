"""Rewrite a JSON text so that what did not change keeps its bytes.

The browser's JSON knows one kind of number and one way to write it, so a document that went
through it comes back with other bytes even where nobody touched it. `rewrite` compares the
values and takes the old text for everything that is equal, whitespace included: the diff of
a saved workflow shows the edit and nothing else.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s,\]}"]+', re.DOTALL)
HALF = re.compile("[\ud800-\udfff]")
_EXACT = 2**53  # a double holds whole numbers up to here


@dataclass
class _Node:
    """A value in the text: where it stands, and its parts."""

    start: int
    end: int
    value: Any
    members: dict[str, _Node] = field(default_factory=dict)
    items: list[_Node] = field(default_factory=list)


def rewrite(old: str, new: Any) -> str:
    """Return JSON text of `new`, with the text of `old` wherever both are equal.

    Keys keep the order they have in `old`; new ones come last. Without valid old text the
    result is plain indented JSON. Halves of characters, which UTF-8 has no bytes for, are
    written as escapes.
    """
    return HALF.sub(lambda found: f"\\u{ord(found.group()):04x}", _rewritten(old, new))


def _rewritten(old: str, new: Any) -> str:
    try:
        old_value = json.loads(old)
    except (ValueError, RecursionError):
        return json.dumps(new, ensure_ascii=False, indent=2) + "\n"
    node = _Reader(old).read()
    if _equal(old_value, new):
        return old
    unit = _indent_unit(old)
    body = _render(old, node, new, unit, 0)
    return old[: node.start] + body + old[node.end :]


class _Reader:
    """Reads valid JSON into nodes; validity was checked before."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> _Node:
        self._skip()
        start = self._at
        opening = self._text[start]
        if opening == "{":
            return self._object(start)
        if opening == "[":
            return self._array(start)
        match = _SCALAR.match(self._text, start)
        assert match is not None  # noqa: S101 - the text is valid JSON
        self._at = match.end()
        return _Node(start, self._at, json.loads(match.group()))

    def _object(self, start: int) -> _Node:
        members: dict[str, _Node] = {}
        self._at += 1
        while self._next() != "}":
            key = self.read()
            self._expect(":")
            members[key.value] = self.read()
            if self._next() == ",":
                self._at += 1
        self._at += 1
        values = {key: node.value for key, node in members.items()}
        return _Node(start, self._at, values, members=members)

    def _array(self, start: int) -> _Node:
        items: list[_Node] = []
        self._at += 1
        while self._next() != "]":
            items.append(self.read())
            if self._next() == ",":
                self._at += 1
        self._at += 1
        return _Node(start, self._at, [node.value for node in items], items=items)

    def _skip(self) -> None:
        match = _SPACE.match(self._text, self._at)
        if match is not None:
            self._at = match.end()

    def _next(self) -> str:
        self._skip()
        return self._text[self._at]

    def _expect(self, character: str) -> None:
        if self._next() == character:
            self._at += 1


def _render(text: str, node: _Node, new: Any, unit: str, depth: int) -> str:
    if _equal(node.value, new):
        return text[node.start : node.end]
    if isinstance(new, dict) and isinstance(node.value, dict):
        order = [key for key in node.members if key in new]
        order += [key for key in new if key not in node.members]
        parts = []
        for key in order:
            if key in node.members:
                part = _render(text, node.members[key], new[key], unit, depth + 1)
            else:
                part = _fresh(new[key], unit, depth + 1)
            parts.append(f"{json.dumps(key, ensure_ascii=False)}:{' ' if unit else ''}{part}")
        return _bracket("{}", parts, unit, depth)
    if isinstance(new, list) and isinstance(node.value, list):
        return _bracket("[]", _render_items(text, node.items, new, unit, depth), unit, depth)
    return _fresh(new, unit, depth)


def _render_items(text: str, old: list[_Node], new: list[Any], unit: str, depth: int) -> list[str]:
    """Render a list's items, each beside the old item that it most likely was."""
    parts = []
    by_id = {
        node.value["id"]: node
        for node in old
        if isinstance(node.value, dict) and isinstance(node.value.get("id"), str)
    }
    for index, item in enumerate(new):
        before = by_id.get(item["id"]) if _has_id(item) else None
        if before is None and index < len(old) and not _has_id(item):
            before = old[index]
        if before is None:
            parts.append(_fresh(item, unit, depth + 1))
        else:
            parts.append(_render(text, before, item, unit, depth + 1))
    return parts


def _has_id(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("id"), str)


def _bracket(pair: str, parts: list[str], unit: str, depth: int) -> str:
    if not parts:
        return pair
    if not unit:
        return pair[0] + ",".join(parts) + pair[1]
    inner, outer = "\n" + unit * (depth + 1), "\n" + unit * depth
    return pair[0] + inner + ("," + inner).join(parts) + outer + pair[1]


def _fresh(value: Any, unit: str, depth: int) -> str:
    if not unit:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    lines = json.dumps(value, ensure_ascii=False, indent=unit)
    return lines.replace("\n", "\n" + unit * depth)


def _indent_unit(text: str) -> str:
    """Return one step of the text's indentation; empty for a text in one line."""
    match = re.search(r"[{\[]\r?\n([ \t]+)", text)
    return match.group(1) if match else ""


def _equal(old: Any, new: Any) -> bool:
    """Return whether two JSON values are equal after a trip through a browser."""
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    if isinstance(old, (int, float)) and isinstance(new, (int, float)):
        return old == new or (abs(old) > _EXACT and float(old) == float(new))
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_equal(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_equal, old, new))
    return type(old) is type(new) and bool(old == new)
