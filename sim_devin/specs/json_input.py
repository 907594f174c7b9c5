"""The one reader of JSON from outside: files, requests, answers, arguments, options.

What it returns can be written as JSON again and gone through by functions that call themselves:
no NaN, no infinity, no number that a double cannot hold, and at most `DEEPEST` levels.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NoReturn

from sim_devin.errors import CallerError

DEEPEST = 100  # levels of lists and objects
_LONG = re.compile(r"\d{300}")  # digits that could be more than a double holds


class NotJson(ValueError):
    """A text is no JSON that can be taken; says why in words that follow what it is about."""


class TooMuch(NotJson):
    """A text is JSON, with more levels or a larger number than can be taken."""


class CannotBeTaken(CallerError):
    """What was sent is JSON, with more levels or a larger number than can be taken."""


def parse_json(text: str | bytes, *, clip: bool = False) -> Any:
    """Return the value of a JSON text, which may begin with a byte order mark.

    With `clip` a number that is too large is read as null.

    Raises:
        NotJson: it is none, or holds what cannot be taken.
    """
    value, problem = _parsed(text, clip)
    if problem is not None:  # raised here, without a context, which would keep the whole text
        raise problem
    return value


def _parsed(text: str | bytes, clip: bool) -> tuple[Any, NotJson | None]:
    """Return the value, or what is wrong."""
    try:
        text = (text.decode("utf-8") if isinstance(text, bytes) else text).removeprefix("\ufeff")
        numbers: dict[str, Any] = {"parse_float": partial(_number, float, clip)}
        if _LONG.search(text):
            numbers["parse_int"] = partial(_number, int, clip)
        value = json.loads(text, parse_constant=_no_constant, **numbers)
    except NotJson as error:
        return None, error.with_traceback(None)
    except UnicodeDecodeError:
        return None, NotJson("is not UTF-8 text")
    except json.JSONDecodeError as error:
        return None, NotJson(
            f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        )
    except RecursionError:
        return None, TooMuch(_too_deep())
    except ValueError:  # a number of more digits than Python reads
        return None, TooMuch("contains a number that is too large")
    if text.count("[") + text.count("{") > DEEPEST and is_deep(value):
        return None, TooMuch(_too_deep())
    return value, None


def read_json(text: str | bytes, what: str) -> Any:
    """Return the value of a JSON text; `what` is what it is called in an error.

    Raises:
        CallerError: it is no JSON, or holds what cannot be taken.
    """
    try:
        return parse_json(text)
    except TooMuch as error:
        raise CannotBeTaken(f"{what} {error}.") from None
    except NotJson as error:
        raise CallerError(f"{what} {error}.") from None


def require_json(value: Any, what: str) -> None:
    """Refuse a value that `problem_of` finds something wrong with.

    Raises:
        CallerError: says what is wrong; `what` is what the value is called.
    """
    problem = problem_of(value)
    if problem:
        raise CallerError(f"{what} {problem}.")


def problem_of(value: Any) -> str:
    """Return what is wrong with data that a program passes in; empty if JSON can hold it.

    Types that are written as text, such as dates, are taken.
    """
    if is_deep(value):
        return _too_deep()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
        elif isinstance(item, int | float) and not _is_double(item):
            shown = "a whole number that is too large" if isinstance(item, int) else str(item)
            return f"contains {shown}, which is not a JSON number"
    return ""


def is_deep(value: Any) -> bool:
    """Return whether a value has more than `DEEPEST` levels, or holds itself."""
    level = [value]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                below += [one for one in item.values() if isinstance(one, _HOLDS)]
            elif isinstance(item, list | tuple):
                below += [one for one in item if isinstance(one, _HOLDS)]
        if not below:
            return False
        level = list({id(one): one for one in below}.values())
    return True


_HOLDS = (Mapping, list, tuple)


def _is_double(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def _too_deep() -> str:
    return f"is nested too deeply: more than {DEEPEST} levels"


def _no_constant(name: str) -> NoReturn:
    raise NotJson(f"is not JSON: {name} is not a JSON value")


def _number(kind: type[float], clip: bool, text: str) -> float | None:
    if math.isfinite(float(text)):
        return kind(text)
    if clip:
        return None
    raise TooMuch(f"contains a number that is too large: {text[:20]}")
