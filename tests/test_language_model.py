"""Blocks that ask a model: through pydantic-ai's stand-ins, and over the wire to a stub."""

import asyncio
import json
import logging
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic_ai.messages import ModelResponse, TextPart, ThinkingPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel

import sim_devin
from sim_devin import errors
from sim_devin.app import SIMULATED_CREDENTIALS
from sim_devin.llm.access import provider_of
from sim_devin.llm.language_model import PydanticAiModel
from sim_devin.redaction import MASK
from sim_devin.simulated import SimulatedTransport
from tests.workflow.fakes import block, document, edge

KEY = "made-up-key-of-the-block"
DEVIN = {
    "type": "devin",
    "title": "Devin",
    "operation": "create_session",
    "usageControl": "auto",
    "params": {"tags": "from-agent"},
}


def workflow(asking):
    return document([block("start", "start_trigger", "Start"), asking], [edge("start", "m")])


def agent(**values):
    values.setdefault("messages", [{"role": "user", "content": "Fix the login."}])
    values.setdefault("model", "gpt-4o")
    return workflow(block("m", "agent", "Asker", **values))


def app(llm=None, **options):
    """Return an app whose Devin is simulated; its model is not, as with ``simulate=True``."""
    options.setdefault("env", {})
    transport = SimulatedTransport()
    return sim_devin.open_app(
        transport=transport,
        clock=transport.clock,
        credentials=SIMULATED_CREDENTIALS,
        discover=False,
        llm=llm,
        **options,
    )


def function(*turns):
    """Return a model whose answers are functions of the messages and of what it was offered."""
    left = iter(turns)

    def answer(messages, info):
        found = next(left)(messages, info)
        return found if isinstance(found, ModelResponse) else ModelResponse(parts=found)

    return PydanticAiModel({}, model=FunctionModel(answer))


# -- an OpenAI-compatible endpoint -----------------------------------------------------------


class Stub(list):
    """Requests as they came: path, headers, body. `answers` are sent one after the other."""

    def __init__(self, answers):
        super().__init__()
        self.answers = list(answers)

    @property
    def bodies(self):
        return [body for _, _, body in self]


@contextmanager
def serve(*answers):
    stub = Stub(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            length = int(self.headers["Content-Length"])
            headers = {name.lower(): value for name, value in self.headers.items()}
            stub.append((self.path, headers, json.loads(self.rfile.read(length))))
            status, payload = stub.answers.pop(0)
            content = json.dumps(payload).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if status == 429:
                self.send_header("Retry-After", "7")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            stub.url = f"http://127.0.0.1:{server.server_port}/v1"
            yield stub
        finally:
            server.shutdown()
            thread.join()


def said(content=None, *calls, tokens=(10, 5)):
    message = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = [
            {"id": name, "type": "function", "function": {"name": tool, "arguments": arguments}}
            for name, tool, arguments in calls
        ]
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "stub-model",
        "choices": [
            {"index": 0, "finish_reason": "tool_calls" if calls else "stop", "message": message}
        ],
        "usage": {
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
            "total_tokens": sum(tokens),
        },
    }
    return 200, completion


def at(stub, **more):
    return {"SIM_DEVIN_MODEL_URL": stub.url, "SIM_DEVIN_RETRIES": "0", **more}


CREATE = ("call-1", "devin_create_session", '{"prompt": "Fix the login.", "tags": "mine"}')


