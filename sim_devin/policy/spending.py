"""The account of a day: what all calls and runs together have reserved of it.

A day is one of UTC, by the clock of whatever keeps the account. Where runs are kept in a store,
the account is in the store (`sim_devin.store.account`), so that every process over it draws from
the same one.
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
    """What is taken off a day, or has been: ACUs and sessions."""

    acus: float = 0.0
    sessions: int = 0

    def __add__(self, other: Drawn) -> Drawn:
        return Drawn(self.acus + other.acus, self.sessions + other.sessions)

    def __bool__(self) -> bool:
        return bool(self.acus or self.sessions)


Decide = Callable[[Drawn], Drawn]  # what has been drawn today -> what is to be drawn now


class Spending(Protocol):
    """Keeps what was drawn. `reserve` decides and records in one step that nobody can split."""

    def reserve(self, decide: Decide) -> str:
        """Add what `decide` answers to what has been drawn today; return a receipt for it.

        Raises:
            StoreError: the account cannot be read or written; nothing may be sent.
        """
        ...

    def give_back(self, receipt: str) -> None:
        """Take off again what the receipt stands for."""
        ...


class MemorySpending:
    """The account of this process. A new process starts from nothing.

    Args:
        clock: says which day it is; the machine's unless given.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or RealClock()
        self._days: dict[str, dict[str, Drawn]] = {}
        self._lock = threading.Lock()

    def reserve(self, decide: Decide) -> str:
        """Add what `decide` answers to what has been drawn today; return a receipt for it."""
        receipt = secrets.token_hex(8)
        with self._lock:
            today = self._days.setdefault(day_of(self._clock.time()), {})
            today[receipt] = decide(sum(today.values(), Drawn()))
        return receipt

    def give_back(self, receipt: str) -> None:
        """Take off again what the receipt stands for."""
        with self._lock:
            for day in self._days.values():
                day.pop(receipt, None)
