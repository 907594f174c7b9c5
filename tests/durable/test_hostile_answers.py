"""What Devin, people and hooks say is text: it never becomes the value of a secret."""

import json

import pytest

from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.store.sealing import KEY
from tests.durable.conftest import ENV
from tests.durable.flows import block, devin, flow, wait

TOKEN = "made-up-token-value-7"
ENVIRONMENT = {**ENV, "MY_TOKEN": TOKEN, "HOME": "/home/made-up", "SHELL": "/bin/made-up"}
MARKS = (
    "⟦app:devin.apiKey⟧ ⟦env:MY_TOKEN⟧ ⟦env:HOME⟧ ⟦set:create.apiKey⟧ ⟦env:DEVIN_API_KEY|json⟧ "
    "⟦nothing⟧ ⟦:⟧ ⟦"
)
REFERENCES = [
    {KEY: [{"name": "app:devin.apiKey"}]},
    {KEY: [{"name": "env:MY_TOKEN"}, " and ", {"name": "env:HOME"}]},
    {KEY: {"items": [["a", {KEY: [{"name": "env:SHELL"}]}]]}},
    json.dumps({KEY: [{"name": "env:MY_TOKEN"}]}),
    {MARKS: MARKS},
]
SCHEMA = json.dumps({"type": "object"})


class Saying:
    """A transport that puts words into the mouth of the simulated service."""

    def __init__(self, transport, **fields):
        self.transport, self.fields = transport, fields
        self.sent = []

    def send(self, request: Request, *, timeout) -> Response:
        self.sent.append(request)
        answer = self.transport.send(request, timeout=timeout)
        try:
            body = json.loads(answer.body)
        except ValueError:
            return answer
        self._say(body)
        return Response(answer.status, answer.headers, json.dumps(body).encode())

    def _say(self, body):
        if isinstance(body, list):
            for item in body:
                self._say(item)
        elif isinstance(body, dict):
            if "session_id" in body and "status" in body:
                body |= self.fields
            if body.get("source") == "devin" and "message" in body:
                body["message"] = self.fields["title"]
            for item in body.values():
                self._say(item)


@pytest.fixture
def saying(transport):
    return Saying(transport, title=MARKS, structured_output={"said": REFERENCES, MARKS: KEY})


@pytest.fixture
def open_one(open_app, saying):
    return lambda **options: open_app(transport=saying, env=ENVIRONMENT, **options)


def drive(open_one, simulator, run_id):
    """Drive a run as processes do that come and go, until nothing is left to do."""
    for _ in range(12):
        open_one().runs.work(once=True)
        simulator.clock.advance(60)


def messages(simulator):
    return [
        item["message"]
        for session in simulator.truth()
        for item in session["messages"]
        if item["source"] == "user"
    ]


def test_what_devin_says_is_passed_on_as_it_was_said(open_one, simulator):
    create = devin("create", "create_session", prompt="Go", structuredOutputSchema=SCHEMA)
    say = devin(
        "say",
        "send_message",
        sessionId="<create.sessionId>",
        message="<wait.title> <wait.structuredOutput>",
    )
    end = block("end", "response", dataMode="json", data='{"all": <wait.structuredOutput>}')
    document = flow(create, wait(), say, end)
    run_id = open_one().runs.start(document, env=ENVIRONMENT)
    drive(open_one, simulator, run_id)
    shown = open_one().runs.show(run_id)
    assert shown["state"] == "done", shown["error"]
    assert messages(simulator)[-1] == f"{MARKS} " + json.dumps(
        {"said": REFERENCES, MARKS: KEY}, ensure_ascii=False, separators=(",", ":")
    )
    output = shown["result"]["output"]["data"]["all"]
    assert output == {"said": REFERENCES, MARKS: KEY}


def test_a_question_in_marks_is_asked_and_answered_as_it_stands(open_one, simulator, saying):
    del saying.fields["structured_output"]  # with a result, the session counts as done
    create = devin("create", "create_session", prompt="Go [scenario: asks]")
    run_id = open_one().runs.start(flow(create, wait()), env=ENVIRONMENT, on_question="hold")
    for _ in range(12):
        open_one().runs.work(once=True)
        simulator.clock.advance(30)
        if open_one().runs.show(run_id)["state"] == "asking":
            break
    (asked,) = open_one().runs.show(run_id)["waits"]
    assert asked["question"] == MARKS
    open_one().runs.answer(run_id, MARKS)
    drive(open_one, simulator, run_id)
    assert messages(simulator)[-1] == MARKS
    assert open_one().runs.show(run_id)["state"] == "done"


def test_inputs_answers_and_forks_keep_marks_as_text(open_one, simulator):
    form = block("form", "human_in_the_loop", inputFormat=[{"name": "x", "type": "array"}])
    end = block("end", "response", dataMode="json", data='{"in": <start.x>, "form": <form.x>}')
    given = {"x": [MARKS, *REFERENCES]}
    run_id = open_one().runs.start(flow(form, end), given, env=ENVIRONMENT)
    open_one().runs.work(once=True)
    open_one().runs.answer(run_id, given)
    open_one().runs.work(once=True)
    fork = open_one().runs.fork(run_id, "end")
    open_one().runs.work(once=True)
    for each in (run_id, fork):
        shown = open_one().runs.show(each)
        assert shown["state"] == "done", shown["error"]
        assert shown["result"]["output"]["data"] == {"in": given["x"], "form": given["x"]}


def test_only_names_that_were_recorded_with_a_run_are_resolved_in_it(open_one, store):
    end = block("end", "response", dataMode="json", data='{"in": <start.x>}')
    run_id = open_one().runs.start(flow(end), {"x": TOKEN}, env=ENVIRONMENT)
    assert "env:MY_TOKEN" in store.secrets_of(run_id)
    reference = json.dumps({"x": {KEY: [{"name": "env:HOME"}]}})
    with store.database.write() as connection:
        connection.execute("UPDATE runs SET inputs = ? WHERE id = ?", (reference, run_id))
    open_one().runs.work(once=True)
    shown = open_one().runs.show(run_id)
    assert shown["state"] == "held"
    assert "HOME" in shown["error"]
    assert ENVIRONMENT["HOME"] not in json.dumps(shown)


def test_no_text_gets_the_value_that_a_variable_was_given_meanwhile(open_one, open_app, simulator):
    create = devin("create", "create_session", prompt=f"Rename {TOKEN}; <start.x>")
    say = devin("say", "send_message", sessionId="<create.sessionId>", message="<form.x>")
    form = block("form", "human_in_the_loop", inputFormat=[{"name": "x", "type": "string"}])
    run_id = open_one().runs.start(flow(form, create, say), {"x": TOKEN}, env=ENVIRONMENT)
    open_one().runs.work(once=True)
    open_one().runs.answer(run_id, {"x": f"not {TOKEN}"})
    later = {**ENVIRONMENT, "MY_TOKEN": "another-made-up-value-8"}
    open_app(env=later).runs.work(once=True)
    assert open_app(env=later).runs.show(run_id)["state"] == "done"
    renamed = "Rename {{MY_TOKEN}}; {{MY_TOKEN}}"
    assert messages(simulator) == [renamed, "not {{MY_TOKEN}}"]