def test_the_agent_works_with_devin_over_the_wire():
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Fix the login."},
    ]
    with serve(said("I start.", CREATE), said("It runs.", tokens=(30, 7))) as stub:
        opened = app(env=at(stub))
        result = opened.run(agent(tools=[DEVIN], apiKey=KEY, messages=messages, temperature="0.5"))
    assert result.success, result.error
    sessions = opened.call("devin_list_sessions")["sessions"]
    assert [session["tags"] for session in sessions] == [["from-agent"]]
    output = result.output
    assert (output["content"], output["model"]) == ("It runs.", "stub-model")
    assert output["tokens"] == {"input": 40, "output": 12, "total": 52}
    assert output["cost"] == {"input": 0, "output": 0, "total": 0}
    assert output["toolCalls"]["list"][0]["success"]
    first, second = stub.bodies
    assert (first["model"], first["temperature"]) == ("gpt-4o", 0.5)
    assert [item["role"] for item in first["messages"]] == ["system", "user"]
    (tool,) = first["tools"]
    assert tool["function"]["name"] == "devin_create_session"
    assert "prompt" in tool["function"]["parameters"]["properties"]
    assert not {"tags", "apiKey", "orgId"} & set(tool["function"]["parameters"]["properties"])
    assert [item["role"] for item in second["messages"]][2:] == ["assistant", "tool"]
    spoken, returned = second["messages"][2:]
    assert spoken["content"] == "I start."
    assert spoken["tool_calls"][0]["id"] == returned["tool_call_id"] == "call-1"
    assert json.loads(returned["content"])["sessionId"] == sessions[0]["sessionId"]
    assert {path for path, _, _ in stub} == {"/v1/chat/completions"}
    assert {headers["authorization"] for _, headers, _ in stub} == {f"Bearer {KEY}"}


def test_the_endpoints_own_key_wins_over_the_blocks():
    with serve(said("Hello")) as stub:
        env = at(
            stub, SIM_DEVIN_MODEL_API_KEY="made-up-endpoint-key", OPENAI_API_KEY="made-up-other"
        )
        app(env=env).run(agent(apiKey=KEY))
    assert stub[0][1]["authorization"] == "Bearer made-up-endpoint-key"


def test_an_endpoint_without_a_key_is_sent_no_providers_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "made-up-other")
    with serve(said("Hello")) as stub:
        env = at(stub, OPENAI_API_KEY="made-up-other")
        assert app(env=env).run(agent(model="llama3:8b")).output["content"] == "Hello"
    assert "made-up-other" not in json.dumps(stub)
    assert stub.bodies[0]["model"] == "llama3:8b"


def test_structured_output_is_asked_for_as_a_schema():
    schema = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}
    with serve(said('{"n": 3}')) as stub:
        result = app(env=at(stub)).run(
            agent(responseFormat=json.dumps({"name": "x", "schema": schema}))
        )
    assert result.output["n"] == 3
    asked = stub.bodies[0]["response_format"]
    assert asked["type"] == "json_schema"
    assert asked["json_schema"]["schema"]["properties"] == {"n": {"type": "number"}}


def test_a_forced_tool_is_forced_until_it_was_called():
    other = {**DEVIN, "operation": "list_sessions", "params": {}}
    with serve(said(None, CREATE), said("Done")) as stub:
        result = app(env=at(stub)).run(agent(tools=[other, {**DEVIN, "usageControl": "force"}]))
    assert result.output["content"] == "Done"
    first, second = stub.bodies
    assert len(first["tools"]) == 2 or first["tool_choice"] == "required"
    assert "devin_create_session" in json.dumps([first["tool_choice"], first["tools"]])
    assert first["tool_choice"] != "auto"
    assert second.get("tool_choice", "auto") == "auto"


def test_a_tool_that_is_switched_off_is_not_offered():
    with serve(said("Hello")) as stub:
        app(env=at(stub)).run(agent(tools=[{**DEVIN, "usageControl": "none"}]))
    assert not stub.bodies[0].get("tools")


def test_the_router_and_the_evaluator_ask_the_same_endpoint():
    routes = [{"id": "r1", "value": "bugs"}, {"id": "r2", "value": "features"}]
    router = block("m", "router_v2", "R", context="Dark mode!", routes=routes, model="gpt-4o")
    metrics = [{"name": "Clarity", "range": {"min": 0, "max": 5}}]
    evaluator = block("m", "evaluator", "E", content="text", metrics=metrics, model="gpt-4o")
    with serve(said('{"route": "r2", "reasoning": "new"}'), said('{"clarity": 4}')) as stub:
        opened = app(env=at(stub))
        routed, scored = (opened.run(workflow(item)).output for item in (router, evaluator))
    assert (routed["selectedRoute"], scored["clarity"]) == ("r2", 4)
    assert routed["tokens"]["total"] == scored["tokens"]["total"] == 15
    names = [body["response_format"]["json_schema"]["name"] for body in stub.bodies]
    assert names == ["router_response", "evaluation_response"]


