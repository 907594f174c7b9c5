"""What the store or the machine refuses for a while never ends a run: it waits, and says why."""

import logging
import os
import subprocess
import sys
import threading

import pytest

from sim_devin.errors import LocalFault, StoreUnavailable
from sim_devin.simulator.server import serve
from sim_devin.store.sql_store import open_store
from tests.durable.flows import block, devin, flow, wait

CREATE = devin("create", "create_session", prompt="x")
BIG = devin("create", "create_session", prompt="x" * 50_000)


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch):
    monkeypatch.setattr("sim_devin.runs.worker.SHORTEST_PATIENCE", 0.0)
    monkeypatch.setattr("sim_devin.runs.worker.LONGEST_PATIENCE", 0.0)


class Said(logging.Handler):
    """Does something when the worker says that it waits."""

    def __init__(self, act):
        super().__init__()
        self.texts = []
        self._act = act

    def emit(self, record):
        self.texts.append(record.getMessage())
        if "waiting" in record.getMessage():
            self._act()


@pytest.fixture
def when_it_waits():
    """Return a function that takes what to do when a worker says that it waits."""
    handlers, log = [], logging.getLogger("sim_devin")

    def listen(act):
        handlers.append(Said(act))
        log.addHandler(handlers[-1])
        return handlers[-1]

    yield listen
    for handler in handlers:
        log.removeHandler(handler)


def created(simulator):
    return sum(e.method == "POST" and e.path.endswith("/sessions") for e in simulator.log)


def drive(app, run_id, how):
    """Drive a run as `run` does, or as a worker does."""
    if how == "follow":
        app.runs.follow(run_id)
        return
    stop = threading.Event()

    def enough():
        if app.runs.store.run(run_id).state in ("done", "failed", "held"):
            stop.set()
        return False

    app.runs.work(cancel=stop, each_turn=enough)


@pytest.mark.parametrize("how", ["follow", "work"])
@pytest.mark.parametrize("pages", [0, 8, 16, 24, 32])
def test_a_full_disk_is_waited_for(open_app, simulator, tmp_path, when_it_waits, how, pages):
    store = open_store(tmp_path / "runs.sqlite")
    app = open_app(store=store)
    run_id = app.runs.start(
        flow(BIG, wait(), block("f", "function", code="return 'x'.repeat(90000)"))
    )
    (count,) = store.database.read("PRAGMA page_count")[0]
    store.database.read(f"PRAGMA max_page_count = {count + pages}")
    said = when_it_waits(lambda: store.database.read("PRAGMA max_page_count = 100000"))
    drive(app, run_id, how)
    run = store.run(run_id)
    assert run.state == "done", run.error
    assert "Free some space" in " ".join(said.texts)
    assert str(tmp_path) in " ".join(said.texts)
    assert created(simulator) == 1
    store.close()


class Short:
    """A transport of a machine that has no descriptor for some requests."""

    def __init__(self, inner, fails):
        self._inner = inner
        self._fails = iter(fails)

    def send(self, request, *, timeout):
        if next(self._fails, False):
            raise LocalFault("No connection to the service: Too many open files.", hint="ulimit -n")
        return self._inner.send(request, timeout=timeout)


@pytest.mark.parametrize("how", ["follow", "work"])
@pytest.mark.parametrize("at", range(2))
def test_a_call_without_a_descriptor_is_made_later(
    open_app, transport, simulator, when_it_waits, how, at
):
    fails = [False] * at + [True] * 12
    app = open_app(transport=Short(transport, fails))
    run_id = app.runs.start(flow(CREATE, wait(), devin("list", "list_sessions")))
    seen = []
    said = when_it_waits(lambda: seen.append(app.runs.show(run_id)["state"]))
    drive(app, run_id, how)
    assert app.runs.show(run_id)["state"] == "done", app.runs.show(run_id)["error"]
    assert created(simulator) == 1
    assert at == 1 or any("ulimit -n" in text for text in said.texts)  # the poller looks again


def test_the_run_says_meanwhile_why_it_waits(open_app, transport):
    app = open_app(transport=Short(transport, [True] * 100))
    run_id = app.runs.start(flow(CREATE))
    with pytest.raises(LocalFault):
        app.runs.work(once=True)
    app.runs.worker._put_back()
    run = app.runs.show(run_id)
    assert run["state"] == "ready"
    assert "Too many open files" in run["error"]
    assert "ulimit -n" in run["error"]


def test_a_store_that_is_unavailable_ends_nothing_for_good(open_app, store, monkeypatch):
    app = open_app()
    run_id = app.runs.start(flow(block("f", "function", code="return 1")))
    write, refusals = store.database.write, iter(range(10))

    def refuse():
        if next(refusals, None) is None:
            return write()
        raise StoreUnavailable("Gone.", hint="Look for it.")

    monkeypatch.setattr(store.database, "write", refuse)
    drive(app, run_id, "work")
    assert app.runs.show(run_id)["state"] == "done"


def test_without_patience_the_refusal_is_the_outcome(open_app, store, monkeypatch):
    app = open_app()
    app.runs.start(flow(block("f", "function", code="return 1")))

    def refuse():
        raise StoreUnavailable("Gone.", hint="Look for it.")

    monkeypatch.setattr(store.database, "write", refuse)
    with pytest.raises(StoreUnavailable):
        app.runs.work(once=True)
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoreUnavailable):
        app.runs.follow(app.runs.list()[0]["runId"], cancel=stop)


CALLER = """
import os, resource, sys
import sim_devin
from sim_devin.calls.request import Request
from sim_devin.calls.transport import HttpTransport
from sim_devin.errors import SimDevinError
url = sys.argv[1]
transport = HttpTransport()
request = Request("GET", url, {})
transport.send(request, timeout=5)
transport.close()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for address in (url, url.replace("127.0.0.1", "localhost"), "https://no-such-host.invalid/"):
    try:
        transport.send(Request("POST", address, {}, {}), timeout=5)
    except SimDevinError as error:
        print(type(error).__name__, error.means.did_nothing, error.means.temporary, error)
os.close(held.pop())
os.close(held.pop())
print(transport.send(request, timeout=5).status)
"""


def test_a_request_without_a_descriptor_was_not_sent_and_says_what_to_do(simulator):
    with serve(simulator) as url:
        done = subprocess.run(
            [sys.executable, "-c", CALLER, url],
            capture_output=True,
            text=True,
            env={name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
            check=False,
        )
    *told, status = done.stdout.splitlines()
    assert len(told) == 3, done.stdout + done.stderr
    for line in told:
        assert line.startswith("LocalFault True True"), line
        assert "ulimit -n" in line
    assert int(status) >= 200
