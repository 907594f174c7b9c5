"""Runs whose rows in the store are damaged: the page names them and goes on with the others."""

import pytest

from tests.web.test_canvas_durable import canvas, start  # noqa: F401 - a fixture

ROWS = [
    ("runs", "options", "{broken"),
    ("runs", "result", "{broken"),
    ("runs", "inputs", "{broken"),
    ("blocks", "output", "{broken"),
    ("blocks", "log", "[" * 100_000),
    ("events", "data", "{broken"),
]


def damage(store, run, table, column, value):
    key = "id" if table == "runs" else "run_id"
    with store.database.write() as connection:
        query = f'UPDATE {table} SET "{column}" = ? WHERE {key} = ?'
        assert connection.execute(query, (value, run)).rowcount


@pytest.mark.parametrize(("table", "column", "value"), ROWS, ids=lambda value: value[:10])
def test_a_damaged_run_is_told_as_such(canvas, open_app, store, table, column, value):  # noqa: F811
    with open_app() as other:
        run = other.runs.start(canvas.load("first_run"))
        other.runs.follow(run)
    damage(store, run, table, column, value)
    events = canvas.events(run)
    assert events[-1]["event"] == "run.result"
    assert events[-1]["status"] == "finished"
    if table != "events":
        assert "damaged" in events[-1]["result"]["error"]
        assert column in events[-1]["result"]["error"]
    assert canvas.get("runs").json()["runs"][0]["id"] == run


def test_a_damaged_run_that_is_watched_holds_up_no_other(canvas, store):  # noqa: F811
    bad = start(canvas, canvas.load("first_run"))
    canvas.events(bad)
    damage(store, bad, "runs", "options", "{broken")
    with store.database.write() as connection:
        connection.execute("UPDATE runs SET state = 'waiting', ended = NULL")
    canvas.api.runs.feed(bad)
    good = start(canvas, canvas.load("first_run"))
    assert canvas.events(good)[-1]["status"] == "finished"
    assert canvas.events(bad)[-1]["state"] == "held"
