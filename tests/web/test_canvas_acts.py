"""Acts over the API take effect once: repeated, at once, by two people, after a restart."""

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("starlette", reason="the canvas needs the extra [canvas]")

from test_canvas_durable import ASK, DONE, START, block, with_session, workflow

from sim_devin.errors import UnknownName
from sim_devin.simulator.faults import Fault

KEY = "0123456789-a-key"
BY_HAND = workflow(START, ASK, DONE)


@pytest.fixture
def canvas(open_app, serve):
    with open_app() as app, serve(app) as served:
        yield served


def at_once(number, act):
    """Return what an act returns that many threads do together."""
    with ThreadPoolExecutor(number) as threads:
        return [found.result() for found in [threads.submit(act) for _ in range(number)]]


def runs_of(app):
    return [item["runId"] for item in app.runs.list()]


def messages(simulator):
    return [item["message"] for session in simulator.truth() for item in session["messages"]]


def asking(canvas, **options):
    """Return a run whose session asks something, and its wait."""
    document = with_session("asks")
    document["state"]["blocks"]["wait"]["subBlocks"] |= {
        key: {"id": key, "type": "short-input", "value": value} for key, value in options.items()
    }
    run = canvas.send("POST", "runs", {"document": document}).json()["id"]
    canvas.until(run, "asking")
    (wait,) = canvas.app.runs.store.waits(run, only_open=True)
    return run, wait


# -- starting --------------------------------------------------------------------------------------


def test_a_start_that_is_repeated_starts_one_run(canvas, simulator):
    body = {"document": with_session("finish")}
    first, again = (canvas.send("POST", "runs", body, key=KEY) for _ in range(2))
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    canvas.until(first.json()["id"], "done")
    assert len(runs_of(canvas.app)) == len(simulator.truth()) == 1


def test_starts_at_the_same_time_with_one_key_start_one_run(canvas):
    answers = at_once(6, lambda: canvas.send("POST", "runs", {"document": BY_HAND}, key=KEY))
    assert {answer.json()["id"] for answer in answers} == set(runs_of(canvas.app))
    assert len(runs_of(canvas.app)) == 1


def test_another_key_is_another_run(canvas):
    for key in (KEY, f"{KEY}-2"):
        assert canvas.send("POST", "runs", {"document": BY_HAND}, key=key).status_code == 201
    assert len(runs_of(canvas.app)) == 2


def test_a_start_is_known_after_a_restart(open_app, serve, simulator):
    body = {"document": with_session("finish")}
    with open_app() as app, serve(app) as first:
        run = first.send("POST", "runs", body, key=KEY).json()["id"]
    with open_app() as app, serve(app) as second:
        assert second.send("POST", "runs", body, key=KEY).json()["id"] == run
        second.until(run, "done")
        assert runs_of(app) == [run]
    assert len(simulator.truth()) == 1


def test_a_start_whose_server_died_before_it_answered_is_not_made_again(canvas, store):
    body = {"document": BY_HAND}
    run = canvas.send("POST", "runs", body, key=KEY).json()["id"]
    with store.database.write() as connection:
        connection.execute("UPDATE acts SET answer = NULL")
    assert canvas.send("POST", "runs", body, key=KEY).json()["id"] == run
    assert runs_of(canvas.app) == [run]


def test_a_start_that_another_server_records_meanwhile_is_that_run(
    canvas, open_app, serve, monkeypatch
):
    body = {"document": BY_HAND}
    with open_app() as app, serve(app) as other:
        look = other.api.runs.get
        looks = []

        def found_nothing_first(run_id):
            if not looks:
                looks.append(canvas.send("POST", "runs", body, key=KEY).json()["id"])
                raise UnknownName("run", run_id, ())
            return look(run_id)

        monkeypatch.setattr(other.api.runs, "get", found_nothing_first)
        started = other.send("POST", "runs", body, key=KEY)
    assert started.status_code == 201
    assert [started.json()["id"]] == looks == runs_of(canvas.app)


