"""The process that patterns from outside run in: one request a line, one reply a line.

Started as a script by `sim_devin.specs.patterns`; it imports nothing of this package. Its
arguments are the folder that holds the engine, and the seconds that one request may take. A
request is JSON: ``[pattern]`` to compile, ``[pattern, text]`` to search. A reply is JSON:
``["u", found]`` or ``["", found]`` with the flags that the pattern compiled with, or
``["error", reason]``. The engine backtracks and looks at no clock: a thread in C ends the process
at the deadline.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import sys
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

_MEMORY = 1024 * 1024 * 1024  # bytes of address space, for a pattern that remembers every step


@lru_cache(maxsize=256)
def compiled(pattern: str) -> tuple[str, Any]:
    r"""Return the flags that a pattern compiles with and the engine's object for it.

    With ``u`` first, as validators in JavaScript do: it gives ``\p{L}`` and whole characters,
    and refuses escapes that mean nothing, which older patterns have.
    """
    engine = sys.modules["regress"]
    try:
        return "u", engine.Regex(pattern, "u")
    except engine.RegressError as error:
        try:
            return "", engine.Regex(pattern, "")
        except engine.RegressError:
            return "error", str(error)


def answer(pattern: str, text: str | None = None) -> list[Any]:
    """Return the reply to one request."""
    flags, made = compiled(_whole(pattern))
    if flags == "error":
        return [flags, made]
    return [flags, text is not None and made.find(_whole(text)) is not None]


def _whole(text: str) -> str:
    """Return a text with U+FFFD for halves of characters, which the engine cannot take."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def limit_memory() -> None:
    """Give up what no pattern has need of, where the platform can."""
    with suppress(ImportError, AttributeError, ValueError, OSError):
        resource = importlib.import_module("resource")
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


if __name__ == "__main__":
    sys.path.append(sys.argv[1])
    importlib.import_module("regress")
    seconds = float(sys.argv[2])
    limit_memory()
    with Path(os.devnull).open("w") as nowhere:
        for line in sys.stdin.buffer:
            faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
            reply = json.dumps(answer(*json.loads(line)))
            faulthandler.cancel_dump_traceback_later()
            sys.stdout.buffer.write(reply.encode() + b"\n")
            sys.stdout.buffer.flush()
