"""What all tests share: nothing here may talk to anything but this machine."""

import ipaddress
import socket

import pytest
from http_server import Server, answer
from hypothesis import HealthCheck, settings

# How fast examples come says something of the machine, not of the code. In a fresh checkout the
# first text strategy also builds Hypothesis's tables of characters.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def _is_here(family, address):
    if family not in (socket.AF_INET, socket.AF_INET6):
        return True
    host = address[0]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch):
    """Let a test fail that opens a connection to another machine or looks a name up."""
    connect, connect_ex, look_up = (
        socket.socket.connect,
        socket.socket.connect_ex,
        socket.getaddrinfo,
    )

    def guarded(original):
        def call(self, address):
            if not _is_here(self.family, address):
                pytest.fail(f"the test tried to reach {address!r}", pytrace=False)
            return original(self, address)

        return call

    def guarded_look_up(host, *args, **kwargs):
        text = host.decode() if isinstance(host, bytes) else host
        if text not in (None, "") and not _is_here(socket.AF_INET, (text,)):
            raise socket.gaierror(f"tests do not look names up: {text}")
        return look_up(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded(connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)


@pytest.fixture
def serve():
    """Start servers that answer with bytes, or what a function of head and body returns."""
    servers = []

    def start(reply=lambda head, body: answer(), **options):
        if not callable(reply):
            fixed = reply
            reply = lambda head, body: fixed  # noqa: E731
        servers.append(Server(reply, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
