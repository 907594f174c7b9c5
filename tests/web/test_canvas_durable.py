"""The canvas and the command line over one store: runs outlive the server and are found again."""

import asyncio
import itertools
import json
import threading

import pytest

pytest.importorskip("starlette", reason="the canvas needs the extra [canvas]")

from sim_devin.policy.rules import Policy
from sim_devin.redaction import Redactor
from sim_devin.simulator.faults import Fault
from sim_devin.web.run_feed import RunFeed

KEY = "cog_canary_4567"


def block(name, kind, **values):
    fields = {key: {"id": key, "type": "short-input", "value": v} for key, v in values.items()}
    place = {"x": 0, "y": 0}
    head = {"id": name.lower(), "type": kind, "name": name, "position": place, "enabled": True}
    return {**head, "subBlocks": fields, "outputs": {}}


def workflow(*blocks):
    ids = [item["id"] for item in blocks]
    edges = [
        {"id": f"e{number}", "source": source, "target": target, "sourceHandle": "source"}
        for number, (source, target) in enumerate(itertools.pairwise(ids))
    ]
    return {
        "version": "1.0",
        "state": {"blocks": {item["id"]: item for item in blocks}, "edges": edges},
    }


START = block("Start", "start_trigger")
ASK = block(
    "Ask", "human_in_the_loop", inputFormat=[{"id": "f", "name": "approved", "type": "boolean"}]
)
DONE = block("Done", "response", dataMode="json", data='{"ok": <ask.approved>}')


def with_session(scenario="", **credentials):
    credentials = {"apiKey": "{{DEVIN_API_KEY}}", "orgId": "{{DEVIN_ORG_ID}}", **credentials}
    prompt = f"Do it. [scenario: {scenario}]" if scenario else "Do it."
    create = block("Create", "devin", operation="create_session", prompt=prompt, **credentials)
    wait = block("Wait", "devin_wait", sessionId="<create.sessionId>", **credentials)
    return workflow(START, create, wait)


@pytest.fixture
def canvas(open_app, serve):
    with open_app() as app, serve(app) as served:
        yield served


