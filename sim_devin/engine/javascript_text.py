"""Writing values into JavaScript source, safely: data can never end the text it stands in.

Sim substitutes text; so do we, but what comes from data is spelled with Unicode escapes
wherever a plain character could close a quote, so that a value stays a value.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from sim_devin.engine.references import json_text

VARIABLES = "environmentVariables"  # what Sim calls the variables in Function code
EVERY = "*"  # in place of a name: any variable

_ONE_VARIABLE = re.compile(
    rf"""\b{VARIABLES}\s*(?:\??\.\s*([A-Za-z_$][\w$]*)|(?:\?\.)?\[\s*(['"])([^'"\\]+)\2\s*\])"""
)

Place = Literal["code", "single", "double", "template", "line", "block"]

_QUOTES: dict[str, Place] = {"'": "single", '"': "double", "`": "template"}
_CLOSING = {"single": "'", "double": '"'}
_REGEX_BEFORE = set("(,=:[!&|?{};+-*%~^<>\n")


def variables_read(source: str) -> set[str]:
    """Return the variables that code reads of `VARIABLES` by name; `EVERY` if otherwise."""
    if VARIABLES not in source:
        return set()
    found = {match[1] or match[3] for match in _ONE_VARIABLE.finditer(source)}
    return found | {EVERY} if VARIABLES in _ONE_VARIABLE.sub("", source) else found


class Scanner:
    """Follows JavaScript source piece by piece and knows whether it is inside a text."""

    def __init__(self) -> None:
        self._stack: list[Place | int] = []  # an int counts open braces inside `${…}`
        self._last = "\n"  # last significant character of code, to tell a regex from a division

    @property
    def place(self) -> Place:
        """Where the scanner stands now."""
        top = self._stack[-1] if self._stack else "code"
        return "code" if isinstance(top, int) else top

    def value(self) -> None:
        """Take note that a value stands here, as a reference does."""
        self._last = "x"

    def feed(self, source: str) -> None:
        """Follow the next piece of source."""
        at = 0
        while at < len(source):
            place = self.place
            if place == "code":
                at = self._code(source, at)
            elif place == "line":
                end = source.find("\n", at)
                at = len(source) if end < 0 else end + 1
                if end >= 0:
                    self._stack.pop()
            elif place == "block":
                end = source.find("*/", at)
                at = len(source) if end < 0 else end + 2
                if end >= 0:
                    self._stack.pop()
            else:
                at = self._quoted(source, at, place)

    def _code(self, source: str, at: int) -> int:
        character, pair = source[at], source[at : at + 2]
        top = self._stack[-1] if self._stack else None
        if character in _QUOTES:
            self._stack.append(_QUOTES[character])
            self._last = "x"
        elif pair == "//":
            self._stack.append("line")
            return at + 2
        elif pair == "/*":
            self._stack.append("block")
            return at + 2
        elif character == "/" and self._last in _REGEX_BEFORE:
            self._last = "x"
            return _after_regex(source, at)
        elif isinstance(top, int) and character == "{":
            self._stack[-1] = top + 1
        elif isinstance(top, int) and character == "}":
            if top == 0:
                self._stack.pop()
            else:
                self._stack[-1] = top - 1
        if not character.isspace() or character == "\n":
            self._last = character if character not in _QUOTES else "x"
        return at + 1

    def _quoted(self, source: str, at: int, place: Place) -> int:
        character = source[at]
        if character == "\\":
            return at + 2
        if place == "template":
            if character == "`":
                self._stack.pop()
            elif source[at : at + 2] == "${":
                self._stack.append(0)
                self._last = "("
                return at + 2
        elif character == _CLOSING[place] or character == "\n":
            self._stack.pop()
        return at + 1


def _after_regex(source: str, at: int) -> int:
    """Return the end of the regular expression that starts at `at`, or of the slash alone."""
    in_class, position = False, at + 1
    while position < len(source) and source[position] != "\n":
        character = source[position]
        if character == "\\":
            position += 1
        elif character == "[":
            in_class = True
        elif character == "]":
            in_class = False
        elif character == "/" and not in_class:
            return position + 1
        position += 1
    return at + 1


def escaped(text: str) -> str:
    """Return text for the inside of any JavaScript quotes: only letters and digits stay plain."""
    return (
        "".join(
            character
            if character.isascii() and (character.isalnum() or character in " _-.:/@")
            else _unicode(character)
            for character in text
        )
        .replace("*/", "*\\u002f")
        .replace("//", "/\\u002f")
    )


def _unicode(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def literal(value: Any, quote: str = '"') -> str:
    """Return a JSON value as a JavaScript expression."""
    if isinstance(value, str):
        return f"{quote}{escaped(value)}{quote}"
    if isinstance(value, dict):
        items = ",".join(f'"{escaped(str(key))}":{literal(item)}' for key, item in value.items())
        return f"{{{items}}}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(literal(item) for item in value)}]"
    return json_text(value)


def environment_literal(value: str) -> str:
    """Return an environment value as an expression: a number, boolean or null stays one."""
    text = value.strip()
    if text in ("true", "false", "null") or _is_number(text):
        return text
    return literal(value)


def _is_number(text: str) -> bool:
    try:
        number = float(text)
    except ValueError:
        return False
    plain = text.lstrip("-").replace(".", "", 1)
    return (
        number == number
        and plain.isdigit()
        and not (len(plain) > 1 and text.startswith("0") and "." not in text)
    )
