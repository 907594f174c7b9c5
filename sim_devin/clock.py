"""Clocks that can be passed in: the real one, and one that tests move by hand."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol

_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> float:
    """Return a duration such as ``90``, ``90s``, ``15m``, ``2h`` or ``1d`` in seconds.

    Raises:
        ValueError: it is not a positive duration.
    """
    short = text.strip().lower()
    unit = _UNITS.get(short[-1:])
    length = float(short[:-1] if unit else short) * (unit or 1)
    if not 0 < length < 1e9:
        raise ValueError(f"{length} s is out of range")
    return length


class Clock(Protocol):
    """The clock used by the rest of the package. All values are in seconds."""

    def time(self) -> float:
        """Return the time since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Return a monotonic time; only differences are meaningful."""
        ...

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait until `event` is set or `timeout` has passed; return whether it is set."""
        ...


def boottime() -> float:
    """Return the seconds since this machine started, including sleep where the system counts it.

    It is monotonic, unaffected by setting the time, and the same for all processes of a
    machine.
    """
    return time.clock_gettime(_BOOTTIME) if _BOOTTIME is not None else time.monotonic()


class RealClock:
    """The machine's clock."""

    def time(self) -> float:
        """Return the time since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return a monotonic time."""
        return boottime()

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait until `event` is set or `timeout` has passed; return whether it is set."""
        return event.wait(max(0.0, timeout))


class ManualClock:
    """A clock that moves only while waiting or by `advance`.

    A wait returns immediately and moves the clock by its timeout, so hours take no time.
    """

    simulated = True  # times are compared using this clock, not the database's

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._lock = threading.Lock()

    def time(self) -> float:
        """Return this clock's time since the Unix epoch."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """Return the same as `time`."""
        return self.time()

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        with self._lock:
            self._now += max(0.0, seconds)

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Move the clock by `timeout` unless `event` is set; return whether it is set."""
        if not event.is_set():
            self.advance(timeout)
        return event.is_set()


def day_of(moment: float) -> str:
    """Return the UTC day of a Unix time (seconds)."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