QUOTING = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}
BROKE = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
SLOW = {"error": {"message": f"slow down, {KEY}"}}


@pytest.mark.parametrize(
    ("status", "payload", "kind", "says"),
    [
        (401, QUOTING, errors.AuthenticationFailed, "HTTP 401"),
        (403, SLOW, errors.PermissionDenied, MASK),
        (429, SLOW, errors.RateLimited, f"HTTP 429: slow down, {MASK}"),
        (429, BROKE, errors.OutOfQuota, "exceeded your quota"),
        (500, SLOW, errors.ServerError, "HTTP 500"),
        (404, {"error": {"message": "no such model"}}, errors.NotFound, "no such model"),
        (400, {"error": {"message": "too long"}}, errors.BadRequest, "too long"),
        (200, {"choices": []}, errors.UnreadableResponse, "invalid response"),
    ],
)
def test_what_an_endpoint_refuses(status, payload, kind, says):
    with serve((status, payload)) as stub:
        llm = PydanticAiModel({}, url=stub.url, key=KEY, retries=0)
        with pytest.raises(kind) as caught:
            llm.complete([{"role": "user", "content": "Hi"}], model="gpt-4o")
    assert says in str(caught.value)
    assert KEY not in repr(caught.value) + str(caught.value.to_json())
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)
    if kind is errors.RateLimited:
        assert caught.value.retry_after == 7


@pytest.mark.parametrize("status", [429, 500])
def test_a_block_tries_again_by_its_own_policy(status):
    document = agent()
    retry = {"enabled": True, "maxTries": 2, "waitBetweenTriesMs": 0}
    document["state"]["blocks"]["m"]["retry"] = retry
    with serve((status, SLOW), said("Hello")) as stub:
        assert app(env=at(stub)).run(document).output["content"] == "Hello"


def test_an_endpoint_that_is_not_there():
    llm = PydanticAiModel({}, url="http://127.0.0.1:9/v1", retries=0)
    with pytest.raises(errors.NotSent, match="cannot be reached"):
        llm.complete([{"role": "user", "content": "Hi"}], model="m")


def test_no_key_gets_into_errors_logs_or_the_journal(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with serve(said("I start.", CREATE), (401, QUOTING)) as stub:
        env = at(stub, MODEL_API_KEY=KEY)
        with app(env=env, store=tmp_path / "runs.sqlite") as opened:
            run_id = opened.runs.start(agent(tools=[DEVIN], apiKey="{{MODEL_API_KEY}}"))
            result = opened.runs.follow(run_id)
    assert not result.success
    assert "HTTP 401" in result.error
    assert KEY not in f"{result.error}{result.hint}{[vars_of(log) for log in result.logs]}"
    assert KEY not in caplog.text
    kept = b"".join(item.read_bytes() for item in tmp_path.iterdir())
    assert b"devin_create_session" in kept
    assert KEY.encode() not in kept


def vars_of(log):
    return [log.input, log.output, log.error, log.hint]


# -- which provider --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("gpt-4o", ("openai", "gpt-4o")),
        ("o3-mini", ("openai", "o3-mini")),
        ("ft:gpt-4o:acme", ("openai", "ft:gpt-4o:acme")),
        ("claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("openai-chat:gpt-4o", ("openai-chat", "gpt-4o")),
        ("openrouter/anthropic/claude", ("openrouter", "anthropic/claude")),
        ("bedrock:amazon.nova:1", ("bedrock", "amazon.nova:1")),
    ],
)
def test_the_provider_of_a_model(name, provider):
    assert provider_of(name) == provider


