"""Leases: this process drives a run, says so from time to time, and notices when it may not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sim_devin.clock import boottime
from sim_devin.errors import StoreError
from sim_devin.store.records import Run
from sim_devin.store.sql_store import SqlStore

log = logging.getLogger("sim_devin")

OFTEN = 2.0  # seconds between two signs of life, at most


@dataclass
class Watched:
    """A run that this process drives.

    Attributes:
        stop: set when it has to stop: cancelled, given back, or lost to another process.
        cancelled: whether somebody asked for the run to be cancelled.
        lost: whether another process may drive it now.
    """

    run: Run
    stop: threading.Event = field(default_factory=threading.Event)
    cancelled: bool = False
    lost: bool = False


class Leases:
    """The leases of this process.

    Args:
        store: where they are.
        owner: name of this process, unlike that of any other.
        ttl: seconds without a sign of life after which it counts as dead.
    """

    def __init__(self, store: SqlStore, owner: str, ttl: float) -> None:
        self._store = store
        self._owner = owner
        self._ttl = ttl
        self._watched: dict[str, Watched] = {}
        self._lock = threading.Lock()
        self._beating = False
        self._nothing_left = threading.Event()

    def claim(self, moment: float, run_id: str | None = None) -> Run | None:
        """Take a run that is ready, or whose process is dead; None without one."""
        now = self._store.database.time()
        return self._store.claim_run(self._owner, now, self._ttl, moment, run_id)

    @contextmanager
    def watch(self, run: Run, stop: threading.Event | None) -> Iterator[Watched]:
        """Keep the lease of a run alive meanwhile; `stop` from outside stops it, too."""
        watched = Watched(run, cancelled=run.cancelling)
        if run.cancelling:
            watched.stop.set()
        with self._lock:
            self._watched[run.id] = watched
            self._nothing_left.clear()
            if not self._beating:
                self._beating = True
                threading.Thread(target=self._beat, name="sim-devin-leases", daemon=True).start()
        done = threading.Event()
        if stop is not None:
            passing = (stop, watched.stop, done)
            threading.Thread(target=self._pass_on, args=passing, daemon=True).start()
        try:
            yield watched
        finally:
            done.set()
            with self._lock:
                self._watched.pop(run.id, None)
                if not self._watched:
                    self._nothing_left.set()

    def give_back(self, run_ids: Iterable[str]) -> None:
        """Stop runs that this process drives, so that others can take them on."""
        with self._lock:
            for run_id in run_ids:
                if run_id in self._watched:
                    self._watched[run_id].stop.set()

    @staticmethod
    def _pass_on(outer: threading.Event, inner: threading.Event, done: threading.Event) -> None:
        while not done.is_set():
            if outer.wait(0.1):
                inner.set()
                return

    def _beat(self) -> None:
        last = boottime()
        while True:
            self._nothing_left.wait(min(OFTEN, self._ttl / 4))
            with self._lock:
                watched = dict(self._watched)
                if not watched:
                    self._beating = False
                    return
            try:
                began = boottime()
                kept = self._store.keep_leases(self._owner, self._store.database.time() + self._ttl)
                last = began
            except StoreError as error:
                log.warning("could not prolong the leases of runs: %s", error)
                if boottime() - last < self._ttl:
                    continue
                kept = {}
            for run_id, one in watched.items():
                fence, cancelling = kept.get(run_id, (-1, False))
                if fence != one.run.fence:
                    one.lost = True
                    one.stop.set()
                elif cancelling:
                    one.cancelled = True
                    one.stop.set()
