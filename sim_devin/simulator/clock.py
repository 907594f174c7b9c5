"""The simulator's own time, which can stand still, run fast or be turned by hand."""

from __future__ import annotations

import threading
import time as _time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """All the simulator asks of a clock."""

    def time(self) -> float:
        """Return the simulated time in seconds since the Unix epoch."""
        ...


class SimClock:
    """A clock that runs `speed` times as fast as the machine's and can be moved forward.

    `start` is in seconds since the Unix epoch (the present when left out). With ``speed=0``
    the clock stands still until `advance` moves it, which is what tests want; with
    ``speed=60`` an hour passes in a minute, which is what demonstrations want.

    It can also be handed to a client as *its* clock, so that both live in the same time:
    `wait` sleeps the real time that `timeout` simulated seconds take.
    """

    simulated = True  # whatever compares times goes by it, and not by a database's

    def __init__(
        self,
        start: float | None = None,
        *,
        speed: float = 1.0,
        real: Callable[[], float] = _time.monotonic,
    ) -> None:
        if speed < 0:
            raise ValueError(f"speed must be 0 or more, got {speed}")
        self.speed = speed
        self._real = real
        self._began = real()
        self._start = _time.time() if start is None else float(start)
        self._lock = threading.Lock()

    def time(self) -> float:
        """Return the simulated time in seconds since the Unix epoch."""
        with self._lock:
            return self._start + (self._real() - self._began) * self.speed

    def monotonic(self) -> float:
        """Return the same as `time`: this clock never goes back."""
        return self.time()

    def advance(self, seconds: float) -> None:
        """Move the clock forward by simulated `seconds`; `ValueError` when they are negative."""
        if seconds < 0:
            raise ValueError(f"a clock only moves forward, got {seconds}")
        with self._lock:
            self._start += seconds

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait `timeout` simulated seconds or until `event` is set; return whether it is set.

        A clock that stands still is moved by the wait instead, so nobody sleeps forever.
        """
        if self.speed > 0:
            return event.wait(max(0.0, timeout) / self.speed)
        if not event.is_set():
            self.advance(max(0.0, timeout))
        return event.is_set()