def test_a_repeat_says_that_it_was_answered_before(canvas):
    first, again = (
        canvas.send("POST", "runs", {"document": BY_HAND}, key=KEY).headers for _ in range(2)
    )
    assert ("idempotent-replayed" in first, "idempotent-replayed" in again) == (False, True)


def test_a_start_that_was_refused_may_be_tried_again_with_its_key(canvas):
    bad = {"document": {"state": {"blocks": {}, "edges": "none"}}}
    for _ in range(2):
        assert canvas.send("POST", "runs", bad, key=KEY).status_code == 422
    assert runs_of(canvas.app) == []


# -- the key -----------------------------------------------------------------------------------


def test_what_costs_money_needs_a_key(canvas):
    run, wait = asking(canvas)
    acts = {
        "runs": {"document": BY_HAND},
        f"runs/{run}/answer": {"contextId": wait.context_id, "answer": "main"},
        f"runs/{run}/messages": {"block": "wait", "session": "s", "message": "main"},
        f"runs/{run}/resume": {},
    }
    for path, body in acts.items():
        refused = canvas.send("POST", path, body, key=None)
        assert refused.status_code == 400, path
        assert "Idempotency-Key" in refused.json()["error"]["message"]
    assert len(runs_of(canvas.app)) == 1
    assert canvas.app.runs.store.waits(run, only_open=True)[0].kind == "question"


@pytest.mark.parametrize("key", ["short", "with a space in it", "é" * 9, "k" * 201])
def test_a_key_that_is_none_is_refused(canvas, key):
    headers = {"idempotency-key": key.encode(), "content-type": "application/json"}
    content = json.dumps({"document": BY_HAND})
    answer = canvas.client.post("/api/runs", content=content, headers=headers)
    assert answer.status_code == 400
    assert runs_of(canvas.app) == []


def test_a_key_of_another_act_is_refused(canvas):
    canvas.send("POST", "runs", {"document": BY_HAND}, key=KEY)
    other = {"document": BY_HAND, "inputs": {"a": 1}}
    refused = canvas.send("POST", "runs", other, key=KEY)
    assert refused.status_code == 422
    assert "another request" in refused.json()["error"]["message"]
    assert canvas.send("PUT", "secrets/TOKEN", {"value": "v"}, key=KEY).status_code == 422
    assert len(runs_of(canvas.app)) == 1


def test_a_check_is_no_act(canvas):
    for document in (BY_HAND, workflow(START)):
        answer = canvas.send("POST", "check", {"document": document}, key=KEY)
        assert answer.status_code == 200


def test_neither_a_key_nor_a_secret_is_in_the_store(canvas, tmp_path):
    secret = "cog_canary_9876"
    for _ in range(2):
        kept = canvas.send("PUT", "secrets/TOKEN", {"value": secret}, key=KEY)
        assert kept.json() == {"secrets": ["TOKEN"]}
    for file in tmp_path.glob("runs.sqlite*"):
        assert secret.encode() not in file.read_bytes()
        assert KEY.encode() not in file.read_bytes()


# -- files -------------------------------------------------------------------------------------


def test_acts_on_files_that_are_repeated_take_effect_once(canvas):
    body = {"document": BY_HAND}
    first, again = (
        canvas.send("PUT", "workflows/flow", body, key=KEY, If_None_Match="*") for _ in range(2)
    )
    assert first.status_code == again.status_code == 200
    etag = first.headers["etag"]
    assert again.headers["etag"] == etag
    for _ in range(2):
        renamed = canvas.send(
            "POST", "workflows/flow/rename", {"to": "other"}, key=f"{KEY}-2", If_Match=etag
        )
        assert renamed.json() == {"name": "other"}
    for _ in range(2):
        gone = canvas.send("DELETE", "workflows/other", key=f"{KEY}-3", If_Match=etag)
        assert gone.status_code == 200
    # A new act is measured by what is there now.
    assert canvas.send("DELETE", "workflows/other", If_Match=etag).status_code in (404, 412)


# -- answers and messages ------------------------------------------------------------------------


