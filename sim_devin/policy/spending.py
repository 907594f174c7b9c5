"""The account of a day: what all calls and runs together have reserved.

A day is a UTC day by the clock of whatever keeps the account. If runs are kept in a store, so is
the account (`sim_devin.store.account`), and all processes that use the store share it.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sim_devin.clock import Clock, RealClock, day_of


@dataclass(frozen=True)
class Drawn:
    """A deduction from a day: ACUs and sessions."""

    acus: float = 0.0
    sessions: int = 0

    def __add__(self, other: Drawn) -> Drawn:
        return Drawn(self.acus + other.acus, self.sessions + other.sessions)

    def __bool__(self) -> bool:
        return bool(self.acus or self.sessions)


Decide = Callable[[Drawn], Drawn]  # today's reservations -> the reservation to add


class Spending(Protocol):
    """Keeps the account. `reserve` decides and records in one atomic step."""

    def reserve(self, decide: Decide) -> str:
        """Add what `decide` returns to today's reservations; return a receipt.

        Raises:
            StoreError: the account cannot be read or written; nothing may be sent.
        """
        ...

    def give_back(self, receipt: str) -> None:
        """Refund the reservation of the receipt."""
        ...


class MemorySpending:
    """The account of this process. A new process starts from zero.

    Args:
        clock: determines the day; default: the machine's clock.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or RealClock()
        self._days: dict[str, dict[str, Drawn]] = {}
        self._lock = threading.Lock()

    def reserve(self, decide: Decide) -> str:
        """Add what `decide` returns to today's reservations; return a receipt."""
        receipt = secrets.token_hex(8)
        with self._lock:
            today = self._days.setdefault(day_of(self._clock.time()), {})
            today[receipt] = decide(sum(today.values(), Drawn()))
        return receipt

    def give_back(self, receipt: str) -> None:
        """Refund the reservation of the receipt."""
        with self._lock:
            for day in self._days.values():
                day.pop(receipt, None)
