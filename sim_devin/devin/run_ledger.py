"""What is found out about the creates of one run, for the run's outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from sim_devin.calls.intents import Intent, Ledger


class Reports:
    """What was found out about intents of this process, by tag."""

    def __init__(self) -> None:
        self._by_tag: dict[str, list[str]] = {}
        self._lock = Lock()

    def add(self, tag: str, message: str) -> None:
        """Keep what was found out about an intent."""
        with self._lock:
            self._by_tag.setdefault(tag, []).append(message)

    def of(self, tags: list[str]) -> list[str]:
        """Return what was found out about some intents, each text once."""
        with self._lock:
            return list(dict.fromkeys(text for tag in tags for text in self._by_tag.get(tag, ())))


class RunLedger:
    """The ledger of one run, or of calls outside of runs: another ledger, and what it is told.

    A double is often found by a later call, which may be part of another run; it is reported to
    the run that its create was a part of.

    Args:
        ledger: where the intents are recorded (`intents.Ledger`).
        reports: what was found out, shared by all of an app.
    """

    def __init__(self, ledger: Ledger, reports: Reports) -> None:
        self._ledger = ledger
        self._reports = reports
        self._tags: list[str] = []
        self._access: list[Mapping[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def claim(self, intent: Intent) -> bool:
        """Record an intent; return whether this caller may send."""
        self._tags.append(intent.tag)
        return self._ledger.claim(intent)

    def report(self, tag: str, message: str, session_id: str) -> None:
        """Tell whoever reads the outcome what was found out about an intent."""
        self._reports.add(tag, message)
        self._ledger.report(tag, message, session_id)

    def used(self, credentials: Mapping[str, str]) -> None:
        """Remember with which credentials calls of the run are made."""
        if credentials not in self._access:
            self._access.append(credentials)

    def conclude(self, end_doubles: Callable[..., Any], *, look: bool) -> list[str]:
        """Return what was found out about the intents, after a last look for doubles."""
        if look and any(intent.tag in self._tags for intent in self._ledger.watched(0.0)):
            for credentials in self._access:
                end_doubles(credentials=credentials)
        return self._reports.of(self._tags)
