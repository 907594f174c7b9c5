"""Fields of the service's answers in shapes that nobody documented."""

import json
from dataclasses import replace

import pytest

import sim_devin
from sim_devin.calls.intents import Settle
from sim_devin.cli.commands.run_report import _job
from sim_devin.cli.commands.wait import _rows
from sim_devin.client import Devin
from sim_devin.devin.verdict import pull_requests, session_kind
from sim_devin.errors import UncertainResult
from sim_devin.simulated import SimulatedTransport
from sim_devin.simulator import Fault, SimClock, Simulator
from sim_devin.web.run_view import highlights
from tests.durable.flows import devin, flow, wait

URL = "https://github.com/acme/app/pull/7"
SHAPES = {
    "null": (None, []),
    "an empty object": ({}, []),
    "one object": ({"pr_url": URL}, [URL]),
    "objects by id": ({"7": {"pr_url": URL}, "8": {}}, [URL]),
    "texts": ([URL, ""], [URL]),
    "a text": (URL, [URL]),
    "objects without an address": ([{"number": 7}], []),
    "another name of the address": ([{"url": URL, "pr_state": "open"}], [URL]),
    "null among them": ([None, {"pr_url": URL}], [URL]),
    "an address that is none": ([{"pr_url": {"href": URL}}, {"pr_url": 5}], []),
    "lists in a list": ([[URL]], []),
    "a number": (5, []),
    "true": (True, []),
}
USED = [None, "3.5", {}, [1], True, 2.5]


class Reshaped:
    """The simulator, with fields of its sessions in another shape."""

    def __init__(self, **fields):
        self.clock = SimClock(speed=0)
        self._inner = SimulatedTransport(self.clock, Simulator(clock=self.clock, seed=1))
        self._fields = fields

    def send(self, request, *, timeout):
        answer = self._inner.send(request, timeout=timeout)
        body = json.loads(answer.body or b"{}")
        for item in [body, *body.get("items", [])]:
            if "session_id" in item:
                item.update(self._fields)
        return replace(answer, body=json.dumps(body).encode())


@pytest.fixture
def open_with():
    apps = []

    def open_one(**fields):
        transport = Reshaped(**fields)
        credentials = {"apiKey": "cog_simulated_key", "orgId": "org-simulated"}
        apps.append(
            sim_devin.open_app(
                transport=transport,
                clock=transport.clock,
                env={"SIM_DEVIN_STORE": "memory", "DEVIN_API_KEY": "cog_simulated_key"},
                credentials=credentials,
                discover=False,
            )
        )
        return apps[-1]

    yield open_one
    for app in apps:
        app.close()


@pytest.mark.parametrize(("given", "found"), SHAPES.values(), ids=SHAPES)
def test_pull_requests_in_another_shape(open_with, given, found):
    app = open_with(pull_requests=given)
    workflow = flow(devin("create", "create_session", prompt="x"), wait())
    run_id = app.runs.start(workflow)
    result = app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "done", app.runs.show(run_id)["error"]
    session = result.output
    assert [item["pr_url"] for item in pull_requests(session)] == found
    shown = highlights(app.registry, session)["highlights"].get("pullRequests", [])
    assert [item["pr_url"] for item in shown] == found
    lines = "\n".join(_job(session_kind(), {"sessionId": "s", **session}))
    assert lines.count("Pull request") == len(found)
    client = Devin(app=app)
    got = client.get_session(session["sessionId"])
    assert [item.pr_url for item in got.pull_requests] == found
    ((_, _, _, _, see, _),) = _rows(session_kind(), app.wait([session["sessionId"]]))
    assert not found or found[0] in see


@pytest.mark.parametrize("given", USED, ids=repr)
def test_used_acus_that_are_no_number(open_with, given):
    app = open_with(acus_consumed=given)
    run_id = app.runs.start(flow(devin("create", "create_session", prompt="x"), wait()))
    session = app.runs.follow(run_id).output
    lines = "\n".join(_job(session_kind(), {"sessionId": "s", **session}))
    assert ("ACUs" in lines) == (given == 2.5)
    assert list(_rows(session_kind(), app.wait([session["sessionId"]])))


@pytest.mark.parametrize("given", [None, "", 5, ["x"]], ids=repr)
def test_a_lost_create_that_a_list_shows_without_an_id_is_not_sent_again(open_with, given):
    app = open_with(session_id=given)
    app.settle = Settle(grace=30.0, policy="retry")
    simulator = app.sender.transport._inner.simulator
    simulator.faults.add(Fault("reset", method="POST", path="/sessions$", commit=True))
    with pytest.raises(UncertainResult, match=r"sessions\[0\]\.sessionId"):
        app.call("devin_create_session", {"prompt": "x"}, reconcile=True)
    assert simulator.counts["sessions_created"] == 1


def test_sessions_that_a_list_shows_without_ids_are_looked_at_one_by_one(open_with, caplog):
    app = open_with()
    made = [app.call("devin_create_session", {"prompt": "x"})["sessionId"] for _ in range(2)]
    send = app.sender.transport.send

    def nameless(request, *, timeout):
        answer = send(request, timeout=timeout)
        body = json.loads(answer.body or b"{}")
        for item in body.get("items", [])[:1]:
            item.pop("session_id", None)
        return replace(answer, body=json.dumps(body).encode())

    app.sender.transport.send = nameless
    assert [outcome.state for outcome in app.wait(made)] == ["done", "done"]
    assert "sessions[0].sessionId" in caplog.text
