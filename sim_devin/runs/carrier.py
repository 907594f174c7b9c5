"""What brings runs to the processes that drive them, and what this process drives."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from sim_devin.clock import Clock, boottime
from sim_devin.errors import StoreError
from sim_devin.runs.looks import Asking
from sim_devin.store.database import DatabaseConnection
from sim_devin.store.records import Run
from sim_devin.store.rows import LeaseLost, Term
from sim_devin.store.sql_store import SqlStore

log = logging.getLogger("sim_devin")

TURN = 30.0  # seconds for which one process may do something for all; longer than a look takes
SWEEP = 30.0  # seconds between looks for runs that the carrier does not offer
BEATS = "sim-devin-drives"  # name of the thread that gives signs of life


class Carrier(Protocol):
    """Says where and when a run is driven; its row in the store says whether it may be.

    It may offer a run late, twice, to two processes at once, or never, and be wrong about who is
    alive. The row decides: whoever begins a run raises its fence, and from then on nobody else can
    record or send anything for it. What no carrier offers, a sweep finds (`Drives.claim`).

    Attributes:
        pace: seconds after which an idle process may ask for offers again.
        beat: seconds between two calls of `keep`.
        patience: seconds without a `keep` after which others may drive what this process drives.
    """

    pace: float
    beat: float
    patience: float

    def put(self, connection: DatabaseConnection, run_ids: Sequence[str], /) -> None:
        """Take note of runs that become ready, in the transaction that makes them so."""
        ...

    def offers(self) -> Iterable[str]:
        """Return runs that may be begun here now, the most urgent first."""
        ...

    def hold(self, run_id: str, /) -> bool:
        """Take hold of a run to begin it; False if another driver that is alive has it."""
        ...

    def holds(self, run_id: str, /) -> bool:
        """Return whether a run that was begun here is still this process's, as far as is known."""
        ...

    def drop(self, run_id: str, /) -> None:
        """Let go of a run, driven or not."""
        ...

    def term(self) -> Term:
        """Return what is written into the row of a run that is begun now."""
        ...

    def keep(self) -> Mapping[str, tuple[int, bool]]:
        """Give a sign of life; return run -> (fence, whether to be cancelled) of what is driven."""
        ...

    def turn(self, name: str, /) -> AbstractContextManager[bool]:
        """Enter what one process does for all; yields False while another does it.

        Another that has been at it for longer than `TURN` may stand still, and does not count.
        """
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


@dataclass
class Watched:
    """A run that this process drives.

    Attributes:
        stop: set when it has to stop: cancelled, given back, or lost to another process.
        cancelled: whether someone asked for the run to be cancelled.
        lost: whether another process may drive it now.
        asking: which services the runs that this process drives wait for.
    """

    run: Run
    asking: Asking
    stop: threading.Event = field(default_factory=threading.Event)
    cancelled: bool = False
    lost: bool = False