@pytest.mark.parametrize("name", ["llama3", "acme/model", "openai:"])
def test_a_name_that_tells_nothing(name):
    with pytest.raises(errors.CallerError, match="provider:name"):
        provider_of(name)


def test_a_block_without_a_model_takes_the_settings():
    with serve(said("Hello")) as stub:
        router = block("m", "evaluator", "E", content="t", metrics=[], model="default")
        app(env=at(stub, SIM_DEVIN_MODEL="small")).run(workflow(router))
    assert stub.bodies[0]["model"] == "small"
    with pytest.raises(errors.CallerError, match="SIM_DEVIN_MODEL"):
        PydanticAiModel({}).complete([], model="default")


def test_a_provider_is_asked_with_its_own_key_or_the_blocks():
    with serve(said("One"), said("Two")) as stub:
        env = {"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": "made-up-env-key"}
        opened = app(env=env, retries=0)
        first = opened.run(agent(model="openai-chat:gpt-4o"))
        opened.run(agent(model="openai-chat:gpt-4o", apiKey=KEY))
    keys = [headers["authorization"] for _, headers, _ in stub]
    assert keys == ["Bearer made-up-env-key", f"Bearer {KEY}"]
    assert first.output["content"] == "One"


def anthropic(*content, reason):
    return 200, {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5",
        "content": list(content),
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }


def test_another_providers_own_protocol():
    text = {"type": "text", "text": "I start."}
    arguments = {"prompt": "Fix the login."}
    call = {"type": "tool_use", "id": "t1", "name": "devin_create_session", "input": arguments}
    done = {"type": "text", "text": "It runs."}
    with serve(
        anthropic(text, call, reason="tool_use"), anthropic(done, reason="end_turn")
    ) as stub:
        env = {"ANTHROPIC_BASE_URL": stub.url.removesuffix("/v1"), "ANTHROPIC_API_KEY": KEY}
        forced = {**DEVIN, "usageControl": "force"}
        result = app(env=env, retries=0).run(
            agent(model="claude-sonnet-5", tools=[forced], maxTokens=500)
        )
    assert result.success, result.error
    assert (result.output["content"], result.output["toolCalls"]["count"]) == ("It runs.", 1)
    assert result.output["tokens"]["total"] == 30
    assert result.output["cost"]["total"] > 0
    assert stub.bodies[0]["tool_choice"]["type"] in ("tool", "any")
    assert [part["type"] for part in stub.bodies[1]["messages"][1]["content"]] == [
        "text",
        "tool_use",
    ]
    assert all(KEY in str(headers) for _, headers, _ in stub)


def gemini(*parts):
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP"}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
    return 200, {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": "gemini-2.5-pro",
        "responseId": "r1",
    }


def at_google(stub, **more):
    return {"GOOGLE_GEMINI_BASE_URL": stub.url.removesuffix("/v1"), "GEMINI_API_KEY": KEY, **more}


def test_geminis_own_protocol():
    pytest.importorskip("google.genai")
    arguments = {"prompt": "Fix the login."}
    call = {"functionCall": {"name": "devin_create_session", "args": arguments}}
    signed = {**call, "thoughtSignature": "c2VhbGVk"}
    with serve(gemini(signed), gemini({"text": "It runs."})) as stub:
        forced = {**DEVIN, "usageControl": "force"}
        result = app(env=at_google(stub), retries=0).run(
            agent(model="gemini-2.5-pro", tools=[forced], temperature="0.5")
        )
    assert result.success, result.error
    assert (result.output["content"], result.output["toolCalls"]["count"]) == ("It runs.", 1)
    assert result.output["tokens"]["total"] == 30
    assert result.output["cost"]["total"] > 0
    assert all(path.endswith("/models/gemini-2.5-pro:generateContent") for path, _, _ in stub)
    first, second = stub.bodies
    ((declared,),) = [tool["functionDeclarations"] for tool in first["tools"]]
    assert declared["name"] == "devin_create_session"
    assert first["toolConfig"]["functionCallingConfig"]["mode"] == "ANY"
    assert first["generationConfig"]["temperature"] == 0.5
    spoken, returned = second["contents"][1:]
    assert spoken["parts"][0]["functionCall"]["args"] == arguments
    assert spoken["parts"][0]["thoughtSignature"] == signed["thoughtSignature"]
    assert "sessionId" in json.dumps(returned["parts"][0]["functionResponse"])
    assert all(headers["x-goog-api-key"] == KEY for _, headers, _ in stub)


