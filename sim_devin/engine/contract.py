"""The contract of block handlers.

A handler is a function of one argument that returns the block's output::

    def greet(block: BlockContext) -> dict[str, Any]:
        return {"text": f"Hello {block.values['name']}"}

A plugin returns it from the hook `sim_devin_handlers` under the block's type. It runs on a worker
thread, since it may do I/O; one that only computes declares ``@handler(inline=True)`` and runs in
the thread that drives the run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from sim_devin.clock import Clock
    from sim_devin.engine.events import Event
    from sim_devin.engine.graph import Node
    from sim_devin.engine.problem import Problem
    from sim_devin.engine.run import BlockLog, RunResult
    from sim_devin.engine.scopes import Scope
    from sim_devin.engine.services import Services
    from sim_devin.engine.workflow import Block, Variable
    from sim_devin.specs.models import Schema

# How a field's references are resolved before the handler is called:
#   value       text, or the referenced value itself where the field is declared as one
#   code        JavaScript source in which references are bound variables (`CodeText`)
#   conditions  rows of a condition, each with its expression resolved
#   raw         as stored
FieldMode = Literal["value", "code", "conditions", "raw"]


class Handler(Protocol):
    """Runs one block."""

    def __call__(self, block: BlockContext, /) -> Any:
        """Return the output: a mapping, a `Pause`, a `Sleep`, or any other JSON value."""
        ...


@dataclass(frozen=True)
class Written:
    """The fields of a block before a run, for a handler's check.

    Attributes:
        block: the block in the document.
        values: field id -> value, for the fields without references.
        unknown: ids of the fields known only during a run.
        from_env: ids of fields with values of environment variables, which no message may show.
        is_open: tells whether a value is known only during a run: for parts of an unknown field.
        services: the services available to the run.
        env: the values of ``{{NAME}}``; None if neither they nor credentials are known.
    """

    block: Block
    values: Mapping[str, Any] = field(repr=False)
    unknown: frozenset[str]
    from_env: frozenset[str]
    is_open: Callable[[Any], bool]
    services: Services
    env: Mapping[str, str] | None = field(repr=False)


# Yields invalid values; a problem's place is the id of the field.
Check = Callable[[Written], "Iterable[Problem]"]


@dataclass(frozen=True)
class HandlerOptions:
    """How the engine treats a handler; see `handler`."""

    inline: bool = False
    modes: Mapping[str, FieldMode] = field(default_factory=dict)
    retries: bool = True
    needs_source: bool = False
    outputs: Callable[[Block], Mapping[str, Schema] | None] | None = None
    also_for_model: tuple[str, ...] = ()
    check: Check | None = None


DEFAULT_OPTIONS = HandlerOptions()


def handler(
    *,
    inline: bool = False,
    modes: Mapping[str, FieldMode] | None = None,
    retries: bool = True,
    needs_source: bool = False,
    outputs: Callable[[Block], Mapping[str, Schema] | None] | None = None,
    also_for_model: tuple[str, ...] = (),
    check: Check | None = None,
) -> Callable[[Handler], Handler]:
    """Return a decorator that sets how the engine treats a handler.

    Args:
        inline: it does no I/O and returns quickly, so it needs no thread.
        modes: field id -> how its references are resolved; default: ``value``.
        retries: whether the block's retry policy applies.
        needs_source: whether it reads `BlockContext.source`.
        outputs: a block's outputs, if they depend on the block; None for anything. Otherwise the
            spec's own outputs count.
        also_for_model: fields of which a part goes to a language model; `BlockContext.for_model`
            has them without the values of environment variables. A field that a model reads as
            a whole has ``modelInput`` in the block's spec instead.
        check: yields a `Problem` for each invalid value, before anything runs; its place is the
            id of the field. A SimDevinError that it raises counts as one too.
    """

    def decorate(function: Handler) -> Handler:
        options = HandlerOptions(
            inline, modes or {}, retries, needs_source, outputs, also_for_model, check
        )
        function.options = options  # type: ignore[attr-defined]
        return function

    return decorate


def options_of(function: Handler) -> HandlerOptions:
    """Return a handler's options."""
    options: HandlerOptions = getattr(function, "options", DEFAULT_OPTIONS)
    return options


