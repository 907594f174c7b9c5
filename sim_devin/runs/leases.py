"""The carrier for many machines: a process leases runs, and says now and then that it lives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sim_devin.clock import Clock
from sim_devin.runs.carrier import TURN
from sim_devin.store.database import DatabaseConnection
from sim_devin.store.rows import Term
from sim_devin.store.sql_store import SqlStore

OFTEN = 2.0  # seconds between two signs of life, at most


class LeaseCarrier:
    """Runs are rows that say until when their process has them (`carrier.Carrier`).

    Leases go by the database's time, since they are about processes.

    Args:
        store: where the runs are.
        owner: name of this process, unlike that of any other.
        ttl: seconds without a sign of life after which it counts as dead.
        clock: the app's time, by which turns are taken.
    """

    pace = 1.0

    def __init__(self, store: SqlStore, owner: str, ttl: float, clock: Clock) -> None:
        self._store = store
        self._owner = owner
        self._clock = clock
        self._ttl = self.patience = ttl
        self.beat = min(OFTEN, ttl / 4)

    def put(self, _: DatabaseConnection, __: Sequence[str]) -> None:
        """Do nothing: that they are ready stands in their rows."""

    def offers(self) -> Iterable[str]:
        """Return the runs whose lease is over, and those that are ready."""
        return self._store.offered(self.term())

    def hold(self, _: str) -> bool:
        """Return True: the row knows."""
        return True

    def holds(self, _: str) -> bool:
        """Return True: the row knows."""
        return True

    def drop(self, _: str) -> None:
        """Do nothing: the row is given back, or its lease ends."""

    def term(self) -> Term:
        """Return a lease that begins now."""
        now = self._store.database.time()
        return Term(now, now + self._ttl, self._ttl)

    def keep(self) -> Mapping[str, tuple[int, bool]]:
        """Prolong the leases of this process."""
        return self._store.keep_leases(self._owner, self._store.database.time() + self._ttl)

    @contextmanager
    def turn(self, name: str) -> Iterator[bool]:
        """Take or prolong the lease on what one process does for all."""
        yield self._store.lease(name, self._owner, self._clock.time(), TURN)

    def close(self) -> None:
        """Do nothing: leases end by themselves."""
