"""What servers do about connections: no delay, no more than they can hold, none for ever."""

import asyncio
import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import uvicorn
from click.testing import CliRunner

import sim_devin
from sim_devin.cli.commands import serving as simulate_serving
from sim_devin.cli.main import cli
from sim_devin.listener import ConnectionLimits, Connections, most_connections
from sim_devin.mcp import http as mcp_http
from sim_devin.mcp import server as mcp_server
from sim_devin.service.http_server import listening, serving
from sim_devin.simulator import SimClock, Simulator
from sim_devin.simulator import server as simulator_server
from sim_devin.web import server as web_server
from sim_devin.web.api import Api, ApiContext
from sim_devin.web.documents import Folder
from sim_devin.web.secret_store import SecretStore

HALF = b"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
WHOLE = b"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def asked(port, request=WHOLE):
    """Send a request on a connection of its own and return the first line of the answer."""
    with connect(port) as client:
        client.sendall(request)
        return client.makefile("rb").readline().decode("latin-1").strip()


def closed(client, seconds=10):
    """Return whether the server ends a connection within some time, without an answer."""
    client.settimeout(seconds)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


# -- the four servers ------------------------------------------------------------------------------


@pytest.fixture
def served(monkeypatch, tmp_path):
    """Run one of the servers of the command line on a thread; return its port."""
    servers, threads, run = [], [], uvicorn.Server.run

    def watched(self, sockets=None):
        servers.append(self)
        run(self, sockets)

    monkeypatch.setattr(uvicorn.Server, "run", watched)
    told, address = threading.Event(), []

    def ready(url):
        address.append(int(re.search(r":(\d+)", url)[1]))
        told.set()

    def start(serve, *arguments):
        thread = threading.Thread(target=serve, args=(*arguments, ready), daemon=True)
        threads.append(thread)
        thread.start()
        assert told.wait(20)
        return address[0]

    yield start
    for server in servers:
        server.should_exit = True
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def canvas(served, tmp_path):
    app = sim_devin.open_app(simulate=True, env={}, discover=False)
    secrets = SecretStore(tmp_path / "secrets.json")
    api = Api(app, Folder(tmp_path), secrets, ApiContext(True, 0, tmp_path))
    return served(web_server.serve, api, 0)


def mcp(served, tmp_path):
    app = sim_devin.open_app(simulate=True, env={}, discover=False)
    asgi = mcp_http.http_app(mcp_server.build(app), token="made-up")
    return served(mcp_http.serve, asgi, "127.0.0.1", 0)


def simulate(served, tmp_path):
    simulator = Simulator(clock=SimClock(speed=0))
    return served(simulate_serving.serve_until_interrupted, simulator, "127.0.0.1", 0)


