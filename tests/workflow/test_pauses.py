import json

import pytest

from sim_devin.clock import ManualClock
from sim_devin.engine import engine
from sim_devin.engine.contract import handler
from sim_devin.errors import CallerError, InvalidWorkflow, UnknownName
from workflow.fakes import FakeServices, block, document, edge

START = block("start", "start_trigger", "Start")
FORM = [
    {"id": "1", "name": "approved", "type": "boolean", "value": "", "required": True},
    {"id": "2", "name": "comment", "type": "string", "value": "none"},
]


@handler(inline=True)
def echo(context):
    return {"text": context.values.get("text")}


def secretive(context):
    return {"key": context.values["apiKey"] == "typed-in-secret"}


def services(**options):
    return FakeServices({"echo": echo, "secretive": secretive}, **options)


def asks(block_id, name, **more):
    return block(block_id, "human_in_the_loop", name, inputFormat=FORM, **more)


SIMPLE = document(
    [
        START,
        asks("h", "Ask", builderData=[{"name": "what", "type": "string", "value": "<start.what>"}]),
        block("z", "echo", "Z", text="<ask.approved> <ask.comment> <ask.submission>"),
        block("e", "echo", "E"),
    ],
    [edge("start", "h"), edge("h", "z"), edge("h", "e", "error")],
)


def paused():
    return engine.run(SIMPLE, {"what": "a plan"}, services=services(), env={}, run_id="r1")


def test_a_person_is_asked_and_the_run_set_aside():
    result = paused()
    assert (result.success, result.status) == (True, "paused")
    [point] = result.pause_points
    assert (point["contextId"], point["pauseKind"]) == ("h", "human")
    assert result.output == point["response"]
    data = result.output["data"]
    assert data["responseStructure"] == [{"name": "what", "type": "string", "value": "a plan"}]
    assert [field["name"] for field in data["inputFormat"]] == ["approved", "comment"]
    assert "Z" not in [log.block_name for log in result.logs]


@pytest.mark.parametrize("stored", [False, True], ids=["result", "snapshot as JSON"])
@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"approved": True}, 'true none {"approved":true}'),
        ({"submission": {"approved": False}}, 'false none {"approved":false}'),
        ('{"comment": "no"}', ' no {"comment":"no"}'),
        ("just text", ' none {"value":"just text"}'),
        (None, " none {}"),
    ],
)
def test_an_answer_lets_the_run_go_on(answer, text, stored):
    result = paused()
    source = json.loads(json.dumps(result.snapshot)) if stored else result
    done = engine.resume(source, answer, services=services(), env={})
    assert (done.success, done.status, done.run_id) == (True, None, "r1")
    assert done.output == {"text": text}
    assert [log.block_name for log in done.logs] == ["Start", "Ask", "Z"]


def test_only_a_paused_run_can_be_answered():
    done = engine.resume(paused(), {}, services=services())
    with pytest.raises(CallerError, match="not paused"):
        engine.resume(done, {}, services=services())
    with pytest.raises(UnknownName):
        engine.resume(paused(), {}, services=services(), context_id="other")
    with pytest.raises(InvalidWorkflow):
        engine.resume({"version": 0}, {}, services=services())


def test_other_branches_go_on_and_several_pauses_are_answered_one_by_one():
    made = document(
        [
            START,
            asks("h1", "One"),
            asks("h2", "Two"),
            block("x", "echo", "X", text="meanwhile"),
            block("z", "echo", "Z", text="<one.comment><two.comment>"),
        ],
        [
            edge("start", "h1"),
            edge("start", "h2"),
            edge("start", "x"),
            edge("h1", "z"),
            edge("h2", "z"),
        ],
    )
    first = engine.run(made, services=services(), env={})
    assert first.output["pauseCount"] == 2
    assert first.block_outputs["x"] == {"text": "meanwhile"}
    second = engine.resume(first, {"comment": "b"}, services=services(), context_id="h2")
    assert [point["contextId"] for point in second.pause_points] == ["h1"]
    done = engine.resume(second, {"comment": "a"}, services=services())
    assert done.output == {"text": "ab"}


@pytest.mark.parametrize(
    ("kind", "contexts"), [("loop", ["h_loop0", "h_loop1"]), ("parallel", ["h₍0₎", "h₍1₎"])]
)
def test_each_pass_of_a_container_pauses(kind, contexts):
    made = document(
        [
            START,
            block("c", kind, "Box", container={"count": 2}),
            asks("h", "Ask", parent="c"),
            block("i", "echo", "I", parent="c", text="<ask.comment>"),
        ],
        [edge("start", "c"), edge("c", "h", f"{kind}-start-source"), edge("h", "i")],
    )
    result = engine.run(made, services=services(), env={})
    seen = []
    while result.status == "paused":
        seen.append(result.pause_points[0]["contextId"])
        snapshot = json.loads(json.dumps(result.snapshot))
        result = engine.resume(snapshot, {"comment": str(len(seen))}, services=services(), env={})
    assert seen == contexts
    each = [[item.get("text") for item in passed][-1] for passed in result.output["results"]]
    assert each == ["1", "2"]


def test_a_long_wait_sets_the_run_aside_until_a_moment():
    clock = ManualClock(0.0)
    made = document(
        [
            START,
            block("w", "wait", "W", timeValue="2", timeUnitLong="hours", **{"async": True}),
            block("z", "echo", "Z", text="<w.status>"),
        ],
        [edge("start", "w"), edge("w", "z")],
    )
    result = engine.run(made, services=services(clock=clock), env={})
    [point] = result.pause_points
    assert (point["pauseKind"], point["resumeAt"]) == ("time", "1970-01-01T02:00:00.000Z")
    done = engine.resume(result, services=services(clock=clock))
    assert done.output == {"text": "completed"}


def test_a_snapshot_holds_no_credential_and_the_same_process_still_goes_on():
    made = document(
        [
            START,
            block("s1", "secretive", "S1", apiKey="typed-in-secret"),
            asks("h", "Ask"),
            block("s2", "secretive", "S2", apiKey="typed-in-secret"),
        ],
        [edge("start", "s1"), edge("s1", "h"), edge("h", "s2")],
    )
    result = engine.run(made, services=services(), env={})
    text = json.dumps(result.snapshot)
    assert "typed-in-secret" not in text
    done = engine.resume(result, {}, services=services())
    assert done.output == {"key": True}
    bound = {"S1.apiKey": "typed-in-secret", "S2.apiKey": "typed-in-secret"}
    again = engine.resume(json.loads(text), {}, services=services(), env={}, bindings=bound)
    assert again.output == {"key": True}
