"""The listening socket of all servers here, and the limits on their connections.

It is below the simulator too, which otherwise shares nothing with the rest: it contains no client
code.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

BACKLOG = 128  # connections waiting to be accepted
MOST = 512  # connections at a time
LEAST = 8

# The response to a connection when all others are being served.
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Retry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

C = TypeVar("C")


def listen(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket; port 0 selects a free one.

    Nagle's algorithm is off for accepted connections. Otherwise responses would take 40 ms more:
    the algorithm delays their second part until the client, which waits for more, acknowledges the
    first.

    Raises:
        OSError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio checks for the protocol here before it turns the algorithm off; others inherit.
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
    """Return how many connections a server keeps: a third of what the process may open, up to 512.

    The rest is for the store, for requests to Devin, and for short-lived connections.
    """
    try:
        import resource
    except ImportError:  # Windows
        return MOST
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else max(LEAST, min(MOST, soft // 3))


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections a server keeps, and how long it waits for data from them.

    Attributes:
        connections: maximum number at a time.
        head: seconds from connecting to the end of the first request's headers.
        body: seconds from there to the end of the body.
        idle: seconds from a response to the end of the next request's headers.
    """

    connections: int = field(default_factory=most_connections)
    head: float = 10.0
    body: float = 60.0
    idle: float = 30.0


class Connections(Generic[C]):
    """The open connections of a server: which ones wait for their client, and until when.

    Thread-safe.

    Args:
        limits: how many, and how long.
        close: closes a connection; `left` must be called for it afterwards.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        limits: ConnectionLimits,
        close: Callable[[C], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self._close = close
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: dict[C, float] = {}  # until the headers arrive; longest first
        self._sending: dict[C, float] = {}  # until the body arrives
        self._working: set[C] = set()
        self._closing: set[C] = set()

    def __len__(self) -> int:
        with self._changed:
            return len(self._open()) + len(self._closing)

    def admit(self, connection: C) -> bool:
        """Count a new connection, which must now send a request.

        At the limit, close the one that has waited longest for its client. Return False, without
        counting it, if there is none: all requests are being served.
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
        """Note that a request's headers have arrived but not its body."""
        self._move(connection, self._sending, self.limits.body)

    def works(self, connection: C) -> None:
        """Note that a complete request has arrived."""
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
        """Wait until the closed connections have left, at most `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closing, seconds)

    def _open(self) -> list[C]:
        return [*self._waiting, *self._sending, *self._working]

    def _move(self, connection: C, deadlines: dict[C, float], seconds: float) -> None:
        """Start a connection's wait; a wait in progress continues, even if data trickles in."""
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
