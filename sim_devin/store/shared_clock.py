"""The time of day that all processes over a store go by."""

from __future__ import annotations

import threading
from contextlib import suppress

from sim_devin.clock import Clock, boottime
from sim_devin.errors import StoreError
from sim_devin.store.database import Database

MEASURED_FOR = 60.0  # seconds until the offset is measured again


class SharedClock:
    """A clock whose time of day is that of a database: the clocks of machines never agree.

    What processes write down for each other, such as when a session is looked at next or until
    when a question may be answered, is only worth something by a clock that they share. While
    the database cannot be asked, the offset that was measured last is kept.

    Attributes:
        own: the machine's own clock.

    Args:
        clock: the same.
        database: the one that all processes share.
    """

    def __init__(self, clock: Clock, database: Database) -> None:
        self.own = clock
        self._database = database
        self._lock = threading.Lock()
        self._offset = database.offset() or 0.0
        self._measured = boottime()

    def time(self) -> float:
        """Return the time since the Unix epoch, as the database has it."""
        if boottime() - self._measured >= MEASURED_FOR and self._lock.acquire(blocking=False):
            try:
                self._measured = boottime()
                with suppress(StoreError):
                    self._offset = self._database.offset() or 0.0
            finally:
                self._lock.release()
        return self.own.time() + self._offset

    def monotonic(self) -> float:
        """Return a time that never goes back; only differences mean something."""
        return self.own.monotonic()

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait until `event` is set or `timeout` has passed; return whether it is set."""
        return self.own.wait(event, timeout)