@dataclass(frozen=True)
class CodeText:
    """JavaScript with its references bound: `source` reads the names in `bindings`."""

    source: str
    bindings: Mapping[str, Any]
    shown: str  # the source with values written out, for the log
    told: str = ""  # the source with variables by name, for messages about its lines


@dataclass(frozen=True)
class Pause:
    """Returned by a handler that waits for a person or a time: suspends the run.

    Attributes:
        output: the block's output until then.
        response: what the paused run returns.
        kind: ``human`` or ``time``.
        resume_at: Unix time from which a ``time`` pause may resume.
    """

    output: Mapping[str, Any]
    response: Mapping[str, Any]
    kind: Literal["human", "time"] = "human"
    resume_at: float | None = None


@dataclass(frozen=True)
class Sleep:
    """Returned by a handler that finishes after some seconds, without holding a thread."""

    seconds: float
    output: Mapping[str, Any]
    reason: str = ""


class BlockError(Exception):
    """A block failed: `output` is added to the ``error`` in its output."""

    def __init__(
        self,
        message: str,
        *,
        output: Mapping[str, Any] | None = None,
        hint: str = "",
        retry: bool = True,
        child_logs: list[BlockLog] | None = None,
    ) -> None:
        super().__init__(message)
        self.child_logs = child_logs
        self.output = dict(output or {})
        self.hint = hint
        self.retry = retry


class RunAccess(Protocol):
    """The parts of the run that a handler can access, through its `BlockContext`."""

    services: Services
    run_id: str
    env: Mapping[str, str]
    stop: threading.Event

    def call_tool(
        self, tool_id: str, params: Mapping[str, Any], on_progress: Callable[[Any], None]
    ) -> dict[str, Any]:
        """Call a tool within the run's ceilings, deadline and cancel event."""

    def remaining(self) -> float | None:
        """Return the seconds left until the run's deadline, or None without one."""
        ...

    def variable(self, name: str, variable_id: str | None) -> Variable | None:
        """Return the workflow variable of that id, else of exactly that name."""
        ...

    def set_variable(self, variable: Variable, value: Any) -> None:
        """Set a workflow variable for everything that resolves it later."""
        ...

    def run_child(self, workflow_id: str, inputs: Mapping[str, Any], block_id: str) -> RunResult:
        """Run another workflow for a block and return its result."""
        ...

    def relay(self, event: Event) -> None:
        """Pass on an event of a child run; from any thread."""

    def origins_of(self, block_id: str) -> Mapping[str, bool]:
        """Return the environment variables that a block's fields may contain."""
        ...

    def without_variables(self, value: Any, block_id: str) -> Any:
        """Return data without the values of a block's environment variables."""
        ...

    def waiting(self, log: BlockLog, reason: str, data: Mapping[str, Any]) -> None:
        """Tell the listener why the block is waiting."""
        ...

    def warn(self, log: BlockLog, block: Block, text: str, field: str) -> None:
        """Add a warning to the run's result, once for each field of a block."""
        ...


