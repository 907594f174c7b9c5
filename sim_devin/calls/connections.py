"""The connections under the wire: they keep time, ask before they send, and go where they may.

The errors are those of urllib3.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from sim_devin.calls.network import NetworkPolicy, literal

# What has to agree before the request of this thread is sent, see `request.Request.confirm`.
CONFIRM: ContextVar[Callable[[], None] | None] = ContextVar("confirm", default=None)


class _TimedReader(io.RawIOBase):
    """Reads from a socket for as long in all as the socket's time-out says at the beginning."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock
        timeout = sock.gettimeout()
        self._until = None if timeout is None else time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """An answer whose head cannot trickle past the time for the request."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_TimedReader(self.fp.detach(), sock))


class _Confirming(http.client.HTTPConnection):
    """Asks whether the request may still be sent when nothing is left to do but to send it.

    Making a connection can take seconds, and the process may have stood still for hours.
    """

    def endheaders(self, *args: Any, **options: Any) -> None:
        confirm = CONFIRM.get()
        if confirm is not None:
            if self.sock is None:
                self.connect()
            confirm()
        super().endheaders(*args, **options)


class _Plain(_Confirming, HTTPConnection):
    response_class = _TimedResponse


class _Secure(_Confirming, HTTPSConnection):
    response_class = _TimedResponse


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Secure


Pools = dict[str, type[urllib3.HTTPConnectionPool]]
POOLS: Pools = {"http": _PlainPool, "https": _SecurePool}


def judged_pools(network: NetworkPolicy) -> Pools:
    """Return urllib3's pools with connections that go where `network` lets them."""

    class Plain(_Plain):
        def _new_conn(self) -> socket.socket:
            return _judged_socket(self, self._dns_host, network)

    class Secure(_Secure):
        def _new_conn(self) -> socket.socket:
            return _judged_socket(self, self._dns_host, network)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _judged_socket(connection: HTTPConnection, host: str, network: NetworkPolicy) -> socket.socket:
    """Connect to an address that may be reached: one look-up is judged and connected to.

    The errors are those of urllib3's own way to make a socket.
    """
    try:
        addresses = look_up(host, connection.port)
    except (OSError, UnicodeError) as error:
        raise urllib3.exceptions.NewConnectionError(connection, f"{host}: {error}") from error
    failed: OSError = OSError(f"{host} cannot be resolved")
    for address in network.reachable(host, connection.port, addresses):
        try:
            return urllib3.util.connection.create_connection(
                (address, connection.port),
                connection.timeout,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            failed = error
    if isinstance(failed, TimeoutError):
        raise urllib3.exceptions.ConnectTimeoutError(connection, str(failed)) from failed
    raise urllib3.exceptions.NewConnectionError(connection, str(failed)) from failed


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses a host leads to, without doubles and in the order to try them."""
    address = literal(host)
    if address is not None and "%" not in host:
        return [str(address)]
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))
