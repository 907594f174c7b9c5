"""What an error means for a durable run: a temporary one costs nothing, a missing key is said."""

import pytest

from sim_devin.simulator import Fault
from tests.durable.flows import devin, flow, wait

ASKS = devin("create", "create_session", prompt="Fix it [scenario: asks]")
CREATE = devin("create", "create_session", prompt="Fix it")


def on_send(status, **options):
    return Fault("status", method="POST", path="/messages$", status=status, **options)


def on_look(status, **options):
    return Fault("status", method="GET", path="/sessions", status=status, **options)


def work(app, simulator, run, *, until, most=400, step=10):
    """Work until the run is in the state, and return its record."""
    for _ in range(most):
        app.runs.work(once=True)
        found = app.runs.show(run)
        if found["state"] == until:
            return found
        simulator.clock.advance(step)
    raise AssertionError((found["state"], found["error"], found["waits"]))


def asking(app, simulator, **options):
    run = app.runs.start(flow(ASKS, wait(timeoutSeconds="86400")), on_question="hold", **options)
    work(app, simulator, run, until="asking")
    return run


def messages(simulator, text):
    (session,) = simulator.truth()
    return [item["message"] for item in session["messages"]].count(text)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 529])
def test_an_answer_outlives_a_temporary_error(app, simulator, status):
    run = asking(app, simulator)
    simulator.faults.add(on_send(status, times=12))
    app.runs.answer(run, "main")
    assert app.runs.show(run)["state"] == "waiting"
    found = work(app, simulator, run, until="done")
    assert messages(simulator, "main") == 1
    assert found["blocks"][-1]["output"]["outcome"] == "done"


@pytest.mark.parametrize(
    ("status", "word"), [(401, "revoked"), (402, "billing"), (403, "permission")]
)
def test_an_answer_is_kept_until_its_key_is_mended(app, simulator, status, word):
    run = asking(app, simulator)
    simulator.faults.add(on_send(status, times=None, detail="Computer says no"))
    app.runs.answer(run, "main")
    found = app.runs.show(run)
    assert found["state"] == "held"
    assert "The answer could not be sent, and is kept" in found["error"]
    assert "Computer says no" in found["error"]
    assert word in found["error"]
    simulator.faults.clear()
    app.runs.resume(run)
    work(app, simulator, run, until="done")
    assert messages(simulator, "main") == 1


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_an_answer_that_the_service_refuses_is_asked_for_again(app, simulator, status):
    run = asking(app, simulator)
    simulator.faults.add(on_send(status, detail="Not like this"))
    app.runs.answer(run, "main")
    found = app.runs.show(run)
    assert found["state"] == "asking"
    assert "Not like this" in found["waits"][-1]["note"]
    app.runs.answer(run, "master")
    work(app, simulator, run, until="done")
    assert (messages(simulator, "main"), messages(simulator, "master")) == (0, 1)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_wait_whose_key_is_refused_is_held_says_so_and_goes_on(app, simulator, status):
    run = app.runs.start(flow(CREATE, wait()))
    app.runs.work(once=True)
    simulator.faults.add(on_look(status, times=None, detail="Key is no more"))
    found = work(app, simulator, run, until="held")
    assert "Key is no more" in found["error"]
    assert "runs resume" in found["error"]
    asked = simulator.counts["requests"]
    for _ in range(30):
        simulator.clock.advance(10)
        app.runs.work(once=True)
    assert simulator.counts["requests"] - asked <= 1  # not again and again
    simulator.faults.clear()
    app.runs.resume(run)
    found = work(app, simulator, run, until="done", step=1, most=3)
    assert found["error"] is None


def test_a_wait_that_is_held_goes_on_by_itself_once_its_key_is_mended(app, simulator):
    run = app.runs.start(flow(CREATE, wait(timeoutSeconds="7200")))
    app.runs.work(once=True)
    simulator.faults.add(on_look(401, times=None))
    work(app, simulator, run, until="held")
    simulator.faults.clear()
    work(app, simulator, run, until="done", step=60, most=15)


def test_a_wait_that_is_held_still_ends_in_time(app, simulator):
    run = app.runs.start(flow(CREATE, wait(timeoutSeconds="300")))
    app.runs.work(once=True)
    simulator.faults.add(on_look(401, times=None))
    work(app, simulator, run, until="held")
    began = simulator.clock.time()
    found = work(app, simulator, run, until="failed", step=5)
    assert simulator.clock.time() - began <= 305
    assert "before the deadline" in found["error"]


@pytest.mark.parametrize("kind", ["status", "html", "reset", "bad_json", "wrong_shape", "empty"])
@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_temporary_error_of_a_look_costs_time_alone(app, simulator, kind, status):
    run = app.runs.start(flow(CREATE, wait()))
    app.runs.work(once=True)
    simulator.faults.add(Fault(kind, method="GET", path="/sessions", status=status, times=20))
    assert work(app, simulator, run, until="done")["error"] is None


