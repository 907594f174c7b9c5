"""Where runs are kept, so that a paused one can be found again by its id."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from threading import Lock
from typing import Any, Protocol

from sim_devin.errors import UnknownName
from sim_devin.store.found_runs import SUGGESTED_FROM


class RunStore(Protocol):
    """Keeps the JSON record of each run under its id."""

    def save(self, run_id: str, record: Mapping[str, Any]) -> None:
        """Keep a run's record, replacing an older one."""
        ...

    def load(self, run_id: str) -> Mapping[str, Any]:
        """Return a run's record.

        Raises:
            UnknownName: there is no such run.
        """
        ...


class MemoryStore:
    """Keeps runs for as long as the process lives."""

    def __init__(self) -> None:
        self._records: dict[str, Mapping[str, Any]] = {}
        self._lock = Lock()

    def save(self, run_id: str, record: Mapping[str, Any]) -> None:
        """Keep a run's record, replacing an older one."""
        with self._lock:
            self._records[run_id] = record

    def load(self, run_id: str) -> Mapping[str, Any]:
        """Return a run's record.

        Raises:
            UnknownName: there is no such run in this process.
        """
        with self._lock:
            try:
                return self._records[run_id]
            except KeyError:
                newest = islice(reversed(self._records), SUGGESTED_FROM)
                raise UnknownName("run", run_id, newest) from None
