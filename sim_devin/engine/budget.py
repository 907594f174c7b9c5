"""Ceilings on what a run and each of its calls may spend, kept by reserving before each call."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any

from sim_devin.calls.ceilings import CAP, SESSIONS, amount, least, lowest
from sim_devin.engine.contract import BlockError
from sim_devin.errors import SimDevinError


class Budget:
    """What is left of each ceiling: parameter name -> amount. Shared with child runs.

    A call that takes such a parameter reserves what it asks for, or all that it may have; what
    it may spend goes out as its own ceiling. Only a call that surely did nothing gives its
    share back, so the sum of what was allowed never exceeds the ceiling.

    Args:
        ceilings: the most that all calls may have together.
        each: the most that any one call may have.
        sessions: the most sessions that all calls may start; None for any number.
        used: what is taken off the ceilings already; of sessions under `SESSIONS`.
        left: what a run had left of its own when it was suspended; it gets no more.

    Raises:
        CallerError: a ceiling is not a number of at least 1.
    """

    def __init__(
        self,
        ceilings: Mapping[str, float],
        each: Mapping[str, float] | None = None,
        *,
        sessions: int | None = None,
        used: Mapping[str, float] | None = None,
        left: Mapping[str, float] | None = None,
    ) -> None:
        count = {} if sessions is None else {SESSIONS: sessions}
        self._total = lowest(ceilings, count)
        self._left = {
            name: total - (used or {}).get(name, 0.0) for name, total in self._total.items()
        }
        for name, most in (left or {}).items():
            self._left[name] = min(most, self._left.get(name, most))
            self._total.setdefault(name, most)
        self._each = lowest(each)
        self._lock = threading.Lock()

    def left(self) -> dict[str, float]:
        """Return what is left of each ceiling, for a run that is suspended."""
        with self._lock:
            return dict(self._left)

    def reserve(
        self,
        tool_params: Mapping[str, Any],
        params: Mapping[str, Any],
        *,
        cap: str = CAP,
        starts: bool | None = None,
    ) -> dict[str, float]:
        """Return the share of each ceiling that a call gets, taken off what is left.

        Args:
            tool_params: the parameters that the tool takes.
            params: what it is called with.
            cap: the tool's name for the parameter that bounds what a call may spend.
            starts: whether the call starts a session; unless given, a tool that takes a cap does.

        Raises:
            BlockError: nothing is left of one of them.
        """
        shares: dict[str, float] = {}
        starts = cap in tool_params if starts is None else starts
        with self._lock:
            for name in self._left.keys() | self._each.keys():
                own = cap if name == CAP else name
                if not starts if name == SESSIONS else own not in tool_params:
                    continue
                left = self._left.get(name, math.inf)
                if left < 1:
                    raise BlockError(
                        f"the run's ceiling of {self._total[name]:g} for {name} is used up",
                        hint="Nothing was sent. Raise the run's ceiling, or start fewer sessions.",
                        retry=False,
                    )
                if name == SESSIONS:
                    shares[name] = 1
                    continue
                most = math.floor(min(left, self._each.get(name, math.inf)))
                shares[name] = least(amount(params.get(own)), most) or most
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


def caps(shares: Mapping[str, float]) -> dict[str, float]:
    """Return the shares that are ceilings of parameters of the call."""
    return {name: share for name, share in shares.items() if name != SESSIONS}
