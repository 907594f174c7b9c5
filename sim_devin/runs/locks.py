"""The carrier for one machine: a process holds a lock of the system for each run it drives."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from sim_devin.runs.carrier import TURN
from sim_devin.store.database import DatabaseConnection
from sim_devin.store.lock_file import Hold, Locks
from sim_devin.store.rows import Term
from sim_devin.store.sql_store import SqlStore

TURNS = 1 << 16  # how many locks there are for turns; those of runs come after them


class LockCarrier:
    """Runs are driven under locks beside the store (`carrier.Carrier`).

    Nobody has to give signs of life: the lock of a process that has ended is free at once, and one
    that stands still keeps what it has.

    Args:
        store: where the runs are.
        owner: name of this process, unlike that of any other.
        locks: those of the store.
        ttl: seconds for which versions that knew no locks leased a run at a time.
    """

    pace = 0.1
    beat = 1.0
    patience = math.inf

    def __init__(self, store: SqlStore, owner: str, locks: Locks, ttl: float) -> None:
        self._store = store
        self._owner = owner
        self._locks = locks
        self._ttl = ttl
        self._held: dict[str, Hold] = {}
        self._guard = threading.Lock()

    def put(self, connection: DatabaseConnection, run_ids: Sequence[str]) -> None:
        """Give the runs locks of their own."""
        self._store.give_locks(connection, run_ids)

    def offers(self) -> Iterable[str]:
        """Yield the runs that nobody holds: of processes that have ended, and those ready."""
        for run_id, number in self._store.offered_with_locks(self.term()):
            if number is None or self._is_free(number):
                yield run_id

    def hold(self, run_id: str) -> bool:
        """Take the lock of a run; False while someone holds it."""
        number = self._store.lock_of(run_id)
        if number is None:  # it was made ready by a version, or a program, that knew no locks
            with self._store.database.write() as connection:
                self._store.give_locks(connection, [run_id])
            number = self._store.lock_of(run_id)
        taken = None if number is None else self._locks.take(TURNS + number)
        if taken is None:
            return False
        with self._guard:
            self._held[run_id] = taken
        return True

    def holds(self, run_id: str) -> bool:
        """Return whether the lock of a run is held here."""
        with self._guard:
            held = self._held.get(run_id)
        return held is not None and held.is_valid()

    def drop(self, run_id: str) -> None:
        """Give up the lock of a run."""
        with self._guard:
            held = self._held.pop(run_id, None)
        if held is not None:
            held.release()

    def term(self) -> Term:
        """Return a term without an end, since nothing is over by time.

        What was leased by a version that knew no locks is left to it until its lease is over.
        """
        return Term(self._store.database.time(), 0.0, self._ttl)

    def keep(self) -> Mapping[str, tuple[int, bool]]:
        """Return what is still driven here, and whether it is to be cancelled."""
        driven = self._store.driven_by(self._owner)
        return {run_id: known for run_id, known in driven.items() if self.holds(run_id)}

    @contextmanager
    def turn(self, name: str) -> Iterator[bool]:
        """Hold the locks of what one process does for all, for as long as it is done.

        Each period of time has a lock of its own, and that of the one before is held, too: whoever
        takes longer, since it stands still, is not waited for. Two names may share a lock by
        chance: then one waits for the other.
        """
        period = int(self._store.database.time() // TURN)
        first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:2]) + period
        with ExitStack() as held:
            taken = [self._locks.take(number % TURNS) for number in (first, first - 1)]
            for one in filter(None, taken):
                held.callback(one.release)
            yield None not in taken

    def close(self) -> None:
        """Give up all locks."""
        for run_id in list(self._held):
            self.drop(run_id)

    def _is_free(self, number: int) -> bool:
        taken = self._locks.take(TURNS + number)
        if taken is not None:
            taken.release()
        return taken is not None
