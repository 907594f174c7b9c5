"""A ceiling on what a whole run may spend, kept by reserving before each call."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from sim_devin.errors import SimDevinError, surely_did_nothing
from sim_devin.handler import BlockError
from sim_devin.schema import number


class Budget:
    """What is left of each ceiling: parameter name -> amount. Shared with child runs.

    A call that takes such a parameter reserves what it asks for, or all that is left; what
    it may spend goes out as its own ceiling. Only a call that surely did nothing gives its
    share back, so the sum of what was allowed never exceeds the ceiling.
    """

    def __init__(self, ceilings: Mapping[str, float]) -> None:
        self._total = dict(ceilings)
        self._left = dict(ceilings)
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
            for name, left in self._left.items():
                if name not in tool_params:
                    continue
                if left < 1:
                    raise BlockError(
                        f"the run's ceiling of {self._total[name]:g} for {name} is used up",
                        hint="Nothing was sent. Raise the run's ceiling, or start fewer sessions.",
                        retry=False,
                    )
                wanted = amount(params.get(name))
                shares[name] = left if wanted is None else min(wanted, left)
            for name, share in shares.items():
                self._left[name] -= share
        return shares

    def settle(self, shares: Mapping[str, float], error: SimDevinError) -> None:
        """Give shares back if `error` says that the call surely did nothing."""
        if surely_did_nothing(error):
            with self._lock:
                for name, share in shares.items():
                    self._left[name] += share


def amount(value: Any) -> float | None:
    """Return what a parameter asks for, or None if it is no amount."""
    if isinstance(value, str):
        value = number(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        return None
    return float(value)