def test_an_answer_that_is_repeated_is_given_once(canvas, simulator):
    run, wait = asking(canvas)
    body = {"contextId": wait.context_id, "answer": "main"}
    answers = at_once(4, lambda: canvas.send("POST", f"runs/{run}/answer", body, key=KEY))
    assert {answer.status_code for answer in answers} == {200}
    canvas.until(run, "done")
    assert messages(simulator).count("main") == 1


def test_an_answer_that_two_servers_get_with_one_key_is_answered_alike_by_both(
    open_app, serve, simulator, monkeypatch
):
    with open_app() as one, serve(one) as first, open_app() as other, serve(other) as second:
        run, wait = asking(first)
        given, refused = threading.Event(), threading.Event()
        answer, late = one.runs.answer, other.runs.answer

        def slowly(*args, **options):
            answer(*args, **options)
            given.set()
            assert refused.wait(30)

        def too_late(*args, **options):
            assert given.wait(30)
            try:
                late(*args, **options)
            finally:
                refused.set()

        monkeypatch.setattr(one.runs, "answer", slowly)
        monkeypatch.setattr(other.runs, "answer", too_late)
        body = {"contextId": wait.step, "answer": "main"}

        def send(canvas):
            return canvas.send("POST", f"runs/{run}/answer", body, key=KEY)

        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(send, (first, second)))
        assert [item.status_code for item in answers] == [200, 200]
        assert answers[0].json() == answers[1].json()
        first.until(run, "done")
        assert messages(simulator).count("main") == 1


@pytest.mark.parametrize("is_message", [False, True])
def test_of_two_people_who_answer_at_once_one_is_told_that_the_other_was_first(
    canvas, simulator, is_message
):
    run, wait = asking(canvas)
    session = wait.about["sessionId"]

    def answer(text):
        if is_message:
            body = {"block": "wait", "session": session, "message": text, "seen": 1}
            return canvas.send("POST", f"runs/{run}/messages", body)
        body = {"contextId": wait.step, "answer": text, "question": 0}
        return canvas.send("POST", f"runs/{run}/answer", body)

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(answer, ("main", "develop")))
    assert sorted(item.status_code for item in answers) == [200, 409]
    (refused,) = (item for item in answers if item.status_code == 409)
    assert "else" in refused.json()["error"]["message"]
    canvas.until(run, "done")
    assert len([text for text in messages(simulator) if text in ("main", "develop")]) == 1


def test_a_form_takes_one_answer(canvas):
    run = canvas.send("POST", "runs", {"document": BY_HAND}).json()["id"]
    canvas.until(run, "asking")
    given = [{"approved": True}, {"approved": False}]
    with ThreadPoolExecutor(2) as threads:
        codes = list(
            threads.map(
                lambda answer: (
                    canvas.send(
                        "POST", f"runs/{run}/answer", {"contextId": "ask", "answer": answer}
                    ).status_code
                ),
                given,
            )
        )
    assert sorted(codes) == [200, 409]


def test_an_answer_to_the_question_before_is_not_taken_for_the_next(canvas):
    run, wait = asking(canvas)
    store = canvas.app.runs.store
    assert store.put_answer(wait, "main", 1.0)
    (sending,) = store.waits(run, only_open=True)
    store.change_wait(sending, "sending", kind="question", answer=None)
    body = {"contextId": wait.step, "answer": "late", "question": 0}
    assert canvas.send("POST", f"runs/{run}/answer", body).status_code == 409
    (asked,) = store.waits(run, only_open=True)
    assert (asked.kind, store.answers(asked)) == ("question", 1)


def returned(canvas):
    """Return a run that ended while its session asks something, and that session's id."""
    document = with_session("asks")
    value = {"id": "onQuestion", "type": "dropdown", "value": "return"}
    document["state"]["blocks"]["wait"]["subBlocks"]["onQuestion"] = value
    run = canvas.send("POST", "runs", {"document": document}).json()["id"]
    canvas.until(run, "done")
    (outcome,) = (o for o in canvas.app.runs.store.outcomes(run) if o.block_id == "wait")
    return run, outcome.output["sessionId"]