class Drives:
    """What this process drives: runs are begun, watched meanwhile, and let go of.

    Args:
        store: where the runs are.
        owner: name of this process, unlike that of any other.
        carrier: brings the runs.
        clock: the app's time.

    Attributes:
        asking: which services they wait for.
    """

    def __init__(self, store: SqlStore, owner: str, carrier: Carrier, clock: Clock) -> None:
        self.asking = Asking()
        self._store = store
        self._owner = owner
        self._carrier = carrier
        self._clock = clock
        self._swept: float | None = None
        self._watched: dict[tuple[str, int], Watched] = {}  # by run and fence
        self._lock = threading.Lock()
        self._beats: threading.Thread | None = None
        self._nothing_left = threading.Event()

    def claim(self, run_id: str | None = None, *, sweep: bool = False) -> Run | None:
        """Begin a run, or that one; None if there is none that may continue and nobody drives.

        With `sweep` also one that the carrier does not know; else those are only looked for now
        and then.
        """
        offers = self._offers(sweep=sweep) if run_id is None else (run_id,)
        return next((run for offer in offers if (run := self._begin(offer)) is not None), None)

    def idle(self, cancel: threading.Event, seconds: float) -> None:
        """Wait for some of the clock's seconds, but no longer than until a run is offered."""
        real = not getattr(self._clock, "simulated", False)  # or else they may be no time at all
        self.rest(partial(self._clock.wait, cancel), seconds, looking=real)

    def rest(self, wait: Callable[[float], bool], seconds: float, *, looking: bool = True) -> None:
        """Wait, if `looking` for no longer than until a run is offered.

        `wait` waits for some seconds, and returns True if there is no need to wait any more.
        """
        pace = self._carrier.pace if looking else seconds
        while seconds > 0 and not wait(min(seconds, pace)):
            seconds -= pace
            if seconds > 0 and any(self._carrier.offers()):
                return

    def put_back(self, run: Run, why: str) -> None:
        """Make a run ready again that was begun here and cannot continue, unless another has it."""
        if not self._carrier.hold(run.id):
            return
        try:
            with suppress(LeaseLost):
                self._store.release(run, self._clock.time(), why)
        finally:
            self._carrier.drop(run.id)

    def let_go(self, run: Run) -> None:
        """Let go of a run that was begun and is not watched."""
        self._carrier.drop(run.id)

    @contextmanager
    def watch(self, run: Run, stop: threading.Event | None) -> Iterator[Watched]:
        """Keep hold of a run meanwhile, then let go of it; `stop` from outside stops it, too."""
        watched = Watched(run, self.asking, cancelled=run.cancelling)
        if run.cancelling:
            watched.stop.set()
        with self._lock:
            self._watched[run.id, run.fence] = watched
            self._nothing_left.clear()
            if self._beats is None:
                self._beats = threading.Thread(target=self._beat, name=BEATS, daemon=True)
                self._beats.start()
        done = threading.Event()
        if stop is not None:
            passing = (stop, watched.stop, done)
            threading.Thread(target=self._pass_on, args=passing, daemon=True).start()
        try:
            yield watched
        finally:
            done.set()
            with self._lock:
                self._watched.pop((run.id, run.fence), None)
                if not self._watched:
                    self._nothing_left.set()
            self._carrier.drop(run.id)

    def give_back(self, run_ids: Iterable[str]) -> None:
        """Stop runs that this process drives, so that others can take them on."""
        stopped = set(run_ids)
        with self._lock:
            for watched in self._watched.values():
                if watched.run.id in stopped:
                    watched.stop.set()

    def close(self) -> None:
        """Let go of everything. What is still driven here has lost its run."""
        with self._lock:
            beats = self._beats
            for watched in self._watched.values():
                watched.lost = True
                watched.stop.set()
            self._watched.clear()
            self._nothing_left.set()
        if beats is not None and beats is not threading.current_thread():
            beats.join()
        self._carrier.close()

    # -- inside ----------------------------------------------------------------------------

    def _offers(self, *, sweep: bool) -> Iterator[str]:
        yield from self._carrier.offers()
        now = self._clock.time()
        if sweep or self._swept is None or abs(now - self._swept) >= SWEEP:
            self._swept = now
            yield from self._store.offered(self._carrier.term())

    def _begin(self, run_id: str) -> Run | None:
        if not self._carrier.hold(run_id):
            return None
        run = None
        try:
            term, moment = self._carrier.term(), self._clock.time()
            run = self._store.begin_run(run_id, self._owner, term, moment)
        finally:
            if run is None:
                self._carrier.drop(run_id)
        return run

    @staticmethod
    def _pass_on(outer: threading.Event, inner: threading.Event, done: threading.Event) -> None:
        while not done.is_set():
            if outer.wait(0.1):
                inner.set()
                return

    def _beat(self) -> None:
        last = boottime()
        while True:
            self._nothing_left.wait(self._carrier.beat)
            with self._lock:
                watched = dict(self._watched)
                if not watched:
                    self._beats = None
                    return
            kept: Mapping[str, tuple[int, bool]] = {}
            try:
                began = boottime()
                kept = self._carrier.keep()
                last = began
            except StoreError as error:
                log.warning("could not renew the runs driven here: %s", error)
                if boottime() - last < self._carrier.patience:
                    continue
            for (run_id, fence), one in watched.items():
                known, cancelling = kept.get(run_id, (-1, False))
                if known != fence:
                    one.lost = True
                    one.stop.set()
                elif cancelling:
                    one.cancelled = True
                    one.stop.set()
