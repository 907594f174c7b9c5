"""The events of one run, kept so that a reader can come late, go and come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from threading import Lock
from typing import Any

HEARTBEAT = 15.0  # seconds; silence longer than this looks like a lost connection

Item = tuple[int, dict[str, Any]]


class Feed:
    """A list of events that grows in a run's thread and is followed in event loops.

    Events are numbered from 1, or from the number after `start`. Nothing is dropped while the
    feed lives, so a reader that names the last number it saw gets everything after it; one
    that names a number before `start` had another feed and gets everything.
    """

    def __init__(self, start: int = 0) -> None:
        self._start = start
        self._events: list[dict[str, Any]] = []
        self._open = True
        self._lock = Lock()
        self._wakers: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def __len__(self) -> int:
        return len(self._events)

    @property
    def is_open(self) -> bool:
        """Whether readers wait for more."""
        return self._open

    @property
    def is_watched(self) -> bool:
        """Whether someone reads it now."""
        return bool(self._wakers)

    def append(self, event: dict[str, Any]) -> None:
        """Add an event; from any thread."""
        with self._lock:
            self._events.append(event)
        self._wake()

    def close(self) -> None:
        """Let readers end once they have everything."""
        self._open = False
        self._wake()

    def reopen(self) -> None:
        """Go on after a close, as a paused run does when it is answered."""
        self._open = True

    async def follow(
        self, after: int = 0, *, heartbeat: float = HEARTBEAT
    ) -> AsyncIterator[Item | None]:
        """Yield (number, event) after `after` until the feed is closed.

        Yields None after `heartbeat` seconds in which nothing happened.
        """
        waker = (asyncio.get_running_loop(), asyncio.Event())
        self._wakers.add(waker)
        try:
            position = max(0, after - self._start)
            while True:
                waker[1].clear()
                is_open = self._open  # looked at first: what came before the close is sent
                while position < len(self._events):
                    position += 1
                    yield self._start + position, self._events[position - 1]
                if not is_open:
                    return
                try:
                    await asyncio.wait_for(waker[1].wait(), heartbeat)
                except TimeoutError:
                    yield None
        finally:
            self._wakers.discard(waker)

    def _wake(self) -> None:
        for loop, event in list(self._wakers):
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # the reader's loop has ended; so has the reader
                self._wakers.discard((loop, event))
