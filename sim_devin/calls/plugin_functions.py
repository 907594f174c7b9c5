"""What can go wrong in a plugin's own functions: it is named, and never told in its own words."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sim_devin.errors import PluginError, SimDevinError
from sim_devin.redaction import Redactor
from sim_devin.specs.models import ToolSpec

logger = logging.getLogger("sim_devin")
T = TypeVar("T")


@contextmanager
def plugin_function(
    spec: ToolSpec, name: str, owner: str, redactor: Redactor
) -> Iterator[Callable[[Any, type[T]], T]]:
    """Name the plugin and the tool in what goes wrong in a plugin's function.

    Yields what passes on its result if that is of the type that it has to be.

    `name` is the function's, `owner` the plugin's; empty for ours, whose errors pass.

    Raises:
        PluginError: the function failed, or returned something else.
    """

    def returns(result: Any, kind: type[T]) -> T:
        if owner and not isinstance(result, kind):
            what = f"a {type(result).__name__}" if result is not None else "None"
            raise _at_fault(spec, f"returned {what} from {name}, not a {kind.__name__}", owner)
        try:
            if kind is dict and owner:
                json.dumps(result, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            why = f"returned from {name} what JSON has no form for ({error})"
            raise _at_fault(spec, why, owner) from None
        passed: T = result
        return passed

    try:
        yield returns
    except SimDevinError:
        raise
    except Exception as error:
        # What is ours passes: it says that a run is suspended, or that its lease is lost.
        if not owner or type(error).__module__.partition(".")[0] == "sim_devin":
            raise
        trace = "".join(traceback.format_exception(error))
        logger.error("the tool %s failed\n%s", spec.id, redactor.text(trace))
        raise _at_fault(
            spec, f"failed with an internal error: {type(error).__name__} in {name}", owner
        ) from error


def _at_fault(spec: ToolSpec, what: str, owner: str) -> PluginError:
    # Without the exception's own text, which may hold anything: models read this.
    whose = f" It belongs to the plugin {owner!r}." if owner else ""
    return PluginError(
        f"{spec.id} {what}.{whose}",
        hint="It may or may not have had an effect; do not repeat it blindly.",
    )