def test_geminis_structured_output_and_refusals():
    pytest.importorskip("google.genai")
    schema = {"type": "object", "properties": {"n": {"type": "number"}}}
    refusal = {"error": {"code": 400, "message": f"API key not valid: {KEY}", "status": "INVALID"}}
    with serve(gemini({"text": '{"n": 3}'}), (400, refusal)) as stub:
        opened = app(env=at_google(stub), retries=0)
        asking = agent(model="gemini-2.5-pro", responseFormat={"name": "x", "schema": schema})
        good, bad = opened.run(asking), opened.run(asking)
    assert good.output["n"] == 3
    asked = stub.bodies[0]["generationConfig"]
    assert asked["responseMimeType"] == "application/json"
    assert asked["responseJsonSchema"]["properties"] == {"n": {"type": "number"}}
    assert "HTTP 400" in bad.error
    assert KEY not in f"{bad.error}{bad.hint}"


def responses(item):
    return 200, {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "model": "gpt-4o",
        "output": [{"status": "completed", **item}],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 15,
        },
    }


def test_a_bare_name_of_openai_is_asked_through_its_responses():
    call_id, tool, arguments = CREATE
    call = {"type": "function_call", "call_id": call_id, "name": tool, "arguments": arguments}
    text = {"type": "output_text", "text": '{"n": 3}', "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "content": [text]}
    schema = {"type": "object", "properties": {"n": {"type": "number"}}}
    with serve(responses({"id": "fc_1", **call}), responses(message)) as stub:
        env = {"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": KEY}
        tools = [{**DEVIN, "usageControl": "force"}]
        result = app(env=env, retries=0).run(
            agent(tools=tools, responseFormat={"name": "x", "schema": schema})
        )
    assert result.success, result.error
    assert (result.output["n"], result.output["toolCalls"]["count"]) == (3, 1)
    assert result.output["cost"]["total"] > 0
    assert {path for path, _, _ in stub} == {"/v1/responses"}
    returned = stub.bodies[1]["input"][-1]
    assert (returned["type"], returned["call_id"]) == ("function_call_output", call_id)
    assert stub.bodies[0]["text"]["format"]["type"] == "json_schema"


def test_list_prices_apply_to_a_provider():
    completion = said("One", tokens=(1_000_000, 0))
    completion[1]["model"] = "gpt-4o"
    with serve(completion) as stub:
        env = {"OPENAI_BASE_URL": stub.url, "OPENAI_API_KEY": KEY}
        llm = PydanticAiModel(env, retries=0)
        reply = llm.complete([{"role": "user", "content": "Hi"}], model="openai-chat:gpt-4o")
    assert reply["cost"]["total"] == reply["cost"]["input"] > 0


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        ("gpt-4o", errors.MissingCredentials, "OPENAI_API_KEY"),
        ("claude-sonnet-4-5", errors.MissingCredentials, "ANTHROPIC_API_KEY"),
        ("acme:model", errors.CallerError, "'acme' is unknown"),
    ],
)
def test_what_is_missing_is_named(model, error, says):
    with pytest.raises(error, match=says):
        PydanticAiModel({}).complete([{"role": "user", "content": "Hi"}], model=model)


def test_without_the_extra_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sim_devin.llm.model_request", None)
    monkeypatch.delattr("sim_devin.llm.model_request", raising=False)
    with pytest.raises(errors.MissingDependency, match=r"pip install 'sim-devin\[agent\]'"):
        PydanticAiModel({}).complete([], model="gpt-4o")


