"""Runs over the API: started, watched, answered, stopped; and no secret in any answer."""

import json

import pytest

from sim_devin.redaction import Redactor
from sim_devin.web.run_view import original_id, shown

CANARY = "cog_canary_0123"
KEY = "5d1f0c1e-7a31-4a0a-9d55-0a4a6f1b0002"


def block(name, kind, values=None, **more):
    fields = {
        key: {"id": key, "type": "short-input", "value": v} for key, v in (values or {}).items()
    }
    return {
        "id": name.lower(),
        "type": kind,
        "name": name,
        "position": {"x": 0, "y": 0},
        "subBlocks": fields,
        "outputs": {},
        "enabled": True,
        **more,
    }


def workflow(*blocks, edges=()):
    pairs = edges or list(
        zip([b["id"] for b in blocks], [b["id"] for b in blocks][1:], strict=False)
    )
    listed = [
        {
            "id": f"e{i}",
            "source": a,
            "target": b,
            "sourceHandle": "source",
            "targetHandle": "target",
        }
        for i, (a, b) in enumerate(pairs)
    ]
    return {"version": "1.0", "state": {"blocks": {b["id"]: b for b in blocks}, "edges": listed}}


START = block("Start", "start_trigger")
ASK = block(
    "Ask",
    "human_in_the_loop",
    {"inputFormat": [{"id": "f", "name": "approved", "type": "boolean"}]},
)


def test_an_agent_runs_without_an_account(canvas):
    run = canvas.send("POST", "runs", {"document": canvas.load("agent_hands_over")}).json()["id"]
    output = canvas.events(run)[-1]["result"]["output"]["data"]
    assert output["outcome"] == "done"
    assert "simulated" in output["summary"]


def test_a_run_streams_every_event_and_ends_with_its_result(canvas):
    started = canvas.send(
        "POST", "runs", {"document": canvas.load("first_run"), "workflow": "first_run"}
    )
    assert started.status_code == 201
    run = started.json()["id"]
    events = canvas.events(run)
    kinds = [event["event"] for event in events]
    assert kinds[0] == "run.started"
    assert kinds[-1] == "run.result"
    assert "block.waiting" in kinds
    assert events[-1]["result"]["output"]["data"]["acus"] is not None
    assert canvas.events(run, after=len(events) - 2) == events[-2:]
    (listed,) = canvas.get("runs").json()["runs"]
    assert (listed["id"], listed["status"]) == (run, "finished")


def test_a_block_of_a_run_shows_its_input_and_output(canvas):
    run = canvas.send("POST", "runs", {"document": canvas.load("first_run")}).json()["id"]
    finished = [e for e in canvas.events(run) if e["event"] == "block.finished"]
    created = next(e for e in finished if e["blockName"] == "Create Session")
    assert created["block"] == KEY
    assert created["highlights"]["url"].startswith("https://")
    log = canvas.get(f"runs/{run}/logs/{created['executionOrder']}").json()
    assert log["input"]["prompt"].startswith("In acme/web")
    assert log["output"]["sessionId"]
    assert canvas.get(f"runs/{run}/logs/999").status_code == 404


def test_what_json_or_utf8_cannot_hold_is_shown_all_the_same(canvas):
    given = {"x": float("inf"), "cut": "\ud83d"}
    assert shown({"output": given}, Redactor()) == {"output": {"x": None, "cut": "\ufffd"}}
    rows = [{"id": "a", "name": "x", "type": "number", "value": ""}, {"id": "b", "name": "cut"}]
    document = workflow(block("Start", "start_trigger", {"inputFormat": rows}))
    refused = canvas.send("POST", "runs", {"document": document, "inputs": given})
    assert refused.status_code == 422
    given["x"] = 1
    run = canvas.send("POST", "runs", {"document": document, "inputs": given}).json()["id"]
    assert canvas.events(run)[-1]["status"] == "finished"


def test_a_waiting_block_says_where_to_look_and_what_it_cost(canvas):
    run = canvas.send("POST", "runs", {"document": canvas.load("first_run")}).json()["id"]
    waits = [e["progress"] for e in canvas.events(run) if "progress" in e]
    assert {wait["reason"] for wait in waits if wait["url"] is None} <= {"for the session"}
    assert waits[-1]["url"].startswith("https://")
    assert waits[-1]["acusConsumed"] > 0


