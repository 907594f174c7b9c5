"""A session that takes longer than the policy lets one take is ended, once, and that is said."""

import pytest

from sim_devin.client import Devin
from sim_devin.policy.rules import Policy
from sim_devin.simulator.faults import Fault
from tests.durable.conftest import ENV
from tests.durable.flows import devin, flow, wait

NEVER = "[scenario: never-ends] work"
ASKS = "[scenario: asks] work"
SAID = "it was ended after 30 minutes, the policy's limit for a session"


@pytest.fixture
def app(open_app):
    return open_app(policy=Policy(minutes_per_session=30))


def start(app, *blocks, **options):
    run_id = app.runs.start(flow(*blocks), env=ENV, **options)
    app.runs.work(once=True)
    return run_id


def create(prompt=NEVER):
    return devin("create", "create_session", prompt=prompt)


def later(app, simulator, minutes):
    """Let time pass as a worker sees it: in steps."""
    for _ in range(int(minutes)):
        simulator.clock.advance(60)
        app.runs.work(once=True)


def told(app, run_id):
    return [e.data["message"] for e in app.runs.events(run_id) if e.kind == "session.overtime"]


def statuses(simulator):
    return [session["status"] for session in simulator.truth()]


def test_a_session_that_is_waited_for_is_ended_and_the_outcome_says_so(app, simulator):
    run_id = start(app, create(), wait())
    later(app, simulator, 29)
    assert simulator.counts["sessions_terminated"] == 0
    later(app, simulator, 3)
    assert simulator.counts["sessions_terminated"] == 1
    run = app.runs.show(run_id)
    assert run["state"] == "done"
    output = run["blocks"][-1]["output"]
    assert (output["outcome"], output["reason"]) == ("ended", SAID)
    (message,) = told(app, run_id)
    assert message.endswith(SAID)
    assert run["warnings"] == [message]
    later(app, simulator, 60)
    assert simulator.counts["sessions_terminated"] == len(told(app, run_id)) == 1


def test_a_session_that_no_run_waits_for_is_ended(app, simulator):
    run_id = start(app, create())
    assert app.runs.show(run_id)["state"] == "done"
    later(app, simulator, 32)
    assert statuses(simulator) == ["exit"]
    assert len(told(app, run_id)) == 1


def test_a_question_that_waits_for_a_person_ends_with_its_session(app, simulator):
    run_id = start(app, create(ASKS), wait(), on_question="hold")
    later(app, simulator, 10)
    assert app.runs.show(run_id)["state"] == "asking"
    later(app, simulator, 22)
    run = app.runs.show(run_id)
    assert run["state"] == "done"
    assert run["blocks"][-1]["output"]["reason"] == SAID


def test_a_session_that_is_over_in_time_is_left_alone(app, simulator):
    run_id = start(app, create("Fix it"), wait())
    later(app, simulator, 40)
    assert simulator.counts["sessions_terminated"] == 0
    assert told(app, run_id) == []


def test_two_workers_end_it_once(open_app, simulator):
    apps = [open_app(policy=Policy(minutes_per_session=30)) for _ in range(2)]
    run_id = start(apps[0], create())
    for _ in range(40):
        simulator.clock.advance(60)
        for app in apps:
            app.runs.work(once=True)
    deletes = [entry for entry in simulator.log if entry.method == "DELETE"]
    assert len(deletes) == 1
    assert len(told(apps[0], run_id)) == 1


def test_ending_that_fails_is_tried_again(app, simulator):
    run_id = start(app, create())
    simulator.faults.add(Fault("status", status=409, method="DELETE", times=1))
    later(app, simulator, 34)
    assert statuses(simulator) == ["exit"]
    assert len(told(app, run_id)) == 1


def test_what_a_worker_that_died_has_ended_is_still_said(app, store, simulator):
    """It recorded what it was about to do, sent it, and recorded nothing more."""
    run_id = start(app, create())
    simulator.clock.advance(31 * 60)
    (session,) = simulator.truth()
    with store.database.write() as connection:
        connection.execute("UPDATE sessions SET overtime = 'ending'")
    app.call("devin_terminate_session", {"sessionId": session["session_id"]})
    later(app, simulator, 1)
    assert len(told(app, run_id)) == 1
    assert simulator.counts["sessions_terminated"] == 1


# -- outside of durable runs -------------------------------------------------------------------


def advancing(simulator):
    """Return a listener that lets a minute pass with each look."""
    return lambda _progress: simulator.clock.advance(60)


def test_a_session_of_the_client_is_ended(app, simulator):
    devin = Devin(app=app)
    run = devin.run_session(NEVER, on_progress=advancing(simulator))
    assert (run.outcome, run.reason, run.timed_out) == ("ended", SAID, False)
    assert run.session.status == "exit"
    assert simulator.counts["sessions_terminated"] == 1


def test_a_wait_ends_those_that_are_over_their_time_alone(app, simulator):
    old = app.call("devin_create_session", {"prompt": NEVER})["sessionId"]
    simulator.clock.advance(29 * 60)
    new = app.call("devin_create_session", {"prompt": NEVER})["sessionId"]
    first, second = app.wait([old, new], deadline=600, on_progress=advancing(simulator))
    assert (first.state, first.reason) == ("ended", SAID)
    assert second.timed_out
    assert simulator.counts["sessions_terminated"] == 1


def test_the_tool_that_waits_ends_it_as_well(app, simulator):
    session = app.call("devin_create_session", {"prompt": NEVER})
    outcome = app.call(
        "devin_wait_for_session",
        {"sessionId": session["sessionId"]},
        on_progress=advancing(simulator),
    )
    assert (outcome["outcome"], outcome["reason"]) == ("ended", SAID)


def test_the_environment_says_it_too(open_app, simulator):
    app = open_app(env={**ENV, "SIM_DEVIN_MAX_MINUTES": "30"})
    run = Devin(app=app).run_session(NEVER, on_progress=advancing(simulator))
    assert run.reason == SAID
