"""Stores in which secrets stood as marks in texts, as version 0.1.0 wrote them, go on working.

`stores/version_6.sql` has the rows of runs that wait for a form, a session, an answer of a person
and a yes, of one that is ready, and of a paused run that is not durable. The service called its
sessions ``⟦app:devin.apiKey⟧ ⟦env:HOME⟧ ⟦main⟧``, and so it asked its question.
"""

import json
import sqlite3
from pathlib import Path

import pytest

from sim_devin.store.postgres import PostgresDatabase
from sim_devin.store.schema import MIGRATIONS
from sim_devin.store.sealing import KEY
from sim_devin.store.sql_store import open_store
from sim_devin.store.sqlite_file import SqliteFile
from tests.durable.conftest import ENV
from tests.durable.test_held_calls import HELD
from tests.durable.test_hostile_answers import Saying

TOKEN = 'made-up "token" value'
KNOWN = {**ENV, "MY_TOKEN": TOKEN, "HOME": "/home/made-up"}
SAID = "⟦app:devin.apiKey⟧ ⟦env:HOME⟧ ⟦main⟧"
ROWS = (Path(__file__).parent / "stores" / "version_6.sql").read_text(encoding="utf-8")
SESSIONS = {
    "waits-for-a-session": "e4b06ce60741c7a87ce42c8218072e8c",
    "is-asked": "cd613e30d8f16adf91b7584a2265b1f5",
}


@pytest.fixture(params=["file", "postgres"])
def fill(request, tmp_path):
    """Return a function that makes an old store of rows and opens it as this version does."""

    def fill_one(rows):
        if request.param == "file":
            file = tmp_path / "old.sqlite"
            SqliteFile(file, MIGRATIONS[:6]).close()
            connection = sqlite3.connect(file)
            connection.executescript(rows)
            connection.close()
            return open_store(file)
        import psycopg

        address = request.getfixturevalue("postgres")
        PostgresDatabase(address, MIGRATIONS[:6]).close()
        with psycopg.connect(address) as connection:
            for row in rows.splitlines():
                connection.execute(row.encode())
            for table in ("events", "waits"):  # the rows bring numbers of their own
                connection.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), 1000)")
        return open_store(address)

    made = []
    yield lambda rows: made.append(fill_one(rows)) or made[-1]
    for store in made:
        store.close()


@pytest.fixture
def store():
    """Return no store of the runs here: they are in an old one."""


@pytest.fixture
def saying(transport):
    return Saying(transport, title=SAID)


@pytest.fixture
def open_old(fill, open_app, saying):
    """Return a function that opens apps over the old store, its sessions known to the service."""
    rows, aside = ROWS, open_store()
    app = open_app(store=aside)
    for session_id in SESSIONS.values():
        made = app.call("devin_create_session", {"prompt": "Go [scenario: asks]"})
        rows = rows.replace(session_id, made["sessionId"])
    aside.close()
    store = fill(rows)
    return lambda **options: open_app(store=store, transport=saying, env=KNOWN, **options)


def result(app, run_id):
    shown = app.runs.show(run_id)
    assert shown["state"] == "done", shown["error"]
    return app.runs.opened(run_id, app.runs.store.run(run_id).result)["output"]


def drive(app, clock, times=6):
    for _ in range(times):
        app.runs.work(once=True)
        clock.advance(30)


def change(app, how, run_id):
    with app.runs.store.database.write() as connection:
        connection.execute(f"UPDATE waits SET {how} WHERE run_id = ? AND open = 1", (run_id,))


def sent(simulator):
    return [
        item["message"]
        for session in simulator.truth()
        for item in session["messages"]
        if item["source"] == "user" and item["message"] != "Go [scenario: asks]"
    ]


def test_what_was_put_into_a_run_is_read_as_it_was_given(open_old):
    app = open_old()
    app.runs.answer("asks-a-form", {"x": "yes"})
    app.runs.work(once=True)
    assert result(app, "asks-a-form")["data"] == {
        "in": [f"Bearer {TOKEN}", json.dumps(TOKEN), "⟦main⟧"],
        "form": "yes",
    }


def test_what_the_service_had_said_is_text(open_old):
    app = open_old()
    app.runs.work(once=True)
    assert result(app, "goes-on")["data"] == {"said": SAID}
    (asked,) = app.runs.show("is-asked")["waits"]
    assert asked["question"] == SAID


def test_a_default_answer_of_before_is_sent_as_it_was_given(open_old, simulator):
    app = open_old()
    simulator.clock.advance(120)
    change(app, "answer_by = 0", "is-asked")
    drive(app, simulator.clock)
    assert f"⟦main⟧ {TOKEN}" in sent(simulator)


def test_a_key_of_before_is_handed_in_again(open_old, simulator, saying):
    app = open_old()
    change(app, "next_look = 0", "waits-for-a-session")
    own = {"wait.apiKey": "cog_test_key_111111", "create.apiKey": "cog_test_key_111111"}
    app.runs.resume("waits-for-a-session", bindings=own)
    drive(app, simulator.clock, 2)
    looks = [request.headers["Authorization"] for request in saying.sent]
    assert "Bearer cog_test_key_111111" in looks


def test_a_call_that_waited_for_a_yes_goes_on(open_old, simulator):
    app = open_old(policy=HELD)
    app.runs.answer("wants-a-yes", {"approved": True})
    app.runs.work(once=True)
    if app.runs.show("wants-a-yes")["state"] == "asking":  # what is asked about is told anew
        app.runs.answer("wants-a-yes", {"approved": True})
        app.runs.work(once=True)
    assert app.runs.show("wants-a-yes")["state"] == "done"


def test_a_paused_run_that_is_not_durable_is_resumed(open_old):
    app = open_old()
    (row,) = app.runs.store.database.read("SELECT run_id FROM records")
    run = app.resume(row["run_id"], {"x": "yes"})
    assert run.output["data"] == {"in": [f"Bearer {TOKEN}", "⟦main⟧"], "form": "yes"}


def test_only_names_of_before_can_be_resolved(open_old):
    store = open_old().runs.store
    recorded = {run.id: store.secrets_of(run.id) for run in store.runs()}
    assert "env:MY_TOKEN" in recorded["asks-a-form"]
    assert not any("env:HOME" in names for names in recorded.values())
    rows = store.database.read("SELECT inputs FROM runs WHERE id = 'asks-a-form'")
    assert "⟦env:" not in rows[0]["inputs"]


def test_what_looked_like_a_reference_by_chance_is_data(fill):
    looks = json.dumps({"x": {KEY: [{"name": "env:HOME"}]}})
    error = json.dumps({KEY: [{"name": "env:HOME"}]})
    store = fill(
        "INSERT INTO documents VALUES ('d', '{}');\n"
        f"INSERT INTO runs VALUES ('r', 'failed', '', 'd', '{{}}', '{looks}', '{{}}', 1, 1, NULL, "
        f"NULL, NULL, NULL, 0, 0, 0, NULL, '{error}');\n"
    )
    run = store.run("r")
    assert run.inputs == {"x": {KEY: [{"name": "env:HOME"}]}}
    assert run.error == error
    assert run.secrets == []
