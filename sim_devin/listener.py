"""What every server here listens with: a socket, and how many connections it keeps how long.

It is below the simulator as well, which shares nothing else with the rest: there is no client's
code in it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

BACKLOG = 128  # connections that wait to be accepted
MOST = 512  # connections at a time
LEAST = 8

# What a connection is told when all others are at work.
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Retry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

C = TypeVar("C")


def listen(host: str, port: int) -> socket.socket:
    """Return a TCP socket that listens; port 0 takes a free one.

    Nagle's algorithm is off for what it accepts. Answers would take 40 ms more otherwise: the
    algorithm holds back their second part until the client, which waits for more, acknowledges
    the first.

    Raises:
        OSError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio looks for the protocol here before it turns the algorithm off; others inherit.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def most_connections() -> int:
    """Return how many connections a server keeps: a third of what the process may open, or 512.

    The rest is for the store, for requests to Devin, and for connections that come and go.
    """
    try:
        import resource
    except ImportError:  # Windows
        return MOST
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else max(LEAST, min(MOST, soft // 3))


@dataclass(frozen=True)
class Limits:
    """How many connections a server keeps, and how long it waits for what they send.

    Attributes:
        connections: most of them at a time.
        head: seconds from the connection to the end of the first request's headers.
        body: seconds from there to the end of the body.
        idle: seconds from an answer to the end of the next request's headers.
    """

    connections: int = field(default_factory=most_connections)
    head: float = 10.0
    body: float = 60.0
    idle: float = 30.0


class Connections(Generic[C]):
    """The open connections of a server: which wait for their client, and until when.

    May be used from several threads.

    Args:
        limits: how many, and how long.
        close: closes a connection; `left` has to be called for it afterwards.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        limits: Limits,
        close: Callable[[C], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self._close = close
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: dict[C, float] = {}  # until the head is there; those longest first
        self._sending: dict[C, float] = {}  # until the body is there
        self._working: set[C] = set()
        self._closing: set[C] = set()

    def __len__(self) -> int:
        with self._changed:
            return len(self._open()) + len(self._closing)

    def admit(self, connection: C) -> bool:
        """Count a new connection, which has to send a request now.

        At the limit the one is closed that has waited longest for its client. Return False, and
        do not count it, when there is none: all requests are being worked on.
        """
        with self._changed:
            full = len(self._open()) >= self.limits.connections
            if full and not self._waiting:
                return False
            longest = next(iter(self._waiting)) if full else None
            self._waiting[connection] = self._clock() + self.limits.head
        if longest is not None:
            self._end(longest)
        return True

    def waits(self, connection: C) -> None:
        """Note that a connection is between two requests."""
        self._move(connection, self._waiting, self.limits.idle)

    def sends(self, connection: C) -> None:
        """Note that a request's headers are there and its body is not."""
        self._move(connection, self._sending, self.limits.body)

    def works(self, connection: C) -> None:
        """Note that a request is there as a whole."""
        with self._changed:
            if connection in self._waiting or connection in self._sending:
                self._forget(connection)
                self._working.add(connection)

    def left(self, connection: C) -> None:
        """Note that a connection is closed."""
        with self._changed:
            self._forget(connection)
            self._closing.discard(connection)
            self._changed.notify_all()

    def sweep(self) -> None:
        """Close the connections that have waited too long for their client."""
        with self._changed:
            now = self._clock()
            late = [
                connection
                for deadlines in (self._waiting, self._sending)
                for connection, deadline in deadlines.items()
                if deadline <= now
            ]
        for connection in late:
            self._end(connection)

    def close_all(self) -> None:
        """Close every connection."""
        with self._changed:
            found = self._open()
        for connection in found:
            self._end(connection)

    def wait_until_closed(self, seconds: float) -> None:
        """Wait until what was closed here has left, but no longer than `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closing, seconds)

    def _open(self) -> list[C]:
        return [*self._waiting, *self._sending, *self._working]

    def _move(self, connection: C, deadlines: dict[C, float], seconds: float) -> None:
        """Start a connection's wait; one that is under way goes on, whatever trickles in."""
        with self._changed:
            if connection in deadlines or connection not in self._open():
                return
            self._forget(connection)
            deadlines[connection] = self._clock() + seconds

    def _end(self, connection: C) -> None:
        with self._changed:
            if connection not in self._open():
                return
            self._forget(connection)
            self._closing.add(connection)
        with contextlib.suppress(OSError):
            self._close(connection)

    def _forget(self, connection: C) -> None:
        self._waiting.pop(connection, None)
        self._sending.pop(connection, None)
        self._working.discard(connection)