class BlockContext:
    """One execution of a block, as its handler sees it.

    Attributes:
        block: the block in the document.
        node: its place in the graph: `node.targets` maps handles to block ids.
        node_id: its id in this pass, which distinguishes branches and clones.
        values: the resolved fields: field id -> value.
        source: output of the first block connected into it when it started, {} without one
            (only for handlers with ``needs_source``).
        scope: the passes around it.
        for_model: fields as a language model may read them, for those in the handler's
            ``also_for_model``.
    """

    __slots__ = ("_log", "_run", "for_model", "node", "node_id", "scope", "source", "values")

    def __init__(
        self,
        run: RunAccess,
        log: BlockLog,
        node: Node,
        node_id: str,
        values: dict[str, Any],
        source: Mapping[str, Any],
        scope: Scope,
        for_model: Mapping[str, Any] | None = None,
    ) -> None:
        self._run = run
        self._log = log
        self.node = node
        self.node_id = node_id
        self.values = values
        self.source = source
        self.scope = scope
        self.for_model = for_model or {}

    def over(self, run: RunAccess) -> BlockContext:
        """Return the same block with different access to its run."""
        return BlockContext(
            run,
            self._log,
            self.node,
            self.node_id,
            self.values,
            self.source,
            self.scope,
            self.for_model,
        )

    @property
    def run(self) -> RunAccess:
        """The block's access to its run; handlers use the methods here instead."""
        return self._run

    @property
    def log(self) -> BlockLog:
        """The block's log entry, which is completed after the handler has returned."""
        return self._log

    @property
    def block(self) -> Block:
        """The block in the document."""
        return self.node.block

    @property
    def services(self) -> Services:
        """The external services: tools, transport, model, clock."""
        return self._run.services

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self._run.run_id

    @property
    def env(self) -> Mapping[str, str]:
        """The variables for ``{{NAME}}``."""
        return self._run.env

    @property
    def clock(self) -> Clock:
        """The clock; wait with ``block.clock.wait(block.cancel, seconds)``."""
        return self._run.services.clock

    @property
    def cancel(self) -> threading.Event:
        """Set when the run has to stop."""
        return self._run.stop

    @property
    def transport(self) -> Any:
        """Sends requests: ``send(request, timeout=seconds)``."""
        return self._run.services.transport

    @property
    def llm(self) -> Any:
        """The model, or None."""
        return self._run.services.llm

    @property
    def context_id(self) -> str:
        """Id under which a pause of this block is answered."""
        loop = self.scope.enclosing(loop=True)
        return self.node_id if loop is None else f"{self.node_id}_loop{loop.index}"

    def remaining(self) -> float | None:
        """Return the seconds left until the run's deadline, or None without one."""
        return self._run.remaining()

    def call_tool(self, tool_id: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Call a tool within the run's ceilings, deadline and cancel event.

        Raises:
            SimDevinError: the call failed.
        """
        return self._run.call_tool(tool_id, params, self._progress)

    def _progress(self, progress: Any) -> None:
        describe = getattr(progress, "to_json", None)
        self.waiting("waiting", progress=describe() if describe else str(progress))

    def plan(self, values: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Return the tool that the block's values call, and its parameters."""
        chosen = self.values if values is None else values
        return self._run.services.plan(self.block.type, chosen)

    def target(self, handle: str) -> dict[str, str] | None:
        """Return the block that a handle leads to, as outputs name it, or None."""
        target = self.node.targets.get(handle)
        if target is None:
            return None
        block = self.scope.graph.workflow.blocks[target]
        return {"blockId": target, "blockType": block.type, "blockTitle": block.name}

    def variable(self, name: str, variable_id: str | None = None) -> Variable | None:
        """Return the workflow variable of that id, else of exactly that name."""
        return self._run.variable(name, variable_id)

    def set_variable(self, variable: Variable, value: Any) -> None:
        """Set a workflow variable for everything that resolves it later."""
        self._run.set_variable(variable, value)

    def run_child(self, workflow_id: str, inputs: Mapping[str, Any]) -> RunResult:
        """Run another workflow and return its result."""
        result = self._run.run_child(workflow_id, inputs, self.block.id)
        for text in result.warnings:
            self.warn(text, "")
        return result

    def without_variables(self, value: Any) -> Any:
        """Return JSON data as a language model may read it.

        Values of environment variables in the block's fields are replaced by ``{{NAME}}`` again,
        for example if a service echoes a key that it was sent.
        """
        return self._run.without_variables(value, self.block.id)

    def waiting(self, reason: str, **data: Any) -> None:
        """Tell the listener why the block is waiting."""
        self._run.waiting(self._log, reason, data)

    def warn(self, text: str, field: str) -> None:
        """Add a warning to the run's result, once for each text and field of the block."""
        self._run.warn(self._log, self.block, text, field)
