"""JavaScript of conditions, while conditions and Function blocks, in an embedded engine.

The engine is QuickJS (package ``quickjs-ng``, extra ``[js]``). What depends on languages and zones,
and the words of some errors, V8 is asked for (package ``mini-racer``), which Sim runs code in. Each
evaluation has a context of its own, which has the language and nothing else: no network, files,
modules, timers or environment. Both live in a small helper process, so a limit holds even where the
engine does not look at it, and code that breaks the engine breaks the helper, not the caller.
Helpers start when first needed, are reused and end with the caller. Every function here may be
called from several threads at once; each gets its own helper. The reasons and the measurements are
in ``docs/javascript.md``.
"""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from sim_devin.code.outcome import (
    LONGEST,
    MISSING,
    CodeError,
    CodeResult,
    Kind,
    at_line,
    starting,
    to_json,
)
from sim_devin.errors import MissingDependency
from sim_devin.specs.helper_process import HelperPool, Process, start
from sim_devin.specs.json_input import NotJson, parse_json

DEFAULT_TIMEOUT = 5.0
DEFAULT_MEMORY = 64 * 1024 * 1024

# Sections of javascript_built_ins.js, and what code mentions that needs them.
_BUILT_INS = {
    "RegExp": re.compile("RegExp"),
    "Date": re.compile("Date"),
    "cbrt": re.compile("cbrt"),
    "locale": re.compile("Intl|[lL]ocale"),
}
_MAKES_CODE = re.compile(r"\beval\b|\bFunction\b|\bconstructor\b|\bglobal(This)?\b|\bthis\b")
# Not the machine's zone and language, which must not show in what a workflow gives.
_PLACE = (("TZ", "UTC"), ("LC_ALL", "en_US.UTF-8"))
_WORKER = Path(__file__).with_name("javascript_worker.py")

_IDENTIFIER = re.compile(r"[A-Za-z_$][\w$]*\Z", re.ASCII)
_FRAME = re.compile(r"^\s*at .*\(<input>:(\d+)", re.MULTILINE)  # a call

_KINDS: Mapping[str, Kind] = {
    "SyntaxError": "syntax",
    "ReferenceError": "reference",
    "TypeError": "type",
    "RangeError": "range",
}
_LABELS = {
    "Error": "",
    "SyntaxError": "Syntax Error: ",
    "ReferenceError": "Reference Error: ",
    "TypeError": "Type Error: ",
}
_NO_HOST = (
    "workflow code has no network, files, modules, timers or environment; "
    "use an API block for requests and a Wait block for time"
)
_HOST_NAMES = (
    *("fetch", "XMLHttpRequest", "WebSocket"),
    *("require", "module", "exports", "process", "Buffer"),
    *("setTimeout", "setInterval", "setImmediate"),
)

SourceKind = Literal["expression", "function"]


class JavaScriptError(CodeError):
    """JavaScript that does not parse, fails, or goes over a limit."""


def available() -> bool:
    """Tell whether the engine (extra ``[js]``) is installed."""
    return importlib.util.find_spec("quickjs") is not None


def evaluate(
    expression: str,
    bindings: Mapping[str, Any],
    *,
    timeout: float = DEFAULT_TIMEOUT,
    memory: int = DEFAULT_MEMORY,
) -> bool:
    """Tell whether a condition holds: ``Boolean(expression)``, inside an async function.

    Args:
        expression: JavaScript; ``await`` works, and nothing at all is false.
        bindings: name -> JSON value, each a constant the expression can use.
        timeout: seconds, at most a day.
        memory: bytes of engine heap.

    Raises:
        JavaScriptError: the expression does not parse (`message` has the line) or fails
            (`message` is the bare reason).
        MissingDependency: the engine is not installed.
    """
    return bool(_ask(expression, "expression", bindings, timeout, memory).value)


def run(
    body: str,
    bindings: Mapping[str, Any],
    *,
    timeout: float = DEFAULT_TIMEOUT,
    memory: int = DEFAULT_MEMORY,
) -> CodeResult:
    """Run the body of an async function; its ``return`` gives the value.

    The value crosses as JSON: NaN and the infinities become null, undefined members are
    dropped. Lines written with ``console`` come back as `Outcome.stdout`.

    Args:
        body: JavaScript.
        bindings: name -> JSON value, each a constant the code can use.
        timeout: seconds, at most a day.
        memory: bytes of engine heap.

    Raises:
        JavaScriptError: the code does not parse, fails, or goes over a limit.
        MissingDependency: the engine is not installed.
    """
    return _ask(body, "function", bindings, timeout, memory)


