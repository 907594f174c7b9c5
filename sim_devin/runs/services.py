"""The engine's outside world, as an app has it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sim_devin.calls.ceilings import lowered, lowest, of_tool
from sim_devin.calls.request import Request
from sim_devin.clock import Clock
from sim_devin.engine.contract import Handler
from sim_devin.engine.events import Listener
from sim_devin.engine.services import BlockTransport, LanguageModel, takes_settings
from sim_devin.errors import Cancelled, InvalidParams, SimDevinError, UnknownName
from sim_devin.functions.calls import dry_run, for_model
from sim_devin.functions.schemas import functions_of
from sim_devin.policy.gate import Gate
from sim_devin.policy.rules import Approve
from sim_devin.specs.forms import FormField
from sim_devin.specs.models import BlockSpec, Schema
from sim_devin.toolbox import Toolbox

logger = logging.getLogger("sim_devin")


class _WithoutSettings:
    """A model that was passed in and has settings of its own."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        settings: Mapping[str, Any] | None = None,  # noqa: ARG002 - what it does not take
        **options: Any,
    ) -> Mapping[str, Any]:
        return self._model.complete(messages, **options)


class _Untrusted:
    """Sends what a workflow asks for: wherever the address came from, it is judged."""

    def __init__(self, sender: BlockTransport) -> None:
        self._sender = sender

    def send(self, request: Request, *, timeout: float) -> Any:
        return self._sender.send(replace(request, untrusted=True), timeout=timeout)


@dataclass(frozen=True, kw_only=True)
class Attendance:
    """What a caller that waits for a run brings along (`App.run`). None of it is stored.

    Attributes:
        on_event: told what happens.
        cancel: set it to cancel the run.
        deadline: seconds from now after which it is cancelled.
        reconcile: whether ambiguous creates and messages are looked for; they fail otherwise.
        approve: asked at once where the policy requires approval; without it the answer is no.
        gate: the policy that binds the calls, and its account; the app's own unless given.
        children: returns the document or path of a child workflow by id, or None.
        allow_python: whether Function blocks may run Python, whatever the run's options say.
    """

    on_event: Listener | None = None
    cancel: threading.Event | None = None
    deadline: float | None = None
    reconcile: bool = False
    approve: Approve | None = None
    gate: Gate | None = None
    children: Callable[[str], Any] | None = None
    allow_python: bool = False


