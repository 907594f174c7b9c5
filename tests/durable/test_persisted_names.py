"""The names that are kept in a store. An upgrade that changes one no longer finds what was sent."""

from sim_devin.clock import ManualClock
from sim_devin.store.records import Run
from sim_devin.store.step_ledger import StepLedger
from tests.durable.conftest import ENV
from tests.durable.flows import block, devin, flow, loop, wait


def test_a_tag_is_the_same_for_ever(store):
    run = Run("7d4f2a3e-1111-4222-8333-444455556666", "ready", "document")
    ledger = StepLedger(store, run, "rounds.0/create#1/1", ManualClock())
    assert ledger.tag("0") == "sim-31d0f9170c1b4cc752699559"
    assert ledger.tag("1") == "sim-6fbecf783df81a36b73df017"
    assert ledger.tag("untagged") == "sim-f2415f21cf2261d8de068679"


def test_the_steps_of_a_run_are_called_the_same_for_ever(app, store):
    inside = devin("create", "create_session", prompt="Fix it")
    document = flow(
        loop("rounds", 1, inside),
        inside,
        devin("asks", "create_session", prompt="[scenario: asks]"),
        wait(id="wait now", of="asks", onQuestion="hold"),
        block("nap", "wait", timeValue="4", timeUnit="minutes"),
        edges=[
            ("start", "rounds"),
            ("rounds", "create", "loop-start-source"),
            ("rounds", "asks", "loop-end-source"),
            ("asks", "wait now"),
            ("wait now", "nap"),
        ],
    )
    run_id = app.runs.start(document, env=ENV, run_id="run-1")
    app.runs.follow(run_id)
    app.runs.answer(run_id, "go on")
    app.runs.work(once=True)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "done", app.runs.show(run_id)["error"]

    def names(column, table):
        rows = store.database.read(f'SELECT "{column}" AS name FROM {table}')
        return {row["name"] for row in rows}

    assert names("key", "blocks") == {
        "rounds.0/create",
        "rounds",
        "asks",
        "wait%20now",
        "nap",
    }
    assert names("step", "intents") == {"asks#1/1", "rounds.0/create#1/1", "wait%20now#1!1"}
    assert names("step", "waits") == {"wait%20now#1", "nap#1"}
