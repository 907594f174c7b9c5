"""What happens to a run beside its driving: cancelled, answered, asked something else."""

import threading
from contextlib import suppress

import pytest

from sim_devin.errors import StoreError
from sim_devin.policy.rules import Policy
from sim_devin.simulator.faults import Fault
from tests.durable.conftest import ENV
from tests.durable.flows import block, devin, flow, wait
from tests.durable.test_held_calls import HELD

CREATE = devin("create", "create_session", prompt="Fix it")
ASKS = devin("create", "create_session", prompt="Fix it [scenario: asks]")
FORM = block("form", "human_in_the_loop", inputFormat=[{"id": "1", "name": "x", "type": "string"}])


def nap(id="nap"):
    return block(id, "wait", timeValue="4", timeUnit="minutes")


def start(app, *blocks, edges=None, **options):
    return app.runs.start(flow(*blocks, edges=edges), env=app.settings.env, **options)


def state(app, run_id):
    return app.runs.show(run_id)["state"]


def kinds(app, run_id):
    return [item["kind"] for item in app.runs.show(run_id)["waits"]]


class During:
    """A transport that does something in the middle of the first request of a kind."""

    def __init__(self, transport, method, what):
        self.transport, self.method, self.what = transport, method, what

    def send(self, request, *, timeout):
        if self.what is not None and request.method == self.method:
            what, self.what = self.what, None
            what()
        return self.transport.send(request, timeout=timeout)


def test_a_run_that_is_cancelled_as_it_is_set_aside_is_cancelled(open_app, transport):
    other = open_app()
    app = open_app(transport=During(transport, "POST", lambda: other.runs.cancel(run_id)))
    run_id = start(app, CREATE, wait())
    app.runs.worker.drive(app.runs.worker.claim(run_id), None, None)
    other.runs.work(once=True)
    assert state(other, run_id) == "cancelled"


def test_a_run_that_is_cancelled_as_it_is_held_is_cancelled(open_app):
    document = flow(devin("create", "create_session", prompt="Fix it"))
    document["blocks"]["create"]["subBlocks"]["apiKey"]["value"] = "{{OTHER_API_KEY}}"
    run_id = open_app().runs.start(document, env={"OTHER_API_KEY": "cog_other_key_99"})
    app = open_app()  # which does not know that key
    run = app.runs.worker.claim(run_id)
    open_app().runs.cancel(run_id)
    assert app.runs.worker.drive(run, None, None) is None
    assert state(app, run_id) == "cancelled"


def test_what_is_to_be_tried_again_is_though_the_run_was_just_driven(
    open_app, transport, simulator
):
    simulator.faults.add(Fault("reset", method="POST", path="/sessions$", commit=False))
    app = open_app()
    edges = [("start", "create"), ("start", "nap"), ("nap", "look")]
    run_id = start(app, CREATE, nap(), devin("look", "list_sessions"), edges=edges)
    app.runs.work(once=True)
    assert state(app, run_id) == "uncertain"
    transport.clock.advance(241)
    answering = During(transport, "GET", lambda: app.runs.answer(run_id, {"repeat": True}))
    other = open_app(transport=answering)
    other.runs.work(once=True)
    assert answering.what is None
    assert state(other, run_id) == "done"
    assert len(simulator.truth()) == 1


def test_a_run_that_is_asked_about_in_the_queue_leaves_it(open_app, simulator):
    env = {**ENV, "SIM_DEVIN_MAX_SESSIONS": "1"}
    app = open_app(env=env)
    start(app, devin("create", "create_session", prompt="x [scenario: never-ends]"))
    app.runs.work(once=True)
    queued, behind = start(app, CREATE), start(app, CREATE)
    app.runs.work(once=True)
    assert kinds(app, queued) == kinds(app, behind) == ["turn"]
    (session,) = simulator.truth()
    app.call("devin_terminate_session", {"sessionId": session["session_id"]})
    app.clock.advance(61)
    stop, turns = threading.Event(), []

    def turn():
        turns.append(None)
        if len(turns) > 50:  # it would go on for ever
            stop.set()
        return False

    asking = open_app(env=env, policy=HELD)
    asking.runs.work(once=True, cancel=stop, each_turn=turn)
    assert not stop.is_set()
    assert kinds(asking, queued) == kinds(asking, behind) == ["approval"]
    for run_id in (queued, behind):
        asking.runs.answer(run_id, {"approved": True})
        asking.runs.follow(run_id)
        assert state(asking, run_id) == "done"


