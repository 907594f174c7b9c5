"""A service that is silent, or whose lists have no end, holds up nothing but its own runs."""

import threading
import time
from contextlib import contextmanager

import pytest

from sim_devin.runs import looks
from sim_devin.simulator import Fault
from tests.durable.flows import KEY, block, devin, flow, wait

QUIET = "org-quiet"


class Quiet:
    """A transport to the simulator that never answers for one organization until it is told to."""

    def __init__(self, inner, of=QUIET):
        self.inner = inner
        self.clock = inner.clock
        self.of = of
        self.asked = threading.Event()
        self.go = threading.Event()

    def send(self, request, *, timeout):
        if f"/{self.of}/" in request.url and not self.go.is_set():
            self.asked.set()
            assert self.go.wait(100)
        return self.inner.send(request, timeout=timeout)


@pytest.fixture
def quiet(transport):
    made = Quiet(transport)
    yield made
    made.go.set()


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch):
    monkeypatch.setattr(looks, "PATIENCE", 0.2)


def waits_for(simulator, org, **values):
    session = simulator.add_session(org, "Fix it", scenario="finish")
    return block("wait", "devin_wait", apiKey=KEY, orgId=org, sessionId=session, **values)


def park(app, *blocks, **options):
    run = app.runs.start(flow(*blocks), **options)
    app.runs.worker.drive(app.runs.worker.claim(run), None, None)
    assert app.runs.show(run)["state"] == "waiting"
    return run


@contextmanager
def working(app, **options):
    """Let a worker work meanwhile; at the end it has to stop although the service is silent."""
    cancel = threading.Event()
    worker = threading.Thread(target=app.runs.work, kwargs={"cancel": cancel, **options})
    worker.start()
    try:
        yield
    finally:
        cancel.set()
        worker.join(30)
    assert not worker.is_alive()


def until(holds):
    for _ in range(600):
        if holds():
            return True
        threading.Event().wait(0.05)
    return False


def state(app, run):
    return app.runs.show(run)["state"]


def test_a_silent_organization_does_not_delay_the_runs_of_another(open_app, quiet, simulator):
    app = open_app(transport=quiet)
    silent = park(app, waits_for(simulator, QUIET))
    other = park(app, waits_for(simulator, "org-simulated"))
    simulator.clock.advance(600)
    with working(app):
        assert quiet.asked.wait(30)
        assert until(lambda: state(app, other) == "done")
        assert state(app, silent) == "waiting"
        later = app.runs.start(flow(waits_for(simulator, "org-simulated")))
        assert until(lambda: state(app, later) == "waiting")
    quiet.go.set()
    simulator.clock.advance(600)
    app.runs.work(once=True)
    assert state(app, silent) == "done"


def test_a_wait_ends_in_time_although_the_service_is_silent(open_app, quiet, simulator):
    app = open_app(transport=quiet)
    run = park(app, waits_for(simulator, QUIET, timeoutSeconds="60"))
    simulator.clock.advance(30)
    with working(app):
        assert quiet.asked.wait(30)
        assert state(app, run) == "waiting"
        simulator.clock.advance(31)
        assert until(lambda: state(app, run) == "failed")
    assert "before the deadline" in app.runs.show(run)["error"]


def test_a_run_that_is_followed_is_cancelled_although_the_service_is_silent(
    open_app, quiet, simulator
):
    app = open_app(transport=quiet)
    run = park(app, waits_for(simulator, QUIET))
    simulator.clock.advance(30)
    cancel = threading.Event()
    following = threading.Thread(target=app.runs.follow, args=(run,), kwargs={"cancel": cancel})
    following.start()
    assert quiet.asked.wait(30)
    cancel.set()
    following.join(30)
    assert not following.is_alive()
    assert state(app, run) == "cancelled"


@contextmanager
def followed(app, run):
    cancel = threading.Event()
    thread = threading.Thread(target=app.runs.follow, args=(run,), kwargs={"cancel": cancel})
    thread.start()
    try:
        yield thread
    finally:
        cancel.set()
        thread.join(30)


def test_a_wait_of_a_followed_run_ends_in_time_although_the_service_is_silent(
    open_app, quiet, simulator
):
    app = open_app(transport=quiet)
    run = park(app, waits_for(simulator, QUIET, timeoutSeconds="60"))
    simulator.clock.advance(30)
    with followed(app, run) as following:
        assert quiet.asked.wait(30)
        simulator.clock.advance(31)
        following.join(15)  # a look may take 25 seconds
        assert not following.is_alive()
    assert "before the deadline" in app.runs.show(run)["error"]


def test_a_silent_organization_does_not_delay_another_branch_of_a_followed_run(
    open_app, quiet, simulator
):
    app = open_app(transport=quiet)
    silent = waits_for(simulator, QUIET) | {"id": "silent", "name": "silent"}
    other = waits_for(simulator, "org-simulated")
    after = block("after", "function", code="return 1")
    edges = [("start", "silent"), ("start", "wait"), ("wait", "after")]
    run = app.runs.start(flow(silent, other, after, edges=edges))
    app.runs.worker.drive(app.runs.worker.claim(run), None, None)
    simulator.clock.advance(600)

    def has_run():
        return any(one["blockId"] == "after" for one in app.runs.show(run)["blocks"])

    began = time.monotonic()
    with followed(app, run):
        assert quiet.asked.wait(30)
        assert until(has_run)
        assert time.monotonic() - began < 15  # a look may take 25 seconds
        quiet.go.set()


