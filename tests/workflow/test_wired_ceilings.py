"""A ceiling that is wired to something without a value stops the block: it is never dropped."""

import itertools
import json

import pytest

from tests.durable.conftest import ENV
from tests.durable.flows import block, devin, flow, wait

CREATE = "devin_create_session"

# What stands in the field -> what it refers to.
WITHOUT_VALUE = {
    "{{CAP}}": "a variable that is not set",
    "{{EMPTY}}": "an empty variable",
    "{{BLANK}}": "a variable of nothing but blanks",
    "{{EMPTY}}{{EMPTY}}": "two empty variables",
    "<start.cap>": "an input that was not given",
    "<start.blank>": "a blank input",
    "<start.none>": "an input that is null",
    " <start.blank>": "a blank input in a text",
    "<untaken.sessionId>": "a branch that was not taken",
    "<nobody.cap>": "no block at all",
    "<variable.limit>": "a workflow variable without a value",
    "<variable.nobody>": "no workflow variable",
}


@pytest.fixture
def open_app(open_app):
    env = {**ENV, "EMPTY": "", "BLANK": "  ", "FIVE": "5"}
    return lambda **options: open_app(env=env, **options)


def start():
    inputs = [{"name": name, "type": "string"} for name in ("blank", "none", "cap")]
    return block("start", "start_trigger", inputFormat=inputs)


def document(*blocks):
    """Return a workflow in which `untaken` follows a branch that nothing takes."""
    branch = block(
        "branch", "condition", conditions='[{"id": "if", "title": "if", "value": "false"}]'
    )
    untaken = devin("untaken", "create_session", prompt="no")
    names = ["start", *(item["id"] for item in blocks)]
    edges = [*itertools.pairwise(names), ("start", "branch")]
    edges.append(("branch", "untaken", "condition-if"))
    made = flow(start(), branch, untaken, *blocks, edges=edges, start=False)
    made["variables"] = {
        "v": {"id": "v", "name": "limit", "type": "string", "value": ""},
        "n": {"id": "n", "name": "number", "type": "number", "value": ""},
    }
    return made


INPUTS = {"blank": "", "none": None}


def run(app, made, durable):
    """Return the error that a run ends with."""
    if not durable:
        return app.run(made, INPUTS).error
    run_id = app.runs.start(made, INPUTS)
    app.runs.follow(run_id)
    return app.runs.show(run_id)["error"]


def bodies(simulator):
    return [json.loads(entry.body) for entry in simulator.log if entry.method == "POST"]


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("written", WITHOUT_VALUE)
def test_a_cap_without_a_value_fails_its_block(open_app, simulator, written, durable):
    create = devin("ask", "create_session", name="Ask Devin", prompt="p", maxAcuLimit=written)
    create["name"] = "Ask Devin"
    error = run(open_app(), document(create), durable)
    assert "Ask Devin.maxAcuLimit" in error
    assert written.strip() in error
    assert bodies(simulator) == []


@pytest.mark.parametrize("written", ["{{FIVE}}", "<start.cap>", "5.0", "{{FIVE}}.0"])
def test_a_cap_with_a_value_goes_out(open_app, simulator, written):
    create = devin("ask", "create_session", prompt="p", maxAcuLimit=written)
    result = open_app().run(document(create), {**INPUTS, "cap": "5"})
    assert result.success, result.error
    assert [body["max_acu_limit"] for body in bodies(simulator)] == [5]


@pytest.mark.parametrize("left", ["", None])
def test_a_cap_that_was_left_empty_is_none(open_app, simulator, left):
    result = open_app().run(document(devin("ask", "create_session", prompt="p", maxAcuLimit=left)))
    assert result.success, result.error
    assert "max_acu_limit" not in bodies(simulator)[0]


def test_a_number_variable_without_a_value_is_no_cap_either(open_app, simulator):
    create = devin("ask", "create_session", prompt="p", maxAcuLimit="<variable.number>")
    assert "not a number above 0" in open_app().run(document(create)).error
    assert bodies(simulator) == []


