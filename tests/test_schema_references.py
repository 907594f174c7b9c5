"""No schema that somebody gives makes anything fetch what it refers to."""

import http.server
import json
import threading

import pytest

import sim_devin
from sim_devin import Specs, hookimpl
from sim_devin.calls.response import Response
from sim_devin.engine.workflow_check import check
from sim_devin.errors import InvalidParams, InvalidWorkflow, SimDevinError
from sim_devin.runs.services import AppServices
from sim_devin.simulated import SimulatedTransport
from sim_devin.simulator import SimClock, Simulator
from sim_devin.specs import json_schema
from sim_devin.specs.models import ToolSpec
from tests.workflow.fakes import block, document, edge

CANARY = "canary-5d41402abc"
ENV = {"DEVIN_API_KEY": "cog_made_up", "DEVIN_ORG_ID": "org-test"}
SESSION = {"session_id": "devin-1", "url": "u", "status": "exit", "structured_output": {"a": 1}}


class Fetched(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.fetched.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"const": CANARY, "title": CANARY}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fetched)
    made.fetched = []
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture(params=["http", "file", "relative", "relative file", "dynamic", "deep", "anchor"])
def schema(request, server, tmp_path):
    """A schema that refers to something with a canary in it."""
    (tmp_path / "canary.json").write_text(json.dumps({"const": CANARY}), encoding="utf-8")
    base = f"http://127.0.0.1:{server.server_port}"
    return {
        "http": {"$ref": f"{base}/canary.json"},
        "file": {"$ref": (tmp_path / "canary.json").as_uri()},
        "relative": {"$id": f"{base}/there/", "$ref": "canary.json"},
        "relative file": {"$id": tmp_path.as_uri() + "/", "$ref": "canary.json#/const"},
        "dynamic": {"$dynamicRef": f"{base}/canary.json#meta"},
        "deep": {"allOf": [{"properties": {"a": {"$ref": f"{base}/canary.json"}}}]},
        "anchor": {"$defs": {"a": {"$id": f"{base}/a", "$ref": "b#x"}}, "$ref": "#/$defs/a"},
    }[request.param]


@pytest.fixture(autouse=True)
def _nothing_is_fetched(request, server):
    yield
    assert server.fetched == []


class Service:
    """Answers everything with a finished session, and counts."""

    def __init__(self):
        self.requests = []

    def send(self, request, *, timeout):
        self.requests.append(request)
        body = {"items": [SESSION], **SESSION} if request.method == "GET" else SESSION
        return Response(200, {"content-type": "application/json"}, json.dumps(body).encode())


class Asked:
    def __init__(self):
        self.asked = 0

    def complete(self, messages, *, model, tools, response_format):
        self.asked += 1
        return {"content": "{}"}


def opened(service, **options):
    return sim_devin.open_app(transport=service, env=ENV, discover=False, **options)


def flow(*blocks):
    ids = ["start", *(item["id"] for item in blocks)]
    edges = [edge(ids[n], ids[n + 1]) for n in range(len(blocks))]
    return document([block("start", "start_trigger"), *blocks], edges)


def devin(schema, operation="get_session", **values):
    credentials = {"apiKey": "{{DEVIN_API_KEY}}", "orgId": "org-test"}
    values = {"sessionId": "devin-1", "prompt": "p", **credentials, **values}
    return block("d", "devin", operation=operation, structuredOutputSchema=schema, **values)


def call(app, schema):
    app.call("devin_create_session", {"prompt": "p", "structuredOutputSchema": schema})


def wait_tool(app, schema):
    app.call("devin_wait_for_session", {"sessionId": "1", "structuredOutputSchema": schema})


def wait(app, schema):
    app.wait("devin-1", schema=schema)


def function_call(app, schema):
    arguments = {"sessionId": "1", "structuredOutputSchema": schema}
    answer = app.call_function("devin_wait_for_session", json.dumps(arguments))
    raise answer.error


def validated(app, schema):
    json_schema.errors({"a": 1}, schema, "schema", "draft 2020-12")
    json_schema.require(schema, "schema", "draft 7")  # not every draft knows $dynamicRef


@pytest.mark.parametrize("entry", [call, wait_tool, wait, function_call, validated])
def test_it_is_an_error_that_names_the_reference_before_anything_is_sent(entry, schema):
    service = Service()
    with pytest.raises(InvalidParams) as caught:
        entry(opened(service), schema)
    says_which(str(caught.value), schema)
    assert service.requests == []


def says_which(text, schema):
    names = [name for name in ("canary.json", "b#x") if name in text]
    assert names, text
    assert CANARY not in text


@pytest.mark.parametrize("as_text", [True, False])
@pytest.mark.parametrize("operation", ["create_session", "get_session", "send_message"])
def test_a_block_fails_before_it_sends(operation, as_text, schema):
    service = Service()
    given = json.dumps(schema) if as_text else schema
    result = opened(service).run(flow(devin(given, operation, message="m")), env=ENV)
    if service.requests:  # a message has no schema: the form leaves it out
        assert operation == "send_message"
        assert result.success
        return
    says_which(result.error, schema)
    assert CANARY not in json.dumps(result.to_json())


