"""Regular expressions of JSON Schemas: those of ECMA-262, in a process with a deadline.

The engine is ``regress``. It backtracks, as JavaScript's own does, and holds Python's lock while
it runs, so it never runs in this process. Every function may be called from several threads.
"""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from sim_devin.errors import LocalFault
from sim_devin.specs.helper_process import HelperPool, Process, start

DEADLINE = 1.0
"""Seconds that one search may take."""

_WORKER = Path(__file__).with_name("pattern_worker.py")
_REMEMBERED = 60.0  # seconds for which a pattern that was too slow is not tried again
_MOST_SLOW = 256


class CannotTell(Exception):
    """Whether a text fits a pattern cannot be found out; the message says why."""


def problem(pattern: str) -> str:
    """Return why a pattern is no regular expression of ECMA-262; empty if it is one."""
    flags, reason = _compiled(pattern)
    return reason if flags == "error" else ""


def is_legacy(pattern: str) -> bool:
    r"""Return whether a pattern compiles without the flag ``u`` alone, such as ``[\w-.]``."""
    return _compiled(pattern)[0] == ""


def found(pattern: str, text: str) -> bool:
    r"""Return whether a pattern matches somewhere in a text, as ``RegExp.test`` does.

    It is compiled with the flag ``u``, or without it where that fails: ``$`` is the end and
    nothing else, ``\d`` is ASCII, a character outside of the basic plane is one.

    Raises:
        CannotTell: it is no regular expression, or took longer than `DEADLINE`.
    """
    with _lock:
        slow = time.monotonic() - _slow.get(pattern, -_REMEMBERED) < _REMEMBERED
    if slow:
        raise CannotTell(f"took longer than {DEADLINE:g} s")
    flags, result = _ask(pattern, text)
    if flags == "error":
        raise CannotTell(f"is not a regular expression: {result}")
    return bool(result)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> tuple[str, str]:
    try:
        flags, result = _ask(pattern)
    except CannotTell as error:
        return "error", str(error)
    return flags, str(result)


def _ask(pattern: str, *text: str) -> tuple[str, Any]:
    request = json.dumps([pattern, *text]).encode() + b"\n"
    # The second helper is a fresh one: the first may have been killed by someone while idle.
    for fresh in (False, True):
        started = time.monotonic()
        reply = _pool.ask(request, fresh=fresh)
        if reply:
            flags, result = json.loads(reply)
            return flags, result
        if time.monotonic() - started >= DEADLINE:
            with _lock:
                if len(_slow) >= _MOST_SLOW:
                    _slow.clear()
                _slow[pattern] = time.monotonic()
            raise CannotTell(f"took longer than {DEADLINE:g} s")
    raise CannotTell("is too large for the regular expression engine")


def _start() -> Process:
    engine = importlib.util.find_spec("regress")
    if engine is None or engine.origin is None:
        raise LocalFault("The package regress is missing.", hint="Reinstall sim-devin.")
    folder = Path(engine.origin).parent.parent
    try:
        return start(str(_WORKER), str(folder), str(DEADLINE))
    except OSError as error:
        raise LocalFault(
            f"Cannot start the process that matches schema patterns: {error.strerror}."
        ) from error


_lock = threading.Lock()
_slow: dict[str, float] = {}
_pool = HelperPool(_start)
