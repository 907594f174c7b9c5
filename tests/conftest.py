"""What all tests share: nothing here may talk to anything but this machine."""

import inspect
import ipaddress
import os
import re
import socket
import time
from functools import cache

import pytest
from http_server import Server, answer
from hypothesis import HealthCheck, settings

import sim_devin
from sim_devin.simulated import SimulatedTransport
from sim_devin.simulator import SimClock, Simulator
from tests import lanes

ENV = {"DEVIN_API_KEY": "cog_test_key_000000"}
CREDENTIALS = {"apiKey": "cog_simulated_key", "orgId": "org-simulated"}

# How fast examples come says something of the machine, not of the code. In a fresh checkout the
# first text strategy also builds Hypothesis's tables of characters.
SUITE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# -- the lanes: make quick, make test, make slow ------------------------------------------------

# What starts processes, servers and databases says so in its source, and so does what loads the
# large libraries of others.
_HEAVY = re.compile(
    r"\b(subprocess|Popen|multiprocessing|playwright|psycopg|pytester|TestClient"
    r"|anthropic|devinai|langchain_core|mcp_types|openai|opentelemetry|pydantic_ai)\b"
)
_QUICK_SECONDS = 5.0  # of the processor, for one test


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="what needs no process, server or store")


def pytest_configure(config):
    if config.getoption("--quick"):
        os.environ.setdefault(lanes.VARIABLE, "0.1")
    settings.register_profile("suite", parent=SUITE, max_examples=lanes.examples(100))
    settings.load_profile("suite")


def pytest_ignore_collect(collection_path, config):
    """Leave whole modules out of a quick run before they are imported."""
    if config.getoption("--quick") and collection_path.suffix == ".py":
        return bool(_HEAVY.search(collection_path.read_text(encoding="utf-8"))) or None
    return None


def pytest_collection_modifyitems(config, items):
    if config.getoption("--quick"):
        kept = [item for item in items if _is_quick(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(kept)])
        items[:] = kept


def _is_quick(item):
    if item.get_closest_marker("thorough") or item.get_closest_marker("slow"):
        return False
    if "store" in getattr(item, "fixturenames", ()) and hasattr(item, "callspec"):
        return False  # it is run with each of the stores
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    return not any(_is_heavy(defs[-1].func) for defs in fixtures)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Let a test fail that has no place in a quick run."""
    began = time.process_time()
    result = yield
    if item.config.getoption("--quick") and time.process_time() - began > _QUICK_SECONDS:
        pytest.fail("too much work for make quick: mark it with pytest.mark.thorough", False)
    return result


@cache
def _is_heavy(fixture):
    try:
        return bool(_HEAVY.search(inspect.getsource(fixture)))
    except (OSError, TypeError):
        return False


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
def simulator():
    """A simulated Devin whose time stands still."""
    return Simulator(clock=SimClock(speed=0), seed=1)


@pytest.fixture
def transport(simulator):
    """What leads to the simulated Devin."""
    return SimulatedTransport(simulator.clock, simulator)


@pytest.fixture
def open_app(transport):
    """Return a function that opens an app over the simulated Devin, with options of its own."""

    def open_one(policy=None, **options):
        standard = {"env": ENV, "transport": transport, "credentials": CREDENTIALS}
        return sim_devin.open_app(
            policy=policy, clock=transport.clock, discover=False, **{**standard, **options}
        )

    return open_one


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
