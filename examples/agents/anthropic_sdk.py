"""Devin as tools of an Anthropic model.

Run it as it is: the model is a stub on this machine and Devin is simulated. With a key, use
``Anthropic()`` and ``sim_devin.open_app()`` and leave out the stub.
"""

from __future__ import annotations

import json
from typing import Any

from anthropic import Anthropic
from stub import stub

import sim_devin


def run(client: Anthropic, app: sim_devin.App, task: str) -> str:
    """Let the model work on the task until it has no more calls, and return what it says."""
    tools: Any = app.function_schemas("anthropic")
    messages: list[Any] = [{"role": "user", "content": task}]
    while True:
        reply = client.messages.create(
            model="claude-sonnet-5", max_tokens=4096, messages=messages, tools=tools
        )
        messages.append({"role": "assistant", "content": reply.content})
        results = []
        for block in reply.content:
            if block.type == "tool_use":
                answer = app.call_function(block.name, block.input, ceilings={"maxAcuLimit": 10})
                result = {"tool_use_id": block.id, "content": answer, "is_error": answer.is_error}
                results.append({"type": "tool_result", **result})
        if not results:
            return "".join(block.text for block in reply.content if block.type == "text")
        messages.append({"role": "user", "content": results})


def main() -> None:
    """Run offline."""
    with (
        sim_devin.open_app(simulate=True) as app,
        stub([_mistake, _create, _tell]) as url,
        Anthropic(base_url=url, api_key="none", max_retries=0) as client,
    ):
        print(run(client, app, "Have Devin fix the login in acme/web."))


# -- what the stub says ----------------------------------------------------------------------


def _reply(*content: dict[str, Any]) -> dict[str, Any]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "1", "type": "message", "role": "assistant", "model": "x", "usage": usage}
    return {**message, "content": list(content), "stop_reason": "end_turn", "stop_sequence": None}


def _call(name: str, **arguments: Any) -> dict[str, Any]:
    return _reply({"type": "tool_use", "id": name, "name": name, "input": arguments})


def _mistake(_body: dict[str, Any]) -> dict[str, Any]:
    return _call("devin_create_session", task="Fix the login.", method="DELETE")


def _create(body: dict[str, Any]) -> dict[str, Any]:
    # The answer lists everything that was wrong with the call before.
    (result,) = body["messages"][-1]["content"]
    assert result["is_error"], result
    return _call("devin_create_session", prompt="Fix the login.")


def _tell(body: dict[str, Any]) -> dict[str, Any]:
    (result,) = body["messages"][-1]["content"]
    text = f"Devin is at it: {json.loads(result['content'])['url']}"
    return _reply({"type": "text", "text": text})


if __name__ == "__main__":
    main()
