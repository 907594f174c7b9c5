"""What was measured to go wrong in durable engines, and must not here.

Failover without a coordinator, claims by several processes and kills at every point are in
`test_crashes`, `test_sqlite_store`, `test_postgres_store` and `test_torture`.
"""

import base64
import pickle

import sim_devin
from tests.durable.conftest import ENV
from tests.durable.flows import block, devin, flow

CREATE = devin("create", "create_session", prompt="Fix it")
END = block("end", "response", dataMode="json", data='{"was": "<create.sessionId>"}')


SPRUNG = []


class Trap:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self):
        return SPRUNG.append, ("sprung",)


def test_data_in_the_database_is_never_executed(open_app, store):
    """Whoever can write a row must not be able to run code in the worker."""
    app = open_app()
    run_id = app.runs.start(flow(CREATE, END), env=ENV, stop_after="create")
    app.runs.follow(run_id)
    fork = app.runs.fork(run_id, "end")
    for text in (
        base64.b64encode(pickle.dumps(Trap())).decode(),
        '{"py/reduce": [{"py/type": "os.system"}, {"py/tuple": ["true"]}]}',
    ):
        with store.database.write() as connection:
            connection.execute("UPDATE blocks SET output = ? WHERE run_id = ?", (text, fork))
        open_app().runs.follow(fork)
    assert SPRUNG == []


def test_two_processes_never_go_by_one_name(open_app):
    """A name that several share lets each take the others' runs for its own."""
    assert len({open_app().runs.owner for _ in range(10)}) == 10


def test_a_run_goes_on_in_a_process_of_another_version(open_app, monkeypatch):
    """A run that is bound to a version of the code is stranded by the next one."""
    app = open_app()
    asked = block("ask", "human_in_the_loop", inputFormat=[{"name": "ok", "type": "string"}])
    run_id = app.runs.start(flow(CREATE, asked), env=ENV)
    app.runs.follow(run_id)
    monkeypatch.setattr(sim_devin, "__version__", "99.0.0")
    later = open_app()
    later.runs.answer(run_id, {"ok": "yes"})
    later.runs.work(once=True)
    assert later.runs.show(run_id)["state"] == "done"


def test_an_error_is_the_same_live_and_played_back(open_app, simulator):
    """An error that changes its kind on the way through the record takes another branch."""
    failing = devin("create", "get_session", sessionId="devin-" + "0" * 32)
    asked = block("ask", "human_in_the_loop", inputFormat=[{"name": "ok", "type": "string"}])
    shown = block("end", "response", dataMode="json", data='{"why": "<create.error>"}')
    document = flow(
        failing,
        asked,
        shown,
        edges=[("start", "create"), ("create", "ask", "error"), ("ask", "end")],
    )
    app = open_app()
    run_id = app.runs.start(document, env=ENV)
    app.runs.follow(run_id)
    (live,) = [log for log in app.runs.show(run_id)["blocks"] if log["blockId"] == "create"]
    app.runs.answer(run_id, {"ok": "yes"})
    open_app().runs.follow(run_id)
    run = app.runs.show(run_id)
    assert run["state"] == "done"
    assert run["result"]["output"]["data"]["why"] == live["error"]
    assert simulator.counts["requests"] == 1


def test_what_comes_before_a_block_does_not_shift_its_place(open_app):
    """Numbered steps hand one block's outcome to another when what comes before changes."""
    app = open_app()
    first = block("first", "variables")
    run_id = app.runs.start(flow(first, CREATE, END), env=ENV, stop_after="create")
    app.runs.follow(run_id)
    with app.runs.store.database.write() as connection:
        connection.execute("DELETE FROM blocks WHERE block_id = 'first'")
    fork = app.runs.fork(run_id, "end")
    open_app().runs.follow(fork)
    made = app.runs.show(run_id)["blocks"][-1]["output"]["sessionId"]
    assert app.runs.show(fork)["result"]["output"]["data"] == {"was": made}