def test_a_message_that_is_repeated_is_sent_once(canvas, simulator):
    run, session = returned(canvas)
    body = {"block": "wait", "session": session, "message": "Go on.", "seen": 1}
    answers = at_once(4, lambda: canvas.send("POST", f"runs/{run}/messages", body, key=KEY))
    assert {answer.status_code for answer in answers} == {200}
    assert messages(simulator).count("Go on.") == 1
    # The same text again is another message, if it is meant.
    more = {**body, "seen": 2}
    assert canvas.send("POST", f"runs/{run}/messages", more).status_code == 200
    assert messages(simulator).count("Go on.") == 2


def test_a_message_whose_answer_was_lost_is_looked_for(canvas, simulator):
    run, session = returned(canvas)
    body = {"block": "wait", "session": session, "message": "Go on.", "seen": 1}
    # The message arrives, its answer does not, and nor can the messages be read for a while.
    simulator.faults.add(Fault("reset", method="POST", path="/messages$", commit=True))
    simulator.faults.add(
        Fault("status", method="GET", path="/messages", status=503, times=None, after=2)
    )
    lost = canvas.send("POST", f"runs/{run}/messages", body, key=KEY)
    assert lost.status_code == 502
    simulator.faults.clear()
    assert canvas.send("POST", f"runs/{run}/messages", body, key=KEY).status_code == 200
    assert messages(simulator).count("Go on.") == 1


def test_a_message_to_a_session_that_was_answered_meanwhile_is_not_sent(canvas, simulator):
    run, session = returned(canvas)
    body = {"block": "wait", "session": session, "seen": 1}
    first = canvas.send("POST", f"runs/{run}/messages", {**body, "message": "main"})
    second = canvas.send("POST", f"runs/{run}/messages", {**body, "message": "develop"})
    assert (first.status_code, second.status_code) == (200, 409)
    assert "develop" not in messages(simulator)


# -- resuming, stopping, ending --------------------------------------------------------------------


def test_a_resume_that_is_repeated_runs_what_failed_once_more_only(canvas):
    fails = block("Fails", "function", code="throw new Error('no')")
    run = canvas.send("POST", "runs", {"document": workflow(START, fails)}).json()["id"]
    canvas.until(run, "failed")
    first = canvas.send("POST", f"runs/{run}/resume", key=KEY)
    canvas.until(run, "failed")
    again = canvas.send("POST", f"runs/{run}/resume", key=KEY)
    assert first.json() == again.json()
    ends = [e.kind for e in canvas.app.runs.store.events(run) if e.kind == "run.failed"]
    assert len(ends) == 2


def test_a_stop_leaves_no_question_and_the_sessions_can_be_ended_once(canvas, simulator):
    run, wait = asking(canvas)
    session = wait.about["sessionId"]
    stopped = canvas.send("POST", f"runs/{run}/stop").json()
    assert stopped["status"] == "cancelled"
    assert canvas.app.runs.store.waits(run, only_open=True) == []
    late = canvas.send("POST", f"runs/{run}/answer", {"contextId": wait.step, "answer": "main"})
    assert late.status_code == 422
    (line,) = canvas.get(f"runs/{run}/sessions").json()["sessions"]
    assert (line["sessionId"], line["goesOn"]) == (session, True)
    assert line["verdict"]["words"] == "Waits for an answer"
    path = f"runs/{run}/sessions/{session}/end"
    ended = at_once(4, lambda: canvas.send("POST", path))
    assert {answer.status_code for answer in ended} == {200}
    assert {answer.json()["goesOn"] for answer in ended} == {False}
    assert simulator.counts["sessions_terminated"] == 1
    assert "main" not in messages(simulator)


def test_only_sessions_of_the_run_are_ended(canvas, simulator):
    first, wait = asking(canvas)
    other = canvas.send("POST", "runs", {"document": BY_HAND}).json()["id"]
    path = f"runs/{other}/sessions/{wait.about['sessionId']}/end"
    assert canvas.send("POST", path).status_code == 404
    assert canvas.send("POST", f"runs/{uuid.uuid4()}/sessions/x/end").status_code == 404
    assert canvas.app.runs.store.run(first).state == "asking"
