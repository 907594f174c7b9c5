"""Ceilings on what a run and each of its calls may spend, kept by reserving before each call."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any

from sim_devin.errors import SimDevinError
from sim_devin.handler import BlockError
from sim_devin.schema import number


class Budget:
    """What is left of each ceiling: parameter name -> amount. Shared with child runs.

    A call that takes such a parameter reserves what it asks for, or all that it may have; what
    it may spend goes out as its own ceiling. Only a call that surely did nothing gives its
    share back, so the sum of what was allowed never exceeds the ceiling.

    Args:
        ceilings: the most that all calls may have together.
        each: the most that any one call may have.
        used: what is taken off the ceilings already.
    """

    def __init__(
        self,
        ceilings: Mapping[str, float],
        each: Mapping[str, float] | None = None,
        used: Mapping[str, float] | None = None,
    ) -> None:
        self._total = dict(ceilings)
        self._left = {name: total - (used or {}).get(name, 0.0) for name, total in ceilings.items()}
        self._each = dict(each or {})
        self._lock = threading.Lock()

    def reserve(
        self, tool_params: Mapping[str, Any], params: Mapping[str, Any]
    ) -> dict[str, float]:
        """Return the share of each ceiling that a call gets, taken off what is left.

        Raises:
            BlockError: nothing is left of one of them.
        """
        shares: dict[str, float] = {}
        with self._lock:
            for name in self._left.keys() | self._each.keys():
                if name not in tool_params:
                    continue
                left = self._left.get(name, math.inf)
                if left < 1:
                    raise BlockError(
                        f"the run's ceiling of {self._total[name]:g} for {name} is used up",
                        hint="Nothing was sent. Raise the run's ceiling, or start fewer sessions.",
                        retry=False,
                    )
                wanted = amount(params.get(name))
                most = min(left, self._each.get(name, math.inf))
                shares[name] = most if wanted is None else min(wanted, most)
            self._add(shares, -1)
        return shares

    def settle(self, shares: Mapping[str, float], error: SimDevinError) -> None:
        """Give shares back if `error` says that the call surely did nothing."""
        if error.means.did_nothing:
            self.give_back(shares)

    def give_back(self, shares: Mapping[str, float]) -> None:
        """Put shares, or what was not used of them, back to what is left."""
        with self._lock:
            self._add(shares, 1)

    def _add(self, shares: Mapping[str, float], sign: int) -> None:
        for name in shares.keys() & self._left.keys():
            self._left[name] += sign * shares[name]


def amount(value: Any) -> float | None:
    """Return what a parameter asks for, or None if it is no amount."""
    if isinstance(value, str):
        value = number(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        return None
    return float(value)


def lowered(params: Mapping[str, Any], ceilings: Mapping[str, float]) -> dict[str, Any]:
    """Return the parameters with each at most at its ceiling, and there where it is left out.

    What is no amount stays, for whoever checks it.
    """
    result = dict(params)
    for name, most in ceilings.items():
        wanted = amount(params.get(name))
        if params.get(name) in (None, "") or (wanted is not None and wanted > most):
            result[name] = most
    return result
