"""Which row of a condition holds, and whether a while loop continues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sim_devin.code import javascript
from sim_devin.code.outcome import CodeError
from sim_devin.engine.contract import BlockError

TIMEOUT = 5.0  # seconds an expression may take, as in Sim


def choose(
    rows: Iterable[Mapping[str, Any]], context: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """Return the first row that holds, None if none does.

    An ``else`` row holds as soon as it is reached; a later row is not even looked at, so a
    mistake in it does not matter.

    Raises:
        BlockError: an expression does not parse or fails.
        MissingDependency: the JavaScript engine is not installed.
    """
    bindings = {"context": dict(context)}
    for row in rows:
        title = str(row.get("title") or "").strip()
        if title.lower() == "else":
            return row
        source = str(row.get("value") or "")
        if not source.strip():
            continue
        try:
            if javascript.evaluate(source, bindings, timeout=TIMEOUT):
                return row
        except CodeError as error:
            raise BlockError(
                f'Evaluation error in condition "{title}": {error.message}',
                hint="The expression contains the values of its references: see the log's input.",
            ) from error
    return None


def loop_goes_on(source: str) -> bool:
    """Return whether a while condition holds; one that does not parse or fails does not.

    Raises:
        MissingDependency: the JavaScript engine is not installed.
    """
    try:
        return javascript.evaluate(source, {}, timeout=TIMEOUT)
    except CodeError:
        return False
