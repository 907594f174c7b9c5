"""The adapters of examples/agents run as they stand, against stubs and the simulator."""

import asyncio
from importlib import import_module
from pathlib import Path

import pytest

import sim_devin
from sim_devin import Specs, hookimpl
from sim_devin.specs.models import ToolSpec

EXAMPLES = Path(__file__).parent.parent / "examples" / "agents"


@pytest.mark.parametrize(
    ("name", "needs", "says"),
    [
        ("openai_sdk", "openai", "done: https://github.com/"),
        ("anthropic_sdk", "anthropic", "Devin is at it: https://app.devin.ai/sessions/"),
        ("langchain_tools", "langchain_core", '"tags": ["from-langchain"]'),
        ("pydantic_ai_toolset", "pydantic_ai", "The session is over: exit."),
    ],
)
def test_example(name, needs, says, monkeypatch, capsys, tmp_path):
    pytest.importorskip(needs)
    for variable in ("DEVIN_API_KEY", "DEVIN_ORG_ID", "DEVIN_BASE_URL", "SIM_DEVIN_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.syspath_prepend(EXAMPLES)
    import_module(name).main()
    assert says in capsys.readouterr().out


def test_every_example_is_tested():
    names = {file.stem for file in EXAMPLES.glob("*.py")} - {"stub"}
    assert names == {"openai_sdk", "anthropic_sdk", "langchain_tools", "pydantic_ai_toolset"}


# Names that libraries and our own functions use for themselves.
NAMES = ["config", "name", "run_manager", "self", "func", "callbacks", "arguments", "app", "bind"]


class Plugin:
    """Brings a tool whose parameters have such names, and which answers with what it got."""

    __name__ = "names"

    @hookimpl
    def sim_devin_specs(self):
        properties = {name: {"type": "string", "description": "D."} for name in NAMES}
        tool = ToolSpec(
            id="names_echo",
            title="Echo",
            description="Answer with the parameters.",
            params={"type": "object", "properties": properties, "additionalProperties": False},
            output={"type": "object", "properties": {"got": {"type": "object"}}},
            run=lambda params, _context: {"got": dict(params)},
        )
        return Specs(tools=(tool,))


@pytest.fixture
def app():
    with sim_devin.open_app(simulate=True, env={}, discover=False, plugins=[Plugin()]) as app:
        yield app


GIVEN = {name: f"the {name}" for name in NAMES}


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_every_argument_arrives_by_way_of_langchain(app, monkeypatch, way):
    pytest.importorskip("langchain_core")
    monkeypatch.syspath_prepend(EXAMPLES)
    tools = {tool.name: tool for tool in import_module("langchain_tools").devin_tools(app)}
    tool = tools["names_echo"]
    assert list(tool.tool_call_schema["properties"]) == NAMES
    call = {"name": "names_echo", "args": GIVEN, "id": "1", "type": "tool_call"}
    answer = tool.invoke(call) if way == "invoke" else asyncio.run(tool.ainvoke(call))
    assert app.call_function("names_echo", GIVEN) == answer.content
    assert app.call_function("names_echo", GIVEN).output == {"got": GIVEN}


def test_what_is_bound_goes_out_by_way_of_langchain(app, monkeypatch):
    pytest.importorskip("langchain_core")
    monkeypatch.syspath_prepend(EXAMPLES)
    bound = import_module("langchain_tools").devin_tools(app, bind={"config": "mine"})
    (tool,) = (tool for tool in bound if tool.name == "names_echo")
    assert "config" not in tool.tool_call_schema["properties"]
    assert '"config": "mine"' in tool.invoke({"name": "a", "config": "theirs"})


def test_every_argument_arrives_by_way_of_pydantic_ai(app, monkeypatch):
    pytest.importorskip("pydantic_ai")
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
    from pydantic_ai.models.function import FunctionModel

    def model(messages, _info):
        part = messages[-1].parts[-1]
        if part.part_kind == "tool-return":
            return ModelResponse(parts=[TextPart(part.content)])
        return ModelResponse(parts=[ToolCallPart("names_echo", GIVEN)])

    monkeypatch.syspath_prepend(EXAMPLES)
    toolset = import_module("pydantic_ai_toolset").DevinToolset(app)
    result = asyncio.run(Agent(FunctionModel(model), toolsets=[toolset]).run("Echo."))
    assert result.output == app.call_function("names_echo", GIVEN)