def syntax_problem(source: str, *, kind: SourceKind) -> tuple[int, str] | None:
    """Return the line (from 1) and the reason why `source` does not parse, or None.

    Raises:
        MissingDependency: the engine is not installed.
    """
    try:
        _ask(source, kind, {}, DEFAULT_TIMEOUT, DEFAULT_MEMORY, compile_only=True)
    except JavaScriptError as error:
        return error.line or 1, error.detail
    return None


def _ask(
    source: str,
    kind: SourceKind,
    bindings: Mapping[str, Any],
    timeout: float,
    memory: int,
    *,
    compile_only: bool = False,
) -> CodeResult:
    for name in bindings:
        if not _IDENTIFIER.match(name):
            raise ValueError(f"{name!r} is not a valid constant name")
    payload = {
        "source": source,
        "kind": kind,
        "names": ",".join(bindings),
        "bindings": bindings,
        "compileOnly": compile_only,
        "builtIns": [] if compile_only else _built_ins(source),
    }
    timeout = min(max(float(timeout), 0.0), LONGEST)
    try:
        request = f"{timeout!r} {memory} {to_json(payload)}\n".encode()
    except RecursionError:
        raise _too_deep() from None
    reply = _exchange(request, timeout)
    try:
        report = parse_json(reply)
    except NotJson:
        raise _too_deep() from None
    match report["stage"]:
        case "done":
            return CodeResult(report.get("value", MISSING), report["stdout"])
        case "timeout":
            raise _timed_out(timeout)
        case "pending":
            raise JavaScriptError(
                f"Waits for a promise that can never settle: {_NO_HOST}", kind="timeout"
            )
        case "memory":
            raise _out_of_memory(memory)
    error = report["error"]
    if error.get("none") or (error["name"], error["message"]) == ("InternalError", "out of memory"):
        # Often the engine has no memory left for an error of its own, and throws null instead.
        raise _out_of_memory(memory)
    raise _failure(source, kind, report)


def _built_ins(source: str) -> list[str]:
    """Return the sections of ``javascript_built_ins.js`` that code may need."""
    anything = _MAKES_CODE.search(source)
    return [name for name, used in _BUILT_INS.items() if anything or used.search(source)]


def _exchange(request: bytes, timeout: float) -> bytes:
    # The second helper is a fresh one: the first may have been killed by someone while idle.
    # Code has no effect outside its context, so running it again does no harm.
    for fresh in (False, True):
        started = time.monotonic()
        reply = _pool.ask(request, fresh=fresh)
        if reply:
            return reply
        if time.monotonic() - started >= timeout:
            raise _timed_out(timeout)
    raise JavaScriptError("The JavaScript engine crashed on this code", kind="crash")


def _timed_out(timeout: float) -> JavaScriptError:
    return JavaScriptError(f"Execution timed out after {timeout:g} s", kind="timeout")


def _out_of_memory(memory: int) -> JavaScriptError:
    return JavaScriptError(
        f"Out of memory (limit {memory / 2**20:g} MiB), or null was thrown", kind="memory"
    )


def _too_deep() -> JavaScriptError:
    return JavaScriptError("The data is nested too deeply to cross as JSON", kind="range")


def _failure(source: str, source_kind: SourceKind, report: Mapping[str, Any]) -> JavaScriptError:
    error, stage = report["error"], report["stage"]
    name = cast("str | None", error["name"])
    detail = _worded(error["message"])
    kind: Kind = _KINDS.get(name or "", "thrown")
    line = None
    if stage == "compile":
        line = _line(error.get("line"), source)
    elif stage == "run":  # a result that JSON has no form for comes from no line of the user's
        frame = _FRAME.search(error.get("stack", ""))
        line = _line(frame and frame[1], source)
    if name is None or (source_kind == "expression" and stage != "compile"):
        message = detail
    else:
        message = f"{_LABELS.get(name, f'{name}: ')}{at_line(source, line)}{detail}"
    return JavaScriptError(
        message, kind=kind, line=line, detail=detail, stdout=report.get("stdout", "")
    )


def _line(line: str | int | None, source: str) -> int | None:
    if line is None:
        return None
    # The code can write its own stack, and the wrapper ends one line below the source.
    return max(1, min(int(line), source.count("\n") + 1))


def _worded(message: str) -> str:
    missing = message.removesuffix(" is not defined")
    return f"{message} ({_NO_HOST})" if missing in _HOST_NAMES and missing != message else message


def _start() -> Process:
    engine = importlib.util.find_spec("quickjs")
    if engine is None or engine.origin is None:
        raise MissingDependency("JavaScript in a workflow", "js")
    with starting():
        folder = str(Path(engine.origin).parent.parent)
        return start(str(_WORKER), folder, env=_PLACE)


_pool = HelperPool(_start)
