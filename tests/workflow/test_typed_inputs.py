"""Inputs of runs and answers to forms have the types that their fields declare, everywhere."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sim_devin
from sim_devin.engine.references import MISSING
from sim_devin.engine.typed_inputs import read_answer, read_inputs, typed_value
from sim_devin.errors import InvalidParams
from sim_devin.runs.starting import RunRequest
from sim_devin.service.starts import start_once, warn_of
from workflow.fakes import block, document, edge

FIELDS = [
    {"name": "task", "type": "string", "required": True},
    {"name": "ok", "type": "boolean"},
    {"name": "count", "type": "number", "value": "3"},
    {"name": "labels", "type": "array"},
    {"name": "about", "type": "object"},
    {"name": "log", "type": "file[]"},
    {"name": "any"},
]


@pytest.mark.parametrize(
    ("kind", "written", "expected"),
    [
        ("boolean", "no", False),
        ("boolean", " YES ", True),
        ("boolean", 0, False),
        ("boolean", "perhaps", MISSING),
        ("boolean", 2, MISSING),
        ("number", "4", 4),
        ("number", "4.5", 4.5),
        ("number", 4.0, 4),
        ("number", "four", MISSING),
        ("number", True, MISSING),
        ("number", [1], MISSING),
        ("array", '["a", 1]', ["a", 1]),
        ("array", "a, b,", ["a", "b"]),
        ("array", "[a", MISSING),
        ("array", '{"a": 1}', MISSING),
        ("array", 5, MISSING),
        ("object", '{"a": 1}', {"a": 1}),
        ("object", "a", MISSING),
        ("object", [], MISSING),
        ("string", 5, "5"),
        ("string", {"a": 1}, '{"a":1}'),
        ("file[]", '[{"name": "a.txt", "url": "https://acme.example/a"}]', None),
        ("files", {"name": "a.txt"}, [{"name": "a.txt"}]),
        ("file[]", "a.txt", MISSING),
        ("file[]", [{"url": "x"}], MISSING),
        ("json", "anything", "anything"),
    ],
)
def test_a_value_is_read_as_the_type_of_its_field(kind, written, expected):
    found = typed_value(kind, written)
    if expected is None:
        expected = json.loads(written)
    assert found == expected
    assert isinstance(found, bool) == isinstance(expected, bool)


def test_what_is_wrong_is_told_all_at_once_with_what_would_be_right():
    answer = {"tsk": "x", "ok": "perhaps", "count": "many"}
    with pytest.raises(InvalidParams) as refused:
        read_answer(FIELDS, answer, place="Ask")
    assert refused.value.problems == [
        "task: is required; pass text",
        "ok: got 'perhaps'; pass true or false",
        "count: got 'many'; pass a number",
        "'tsk': is not one of its fields. Did you mean 'task'?",
    ]
    assert "labels (a list)" in refused.value.hint


def test_a_field_left_blank_keeps_its_default():
    read = read_inputs(FIELDS, {"task": "x", "count": "", "ok": None}, place="Start")
    assert read == {"task": "x", "ok": None}


def test_a_text_is_the_value_of_a_form_that_requires_nothing():
    assert read_answer(FIELDS[1:], "go on", place="Ask") == "go on"
    assert read_answer([], "go on", place="Ask") == "go on"
    assert read_answer(FIELDS, '{"task": "x", "ok": "no"}', place="Ask") == {
        "task": "x",
        "ok": False,
    }
    whole = {"ok": True, "because": "it is right"}
    assert read_answer(FIELDS[1:2], whole, place="Ask") == whole
    with pytest.raises(InvalidParams, match="'because'"):
        read_answer(FIELDS[1:3], whole, place="Ask")
    with pytest.raises(InvalidParams, match="task: is required"):
        read_answer(FIELDS, "go on", place="Ask")


@given(
    st.dictionaries(
        st.sampled_from([field["name"] for field in FIELDS]),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=9),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.text(max_size=3), inner, max_size=2)
            ),
            max_leaves=4,
        ),
    )
)
def test_reading_what_was_read_changes_nothing(answer):
    try:
        read = read_answer(FIELDS, answer, place="Ask")
    except InvalidParams:
        return
    assert read_answer(FIELDS, read, place="Ask") == read


# -- runs ----------------------------------------------------------------------------------------


@pytest.fixture
def app():
    with sim_devin.open_app(simulate=True, discover=False, store="memory", env={}) as opened:
        yield opened


def flow(fields=FIELDS, data="<start.ok>"):
    ask = block(
        "ask",
        "human_in_the_loop",
        "Ask",
        inputFormat=[{"name": "ok", "type": "boolean", "required": True}],
    )
    done = block("done", "response", "Done", dataMode="json", data=f'{{"a": {data}}}')
    blocks = [block("start", "start_trigger", "Start", inputFormat=fields), ask, done]
    return document(blocks, [edge("start", "ask"), edge("ask", "done")])


@pytest.mark.parametrize(
    "inputs",
    [{"tsk": "x"}, {"task": "x", "ok": "perhaps"}, {"task": "x", "extra": 1}, {}, {"task": " "}],
    ids=json.dumps,
)
def test_inputs_that_do_not_fit_the_start_block_start_nothing(app, inputs):
    with pytest.raises(InvalidParams, match="Start: "):
        app.runs.start(flow(), inputs)
    assert app.runs.list() == []


def test_an_input_that_something_reads_need_not_be_declared(app):
    assert app.runs.start(flow(data="<start.extra>"), {"task": "x", "extra": 1})
    assert app.runs.start(flow(data="<start>"), {"task": "x", "extra": 1})
    assert app.runs.start(flow(fields=[]), {"extra": 1})


def test_what_another_service_delivers_may_hold_more_than_is_declared(app, tmp_path):
    file = tmp_path / "flow.json"
    file.write_text(json.dumps(flow()))
    delivery = {"task": "x", "ok": "no", "sender": {"login": "a"}}
    assert start_once(app, file, delivery, "hook-1", delivered=True)
    assert app.runs.store.run("hook-1").inputs == {**delivery, "ok": False}
    with pytest.raises(InvalidParams, match="ok: got 'perhaps'"):
        start_once(app, file, {"task": "x", "ok": "perhaps"}, "hook-2", delivered=True)
    with pytest.raises(InvalidParams, match="'sender'"):
        start_once(app, file, delivery, "schedule-1")


def test_a_no_is_false_from_the_start_to_the_answer(app):
    run_id = app.runs.start(
        RunRequest(workflow=flow(data="[<start.ok>, <ask.ok>]"), inputs={"task": "x", "ok": "no"})
    )
    app.runs.follow(run_id)
    for wrong in ({"ok": "perhaps"}, {"okay": True}, {}, "yes please"):
        with pytest.raises(InvalidParams, match="Ask: "):
            app.runs.answer(run_id, wrong)
        assert app.runs.show(run_id)["state"] == "asking"
    app.runs.answer(run_id, {"ok": "no"})
    assert app.runs.follow(run_id).output["data"] == {"a": [False, False]}


def test_a_default_answer_that_does_not_fit_fails_the_block_and_says_so():
    clock = sim_devin.clock.ManualClock()
    with sim_devin.open_app(
        clock=clock, discover=False, store="memory", env={}, credentials={"apiKey": "k"}
    ) as app:
        run_id = app.runs.start(
            flow(), {"task": "x"}, answer_within=60, default_answer={"ok": "perhaps"}
        )
        app.runs.follow(run_id)
        clock.advance(61)
        app.runs.work(once=True)
        assert "ok: got 'perhaps'" in app.runs.show(run_id)["error"]


@pytest.mark.parametrize(
    ("fields", "inputs", "told"),
    [
        (FIELDS, {"tsk": "x"}, "'tsk'"),
        (FIELDS, None, None),
        ([], {"anything": 1}, None),
    ],
)
def test_a_worker_tells_at_its_start_what_would_be_refused(
    app, tmp_path, caplog, fields, inputs, told
):
    file = tmp_path / "flow.json"
    file.write_text(json.dumps(flow(fields=fields, data="1")))
    warn_of(app, "schedule nightly", file, inputs)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == bool(told)
    assert told is None or ("schedule nightly" in messages[0] and told in messages[0])


def test_a_worker_tells_of_a_workflow_that_cannot_work(app, tmp_path, caplog):
    file = tmp_path / "flow.json"
    made = flow()
    made["state"]["blocks"]["bad"] = block("bad", "wait", "Bad", timeValue="soon")
    made["state"]["edges"].append(edge("start", "bad"))
    file.write_text(json.dumps(made))
    warn_of(app, "hook deploy", file, None)
    [record] = caplog.records
    assert "hook deploy: flow.json would be refused" in record.getMessage()
    assert "Bad.timeValue" in record.getMessage()
