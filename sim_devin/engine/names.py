"""What the names in references stand for, and finding their values in a run.

Pure: a lookup reads the outputs, variables and passes it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from sim_devin.engine.contract import BlockError
from sim_devin.engine.graph import Graph, names
from sim_devin.engine.references import MISSING, Reference, normalize, walk
from sim_devin.engine.scopes import Scope
from sim_devin.engine.workflow import Loop
from sim_devin.specs.models import Schema
from sim_devin.text import did_you_mean


class _Mark:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


LITERAL: Any = _Mark("LITERAL")  # refers to nothing known: the text stays as it is
EMPTY: Any = _Mark("EMPTY")  # refers to a block that has no output yet

Outputs = Callable[[str], Mapping[str, Schema] | None]


class Memory(Protocol):
    """The state of a run that references read."""

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Node id -> output."""
        ...

    @property
    def variables(self) -> Mapping[str, Any]:
        """Variable id -> value."""
        ...

    @property
    def env(self) -> Mapping[str, str]:
        """What ``{{NAME}}`` stands for."""
        ...


Lookup = Callable[[Scope, Memory], Any]


class Names:
    """What the names in a workflow stand for. `outputs` gives the declared outputs of a block."""

    def __init__(self, graph: Graph, outputs: Outputs) -> None:
        self.graph = graph
        self.outputs = outputs
        workflow = graph.workflow
        self.blocks = names(workflow.blocks.values())
        self.containers = {
            name: block_id
            for name, block_id in self.blocks.items()
            if block_id in workflow.containers
        }
        self.variables: dict[str, str] = {}
        for variable in workflow.variables.values():
            self.variables.setdefault(normalize(variable.name), variable.id)
        self._found: dict[str, Lookup] = {}

    def lookup(self, reference: Reference) -> Lookup:
        """Return the function that finds a reference's value: it may be LITERAL or EMPTY."""
        found = self._found.get(reference.text)
        if found is None:
            found = self._found[reference.text] = self._bind(reference)
        return found

    def knows(self, reference: Reference) -> bool:
        """Return whether a reference names something; else it stays as text."""
        return self.lookup(reference) is not _nothing

    def target(self, reference: Reference) -> tuple[str, str]:
        """Return what a reference names, and its id.

        ``block``, ``container``, ``variable``, or ``pass`` for ``<loop…>`` and ``<parallel…>``,
        which have no id; two empty texts for nothing known.
        """
        head = reference.head
        if head in ("loop", "parallel"):
            return "pass", ""
        if head == "variable":
            key = self._variable_id(str(reference.path[0])) if reference.path else None
            return ("variable", key) if key else ("", "")
        if head in self.containers:
            return "container", self.containers[head]
        block_id = self.blocks.get(normalize(head))
        return ("block", block_id) if block_id else ("", "")

    def _variable_id(self, name: str) -> str | None:
        known = self.variables.get(normalize(name))
        return known or (name if name in self.graph.workflow.variables else None)

    def _bind(self, reference: Reference) -> Lookup:
        head = reference.head
        if head in ("loop", "parallel"):
            return _iteration(reference, head == "loop", None, _nothing)
        if head == "variable":
            return self._variable(reference)
        container = self.containers.get(head)
        if container is not None:
            return self._container(reference, container)
        block_id = self.blocks.get(normalize(head))
        return _nothing if block_id is None else self._block(reference, block_id)

    def _variable(self, reference: Reference) -> Lookup:
        if not reference.path:
            return _nothing
        name, path = str(reference.path[0]), reference.path[1:]
        key = self._variable_id(name)
        if key is None:
            return _nothing

        def find(_scope: Scope, memory: Memory) -> Any:
            value = walk(memory.variables.get(key), path)
            return LITERAL if value is MISSING else value

        return find

    def _container(self, reference: Reference, container_id: str) -> Lookup:
        is_loop = isinstance(self.graph.workflow.containers[container_id], Loop)

        def outside(scope: Scope, memory: Memory) -> Any:
            if reference.path:
                self._require_declared(container_id, reference.path, reference)
            return memory.outputs.get(scope.node_id(container_id), EMPTY)

        if reference.path and reference.path[0] in ("results", "result"):
            path = ("results", *reference.path[1:])

            def results(scope: Scope, memory: Memory) -> Any:
                output = memory.outputs.get(scope.node_id(container_id))
                if output is None:
                    return LITERAL
                value = walk(output, path)
                return EMPTY if value is MISSING else value

            return results
        return _iteration(reference, is_loop, container_id, outside)

    def _block(self, reference: Reference, block_id: str) -> Lookup:
        path = self._path(block_id, reference.path)
        in_parallel = any(
            not isinstance(self.graph.workflow.containers[container], Loop)
            for container in self.graph.workflow.chain(block_id)
        )

        def find(scope: Scope, memory: Memory) -> Any:
            output = memory.outputs.get(scope.node_id(block_id) if in_parallel else block_id)
            if output is None:
                return EMPTY
            value = walk(output, path)
            if value is MISSING:
                self._require_declared(block_id, path, reference)
                return EMPTY
            return value

        return find

    def _path(self, block_id: str, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
        """Leave out what old exports wrote in front of a path."""
        block_type = self.graph.workflow.blocks[block_id].type
        if block_type == "response" and path[:1] == ("response",):
            return path[1:]
        if block_type in ("workflow", "workflow_input") and path[:2] == ("result", "response"):
            return ("result", *path[2:])
        return path

    def _require_declared(
        self, block_id: str, path: tuple[str | int, ...], reference: Reference
    ) -> None:
        declared = (
            {"results": {"type": "array"}}
            if block_id in self.graph.workflow.containers
            else self.outputs(block_id)
        )
        if not declared or not path or is_declared(declared, path):
            return
        name = normalize(reference.head)
        raise BlockError(
            f'"{reference.path_text}" doesn\'t exist on block "{name}". '
            f"Available fields: {', '.join(declared)}",
            hint=did_you_mean(str(path[0]), declared),
            retry=False,
        )


def _nothing(_scope: Scope, _memory: Memory) -> Any:
    return LITERAL


def _iteration(
    reference: Reference, is_loop: bool, container_id: str | None, outside: Lookup
) -> Lookup:
    """Return the lookup of ``<loop.index>`` and its like; `outside` serves elsewhere."""

    def find(scope: Scope, memory: Memory) -> Any:
        inner = scope.enclosing(loop=is_loop, container_id=container_id)
        if inner is None or inner.owner is None:
            return outside(scope, memory)
        owner = inner.owner
        item = owner.item(inner.index)
        if not reference.path:
            whole: dict[str, Any] = {"index": inner.index}
            return (
                whole if item is MISSING else {**whole, "currentItem": item, "items": owner.items}
            )
        name, path = reference.path[0], reference.path[1:]
        if name == "index" or (is_loop and name == "iteration"):
            value: Any = inner.index
        elif name == "currentItem" or (is_loop and name == "item"):
            value = item
        elif name == "items":
            value = MISSING if owner.items is None else owner.items
        else:
            raise _unknown_property(reference, owner.items is not None)
        value = walk(value, path)
        return LITERAL if value is MISSING else value

    return find


def _unknown_property(reference: Reference, has_items: bool) -> BlockError:
    known = ("index", "currentItem", "items") if has_items else ("index",)
    return BlockError(
        f'"{reference.path_text}" doesn\'t exist on block "{reference.head}". '
        f"Available fields: {', '.join(known)}",
        hint=did_you_mean(str(reference.path[0]), known),
        retry=False,
    )


_SCALARS = frozenset({"string", "number", "integer", "boolean", "null"})


def _is_scalar(schema: Schema) -> bool:
    declared = schema.get("type") or ()
    kinds = [declared] if isinstance(declared, str) else list(declared)
    return bool(kinds) and _SCALARS.issuperset(kinds)


def is_declared(declared: Mapping[str, Schema], path: tuple[str | int, ...]) -> bool:
    """Return whether a path may lead somewhere in outputs declared like this."""
    schema = declared.get(str(path[0]))
    for piece in path[1:]:
        if schema is None or _is_scalar(schema):
            return False
        if isinstance(piece, int):
            schema = schema.get("items", {})
        elif "properties" in schema:
            schema = schema["properties"].get(piece)
        elif "items" in schema and piece != "length":
            # Sim reads a property of a list as one of its items'.
            items = schema["items"].get("properties")
            schema = {} if items is None else items.get(piece)
        else:
            schema = {}
    return schema is not None