def test_without_a_providers_library_the_command_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("pydantic_ai.providers.groq")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "groq", None)
    with pytest.raises(errors.MissingDependency, match=r"pip install 'pydantic-ai-slim\[groq\]'"):
        PydanticAiModel({"GROQ_API_KEY": KEY}).complete([], model="groq:llama")


@pytest.mark.parametrize("url", ["http://models.example.com/v1", "nonsense"])
def test_an_address_that_cannot_be_used(url):
    with pytest.raises(errors.CallerError, match="SIM_DEVIN_MODEL_URL"):
        app(env={"SIM_DEVIN_MODEL_URL": url})
    result = app(env={"OPENAI_BASE_URL": url, "OPENAI_API_KEY": KEY}).run(agent())
    assert "OPENAI_BASE_URL" in result.error


# -- the library's stand-ins -----------------------------------------------------------------


def test_what_a_provider_signs_comes_back_to_it():
    signed = ThinkingPart("hm", signature="sealed", provider_name="function")
    call = ToolCallPart("devin_list_sessions", {"limit": 1}, tool_call_id="c1")

    def last(messages, info):
        assert messages[1].parts[0] == signed
        return [TextPart(messages[2].parts[0].content)]

    llm = function(lambda *_: [signed, TextPart("I look."), call], last)
    lister = {**DEVIN, "operation": "list_sessions", "params": {}}
    result = app(llm).run(agent(tools=[lister]))
    assert result.success, result.error
    assert json.loads(result.output["content"])["sessions"] == []


def test_a_mistake_in_a_call_is_told_to_the_model():
    def last(messages, info):
        return [TextPart(str(messages[-1].parts[0].content))]

    call = ToolCallPart("devin_create_session", "{broken")
    result = app(function(lambda *_: [call], last)).run(agent(tools=[DEVIN]))
    assert "not JSON" in result.output["content"]
    assert result.output["toolCalls"]["list"][0]["success"] is False


def test_the_librarys_test_model_calls_every_tool():
    llm = PydanticAiModel({}, model=TestModel(seed=1))
    lister = {**DEVIN, "operation": "list_sessions", "params": {}}
    result = app(llm).run(agent(tools=[lister]))
    assert result.success, result.error
    assert result.output["toolCalls"]["count"] == 1


@pytest.mark.parametrize(
    "profile",
    [
        {"supports_json_schema_output": False},
        {"supports_json_schema_output": True, "google_supports_tool_combination": False},
    ],
)
def test_a_model_that_takes_no_schema_is_told_in_words(profile):
    asked = []

    def answer(messages, info):
        asked.append(info)
        return ModelResponse(parts=[TextPart('```json\n{"n": 3}\n```')])

    profile = {**profile, "supports_forced_tool_choice": False}
    llm = PydanticAiModel({}, model=FunctionModel(answer, profile=profile))
    schema = {"type": "object", "properties": {"n": {"type": "number"}}}
    tools = [{**DEVIN, "usageControl": "force"}]
    result = app(llm).run(agent(responseFormat={"name": "x", "schema": schema}, tools=tools))
    assert result.output["n"] == 3
    assert "Start by calling the tool devin_create_session." in asked[0].instructions
    assert '"n"' in asked[0].instructions


def test_an_answer_that_does_not_come_in_time():
    async def never(messages, info):
        await asyncio.Event().wait()

    llm = PydanticAiModel({}, model=FunctionModel(never))
    with pytest.raises(errors.TimedOut, match="in time"):
        llm.complete([{"role": "user", "content": "Hi"}], model="m", settings={"timeout": 0.01})


def test_a_run_that_is_cancelled_does_not_wait_for_the_model():
    cancel, ended = threading.Event(), []

    async def never(messages, info):
        cancel.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    llm = PydanticAiModel({}, model=FunctionModel(never))
    assert app(llm).run(agent(), cancel=cancel).status == "cancelled"
    assert ended == [True]


