"""Runs that a caller waits for: `App.run` and `App.resume`."""

import json
import threading

import pytest

from sim_devin.calls.response import Response
from sim_devin.engine import events
from sim_devin.errors import CallerError, InvalidWorkflow, MissingCredentials, UnknownName
from sim_devin.simulator import Fault
from tests.conftest import ENV
from tests.durable.flows import block, devin, flow, wait

FORM = block("form", "human_in_the_loop", inputFormat=[{"id": "1", "name": "ok", "type": "string"}])
CREATE = devin("create", "create_session", prompt="Fix it")


def end(data="<form.ok>"):
    return block("end", "response", dataMode="json", data=f'{{"said": "{data}"}}')


class Plain:
    """A transport that is no simulator's."""

    def send(self, request, *, timeout):
        raise AssertionError(f"{request.url} was asked for")


class Snapshots(dict):
    """A store of a program's own."""

    def save(self, run_id, record):
        self[run_id] = record

    def load(self, run_id):
        return self[run_id]


def test_a_run_is_recorded_in_the_store_that_was_handed_in(open_app, store):
    app = open_app()
    result = app.run(flow(CREATE, wait(), end("<wait.outcome>")), env=ENV)
    assert result.success
    shown = open_app().runs.show(result.run_id)
    assert shown["state"] == "done"
    assert [item["blockId"] for item in shown["blocks"]] == ["create", "wait", "end"]
    assert shown["result"]["output"] == result.output
    assert shown["result"]["logs"] == [item.to_json() for item in result.logs]


def test_a_run_without_a_store_is_recorded_in_memory_alone(open_app, tmp_path):
    file = tmp_path / "own.sqlite"
    app = open_app(store=None, transport=Plain(), env={**ENV, "SIM_DEVIN_STORE": str(file)})
    paused = app.run(flow(FORM, end()))
    assert not file.exists()
    assert app.runs.list() == []
    assert app.resume(paused.run_id, {"ok": "yes"}).output["data"] == {"said": "yes"}


def test_of_runs_in_memory_the_last_hundred_that_ended_are_kept_and_all_that_are_paused(open_app):
    app = open_app(store="memory")
    paused = app.run(flow(FORM, end()))
    ran = [app.run(flow(end("x"))).run_id for _ in range(103)]
    known = {run["runId"] for run in app.runs.list(limit=1000)}
    assert known == {*ran[3:], paused.run_id}
    assert app.resume(paused, {"ok": "yes"}).output["data"] == {"said": "yes"}
    assert len(app.runs.list(limit=1000)) == 100


def test_an_ended_run_in_memory_leaves_its_id_to_another(open_app):
    app = open_app(store="memory")
    assert app.run(flow(end("a")), run_id="mine").output["data"] == {"said": "a"}
    assert app.run(flow(end("b")), run_id="mine").output["data"] == {"said": "b"}
    assert len(app.runs.list()) == 1


def test_another_process_resumes_a_paused_run_by_its_id(open_app, store, simulator):
    paused = open_app().run(flow(CREATE, FORM, end("<create.sessionId> <form.ok>")), env=ENV)
    assert paused.status == "paused"
    (point,) = paused.pause_points
    other = open_app()
    result = other.resume(paused.run_id, {"ok": "yes"}, context_id=point["contextId"], env=ENV)
    (session,) = simulator.truth()
    assert result.output["data"]["said"] == f"{session['session_id']} yes"
    assert other.runs.show(paused.run_id)["state"] == "done"


def test_a_pause_is_answered_once(open_app, simulator):
    app = open_app()
    paused = app.run(flow(FORM, CREATE), env=ENV)
    assert app.resume(paused, {"ok": "yes"}).success
    with pytest.raises(CallerError, match="not paused"):
        app.resume(paused, {"ok": "no"})
    assert simulator.counts["sessions_created"] == 1


