"""A wait that follows a message does not take the turn before it for the answer."""

import pytest

from sim_devin.calls.jobs import turn
from sim_devin.simulator import Fault
from tests.durable.flows import devin, flow, wait

CREATE = devin("create", "create_session", prompt="Fix it")
SEND = devin("send", "send_message", sessionId="<create.sessionId>", message="Add a test, too.")


def go_on(app, simulator, run, *, states=("waiting",), step=5, most=200):
    """Work until the run is in another state, and return its record."""
    for _ in range(most):
        app.runs.work(once=True)
        found = app.runs.show(run)
        if found["state"] not in (*states, "ready"):
            return found
        simulator.clock.advance(step)
    raise AssertionError(found)


def output(found, block):
    return next(item["output"] for item in found["blocks"] if item["blockId"] == block)


def said(simulator):
    (session,) = simulator.truth()
    return [item["message"] for item in session["messages"] if item["source"] == "devin"]


@pytest.mark.parametrize("lag", [0, 8, 14, 29])
def test_a_wait_after_a_message_returns_the_turn_that_the_message_began(app, simulator, lag):
    simulator.switches = simulator.switches.changed({"status_lag": lag})
    run = app.runs.start(flow(CREATE, wait("first"), SEND, wait("second")))
    found = go_on(app, simulator, run)
    assert found["state"] == "done"
    assert output(found, "second")["outcome"] == "done"
    assert "Done: Add a test, too." in said(simulator)
    assert output(found, "second")["updatedAt"] > output(found, "first")["updatedAt"] + 20


def test_it_is_the_same_in_another_process(open_app, simulator):
    simulator.switches = simulator.switches.changed({"status_lag": 14})
    run = open_app().runs.start(flow(CREATE, wait("first"), SEND, wait("second")))
    for _ in range(200):
        open_app().runs.work(once=True)  # which knows nothing but what is recorded
        if open_app().runs.show(run)["state"] == "done":
            break
        simulator.clock.advance(5)
    found = open_app().runs.show(run)
    assert output(found, "second")["updatedAt"] > output(found, "first")["updatedAt"] + 20


def test_a_question_that_was_answered_is_not_asked_again_while_the_status_lags(app, simulator):
    simulator.switches = simulator.switches.changed({"status_lag": 29})
    create = devin("create", "create_session", prompt="Fix it [scenario: asks]")
    run = app.runs.start(flow(create, wait()), on_question="hold")
    found = go_on(app, simulator, run)
    assert found["state"] == "asking"
    app.runs.answer(run, "main")
    for _ in range(5):  # as long as the service says what it said before
        simulator.clock.advance(5)
        app.runs.work(once=True)
        assert app.runs.show(run)["state"] == "waiting"
    found = go_on(app, simulator, run)
    assert found["state"] == "done"
    assert output(found, "wait")["outcome"] == "done"


def test_the_time_in_which_a_question_is_open_does_not_count_as_waiting(app, simulator):
    create = devin("create", "create_session", prompt="Fix it [scenario: asks]")
    run = app.runs.start(flow(create, wait(timeoutSeconds="900")), on_question="hold")
    assert go_on(app, simulator, run)["state"] == "asking"
    simulator.clock.advance(7200)
    app.runs.answer(run, "main")
    found = go_on(app, simulator, run)
    assert (output(found, "wait")["outcome"], output(found, "wait")["timedOut"]) == ("done", False)


def test_after_an_answer_a_wait_has_the_time_that_was_left(app, simulator):
    create = devin("create", "create_session", prompt="Fix it [scenario: asks]")
    run = app.runs.start(flow(create, wait(timeoutSeconds="900")), on_question="hold")
    go_on(app, simulator, run)
    simulator.clock.advance(7200)
    simulator.switches = simulator.switches.changed({"status_lag": 100_000})
    simulator.faults.add(Fault("status", method="GET", path="/sessions(/[^/]+)?$", times=None))
    app.runs.answer(run, "main")
    began = simulator.clock.time()
    found = go_on(app, simulator, run)
    assert output(found, "wait")["timedOut"] is True
    assert simulator.clock.time() - began <= 900


def test_a_question_is_asked_again_where_the_service_shows_nothing_new(app, simulator):
    """Devin may have asked the same again, without a word and within a second."""
    simulator.switches = simulator.switches.changed({"status_lag": 100_000})
    create = devin("create", "create_session", prompt="Fix it [scenario: asks]")
    run = app.runs.start(flow(create, wait(timeoutSeconds="100000")), on_question="hold")
    go_on(app, simulator, run)
    simulator.faults.add(Fault("status", method="GET", path="/messages$", times=3))
    app.runs.answer(run, "main")
    began = simulator.clock.time()
    found = go_on(app, simulator, run)
    assert found["state"] == "asking"
    assert simulator.clock.time() - began <= 2 * turn.SETTLING


def test_time_that_runs_out_meanwhile_does_not_make_the_old_result_the_answer(app, simulator):
    simulator.switches = simulator.switches.changed({"status_lag": 100})
    run = app.runs.start(flow(CREATE, wait("first"), SEND, wait("second", timeoutSeconds="10")))
    found = go_on(app, simulator, run)
    second = output(found, "second")
    assert (second["outcome"], second["timedOut"]) == ("in_flight", True)
    assert "nothing newer" in second["reason"]
