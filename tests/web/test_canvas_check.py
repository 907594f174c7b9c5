"""A check says of every document that can be read what is wrong with it, and never fails."""

import json

import pytest

pytest.importorskip("starlette", reason="the canvas needs the extra [canvas]")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim_devin.engine.start import START_TYPES
from tests.lanes import examples

TYPES = [
    *START_TYPES,
    "devin",
    "devin_wait",
    "condition",
    "router_v2",
    "function",
    "agent",
    "evaluator",
    "api",
    "variables",
    "response",
    "human_in_the_loop",
    "wait",
    "workflow",
    "loop",
    "parallel",
    "note",
    "nobody_knows_this",
    "",
]
IDS = ["a", "b", "c", "a₍0₎", "loop", "__proto__", "", "é\ud800"]
FIELDS = [
    "operation",
    "prompt",
    "sessionId",
    "conditions",
    "routes",
    "code",
    "language",
    "inputFormat",
    "variables",
    "apiKey",
    "orgId",
    "structuredOutputSchema",
    "maxAcuLimit",
    "tags",
    "data",
    "workflowId",
    "tools",
    "timeoutSeconds",
]
TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            "create_session",
            "<a.b>",
            "<loop.index>",
            "{{NAME}}",
            "<",
            "[{",
            '[{"id": null, "title": 1, "value": {}}]',
            '{"$ref": "#"}',
            "\ud800",
            "\x00",
            "1e999",
        ]
    ),
    st.text(max_size=12),
)
KEYS = st.one_of(st.sampled_from([*FIELDS, "id", "value", "$secret"]), TEXTS)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(min_value=10**300, max_value=10**310),
        st.floats(),
        TEXTS,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.sampled_from([*FIELDS, "id", "value", "$secret"]), TEXTS),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


def maybe(strategy):
    """What is right most of the time, and anything else the rest."""
    return st.one_of(strategy, strategy, strategy, VALUES)


SUB_BLOCKS = st.dictionaries(
    st.sampled_from(FIELDS),
    maybe(
        st.fixed_dictionaries(
            {"id": maybe(st.sampled_from(FIELDS)), "type": maybe(TEXTS), "value": VALUES}
        )
    ),
    max_size=4,
)
DATA = st.fixed_dictionaries(
    {},
    optional={
        "parentId": maybe(st.sampled_from(IDS)),
        "count": VALUES,
        "collection": VALUES,
        "loopType": maybe(st.sampled_from(["for", "forEach", "while", "doWhile"])),
        "parallelType": maybe(st.sampled_from(["count", "collection"])),
        "whileCondition": VALUES,
        "batchSize": VALUES,
    },
)
BLOCK = st.fixed_dictionaries(
    {
        "id": maybe(st.sampled_from(IDS)),
        "type": maybe(st.sampled_from(TYPES)),
        "position": maybe(st.just({"x": 0, "y": 0})),
        "subBlocks": maybe(SUB_BLOCKS),
    },
    optional={
        "name": maybe(st.sampled_from(["Loop", "A", "a", "variable", ""])),
        "data": maybe(DATA),
        "enabled": maybe(st.booleans()),
        "retry": VALUES,
        "triggerMode": VALUES,
        "advancedMode": VALUES,
        "outputs": VALUES,
    },
)
EDGE = st.fixed_dictionaries(
    {
        "id": maybe(st.just("e")),
        "source": maybe(st.sampled_from(IDS)),
        "target": maybe(st.sampled_from(IDS)),
    },
    optional={
        "sourceHandle": maybe(
            st.sampled_from(["source", "error", "condition-x", "loop-start-source", "router-"])
        )
    },
)
STATE = st.fixed_dictionaries(
    {
        "blocks": maybe(st.dictionaries(st.sampled_from(IDS), maybe(BLOCK), max_size=5)),
        "edges": maybe(st.lists(maybe(EDGE), max_size=6)),
    },
    optional={
        "loops": maybe(st.dictionaries(st.sampled_from(IDS), VALUES, max_size=2)),
        "parallels": maybe(st.dictionaries(st.sampled_from(IDS), VALUES, max_size=2)),
        "variables": VALUES,
        "metadata": VALUES,
    },
)
DOCUMENTS = st.one_of(
    STATE,
    st.fixed_dictionaries({"state": maybe(STATE), "version": VALUES}),
    st.fixed_dictionaries({"data": st.fixed_dictionaries({"state": STATE})}),
    st.dictionaries(TEXTS, VALUES, max_size=4),
)


def checked(canvas, document, **more):
    """Return the problems of a document, its numbers that are none sent as JavaScript does."""
    answer = canvas.send("POST", "check", {"document": plain(document), **more}, key=None)
    assert answer.status_code == 200, answer.text
    return answer.json()["problems"]


def plain(value):
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