def test_a_pause_is_answered_and_the_run_goes_on(canvas):
    done = block("Done", "response", {"dataMode": "json", "data": '{"ok": <ask.approved>}'})
    document = workflow(START, ASK, done)
    run = canvas.send("POST", "runs", {"document": document}).json()["id"]
    first = canvas.events(run)
    assert first[-1]["status"] == "paused"
    point = first[-1]["result"]["pausePoints"][0]
    assert canvas.send("POST", f"runs/{run}/answer", {"contextId": "nobody"}).status_code == 404
    answer = {"contextId": point["contextId"], "answer": {"approved": True}}
    assert canvas.send("POST", f"runs/{run}/answer", answer).status_code == 200
    rest = canvas.events(run, after=len(first))
    assert rest[-1]["result"]["output"]["data"] == {"ok": True}
    assert canvas.send("POST", f"runs/{run}/answer", answer).status_code == 409


def test_a_run_goes_on_from_a_block_with_what_an_earlier_one_left(canvas):
    document = canvas.load("first_run")
    earlier = canvas.send("POST", "runs", {"document": document}).json()["id"]
    canvas.events(earlier)
    last = list(document["state"]["blocks"])[-1]
    body = {"document": document, "fromBlock": last, "earlier": earlier}
    run = canvas.send("POST", "runs", body).json()["id"]
    names = [e["blockName"] for e in canvas.events(run) if e["event"] == "block.finished"]
    assert names == ["Done"]


def test_what_cannot_run_is_refused_before_anything_does(canvas):
    nothing = canvas.send("POST", "runs", {"document": workflow(block("A", "devin"))})
    assert nothing.status_code == 422
    assert "start block" in nothing.json()["error"]["message"]
    assert canvas.send("POST", "runs", {}).status_code == 422
    assert canvas.get("runs").json() == {"runs": []}
    assert canvas.get("runs/none").status_code == 404
    assert canvas.get("runs/none/events").status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"fromBlock": ["a"]},
        {"earlier": 5},
        {"stopAfter": {}},
        {"deadline": "soon"},
        *({"maxAcu": wrong} for wrong in (0, -1, "5", True, [])),
        *({"maxSessions": wrong} for wrong in (0, -1, "5", False, {})),
    ],
)
def test_a_start_that_makes_no_sense_is_refused(canvas, wrong):
    refused = canvas.send("POST", "runs", {"document": workflow(START), **wrong})
    assert refused.status_code == 422
    assert next(iter(wrong)) in refused.json()["error"]["message"]
    assert canvas.get("runs").json() == {"runs": []}


def test_a_paused_run_is_stopped(canvas):
    run = canvas.send("POST", "runs", {"document": workflow(START, ASK)}).json()["id"]
    canvas.events(run)
    assert canvas.send("POST", f"runs/{run}/stop").status_code == 200
    assert canvas.get(f"runs/{run}").json()["status"] == "cancelled"


def test_a_session_of_a_run_is_read_and_answered(canvas):
    create = {
        "operation": "create_session",
        "prompt": "Do it. [scenario: asks]",
        "apiKey": "{{DEVIN_API_KEY}}",
        "orgId": "{{DEVIN_ORG_ID}}",
    }
    wait = {
        "sessionId": "<create.sessionId>",
        "until": "settled",
        **{k: create[k] for k in ("apiKey", "orgId")},
    }
    document = workflow(START, block("Create", "devin", create), block("Wait", "devin_wait", wait))
    run = canvas.send("POST", "runs", {"document": document}).json()["id"]
    (asked,) = canvas.until(run, "asking")["waits"]
    assert canvas.get(f"runs/{run}").json()["status"] == "running"  # only the session stands still
    where = {"session": asked["session"], "block": "wait"}
    said = canvas.get(f"runs/{run}/messages", params=where).json()["messages"]
    assert any("branch" in json.dumps(message) for message in said)
    body = {**where, "message": "main"}
    assert canvas.send("POST", f"runs/{run}/messages", body).status_code == 200
    events = canvas.events(run)
    assert events[-1]["status"] == "finished"
    progress = [e["progress"] for e in events if e.get("block") == "wait" and "progress" in e]
    assert "blocked_on_user" in [look["outcome"] for look in progress]
    said = canvas.get(f"runs/{run}/messages", params=where).json()["messages"]
    assert [item["message"] for item in said if item["source"] == "user"][1:] == ["main"]


def test_problems_point_at_their_block_and_field(canvas):
    document = canvas.load("first_run")
    fields = document["state"]["blocks"][KEY]["subBlocks"]
    fields["prompt"]["value"] = ""
    fields["maxAcuLimit"]["value"] = "many"
    found = canvas.send("POST", "check", {"document": document}).json()["problems"]
    assert {(p["blockId"], p["field"]) for p in found} >= {(KEY, "prompt"), (KEY, "maxAcuLimit")}
    assert (
        canvas.send("POST", "check", {"document": canvas.load("first_run")}).json()["problems"]
        == []
    )


