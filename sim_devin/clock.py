"""Time as a thing that can be handed in: the real clock, and one that tests turn by hand."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Protocol

_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> float:
    """Return a length of time such as ``90``, ``90s``, ``15m``, ``2h`` or ``1d`` in seconds.

    Raises:
        ValueError: it is none, or not above 0.
    """
    short = text.strip().lower()
    unit = _UNITS.get(short[-1:])
    length = float(short[:-1] if unit else short) * (unit or 1)
    if not 0 < length < 1e9:
        raise ValueError(f"{length} s is out of range")
    return length


class Clock(Protocol):
    """What the rest of the package knows of time. All values are in seconds."""

    def time(self) -> float:
        """Return the time since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Return a time that never goes back; only differences mean something."""
        ...

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait until `event` is set or `timeout` has passed; return whether it is set."""
        ...


def boottime() -> float:
    """Return the seconds since this machine started, time asleep included where it is counted.

    It never goes back, whatever becomes of the time of day, and all processes of a machine
    read the same.
    """
    return time.clock_gettime(_BOOTTIME) if _BOOTTIME is not None else time.monotonic()


class RealClock:
    """The machine's own time."""

    def time(self) -> float:
        """Return the time since the Unix epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Return a time that never goes back."""
        return boottime()

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait until `event` is set or `timeout` has passed; return whether it is set."""
        return event.wait(max(0.0, timeout))


class ManualClock:
    """A clock that only moves when somebody waits on it or calls `advance`.

    A wait ends at once and moves the clock by its timeout, so hours pass in no time.
    """

    simulated = True  # whatever compares times goes by it, and not by the database's

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._lock = threading.Lock()

    def time(self) -> float:
        """Return the clock's own idea of the time since the Unix epoch."""
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
    """Return the day of a moment (Unix seconds), in UTC."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