@settings(
    max_examples=examples(300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(document=DOCUMENTS)
def test_every_document_is_checked(canvas, document):
    for problem in checked(canvas, document):
        assert problem["problem"]
        assert problem["level"] in ("error", "warning")


@pytest.mark.parametrize("depth", [10, 90, 200, 900, 5000])
def test_a_deeply_nested_document_is_checked_or_said_to_be_so(canvas, depth):
    value = '{"value": ' * depth + "1" + "}" * depth
    content = (
        '{"document": {"edges": [], "blocks": {"a": {"id": "a", "type": "start_trigger", '
        '"position": {"x": 0, "y": 0}, "subBlocks": {"f": {"id": "f", "type": "code", '
        '"value": VALUE}}}}}}'
    ).replace("VALUE", value)
    answer = canvas.client.post(
        "/api/check", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 200
    told = [problem["problem"] for problem in answer.json()["problems"]]
    assert any("nested too deeply" in text for text in told) == (depth > 100)


def test_a_chain_of_containers_is_checked(canvas):
    blocks = {
        f"c{n}": {
            "id": f"c{n}",
            "type": "loop",
            "position": {"x": 0, "y": 0},
            "data": {"parentId": f"c{n + 1}"},
        }
        for n in range(600)
    }
    checked(canvas, {"blocks": blocks, "edges": []})
    blocks["c599"]["data"]["parentId"] = "c0"
    problems = checked(canvas, {"blocks": blocks, "edges": []})
    assert "its containers contain each other" in problems[0]["problem"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 5000])
def test_a_number_that_json_has_none_of_is_no_failure_of_the_server(canvas, number):
    content = (
        '{"document": {"blocks": {"a": {"id": "a", "type": "loop", "position": {"x": NUMBER, '
        '"y": 0}, "data": {"count": NUMBER}}}, "edges": [], "variables": NUMBER}}'
    ).replace("NUMBER", number)
    answer = canvas.client.post(
        "/api/check", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == (422 if "n" in number.lower() else 200), answer.text
    assert json.loads(answer.text, parse_constant=pytest.fail)


@pytest.mark.parametrize(("session", "problems"), [("devin-abc", 0), ("\ud800", 0), ("", 1)])
def test_values_of_a_tool_that_is_no_single_request_are_checked(canvas, session, problems):
    start, waiter = (
        {"id": name, "type": kind, "name": name, "position": {"x": 0, "y": 0}, "enabled": True}
        for name, kind in (("start", "start_trigger"), ("waiter", "devin_wait"))
    )
    fields = {
        "sessionId": session,
        "timeoutSeconds": "60",
        "apiKey": "{{DEVIN_API_KEY}}",
        "orgId": "{{DEVIN_ORG_ID}}",
    }
    waiter["subBlocks"] = {name: {"id": name, "value": value} for name, value in fields.items()}
    edge = {"id": "e", "source": "start", "target": "waiter"}
    document = {"blocks": {"start": start, "waiter": waiter}, "edges": [edge]}
    assert len(checked(canvas, document)) == problems
    waiter["subBlocks"]["timeoutSeconds"]["value"] = "-3"
    assert len(checked(canvas, document)) == problems + 1


@pytest.mark.parametrize("operation", [{}, {"a": 1}, [], ["create_session"], 5, True, "nothing"])
def test_a_reference_to_a_block_of_an_odd_operation_is_checked(canvas, operation):
    def block(name, kind, **fields):
        values = {field: {"id": field, "value": value} for field, value in fields.items()}
        place = {"x": 0, "y": 0}
        head = {"id": name, "type": kind, "name": name, "position": place, "enabled": True}
        return {**head, "subBlocks": values}

    blocks = {
        "start": block("start", "start_trigger"),
        "devin": block("devin", "devin", operation=operation, prompt="Do it"),
        "after": block("after", "function", code="return <devin.sessionId>"),
    }
    edges = [
        {"id": "a", "source": "start", "target": "devin"},
        {"id": "b", "source": "devin", "target": "after"},
    ]
    checked(canvas, {"blocks": blocks, "edges": edges})


def test_a_plugin_that_fails_over_a_value_fails_no_check(canvas, monkeypatch):
    def fails(*_args, **_options):
        raise ZeroDivisionError

    monkeypatch.setattr(canvas.app, "build_request", fails)
    assert checked(canvas, canvas.load("first_run")) == []


@pytest.mark.parametrize("document", [None, [], "text", 1, True])
def test_what_is_no_document_is_named(canvas, document):
    (problem,) = checked(canvas, document)
    assert "JSON object" in problem["problem"]


@pytest.mark.parametrize("workflow", [None, 3, [], {}, "../../etc/passwd", "\ud800", "x" * 5000])
def test_the_name_of_the_file_does_not_matter(canvas, workflow):
    assert checked(canvas, canvas.load("first_run"), workflow=workflow) == []
