"""Calls of durable runs that wait for a person's yes: asked once, answered once, kept."""

import json
import threading

import pytest

from sim_devin.errors import CallerError
from sim_devin.policy.rules import COSTS_MONEY, DESTRUCTIVE, Policy
from tests.durable.conftest import ENV
from tests.durable.flows import block, devin, flow, loop, wait
from tests.test_approvals import Astray, agent, led_to

CREATE = devin("create", "create_session", prompt="Fix it", maxAcuLimit="5")
HELD = Policy(confirm=(COSTS_MONEY,))


def start(app, document, **options):
    run_id = app.runs.start(document, env=ENV, **options)
    app.runs.follow(run_id)
    return run_id


def asked(app, run_id):
    (found,) = app.runs.show(run_id)["waits"]
    return found


def go_on(app, run_id, answer, **options):
    app.runs.answer(run_id, answer, **options)
    app.runs.follow(run_id)
    return app.runs.show(run_id)


def intents(store):
    return store.database.read("SELECT * FROM intents")


def test_a_held_call_waits_and_shows_what_it_is(open_app, simulator, store):
    app = open_app(policy=HELD)
    run_id = start(app, flow(CREATE))
    assert app.runs.show(run_id)["state"] == "asking"
    found = asked(app, run_id)
    assert found["kind"] == "approval"
    assert found["tool"] == "devin_create_session"
    assert found["question"].endswith("(devin_create_session)? It costs money.")
    assert found["parameters"] == {"prompt": "Fix it", "maxAcuLimit": 5}
    assert "cog_" not in json.dumps(app.runs.show(run_id))
    assert simulator.truth() == []
    assert intents(store) == []
    assert store.database.read("SELECT * FROM spend") == []


def test_a_yes_lets_it_go_out_once(open_app, simulator):
    app = open_app(policy=HELD)
    run_id = start(app, flow(CREATE, wait()))
    other = open_app(policy=HELD)  # another process answers, and another drives
    other.runs.answer(run_id, {"approved": True, "reason": "go"})
    with pytest.raises(CallerError, match="no open question"):
        app.runs.answer(run_id, {"approved": False})
    third = open_app(policy=HELD)
    third.runs.follow(run_id)
    assert third.runs.show(run_id)["state"] == "done"
    assert len(simulator.truth()) == 1
    (event,) = (item for item in app.runs.events(run_id) if item.kind == "call.approved")
    assert (event.data["tool"], event.data["reason"]) == ("devin_create_session", "go")


def test_a_no_fails_the_block_and_sends_nothing(open_app, simulator):
    app = open_app(policy=HELD)
    run_id = start(app, flow(CREATE))
    run = go_on(app, run_id, {"approved": False, "reason": "too dear"})
    assert run["state"] == "failed"
    assert "a person declined: too dear" in run["error"]
    assert simulator.truth() == []
    app.runs.resume(run_id)  # what was declined is asked anew, not done
    app.runs.follow(run_id)
    assert asked(app, run_id)["kind"] == "approval"
    assert go_on(app, run_id, {"approved": True})["state"] == "done"


def test_a_secret_in_the_reason_of_a_no_is_not_shown(open_app):
    app = open_app(policy=HELD)
    run_id = app.runs.start(flow(CREATE), env={**ENV, "MY_TOKEN": "very-secret-word"})
    app.runs.follow(run_id)
    run = go_on(app, run_id, {"approved": False, "reason": "it has very-secret-word in it"})
    assert "a person declined: it has *** in it" in run["error"]


