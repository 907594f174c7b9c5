"""What clients of the MCP server, libraries and providers make of the schemas of our tools.

``make consumers`` records it in consumers/recorded.json; ``make mcp`` sets MCP_CONSUMERS to Node's
command and holds the record to what those written in JavaScript do.
"""

import json
import os
import shlex
from pathlib import Path

import pytest

pytest.importorskip("mcp")
pytest.importorskip("uvicorn")

from consumers import harness
from mcp import Client

from sim_devin.mcp import server as mcp_server

TESTS = Path(__file__).parent
RECORDED = json.loads((TESTS / "consumers" / "recorded.json").read_text(encoding="utf-8"))
SERVED, CONSUMERS = RECORDED["served"], RECORDED["consumers"]
NODE = shlex.split(os.environ.get("MCP_CONSUMERS", ""))
JAVASCRIPT = sorted(set(CONSUMERS) - {"openai-agents (Python)", "LiteLLM to Gemini"})
MEANT = {
    "devin_create_session": {"prompt": "Fix the login"},
    "devin_list_sessions": {},
    "acme_report": {"kind": "report", "who": {"name": "Ada"}},
}


def parameters(consumer, tool):
    """Return the schema of each parameter as the consumer has it, and the names it requires."""
    schema = CONSUMERS[consumer]["tools"][tool]["becomes"]
    return schema["properties"], schema.get("required", [])


def branches(schema):
    inner = schema.get("anyOf", ())
    return [leaf for item in inner for leaf in branches(item)] if inner else [schema]


def accepts_null(schema):
    return any(
        item.get("nullable") or item == {} or "null" in (item.get("type") or ())
        for item in branches(schema)
    )


def values(schema):
    """Return the texts that a schema enumerates."""
    listed = [item.get("enum", [item.get("const")]) for item in branches(schema)]
    return {value for item in listed for value in item if value is not None}


def test_the_record_is_of_the_schemas_that_are_served():
    assert harness.served() == SERVED, "the schemas changed; run: make consumers"


EVERY = [(consumer, tool) for consumer in sorted(CONSUMERS) for tool in harness.TOOLS]


@pytest.mark.parametrize(("consumer", "tool"), EVERY)
def test_a_model_can_leave_out_every_optional_parameter(consumer, tool):
    properties, required = parameters(consumer, tool)
    served = SERVED[tool]["inputSchema"]
    assert properties.keys() == served["properties"].keys()
    forced = set(required) - set(served.get("required", ()))
    assert not {name for name in forced if not accepts_null(properties[name])}
    assert set(served.get("required", ())) <= set(required)


@pytest.mark.parametrize("consumer", sorted(CONSUMERS))
def test_enums_keep_their_values_and_objects_of_any_shape_stay_open(consumer):
    properties, _ = parameters(consumer, "acme_report")
    assert values(properties["kind"]) == {"report"}
    assert values(properties["mode"]) == {"fast", "slow", "never"}  # beside null
    properties, _ = parameters(consumer, "devin_create_session")
    (free,) = (
        item
        for item in branches(properties["structuredOutputSchema"])
        if item.get("type") == "object"
    )
    assert free.get("additionalProperties") is not False
    assert not free.get("properties")


@pytest.mark.parametrize(("consumer", "tool"), EVERY)
def test_a_call_comes_back_right(consumer, tool):
    recorded = CONSUMERS[consumer]["tools"][tool]
    with harness.open_app() as app:
        assert app.functions.read(tool, recorded["sent"]).params == MEANT[tool]
    assert recorded["error"] is False
    assert set(recorded["answered"]) <= set(SERVED[tool]["outputSchema"]["properties"])
    assert recorded["sessions"] == (1 if tool == "devin_list_sessions" else None)


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_official_python_client_takes_null_for_absent(mode):
    with harness.open_app() as app:
        async with Client(mcp_server.build(app), mode=mode) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            for name in harness.TOOLS:
                schema = tools[name].input_schema
                assert harness.wordless(schema) == SERVED[name]["inputSchema"]
                given = {**dict.fromkeys(schema["properties"]), **MEANT[name]}
                result = await client.call_tool(name, given)  # it checks the output
                assert not result.is_error, result.content
            listed = await client.call_tool("devin_list_sessions", dict.fromkeys(["tags", "after"]))
    assert len(listed.structured_content["sessions"]) == 1


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.skipif(not NODE, reason="MCP_CONSUMERS is not set")
@pytest.mark.parametrize("consumer", JAVASCRIPT)
def test_consumers_written_in_javascript_do_what_is_recorded(consumer):
    command = [*NODE, str(TESTS / "mcp_suite" / "consumers.mjs")]
    assert harness.record(command, consumer) == CONSUMERS[consumer]
