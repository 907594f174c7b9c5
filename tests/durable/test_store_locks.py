"""Several connections to one SQLite file: nobody stands on an old state, and waits are real."""

import re
import sqlite3
import threading
import time

import pytest

from sim_devin.errors import StoreError, StoreUnavailable
from sim_devin.store.records import Run
from sim_devin.store.sql_store import open_store
from tests.durable.flows import claim


@pytest.fixture
def stores(tmp_path):
    """Return two connections to one file, as two workers have them."""
    made = [open_store(tmp_path / "runs.sqlite") for _ in range(2)]
    yield made
    for store in made:
        store.close()


def add_runs(store, count=3):
    document = store.put_document({"blocks": {}})
    for number in range(count):
        store.add_run(Run(f"run-{number}", "ready", document))


def test_what_is_read_inside_a_write_is_fetched_before_its_end(stores):
    one, other = stores
    add_runs(one)
    with one.database.write() as connection:
        kept = connection.execute("SELECT id FROM runs")  # more rows than anybody asks for
        assert kept.fetchone()["id"] == "run-0"
    other.put_document({"written": "meanwhile"})
    one.put_document({"written": "afterwards"})  # on what the other has written
    assert len(other.database.read("SELECT id FROM documents")) == 3
    assert [row["id"] for row in kept.fetchall()] == ["run-0", "run-1", "run-2"]


def test_what_a_change_returns_is_fetched_before_its_end(stores):
    one, other = stores
    add_runs(one)
    with one.database.write() as connection:
        changed = connection.execute("UPDATE runs SET updated = 2 RETURNING id")
        assert changed.fetchone()["id"] == "run-0"
        assert changed.rowcount == 3
    other.put_document({"written": "meanwhile"})
    one.put_document({"written": "afterwards"})


def test_a_run_can_end_while_others_write(stores):
    one, other = stores
    add_runs(one, count=30)
    for _ in range(15):
        for store in stores:
            run = claim(store, "me")
            store.end_run(run, "done", 1.0)
    assert one.count(["done"]) == other.count(["done"]) == 30


def test_a_write_that_sqlite_gives_up_at_once_is_tried_again(stores, tmp_path, monkeypatch):
    other = sqlite3.connect(tmp_path / "runs.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    pauses = []

    def give_way(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            other.execute("COMMIT")

    monkeypatch.setattr("sim_devin.store.sqlite_file.SLICE", 0.0)
    store = open_store(tmp_path / "runs.sqlite")  # the version needs no write
    monkeypatch.setattr(time, "sleep", give_way)
    store.put_document({})
    assert len(pauses) == 3
    store.close()
    other.close()


def test_the_message_says_how_long_was_really_waited(tmp_path, monkeypatch):
    monkeypatch.setattr("sim_devin.store.sqlite_file.BUSY", 0.15)
    store = open_store(tmp_path / "runs.sqlite")
    other = sqlite3.connect(store.database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable) as caught:
        store.put_document({})
    (waited,) = re.findall(r"the entire ([\d.]+) s of waiting", caught.value.hint)
    assert float(waited) >= 0.1  # rounded
    other.execute("ROLLBACK")
    store.put_document({})
    store.close()
    other.close()


def test_a_new_file_can_be_opened_by_many_at_once(tmp_path):
    start, failed = threading.Barrier(8), []

    def open_it():
        start.wait()
        try:
            open_store(tmp_path / "runs.sqlite").close()
        except StoreError as error:
            failed.append(str(error))

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
