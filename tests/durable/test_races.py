"""Two processes that learn of the same thing in any order."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim_devin.calls.intents import Intent, Settle
from sim_devin.calls.response import Response
from sim_devin.errors import TransportError as ConnectionLost
from sim_devin.simulator import SimClock
from sim_devin.simulator.faults import Fault
from sim_devin.store.records import Run
from sim_devin.store.sql_store import open_store
from sim_devin.store.step_ledger import StepLedger, resolve
from tests.durable.conftest import ENV
from tests.durable.flows import block, devin, flow, wait
from tests.lanes import examples

CREATE = "devin_create_session"

BOTH = flow(
    devin("create", "create_session", prompt="Fix it [scenario: never-ends]"),
    devin("one", "send_message", sessionId="<create.sessionId>", message="same"),
    devin("other", "send_message", sessionId="<create.sessionId>", message="same"),
    edges=[("start", "create"), ("create", "one"), ("create", "other")],
)


def copies(simulator):
    return [item["message"] for session in simulator.truth() for item in session["messages"]].count(
        "same"
    )


@pytest.mark.parametrize("policy", ["hold", "retry"])
@pytest.mark.parametrize("first", [0, 1])
def test_two_branches_with_one_text_do_not_take_each_others_message(
    open_app, store, simulator, policy, first
):
    app = open_app(settle=Settle(grace=30.0, policy=policy))
    simulator.faults.add(Fault("reset", method="POST", path="/messages$", after=first))
    run_id = app.runs.start(BOTH, env=ENV)
    app.runs.follow(run_id)
    state = app.runs.show(run_id)["state"]
    rows = store.database.read("SELECT state FROM intents WHERE text IS NOT NULL")
    done = [row["state"] for row in rows].count("done")
    assert done == copies(simulator)
    assert state == ("done" if done == 2 else "uncertain")
    assert policy == "retry" or state == "uncertain"


def test_the_sends_of_another_run_count_too(open_app, store, simulator):
    app = open_app()
    first = app.runs.start(
        flow(devin("create", "create_session", prompt="x [scenario: never-ends]")), env=ENV
    )
    app.runs.follow(first)
    session = app.runs.show(first)["blocks"][0]["output"]["sessionId"]
    send = flow(devin("send", "send_message", sessionId=session, message="same"))
    inner = []
    real = app.transport.send

    def crossing(request, *, timeout):
        if request.method != "POST" or inner:
            return real(request, timeout=timeout)
        inner.append(True)
        other = open_app()
        other.runs.follow(other.runs.start(send, env=ENV))
        raise ConnectionLost("It vanished.")

    app.transport.send = crossing
    run_id = app.runs.start(send, env=ENV)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "uncertain"
    assert copies(simulator) == 1


def test_an_answer_that_comes_just_in_time_is_not_overruled_by_the_time_out(open_app, store):
    """A time-out that was read before the answer was recorded ends nothing any more."""
    app = open_app()
    document = flow(
        devin("create", "create_session", prompt="[scenario: asks]"), wait(onQuestion="hold")
    )
    run_id = app.runs.start(document, env=ENV, answer_within=3600)
    app.runs.follow(run_id)
    (stale,) = store.waits(run_id, only_open=True)
    assert stale.kind == "question"
    assert store.put_answer(replace(stale), "go on", app.clock.time())
    assert not store.finish_wait(stale, app.clock.time(), error="Nobody answered in time.")
    (now,) = store.waits(run_id, only_open=True)
    assert (now.kind, now.error) == ("sending", None)


LEARNED = st.sampled_from(["done", "rejected", "repeat", "uncertain", "missing", "stray"])
ACTS = st.tuples(
    st.integers(0, 1),  # which process
    st.integers(0, 1),  # which try
    st.one_of(st.just("claim"), st.just("adopt"), st.just("person"), LEARNED),
    st.sampled_from(["s1", "s2", "s3"]),
)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(ACTS, max_size=25))
def test_whatever_two_processes_learn_one_session_is_kept_and_none_in_use_is_ended(acts):
    store = open_store()
    clock = SimClock(speed=0)
    key = store.put_document({})
    run = Run("run-1", "ready", key, created=0.0, updated=0.0)
    store.add_run(run)
    ledgers = [StepLedger(store, run, "create#1/1", clock, driven=False) for _ in range(2)]
    tags = [ledgers[0].tag(str(number)) for number in range(2)]
    kept, used = {}, set()
    for process, number, act, session in acts:
        ledger, tag = ledgers[process], tags[number]
        known = {intent.tag: intent for intent in ledger.earlier()}
        if act == "claim":
            ledger.claim(Intent(tag, CREATE, clock.time()))
        elif tag not in known:
            continue
        elif act == "person":
            resolve(store, run.id, "create#1", "repeat", None)
        elif act == "adopt":
            result = ledger.settle(tag, "done", session, adopted=True)
            if result.state == "done":
                used.add(result.session_id)
        else:
            result = ledger.settle(tag, act, session if act in ("done", "stray") else None)
            if act == "done" and result.state == "done":
                used.add(result.session_id)
        after = {intent.tag: intent for intent in ledger.earlier()}
        done = {tag: one.session_id for tag, one in after.items() if one.state == "done"}
        assert len(done) <= 1
        assert kept.items() <= done.items()  # what is done never goes back
        assert used <= set(done.values())  # what a process goes on with is what is kept
        kept = done
    store.close()


@pytest.mark.parametrize("unreadable", ["reset", "status"])
def test_a_message_that_arrived_is_not_sent_again_because_its_session_could_not_be_read(
    open_app, store, simulator, unreadable
):
    app = open_app(settle=Settle(grace=30.0, policy="retry"))
    send = devin("send", "send_message", sessionId="<create.sessionId>", message="same")
    send["retry"] = {"enabled": True, "maxTries": 3, "waitBetweenTriesMs": 0}
    create = devin("create", "create_session", prompt="Fix it [scenario: never-ends]")
    simulator.faults.add(
        Fault("reset", method="POST", path="/messages$", commit=True),
        Fault(unreadable, method="GET", path="/sessions/[^/]+$", times=None),
    )
    run_id = app.runs.start(flow(create, send), env=ENV)
    app.runs.follow(run_id)
    shown = app.runs.show(run_id)
    assert shown["state"] == "uncertain"
    assert "The message reached" in str(shown["waits"])
    assert copies(simulator) == 1
    simulator.faults.clear()
    app.runs.resume(run_id)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "done"
    assert copies(simulator) == 1


@pytest.fixture
def two_processes(store):
    run = Run("run-1", "ready", store.put_document({}), created=0.0, updated=0.0)
    store.add_run(run)
    return [StepLedger(store, run, "create#1/1", SimClock(speed=0), driven=False) for _ in range(2)]


@pytest.mark.parametrize("learned", ["missing", "uncertain", "repeat", "rejected"])
def test_what_was_learned_of_an_earlier_send_says_nothing_of_a_later_one(
    store, two_processes, learned
):
    frozen, other = two_processes
    early = Intent(frozen.tag("0"), CREATE, 1.0)
    frozen.claim(early)
    resolve(store, "run-1", "create#1", "repeat", None)
    late = Intent(early.tag, CREATE, 2.0)
    assert other.claim(late)
    frozen.settle(early.tag, learned, sends=early.sends)
    assert other.settle(late.tag, "done", "s1", sends=late.sends).state == "done"


@pytest.mark.parametrize("learned", ["uncertain", "repeat"])
def test_what_was_given_up_is_looked_for_whatever_a_process_says_that_lost_the_run(
    two_processes, learned
):
    frozen, other = two_processes
    frozen.claim(Intent(frozen.tag("0"), CREATE, 1.0))
    other.settle(other.tag("0"), "missing")
    other.claim(Intent(other.tag("1"), CREATE, 2.0))
    other.settle(other.tag("1"), "done", "s1")
    frozen.settle(frozen.tag("0"), learned)
    assert [one.tag for one in other.watched([CREATE], 0.0)] == [other.tag("0")]


def test_an_api_block_that_got_no_answer_is_not_sent_again(open_app, store):
    app = open_app()
    sent = []

    def silent(request, *, timeout):
        sent.append(request)
        raise ConnectionLost("It broke.")

    app.transport.send = silent
    post = block("post", "api", url="https://example.com/x", method="POST", body="{}")
    post["retry"] = {"enabled": True, "maxTries": 3, "waitBetweenTriesMs": 0}
    run_id = app.runs.start(flow(post), env=ENV)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "failed"
    assert len(sent) == 1
    app.runs.resume(run_id)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "uncertain"
    assert len(sent) == 1


@pytest.mark.parametrize(("status", "again"), [(422, True), (429, False), (503, False)])
def test_a_resumed_run_only_posts_again_what_was_surely_refused(open_app, status, again):
    app = open_app()
    sent = []

    def answering(request, *, timeout):
        sent.append(request)
        return Response(status, {}, b"no")

    app.transport.send = answering
    post = block("post", "api", url="https://example.com/x", method="POST", body="{}")
    run_id = app.runs.start(flow(post), env=ENV)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "failed"
    app.runs.resume(run_id)
    app.runs.follow(run_id)
    assert len(sent) == (2 if again else 1)
    assert app.runs.show(run_id)["state"] == ("failed" if again else "uncertain")