def test_of_many_answers_at_once_one_counts(open_app, simulator):
    app = open_app(policy=HELD)
    run_id = start(app, flow(CREATE))
    together, taken = threading.Barrier(6), []

    def answer(approved):
        other = open_app(policy=HELD)
        together.wait()
        try:
            other.runs.answer(run_id, {"approved": approved})
        except CallerError:
            return
        taken.append(approved)

    threads = [threading.Thread(target=answer, args=(number % 2 == 0,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (approved,) = taken
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == ("done" if approved else "failed")
    assert len(simulator.truth()) == int(approved)


def test_workers_share_what_was_approved(open_app, simulator):
    app = open_app(policy=HELD)
    runs = [start(app, flow(CREATE)) for _ in range(4)]
    for run_id in runs:
        app.runs.answer(run_id, {"approved": True})
    workers = [
        threading.Thread(target=open_app(policy=HELD).runs.work, kwargs={"once": True})
        for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert {app.runs.show(run_id)["state"] for run_id in runs} == {"done"}
    assert len(simulator.truth()) == 4


@pytest.mark.parametrize("answer", ["yes", None, {"approved": "true"}, {"ok": True}, {}])
def test_only_a_plain_yes_or_no_is_an_answer(open_app, simulator, answer):
    app = open_app(policy=HELD)
    run_id = start(app, flow(CREATE))
    with pytest.raises(CallerError, match="approved or declined"):
        app.runs.answer(run_id, answer)
    assert asked(app, run_id)["kind"] == "approval"
    assert simulator.truth() == []


@pytest.mark.parametrize(
    ("default", "state", "sessions"),
    [
        (None, "failed", 0),
        ("go on", "failed", 0),  # a text for Devin is no yes
        ({"approved": True}, "done", 1),
        ({"approved": False}, "failed", 0),
    ],
)
def test_without_an_answer_in_time(open_app, transport, simulator, default, state, sessions):
    app = open_app(policy=HELD)
    run_id = start(app, flow(CREATE), answer_within=60, default_answer=default)
    assert app.runs.work(once=True) == 0
    transport.clock.advance(61)
    app.runs.work(once=True)
    run = app.runs.show(run_id)
    assert (run["state"], len(simulator.truth())) == (state, sessions)
    if default in (None, "go on"):
        assert "nobody answered in time" in run["error"]


def test_other_branches_go_on_meanwhile(open_app, transport):
    end = devin("end", "terminate_session", sessionId="<create.sessionId>")
    edges = [("start", "create"), ("create", "end"), ("create", "wait")]
    app = open_app(policy=Policy(confirm=(DESTRUCTIVE,)))
    run_id = start(app, flow(CREATE, end, wait(), edges=edges))
    while len(app.runs.show(run_id)["waits"]) > 1:  # until the session was waited for
        transport.clock.advance(60)
        app.runs.work(once=True)
    assert asked(app, run_id)["kind"] == "approval"
    events = [item for item in app.runs.events(run_id) if item.data.get("reason") == "approval"]
    assert len(events) == 1  # asked once, however often the run was driven
    assert go_on(app, run_id, {"approved": True})["state"] == "done"


def test_every_pass_of_a_loop_is_asked_about(open_app, simulator):
    app = open_app(policy=HELD)
    inner = devin("create", "create_session", prompt="Fix <loop.index>")
    edges = [("start", "l"), ("l", "create", "loop-start-source")]
    run_id = start(app, flow(loop("l", 2, inner), inner, edges=edges))
    for number in range(2):
        assert asked(app, run_id)["parameters"]["prompt"] == f"Fix {number}"
        run = go_on(app, run_id, {"approved": True})
    assert run["state"] == "done"
    assert len(simulator.truth()) == 2


def test_another_call_at_the_step_is_asked_about_anew(open_app, simulator):
    """The environment says something else by the time the run goes on."""
    document = flow(devin("create", "create_session", prompt="Fix it", tags="{{WHAT}}"))
    first = open_app(policy=HELD)
    run_id = first.runs.start(document, env={**ENV, "WHAT": "this"})
    first.runs.follow(run_id)
    first.runs.answer(run_id, {"approved": True})
    second = open_app(policy=HELD)
    second.runs.resume(run_id, env={**ENV, "WHAT": "that"})
    second.runs.follow(run_id)
    assert simulator.truth() == []
    assert asked(second, run_id)["parameters"]["tags"] == "that"
    assert go_on(second, run_id, {"approved": True})["state"] == "done"
    (session,) = simulator.truth()
    assert "that" in session["tags"]


def test_a_higher_ceiling_than_the_one_shown_is_asked_about_anew(open_app, simulator):
    bare = flow(devin("create", "create_session", prompt="Fix it"))
    app = open_app(policy=Policy(confirm=(COSTS_MONEY,), acu_per_call=5))
    run_id = start(app, bare)
    assert asked(app, run_id)["parameters"]["maxAcuLimit"] == 5
    app.runs.answer(run_id, {"approved": True})
    wider = open_app(policy=Policy(confirm=(COSTS_MONEY,), acu_per_call=50))
    wider.runs.follow(run_id)
    assert asked(wider, run_id)["parameters"]["maxAcuLimit"] == 50
    assert simulator.truth() == []


def test_a_policy_that_asks_no_longer_lets_it_go_on(open_app, simulator, store):
    run_id = start(
        open_app(policy=HELD),
        flow(
            CREATE,
            block("form", "human_in_the_loop"),
            edges=[("start", "create"), ("start", "form")],
        ),
    )
    app = open_app()
    app.runs.answer(run_id, {}, context_id="form")
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "done"
    assert len(simulator.truth()) == 1


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Policy(read_only=True), "read-only"),
        (Policy(deny=("devin_create_*",)), "is denied by the policy"),
        (Policy(allow=("devin_get_*",)), "not among the allowed tools"),
    ],
)
def test_what_is_refused_is_sent_nowhere(open_app, simulator, policy, words):
    app = open_app(policy=policy)
    run_id = start(app, flow(CREATE))
    assert words in app.runs.show(run_id)["error"]
    assert simulator.truth() == []


def test_a_dry_run_puts_out_what_would_be_sent(open_app, simulator):
    app = open_app(policy=Policy(dry_run=True, acu_per_call=3))
    run_id = start(app, flow(CREATE))
    output = app.runs.show(run_id)["result"]["output"]
    assert output["request"]["json"] == {"prompt": "Fix it", "max_acu_limit": 3}
    assert simulator.truth() == []


def test_ceilings_of_a_call_and_of_a_run(open_app, simulator):
    more = [devin(name, "create_session", prompt="p") for name in ("b", "c", "d")]
    app = open_app(policy=Policy(acu_per_call=4, acu_per_run=10))
    run_id = start(app, flow(CREATE, *more))
    assert "used up" in app.runs.show(run_id)["error"]
    sent = [json.loads(item.body) for item in simulator.log if item.method == "POST"]
    assert [body["max_acu_limit"] for body in sent] == [4, 4, 2]


# -- agents ------------------------------------------------------------------------------------


@pytest.fixture
def session(open_app):
    return open_app().call("devin_create_session", {"prompt": "p"})["sessionId"]


def status(app, session):
    return app.call("devin_get_session", {"sessionId": session})["status"]


def test_a_led_agent_waits_in_the_middle_of_its_rounds(open_app, simulator, session):
    policy = Policy(confirm=(DESTRUCTIVE,))
    document = flow(agent("get_session", "terminate_session"))
    model = Astray(*led_to(session))
    run_id = start(open_app(policy=policy, llm=model), document)
    app = open_app(policy=policy, llm=model)
    found = asked(app, run_id)
    assert (found["tool"], found["parameters"]) == (
        "devin_terminate_session",
        {"sessionId": session},
    )
    assert status(app, session) != "exit"
    reads = len([item for item in simulator.log if item.method == "GET"])
    rounds = model.rounds
    run = go_on(app, run_id, {"approved": True})
    assert run["state"] == "done"
    assert status(app, session) == "exit"
    assert model.rounds == rounds + 1  # the answers so far were played back
    assert len([item for item in simulator.log if item.method == "GET"]) <= reads + 2
    assert [call["name"] for call in run["result"]["output"]["toolCalls"]["list"]] == [
        "devin_get_session",
        "devin_terminate_session",
    ]


def test_a_no_ends_a_led_agent(open_app, session):
    app = open_app(policy=Policy(confirm=(DESTRUCTIVE,)), llm=Astray(*led_to(session)))
    run_id = start(app, flow(agent("get_session", "terminate_session")))
    run = go_on(app, run_id, {"approved": False})
    assert run["state"] == "failed"
    assert "a person declined" in run["error"]
    assert status(app, session) != "exit"


def test_a_led_agent_is_told_what_is_denied_whoever_goes_on(open_app, session, simulator):
    model = Astray(*led_to(session))
    denied = Policy(deny=("devin_terminate_*",))
    form = block("form", "human_in_the_loop")
    run_id = start(
        open_app(policy=denied, llm=model), flow(agent("get_session", "terminate_session"), form)
    )
    assert "denied by the policy" in model.told[-1]
    app = open_app(llm=model)  # a process without the policy plays back, and calls nothing
    assert go_on(app, run_id, {})["state"] == "done"
    assert status(app, session) != "exit"


def test_two_yeses_in_one_block(open_app, session, simulator):
    create = {"id": "1", "name": "devin_create_session", "arguments": {"prompt": "more"}}
    message = {
        "id": "2",
        "name": "devin_send_message",
        "arguments": {"sessionId": session, "message": "hi"},
    }
    model = Astray(create, message)
    app = open_app(policy=HELD, llm=model)
    run_id = start(app, flow(agent("create_session", "send_message")))
    tools = []
    while app.runs.show(run_id)["state"] == "asking":
        tools.append(asked(app, run_id)["tool"])
        run = go_on(app, run_id, {"approved": True})
    assert tools == ["devin_create_session", "devin_send_message"]
    assert run["state"] == "done"
    assert len(simulator.truth()) == 2
