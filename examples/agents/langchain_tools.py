"""Devin as LangChain tools.

Run it as it is: Devin is simulated, and a fake chat model makes the calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import BaseTool

import sim_devin


class DevinTool(BaseTool):
    """One of the app's tools.

    Not a `StructuredTool`: that keeps arguments called ``config`` and ``run_manager`` to itself.
    """

    execute: Callable[[str, dict[str, Any]], str]

    def _run(self, /, **arguments: Any) -> str:
        return self.execute(self.name, arguments)

    async def _arun(self, /, **arguments: Any) -> str:
        return await asyncio.to_thread(self.execute, self.name, arguments)


def devin_tools(app: sim_devin.App, bind: Mapping[str, Any] | None = None) -> list[DevinTool]:
    """Return the app's tools for ``model.bind_tools`` or an agent."""
    return [
        DevinTool(
            name=function["name"],
            description=function["description"],
            args_schema=function["parameters"],
            execute=partial(app.call_function, bind=bind),
        )
        for function in app.function_schemas("jsonschema", bind=bind)
    ]


def main() -> None:
    """Run offline."""
    arguments = {"prompt": "Fix the login.", "tags": ["from-langchain"]}
    call = {"name": "devin_create_session", "args": arguments, "id": "1", "type": "tool_call"}
    model = FakeMessagesListChatModel(
        responses=[AIMessage(content="", tool_calls=[call]), AIMessage(content="Devin is at it.")]
    )
    with sim_devin.open_app(simulate=True) as app:
        tools = {tool.name: tool for tool in devin_tools(app)}
        messages: list[BaseMessage] = [HumanMessage("Have Devin fix the login.")]
        while True:
            reply = model.invoke(messages)
            messages.append(reply)
            if not reply.tool_calls:
                break
            messages += [tools[call["name"]].invoke(call) for call in reply.tool_calls]
        for message in messages:
            message.pretty_print()


if __name__ == "__main__":
    main()
