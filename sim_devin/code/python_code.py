"""Python in Function blocks, in a process of its own. Only for code whose author you trust.

This is NOT a security boundary. The process starts with an empty environment, without
installed packages, in an empty temporary folder and, where the platform can, with limits on
CPU time, address space, files and processes; it is killed with its children when the time is
up. That keeps honest mistakes from hurting, and keeps keys in the caller's environment out of
sight. It does not stop an attacker: the code can read files and open connections as the user
who runs it. So callers run Python only when their user asked for it with an explicit flag.
JavaScript (`sim_devin.code.javascript`) has no such access.
"""

from __future__ import annotations

import os
import signal
import subprocess  # the process the code runs in
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sim_devin.code.outcome import LONGEST, CodeError, CodeResult, Kind, at_line, starting, to_json
from sim_devin.specs.json_input import NotJson, parse_json

DEFAULT_TIMEOUT = 30.0
DEFAULT_MEMORY = 512 * 1024 * 1024

_WORKER = Path(__file__).with_name("python_worker.py")
_KINDS: tuple[tuple[str, Kind], ...] = (
    ("SyntaxError", "syntax"),
    ("NameError", "reference"),
    ("TypeError", "type"),
    ("MemoryError", "memory"),
)


class PythonError(CodeError):
    """Python that does not parse, fails, or goes over a limit."""


def run_python(
    code: str,
    bindings: Mapping[str, Any],
    *,
    timeout: float = DEFAULT_TIMEOUT,
    memory: int = DEFAULT_MEMORY,
) -> CodeResult:
    """Run the body of a function in a new Python process; its ``return`` gives the value.

    Not a security boundary, see the module. The caller checks that its user opted in.

    Args:
        code: Python; the standard library can be imported.
        bindings: name -> JSON value, each a global name.
        timeout: seconds, at most a day.
        memory: bytes of address space, where the platform limits it (Linux does); the
            interpreter itself needs some 30 MiB of them.

    Raises:
        PythonError: the code does not parse, fails, returns what JSON has no form for, or goes
            over a limit.
        ValueError: a binding's name is not an identifier.
    """
    for name in bindings:
        if not name.isidentifier():
            raise ValueError(f"{name!r} is not a valid variable name")
    timeout = min(max(float(timeout), 0.0), LONGEST)
    payload = {"source": code, "bindings": bindings, "timeout": timeout, "memory": memory}
    try:
        request = to_json(payload).encode()
    except RecursionError:
        raise PythonError("The data is nested too deeply to cross as JSON", kind="range") from None
    reply, status, expired = _exchange(request, timeout)
    if not reply.endswith(b"\n"):
        if expired:
            raise PythonError(f"Execution timed out after {timeout:g} s", kind="timeout")
        raise PythonError(f"The Python process died (status {status})", kind="crash")
    try:
        answer = parse_json(reply)
    except NotJson as error:
        raise PythonError(f"What the code returns {error}", kind="range") from None
    if "error" not in answer:
        return CodeResult(answer["value"], answer["stdout"])
    raise _failure(code, answer)


def _exchange(request: bytes, timeout: float) -> tuple[bytes, int, bool]:
    """Return the reply, the exit status, and whether time ran out."""
    with tempfile.TemporaryDirectory(prefix="sim-devin-", ignore_cleanup_errors=True) as folder:
        with starting():
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own script
                [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                # Windows cannot start a process without this one.
                env={name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ},
                start_new_session=True,  # so that it can be killed with its children
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _kill(process)

        timer = threading.Timer(timeout, expire)
        timer.start()
        try:
            if process.stdin is None or process.stdout is None:
                raise RuntimeError("the process has no pipes")
            with suppress(OSError):  # it died early; the exit status tells
                process.stdin.write(request)
                process.stdin.close()
            reply = process.stdout.readline()
            process.stdout.close()
            if reply:
                _kill(process)  # what the code left running
            status = process.wait()
        except BaseException:
            _kill(process)
            process.wait()
            raise
        finally:
            timer.cancel()
            timer.join()
        return reply, status, expired.is_set()


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is not None:
        return  # waited for: its number may be another's by now
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _failure(code: str, answer: Mapping[str, Any]) -> PythonError:
    name, line = answer["type"], answer["line"]
    bases = answer["bases"]
    kind: Kind = next((kind for base, kind in _KINDS if base in bases), "thrown")
    text = f"{name}: {answer['error']}" if answer["error"] else name
    if answer["parsed"] is False:
        message = f"Syntax Error: {at_line(code, line)}{answer['error']}"
    else:
        message = f"{at_line(code, line)}{text}"
    return PythonError(message, kind=kind, line=line, detail=text, stdout=answer["stdout"])
