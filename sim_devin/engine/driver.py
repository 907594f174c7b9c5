"""Threads, timers, cancel and deadline of a run; what the run does with them is `Execution`'s.

One thread drives: it starts what is ready, runs inline work itself, hands I/O to a bounded
pool and handles results one at a time. Nothing here knows a workflow.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import queue
import threading
from collections.abc import Callable
from typing import Any

from sim_devin.clock import Clock
from sim_devin.engine.workers import Workers

POLL = 0.05  # seconds between looks at the caller's cancel event while calls are in flight
GRACE = 2.0  # seconds that calls in flight get to notice a stop

Result = Callable[[], None]  # handles a result in the driving thread


class Driver:
    """Runs until nothing is ready, in flight or due. Subclasses say what starting means.

    Attributes:
        halted: nothing new starts; what is in flight still ends and is recorded.
        cancelled: why the run was stopped: ``cancel`` or ``deadline``; None if it was not.
        stop: set when it was; calls in flight watch it.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        cancel: threading.Event | None = None,
        deadline: float | None = None,
        workers: int = 16,
    ) -> None:
        self.clock = clock
        self.halted = False
        self.cancelled: str | None = None
        self.stop = threading.Event()
        self._cancel = cancel
        self._deadline = None if deadline is None else clock.monotonic() + deadline
        self._ready: list[tuple[Any, int]] = []
        self._in_flight = 0
        self._timers: list[tuple[float, int, Result]] = []
        self._sequence = itertools.count()
        self._done: queue.SimpleQueue[tuple[bool, Result]] = queue.SimpleQueue()
        self._workers = Workers(workers)

    def remaining(self) -> float | None:
        """Return the seconds left until the deadline, or None without one."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - self.clock.monotonic())

    def start_batch(self, batch: list[tuple[Any, int]]) -> None:
        """Start everything that is ready; inline work is done before this returns."""
        raise NotImplementedError

    def drive(self) -> None:
        """Run until nothing more can happen.

        Raises:
            KeyboardInterrupt: passed on once calls in flight were told to stop.
        """
        try:
            while self._advance():
                self._wait()
        except KeyboardInterrupt:
            self._interrupt("cancel")
            raise
        finally:
            if self.cancelled:
                self._drain()
            self._workers.close(GRACE if self.cancelled else None)

    def submit(self, work: Callable[[], Result]) -> None:
        """Do `work` on the pool and handle the function it returns in the driving thread."""
        self._in_flight += 1
        done = self._done
        self._workers.submit(lambda: done.put((True, work())))

    def tell(self, say: Result) -> None:
        """Call `say` in the driving thread soon; from any thread."""
        self._done.put((False, say))

    def after(self, seconds: float, then: Result) -> None:
        """Call `then` in the driving thread once `seconds` have passed."""
        due = self.clock.monotonic() + max(0.0, seconds)
        heapq.heappush(self._timers, (due, next(self._sequence), then))

    def _advance(self) -> bool:
        """Run what is ready; return whether there is something to wait for."""
        while self._ready and not self.halted and not self._is_interrupted():
            batch, self._ready = self._ready, []
            self.start_batch(batch)
            if self._in_flight:
                self._take_done()
        return bool(self._in_flight or self._timers) and not self.cancelled

    def _wait(self) -> None:
        """Wait for the next thing to happen: a call to end, a timer, a cancel, the deadline."""
        if self._in_flight:
            watched = self._cancel is not None or self._deadline is not None or self._timers
            with contextlib.suppress(queue.Empty):
                self._handle(*self._done.get(timeout=POLL if watched else None))
                self._take_done()
        else:
            delay = self._timers[0][0] - self.clock.monotonic()
            if self._deadline is not None:
                delay = min(delay, self._deadline - self.clock.monotonic())
            if delay > 0:
                self.clock.wait(self._cancel or self.stop, delay)
        if not self._is_interrupted():
            self._fire_timers()

    def _take_done(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._handle(*self._done.get_nowait())

    def _handle(self, ended: bool, result: Result) -> None:
        if ended:
            self._in_flight -= 1
        result()

    def _fire_timers(self) -> None:
        now = self.clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def _is_interrupted(self) -> bool:
        if self.cancelled:
            return True
        if self._cancel is not None and self._cancel.is_set():
            self._interrupt("cancel")
        elif self._deadline is not None and self.clock.monotonic() >= self._deadline:
            self._interrupt("deadline")
        return bool(self.cancelled)

    def _interrupt(self, reason: str) -> None:
        self.cancelled = reason
        self.halted = True
        self.stop.set()

    def _drain(self) -> None:
        """Give calls in flight a moment to end. What they did is recorded, nothing follows."""
        patience = GRACE
        while self._in_flight and patience > 0:
            try:
                self._handle(*self._done.get(timeout=POLL))
            except queue.Empty:
                patience -= POLL
