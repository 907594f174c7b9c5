"""The Function block: JavaScript in the embedded engine, Python where it was allowed."""

from __future__ import annotations

from typing import Any

from sim_devin.code import javascript, python_code
from sim_devin.code import outcome as code_outcome
from sim_devin.code.outcome import CodeError, at_line
from sim_devin.engine.contract import BlockContext, BlockError, CodeText, handler

TIMEOUT = 300.0  # seconds, unless the run's deadline comes first


@handler(modes={"code": "code"})
def function(block: BlockContext) -> dict[str, Any]:
    """Run the code; return what it returned and printed."""
    code = block.values.get("code")
    text = code if isinstance(code, CodeText) else CodeText("", {}, "")
    remaining = block.remaining()
    timeout = TIMEOUT if remaining is None else max(0.1, min(TIMEOUT, remaining))
    language = block.values.get("language") or "javascript"
    try:
        if language == "javascript":
            outcome = javascript.run(text.source, text.bindings, timeout=timeout)
        elif language == "python" and block.services.allows_python:
            outcome = python_code.run_python(text.source, text.bindings, timeout=timeout)
        else:
            raise BlockError(
                f"{str(language).title()} is not allowed in Function blocks here.",
                hint="Use JavaScript, or allow Python for workflows you trust.",
                retry=False,
            )
    except CodeError as error:
        line, shown = (at_line(each, error.line) for each in (text.source, text.told))
        message = error.message.replace(line, shown, 1)
        raise BlockError(message, output=_printed(error.stdout)) from error
    if outcome.value is code_outcome.MISSING:
        return {"stdout": outcome.stdout}
    return {"result": outcome.value, "stdout": outcome.stdout}


def _printed(stdout: str) -> dict[str, Any]:
    return {"stdout": stdout} if stdout else {}