def test_a_wrong_answer_leaves_a_run_paused(open_app):
    app = open_app()
    paused = app.run(flow(FORM, end()))
    with pytest.raises(UnknownName, match="pause"):
        app.resume(paused, {}, context_id="other")
    deep = []
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(CallerError, match="The answer"):
        app.resume(paused, {"ok": deep})
    assert app.resume(paused, {"ok": "yes"}).output["data"] == {"said": "yes"}
    with pytest.raises(UnknownName):
        app.resume("no such run", {})


def test_a_missing_secret_leaves_a_run_paused(open_app, store):
    paused = open_app().run(flow(FORM, CREATE), env=ENV)
    other = open_app(env={}, credentials={})
    with pytest.raises(MissingCredentials):
        other.resume(paused.run_id, {"ok": "yes"}, env={})
    assert other.runs.show(paused.run_id)["state"] == "asking"
    assert other.resume(paused.run_id, {"ok": "yes"}, env=ENV).success


def test_two_pauses_are_answered_one_after_the_other(open_app):
    second = {**FORM, "id": "second", "name": "second"}
    edges = [("start", "form"), ("start", "second")]
    app = open_app()
    paused = app.run(flow(FORM, second, edges=edges))
    assert [point["blockId"] for point in paused.pause_points] == ["form", "second"]
    assert paused.output["pauseCount"] == 2
    paused = app.resume(paused, {"ok": "b"}, context_id="second")
    assert [point["blockId"] for point in paused.pause_points] == ["form"]
    result = app.resume(paused, {"ok": "a"})
    assert {key: result.block_outputs[key]["ok"] for key in ("form", "second")} == {
        "form": "a",
        "second": "b",
    }


def test_a_run_that_cannot_be_run_is_not_recorded(open_app):
    app = open_app()
    with pytest.raises(InvalidWorkflow):
        app.run(flow(block("x", "no_such_type")))
    with pytest.raises(UnknownName, match="nowhere"):
        app.run(flow(end("x")), stop_after="nowhere")
    with pytest.raises(MissingCredentials):
        open_app(env={}, credentials={}).run(flow(CREATE), env={})
    assert app.runs.list() == []


def test_an_ambiguous_create_fails_at_once_unless_it_is_to_be_looked_for(open_app, simulator):
    app = open_app()
    simulator.faults.add(Fault("reset", method="POST", commit=True))
    result = app.run(flow(CREATE), env=ENV)
    assert not result.success
    assert "may have taken effect" in result.hint
    assert [entry.method for entry in simulator.log] == ["POST"]
    simulator.faults.add(Fault("reset", method="POST", commit=True))
    assert app.run(flow(CREATE), env=ENV, reconcile=True).success
    assert simulator.counts["sessions_created"] == 2


def test_what_was_cancelled_before_it_began_sends_nothing(open_app, simulator):
    cancel = threading.Event()
    cancel.set()
    app = open_app()
    result = app.run(flow(CREATE), env=ENV, cancel=cancel)
    assert (result.status, result.reason) == ("cancelled", "cancel")
    assert not simulator.log
    assert app.runs.show(result.run_id)["state"] == "cancelled"


def test_an_environment_of_its_own_takes_the_place_of_the_apps(open_app):
    app = open_app(env={**ENV, "WORD": "from outside"})
    said = block("say", "response", dataMode="json", data='{"said": "{{WORD}}"}')
    assert app.run(flow(said)).output["data"] == {"said": "from outside"}
    assert app.run(flow(said), env={"WORD": "mine"}).output["data"] == {"said": "mine"}
    assert app.run(flow(said), env={}).output["data"] == {"said": "{{WORD}}"}


def test_the_events_of_child_runs_are_told_with_their_parents(open_app):
    parent = block("call", "workflow", workflowId="kid")
    heard = []
    app = open_app()
    children = {"kid": flow(end("from below"))}
    for given in (children, children.get):
        heard.clear()
        result = app.run(flow(parent), children=given, on_event=heard.append)
        assert result.success
        told = [(event.kind, event.run_id == result.run_id) for event in heard]
        assert told.count((events.RUN_STARTED, True)) == 1
        assert told.count((events.BLOCK_FINISHED, False)) == 2


