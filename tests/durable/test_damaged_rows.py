"""Rows that something else has damaged: named, and the rest goes on."""

import pytest

from sim_devin.errors import StoreError
from sim_devin.policy.rules import Policy
from tests.durable.flows import block, devin, flow, wait

DEEP = "[" * 100_000
RUNS = [
    ("options", "{broken"),
    ("options", DEEP),
    ("options", "[1]"),
    ("inputs", "{broken"),
    ("children", "null"),
    ("state", "bogus"),
]
WAITS = [("point", "{broken"), ("about", "[]"), ("kind", "bogus"), ("then", "x"), ("seen", DEEP)]


@pytest.fixture
def two(app):
    """Return the ids of two runs that wait for a session: one to be damaged, one that is sound."""
    workflow = flow(devin("create", "create_session", prompt="x"), wait())
    ids = [app.runs.start(workflow, run_id=name) for name in ("bad-run", "good-run")]
    for _ in ids:
        app.runs.worker.drive(app.runs.worker.claim(), None, None)
    assert {run["state"] for run in app.runs.list()} == {"waiting"}
    return ids


def damage(store, table, column, value):
    key = "id" if table == "runs" else "run_id"
    with store.database.write() as connection:
        changed = connection.execute(
            f'UPDATE {table} SET "{column}" = ? WHERE {key} = ?', (value, "bad-run")
        )
    assert changed.rowcount >= 1


@pytest.mark.parametrize(("column", "value"), RUNS, ids=lambda value: value[:12])
def test_a_damaged_run_is_named_in_the_list_and_the_rest_goes_on(app, store, two, column, value):
    damage(store, "runs", column, value)
    listed = {run["runId"]: run for run in app.runs.list()}
    assert set(listed) == {"bad-run", "good-run"}
    assert "bad-run is damaged" in listed["bad-run"]["error"]
    assert column in listed["bad-run"]["error"]
    assert listed["good-run"]["error"] is None
    with pytest.raises(StoreError, match="bad-run is damaged"):
        app.runs.show("bad-run")
    app.runs.follow("good-run")
    assert app.runs.show("good-run")["state"] == "done"


@pytest.mark.parametrize(("column", "value"), RUNS[:4], ids=lambda value: value[:12])
def test_a_worker_holds_a_damaged_run_and_drives_the_others(app, store, two, column, value):
    damage(store, "runs", column, value)
    with store.database.write() as connection:
        connection.execute("UPDATE runs SET state = 'ready'")
    for _ in range(3):
        app.runs.work(once=True)
        app.clock.advance(3600)
    assert app.runs.show("good-run")["state"] == "done"
    assert store.count(("held",)) == 1


@pytest.mark.parametrize(("column", "value"), WAITS, ids=lambda value: value[:12])
def test_a_damaged_wait_holds_its_run_alone(app, store, two, column, value):
    damage(store, "waits", column, value)
    for _ in range(3):
        app.runs.work(once=True)
        app.clock.advance(3600)
    assert app.runs.show("good-run")["state"] == "done"
    shown = app.runs.show("bad-run")
    assert shown["state"] in ("held", "waiting")
    if shown["state"] == "held":
        assert "bad-run is damaged" in shown["error"]
    else:
        assert "bad-run is damaged" in shown["damaged"][0]


@pytest.mark.parametrize(("column", "value"), [("log", "{"), ("output", DEEP), ("retry", "x")])
def test_a_damaged_block_is_named_and_the_others_shown(app, store, two, column, value):
    if column == "retry":
        column, value = "variables", "5"
    damage(store, "blocks", column, value)
    shown = app.runs.show("bad-run")
    assert "bad-run is damaged" in shown["damaged"][0]
    assert [log["blockName"] for log in app.runs.show("good-run")["blocks"]]
    for _ in range(3):
        app.runs.work(once=True)
        app.clock.advance(3600)
    assert app.runs.show("good-run")["state"] == "done"
    assert app.runs.show("bad-run")["state"] == "held"


def test_a_damaged_event_is_shown_as_such(app, store, two):
    damage(store, "events", "data", "{broken")
    events = app.runs.events("bad-run")
    assert events
    assert all("bad-run is damaged" in event.data["error"] for event in events)
    assert store.files(two) == {}


def test_a_document_that_is_damaged_holds_its_run(app, store):
    run_id = app.runs.start(flow(block("f", "function", code="return 1")))
    other = app.runs.start(flow(block("f", "function", code="return 2")))
    document = store.run(run_id).document
    with store.database.write() as connection:
        connection.execute("UPDATE documents SET body = '{broken' WHERE id = ?", (document,))
    app.runs.work(once=True)
    assert app.runs.show(other)["state"] == "done"
    held = app.runs.show(run_id)
    assert held["state"] == "held"
    assert "damaged" in held["error"]


@pytest.mark.parametrize("column", ["created", "since", "over_since", "next_look", "working"])
@pytest.mark.parametrize("policy", [{}, {"minutes_per_session": 600}], ids=["", "overtime"])
def test_a_damaged_session_does_not_end_the_worker_of_all(open_app, store, column, policy):
    if "postgres" in type(store.database).__module__:
        pytest.skip("PostgreSQL has no numbers that are none")
    app = open_app(policy=Policy(**policy))
    create = devin("create", "create_session", prompt="x", maxAcuLimit="5")
    for name in ("bad-run", "good-run"):
        app.runs.start(flow(create, wait()), run_id=name)
        app.runs.worker.drive(app.runs.worker.claim(name), None, None)
    damage(store, "sessions", column, "{broken")
    for _ in range(3):
        app.clock.advance(3600)
        app.runs.work(once=True)
    assert app.runs.show("good-run")["state"] == "done"
    assert app.runs.show("bad-run")["state"] in ("held", "done")