def test_a_durable_wait_is_refused_before_it_starts(schema):
    clock = SimClock(speed=0)
    transport = SimulatedTransport(clock, Simulator(clock=clock, seed=1))
    app = sim_devin.open_app(
        transport=transport, clock=clock, discover=False, env=ENV | {"SIM_DEVIN_STORE": "memory"}
    )
    session = app.call("devin_create_session", {"prompt": "p"})["sessionId"]
    values = {"structuredOutputSchema": schema, "apiKey": "{{DEVIN_API_KEY}}", "orgId": "org-test"}
    with pytest.raises(InvalidWorkflow) as caught:
        app.runs.start(flow(block("w", "devin_wait", sessionId=session, **values)), env=ENV)
    says_which(str(caught.value), schema)
    assert app.runs.list() == []
    app.close()


def test_an_agent_fails_before_it_asks(schema):
    model = Asked()
    asking = block("m", "agent", userPrompt="u", model="m", responseFormat=json.dumps(schema))
    result = opened(Service(), llm=model).run(flow(asking))
    says_which(result.error, schema)
    assert model.asked == 0


def test_check_names_it(schema):
    asking = block("m", "agent", userPrompt="u", model="m", responseFormat={"schema": schema})
    made = flow(devin(json.dumps(schema)), asking)
    found = [item for item in check(made, AppServices(opened(Service()))) if "schema" in item.text]
    assert [(item.place, item.level) for item in found] == [
        ("d.structuredOutputSchema", "error"),
        ("m.responseFormat", "error"),
    ]
    for item in found:
        says_which(item.text, schema)


@pytest.mark.parametrize("side", ["params", "output"])
def test_a_plugins_tool_that_refers_elsewhere_is_not_loaded(side, schema):
    item = {key: value for key, value in schema.items() if key != "$id"}
    if item != schema:
        item = {"$ref": schema["$id"] + schema["$ref"]}
    schemas = {key: {"type": "object", "properties": {"a": {}}} for key in ("params", "output")}
    schemas[side] = {"type": "object", "properties": {"a": item}, "$defs": item.get("$defs", {})}

    class Plugin:
        @hookimpl
        def sim_devin_specs(self):
            tool = ToolSpec(id="acme_x", title="X", description="x", run=lambda *_: {}, **schemas)
            return Specs(tools=(tool,))

    with pytest.raises(SimDevinError) as caught:
        opened(Service(), plugins=[Plugin()], strict=True)
    text = json.dumps(caught.value.to_json()) + str(caught.value)
    says_which(text, schema)


def test_a_folder_that_refers_elsewhere_is_not_loaded(schema, tmp_path):
    tool = {
        "id": "acme_x",
        "title": "X",
        "description": "x",
        "connection": "devin",
        "request": {"method": "GET", "path": "/organizations/{orgId}/x", "query": {"a": "{a}"}},
        "params": {"type": "object", "properties": {"a": {"allOf": [schema]}}},
        "output": {"type": "object", "properties": {"a": {"type": "string"}}},
    }
    folder = tmp_path / "specs"
    folder.mkdir()
    (folder / "x.tool.json").write_text(json.dumps(tool), encoding="utf-8")
    with pytest.raises(SimDevinError) as caught:
        opened(Service(), specs=[folder], strict=True)
    says_which(json.dumps(caught.value.to_json()) + str(caught.value), schema)


@pytest.mark.parametrize("dialect", ["http://127.0.0.1:{}/meta", "file:///nowhere/meta.json"])
def test_an_unknown_dialect_is_not_looked_up(dialect, server):
    schema = {"$schema": dialect.format(server.server_port), "type": "object"}
    result = opened(Service()).run(flow(devin(schema)), env=ENV)
    assert result.success, result.error


def test_references_within_and_to_meta_schemas_are_followed():
    schema = {
        "$id": "http://127.0.0.1:9/whole",
        "definitions": {
            "n": {"type": "integer"},
            "s": {"$ref": "http://json-schema.org/draft-07/schema#"},
        },
        "properties": {"a": {"$ref": "#/definitions/n"}, "$ref": {"$ref": "whole#/definitions/n"}},
        "default": {"$ref": "http://127.0.0.1:9/data"},
    }
    json_schema.require(schema, "schema", "draft 7")
    assert json_schema.errors({"a": "x"}, schema, "schema", "draft 7")
    assert not json_schema.errors({"a": 1, "$ref": 2}, schema, "schema", "draft 7")


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"allOf": [{"$ref": "#/definitions/a"}], "definitions": {"a": {"anyOf": [{"$ref": "#"}]}}},
        {"$ref": "#/definitions/missing"},
        {"$ref": "http://[::1"},
        {"$id": "http://[::1", "$ref": "x"},
    ],
)
def test_what_leads_nowhere_is_an_error_and_no_traceback(schema):
    with pytest.raises(InvalidParams, match="refers to"):
        opened(Service()).call(
            "devin_wait_for_session", {"sessionId": "1", "structuredOutputSchema": schema}
        )


@pytest.mark.parametrize("keyword", ["const", "default", "examples", "enum"])
def test_data_that_a_reference_makes_a_schema_is_looked_into(keyword, server):
    elsewhere = {"$ref": f"http://127.0.0.1:{server.server_port}/canary.json"}
    data = [{"properties": {"a": elsewhere}}]
    schema = {"type": "object", "properties": {"b": {"$ref": f"#/{keyword}/0"}}, keyword: data}
    service = Service()
    with pytest.raises(InvalidParams, match=r"canary\.json"):
        call(opened(service), schema)
    assert service.requests == []
    (problem,) = json_schema.outside(schema)
    says_which(problem, schema)
    assert json_schema.outside({keyword: data}) == []