async def empty(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def accepted(monkeypatch):
    """Collect the connections that servers accept."""
    found, original = [], socket.socket.accept

    def accept(self):
        connection, address = original(self)
        found.append(connection)
        return connection, address

    monkeypatch.setattr(socket.socket, "accept", accept)
    return found


@pytest.mark.parametrize("server", [canvas, mcp, simulate])
def test_nothing_waits_for_an_acknowledgement(server, served, tmp_path, accepted):
    port = server(served, tmp_path)
    with connect(port) as client:
        client.sendall(WHOLE.replace(b"Connection: close\r\n", b""))
        assert client.makefile("rb").readline().startswith(b"HTTP/1.1 ")
        [connection] = accepted
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_nothing_waits_for_an_acknowledgement_under_threads(accepted):
    with threads_serve(ConnectionLimits()) as port, connect(port) as client:
        client.sendall(WHOLE.replace(b"Connection: close\r\n", b""))
        assert client.makefile("rb").readline().startswith(b"HTTP/1.1 ")
        assert accepted[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_worker_listens_as_the_others_do(monkeypatch):
    found, run = [], uvicorn.Server.run

    def watched(self, sockets):
        port = sockets[0].getsockname()[1]
        with connect(port), sockets[0].accept()[0] as connection:
            found.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        run(self, sockets)

    monkeypatch.setattr(uvicorn.Server, "run", watched)
    result = CliRunner().invoke(cli, ["worker", "--simulate", "--once", "--http", "0"])
    assert (result.exit_code, len(found)) == (0, 1)
    assert found[0]


COMMANDS = {
    "serve": ["serve", "--simulate", "--no-open", "--port", "0"],
    "worker": ["worker", "--simulate", "--http", "0"],
    "mcp": ["mcp", "--simulate", "--http", "--port", "0"],
    "simulate": ["simulate", "--port", "0"],
}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_half_open_connections_leave_room_for_requests_and_for_everything_else(command, tmp_path):
    import resource

    most = 96

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    env = {**os.environ, "SIM_DEVIN_CONFIG": str(tmp_path / "config.toml"), "PYTHONUNBUFFERED": "1"}
    with (
        contextlib.ExitStack() as open_clients,
        subprocess.Popen(
            [sys.executable, "-m", "sim_devin", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            env=env,
            preexec_fn=few,
        ) as process,
    ):
        try:
            told = b""
            while not (found := re.search(rb"http://127\.0\.0\.1:(\d+)", told)):
                line = process.stdout.readline()
                assert line, told
                told += line
            port = int(found[1])
            for number in range(250):
                client = open_clients.enter_context(connect(port))
                with contextlib.suppress(OSError):  # closed for a newer one
                    client.sendall(HALF)
                if number % 50 == 49:
                    assert asked(port).startswith("HTTP/1.1 ")
                    used = len(os.listdir(f"/proc/{process.pid}/fd"))  # noqa: PTH208
                    assert used < most * 3 // 4
        finally:
            process.send_signal(signal.SIGKILL)


# -- limits ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def uvicorn_serves(limits, app=empty):
    listener = listening("127.0.0.1", 0)
    with serving(app, listener, limits=limits):
        yield listener.getsockname()[1]


@contextlib.contextmanager
def threads_serve(limits):
    with simulator_server.serve(Simulator(clock=SimClock(speed=0)), limits=limits) as url:
        yield int(re.search(r":(\d+)", url)[1])


SERVERS = pytest.mark.parametrize(
    "server", [uvicorn_serves, threads_serve], ids=["uvicorn", "threads"]
)


@SERVERS
def test_a_request_finds_room_among_hundreds_that_are_never_completed(server):
    with server(ConnectionLimits(connections=8)) as port, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(300)]
        for client in clients:
            with contextlib.suppress(OSError):
                client.sendall(HALF)
        assert asked(port).startswith("HTTP/1.1 ")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            ended, _, _ = select.select(clients, [], [], 0.1)
            if len(ended) >= 292:
                break
        assert len(ended) >= 292


@SERVERS
def test_headers_that_do_not_end_are_given_up(server):
    with (
        server(ConnectionLimits(head=0.2)) as port,
        connect(port) as silent,
        connect(port) as trickling,
    ):
        for _ in range(200):
            try:
                trickling.sendall(HALF[:1])
            except OSError:
                break
            if select.select([trickling], [], [], 0.05)[0]:
                break
        assert closed(trickling)
        assert closed(silent)
        assert asked(port).startswith("HTTP/1.1 ")


@SERVERS
def test_a_connection_without_a_next_request_is_closed(server):
    with server(ConnectionLimits(idle=0.2)) as port, connect(port) as client:
        for _ in range(2):
            client.sendall(WHOLE.replace(b"Connection: close\r\n", b""))
            answer = client.makefile("rb")
            length = 0
            assert answer.readline().startswith(b"HTTP/1.1 ")
            while line := answer.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            answer.read(length)
        assert closed(client)


@SERVERS
def test_half_open_connections_do_not_hold_up_the_end(server):
    with contextlib.ExitStack() as stack:
        with server(ConnectionLimits(head=300)) as port:
            clients = [stack.enter_context(connect(port)) for _ in range(5)]
            for client in clients:
                client.sendall(HALF)
            assert asked(port).startswith("HTTP/1.1 ")
        assert all(closed(client) for client in clients)


async def reading(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await empty(scope, receive, send)


@pytest.mark.parametrize("server", ["uvicorn", "threads"])
def test_a_body_that_does_not_end_is_given_up(server):
    limits = ConnectionLimits(body=0.2)
    serve = threads_serve(limits) if server == "threads" else uvicorn_serves(limits, reading)
    with serve as port, connect(port) as client:
        client.sendall(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
        assert closed(client)


def test_when_all_are_at_work_a_newcomer_is_told_to_come_back():
    release, working = threading.Event(), threading.Semaphore(0)

    async def slow(scope, receive, send):
        working.release()
        await asyncio.to_thread(release.wait, 20)
        await empty(scope, receive, send)

    with uvicorn_serves(ConnectionLimits(connections=2), slow) as port:
        with connect(port) as one, connect(port) as two:
            for client in (one, two):
                client.sendall(WHOLE)
                assert working.acquire(timeout=10)
            with connect(port) as third:
                assert third.makefile("rb").readline().startswith(b"HTTP/1.1 503 ")
            release.set()
            for client in (one, two):
                assert client.makefile("rb").readline().startswith(b"HTTP/1.1 204 ")
        assert asked(port).startswith("HTTP/1.1 204")


# -- the account -----------------------------------------------------------------------------------


class Account:
    """Connections that are numbers, and a clock that is set."""

    def __init__(self, **limits):
        self.now = 0.0
        self.closed = []
        self.connections = Connections(
            ConnectionLimits(**limits), self.closed.append, lambda: self.now
        )

    def pass_(self, seconds):
        self.now += seconds
        self.connections.sweep()
        return self.closed


def test_the_one_that_waited_longest_makes_room():
    account = Account(connections=3)
    assert all(account.connections.admit(number) for number in (1, 2, 3))
    account.connections.works(1)
    account.connections.waits(1)  # anew, after 2 and 3
    assert account.connections.admit(4)
    assert account.closed == [2]
    assert len(account.connections) == 4  # until it is closed for good
    account.connections.left(2)
    assert len(account.connections) == 3


def test_no_trickle_puts_an_end_off():
    account = Account(head=10, body=60, idle=30, connections=9)
    account.connections.admit(1)
    for _ in range(9):
        account.connections.waits(1)
        assert account.pass_(1) == []
    account.connections.sends(1)
    for _ in range(59):
        account.connections.sends(1)
        assert account.pass_(1) == []
    assert account.pass_(1) == [1]


def test_work_takes_as_long_as_it_takes():
    account = Account(connections=1)
    account.connections.admit(1)
    account.connections.works(1)
    assert account.pass_(10**6) == []
    assert not account.connections.admit(2)
    account.connections.waits(1)
    assert account.pass_(31) == [1]


def test_what_was_closed_is_not_counted_again():
    account = Account(connections=1)
    account.connections.admit(1)
    account.connections.admit(2)
    account.connections.waits(1)
    account.connections.works(1)
    account.pass_(11)
    assert account.closed == [1, 2]
    account.connections.left(1)
    account.connections.left(2)
    assert len(account.connections) == 0


@pytest.mark.skipif(os.name != "posix", reason="limits of a process")
@pytest.mark.parametrize(("descriptors", "most"), [(12, 8), (96, 32), (1024, 341), (10**6, 512)])
def test_most_descriptors_are_left_for_other_things(monkeypatch, descriptors, most):
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert most_connections() == ConnectionLimits().connections == most
