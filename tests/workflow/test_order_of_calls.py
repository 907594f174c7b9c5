"""Calls that begin together end in the order of the document if they are over at once."""

import json
import threading

import sim_devin
from sim_devin.calls.response import Response
from sim_devin.engine import workers
from workflow.fakes import block, document, edge

NAMES = [f"call{n}" for n in range(6)]


def fan():
    calls = [
        block(name, "devin", name)
        | {
            "subBlocks": {
                key: {"id": key, "type": "short-input", "value": value}
                for key, value in {
                    "operation": "create_session",
                    "apiKey": "cog_test",
                    "orgId": "org-1",
                    "prompt": name,
                }.items()
            }
        }
        for name in NAMES
    ]
    start = block("start", "start_trigger", "Start")
    return document([start, *calls], [edge("start", name) for name in NAMES])


def run(transport):
    app = sim_devin.open_app(transport=transport, retries=0, discover=False, env={})
    result = app.run(fan(), {})
    assert result.success, result.error
    return [log.block_id for log in result.logs if log.block_id in NAMES]


def answer(request):
    body = {"session_id": request.json["prompt"], "status": "new"}
    return Response(200, {"content-type": "application/json"}, json.dumps(body).encode())


def test_a_call_that_answers_at_once_is_not_overtaken_by_the_next(monkeypatch):
    monkeypatch.setattr(workers, "HEAD_START", 60.0)  # however slow the machine

    class Hesitant:
        """Gives the call after each one every opportunity to come in between."""

        def __init__(self):
            self.next = {name: threading.Event() for name in NAMES}
            self.overtaken = []

        def send(self, request, *, timeout):
            at = NAMES.index(request.json["prompt"])
            self.next[NAMES[at]].set()
            if at + 1 < len(NAMES) and self.next[NAMES[at + 1]].wait(0.005):
                self.overtaken.append(NAMES[at])
            return answer(request)

    transport = Hesitant()
    assert run(transport) == NAMES
    assert transport.overtaken == []


def test_a_call_that_takes_long_does_not_hold_up_the_next():
    class Meeting:
        """Answers once all calls are there."""

        def __init__(self):
            self.all = threading.Barrier(len(NAMES))

        def send(self, request, *, timeout):
            self.all.wait(30)
            return answer(request)

    assert sorted(run(Meeting())) == NAMES
