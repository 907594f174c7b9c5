"""Devin as a pydantic-ai toolset, in which what cannot be undone waits for a person.

Run it as it is: Devin is simulated, and a function stands for the model.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.tools import RunContext, ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
from pydantic_core import SchemaValidator, core_schema

import sim_devin


class DevinToolset(AbstractToolset[Any]):
    """The app's tools. Arguments are checked by the app, which tells the model all problems."""

    id = "devin"

    def __init__(self, app: sim_devin.App, **options: Any) -> None:
        self.app, self.options = app, options

    async def get_tools(self, _ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """Return the tools; destructive ones need an approval."""
        anything = SchemaValidator(core_schema.any_schema())
        tools = {}
        for item in self.app.function_schemas("jsonschema", bind=self.options.get("bind")):
            destructive = self.app.registry.tool(item["name"]).traits.destructive
            definition = ToolDefinition(
                name=item["name"],
                description=item["description"],
                parameters_json_schema=item["parameters"],
                kind="unapproved" if destructive else "function",
            )
            tools[item["name"]] = ToolsetTool(
                toolset=self, tool_def=definition, max_retries=2, args_validator=anything
            )
        return tools

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], _ctx: RunContext[Any], _tool: ToolsetTool[Any]
    ) -> str:
        """Call a tool beside the event loop."""
        return await asyncio.to_thread(self.app.call_function, name, tool_args, **self.options)


async def run(app: sim_devin.App) -> None:
    """Start a session, and ask before it is terminated."""
    agent = Agent(
        FunctionModel(_model),
        toolsets=[DevinToolset(app, ceilings={"maxAcuLimit": 10})],
        output_type=[str, DeferredToolRequests],
    )
    result = await agent.run("Start a session and stop it again.")
    assert isinstance(result.output, DeferredToolRequests)
    for call in result.output.approvals:
        print(f"May it call {call.tool_name} with {call.args}? Yes.")
    approved = {call.tool_call_id: True for call in result.output.approvals}
    result = await agent.run(
        message_history=result.all_messages(),
        deferred_tool_results=DeferredToolResults(approvals=approved),
    )
    print(result.output)


def main() -> None:
    """Run offline."""
    with sim_devin.open_app(simulate=True) as app:
        asyncio.run(run(app))


# -- what stands for the model ---------------------------------------------------------------


def _model(messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
    parts = [part for message in messages for part in message.parts]
    returned = [part for part in parts if part.part_kind == "tool-return"]
    if not returned:
        call = ToolCallPart("devin_create_session", {"prompt": "Fix the login."})
        return ModelResponse(parts=[call])
    session = json.loads(str(returned[-1].content))
    if returned[-1].tool_name == "devin_create_session":
        call = ToolCallPart("devin_terminate_session", {"sessionId": session["sessionId"]})
        return ModelResponse(parts=[call])
    return ModelResponse(parts=[TextPart(f"The session is over: {session['status']}.")])


if __name__ == "__main__":
    main()