def test_a_create_under_way_is_given_back_and_found_when_a_worker_stops(open_app, quiet, simulator):
    app = open_app(transport=quiet)
    create = block("create", "devin", operation="create_session", apiKey=KEY, orgId=QUIET)
    create["subBlocks"]["prompt"] = {"id": "prompt", "type": "long-input", "value": "Fix it"}
    run = app.runs.start(flow(create))
    with working(app):
        assert quiet.asked.wait(30)
    assert state(app, run) == "ready"
    quiet.go.set()  # what was under way arrives after all
    assert until(lambda: simulator.counts["sessions_created"] == 1)
    open_app().runs.work(once=True)
    assert state(app, run) == "done"
    assert simulator.counts["sessions_created"] == 1


def test_an_answer_under_way_is_kept_when_a_worker_stops(open_app, quiet, simulator):
    app = open_app(transport=quiet)
    quiet.go.set()
    session = simulator.add_session(QUIET, "Fix it", scenario="asks")
    asks = block(
        "wait", "devin_wait", apiKey=KEY, orgId=QUIET, sessionId=session, onQuestion="hold"
    )
    run = park(app, asks, default_answer="main", answer_within=60)
    simulator.clock.advance(600)
    app.runs.work(once=True)
    assert state(app, run) == "asking"
    quiet.go.clear()
    quiet.asked.clear()
    simulator.clock.advance(61)
    with working(app):
        assert quiet.asked.wait(30)
    quiet.go.set()
    simulator.clock.advance(600)
    open_app().runs.work(once=True)
    (found,) = simulator.truth()
    assert [item["message"] for item in found["messages"]].count("main") == 1


def test_what_fails_inside_a_look_ends_neither_the_worker_nor_the_other_looks(
    open_app, transport, simulator, monkeypatch, caplog
):
    from sim_devin.runs.poller import Poller

    app = open_app()
    broken = park(app, waits_for(simulator, QUIET))
    other = park(app, waits_for(simulator, "org-simulated"))
    inside = Poller._look_at

    def look_at(self, place, *rest):
        if QUIET in place:
            raise AttributeError("an answer nobody thought of")
        return inside(self, place, *rest)

    monkeypatch.setattr(Poller, "_look_at", look_at)
    simulator.clock.advance(600)
    app.runs.work(once=True)
    assert state(app, other) == "done"
    assert state(app, broken) == "waiting"
    assert "internal error" in caplog.text


@pytest.mark.parametrize("path", ["/sessions$", "/messages$"])
def test_lists_without_an_end_do_not_outlast_a_wait(app, simulator, path):
    create = devin("create", "create_session", prompt="Fix it [scenario: asks]")
    run = app.runs.start(flow(create, wait(timeoutSeconds="900")), on_question="hold")
    app.runs.work(once=True)
    simulator.faults.add(Fault("circle", method="GET", path=path, times=None))
    for _ in range(400):
        app.runs.work(once=True)
        if state(app, run) != "waiting":
            break
        simulator.clock.advance(5)
    found = app.runs.show(run)
    if path == "/sessions$":  # one page holds all that is asked for
        assert found["state"] == "asking"
    else:
        assert found["state"] == "done"
        assert found["blocks"][-1]["output"]["timedOut"] is True


def creates(org):
    values = {"operation": "create_session", "prompt": "Fix it"}
    return flow(block("create", "devin", apiKey=KEY, orgId=org, **values))


def test_runs_that_hang_in_creates_of_one_organization_leave_room_for_others(open_app, quiet):
    app = open_app(transport=quiet)
    hanging = [app.runs.start(creates(QUIET)) for _ in range(12)]
    with working(app, concurrency=3):
        assert quiet.asked.wait(30)
        other = app.runs.start(creates("org-simulated"))
        assert until(lambda: state(app, other) == "done")
        assert until(lambda: [state(app, run) for run in hanging].count("waiting") >= 6)
        assert [state(app, run) for run in hanging].count("running") <= 6
        (told,) = next(
            found["waits"] for found in map(app.runs.show, hanging) if found["state"] == "waiting"
        )
        assert told["kind"] == "service"
        assert QUIET in told["message"]
        quiet.go.set()
        quiet.clock.advance(60)
        assert until(lambda: all(state(app, run) == "done" for run in hanging))


def test_runs_that_hang_in_requests_to_one_host_leave_room_for_others(open_app, quiet):
    quiet.of = "hooks"
    app = open_app(transport=quiet)
    call = flow(block("call", "api", url="https://example.org/hooks/one", method="POST"))
    hanging = [app.runs.start(call) for _ in range(4)]
    with working(app, concurrency=2):
        assert quiet.asked.wait(30)
        other = app.runs.start(creates("org-simulated"))
        assert until(lambda: state(app, other) == "done")
        assert until(lambda: "waiting" in [state(app, run) for run in hanging])
        quiet.go.set()
