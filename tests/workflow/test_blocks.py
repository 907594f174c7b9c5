"""Sim's own blocks, one by one."""

import json

import pytest

from sim_devin.calls.response import Response
from sim_devin.clock import ManualClock
from sim_devin.code import javascript
from sim_devin.engine import engine
from sim_devin.errors import InvalidWorkflow, NotFound, NotSent
from workflow.fakes import FakeServices, block, document, edge

needs_engine = pytest.mark.skipif(not javascript.available(), reason="needs the extra [js]")


class Answers:
    """A transport with answers in order."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def send(self, request, *, timeout):
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Model:
    def __init__(self, *replies):
        self.replies = list(replies)
        self.asked = []

    def complete(self, messages, *, model, tools, response_format):
        self.asked.append((messages, model, tools, response_format))
        return self.replies.pop(0)


def run(the_block, inputs=None, *, then=(), edges=(), variables=None, **services):
    made = document(
        [block("start", "start_trigger", "Start"), the_block, *then],
        [edge("start", the_block["id"]), *edges],
        variables=variables,
    )
    return engine.run(made, inputs, services=FakeServices(**services), env={"REGION": "eu"})


# -- start ---------------------------------------------------------------------------------------


def start(kind, fields, inputs, trigger="manual"):
    made = document([block("s", kind, "S", inputFormat=fields)], [])
    result = engine.run(made, inputs, services=FakeServices(), env={}, trigger=trigger)
    return result.block_outputs["s"]


@pytest.mark.parametrize(
    ("kind", "value", "output"),
    [
        ("string", 5, "5"),
        ("number", "42", 42),
        ("number", "abc", "abc"),
        ("number", "", 0),
        ("boolean", "1", True),
        ("boolean", "maybe", "maybe"),
        ("object", '{"k": 1}', {"k": 1}),
        ("array", "[1", "[1"),
    ],
)
def test_fields_of_the_start_are_typed(kind, value, output):
    field = {"name": "f", "type": kind, "value": value}
    assert start("start_trigger", [field], {}) == {"f": output}


@pytest.mark.parametrize(
    ("kind", "inputs", "trigger", "output"),
    [
        ("start_trigger", {"f": "given", "more": 1}, "manual", {"f": "given", "more": 1}),
        (
            "start_trigger",
            {"input": {"f": "inner"}},
            "api",
            {"f": "inner", "input": {"f": "inner"}},
        ),
        ("start_trigger", {"f": None, "input": ""}, "manual", {"f": "default"}),
        ("api_trigger", {"f": "x"}, "api", {"f": "x", "input": {"f": "x"}}),
        ("starter", {"f": "x"}, "manual", {"f": "x", "input": {"f": "x"}}),
        ("chat_trigger", {"input": "hi", "x": 1}, "chat", {"input": "hi"}),
        ("webhook", {"body": 1}, "webhook", {"f": "default", "body": 1}),
    ],
)
def test_what_each_start_puts_out(kind, inputs, trigger, output):
    fields = [{"name": "f", "type": "string", "value": "default"}]
    assert start(kind, fields, inputs, trigger) == output


@pytest.mark.parametrize("name", ["error", "selectedRoute", "selectedOption", "_pauseMetadata"])
def test_reserved_names_are_refused(name):
    with pytest.raises(InvalidWorkflow, match="reserved"):
        start("start_trigger", [{"name": name, "type": "string"}], {})
    with pytest.raises(InvalidWorkflow, match="reserved"):
        start("start_trigger", [], {name: 1})


# -- condition and function ----------------------------------------------------------------------


def rows(*pairs):
    return json.dumps(
        [
            {"id": f"c{at}", "title": title, "value": value}
            for at, (title, value) in enumerate(pairs)
        ]
    )


@needs_engine
@pytest.mark.parametrize(
    ("pairs", "chosen"),
    [
        ([("if", "<start.n> > 3"), ("else", "")], "c0"),
        ([("if", "<start.n> > 9"), ("else if", "<start.s> === 'it\\'s'"), ("else", "")], "c1"),
        ([("if", "'{{REGION}}' === 'eu' && {{REGION}} === 'eu'")], "c0"),
        ([("if", ""), ("Else ", ""), ("else if", "this is not read")], "c1"),
        ([("if", "context.n === 5")], "c0"),
        ([("if", "false")], None),
    ],
)
def test_the_first_row_that_holds_is_chosen(pairs, chosen):
    result = run(block("c", "condition", "C", conditions=rows(*pairs)), {"n": 5, "s": "it's"})
    output = result.block_outputs["c"]
    assert output["selectedOption"] == chosen
    assert output["conditionResult"] == (chosen is not None)
    assert output["n"] == 5


@needs_engine
@pytest.mark.parametrize("value", ["nope.x", "(", "null.x"])
def test_an_expression_that_fails_says_which(value):
    result = run(block("c", "condition", "C", conditions=rows(("else if", value))))
    assert result.error.startswith('C: Evaluation error in condition "else if": ')


@needs_engine
@pytest.mark.parametrize("value", ["x' || true || '", 'x" || true || "', "x`${1}", "x\n*/"])
@pytest.mark.parametrize(
    "written", ["<start.s> === 'y'", '"<start.s>" === "y"', "`<start.s>` === 'y'"]
)
def test_data_cannot_become_part_of_an_expression(value, written):
    result = run(block("c", "condition", "C", conditions=rows(("if", written))), {"s": value})
    assert result.success
    assert result.block_outputs["c"]["conditionResult"] is False


@needs_engine
@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("return <start.o>.k + 1", 2),
        ("return [<start.n>, <start.conversationId>]", [5, None]),
        ("return `v=<start.s>`", 'v="it\'s"'),
        ("return '<start.s>'", '"it\'s"'),
        ("return typeof {{REGION}} + '{{REGION}}'", "stringeu"),
        ("// <start.s>\nreturn 1", 1),
        ("return <variable.v> + 1", 8),
        ("return <start.n> < 6 && 2 > 1", True),
    ],
)
def test_references_in_code(code, value):
    variables = {"v": {"id": "v", "name": "V", "type": "number", "value": "7"}}
    fields = {"o": {"k": 1}, "n": 5, "s": "it's"}
    result = run(block("f", "function", "F", code=code), fields, variables=variables)
    assert result.error is None
    assert result.output["result"] == value


@needs_engine
def test_code_that_throws_fails_its_block_at_its_line():
    result = run(block("f", "function", "F", code="const a = 1\nthrow new Error('no')"))
    assert "Line 2" in result.error
    assert "no" in result.error


@needs_engine
def test_an_unknown_variable_in_code_is_an_error():
    result = run(block("f", "function", "F", code="return <variable.nope>"))
    assert 'Variable "nope" doesn\'t exist' in result.error


def test_python_needs_a_flag():
    made = block("f", "function", "F", language="python", code="return 1")
    assert "not allowed" in run(made).error


def test_python_runs_where_it_is_allowed():
    services = FakeServices()
    services.allows_python = True
    made = block("f", "function", "F", language="python", code="return <start.n> + 1")
    document_ = document([block("start", "start_trigger", "Start"), made], [edge("start", "f")])
    result = engine.run(document_, {"n": 2}, services=services, env={})
    assert result.output["result"] == 3


# -- response, variables, wait -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "output"),
    [
        ({"dataMode": "json", "data": '{"a": 1}'}, {"a": 1}),
        ({"dataMode": "json", "data": "{a"}, "{a"),
        ({"dataMode": "json", "data": None}, {}),
        (
            {
                "dataMode": "structured",
                "builderData": [
                    {"name": "n", "type": "number", "value": "7"},
                    {"name": "t", "type": "string", "value": "true"},
                    {"name": "", "type": "string", "value": "dropped"},
                    {
                        "name": "o",
                        "type": "object",
                        "value": [{"name": "k", "type": "string", "value": "v"}],
                    },
                ],
            },
            {"n": 7, "t": True, "o": {"k": "v"}},
        ),
    ],
)
def test_response_data(values, output):
    assert run(block("r", "response", "R", **values)).output["data"] == output


@pytest.mark.parametrize(
    ("status", "code"), [("201", 201), ("7", 200), ("x", 200), (None, 200), (404, 404)]
)
def test_response_status(status, code):
    made = block("r", "response", "R", dataMode="json", data="{}", status=status)
    assert run(made).output["status"] == code


def test_response_headers():
    table = [
        {"cells": {"Key": "X-Id", "Value": "<start.n>"}},
        {"cells": {"Key": "", "Value": "no"}},
    ]
    made = block("r", "response", "R", dataMode="json", data="{}", headers=table)
    assert run(made, {"n": 3}).output["headers"] == {
        "Content-Type": "application/json",
        "X-Id": "3",
    }


VARIABLES = {
    "v1": {"id": "v1", "name": "count", "type": "number", "value": "1"},
    "v2": {"id": "v2", "name": "list", "type": "array", "value": "not a list"},
}


@pytest.mark.parametrize(
    ("row", "value"),
    [
        (
            {"variableId": "v1", "variableName": "old", "type": "number", "value": "<start.n>"},
            {"count": 5},
        ),
        ({"variableName": "count", "type": "number", "value": " "}, {"count": 0}),
        ({"variableName": "list", "type": "array", "value": "[1]"}, {"list": [1]}),
        ({"variableName": "ghost", "type": "string", "value": "x"}, {"ghost": "x"}),
    ],
)
def test_variables_are_set_by_id_or_name(row, value):
    result = run(block("v", "variables", "V", variables=[row]), {"n": 5}, variables=VARIABLES)
    assert result.output == value
    expected = {"count": 1, "list": []} | {k: v for k, v in value.items() if k != "ghost"}
    assert result.variables == expected


@pytest.mark.parametrize(
    ("kind", "value"), [("number", "abc"), ("boolean", "yes"), ("object", "[1]"), ("array", "{")]
)
def test_a_value_that_is_not_of_its_type_fails_the_block(kind, value):
    row = {"variableName": "count", "type": kind, "value": value}
    result = run(block("v", "variables", "V", variables=[row]), variables=VARIABLES)
    assert "Variables block execution failed" in result.error


@pytest.mark.parametrize(
    ("values", "seconds"),
    [({"timeValue": "5"}, 5), ({"timeValue": "2", "timeUnit": "minutes"}, 120), ({}, 10)],
)
def test_wait_waits(values, seconds):
    clock = ManualClock(0.0)
    result = run(block("w", "wait", "W", **values), clock=clock)
    assert result.output == {"waitDuration": seconds * 1000, "status": "completed"}
    assert clock.time() == seconds


@pytest.mark.parametrize("values", [{"timeValue": "0"}, {"timeValue": "x"}, {"timeValue": "301"}])
def test_wait_refuses_what_it_cannot_wait(values):
    assert run(block("w", "wait", "W", **values)).error.startswith("W: Wait ")


# -- api -----------------------------------------------------------------------------------------


def test_api_sends_a_request_and_reads_json():
    transport = Answers(Response(200, {"content-type": "application/json"}, b'{"ok": true}'))
    table = [{"cells": {"Key": "q", "Value": "a b"}}]
    made = block(
        "a",
        "api",
        "A",
        url="https://x.test/p?z=1",
        method="POST",
        params=table,
        body='{"n": "<start.n>"}',
    )
    result = run(made, {"n": 1}, transport=transport)
    assert result.output == {
        "data": {"ok": True},
        "status": 200,
        "headers": {"content-type": "application/json"},
    }
    [request] = transport.requests
    assert (request.method, request.url) == ("POST", "https://x.test/p?z=1&q=a%20b")
    assert request.json == {"n": "1"}


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Response(404, {}, b'{"detail": "gone"}'), "Error: gone | Status: 404"),
        (NotSent("refused"), "Error: refused"),
    ],
)
def test_api_failures_say_where_and_why(answer, text):
    made = block("a", "api", "A", url="https://x.test/p", method="GET")
    result = run(made, transport=Answers(answer))
    assert result.error.startswith("A: HTTP Request failed: URL: https://x.test/p | Method: GET")
    assert text in result.error


def test_api_without_a_url_does_nothing_and_with_a_wrong_one_fails():
    assert run(block("a", "api", "A")).output == {"data": None, "status": 200, "headers": {}}
    assert (
        "must start with https"
        in run(block("a", "api", "A", url="ftp://x"), transport=Answers()).error
    )


# -- models --------------------------------------------------------------------------------------

ROUTES = [
    {"id": "r1", "title": "Bugs", "value": "bugs"},
    {"id": "r2", "title": "Ideas", "value": "ideas"},
]


@pytest.mark.parametrize(
    ("content", "chosen"),
    [
        ('{"route": "r2", "reasoning": "because"}', "r2"),
        ("r1", "r1"),
        ('```json\n{"route": "r2"}\n```', "r2"),
    ],
)
def test_router_takes_the_models_route(content, chosen):
    llm = Model({"content": content, "model": "m"})
    made = block("r", "router_v2", "R", context="<start.t>", routes=ROUTES, model="m")
    result = run(made, {"t": "hello"}, llm=llm)
    assert result.block_outputs["r"]["selectedRoute"] == chosen
    messages, model, _, _ = llm.asked[0]
    assert (messages[-1], model) == ({"role": "user", "content": "hello"}, "m")


@pytest.mark.parametrize(
    "content", ['{"route": "NO_MATCH", "reasoning": "no"}', '{"route": "zzz"}', ""]
)
def test_router_without_a_valid_route_fails(content):
    made = block("r", "router_v2", "R", context="x", routes=ROUTES, model="m")
    assert run(made, llm=Model({"content": content})).error.startswith("R: Router could not")


def test_a_block_that_asks_a_model_says_when_there_is_none():
    made = block("r", "router_v2", "R", context="x", routes=ROUTES, model="m")
    result = run(made)
    assert "no language model" in result.error
    assert "open_app(llm=…)" in result.hint


def test_evaluator_scores_by_metric():
    metrics = [{"name": "Clarity", "range": {"min": 0, "max": 5}}, {"name": "Depth"}]
    llm = Model({"content": '{"clarity": 4}', "tokens": {"input": 1, "output": 2, "total": 3}})
    made = block("e", "evaluator", "E", metrics=metrics, content="text", model="m")
    output = run(made, llm=llm).output
    assert (output["clarity"], output["depth"], output["tokens"]["total"]) == (4, 0, 3)


def test_agent_answers_with_text_or_with_the_fields_it_was_asked_for():
    messages = [{"role": "user", "content": "Hi <start.n>"}]
    made = block("a", "agent", "A", messages=messages, model="m")
    llm = Model({"content": "Hello"})
    assert run(made, {"n": 1}, llm=llm).output["content"] == "Hello"
    assert llm.asked[0][0] == [{"role": "user", "content": "Hi 1"}]
    schema = {"name": "x", "schema": {"type": "object", "properties": {"n": {"type": "number"}}}}
    made = block("a", "agent", "A", messages=messages, model="m", responseFormat=json.dumps(schema))
    assert run(made, {"n": 1}, llm=Model({"content": '{"n": 3}'})).output["n"] == 3
    assert "_responseFormatWarning" in run(made, {"n": 1}, llm=Model({"content": "no"})).output


def test_agent_calls_tools_with_the_users_values_over_the_models():
    entry = {
        "type": "acme",
        "title": "Acme",
        "usageControl": "auto",
        "params": {"tool": "acme", "fixed": "mine"},
    }
    off = {"type": "other", "usageControl": "none", "params": {}}
    made = block(
        "a",
        "agent",
        "A",
        messages=[{"role": "user", "content": "go"}],
        model="m",
        tools=[entry, off],
    )
    llm = Model(
        {"toolCalls": [{"id": "1", "name": "acme", "arguments": {"asked": "x", "fixed": "y"}}]},
        {"toolCalls": [{"id": "2", "name": "missing", "arguments": "{}"}]},
        {"content": "done"},
    )
    services = FakeServices(tools={"acme": lambda params: {"got": params}}, llm=llm)
    services.tool_params = lambda tool_id: {
        "asked": {"type": "string"},
        "fixed": {"type": "string"},
    }
    made_document = document([block("start", "start_trigger", "Start"), made], [edge("start", "a")])
    output = engine.run(made_document, services=services, env={}).output
    assert output["content"] == "done"
    assert output["toolCalls"]["count"] == 2
    assert services.calls[0][1] == {"asked": "x", "fixed": "mine", "tool": "acme"}
    assert list(llm.asked[0][2][0]["parameters"]["properties"]) == ["asked"]
    assert [message["role"] for message in llm.asked[2][0][1:]] == ["assistant", "tool"] * 2


# -- tools ---------------------------------------------------------------------------------------


def tool_block(tool, **values):
    services = FakeServices(tools={"get": tool})
    made = document(
        [block("start", "start_trigger", "Start"), block("t", "get", "T", **values)],
        [edge("start", "t")],
    )
    from sim_devin.blocks import run_tool

    services.handlers["get"] = run_tool
    return engine.run(made, services=services, env={})


SCHEMA = json.dumps(
    {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}
)


@pytest.mark.parametrize(
    ("structured", "fits"),
    [({"ok": True}, True), ({"ok": "yes"}, False), ({}, False), (None, True)],
)
def test_a_structured_output_has_to_fit_the_schema_on_the_block(structured, fits):
    def get(params):
        return {"sessionId": "s", "structuredOutput": structured}

    result = tool_block(get, structuredOutputSchema=SCHEMA)
    assert result.success == fits
    if not fits:
        assert "does not fit its schema" in result.error
        assert result.block_outputs["t"]["structuredOutput"] == structured


def test_the_services_own_words_are_the_error_of_the_block():
    def get(params):
        raise NotFound(
            "404: Session not found. Look again.", status=404, detail="Session not found"
        )

    assert tool_block(get).error == "T: Session not found"
