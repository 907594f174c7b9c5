"""The simulator behind a real socket, with nothing but the standard library.

It breaks connections for real: a reset is a TCP reset, a truncated body is one.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from sim_devin.listener import BUSY, ConnectionLimits, Connections, listen
from sim_devin.simulator.answers import Answer, Problem, failure, title
from sim_devin.simulator.api import LARGEST_BODY
from sim_devin.simulator.control import CONTROL, control
from sim_devin.simulator.simulator import Simulator


@contextlib.contextmanager
def serve(
    simulator: Simulator,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    control: bool = True,
    limits: ConnectionLimits | None = None,
) -> Iterator[str]:
    """Serve `simulator` while the context lasts; yields the base URL, ``/v3`` included.

    Port 0 takes a free one. With `control` the endpoints below ``/__simulator/`` are there.
    Requests in flight are broken off at the end. `limits` are those of the connections.
    `OSError` when the port is taken.
    """
    server = _Server((host, port), simulator, control, limits or ConnectionLimits())
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    name = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{name}:{server.server_address[1]}{simulator.prefix}"
    finally:
        server.stop()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(
        self,
        address: tuple[str, int],
        simulator: Simulator,
        control: bool,
        limits: ConnectionLimits,
    ) -> None:
        self.simulator = simulator
        self.control = control
        self.stopping = threading.Event()
        self.connections: Connections[socket.socket] = Connections(limits, _shut)
        super().__init__(address, _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listen(*address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.connections.admit(request):
            self.connections.wait_until_closed(1.0)  # their threads give the descriptors back
            super().process_request(request, client_address)
            return
        with contextlib.suppress(OSError):
            request.sendall(BUSY)
        super().shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.connections.left(request)

    def service_actions(self) -> None:
        self.connections.sweep()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what this server is for."""

    def stop(self) -> None:
        """Stop serving, break open connections off and wait for their threads."""
        self.stopping.set()
        self.shutdown()
        self.connections.close_all()
        self.server_close()


def _shut(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)  # its thread sees the end and closes it


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _serve(self) -> None:
        self.server.connections.sends(self.connection)
        body = self._body()
        if body is None:
            return
        self.server.connections.works(self.connection)
        path, _, query = self.path.partition("?")
        headers = dict(self.headers.items())
        if self.server.control and path.startswith(CONTROL):
            peer = self.client_address[0]
            answer = control(self.server.simulator, self.command, path, headers, body, peer)
        else:
            pairs = parse_qsl(query, keep_blank_values=True)
            answer = self.server.simulator.handle(self.command, path, pairs, headers, body)
        self._deliver(answer)
        self.server.connections.waits(self.connection)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _serve

    def _body(self) -> bytes | None:
        """Return the request's body, or answer the request and return None."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers:
            problem = Problem(411, "The body needs a Content-Length")
        elif not length.isdecimal():
            problem = Problem(400, "Content-Length is not a number")
        elif int(length) > LARGEST_BODY:
            problem = Problem(413, f"Body is larger than {LARGEST_BODY} bytes")
        else:
            return self.rfile.read(int(length))
        self.close_connection = True
        self._deliver(failure(problem, self.path))
        return None

    def _deliver(self, answer: Answer) -> None:
        if answer.fault == "timeout":
            self._stay_silent(answer.delay)
        elif answer.delay:
            self.server.stopping.wait(answer.delay)
        if answer.fault in ("reset", "timeout"):
            self._reset()
            return
        head = [
            f"HTTP/1.1 {answer.status} {title(answer.status)}",
            *(f"{name}: {value}" for name, value in answer.headers.items()),
            f"Content-Length: {len(answer.body)}",
            f"Connection: {'close' if self.close_connection else 'keep-alive'}",
        ]
        body = b"" if self.command == "HEAD" else answer.body
        if answer.fault == "truncate":
            body = body[: len(body) // 2]
            self.close_connection = True
        # One write: two small ones would wait for each other on the wire.
        self.wfile.write("\r\n".join([*head, "", ""]).encode("latin-1", "replace") + body)

    def _stay_silent(self, seconds: float) -> None:
        """Wait until the client hangs up, but no longer than `seconds`."""
        select.select([self.connection], [], [], seconds)

    def _reset(self) -> None:
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        socket.close(self.connection.detach())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing; the simulator itself logs."""
