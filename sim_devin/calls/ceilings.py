"""Ceilings: what a caller gave as one, the lowest of several, and parameters kept below them.

Everything that merges or applies ceilings does it here, so that none can raise another one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sim_devin.errors import CallerError
from sim_devin.specs.models import ToolSpec
from sim_devin.specs.schema import number
from sim_devin.text import trim

# What bounds the cost of a job, as stores, callers and the tools of workflows call it. The tool
# that creates a job may have another name for it: see `cap_of`.
CAP = "maxAcuLimit"
SESSIONS = "sessions"  # beside it among the shares of a call: how many sessions it starts


def amount(value: Any) -> float | None:
    """Return what a parameter asks for as a finite number above 0, or None if it is none.

    Text counts as the number it holds (``"5.0"``, ``"1e3"``); true and false are no numbers.
    """
    if isinstance(value, str):
        value = number(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        return None
    return int(value) if value == math.floor(value) else value


def is_nothing(value: Any) -> bool:
    """Return whether a value is none at all: null, or text of nothing but blanks."""
    return value is None or (isinstance(value, str) and not trim(value))


def checked(name: str, value: float | None) -> float | None:
    """Return a ceiling as a program, a file or the command line gave it; None for none.

    Raises:
        CallerError: it is not a number of at least 1. No ceiling is dropped for being wrong.
    """
    if value is None:
        return None
    real = not isinstance(value, bool) and isinstance(value, (int, float))
    if not real or not 1 <= value < math.inf:
        raise CallerError(f"{name} is {str(value)[:60]!r}; it must be at least 1, or None.")
    return value


def least(*limits: float | None) -> float | None:
    """Return the lowest of some ceilings, of which each may be None for no ceiling."""
    return min((limit for limit in limits if limit is not None), default=None)


def lowest(*ceilings: Mapping[str, float] | None) -> dict[str, float]:
    """Return parameter -> the lowest of its ceilings.

    Raises:
        CallerError: one of them is not a number of at least 1.
    """
    merged: dict[str, float] = {}
    for given in ceilings:
        for name, value in (given or {}).items():
            limit = least(checked(f"The ceiling of {name}", value), merged.get(name))
            if limit is not None:
                merged[name] = limit
    return merged


def cap_of(spec: ToolSpec) -> str:
    """Return the parameter of a tool that bounds what a call may spend; empty for none."""
    return spec.cap or (CAP if CAP in spec.properties else "")


def of_tool(spec: ToolSpec, ceilings: Mapping[str, float]) -> dict[str, float]:
    """Return those ceilings that a tool has a parameter for, by the tool's own names."""
    own = [{cap_of(spec) if name == CAP else name: most} for name, most in ceilings.items()]
    return {name: most for name, most in lowest(*own).items() if name in spec.properties}


def lowered(params: Mapping[str, Any], ceilings: Mapping[str, float]) -> dict[str, Any]:
    """Return the parameters with each at most at its ceiling, and there where it is left out.

    What is no amount stays, for whoever checks it. Caps are whole numbers, so a ceiling counts
    rounded down.
    """
    result = dict(params)
    for name, ceiling in ceilings.items():
        most, wanted = math.floor(ceiling), amount(params.get(name))
        if params.get(name) in (None, "") or (wanted is not None and wanted > most):
            result[name] = most
    return result