def sends(text="Go on"):
    return devin("send", "send_message", sessionId="<create.sessionId>", message=text)


def unreadable(simulator, **options):
    fault = Fault("status", method="GET", path="/messages$", status=503, times=None, **options)
    simulator.faults.add(fault)


def test_a_message_waits_for_a_service_that_cannot_be_read_and_says_why(app, simulator):
    unreadable(simulator)
    run = app.runs.start(flow(CREATE, sends()))
    found = work(app, simulator, run, until="waiting")
    (told,) = found["waits"]
    assert told["kind"] == "service"
    assert "Nothing was sent" in told["message"]
    assert "503" in told["message"]
    for _ in range(20):  # it tries again and again, for as long as it takes
        simulator.clock.advance(60)
        app.runs.work(once=True)
        assert app.runs.show(run)["state"] == "waiting"
    simulator.faults.clear()
    work(app, simulator, run, until="done")
    assert messages(simulator, "Go on") == 1


def test_a_message_that_waits_for_a_service_is_tried_at_once_when_its_run_is_resumed(
    app, simulator
):
    unreadable(simulator)
    run = app.runs.start(flow(CREATE, sends()))
    work(app, simulator, run, until="waiting")
    simulator.faults.clear()
    app.runs.resume(run)
    app.runs.work(once=True)
    assert app.runs.show(run)["state"] == "done"


def test_a_message_waits_for_a_service_no_longer_than_its_run_may_take(app, simulator):
    unreadable(simulator)
    run = app.runs.start(flow(CREATE, sends()), deadline=300.0)
    began = simulator.clock.time()
    found = work(app, simulator, run, until="cancelled", step=5)
    assert simulator.clock.time() - began <= 310
    assert "timed out" in found["error"]
    assert messages(simulator, "Go on") == 0


def test_an_answer_that_can_never_be_sent_holds_no_wait_open_past_its_time(app, simulator):
    run = app.runs.start(flow(ASKS, wait(timeoutSeconds="7200")), on_question="hold")
    began = simulator.clock.time()
    work(app, simulator, run, until="asking")
    simulator.clock.advance(10_000)  # the time in which it is asked does not count
    simulator.faults.add(on_send(429, times=None, detail="Slow down"))
    app.runs.answer(run, "main")
    found = work(app, simulator, run, until="done", most=2000)
    assert 0 <= simulator.clock.time() - began - 10_000 - 7200 <= 40
    output = found["blocks"][-1]["output"]
    assert (output["outcome"], output["timedOut"]) == ("blocked_on_user", True)
    assert "your answer was not sent" in output["reason"]
    assert "429" in output["reason"]
    simulator.faults.clear()
    for _ in range(20):
        simulator.clock.advance(60)
        app.runs.work(once=True)
    assert messages(simulator, "main") == 0


def test_an_answer_whose_key_is_refused_holds_no_run_past_its_time(app, simulator):
    run = asking_for(app, simulator, "3600")
    simulator.faults.add(on_send(401, times=None))
    app.runs.answer(run, "main")
    assert app.runs.show(run)["state"] == "held"
    asked = simulator.counts["requests"]
    found = work(app, simulator, run, until="done", most=2000)
    assert simulator.counts["requests"] - asked <= 20  # not again and again
    assert "your answer was not sent" in found["blocks"][-1]["output"]["reason"]
    assert "401" in found["blocks"][-1]["output"]["reason"]


def test_an_answer_of_which_nobody_knows_says_so_when_its_time_is_over(app, simulator):
    run = asking_for(app, simulator, "3600")
    sending = app.transport.send

    class Killed(BaseException):
        pass

    def dying(request, *, timeout):
        answer = sending(request, timeout=timeout)
        if request.method == "POST":
            raise Killed
        return answer

    app.transport.send = dying
    with pytest.raises(Killed):
        app.runs.answer(run, "main")
    app.transport.send = sending
    simulator.clock.advance(3600)
    simulator.faults.add(Fault("status", method="GET", path="/messages$", status=500, times=None))
    found = work(app, simulator, run, until="done")
    assert messages(simulator, "main") == 1
    assert "your answer may not have been sent" in found["blocks"][-1]["output"]["reason"]


def test_an_answer_that_is_about_to_be_sent_is_not_sent_after_its_time(app, simulator, open_app):
    run = asking_for(app, simulator, "3600")
    other, sending = open_app(), app.transport.send

    def late(request, *, timeout):
        if request.method == "POST":
            simulator.clock.advance(3600)
            other.runs.work(once=True)  # the wait is over meanwhile
            request.confirm()
        return sending(request, timeout=timeout)

    app.transport.send = late
    app.runs.answer(run, "main")
    app.transport.send = sending
    assert app.runs.show(run)["state"] == "done"
    assert messages(simulator, "main") == 0


def asking_for(app, simulator, seconds):
    run = app.runs.start(flow(ASKS, wait(timeoutSeconds=seconds)), on_question="hold")
    work(app, simulator, run, until="asking")
    return run