def test_nobody_is_asked_any_more_about_a_call_that_is_refused_by_now(open_app, simulator):
    app = open_app(policy=HELD)
    edges = [("start", "create"), ("create", "nap", "error"), ("start", "form")]
    run_id = start(app, CREATE, FORM, nap(), edges=edges)
    app.runs.follow(run_id)
    assert sorted(kinds(app, run_id)) == ["approval", "human"]
    stricter = open_app(policy=Policy(deny=("devin_create_session",)))
    stricter.runs.answer(run_id, {"x": "y"}, context_id="form")
    stricter.runs.work(once=True)
    assert state(stricter, run_id) == "waiting"
    assert kinds(stricter, run_id) == ["time"]
    assert simulator.truth() == []


def test_an_answer_and_the_record_of_it_are_one(open_app, monkeypatch):
    app = open_app(policy=HELD)
    run_id = start(app, CREATE)
    app.runs.follow(run_id)

    def fails(event):
        raise StoreError("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr(app.runs.store, "add_event", fails)
        with suppress(StoreError):
            app.runs.answer(run_id, {"approved": True})
    assert state(app, run_id) == "asking"
    app.runs.answer(run_id, {"approved": True})
    assert "call.approved" in [event.kind for event in app.runs.events(run_id)]


def test_a_deadline_ends_a_followed_run_on_time(open_app):
    app = open_app()
    began = app.clock.time()
    run_id = start(app, nap(), deadline=5.0)
    app.runs.follow(run_id)
    assert state(app, run_id) == "cancelled"
    assert app.clock.time() - began < 7


def test_an_answer_about_one_block_is_none_about_a_block_of_a_similar_name(open_app, simulator):
    simulator.faults.add(Fault("reset", method="POST", path="/sessions$", commit=False, times=2))
    app = open_app()
    one = devin("create_1", "create_session", prompt="one")
    other = devin("create-1", "create_session", prompt="two")
    run_id = start(app, one, other, edges=[("start", "create_1"), ("start", "create-1")])
    app.runs.follow(run_id)
    assert kinds(app, run_id) == ["uncertain", "uncertain"]
    app.runs.answer(run_id, {"repeat": True}, context_id="create_1")
    app.runs.follow(run_id)
    assert kinds(app, run_id) == ["uncertain"]
    app.runs.resume(run_id)  # looks once more, and never repeats
    app.runs.follow(run_id)
    assert state(app, run_id) == "uncertain"
    assert [item["messages"][0]["message"] for item in simulator.truth()] == ["one"]


SECRET = "made-up-secret-value"
WITH_SECRET = {**ENV, "MY_TOKEN": SECRET}
SAID = f"Use ⟦main⟧ and {SECRET}"


def said(simulator):
    session = simulator.truth()[0]
    return [item["message"] for item in session["messages"] if item["source"] == "user"][1:]


def stored(store):
    tables = ("runs", "waits", "answers", "blocks", "events")
    rows = [dict(row) for name in tables for row in store.database.read(f"SELECT * FROM {name}")]
    return str(rows)


@pytest.mark.parametrize("in_time", [True, False])
def test_devin_gets_an_answer_as_it_was_given_and_the_store_no_secret(
    open_app, store, simulator, in_time
):
    app = open_app(env=WITH_SECRET)
    run_id = start(app, ASKS, wait(), on_question="hold", answer_within=60.0, default_answer=SAID)
    app.runs.follow(run_id)
    if in_time:
        open_app(env=WITH_SECRET).runs.answer(run_id, SAID)
    else:
        app.clock.advance(61)
        app.runs.work(once=True)
    assert said(simulator) == [SAID]
    assert SECRET not in stored(store)


def default_given(app):
    """Return a run whose question has just got the default answer."""
    run_id = start(app, ASKS, wait(), on_question="hold", answer_within=60.0, default_answer="main")
    app.runs.follow(run_id)
    app.clock.advance(61)
    for _ in range(5):
        app.runs.work(once=True)
        app.clock.advance(1)
    return run_id


def test_a_default_answer_that_is_refused_fails_the_block(open_app, simulator):
    app = open_app()
    simulator.faults.add(Fault("status", method="POST", path="/messages$", status=400, times=9))
    run_id = default_given(app)
    assert state(app, run_id) == "failed"
    assert "could not be sent" in app.runs.show(run_id)["error"]
    sent = [e for e in simulator.log if e.method == "POST" and e.path.endswith("/messages")]
    assert len(sent) == 1


def test_a_default_answer_that_may_have_arrived_is_not_given_again(open_app, simulator):
    app = open_app()
    simulator.faults.add(Fault("reset", method="POST", path="/messages$", commit=False))
    run_id = default_given(app)
    assert kinds(app, run_id) == ["question"]
    assert "unknown" in app.runs.show(run_id)["waits"][0]["note"]
    sent = [e for e in simulator.log if e.method == "POST" and e.path.endswith("/messages")]
    assert len(sent) == 1
    app.runs.answer(run_id, "main")
    app.runs.follow(run_id)
    assert said(simulator) == ["main"]
    assert state(app, run_id) == "done"


def test_runs_are_driven_while_an_answer_is_on_its_way(open_app, transport, simulator):
    app = open_app()
    run_id = start(app, ASKS, wait(), on_question="hold", answer_within=60.0, default_answer="main")
    app.runs.follow(run_id)
    app.clock.advance(61)
    other = start(app, CREATE)
    stop, gone = threading.Event(), threading.Event()

    class Slow:
        def send(self, request, *, timeout):
            if request.method == "POST" and request.url.endswith("/messages"):
                assert gone.wait(30)
            return transport.send(request, timeout=timeout)

    def listen(event):
        if event.kind == "run.finished":
            (gone if event.run_id == other else stop).set()

    open_app(transport=Slow()).runs.work(cancel=stop, concurrency=1, on_event=listen)
    assert state(app, other) == state(app, run_id) == "done"
    assert said(app.transport.simulator) == ["main"]


def test_a_worker_that_stops_looks_at_what_was_driven_last(open_app, transport, monkeypatch):
    driven = threading.Event()

    class Slow:
        def send(self, request, *, timeout):
            assert driven.wait(30)
            return transport.send(request, timeout=timeout)

    app = open_app(transport=Slow())
    run_id = start(app, devin("look", "list_sessions"), FORM, remind_every=60.0)
    claims, claim = [], app.runs.worker.claim

    def claim_late(**options):
        claims.append(claim(**options))
        if len(claims) == 3:  # the second turn: the run ends just before the worker would stop
            driven.set()
            for thread in threading.enumerate():
                if thread.name == f"run {run_id}":
                    thread.join()
        return claims[-1]

    monkeypatch.setattr(app.runs.worker, "claim", claim_late)
    app.runs.work(once=True)
    assert "run.reminder" in [event.kind for event in app.runs.events(run_id)]


def test_a_form_is_filled_in_with_a_secret_that_is_not_stored(open_app, store):
    app = open_app(env=WITH_SECRET)
    shown = block("shown", "response", dataMode="json", data='{"to": "<form.x>"}')
    run_id = start(app, FORM, shown)
    app.runs.follow(run_id)
    app.runs.answer(run_id, {"x": SECRET})
    result = app.runs.follow(run_id)
    assert result.output["data"] == {"to": SECRET}
    assert SECRET not in stored(store)


def test_sessions_of_two_runs_are_looked_at_with_the_key_of_each(open_app, transport):
    seen = []

    class Listening:
        def send(self, request, *, timeout):
            seen.append((request.method, request.url, request.headers["Authorization"]))
            return transport.send(request, timeout=timeout)

    app = open_app(transport=Listening())
    keys = ["cog_test_key_111111", "cog_test_key_222222"]
    for key in keys:
        bindings = {"create.apiKey": key, "wait.apiKey": key}
        start(app, devin("create", "create_session", prompt=key[-6:]), wait(), bindings=bindings)
    app.runs.work(once=True)
    prompts = {key[-6:]: key for key in keys}
    owner = {
        session["session_id"]: prompts[session["messages"][0]["message"]]
        for session in transport.simulator.truth()
    }
    assert sorted(owner.values()) == keys
    del seen[:]
    app.clock.advance(10)
    app.runs.work(once=True)
    looks = [(url, key) for method, url, key in seen if method == "GET"]
    for session_id, key in owner.items():
        used = {auth for url, auth in looks if session_id.removeprefix("devin-") in url}
        assert used == {f"Bearer {key}"}


def test_what_counts_today_is_not_forgotten(open_app, store):
    env = {**ENV, "SIM_DEVIN_MAX_ACU_DAY": "10"}
    app = open_app(env=env)
    costly = devin("create", "create_session", prompt="x", maxAcuLimit="7")
    first = start(app, costly)
    app.runs.follow(first)
    assert app.runs.prune(app.clock.time() + 1) == 0
    second = start(app, costly)
    app.runs.follow(second)
    assert state(app, second) == "failed"
    app.clock.advance(86_400)
    assert app.runs.prune(app.clock.time() - 60) == 2


def test_leases_that_are_over_are_forgotten(open_app, store):
    app = open_app()
    store.lease("poll somewhere", "me", app.clock.time(), 30.0)
    app.runs.prune(app.clock.time() + 3600)
    assert store.database.read("SELECT 1 FROM leases") == []


def test_a_fork_does_a_block_anew_that_has_a_dot_in_its_id(open_app, simulator):
    app = open_app()
    run_id = start(app, devin("create.it", "create_session", prompt="Fix it"))
    app.runs.follow(run_id)
    app.runs.follow(app.runs.fork(run_id, "create.it"))
    assert len(simulator.truth()) == 2