def test_a_model_that_only_calls_tools_is_stopped():
    call = ToolCallPart("devin_list_sessions", {})
    llm = function(*[lambda *_: [call]] * 50)
    lister = {**DEVIN, "operation": "list_sessions", "params": {}}
    assert "after 20 rounds" in app(llm).run(agent(tools=[lister])).error


def spending(cost=None):
    """Return a model that always calls a tool, for 100 tokens a round."""

    class Spending:
        def complete(self, messages, *, model, tools, response_format):
            reply = {"toolCalls": [{"id": "1", "name": "devin_list_sessions", "arguments": {}}]}
            paid = {} if cost is None else {"cost": {"input": cost, "output": 0, "total": cost}}
            return {**reply, **paid, "tokens": {"input": 60, "output": 40, "total": 100}}

    return Spending()


@pytest.mark.parametrize(
    ("limits", "cost", "says"),
    [
        ({"maxTotalTokens": "250"}, None, "300 of at most 250 tokens and had not finished after 3"),
        ({"maxTotalTokens": 300}, None, "300 of at most 300 tokens and had not finished after 3"),
        (
            {"maxCost": "0.05"},
            0.02,
            "0.0600 of at most 0.05 US dollars and had not finished after 3",
        ),
        ({"maxCost": 1}, None, "price of its model is unknown"),
        ({"maxTotalTokens": "lots"}, None, "maxTotalTokens is not a number"),
    ],
)
def test_a_ceiling_for_all_rounds(limits, cost, says):
    lister = {**DEVIN, "operation": "list_sessions", "params": {}}
    assert says in app(spending(cost)).run(agent(tools=[lister], **limits)).error


def test_an_answer_that_is_paid_for_counts():
    with serve(said("Hello", tokens=(1000, 0))) as stub:
        result = app(env=at(stub)).run(agent(maxTotalTokens=10, maxCost=0.001))
    assert result.output["content"] == "Hello"


# -- a model that was handed in --------------------------------------------------------------


def test_a_model_that_takes_no_settings_gets_none():
    class Plain:
        def complete(self, messages, *, model, tools, response_format):
            return {"content": "Hello"}

    assert app(Plain()).run(agent(temperature=1, apiKey=KEY)).output["content"] == "Hello"


def test_a_model_that_takes_settings_gets_the_blocks():
    class Taking:
        def complete(self, messages, *, settings, **others):
            return {"content": json.dumps({**settings, "cancel": None})}

    result = app(Taking()).run(agent(temperature=1, maxTokens="50"))
    assert json.loads(result.output["content"]) == {
        "temperature": 1,
        "maxTokens": 50,
        "cancel": None,
    }
    assert "temperature is not a number" in app(Taking()).run(agent(temperature="warm")).error


@pytest.mark.parametrize("asking", ["gpt-4o", "default"])
def test_no_model_is_looked_for_before_a_block_asks(asking):
    assert app(env={}).run(workflow(block("m", "note", "N"))).success


# -- settings --------------------------------------------------------------------------------


def test_an_endpoint_of_the_config_file(tmp_path):
    config = tmp_path / "config.toml"
    with serve(said("Hello")) as stub:
        lines = [f'model_url = "{stub.url}"', 'model = "small"', f'model_api_key = "{KEY}"']
        config.write_text("\n".join(["[settings]", *lines]))
        config.chmod(0o600)
        opened = app(config=config)
        assert KEY not in repr(opened.settings) + repr(opened.llm)
        assert opened.run(agent(model="default")).output["content"] == "Hello"
    _, headers, body = stub[0]
    assert (headers["authorization"], body["model"]) == (f"Bearer {KEY}", "small")


@pytest.mark.skipif(sys.platform == "win32", reason="files have other permissions there")
def test_a_config_file_with_the_endpoints_key_is_for_its_owner_alone(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(f'[settings]\nmodel_api_key = "{KEY}"\n')
    config.chmod(0o644)
    with pytest.raises(errors.CallerError, match="chmod 600"):
        app(config=config)
