"""What the page is told of each execution of a block: its state, what it asks, how it ended."""

import itertools
import time

import pytest

pytest.importorskip("starlette", reason="the canvas needs the extra [canvas]")

from test_canvas_durable import ASK, START, block, workflow

from sim_devin.engine import events
from sim_devin.engine.events import Event
from sim_devin.engine.run import BlockLog
from sim_devin.redaction import Redactor
from sim_devin.runs.summary import Tally, verdict_of
from sim_devin.testing import offline_app
from sim_devin.web.executions import of_key, of_log
from sim_devin.web.run_feed import RunFeed

REGISTRY = offline_app().registry
CREDENTIALS = {"apiKey": "{{DEVIN_API_KEY}}", "orgId": "{{DEVIN_ORG_ID}}"}


def session(scenario="", *, name="", **waiting):
    """Return a block that creates a session, and one that waits for it."""
    prompt = f"Do it. [scenario: {scenario}]" if scenario else "Do it."
    create = block(
        f"Create{name}", "devin", operation="create_session", prompt=prompt, **CREDENTIALS
    )
    of = f"<create{name.lower()}.sessionId>"
    return create, block(f"Wait{name}", "devin_wait", sessionId=of, **CREDENTIALS, **waiting)


def around(kind, name, count, *blocks, parent=None):
    """Return a container with a chain of blocks in it, as what `document` takes."""
    data = {"count": count, **({"parentId": parent} if parent else {})}
    data |= {"loopType": "for"} if kind == "loop" else {"parallelType": "count"}
    container = {**block(name, kind), "data": data}
    return container, [
        {**item, "data": {**item.get("data", {}), "parentId": container["id"]}} for item in blocks
    ]


def document(container, blocks):
    """Return a workflow of a start, a container, and the chain inside it."""
    made = workflow(START, container)
    state = made["state"]
    state["blocks"] |= {item["id"]: item for item in blocks}
    ids = [container["id"], *(item["id"] for item in blocks)]
    for number, (source, target) in enumerate(itertools.pairwise(ids)):
        handle = f"{container['type']}-start-source" if number == 0 else "source"
        edge = {"id": f"in{number}", "source": source, "target": target, "sourceHandle": handle}
        state["edges"].append(edge)
    return made


@pytest.fixture
def canvas(store, simulator, serve):
    with offline_app(simulator=simulator, store=store) as app, serve(app) as served:
        yield served


def start(canvas, content, **options):
    return canvas.send("POST", "runs", {"document": content, **options}).json()["id"]


def asked(canvas, run):
    """Return execution -> the latest event of it, of those that ask something."""
    feed = canvas.api.runs.feed(run).feed
    latest = {}
    for event in feed._events:
        if event.get("execution"):
            latest[event["execution"]] = event
    return {key: event for key, event in latest.items() if event.get("ask")}


def until_asked(canvas, run, number):
    deadline = time.monotonic() + 20
    while len(found := asked(canvas, run)) != number:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


def answered(canvas, run, ask, text):
    body = {"contextId": ask["answerTo"], "answer": text, "question": ask.get("question")}
    return canvas.send("POST", f"runs/{run}/answer", body)


def test_each_of_eight_sessions_of_a_parallel_asks_and_is_answered_by_itself(canvas, simulator):
    run = start(canvas, document(*around("parallel", "Par", 8, *session("asks"))))
    found = until_asked(canvas, run, 8)
    places = [(event["passes"][0]["block"], event["passes"][0]["pass"]) for event in found.values()]
    assert sorted(places) == [("par", number) for number in range(1, 9)]
    assert {event["block"] for event in found.values()} == {"wait"}
    for number, event in enumerate(found.values()):
        assert event["ask"]["text"] == "Which branch should I target?"
        assert answered(canvas, run, event["ask"], f"branch-{number}").status_code == 200
        # The same question a second time, by somebody else.
        assert answered(canvas, run, event["ask"], "other").status_code == 409
    canvas.until(run, "done")
    by_session = {
        bare(item["session_id"]): [
            said["message"] for said in item["messages"] if said["source"] == "user"
        ][1:]
        for item in simulator.truth()
    }
    expected = {
        bare(event["ask"]["session"]): [f"branch-{number}"]
        for number, event in enumerate(found.values())
    }
    assert by_session == expected
    assert asked(canvas, run) == {}


