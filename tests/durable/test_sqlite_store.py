"""The file: its permissions, versions, damage, and several processes at it."""

import itertools
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sim_devin.errors import CallerError, StoreError, UnknownName
from sim_devin.store.records import Run
from sim_devin.store.rows import LeaseLost
from sim_devin.store.schema import MIGRATIONS
from sim_devin.store.sql_store import open_store
from sim_devin.store.sqlite_file import SqliteFile
from tests.durable.flows import claim

ROOT = Path(__file__).parents[2]


def run(store, run_id="r-1", **values):
    document = store.put_document({"blocks": {}})
    store.add_run(Run(run_id, "ready", document, created=1.0, updated=1.0, **values))


def test_only_the_owner_can_read_it(tmp_path):
    store = open_store(tmp_path / "new" / "runs.sqlite")
    run(store)
    for file in (tmp_path / "new").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    store.close()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_store_of_an_earlier_version_is_brought_up_to_date(tmp_path, version):
    file = tmp_path / "old.sqlite"
    old = SqliteFile(file, MIGRATIONS[:version])
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
    store = open_store(file)
    assert store.run("r").state == "ready"
    (child,) = store.database.read("SELECT document, run_id FROM children")
    assert (child["document"], child["run_id"]) == ("d", "r")
    assert store.database.read("PRAGMA user_version")[0][0] == len(MIGRATIONS)
    store.close()


def test_a_store_of_a_later_version_is_left_alone(tmp_path):
    file = tmp_path / "new.sqlite"
    SqliteFile(file, [*MIGRATIONS, "CREATE TABLE more (x)"]).close()
    with pytest.raises(StoreError, match="newer version"):
        open_store(file)


def test_a_damaged_file_is_named(tmp_path):
    file = tmp_path / "bad.sqlite"
    file.write_bytes(b"this is not a database at all, but a text" * 40)
    with pytest.raises(StoreError, match="damaged"):
        open_store(file)


def test_a_full_disk_is_named_and_loses_nothing(tmp_path):
    store = open_store(tmp_path / "runs.sqlite")
    run(store)
    (pages,) = store.database.read("PRAGMA page_count")[0]
    store.database.read(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="Free some space"):
        store.put_document({"x": "y" * 100_000})
    store.database.read("PRAGMA max_page_count = 1000000")
    assert store.run("r-1").id == "r-1"
    store.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="SIM_DEVIN_STORE"):
        open_store(tmp_path / "file" / "runs.sqlite")


def test_records_of_plain_runs_are_kept_too(tmp_path):
    with StoreAt(tmp_path) as store:
        store.save("a", {"result": 1})
        store.save("a", {"result": 2})
        assert store.load("a") == {"result": 2}
        with pytest.raises(UnknownName):
            store.load("b")


def test_an_id_is_used_once(store):
    run(store)
    with pytest.raises(CallerError, match="already"):
        run(store)


def test_only_the_latest_owner_may_write(store):
    run(store)
    first = claim(store, "one")
    second = claim(store, "two", 11.0)
    assert second.fence == first.fence + 1
    with pytest.raises(LeaseLost):
        store.end_run(first, "done", 12.0)
    store.end_run(second, "done", 12.0)
    assert store.run("r-1").state == "done"


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
print("end", flush=True)
sys.stdin.read()  # what it holds is its until it ends
"""


def test_processes_share_the_runs_and_none_is_claimed_twice(tmp_path):
    with StoreAt(tmp_path) as store:
        for number in range(40):
            run(store, f"run-{number}")
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", CLAIMER, store.database.path, name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
            for name in ("a", "b")
        ]
        lines = [iter(process.stdout.readline, "end\n") for process in processes]
        claimed = [line.strip() for line in itertools.chain(*lines)]
        for process in processes:
            process.communicate()
    assert sorted(claimed) == sorted(f"run-{number}" for number in range(40))


def test_a_lock_that_is_never_given_up_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("sim_devin.store.sqlite_file.BUSY", 0.05)
    with StoreAt(tmp_path) as store:
        other = sqlite3.connect(store.database.path)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            store.put_document({})
        other.close()


class StoreAt:
    def __init__(self, folder):
        self._store = open_store(folder / "runs.sqlite")

    def __enter__(self):
        return self._store

    def __exit__(self, *_):
        self._store.close()
