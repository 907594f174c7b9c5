"""Processes whose clocks do not agree, or whose machine's clock is set."""

import threading
import time
from contextlib import suppress

import pytest

import sim_devin
from sim_devin.calls.intents import Settle
from sim_devin.clock import RealClock
from sim_devin.errors import StoreUnavailable
from sim_devin.simulator import SimClock
from sim_devin.store.sql_store import SqlStore, open_store
from tests.durable.conftest import ENV, take_for_dead
from tests.durable.flows import devin, flow, wait
from tests.durable.test_crashes import Killed, Life, MortalFile

CREATE = devin("create", "create_session", prompt="Fix it")


class Ahead:
    """A clock that another process has: the same, but ahead or behind."""

    def __init__(self, clock, seconds):
        self._clock, self._seconds = clock, seconds

    def time(self):
        return self._clock.time() + self._seconds

    def monotonic(self):
        return self._clock.monotonic() + 7 * self._seconds

    def wait(self, event, timeout):
        return self._clock.wait(event, timeout)


@pytest.fixture
def process(store, transport):
    """Return a function that opens an app as a process whose clock is ahead by some seconds."""

    def open_one(seconds, policy="retry", **options):
        options.setdefault("store", store)
        return sim_devin.open_app(
            transport=transport,
            env=ENV,
            clock=Ahead(transport.clock, seconds),
            discover=False,
            settle=Settle(grace=300.0, policy=policy),
            credentials={"apiKey": "cog_simulated_key", "orgId": "org-simulated"},
            **options,
        )

    return open_one


def dies_after_sending(process, simulator, store):
    """Let a process die right after its create was taken, long before the list shows it."""
    simulator.switches = simulator.switches.changed({"list_lag": 200})
    life = Life(10**9)
    app = process(0, store=SqlStore(MortalFile(store.database, life)))
    send = app.transport.send

    def dying(request, *, timeout):
        answer = send(request, timeout=timeout)
        if request.method == "POST":
            life.over = True
            raise Killed
        return answer

    app.transport.send = dying
    run_id = app.runs.start(flow(CREATE), env=ENV)
    with suppress(Killed):
        app.runs.follow(run_id)
    app.transport.send = send
    take_for_dead(store)
    return run_id


@pytest.mark.parametrize("ahead", [400, -400, 0])
def test_who_takes_over_waits_the_whole_window_by_a_clock_of_its_own(
    process, simulator, store, ahead
):
    run_id = dies_after_sending(process, simulator, store)
    process(ahead).runs.follow(run_id)
    assert process(0).runs.show(run_id)["state"] == "done"
    assert simulator.counts["sessions_created"] == 1


@pytest.mark.parametrize("ahead", [400, -400])
def test_a_wait_goes_on_under_a_clock_that_is_behind(process, simulator, ahead):
    run_id = process(ahead).runs.start(flow(CREATE, wait()), env=ENV)
    process(ahead).runs.work(once=True)
    for _ in range(60):
        simulator.clock.advance(20)
        process(0).runs.work(once=True)
        if process(0).runs.show(run_id)["state"] == "done":
            break
    assert process(0).runs.show(run_id)["state"] == "done"


def test_a_session_is_looked_at_though_the_clock_was_set_back(process, simulator):
    run_id = process(5000).runs.start(flow(CREATE, wait()), env=ENV)
    process(5000).runs.work(once=True)
    simulator.clock.advance(600)
    app = process(0)
    app.runs.work(once=True)
    assert app.runs.show(run_id)["state"] == "done"


@pytest.mark.parametrize("jump", [-5000.0, 5000.0])
def test_a_machine_whose_clock_is_set_keeps_its_runs(tmp_path, transport, monkeypatch, jump):
    """Neither is a run taken from a process that lives, nor kept from one that takes over."""
    place = tmp_path / "runs.sqlite"
    options = {"transport": transport, "env": ENV, "clock": transport.clock}
    first, second = (sim_devin.open_app(store=open_store(place), **options) for _ in range(2))
    run_id = first.runs.start(flow(CREATE), env=ENV)
    assert first.runs.worker.claim(run_id) is not None
    real, boot = time.time, second.runs.store.database.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    monkeypatch.setattr(second.runs.store.database, "time", lambda: boot() + 1e6)
    assert second.runs.worker.claim(run_id) is None
    first.runs.close()
    assert second.runs.worker.claim(run_id) is not None
    for app in (first, second):
        app.runs.store.close()


@pytest.fixture
def leased(postgres):
    """Return a store whose runs are leased."""
    store = open_store(postgres)
    yield store
    store.close()


def test_a_lease_from_before_the_machine_was_started_anew_is_void(open_app, leased):
    first, second = open_app(store=leased), open_app(store=leased)
    run_id = first.runs.start(flow(CREATE), env=ENV)
    first.runs.worker.claim(run_id)
    assert second.runs.worker.claim(run_id) is None
    with leased.database.write() as connection:
        connection.execute("UPDATE runs SET lease_until = lease_until + 1000000")
    assert second.runs.worker.claim(run_id) is not None


def test_several_machines_go_by_the_time_of_their_postgres_server(postgres, monkeypatch):
    real = time.time
    store = open_store(postgres)
    apps = []
    for skew in (400.0, -400.0):
        monkeypatch.setattr(time, "time", lambda skew=skew: real() + skew)
        app = sim_devin.open_app(store=store, simulate=True, env=ENV, clock=RealClock())
        assert app.runs is not None
        apps.append((app, skew))
    moments = []
    for app, skew in apps:
        monkeypatch.setattr(time, "time", lambda skew=skew: real() + skew)
        moments.append(app.clock.time())
    assert abs(moments[0] - moments[1]) < 60
    store.close()


def test_a_handed_in_clock_stays_the_clock(postgres):
    store = open_store(postgres)
    clock = SimClock(speed=0)
    app = sim_devin.open_app(store=store, simulate=True, env=ENV, clock=clock)
    assert app.runs is not None
    assert app.clock is clock
    store.close()


def test_a_process_that_cannot_prolong_its_lease_stops_what_it_drives(
    open_app, leased, monkeypatch
):
    """Another process may take the run over by then, so nothing more is started here."""
    app = open_app(store=leased, env={**ENV, "SIM_DEVIN_LEASE": "0.3"})
    send, ends = app.transport.send, []

    def unreachable(*_):
        raise StoreUnavailable("The run store cannot be reached.")

    def held_up(request, *, timeout):
        if request.method == "POST":
            ends.append(stop.wait(20))
        return send(request, timeout=timeout)

    stop = threading.Event()
    drive = app.runs.worker._prepare

    def prepared(run, watched, on_event):
        nonlocal stop
        stop = watched.stop
        return drive(run, watched, on_event)

    monkeypatch.setattr(app.runs.worker, "_prepare", prepared)
    monkeypatch.setattr(type(app.runs.store), "keep_leases", unreachable)
    app.transport.send = held_up
    more = devin("more", "create_session", prompt="x")
    app.runs.start(flow(CREATE, more), env=ENV)
    app.runs.work(once=True)
    assert ends
    assert all(ends)