def bare(session_id):
    return session_id.removeprefix("devin-")


def test_forms_of_a_loop_ask_one_after_the_other(canvas):
    run = start(canvas, document(*around("loop", "Loop", 3, ASK)))
    for number in range(1, 4):
        (event,) = until_asked(canvas, run, 1).values()
        while event["passes"][0]["pass"] != number:
            (event,) = until_asked(canvas, run, 1).values()
        ask = event["ask"]
        assert ask["point"]["answerTo"] == ask["answerTo"]
        assert answered(canvas, run, ask, {"approved": True}).status_code == 200
        assert answered(canvas, run, ask, {"approved": True}).status_code == 409
    canvas.until(run, "done")


def test_forms_of_a_parallel_in_a_loop_are_told_apart(canvas):
    loop, (par,) = around("loop", "Loop", 2, block("Par", "parallel"))
    _, blocks = around("parallel", "Par", 2, ASK)
    par["data"] |= {"parallelType": "count", "count": 2}
    content = document(loop, [par])
    inner = document(par, blocks)["state"]
    content["state"]["blocks"] |= {item["id"]: item for item in blocks}
    content["state"]["edges"] += [
        {**edge, "id": f"x{edge['id']}"} for edge in inner["edges"] if edge["source"] == "par"
    ]
    run = start(canvas, content)
    seen = []
    for _ in range(2):
        found = until_asked(canvas, run, 2)
        while any(event["execution"] in seen for event in found.values()):
            found = until_asked(canvas, run, 2)
        for event in found.values():
            seen.append(event["execution"])
            assert answered(canvas, run, event["ask"], {"approved": True}).status_code == 200
    canvas.until(run, "done")
    assert sorted(seen) == [f"loop.{p}/par.{b}/ask" for p in range(2) for b in range(2)]


def test_questions_of_child_runs_are_asked_on_the_block_of_their_parent(canvas, simulator):
    call = block("Call", "workflow", workflowId="kid")
    content = document(*around("parallel", "Par", 2, call))
    kid = workflow(START, *session("asks"))
    run = canvas.app.runs.start(content, children={"kid": kid}, on_question="hold")
    found = until_asked(canvas, run, 2)
    assert {(event["block"], event["blockName"]) for event in found.values()} == {("call", "Wait")}
    assert all(event["child"] for event in found.values())
    assert sorted(event["execution"] for event in found.values()) == [
        "par.0/call>wait",
        "par.1/call>wait",
    ]
    for number, event in enumerate(found.values()):
        assert answered(canvas, run, event["ask"], f"branch-{number}").status_code == 200
    canvas.until(run, "done")
    assert asked(canvas, run) == {}
    ends = [e for e in canvas.events(run) if e["event"] == "block.finished" and e.get("child")]
    assert {e["execution"] for e in ends} >= {"par.0/call>wait", "par.1/call>wait"}


def test_questions_are_the_same_for_a_server_that_did_not_start_the_run(
    canvas, store, simulator, serve
):
    run = start(canvas, document(*around("parallel", "Par", 3, *session("asks"))))
    before = until_asked(canvas, run, 3)
    with offline_app(simulator=simulator, store=store) as app, serve(app) as other:
        after = until_asked(other, run, 3)
    assert {key: event["ask"] for key, event in after.items()} == {
        key: event["ask"] for key, event in before.items()
    }


def test_the_command_line_answers_each_by_its_context(canvas, simulator):
    run = start(canvas, document(*around("parallel", "Par", 3, *session("asks"))))
    until_asked(canvas, run, 3)
    waits = canvas.app.runs.show(run)["waits"]
    contexts = [item["contextId"] for item in waits]
    assert len(set(contexts)) == 3
    for number, context in enumerate(contexts):
        canvas.app.runs.answer(run, f"branch-{number}", context_id=context)
    canvas.until(run, "done")
    said = {m["message"] for item in simulator.truth() for m in item["messages"]}
    assert {"branch-0", "branch-1", "branch-2"} <= said


