"""Everything the engine needs from outside, in one object that can be passed in."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.clock import Clock
from sim_devin.specs.forms import FormField
from sim_devin.specs.models import BlockSpec, Schema


class BlockTransport(Protocol):
    """A transport."""

    def send(self, request: Request, *, timeout: float) -> Response:
        """Send one request and return the answer; `timeout` in seconds."""
        ...


class LanguageModel(Protocol):
    """A language model."""

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        model: str,
        tools: Sequence[Mapping[str, Any]],
        response_format: Mapping[str, Any] | None,
        settings: Mapping[str, Any] = ...,
    ) -> Mapping[str, Any]:
        """Return a reply: ``content``, and where known ``model``, ``tokens`` and ``cost``.

        The reply is plain JSON data, since durable runs record it. `settings` may hold
        ``apiKey``, ``temperature``, ``maxTokens``, ``timeout`` (seconds), ``toolChoice`` (name
        of the tool to call), ``choices`` (texts of which the messages want one as the answer)
        and ``cancel`` (event that is set when the run is to stop); a `complete` without that
        parameter is not given them.

        A reply with ``toolCalls`` (``{"id", "name", "arguments"}`` each) and no content is
        continued: the tools are called and their results sent as further messages. One
        that has content as well is the answer; its tools are called all the same. What it
        has as ``native`` comes back in the message that stands for it.
        """
        ...


def takes_settings(model: LanguageModel) -> bool:
    """Return whether a model can be given settings."""
    parameters = inspect.signature(model.complete).parameters.values()
    return any(item.name == "settings" or item.kind is item.VAR_KEYWORD for item in parameters)


class Services(Protocol):
    """The engine's outside world. The engine itself knows nothing of HTTP or of Devin."""

    @property
    def handlers(self) -> Mapping[str, Callable[[Any], Any]]:
        """Block type -> handler (`contract.Handler`); a type without one calls its tools."""
        ...

    @property
    def clock(self) -> Clock:
        """The time."""
        ...

    @property
    def transport(self) -> BlockTransport | None:
        """Sends requests of the API block."""
        ...

    @property
    def llm(self) -> LanguageModel | None:
        """The model of agents, routers and evaluators."""
        ...

    @property
    def allows_python(self) -> bool:
        """Whether Function blocks may run Python; only where the user asked for it."""
        ...

    @property
    def secrets(self) -> Iterable[str]:
        """Values known outside of the run that no log may show."""
        ...

    def block(self, block_type: str) -> BlockSpec | None:
        """Return a block type's spec, or None for an unknown type."""
        ...

    def form(self, block_type: str) -> tuple[FormField, ...]:
        """Return the fields of a block type."""
        ...

    def plan(self, block_type: str, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return which tool a block's values call, and with which parameters."""
        ...

    def outputs(self, block_type: str, operation: str | None) -> Mapping[str, Schema]:
        """Return output name -> schema of a block type, {} when it declares none."""
        ...

    def tool_params(self, tool_id: str) -> Mapping[str, Schema]:
        """Return the parameters a tool takes."""
        ...

    def model_input(self, tool_id: str) -> Iterable[str]:
        """Return the parameters of a tool that a language model reads."""
        ...

    def ceilings(self, tool_id: str) -> Iterable[str]:
        """Return the parameters of a tool that bound something."""
        ...

    def filters(self, tool_id: str) -> Iterable[str]:
        """Return the parameters of a tool that narrow down what it lists."""
        ...

    def refusals(self, tool_id: str, params: Mapping[str, Any]) -> Iterable[str]:
        """Return what a call would refuse about its parameters, ``name: what``; sends nothing.

        Credentials do not count.
        """
        ...

    def function(self, tool_id: str, bound: Mapping[str, Any]) -> dict[str, Any]:
        """Return a tool as a model sees it: ``name``, ``description``, ``parameters``.

        What the user bound is left out, and so is what no model may set.

        Raises:
            SimDevinError: there is no such tool, or it does not take what is bound.
        """
        ...

    def function_params(
        self, tool_id: str, arguments: Any, bound: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the parameters that a model's arguments, JSON text or an object, make.

        Raises:
            SimDevinError: they are wrong; with every problem at once, for the model.
        """
        ...

    def for_model(self, tool_id: str, params: Mapping[str, Any], answer: Any) -> Any:
        """Return a tool's answer without the secrets among the parameters it was called with."""
        ...

    def credentials(self, block_type: str) -> Mapping[str, str]:
        """Return credential field -> environment variable of the block's connections."""
        ...

    def has_credential(self, name: str) -> bool:
        """Return whether a credential is set outside of the workflow."""
        ...

    def call_tool(
        self,
        tool_id: str,
        params: Mapping[str, Any],
        *,
        cancel: threading.Event,
        timeout: float | None,
        ceilings: Mapping[str, float],
        on_progress: Callable[[Any], None] | None,
    ) -> dict[str, Any]:
        """Call a tool and return its output.

        Args:
            tool_id: the tool.
            params: its parameters, credentials among them.
            cancel: give up soon once it is set.
            timeout: seconds the call may take at most; None for the transport's own limits.
            ceilings: parameter -> highest value that may go out, whatever `params` say.
            on_progress: told about the steps of a long call.

        Raises:
            SimDevinError: the call failed.
        """
        ...

    def check_url(self, url: str) -> None:
        """Refuse a URL that a request may not reach, as far as that is written in it.

        Raises:
            AddressRefused: says what would allow it.
        """
        ...

    def workflow(self, workflow_id: str) -> Any:
        """Return a registered workflow for a child run (document or path), or None."""
        ...
