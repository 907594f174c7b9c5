"""A store, a simulated Devin, and apps over both as processes that come and go."""

import itertools
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from sim_devin.calls.intents import Settle
from sim_devin.store.lock_file import LockFile, MemoryLocks
from sim_devin.store.sql_store import open_store
from tests.conftest import ENV as ENV


def take_for_dead(store):
    """Let the processes that drive runs of a store count as dead, though they live.

    Their leases are over; their locks are in a file that is not there any more.
    """
    with store.database.write() as connection:
        if store.database.locks is None:
            connection.execute("UPDATE runs SET lease_until = 0")
            connection.execute("UPDATE leases SET until = 0")
    if isinstance(store.database.locks, LockFile):
        Path(store.database.locks.path).unlink()
    elif isinstance(store.database.locks, MemoryLocks):
        store.database.locks.__init__()


SERVER = Path(__file__).parents[2] / "scripts" / "postgres_server.py"


@pytest.fixture(scope="session")
def postgres_server():
    """Return the address of a PostgreSQL server, or skip the test."""
    with subprocess.Popen(
        [sys.executable, SERVER, "-c", "fsync=off"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        address = process.stdout.readline().strip()
        if not address:
            assert process.wait() == 3
            assert not os.environ.get("SIM_DEVIN_REQUIRE_POSTGRES")
            pytest.skip("needs the programs of a PostgreSQL server")
        yield address
        process.stdin.close()


_schemas = itertools.count()


@contextmanager
def empty_schema(server):
    """Yield the address of an empty schema, which is removed afterwards."""
    import psycopg

    name = f"test_{next(_schemas)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        yield f"{server}&options=-csearch_path%3D{name}"
        connection.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def postgres(postgres_server):
    """Return the address of an empty PostgreSQL store."""
    with empty_schema(postgres_server) as address:
        yield address


@pytest.fixture(params=["memory", "file", "postgres"])
def store(request, tmp_path):
    if request.param == "memory":
        made = open_store()
    elif request.param == "file":
        made = open_store(tmp_path / "runs.sqlite")
    else:
        made = open_store(request.getfixturevalue("postgres"))
    yield made
    made.close()


@pytest.fixture
def open_app(open_app, store):
    """Return a function that opens an app over the store, as a new process would."""

    def open_one(**options):
        standard = {"settle": Settle(grace=30.0, policy="hold"), "store": store}
        return open_app(**{**standard, **options})

    return open_one


@pytest.fixture
def app(open_app):
    return open_app()