# -- how sessions ended ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "state", "tone", "words"),
    [
        ("finish", "done", "good", "Done"),
        ("asks", "blocked_on_user", "attention", "Waits for an answer"),
        ("approval", "blocked_on_approval", "attention", "Waits for approval"),
        ("sleeps", "asleep", "attention", "Asleep"),
        ("out_of_credits", "out_of_money", "bad", "Out of money"),
        ("fails", "failed", "bad", "Session failed"),
    ],
)
def test_a_session_that_is_not_done_is_not_shown_as_done(canvas, scenario, state, tone, words):
    create, wait = session(scenario, onQuestion="return")
    run = start(canvas, workflow(START, create, wait))
    canvas.until(run, "done")
    events = canvas.events(run)
    (end,) = [e for e in events if e["event"] == "block.finished" and e.get("blockName") == "Wait"]
    assert (end["verdict"]["state"], end["verdict"]["tone"]) == (state, tone)
    assert end["verdict"]["words"] == words
    summary = events[-1]["summary"]
    (line,) = canvas.get("runs").json()["runs"]
    assert line["summary"] == summary
    if tone == "good":
        assert summary == {"tone": "", "words": ""}
    else:
        assert summary["tone"] == tone
        assert summary["words"].startswith("1 session not done: 1 ")


def test_a_session_that_is_read_says_how_it_is(canvas):
    create, wait = session("sleeps")
    get = block(
        "Get", "devin", operation="get_session", sessionId="<create.sessionId>", **CREDENTIALS
    )
    run = start(canvas, workflow(START, create, wait, get))
    canvas.until(run, "done")
    ends = {e["blockName"]: e for e in canvas.events(run) if e["event"] == "block.finished"}
    assert "verdict" not in ends["Create"]
    assert ends["Get"]["verdict"]["state"] == "asleep"


@pytest.mark.parametrize(
    ("status", "detail", "state"),
    [
        ("suspended", "out_of_credits", "out_of_money"),
        ("error", None, "failed"),
        ("suspended", "inactivity", None),
        ("running", "waiting_for_user", None),
        ("resuming", None, None),
    ],
)
def test_a_message_says_that_its_session_has_failed_not_that_it_slept(status, detail, state):
    log = {"blockType": "devin", "error": None, "input": {"operation": "send_message"}}
    verdict = verdict_of(
        REGISTRY, log, {"sessionId": "a", "status": status, "statusDetail": detail}
    )
    assert (None if verdict is None else verdict.state) == state


def test_sessions_of_an_agents_tools_count_for_it_and_for_the_run():
    def call(tool, session, **result):
        return {"name": f"devin_{tool}", "result": {"sessionId": session, **result}}

    calls = [
        call("create_session", "devin-a", status="new"),
        call("wait_for_session", "a", outcome="asleep", reason="it fell asleep"),
        call("get_session", "b", status="error"),
        call("get_session", "b", status="running", statusDetail="finished"),
        call("terminate_session", "c", status="exit"),
        {"name": "devin_get_session", "result": {"error": True}},
        "odd",
    ]
    log = {"blockType": "agent", "error": None}
    output = {"content": "All done.", "toolCalls": {"list": calls, "count": len(calls)}}
    assert verdict_of(REGISTRY, log, output).state == "asleep"
    tally = Tally(REGISTRY)
    tally.add("agent", log, output)
    assert tally.to_json() == {"blocks": 1, "sessions": {"asleep": 1, "done": 1}}
    assert verdict_of(REGISTRY, log, {**output, "toolCalls": None}) is None


def test_a_session_that_was_ended_on_purpose_is_no_trouble(canvas):
    create, _ = session("asks")
    end = block(
        "End", "devin", operation="terminate_session", sessionId="<create.sessionId>", **CREDENTIALS
    )
    run = start(canvas, workflow(START, create, end))
    canvas.until(run, "done")
    ends = {e["blockName"]: e for e in canvas.events(run) if e["event"] == "block.finished"}
    assert "verdict" not in ends["End"]


def test_a_wait_whose_time_ran_out_is_not_shown_as_done(canvas):
    create, wait = session("", timeoutSeconds="5")
    run = start(canvas, workflow(START, create, wait))
    canvas.until(run, "done")
    events = canvas.events(run)
    (end,) = [e for e in events if e["event"] == "block.finished" and e.get("blockName") == "Wait"]
    assert end["verdict"]["tone"] == "attention"
    assert end["verdict"]["words"] == "Still working when the time ran out"
    assert events[-1]["summary"]["words"] == "1 session still working"


