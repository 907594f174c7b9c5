"""The simulated language model of ``--simulate``: no account, no key, no network, to the end."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

import sim_devin
from sim_devin.cli.main import cli
from sim_devin.simulated import NAME, SAID, SimulatedModel
from tests.workflow.fakes import block, document, edge

EXAMPLE = Path(__file__).parent.parent / "examples" / "agent_hands_over.json"
SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["bug", "feature"]},
        "size": {"type": "integer", "minimum": 3},
        "why": {"type": "string"},
        "key": {"type": "string", "maxLength": 8},
        "parts": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    },
    "required": ["kind", "size", "why", "key", "parts"],
    "additionalProperties": False,
}


@pytest.fixture
def app():
    with sim_devin.open_app(simulate=True, env={}, discover=False) as app:
        yield app


def run(app, asking, **options):
    made = document([block("start", "start_trigger", "Start"), asking], [edge("start", "m")])
    result = app.run(made, **options)
    assert result.success, result.error
    return result.output


def agent(*tools, **values):
    messages = [{"role": "user", "content": "Fix the login."}]
    return block(
        "m", "agent", "Asker", messages=messages, model="gpt-4o", tools=list(tools), **values
    )


def devin(operation, control="auto", **params):
    return {"type": "devin", "operation": operation, "usageControl": control, "params": params}


def test_the_example_runs_without_an_account(app):
    output = app.run(EXAMPLE).output["data"]
    assert (output["outcome"], output["summary"]) == ("done", SAID)
    (session,) = app.call("devin_list_sessions")["sessions"]
    assert session["url"] == output["session"]
    assert session["tags"] == ["example", "agent"]


def test_the_example_runs_from_the_command_line(monkeypatch, tmp_path):
    for name in ("DEVIN_API_KEY", "DEVIN_ORG_ID", "OPENAI_API_KEY", "SIM_DEVIN_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    result = CliRunner().invoke(cli, ["run", str(EXAMPLE), "--simulate", "--json", "-q"])
    assert result.exit_code == 0, result.output
    assert SAID in result.stdout


def test_the_example_runs_as_a_durable_run(app):
    run_id = app.runs.start(EXAMPLE)
    assert app.runs.follow(run_id).output["data"]["summary"] == SAID


def test_it_says_that_it_is_simulated(app):
    output = run(app, agent())
    assert (output["content"], output["model"]) == (SAID, NAME)
    assert output["tokens"]["total"] == output["cost"]["total"] == 0


def test_it_calls_what_it_is_forced_to_and_nothing_that_is_off(app):
    tools = [
        devin("list_sessions"),
        devin("create_session", "force", tags="fixed"),
        devin("terminate_session", "none"),
    ]
    output = run(app, agent(*tools))
    (call,) = output["toolCalls"]["list"]
    assert (call["name"], call["success"]) == ("devin_create_session", True)
    assert call["arguments"] == {"prompt": "Fix the login."}
    assert output["content"] == f"{SAID} It called devin_create_session."


def test_it_calls_the_first_tool_it_may_once(app):
    output = run(app, agent(devin("list_sessions"), devin("create_session")))
    assert [call["name"] for call in output["toolCalls"]["list"]] == ["devin_list_sessions"]


def test_what_one_tool_answers_goes_into_the_next(app):
    tools = [devin("create_session", "force"), devin("get_session", "force")]
    created, got = run(app, agent(*tools))["toolCalls"]["list"]
    assert got["arguments"]["sessionId"] == created["result"]["sessionId"]
    assert got["success"]


def test_a_failed_call_teaches_it_nothing(app):
    tools = [devin("get_session", "force"), devin("send_message", "force")]
    failed, sent = run(app, agent(*tools))["toolCalls"]["list"]
    assert not failed["success"]
    assert sent["arguments"]["message"] == "Fix the login."


def test_its_structured_output_is_valid(app):
    output = run(app, agent(responseFormat={"name": "x", "schema": SCHEMA}))
    answer = {name: output[name] for name in SCHEMA["properties"]}
    Draft202012Validator(SCHEMA).validate(answer)
    assert answer["why"] == SAID
    assert answer["size"] == 3


def test_the_router_and_the_evaluator_get_an_answer(app):
    routes = [{"id": "r1", "value": "bugs"}, {"id": "r2", "value": "features"}]
    routed = run(app, block("m", "router_v2", "R", context="Dark mode!", routes=routes, model="m"))
    assert (routed["selectedRoute"], routed["reasoning"]) == ("r1", SAID)
    metrics = [{"name": "Clarity"}, {"name": "Depth"}]
    scored = run(app, block("m", "evaluator", "E", content="text", metrics=metrics, model="m"))
    assert {scored["clarity"], scored["depth"]} == {1}


def test_the_older_router_takes_a_block(app):
    made = document(
        [
            block("start", "start_trigger", "Start"),
            block("r", "router", "R", prompt="Dark mode!", model="m"),
            block("n", "note", "Next"),
            block("v", "variables", "Next"),
        ],
        [edge("start", "r"), edge("r", "v", "router-v")],
    )
    result = app.run(made)
    assert result.success, result.error
    assert result.block_outputs["r"]["selectedRoute"] == "v"


@pytest.mark.parametrize("schema", [{"type": "object", "not": {}}, {"$ref": "#/nowhere"}])
def test_a_schema_nobody_can_follow_is_answered_with_nothing(schema):
    reply = SimulatedModel().complete([], model="m", response_format={"schema": schema})
    assert json.loads(reply["content"]) == {}


def test_a_model_that_is_handed_in_is_asked_instead():
    class Own:
        def complete(self, messages, *, model, tools, response_format):
            return {"content": "Mine"}

    app = sim_devin.open_app(simulate=True, env={}, discover=False, llm=Own())
    assert run(app, agent())["content"] == "Mine"


def test_no_endpoint_is_asked_under_simulate():
    env = {"SIM_DEVIN_MODEL_URL": "http://127.0.0.1:9/v1", "OPENAI_API_KEY": "made-up"}
    app = sim_devin.open_app(simulate=True, env=env, discover=False)
    assert run(app, agent())["content"] == SAID
