"""A store, a pretended Devin, and apps over both as processes that come and go."""

import pytest

import sim_devin
from sim_devin.reconcile import Settle
from sim_devin.simulate import SimulatedTransport
from sim_devin.simulator import SimClock, Simulator
from sim_devin.sqlite_store import SqliteStore

ENV = {"DEVIN_API_KEY": "cog_test_key_000000"}


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    made = SqliteStore() if request.param == "memory" else SqliteStore(tmp_path / "runs.sqlite")
    yield made
    made.close()


@pytest.fixture
def transport():
    clock = SimClock(speed=0)
    return SimulatedTransport(clock, Simulator(clock=clock, seed=1))


@pytest.fixture
def simulator(transport):
    return transport.simulator


@pytest.fixture
def open_app(store, transport):
    """Return a function that opens an app over the store, as a new process would."""

    def open_one(**options):
        options.setdefault("settle", Settle(grace=30.0, policy="hold"))
        options.setdefault("store", store)
        options.setdefault("transport", transport)
        credentials = {"apiKey": "cog_simulated_key", "orgId": "org-simulated"}
        return sim_devin.open_app(
            clock=transport.clock, discover=False, env=ENV, credentials=credentials, **options
        )

    return open_one


@pytest.fixture
def app(open_app):
    return open_app()