def test_a_form_in_a_child_run_is_answered_through_its_parent(open_app):
    parent = block("call", "workflow", workflowId="kid")
    after = block("after", "response", dataMode="json", data='{"said": "<call.result.data.said>"}')
    app = open_app()
    paused = app.run(flow(parent, after), children={"kid": flow(FORM, end())})
    assert paused.status == "paused"
    assert [point["blockId"] for point in paused.pause_points] == ["form"]
    assert app.resume(paused, {"ok": "yes"}).output["data"] == {"said": "yes"}


def test_a_program_keeps_snapshots_of_runs_in_a_store_of_its_own(open_app):
    kept = Snapshots()
    paused = open_app(store=kept).run(flow(FORM, CREATE, end()), env=ENV)
    assert kept[paused.run_id]["result"]["status"] == "paused"
    assert ENV["DEVIN_API_KEY"] not in str(kept)
    result = open_app(store=kept).resume(paused.run_id, {"ok": "yes"}, env=ENV)
    assert result.output["data"] == {"said": "yes"}
    assert kept[paused.run_id]["result"]["success"]


def test_a_block_is_tried_again_in_the_same_drive_of_a_durable_run(open_app, simulator):
    asks = devin("asks", "list_sessions")
    asks["retry"] = {"enabled": True, "maxTries": 3, "waitBetweenTriesMs": 0}
    simulator.faults.add(Fault("status", status=500, method="GET", times=2))
    app = open_app(retries=0)
    run_id = app.runs.start(flow(asks, end("done")), env=ENV)
    result = app.runs.follow(run_id)
    assert result.output["data"] == {"said": "done"}
    tries = [item for item in app.runs.show(run_id)["blocks"] if item["blockId"] == "asks"]
    assert [(item.get("tries", 1), item["success"]) for item in tries] == [
        (1, False),
        (2, False),
        (3, True),
    ]


class Watching:
    """A transport that looks at what is recorded of runs while a request is under way."""

    def __init__(self, transport, look):
        self.simulator, self.transport, self.look = transport.simulator, transport, look

    def send(self, request, *, timeout):
        self.look(request)
        return self.transport.send(request, timeout=timeout)


def starts(app, run_id):
    told = app.runs.events(run_id)
    return [event.data["blockId"] for event in told if event.kind == events.BLOCK_STARTED]


def test_a_block_is_recorded_as_started_before_it_does_anything(open_app, transport):
    seen = {}

    def look(request):
        for run in watcher.runs.list():
            seen.setdefault(request.method, starts(watcher, run["runId"]))

    watcher = open_app()
    app = open_app(transport=Watching(transport, look))
    run_id = app.runs.start(flow(CREATE, wait(), devin("last", "list_sessions")), env=ENV)
    result = app.runs.follow(run_id)
    assert result.success
    assert seen["POST"] == ["create"]
    assert starts(app, run_id) == ["create", "wait", "last"]
    kinds = [event.kind for event in app.runs.events(run_id) if event.kind.startswith("block.")]
    assert kinds[:2] == [events.BLOCK_STARTED, events.BLOCK_FINISHED]
    assert kinds[-2:] == [events.BLOCK_STARTED, events.BLOCK_FINISHED]


def test_each_start_is_told_when_it_happens_and_once(open_app, transport):
    told, begun, in_time = [], threading.Event(), []

    def look(_request):
        in_time.append(begun.wait(5))

    def hear(event):
        if event.log is not None:
            told.append((event.kind, event.log.block_id))
            if told[-1] == (events.BLOCK_STARTED, "last"):
                begun.set()

    app = open_app(transport=Watching(transport, look))
    last = devin("last", "list_sessions")
    run_id = app.runs.start(flow(FORM, last, end()), env=ENV)
    app.runs.follow(run_id, on_event=hear)
    app.runs.answer(run_id, {"ok": "yes"})
    app.runs.follow(run_id, on_event=hear)
    starts = [block for kind, block in told if kind == events.BLOCK_STARTED]
    assert starts == ["start", "form", "last", "end"]
    assert [block for kind, block in told if kind == events.BLOCK_FINISHED] == starts
    assert in_time == [True]


