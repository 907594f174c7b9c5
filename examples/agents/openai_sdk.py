"""Devin as tools of an OpenAI model.

Run it as it is: the model is a stub on this machine and Devin is simulated. With a key, use
``OpenAI()`` and ``sim_devin.open_app()`` and leave out the stub.
"""

from __future__ import annotations

import json
from typing import Any

from openai import OpenAI
from stub import stub

import sim_devin


def run(client: OpenAI, app: sim_devin.App, task: str) -> str:
    """Let the model work on the task until it has no more calls, and return what it says."""
    tools: Any = app.function_schemas("openai", strict=True)
    messages: list[Any] = [{"role": "user", "content": task}]
    while True:
        reply = client.chat.completions.create(model="gpt-5", messages=messages, tools=tools)
        message = reply.choices[0].message
        messages.append(message)
        if not message.tool_calls:
            return message.content or ""
        for call in message.tool_calls:
            function = call.function
            answer = app.call_function(
                function.name, function.arguments, ceilings={"maxAcuLimit": 10}
            )
            messages.append({"role": "tool", "tool_call_id": call.id, "content": answer})


def main() -> None:
    """Run offline."""
    with (
        sim_devin.open_app(simulate=True) as app,
        stub([_create, _wait, _tell]) as url,
        OpenAI(base_url=url, api_key="none", max_retries=0) as client,
    ):
        print(run(client, app, "Have Devin fix the login in acme/web."))


# -- what the stub says ----------------------------------------------------------------------


def _reply(message: dict[str, Any]) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "x", "choices": [choice]}


def _call(name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return _reply({"tool_calls": [{"id": name, "type": "function", "function": function}]})


def _create(_body: dict[str, Any]) -> dict[str, Any]:
    # A strict model sends every parameter: null for what it does not want.
    return _call("devin_create_session", prompt="Fix the login.", title=None, maxAcuLimit=50)


def _wait(body: dict[str, Any]) -> dict[str, Any]:
    session = json.loads(body["messages"][-1]["content"])
    return _call("devin_wait_for_session", sessionId=session["sessionId"], timeoutSeconds=None)


def _tell(body: dict[str, Any]) -> dict[str, Any]:
    session = json.loads(body["messages"][-1]["content"])
    pulls = ", ".join(item["pr_url"] for item in session["pullRequests"])
    return _reply({"content": f"{session['outcome']}: {pulls}"})


if __name__ == "__main__":
    main()
