"""The consumers that are written in Python, with their own pinned packages: no test imports this.

``consumers.py CONSUMER MCP-ADDRESS MODEL-ADDRESS TOOL…`` prints one line of JSON; see
`harness.record`.
"""

import asyncio
import json
import logging
import os
import sys
from importlib.metadata import version


async def openai_agents(mcp_url, model_url, tools):
    from agents import Agent, OpenAIChatCompletionsModel, Runner, set_tracing_disabled
    from agents.mcp import MCPServerStreamableHttp
    from openai import AsyncOpenAI

    set_tracing_disabled(True)
    told = {}
    client = AsyncOpenAI(base_url=f"{model_url}/v1", api_key="none", max_retries=0)
    async with MCPServerStreamableHttp({"url": mcp_url, "timeout": 60}) as server:
        agent = Agent(
            name="agent",
            model=OpenAIChatCompletionsModel("gpt-5", client),
            mcp_servers=[server],
            mcp_config={"convert_schemas_to_strict": True},
        )
        for name in tools:
            result = await Runner.run(agent, f"Call {name}.")
            outputs = [item for item in result.new_items if item.type == "tool_call_output_item"]
            told[name] = _told(outputs[0].output)
    return told, ["openai-agents", "mcp"]


async def litellm(mcp_url, model_url, tools):
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm
    from mcp import Client

    logging.disable(logging.CRITICAL)
    told = {}
    async with Client(mcp_url) as client:
        functions = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.input_schema,
                },
            }
            for tool in (await client.list_tools()).tools
        ]
        for name in tools:
            reply = await litellm.acompletion(
                model="gemini/gemini-2.5-flash",
                api_key="none",
                api_base=model_url,
                messages=[{"role": "user", "content": f"Call {name}."}],
                tools=functions,
            )
            (call,) = reply.choices[0].message.tool_calls
            arguments = json.loads(call.function.arguments)
            told[name] = _result(await client.call_tool(call.function.name, arguments))
    return told, ["litellm", "mcp"]


def _result(result):
    return {"error": result.is_error, "answer": result.structured_content}


def _told(output):
    text = output["text"] if isinstance(output, dict) else output
    return {"error": False, "answer": json.loads(text)}


CONSUMERS = {"openai-agents (Python)": openai_agents, "LiteLLM to Gemini": litellm}


def main():
    consumer, mcp_url, model_url, *tools = sys.argv[1:]
    told, packages = asyncio.run(CONSUMERS[consumer](mcp_url, model_url, tools))
    print(json.dumps({"versions": {name: version(name) for name in packages}, "tools": told}))  # noqa: T201


main()
