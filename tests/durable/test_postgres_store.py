"""What is special about PostgreSQL: turns, lost connections, and what may be shown of it."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from sim_devin.errors import StoreError
from sim_devin.store.postgres import TURN, PostgresDatabase
from sim_devin.store.records import Run
from sim_devin.store.schema import MIGRATIONS
from sim_devin.store.sql_store import open_store
from tests.durable.flows import claim

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(postgres):
    made = open_store(postgres)
    yield made
    made.close()


def add_run(store, run_id="r-1"):
    document = store.put_document({"blocks": {}})
    store.add_run(Run(run_id, "ready", document))


def hang_up(server):
    """End the connection of a store from outside, as a restart of the server does."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'sim-devin' AND pid <> pg_backend_pid()"
        )


def test_a_store_goes_on_after_its_connection_was_lost(store, postgres_server):
    add_run(store)
    hang_up(postgres_server)
    assert store.run("r-1").state == "ready"
    hang_up(postgres_server)
    assert claim(store, "me").id == "r-1"


def test_a_connection_lost_inside_a_write_keeps_nothing_of_it(store, postgres_server):
    def write():
        with store.database.write() as connection:
            connection.execute("INSERT INTO documents VALUES ('half', '{}')")
            hang_up(postgres_server)
            connection.execute("INSERT INTO documents VALUES ('whole', '{}')")

    with pytest.raises(StoreError, match="cannot be used"):
        write()
    assert store.database.read("SELECT id FROM documents") == []


def test_a_failed_write_keeps_nothing_and_the_next_one_works(store):
    with suppress(ZeroDivisionError), store.database.write() as connection:
        connection.execute("INSERT INTO documents VALUES ('half', '{}')")
        raise ZeroDivisionError
    add_run(store)
    assert len(store.database.read("SELECT id FROM documents")) == 1


def test_a_writer_that_keeps_its_turn_is_named(postgres):
    with psycopg.connect(postgres) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (TURN,))
        with pytest.raises(StoreError) as caught:
            open_store(f"{postgres}%20-clock_timeout%3D50ms")
    assert "Another process" in caught.value.hint


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:hunter22hunter@127.0.0.1:1/runs",
        "postgresql://me:hunter22hunter@127.0.0.1:notaport/runs",
        "postgresql://me:hunter22hunter@[broken/runs",
    ],
)
def test_a_password_is_never_shown(address):
    with pytest.raises(StoreError) as caught:
        open_store(address)
    shown = f"{caught.value} {caught.value.hint} {caught.value!r}"
    assert "hunter22" not in shown
    assert caught.value.__cause__ is None


def test_the_repr_says_where_and_nothing_more(store):
    assert repr(store).startswith("SqlStore('postgresql://")
    assert "user" not in repr(store.database)


def test_everything_is_text_or_a_number(store):
    """Nothing that is read back could be code, as pickled data would be."""
    rows = store.database.read(
        "SELECT DISTINCT data_type FROM information_schema.columns "
        "WHERE table_schema = current_schema()"
    )
    assert {row["data_type"] for row in rows} == {"text", "bigint", "double precision"}


def test_a_character_that_postgres_cannot_hold_is_replaced(store):
    add_run(store)
    run = claim(store, "me")
    store.end_run(run, "failed", 1.0, error="a\0b")
    assert store.run("r-1").error == "a\ufffdb"


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_store_of_an_earlier_version_is_brought_up_to_date(postgres, version):
    old = PostgresDatabase(postgres, MIGRATIONS[:version])
    with old.write() as connection:
        connection.execute("INSERT INTO documents VALUES ('d', '{}')")
        connection.execute(
            "INSERT INTO runs (id, state, name, document, children, options, created, updated, "
            "fence, lease_until, cancelling) "
            "VALUES ('r', 'ready', '', 'd', '{\"kid\": \"d\"}', '{}', 1, 1, 0, 0, 0)"
        )
        if version >= 7:  # by then, it was written with the run
            connection.execute("INSERT INTO children VALUES ('d', 'r')")
    old.close()
    store = open_store(postgres)
    assert store.run("r").state == "ready"
    (child,) = store.database.read("SELECT document, run_id FROM children")
    assert (child["document"], child["run_id"]) == ("d", "r")
    store.close()


def test_a_store_of_a_later_version_is_left_alone(postgres):
    PostgresDatabase(postgres, [*MIGRATIONS, "CREATE TABLE more (x TEXT)"]).close()
    with pytest.raises(StoreError, match="newer version"):
        open_store(postgres)


CLAIMER = """
import sys
from sim_devin.store.sql_store import open_store
from sim_devin.clock import RealClock
from sim_devin.runs.carrier import Drives
from sim_devin.runs.opening import carrier_of
clock, store = RealClock(), open_store(sys.argv[1])
carrier = carrier_of(store, sys.argv[2], ttl=100.0, clock=clock)
drives = Drives(store, sys.argv[2], carrier, clock)
while (run := drives.claim()) is not None:
    print(run.id, flush=True)
"""


def test_machines_share_the_runs_and_none_is_claimed_twice(store, postgres):
    for number in range(40):
        add_run(store, f"run-{number}")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, postgres, name],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for name in ("a", "b", "c")
    ]
    claimed = [line for process in processes for line in process.communicate()[0].split()]
    assert sorted(claimed) == sorted(f"run-{number}" for number in range(40))
