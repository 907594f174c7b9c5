"""Implements ``--simulate``: the built-in simulator instead of the network, and a simulated model.

The simulated model responds in the requested shape and calls the forced tool, or else the first
allowed one once, so that a workflow can run to its end without an account. Its output is valid and
says that it is simulated.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.clock import Clock
from sim_devin.errors import NotAllowed, TimedOut, TransportError
from sim_devin.simulator import SimClock, Simulator
from sim_devin.simulator.schema_example import instance
from sim_devin.specs import json_schema
from sim_devin.specs.models import SIMULATED

NAME = "simulated"
COST = {"input": 0, "output": 0, "total": 0}
DEVIN = "api.devin.ai"
SAID = "This reply is simulated: no language model was called."


class SimulatedTransport:
    """A transport that passes requests to a simulator in this process.

    Attributes:
        simulates: id of the connection whose service it replaces.
        simulator: the simulated Devin.
        clock: the clock they share. By default it moves only while something waits, so hours take
            no time.
    """

    simulates = SIMULATED

    def __init__(self, clock: Clock | None = None, simulator: Simulator | None = None) -> None:
        self.clock: Clock = clock or SimClock(speed=0)
        self.simulator = simulator or Simulator(clock=self.clock)

    def send(self, request: Request, *, timeout: float) -> Response:
        """Return the simulator's response.

        Raises:
            TimedOut: the simulator was told to be silent, or slower than `timeout` seconds.
            TransportError: it was told to break the connection.
            NotAllowed: a workflow's request is for another service.
        """
        parts = urlsplit(request.url)
        answer = self.simulator.handle(
            request.method,
            parts.path,
            parse_qsl(parts.query, keep_blank_values=True),
            request.headers,
            request.body() or b"",
        )
        if request.untrusted and answer.status == 404 and parts.hostname != DEVIN:
            raise NotAllowed(
                f"{parts.hostname} is not simulated: only Devin's API is.",
                hint="Run the workflow without --simulate.",
            )
        if answer.delay:
            self.clock.wait(threading.Event(), min(answer.delay, timeout))
        if answer.fault == "timeout" or answer.delay > timeout:
            raise TimedOut(f"No response within {timeout:.3g} s.")
        if answer.fault is not None:
            raise TransportError(
                f"The connection broke before a response arrived ({answer.fault})."
            )
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status, headers, answer.body)


class SimulatedModel:
    """Responds immediately and deterministically; see `engine.services.LanguageModel`."""

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str,  # noqa: ARG002 - whatever a block's model is
        tools: Sequence[Mapping[str, Any]] = (),
        response_format: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return a tool call, or a response in the requested shape."""
        settings = settings or {}
        results = [item for item in messages if item.get("role") == "tool"]
        about = {"model": NAME, "cost": COST}
        called = _next_tool(tools, results, settings.get("toolChoice"))
        if called is not None:
            arguments = _filled(_required(called["parameters"]), _known(results), _asked(messages))
            call = {"id": f"call-{len(results) + 1}", "name": called["name"]}
            return {**about, "content": "", "toolCalls": [{**call, "arguments": arguments}]}
        if response_format is not None:
            answer = _filled(response_format["schema"], _known(results), SAID)
            return {**about, "content": json.dumps(answer)}
        choices = settings.get("choices")
        return {**about, "content": choices[0] if choices else _in_words(results)}


def _next_tool(
    tools: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]], forced: str | None
) -> Mapping[str, Any] | None:
    if forced:
        return next((tool for tool in tools if tool["name"] == forced), None)
    return tools[0] if tools and not results else None


def _required(parameters: Mapping[str, Any]) -> dict[str, Any]:
    properties = parameters.get("properties", {})
    needed = {name: properties[name] for name in parameters.get("required", ())}
    return {**parameters, "properties": needed}


def _asked(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the last user message."""
    said = [str(item.get("content") or "") for item in messages if item.get("role") == "user"]
    return said[-1] if said else SAID


def _known(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the tool outputs, by name, so that an id leads to its object."""
    known: dict[str, Any] = {}
    for result in results:
        answer = json.loads(result["content"])
        if isinstance(answer, dict) and answer.get("error") is not True:
            known |= answer
    return known


def _filled(schema: Mapping[str, Any], known: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return a valid object: known values by name, `text` where any text will do."""
    made = instance(schema)
    fitting = json_schema.validator(schema)
    for name, example in made.items():
        options = [known[name]] if name in known else []
        if example == "example":
            options.append(text)
        for option in options:
            if fitting.is_valid({**made, name: option}):
                made[name] = option
                break
    return made


def _in_words(results: Sequence[Mapping[str, Any]]) -> str:
    names = ", ".join(str(result.get("name")) for result in results)
    return f"{SAID} It called {names}." if names else SAID