def start(canvas, document, **more):
    answer = canvas.send("POST", "runs", {"document": document, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def kinds(events):
    return [(e["event"], e.get("blockName")) for e in events if e["event"] != "block.started"]


def test_a_run_of_the_page_is_a_durable_run(canvas, open_app):
    run = start(canvas, canvas.load("first_run"), workflow="first")
    canvas.events(run)
    with open_app() as other:
        listed = {item["runId"]: item["state"] for item in other.runs.list()}
    assert listed == {run: "done"}
    (line,) = canvas.get("runs").json()["runs"]
    assert (line["id"], line["workflow"], line["status"]) == (run, "first", "finished")


def test_a_run_of_the_command_line_shows_on_the_page(canvas, open_app):
    with open_app() as other:
        run = other.runs.start(canvas.load("first_run"))
        other.runs.follow(run)
    canvas.until(run, "done")
    assert [item["id"] for item in canvas.get("runs").json()["runs"]] == [run]
    events = canvas.events(run)
    assert events[0]["event"] == "run.started"
    assert events[-1]["status"] == "finished"
    assert events[-1]["result"]["output"]["data"]["acus"] is not None
    ended = [e for e in events if e["event"] == "block.finished"]
    assert [e["blockName"] for e in ended] == [
        "Start",
        "Create Session",
        "Wait for Devin",
        "Get Session",
        "Done",
    ]
    log = canvas.get(f"runs/{run}/logs/{ended[1]['executionOrder']}").json()
    assert log["output"]["sessionId"] == ended[1]["highlights"]["sessionId"]


def test_a_run_that_nobody_drives_is_driven_by_the_server(open_app, serve):
    with open_app() as other:
        run = other.runs.start(with_session())
    with open_app() as app, serve(app) as canvas:
        canvas.until(run, "done")


def test_an_answer_of_the_command_line_lets_a_run_of_the_page_go_on(canvas, open_app):
    run = start(canvas, workflow(START, ASK, DONE))
    first = canvas.events(run)
    with open_app() as other:
        other.runs.answer(run, {"approved": True})
        other.runs.follow(run)
    canvas.until(run, "done")
    rest = canvas.events(run, after=len(first))
    assert ("block.finished", "Ask") in kinds(rest)
    assert rest[-1]["result"]["output"]["data"] == {"ok": True}


def test_a_run_that_lacks_a_key_is_held_and_says_which(open_app, serve):
    with open_app() as other:
        env = {**other.environment(), "ELSEWHERE": KEY}
        run = other.runs.start(with_session(apiKey="{{ELSEWHERE}}"), env=env)
    with open_app() as app, serve(app) as canvas:
        canvas.until(run, "held")
        events = canvas.events(run)
        assert events[-1]["status"] == "paused"
        assert "ELSEWHERE" in events[-1]["result"]["error"]
        canvas.send("PUT", "secrets/ELSEWHERE", {"value": KEY})
        assert canvas.send("POST", f"runs/{run}/resume").status_code == 200
        canvas.until(run, "done")
        ended = canvas.events(run)
        assert ended[-1]["status"] == "finished"
        assert KEY not in json.dumps(ended) + canvas.get("runs").text


def test_a_run_that_asks_is_answered_after_a_restart(open_app, serve):
    with open_app() as app, serve(app) as before:
        run = start(before, workflow(START, ASK, DONE), workflow="asks")
        first = before.events(run)
        assert first[-1]["status"] == "paused"
    with open_app() as app, serve(app) as after:
        (line,) = after.get("runs").json()["runs"]
        assert (line["workflow"], line["status"]) == ("asks", "paused")
        again = after.events(run)
        assert kinds(again) == kinds(first)
        (point,) = again[-1]["result"]["pausePoints"]
        assert point["response"]["data"]["inputFormat"][0]["name"] == "approved"
        answer = {"contextId": point["contextId"], "answer": {"approved": True}}
        assert after.send("POST", f"runs/{run}/answer", answer).status_code == 200
        assert after.events(run)[-1]["result"]["output"]["data"] == {"ok": True}


def test_a_run_that_asks_is_stopped_after_a_restart(open_app, serve):
    with open_app() as app, serve(app) as before:
        run = start(before, workflow(START, ASK))
        before.events(run)
    with open_app() as app, serve(app) as after:
        assert after.send("POST", f"runs/{run}/stop").json()["status"] == "cancelled"
        assert after.events(run)[-1]["status"] == "cancelled"
        assert after.send("POST", f"runs/{run}/stop").status_code == 200


def test_a_secret_of_the_page_is_known_again_after_a_restart(open_app, serve, store, tmp_path):
    with open_app() as app, serve(app) as before:
        before.send("PUT", "secrets/MINE", {"value": KEY})
        run = start(before, with_session("asks", apiKey="{{MINE}}"))
        before.until(run, "asking")
    assert KEY.encode() not in (tmp_path / "runs.sqlite").read_bytes()
    with open_app() as app, serve(app) as after:
        (asked,) = after.until(run, "asking")["waits"]
        where = {"session": asked["session"], "block": "wait"}
        assert after.get(f"runs/{run}/messages", params=where).is_success
        body = {**where, "message": "main"}
        assert after.send("POST", f"runs/{run}/messages", body).status_code == 200
        events = after.events(run)
        assert events[-1]["status"] == "finished"
        logs = [after.get(f"runs/{run}/logs/{number}").text for number in range(1, 5)]
        assert KEY not in json.dumps(events) + "".join(logs)


def test_a_restart_in_mid_run_does_nothing_twice(open_app, serve, simulator):
    with open_app() as app, serve(app) as before:
        run = start(before, with_session("asks"))
        before.until(run, "asking")
    with open_app() as app, serve(app) as after:
        (wait,) = after.until(run, "asking")["waits"]
        body = {"session": wait["session"], "block": "wait", "message": "main"}
        after.send("POST", f"runs/{run}/messages", body)
        after.events(run)
        sessions = app.call("devin_list_sessions", {})["sessions"]
    assert len(sessions) == 1


def get_session(session_id):
    credentials = {"apiKey": "{{DEVIN_API_KEY}}", "orgId": "{{DEVIN_ORG_ID}}"}
    return block("Get", "devin", operation="get_session", sessionId=session_id, **credentials)


def test_a_failed_run_is_resumed(canvas):
    run = start(canvas, workflow(START, get_session("devin-none")))
    first = canvas.events(run)
    assert first[-1]["status"] == "failed"
    assert first[-1]["canResume"] is True
    assert "Get" in first[-1]["result"]["error"]
    assert canvas.send("POST", f"runs/{run}/resume").status_code == 200
    rest = canvas.events(run, after=len(first))
    assert ("block.failed", "Get") in kinds(rest)
    assert rest[-1]["status"] == "failed"


def test_a_run_that_failed_again_between_two_looks_is_told_anew(open_app, store):
    async def told(feed, after):
        return [item[1]["event"] async for item in feed.follow(after)]

    with open_app() as app:
        run = app.runs.start(workflow(START, get_session("devin-none")))
        app.runs.follow(run)
        seen = RunFeed(run, store, Redactor([]))
        seen.look(app.clock.time())
        before = len(seen.feed)
        app.clock.wait(threading.Event(), 60)
        app.runs.resume(run)
        app.runs.follow(run)
        seen.look(app.clock.time())
    kinds = asyncio.run(told(seen.feed, before))
    assert kinds == ["run.started", "block.failed", "run.failed", "run.result"]


def test_a_run_says_whether_it_can_be_resumed(canvas):
    done = start(canvas, workflow(START))
    failed = start(canvas, workflow(START, get_session("devin-none")))
    asks = start(canvas, workflow(START, ASK))
    for run in (done, failed, asks):
        canvas.events(run)
    lines = {line["id"]: line for line in canvas.get("runs").json()["runs"]}
    assert [lines[run]["canResume"] for run in (done, failed, asks)] == [False, True, False]
    assert [lines[run]["state"] for run in (done, failed, asks)] == ["done", "failed", "asking"]


def test_a_run_goes_on_from_a_block_with_what_a_run_before_the_restart_left(open_app, serve):
    with open_app() as app, serve(app) as before:
        document = before.load("first_run")
        earlier = start(before, document)
        before.events(earlier)
    with open_app() as app, serve(app) as after:
        last = list(document["state"]["blocks"])[-1]
        run = start(after, document, fromBlock=last, earlier=earlier)
        events = after.events(run)
    ended = [e["blockName"] for e in events if e["event"] == "block.finished"]
    assert ended == ["Done"]
    assert events[-1]["result"]["output"]["data"]["acus"] is not None


def test_what_an_earlier_run_left_keeps_where_it_came_from(canvas, simulator):
    credentials = {"apiKey": "{{DEVIN_API_KEY}}", "orgId": "{{DEVIN_ORG_ID}}"}
    made = block("Code", "function", code="return {{NAMED}}")
    create = block("Create", "devin", operation="create_session", prompt="a", **credentials)
    value = "local-value-1"
    canvas.send("PUT", "secrets/NAMED", {"value": value})
    earlier = start(canvas, workflow(START, made, create))
    canvas.events(earlier)
    create["subBlocks"]["prompt"]["value"] = "with <code.result>"
    made["subBlocks"]["code"]["value"] = "return 1"
    run = start(canvas, workflow(START, made, create), fromBlock="create", earlier=earlier)
    assert canvas.events(run)[-1]["status"] == "finished"
    prompts = [json.loads(e.body)["prompt"] for e in simulator.log if e.method == "POST"]
    assert prompts == ["a", "with {{NAMED}}"]


def test_what_is_uncertain_is_decided_on_the_page(canvas, simulator):
    simulator.faults.add(Fault("reset", method="POST", path="/sessions$", commit=False))
    run = start(canvas, with_session())
    first = canvas.events(run)
    assert first[-1]["status"] == "paused"
    (point,) = first[-1]["result"]["pausePoints"]
    found, repeat, fail = point["choices"]
    assert [field["name"] for field in found["fields"]] == ["sessionId"]
    assert fail["answer"] == {"fail": True}
    assert first[-1]["canResume"] is True
    body = {"contextId": point["contextId"], "answer": repeat["answer"]}
    assert canvas.send("POST", f"runs/{run}/answer", body).status_code == 200
    assert canvas.events(run)[-1]["status"] == "finished"
    assert len(simulator.truth()) == 1


@pytest.mark.parametrize("approved", [True, False])
def test_a_held_call_is_decided_on_the_page(open_app, serve, simulator, approved):
    with open_app(policy=Policy(confirm=("costs-money",))) as app, serve(app) as canvas:
        run = start(canvas, with_session())
        first = canvas.events(run)
        assert first[-1]["status"] == "paused"
        assert simulator.truth() == []
        (point,) = first[-1]["result"]["pausePoints"]
        shown = {
            row["name"]: row["value"] for row in point["response"]["data"]["responseStructure"]
        }
        assert "costs money" in point["message"]
        assert list(shown["parameters"]) == ["prompt"]
        yes, no = point["choices"]
        answer = yes["answer"] if approved else {**no["answer"], "reason": "not now"}
        body = {"contextId": point["contextId"], "answer": answer}
        assert canvas.send("POST", f"runs/{run}/answer", body).status_code == 200
        last = canvas.events(run, after=len(first))[-1]
        assert last["status"] == ("finished" if approved else "failed")
        assert len(simulator.truth()) == int(approved)
        if not approved:
            assert "a person declined: not now" in last["result"]["error"]


def test_what_is_uncertain_is_looked_for_again(canvas, simulator):
    simulator.faults.add(Fault("reset", method="POST", path="/sessions$", commit=False))
    run = start(canvas, with_session())
    first = canvas.events(run)
    assert canvas.send("POST", f"runs/{run}/resume").status_code == 200
    again = canvas.events(run, after=len(first))
    assert (again[-1]["status"], again[-1]["state"]) == ("paused", "uncertain")
    assert simulator.truth() == []


def test_a_run_of_a_file_belongs_to_it_whoever_started_it(canvas, open_app):
    canvas.send("PUT", "workflows/mine", {"document": workflow(START)}, if_none_match="*")
    with open_app() as other:
        run = other.runs.start(canvas.folder / "mine.json")
        elsewhere = other.runs.start(workflow(START))
        path = canvas.folder / "mine.json"
        other.runs.store.put_file(run, path, 0)
        other.runs.store.put_file(elsewhere, path.parent.parent / "mine.json", 0)
    lines = {line["id"]: line["workflow"] for line in canvas.get("runs").json()["runs"]}
    assert lines == {run: "mine", elsewhere: ""}


def test_a_renamed_file_keeps_its_runs_over_a_restart(open_app, serve):
    document = workflow(START)
    with open_app() as app, serve(app) as before:
        etags = {}
        for name in ("old", "other"):
            put = before.send("PUT", f"workflows/{name}", {"document": document}, if_none_match="*")
            etags[name] = put.headers["etag"]
        runs = [start(before, document, workflow=name) for name in ("old", "other", "old")]
        for name, to in (("old", "between"), ("between", "new")):
            body, etag = {"to": to}, etags["old"]
            renamed = before.send("POST", f"workflows/{name}/rename", body, if_match=etag)
            assert renamed.is_success
        before.send("PUT", "workflows/old", {"document": document}, if_none_match="*")
        runs.append(start(before, document, workflow="old"))
        expected = dict(zip(runs, ("new", "other", "new", "old"), strict=True))

        def told(canvas):
            return {line["id"]: line["workflow"] for line in canvas.get("runs").json()["runs"]}

        assert told(before) == expected
    with open_app() as app, serve(app) as after:
        assert told(after) == expected


def test_passes_of_a_run_driven_elsewhere_are_told_while_it_goes_on(open_app, serve):
    """The store has every pass and the end of every container; nothing waits for the run's end."""
    inside = {**block("Inside", "variables"), "data": {"parentId": "again"}}
    again = {
        **block("Again", "loop"),
        "data": {"loopType": "for", "count": 2, "width": 500, "height": 200},
    }
    document = workflow(START, again, inside, ASK)
    document["state"]["edges"] = [
        {"id": "e1", "source": "start", "target": "again", "sourceHandle": "source"},
        {"id": "e2", "source": "again", "target": "inside", "sourceHandle": "loop-start-source"},
        {"id": "e3", "source": "again", "target": "ask", "sourceHandle": "loop-end-source"},
    ]
    loops = {"again": {"id": "again", "nodes": ["inside"], "iterations": 2, "loopType": "for"}}
    document["state"]["loops"] = loops
    with open_app() as other:
        run = other.runs.start(document)
        other.runs.follow(run)
    with open_app() as app, serve(app) as canvas:
        events = canvas.events(run)
        assert events[-1]["status"] == "paused"
        told = [(e["block"], e.get("passes")) for e in events if e["event"] == "block.finished"]
        passes = [[{"block": "again", "pass": number}] for number in (1, 2)]
        assert told == [("start", None), *(("inside", item) for item in passes), ("again", None)]
        canvas.send("POST", f"runs/{run}/answer", {"answer": {"approved": True}})
        canvas.until(run, "done")
        whole = canvas.events(run)
        ended = [e["block"] for e in whole if e["event"] == "block.finished"]
        assert ended == ["start", "inside", "inside", "again", "ask"]
        order = next(e["executionOrder"] for e in whole if e.get("block") == "again")
        output = canvas.get(f"runs/{run}/logs/{order}").json()["output"]
        assert len(output["results"]) == 2