def test_no_secret_is_in_any_answer(canvas):
    document = canvas.load("first_run")
    fields = document["state"]["blocks"][KEY]["subBlocks"]
    fields["apiKey"]["value"] = "{{OTHER_KEY}}"
    fields["prompt"]["value"] = "My key is {{OTHER_KEY}}"
    fields["sessionSecrets"] = {"id": "sessionSecrets", "type": "code", "value": f"[{CANARY}]"}
    (canvas.folder / "mine.json").write_text(json.dumps(document, indent=2))
    seen = [canvas.send("PUT", "secrets/OTHER_KEY", {"value": CANARY}).text]
    read = canvas.get("workflows/mine")
    seen += [
        read.text,
        canvas.get("secrets").text,
        canvas.get("info").text,
        canvas.get("runs").text,
    ]
    sent = read.json()["document"]
    assert sent["state"]["blocks"][KEY]["subBlocks"]["sessionSecrets"]["value"] == {
        "$secret": "stored"
    }
    seen.append(canvas.send("POST", "check", {"document": sent, "workflow": "mine"}).text)
    started = canvas.send("POST", "runs", {"document": sent, "workflow": "mine"})
    seen.append(started.text)
    if started.is_success:
        run = started.json()["id"]
        seen += [json.dumps(event) for event in canvas.events(run)]
        seen += [canvas.get(f"runs/{run}/logs/{order}").text for order in range(1, 6)]
    assert CANARY not in "".join(seen)


def test_a_stored_secret_comes_back_when_the_page_writes(canvas):
    document = canvas.load("first_run")
    document["state"]["blocks"][KEY]["subBlocks"]["apiKey"]["value"] = CANARY
    unknown = block("Odd", "acme_thing", {"apiKey": CANARY, "other": "x"})
    document["state"]["blocks"]["odd"] = unknown
    (canvas.folder / "mine.json").write_text(json.dumps(document, indent=2))
    read = canvas.get("workflows/mine")
    sent = read.json()["document"]
    assert CANARY not in read.text
    sent["state"]["blocks"][KEY]["name"] = "Renamed"
    copy = json.loads(json.dumps(sent["state"]["blocks"][KEY]))
    sent["state"]["blocks"]["copy"] = {**copy, "id": "copy", "name": "Copy"}
    headers = {"if_match": read.headers["etag"]}
    assert canvas.send("PUT", "workflows/mine", {"document": sent}, **headers).is_success
    written = json.loads((canvas.folder / "mine.json").read_text())["state"]["blocks"]
    assert written[KEY]["subBlocks"]["apiKey"]["value"] == CANARY
    assert written["odd"]["subBlocks"]["apiKey"]["value"] == CANARY
    assert written["copy"]["subBlocks"]["apiKey"]["value"] is None


def test_secrets_are_written_listed_by_name_and_forgotten(canvas):
    assert canvas.send("PUT", "secrets/MY_KEY", {"value": CANARY}).json() == {"secrets": ["MY_KEY"]}
    assert canvas.send("PUT", "secrets/not-a-name", {"value": "x"}).status_code == 422
    assert canvas.send("PUT", "secrets/EMPTY", {"value": " "}).status_code == 422
    file = canvas.folder.parent / "private" / "secrets.json"
    assert file.stat().st_mode & 0o077 == 0
    assert canvas.send("DELETE", "secrets/MY_KEY").json() == {"secrets": []}


def test_the_palette_has_every_block_with_its_owner_form_and_outputs(canvas):
    blocks = {item["type"]: item for item in canvas.get("blocks").json()["blocks"]}
    devin = blocks["devin"]
    assert devin["owner"] == "devin"
    assert len(devin["operations"]) == 11
    assert devin["outputs"]["create_session"]["sessionId"]["type"] == ["string", "null"]
    prompt = next(field for field in devin["fields"] if field["id"] == "prompt")
    assert prompt["requiredFor"] == ["create_session"]
    assert devin["credentials"] == {"apiKey": "DEVIN_API_KEY", "orgId": "DEVIN_ORG_ID"}
    assert blocks["condition"]["operationField"] is None


@pytest.mark.parametrize(
    ("node", "original"),
    [
        ("a", "a"),
        ("a₍12₎", "a"),
        ("a__obranch-3", "a"),
        ("a__clone0123456789abcdef01234567__obranch-2", "a"),
        ("a__clone0123456789abcdef01234567__obranch-2₍1₎", "a"),
    ],
)
def test_nodes_of_branches_lead_to_their_block(node, original):
    assert original_id(node) == original