def test_a_leftover_of_another_operation_stops_nothing(open_app):
    create = devin("ask", "create_session", prompt="p")
    send = devin("send", "send_message", sessionId="<ask.sessionId>", message="m")
    send["subBlocks"]["maxAcuLimit"] = {
        "id": "maxAcuLimit",
        "type": "short-input",
        "value": "{{CAP}}",
    }
    result = open_app().run(document(create, send))
    assert result.success, result.error


def test_a_wait_whose_time_has_no_value_does_not_take_an_hour(open_app, simulator):
    create = devin("ask", "create_session", prompt="p")
    error = run(open_app(), document(create, wait(of="ask", timeoutSeconds="{{EMPTY}}")), True)
    assert "wait.timeoutSeconds" in error


# -- agents ------------------------------------------------------------------------------------


class Asks:
    """A model that makes the call it was told to make, and remembers what it was offered."""

    def __init__(self, **arguments):
        self.arguments = {"prompt": "p", **arguments}
        self.offered = None

    def complete(self, messages, *, model, tools, response_format):
        self.offered = tools
        if any(message["role"] == "tool" for message in messages):
            return {"content": "done"}
        return {
            "content": "",
            "toolCalls": [{"name": tools[0]["name"], "arguments": self.arguments}],
        }


def agent(tool, **values):
    return block("agent", "agent", name="Agent", model="m", tools=tool, **values)


def entry(cap, **params):
    params = {"maxAcuLimit": cap, **params}
    return {"type": "devin", "operation": "create_session", "params": params}


def by_id(cap):
    return {"type": "tool", "toolId": CREATE, "params": {"maxAcuLimit": cap}}


@pytest.mark.parametrize("form", [entry, by_id])
@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("written", WITHOUT_VALUE)
def test_the_fixed_cap_of_an_agents_tool_is_no_models_to_set(
    open_app, simulator, written, as_text, form
):
    tools = [form(written)]
    app = open_app(llm=Asks(maxAcuLimit=500))
    error = app.run(document(agent(json.dumps(tools) if as_text else tools)), INPUTS).error
    assert error is not None
    assert "maxAcuLimit" in error
    assert bodies(simulator) == []


def test_the_cap_of_a_tool_that_was_left_empty_is_the_models(open_app, simulator):
    app = open_app(llm=Asks(maxAcuLimit=7))
    result = app.run(document(agent([entry("")])))
    assert result.success, result.error
    assert [body["max_acu_limit"] for body in bodies(simulator)] == [7]


def test_whatever_an_author_fixed_stays_fixed_without_a_value(open_app, simulator):
    """A model must not choose the session of a message because a reference came to nothing."""
    model = Asks(playbookId="playbook-of-the-model", maxAcuLimit=5)
    result = open_app(llm=model).run(
        document(agent([entry("", playbookId="<start.blank>")])), INPUTS
    )
    assert result.success, result.error
    assert "playbookId" not in model.offered[0]["parameters"]["properties"]
    assert "playbook_id" not in bodies(simulator)[0]


@pytest.mark.parametrize("field", ["maxTotalTokens", "maxCost", "maxTokens"])
@pytest.mark.parametrize("written", ["{{EMPTY}}", "<start.cap>", "{{CAP}}"])
def test_the_ceilings_of_an_agent_are_not_dropped(open_app, field, written):
    error = (
        open_app(llm=Asks()).run(document(agent([entry("5")], **{field: written})), INPUTS).error
    )
    assert f"Agent.{field}" in error


@pytest.mark.parametrize("value", ["nan", "Infinity", "1e400", "true", "1_0"])
def test_a_ceiling_of_an_agent_is_a_finite_number(open_app, value):
    error = open_app(llm=Asks()).run(document(agent([entry("5")], maxCost=value))).error
    assert "maxCost is not a number" in error
