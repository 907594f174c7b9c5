"""What running a piece of a user's code gives: an `CodeResult`, or a `CodeError`.

Shared by the JavaScript engine and the Python runner, so that a Function block need not know
which language it ran.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final, Literal, NamedTuple

from sim_devin.calls.local_faults import remedy
from sim_devin.errors import LocalFault

LONGEST = 86_400.0
"""No code runs longer than this many seconds, whatever its caller allows."""


class _Absent(Enum):
    MISSING = "MISSING"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Absent.MISSING
"""The value of code that returned nothing (JavaScript's ``undefined``)."""

Kind = Literal["syntax", "reference", "type", "range", "thrown", "timeout", "memory", "crash"]


class CodeResult(NamedTuple):
    """What a piece of code returned and printed.

    Attributes:
        value: JSON value, or `MISSING` when nothing was returned.
        stdout: printed lines, joined by a newline, without a final one.
    """

    value: Any
    stdout: str


class CodeError(Exception):
    """A piece of code did not parse, failed, or went over a limit.

    Attributes:
        message: the whole text to show, with the place and the kind of failure.
        detail: what went wrong, without the place.
        line: line in the user's source, from 1; None when it is not known.
        kind: ``syntax``, ``reference`` (a name that does not exist), ``type``, ``range``,
            ``thrown`` (any other error of the code's own), ``timeout``, ``memory``, or
            ``crash`` (the process that ran the code died).
        stdout: what the code printed before it failed.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: Kind,
        line: int | None = None,
        detail: str = "",
        stdout: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind: Kind = kind
        self.line = line
        self.detail = detail or message
        self.stdout = stdout

    def __reduce__(self) -> tuple[Any, ...]:
        # The default rebuilds from positional arguments alone, which keyword arguments break.
        return (_rebuild, (type(self), self.message, dict(self.__dict__)))


def _rebuild(cls: type[CodeError], message: str, state: Mapping[str, Any]) -> CodeError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


def at_line(source: str, line: int | None) -> str:
    """Return ``Line 2: `source text` - `` for a line of `source`, or nothing without a line."""
    if line is None:
        return ""
    lines = source.split("\n")  # engines count by it; splitlines() knows more ends of lines
    text = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    return f"Line {line}: `{text}` - " if text else f"Line {line}: "


def to_json(value: Any) -> str:
    """Return `value` as ASCII JSON text, the way JavaScript's ``JSON.stringify`` reads data.

    NaN and the infinities become null, and members whose value is `MISSING` are dropped.

    Raises:
        TypeError, ValueError, RecursionError: `value` is not JSON data.
    """
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError):
        return json.dumps(_cleaned(value), allow_nan=False, separators=(",", ":"))


def _cleaned(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _cleaned(item) for key, item in value.items() if item is not MISSING}
    if isinstance(value, list | tuple):
        return [None if item is MISSING else _cleaned(item) for item in value]
    return value


@contextmanager
def starting() -> Iterator[None]:
    """Say of a process that cannot be started what this machine is short of.

    Raises:
        LocalFault: it cannot be started now.
    """
    try:
        yield
    except OSError as error:
        raise LocalFault(
            f"Cannot start a process for the code: {error.strerror}.", hint=remedy(error)
        ) from error
