"""Serve ASGI applications under uvicorn, with limits that half-open connections meet, too."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sim_devin.errors import CallerError
from sim_devin.listener import BACKLOG, BUSY, ConnectionLimits, Connections, listen

if TYPE_CHECKING:
    import asyncio

    import uvicorn


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens, see `listener.listen`.

    Raises:
        CallerError: the address cannot be used.
    """
    try:
        return listen(host, port)
    except OSError as error:
        raise unusable(host, port, error) from None


def unusable(host: str, port: int, error: OSError) -> CallerError:
    """Return what to say of an address that cannot be listened on."""
    return CallerError(
        f"Port {port} of {host} cannot be used: {error.strerror or error}.",
        hint="--port 0 selects a free one.",
    )


def http_server(
    app: Any, *, lifespan: bool = False, limits: ConnectionLimits | None = None, grace: int = 2
) -> uvicorn.Server:
    """Return a server of `app`; ``run(sockets=[…])`` serves until a signal or ``should_exit``.

    Args:
        app: an ASGI application.
        lifespan: whether it wants to know of its start and end.
        limits: of the connections.
        grace: seconds that requests have to end in.
    """
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    limits = limits or ConnectionLimits()
    connections: Connections[Any] = Connections(limits, lambda protocol: protocol.transport.abort())

    class Protocol(H11Protocol):
        """Tells `connections` what it waits for."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if not connections.admit(self):
                transport.write(BUSY)
                transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            connections.left(self)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._tell()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._tell()

        def _tell(self) -> None:
            cycle: Any = self.cycle  # None until there was a request
            if cycle is None or cycle.response_complete:
                connections.waits(self)
            elif cycle.more_body:
                connections.sends(self)
            else:
                connections.works(self)

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            # uvicorn raises SIGTERM again at its end, which would end the process on the spot.
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            before = signal.signal(signal.SIGTERM, _exit)
            try:
                with super().capture_signals():
                    yield
            finally:
                signal.signal(signal.SIGTERM, before)

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            for listener in sockets or ():
                listener.listen(BACKLOG)  # asyncio put the number in its place that it accepts

        async def on_tick(self, counter: int) -> bool:  # ten times a second
            connections.sweep()
            return await super().on_tick(counter)

    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on" if lifespan else "off",
        log_level="error",
        access_log=False,
        server_header=False,
        # asyncio accepts as many in one go, and closes what is too much a few rounds later.
        backlog=max(1, min(64, limits.connections // 4)),
        timeout_keep_alive=max(1, round(limits.idle)),
        timeout_graceful_shutdown=grace,
    )
    return Server(config)


def _exit(number: int, _frame: Any) -> None:
    """Leave by way of all that has to be closed."""
    raise SystemExit(128 + number)


@contextmanager
def serving(
    app: Any, listener: socket.socket, *, limits: ConnectionLimits | None = None
) -> Iterator[None]:
    """Serve on a thread for as long as the context lasts; the socket is closed at its end."""
    server = http_server(app, limits=limits)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="sim-devin-http", daemon=True
    )
    with listener:
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join()