class AppServices:
    """Implements `services.Services` over an app.

    Args:
        app: the app.
        allows_python: whether Function blocks may run Python.
        attendance: what the caller that waits for the run brings along, if one does.
    """

    def __init__(
        self, app: Toolbox, *, allows_python: bool = False, attendance: Attendance | None = None
    ) -> None:
        self._app = app
        self._attendance = attendance or Attendance()
        self._allows_python = allows_python or self._attendance.allow_python

    @cached_property
    def _gate(self) -> Gate:
        return self._attendance.gate or self._app.gate.over_runs()

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Block type -> handler."""
        return self._app.registry.handlers

    @property
    def clock(self) -> Clock:
        """The time."""
        return self._app.clock

    @property
    def transport(self) -> BlockTransport:
        """Sends requests of the API block, and of what plugins' blocks send without a tool."""
        return _Untrusted(self._app.transport)

    @property
    def llm(self) -> LanguageModel | None:
        """The model; None if there is none."""
        model: LanguageModel | None = self._app.llm
        return model if model is None or takes_settings(model) else _WithoutSettings(model)

    @property
    def allows_python(self) -> bool:
        """Whether Function blocks may run Python."""
        return self._allows_python

    @property
    def secrets(self) -> Iterable[str]:
        """The app's own credentials."""
        registry = self._app.registry
        found = [
            value
            for connection in registry.connections.values()
            for name, value in self._app.credentials_of(connection.id).items()
            if connection.fields[name].secret
        ]
        return [*found, self._app.settings.model_api_key]

    def block(self, block_type: str) -> BlockSpec | None:
        """Return a block type's spec, or None."""
        return self._app.registry.blocks.get(block_type)

    def form(self, block_type: str) -> tuple[FormField, ...]:
        """Return the fields of a block type."""
        return self._app.registry.form(block_type)

    def plan(self, block_type: str, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return which tool a block's values call, and with which parameters."""
        return self._app.plan_block(block_type, values)

    def outputs(self, block_type: str, operation: str | None) -> Mapping[str, Schema]:
        """Return output name -> schema of a block type."""
        return self._app.registry.outputs(block_type, operation)

    def tool_params(self, tool_id: str) -> Mapping[str, Schema]:
        """Return the parameters a tool takes; none for an unknown one."""
        tool = self._app.registry.tools.get(tool_id)
        return {} if tool is None else tool.properties

    def model_input(self, tool_id: str) -> Iterable[str]:
        """Return the parameters of a tool that a language model reads; none for an unknown one."""
        tool = self._app.registry.tools.get(tool_id)
        return () if tool is None else tool.traits.model_input

    def ceilings(self, tool_id: str) -> Iterable[str]:
        """Return the parameters of a tool that bound something."""
        tool = self._app.registry.tools.get(tool_id)
        return () if tool is None else tool.traits.ceilings

    def filters(self, tool_id: str) -> Iterable[str]:
        """Return the parameters of a tool that narrow down what it lists."""
        tool = self._app.registry.tools.get(tool_id)
        if tool is None or not tool.traits.paginated:
            return ()
        return [name for name in tool.properties if name not in tool.required]

    def refusals(self, tool_id: str, params: Mapping[str, Any]) -> Iterable[str]:
        """Return what a call would refuse about its parameters; credentials do not count."""
        tool = self._app.registry.tools.get(tool_id)
        connection = self._app.registry.connections.get((tool and tool.connection) or "")
        fields = connection.fields if connection else ()
        own = self._app.credentials_of(connection.id) if connection else {}
        missing = {name: "x" for name in fields if not own.get(name)}
        try:
            self._app.build_request(tool_id, params, credentials=missing)
        except InvalidParams as error:
            return error.problems
        except SimDevinError:
            return ()  # it is no single request, or told otherwise
        except Exception as error:  # code of a plugin; a run tells what becomes of it
            logger.warning("a call of %s cannot be checked: %s", tool_id, type(error).__name__)
        return ()

    def function(self, tool_id: str, bound: Mapping[str, Any]) -> dict[str, Any]:
        """Return a tool as a model sees it, in what every provider takes."""
        (exported,) = functions_of(self._app).schemas("openai", bind=bound, tools=[tool_id])
        function: dict[str, Any] = exported["function"]
        return function

    def function_params(
        self, tool_id: str, arguments: Any, bound: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the parameters that a model's arguments make under what the user bound."""
        return dict(functions_of(self._app).read(tool_id, arguments, bind=bound).params)

    def for_model(self, tool_id: str, params: Mapping[str, Any], answer: Any) -> Any:
        """Return a tool's answer without the secrets among the parameters it was called with."""
        return for_model(self._app, self._app.registry.tool(tool_id), params, answer)

    def credentials(self, block_type: str) -> Mapping[str, str]:
        """Return credential field -> environment variable of the block's connections."""
        registry = self._app.registry
        block = registry.blocks.get(block_type)
        found: dict[str, str] = {}
        for tool_id in block.operations.values() if block is not None else ():
            tool = registry.tools.get(tool_id)
            connection = registry.connections.get(tool.connection or "") if tool else None
            for name, field in connection.fields.items() if connection else ():
                found.setdefault(name, field.env)
        return found

    def has_credential(self, name: str) -> bool:
        """Return whether the app itself has a credential of this name."""
        connections = self._app.registry.connections
        return any(self._app.credentials_of(key).get(name) for key in connections)

    def call_tool(
        self,
        tool_id: str,
        params: Mapping[str, Any],
        *,
        cancel: threading.Event,
        timeout: float | None,
        ceilings: Mapping[str, float],
        on_progress: Callable[[Any], None] | None,
        act: Callable[..., dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """Call a tool through the app, or through `act`, if the policy lets it."""
        spec = self._app.registry.tools.get(tool_id)
        if spec is None:
            raise UnknownName("tool", tool_id, self._app.registry.tools)
        asked = lowered(params, of_tool(spec, ceilings))
        with self._gate.admitted(spec, asked, self._attendance.approve) as allowed:
            if allowed.dry_run:
                return dry_run(self._app, spec, lowered(asked, allowed.ceilings))
            if cancel.is_set():  # the yes came too late
                raise Cancelled(f"{tool_id} was cancelled before it was sent.")
            return (act or self._app.call)(
                tool_id,
                asked,
                ceilings=lowest(ceilings, allowed.ceilings),
                cancel=cancel,
                deadline=timeout,
                on_progress=on_progress,
                admitted=self._gate.draws_for(self._app.gate),
            )

    def check_url(self, url: str) -> None:
        """Refuse a URL that a request may not reach, as far as that is written in it."""
        self._app.settings.network.check_url(url)

    def workflow(self, workflow_id: str) -> Any:
        """Return the child workflow that the caller knows by an id, or None."""
        find = self._attendance.children
        return None if find is None else find(workflow_id)