def test_a_block_whose_fields_cannot_be_resolved_is_recorded(open_app):
    app = open_app()
    lost = devin("lost", "get_session", sessionId="<create.structuredOutput.id>")
    run_id = app.runs.start(flow(CREATE, lost), env=ENV)
    assert not app.runs.follow(run_id).success
    assert starts(app, run_id) == ["create", "lost"]
    shown = app.runs.show(run_id)["blocks"]
    assert [(item["blockId"], item["success"]) for item in shown] == [
        ("create", True),
        ("lost", False),
    ]


def test_secrets_typed_into_a_document_are_not_in_snapshots_and_are_given_again(open_app):
    class Echo:
        def send(self, request, *, timeout):
            sent.append(request.headers.get("Authorization"))
            said = json.dumps({"said": f"you sent {sent[-1]}"}).encode()
            return Response(200, {"content-type": "application/json"}, said)

    sent = []
    typed = {"Authorization": "Bearer typed-canary-4711"}
    ask = block("ask", "api", url="https://echo.example/", method="GET", headers=typed)
    again = {**ask, "id": "again", "name": "again"}
    kept = Snapshots()
    paused = open_app(store=kept, transport=Echo()).run(flow(ask, FORM, again, end()), env=ENV)
    assert "typed-canary-4711" in str(paused.block_outputs)  # its caller may know
    assert "typed-canary-4711" not in str(kept)
    other = open_app(store=kept, transport=Echo())
    with pytest.raises(MissingCredentials, match=r"ask\.headers"):
        other.resume(paused.run_id, {"ok": "yes"}, env=ENV)
    bindings = {"ask.headers": typed, "again.headers": typed}
    result = other.resume(paused.run_id, {"ok": "yes"}, env=ENV, bindings=bindings)
    assert result.success
    assert sent == [typed["Authorization"]] * 2
    assert "typed-canary-4711" not in str(kept)


def test_another_process_is_given_a_typed_secret_of_a_recorded_run_again(open_app, store):
    key = {"apiKey": ENV["DEVIN_API_KEY"]}
    create = block(
        "create", "devin", operation="create_session", prompt="Go", orgId="org-simulated", **key
    )
    paused = open_app().run(flow(FORM, create), env={})
    other = open_app(env={}, credentials={})
    with pytest.raises(MissingCredentials):
        other.resume(paused.run_id, {"ok": "yes"}, env={})
    bindings = {"create.apiKey": key["apiKey"]}
    assert other.resume(paused.run_id, {"ok": "yes"}, env={}, bindings=bindings).success


def test_the_id_of_a_run_is_refused_if_it_holds_a_secret(open_app, store):
    with pytest.raises(CallerError, match="holds a secret"):
        open_app().run(flow(CREATE), env=ENV, run_id=f"run of {ENV['DEVIN_API_KEY']}")
    assert store.runs() == []


@pytest.mark.parametrize("durable", [True, False])
def test_the_doubles_of_ended_runs_are_ended_on_demand(open_app, simulator, transport, durable):
    class Late:
        """A service that shows what a refused create has made only after ten minutes."""

        def send(self, request, *, timeout):
            answer = transport.send(request, timeout=timeout)
            body = json.loads(answer.body)
            if request.method == "POST" and not hidden:
                hidden.append(body["session_id"])
                return Response(503, {"retry-after": "5"}, b"{}")
            if "items" in body and transport.clock.time() < shown:
                body["items"] = [i for i in body["items"] if i["session_id"] not in hidden]
            return Response(answer.status, answer.headers, json.dumps(body).encode())

    hidden, shown = [], transport.clock.time() + 600
    options = {} if durable else {"store": None}
    app = open_app(transport=Late(), **options)
    assert app.run(flow(CREATE), env=ENV, reconcile=True).success
    assert len(simulator.truth()) == 2
    assert app.end_doubles() == []
    transport.clock.advance(600)
    assert app.end_doubles() == hidden
    assert app.end_doubles() == []