def test_the_last_word_on_a_session_counts_for_the_run(canvas):
    create, wait = session("sleeps")
    wake = block(
        "Wake",
        "devin",
        operation="send_message",
        sessionId="<create.sessionId>",
        message="Go on.",
        **CREDENTIALS,
    )
    again = block("Again", "devin_wait", sessionId="<create.sessionId>", **CREDENTIALS)
    run = start(canvas, workflow(START, create, wait, wake, again))
    canvas.until(run, "done")
    assert canvas.events(run)[-1]["summary"] == {"tone": "", "words": ""}


def test_sessions_in_child_runs_count_for_the_run(canvas):
    content = workflow(START, block("Call", "workflow", workflowId="kid"))
    kid = workflow(START, *session("sleeps"))
    run = canvas.app.runs.start(content, children={"kid": kid})
    canvas.until(run, "done")
    (line,) = canvas.get("runs").json()["runs"]
    assert line["summary"]["words"] == "1 session not done: 1 asleep"


# -- runs in which nothing happened ----------------------------------------------------------------


OFF = {**block("Off", "function", code="return 1"), "enabled": False}
APART = block("Apart", "function", code="return 1")


@pytest.mark.parametrize("content", [workflow(START), workflow(START, OFF)])
def test_a_run_in_which_nothing_ran_says_so(canvas, content):
    run = start(canvas, content)
    canvas.until(run, "done")
    summary = canvas.events(run)[-1]["summary"]
    assert summary["tone"] == "attention"
    assert summary["words"].startswith("Nothing ran")
    (line,) = canvas.get("runs").json()["runs"]
    assert line["summary"] == summary


def test_what_cannot_be_reached_does_not_count_as_having_run(canvas):
    content = workflow(START)
    content["state"]["blocks"]["apart"] = APART
    run = start(canvas, content)
    canvas.until(run, "done")
    assert canvas.events(run)[-1]["summary"]["words"].startswith("Nothing ran")


def test_a_run_in_which_something_ran_says_nothing_of_it(canvas):
    run = start(canvas, workflow(START, APART))
    canvas.until(run, "done")
    assert canvas.events(run)[-1]["summary"] == {"tone": "", "words": ""}


# -- the end ---------------------------------------------------------------------------------------


def test_a_stop_ends_every_question(canvas):
    run = start(canvas, document(*around("parallel", "Par", 3, *session("asks"))))
    until_asked(canvas, run, 3)
    assert canvas.send("POST", f"runs/{run}/stop").json()["status"] == "cancelled"
    assert canvas.app.runs.store.waits(run, only_open=True) == []
    assert canvas.events(run)[-1]["status"] == "cancelled"
    left = canvas.get(f"runs/{run}/sessions").json()["sessions"]
    assert [item["goesOn"] for item in left] == [True] * 3


def test_an_execution_has_one_key_however_it_is_known():
    log = {
        "blockId": "ask__clone0123456789abcdef01234567__obranch-1₍1₎",
        "parallelId": "par__obranch-1",
        "iterationIndex": 1,
        "parentIterations": [{"iterationContainerId": "loop a/b", "iterationCurrent": 2}],
    }
    assert of_log(log).key == of_key("loop%20a%2Fb.2/par.1/ask#3").key
    assert of_key("a.1/b#1>c.0/d#2").to_json() == {
        "execution": "a.1/b>c.0/d",
        "block": "b",
        "passes": [{"block": "a", "pass": 2}],
        "child": True,
    }


def test_a_start_that_is_heard_late_takes_no_question_away(canvas, store):
    run = start(canvas, workflow(START, ASK))
    until_asked(canvas, run, 1)
    feed = RunFeed(run, store, Redactor([]))
    feed.look(1.0)
    log = BlockLog("ask", "Ask", "human_in_the_loop", 2, 0.0, Redactor([]))
    feed.hear(Event(events.BLOCK_STARTED, run, 1.0, log))
    told = [event["event"] for event in feed.feed._events if event.get("block") == "ask"]
    assert told == ["block.waiting"]
