"""A workflow made ready to run: graph, handlers and fields compiled, once for many runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.engine import graph as graphs
from sim_devin.engine import serializer
from sim_devin.engine.code_templates import LoopCondition, compile_field
from sim_devin.engine.contract import Handler, HandlerOptions, options_of
from sim_devin.engine.graph import Graph, Node
from sim_devin.engine.names import Names
from sim_devin.engine.references import Reference, split
from sim_devin.engine.services import Services
from sim_devin.engine.start import input_fields, is_start, start_block
from sim_devin.engine.templates import Template, compile_value
from sim_devin.engine.tool_block import run_tool
from sim_devin.engine.trigger_block import trigger
from sim_devin.engine.workflow import NOTE, Block, Loop, Workflow
from sim_devin.errors import InvalidWorkflow, MissingCredentials
from sim_devin.specs.forms import FormField
from sim_devin.specs.models import Schema

NO_RETRY = ("human_in_the_loop", NOTE)


class Step:
    """What is needed to run one node, precomputed.

    `constants` holds every field in order; those with references are rendered over it.
    """

    __slots__ = (
        "also_for_model",
        "ceilings",
        "check",
        "constants",
        "dynamic",
        "handler",
        "inline",
        "leaf",
        "name",
        "node",
        "read_by_models",
        "source",
        "stored",
        "tries",
        "wait",
    )

    def __init__(self, node: Node, handler: Handler, options: HandlerOptions, leaf: bool) -> None:
        self.node = node
        self.name = node.block.name
        self.handler = handler
        self.inline = options.inline
        self.leaf = leaf
        retry = node.block.retry
        retries = options.retries and retry is not None and node.block.type not in NO_RETRY
        self.tries = retry.tries if retries and retry is not None else 1
        self.wait = retry.wait if retry is not None else 0.0
        self.stored: Mapping[str, Any] = {}  # the fields as they stand in the document
        self.constants: dict[str, Any] = {}
        self.dynamic: list[tuple[str, Template]] = []
        self.read_by_models: frozenset[str] = frozenset()  # fields
        self.ceilings: frozenset[str] = frozenset()  # fields
        self.also_for_model: tuple[str, ...] = options.also_for_model
        self.check = options.check
        self.source: str | None = None  # id of the first block connected into it


class Program:
    """A workflow compiled for one start block.

    Args:
        workflow: the document, its lost values bound.
        services: what there is to run it with.
        kind: how the run starts, see `start.start_block`.
        everything: keep blocks the start block does not reach, as run-from-block does.

    Raises:
        InvalidWorkflow: no start block, or a block of an unknown type.
    """

    def __init__(
        self,
        workflow: Workflow,
        services: Services,
        *,
        kind: str = "manual",
        everything: bool = False,
    ) -> None:
        self.workflow = workflow
        self.services = services
        self.kind = kind
        self._forms: dict[str, tuple[FormField, ...]] = {}
        self._declared: dict[str, Mapping[str, Schema] | None] = {}
        self.start = start_block(workflow, kind, self.is_trigger)
        problems = unknown_types(workflow, services)
        if problems:
            raise InvalidWorkflow(problems, hint=UNKNOWN_TYPE_HINT)
        self.graph: Graph = graphs.build(workflow, self.start.id, everything=everything)
        self.names = Names(self.graph, self.declared_outputs)
        self._first_source: dict[str, str] = {}
        for edge in workflow.edges:
            self._first_source.setdefault(edge.target, edge.source)
        self.steps: dict[str, Step] = {}
        self.collections: dict[str, Any] = {}
        self.conditions: dict[str, LoopCondition] = {}
        for body in (self.graph.root, *self.graph.bodies.values()):
            for node in body.nodes:
                if node.block.is_container:
                    self._compile_container(node.block)
                else:
                    self.steps[node.id] = self._step(node, body is self.graph.root)

    def is_trigger(self, block_type: str) -> bool:
        """Return whether a block type is nothing but a trigger."""
        spec = self.services.block(block_type)
        return spec is not None and spec.category == "triggers"

    def form(self, block_type: str) -> tuple[FormField, ...]:
        """Return the fields of a block type."""
        found = self._forms.get(block_type)
        if found is None:
            known = self.services.block(block_type) is not None
            found = self._forms[block_type] = self.services.form(block_type) if known else ()
        return found

    def declared_outputs(self, block_id: str) -> Mapping[str, Schema] | None:
        """Return the declared outputs of a block, None where anything may come."""
        if block_id not in self._declared:
            self._declared[block_id] = self._outputs(self.workflow.blocks[block_id])
        return self._declared[block_id]

    def _outputs(self, block: Block) -> Mapping[str, Schema] | None:
        if is_start(block, self.is_trigger):
            if block.type != "start_trigger":
                return None
            fields = {field["name"]: _field_schema(field) for field in input_fields(block)}
            return {**fields, "input": {}, "conversationId": {}, "files": {}}
        handler = self.services.handlers.get(block.type)
        declare = None if handler is None else options_of(handler).outputs
        if declare is not None:
            return declare(block)
        spec = self.services.block(block.type)
        if spec is None:
            return None
        operation = block.values.get(spec.operation_field) or spec.default_operation or None
        is_known = isinstance(operation, str) and operation in spec.operations
        if operation is not None and not is_known:
            return None
        return self.services.outputs(block.type, operation) or None

    def _step(self, node: Node, at_root: bool) -> Step:
        block = node.block
        handler = self.services.handlers.get(block.type)
        if is_start(block, self.is_trigger):
            handler = handler or trigger
        if handler is None:
            handler = run_tool
        options = options_of(handler)
        step = Step(node, handler, options, at_root and not node.out)
        fields = self.form(block.type)
        types = {item.id: item.type for item in fields}
        stored = serializer.params(block, fields) if fields else dict(block.values)
        step.stored = stored
        step.read_by_models = frozenset(
            item.id for item in fields if item.read_by_model(block.values)
        )
        step.ceilings = frozenset(item.id for item in fields if item.bounds(block.values))
        for key, value in stored.items():
            compiled = compile_field(
                value,
                self.names,
                options.modes.get(key, "value"),
                typed=types.get(key, "string") != "string",
            )
            step.constants[key] = compiled
            if isinstance(compiled, Template):
                step.dynamic.append((key, compiled))
        if options.needs_source:
            step.source = self._first_source.get(block.id)
        return step

    def _compile_container(self, block: Block) -> None:
        container = self.workflow.containers[block.id]
        self.collections[block.id] = compile_collection(container.items, self.names)
        if isinstance(container, Loop):
            source = {
                "while": container.while_condition,
                "doWhile": container.do_while_condition,
            }.get(container.kind, "")
            self.conditions[block.id] = LoopCondition(source, self.names)

    def require_fields(self, env: Mapping[str, str]) -> None:
        """Check, before anything runs, that nothing needed was left empty.

        Raises:
            InvalidWorkflow: required fields have no value; names every one.
            MissingCredentials: a credential refers to a variable that is not set.
        """
        problems: list[str] = []
        unset: list[str] = []
        for block in self.workflow.blocks.values():
            if not block.enabled or is_start(block, self.is_trigger) or block.is_container:
                continue
            credentials = self.services.credentials(block.type)
            provided = [name for name in credentials if self.services.has_credential(name)]
            missing = serializer.missing_fields(block, self.form(block.type), credentials, provided)
            if missing:
                titles = ", ".join(item.title or item.id for item in missing)
                problems.append(f"{block.name} is missing required fields: {titles}")
            unset += [
                f"{block.name}.{field} needs the variable {variable}"
                for field, variable in serializer.unset_credentials(block, credentials, env)
            ]
        if problems:
            raise InvalidWorkflow(
                problems,
                hint="Exports omit secrets: bind them, for example with --set "
                '"Block.field={{VARIABLE}}".',
            )
        if unset:
            raise MissingCredentials(
                f"{'; '.join(dict.fromkeys(unset))}.",
                hint="Set it in the environment, or pass it with the run's env.",
            )


def _field_schema(field: Mapping[str, Any]) -> Schema:
    kind = field.get("type")
    return {"type": kind} if kind in ("string", "number", "boolean") else {}


UNKNOWN_TYPE_HINT = (
    "A plugin adds block types with the hooks sim_devin_specs and sim_devin_handlers: "
    "see sim-devin plugins."
)


def unknown_types(workflow: Workflow, services: Services) -> list[str]:
    """Return one problem for each block whose type nothing here can run."""
    return [
        f"block {block.name!r}: unknown block type {block.type!r}"
        for block in workflow.blocks.values()
        if needs_plugin(block, services)
    ]


def needs_plugin(block: Block, services: Services) -> bool:
    """Return whether a block is of a type that no plugin here brings.

    A block that acts as a trigger needs none: it only hands on what the run was given.
    """
    if block.type == NOTE or block.is_container or is_start(block, lambda _: False):
        return False
    return services.block(block.type) is None and block.type not in services.handlers


def compile_collection(items: Any, names: Names) -> Any:
    """Return a container's collection: a template if it is one reference and nothing else.

    References inside a longer text are not looked at, as in Sim.
    """
    if isinstance(items, str):
        segments = split(items)
        if len(segments) == 1 and isinstance(segments[0], Reference):
            return compile_value(items, names, typed=True)
    return items
