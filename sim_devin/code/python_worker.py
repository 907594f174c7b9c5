"""The process that a piece of Python runs in: one request on standard input, one reply.

Started as a script by `sim_devin.code.python_code`; it imports nothing of this package. It limits
itself before it looks at the code, then runs the code as the body of a function.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import math
import os
import sys
import traceback
from typing import Any

FILENAME = "<code>"
BODY = "__body__"
_FRAMES = 50  # of a traceback, from its end
_OPEN_FILES = 32
_FILE_SIZE = 16 * 1024 * 1024


def limit(timeout: float, memory: int) -> None:
    """Give up what code in a workflow has no need of, as far as the platform can."""
    try:
        resource = importlib.import_module("resource")
    except ImportError:  # Windows; the caller's clock still holds
        return
    for name, value in (
        ("RLIMIT_CPU", math.ceil(timeout) + 1),  # whole seconds; the caller's clock is finer
        ("RLIMIT_AS", memory),
        ("RLIMIT_FSIZE", _FILE_SIZE),
        ("RLIMIT_NOFILE", _OPEN_FILES),
        ("RLIMIT_NPROC", 0),  # no new processes or threads; the superuser is exempt
        ("RLIMIT_CORE", 0),
    ):
        if hasattr(resource, name):
            # macOS knows RLIMIT_AS and refuses to set it.
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(getattr(resource, name), (value, value))


def compiled(source: str) -> Any:
    """Return code that defines the function `BODY`, whose body is `source`.

    The tree is wrapped and not the text, so that lines and long strings stay as written.
    """
    parsed = ast.parse(source, FILENAME)
    module = ast.parse(f"def {BODY}(): pass")
    function = module.body[0]
    if isinstance(function, ast.FunctionDef):
        function.body = parsed.body or function.body
    return compile(module, FILENAME, "exec")


def run(source: str, bindings: dict[str, Any]) -> dict[str, Any]:
    """Run `source`, and return what it gave or why it failed."""
    printed = io.StringIO()
    try:
        scope: dict[str, Any] = {"__name__": "__main__", **bindings}
        exec(compiled(source), scope)  # noqa: S102 - what this process is for
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            value = scope[BODY]()
        json.dumps(value)
    except BaseException as error:  # the code may raise SystemExit too
        reply = failure(error)
    else:
        reply = {"value": value}
    return {**reply, "stdout": printed.getvalue().removesuffix("\n")}


def failure(error: BaseException) -> dict[str, Any]:
    """Describe an error, with the last line of the user's that it went through."""
    described = {
        "type": type(error).__name__,
        "bases": [base.__name__ for base in type(error).__mro__],
    }
    if isinstance(error, SyntaxError) and error.filename == FILENAME:
        return {**described, "error": error.msg, "line": error.lineno, "parsed": False}
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__, limit=-_FRAMES)
        if frame.filename == FILENAME
    ]
    line = lines[-1] if lines else None
    return {**described, "error": str(error), "line": line, "parsed": True}


def without_nan(value: Any) -> Any:
    """Return JSON data with null for what JSON has no number for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return value


if __name__ == "__main__":
    request = json.load(sys.stdin.buffer)
    # What the code itself writes to the descriptor must not mix with the reply.
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    limit(request["timeout"], request["memory"])
    reply = run(request["source"], request["bindings"])
    replies.write(json.dumps(without_nan(reply)) + "\n")
    replies.flush()
    os._exit(0)  # threads and exit handlers of the code's do not keep it alive
