"""Fields with references, compiled once and rendered each time their block starts.

Data is never scanned: only what stands in the document is looked at for ``<…>`` and
``{{…}}``, so nothing that a block puts out can refer to a secret or to another block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from sim_devin import javascript_text
from sim_devin.errors import did_you_mean
from sim_devin.graph import Graph, names, option_rows
from sim_devin.handler import BlockError, CodeText, FieldMode
from sim_devin.javascript_text import Scanner
from sim_devin.references import (
    MISSING,
    EnvName,
    Reference,
    Segment,
    json_text,
    normalise,
    split,
    value_text,
    walk,
)
from sim_devin.scopes import Scope
from sim_devin.spec import Schema
from sim_devin.workflow import Loop


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

    outputs: Mapping[str, Any]
    variables: Mapping[str, Any]  # id -> value
    env: Mapping[str, str]


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
        self.variables = {}
        for variable in workflow.variables.values():
            self.variables.setdefault(normalise(variable.name), variable.id)
        self._found: dict[str, Lookup] = {}

    def lookup(self, reference: Reference) -> Lookup:
        """Return the function that finds a reference's value: it may be LITERAL or EMPTY."""
        found = self._found.get(reference.text)
        if found is None:
            found = self._found[reference.text] = self._bind(reference)
        return found

    def _bind(self, reference: Reference) -> Lookup:
        head = reference.head
        if head in ("loop", "parallel"):
            return _iteration(reference, head == "loop", None, _nothing)
        if head == "variable":
            return self._variable(reference)
        container = self.containers.get(head)
        if container is not None:
            return self._container(reference, container)
        block_id = self.blocks.get(normalise(head))
        return _nothing if block_id is None else self._block(reference, block_id)

    def _variable(self, reference: Reference) -> Lookup:
        if not reference.path:
            return _nothing
        name, path = str(reference.path[0]), reference.path[1:]
        variables = self.graph.workflow.variables
        key = self.variables.get(normalise(name)) or (name if name in variables else None)
        if key is None:
            return _nothing

        def find(scope: Scope, memory: Memory) -> Any:
            value = walk(memory.variables.get(key), path)
            return LITERAL if value is MISSING else value

        return find

    def _container(self, reference: Reference, container_id: str) -> Lookup:
        is_loop = isinstance(self.graph.workflow.containers[container_id], Loop)
        as_block = self._block(reference, container_id)
        if reference.path and reference.path[0] in ("results", "result"):
            path = ("results", *reference.path[1:])

            def results(scope: Scope, memory: Memory) -> Any:
                output = memory.outputs.get(scope.node_id(container_id))
                if output is None:
                    return LITERAL
                value = walk(output, path)
                return EMPTY if value is MISSING else value

            return results
        return _iteration(reference, is_loop, container_id, as_block)

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
        name = normalise(reference.head)
        raise BlockError(
            f'"{reference.path_text}" doesn\'t exist on block "{name}". '
            f"Available fields: {', '.join(declared)}",
            hint=did_you_mean(str(path[0]), declared),
            retry=False,
        )


def _nothing(scope: Scope, memory: Memory) -> Any:
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


def is_declared(declared: Mapping[str, Schema], path: tuple[str | int, ...]) -> bool:
    """Return whether a path may lead somewhere in outputs declared like this."""
    schema = declared.get(str(path[0]))
    for piece in path[1:]:
        if schema is None:
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


# -- templates -----------------------------------------------------------------------------------


class Template:
    """A value with references in it. `has_env`: parts of it come from the environment."""

    has_env = False

    def render(self, scope: Scope, memory: Memory) -> Any:
        """Return the value.

        Raises:
            BlockError: a reference names what its block does not put out.
        """
        raise NotImplementedError

    def shown(self, scope: Scope, memory: Memory) -> Any:
        """Return the value as logs may show it: environment values by name."""
        return self.render(scope, memory)


class _Text(Template):
    def __init__(self, segments: tuple[Segment, ...], bound: Names) -> None:
        self._parts = [
            (segment, bound.lookup(segment) if isinstance(segment, Reference) else None)
            for segment in segments
        ]
        self.has_env = any(isinstance(segment, EnvName) for segment in segments)

    def render(self, scope: Scope, memory: Memory) -> str:
        return self._render(scope, memory, memory.env)

    def shown(self, scope: Scope, memory: Memory) -> str:
        return self._render(scope, memory, {})

    def _render(self, scope: Scope, memory: Memory, env: Mapping[str, str]) -> str:
        parts: list[str] = []
        for segment, lookup in self._parts:
            if lookup is not None:
                value = lookup(scope, memory)
                if value is LITERAL:
                    parts.append(segment.text)  # type: ignore[union-attr]
                elif value is not EMPTY:
                    parts.append(value if type(value) is str else value_text(value))
            elif isinstance(segment, EnvName):
                parts.append(env.get(segment.name, segment.text))
            else:
                parts.append(segment)  # type: ignore[arg-type]
        return "".join(parts)


class _Whole(Template):
    """A value that is one reference, into a field that is not text: it keeps its type."""

    def __init__(self, reference: Reference, bound: Names) -> None:
        self._text = reference.text
        self._lookup = bound.lookup(reference)

    def render(self, scope: Scope, memory: Memory) -> Any:
        value = self._lookup(scope, memory)
        if value is LITERAL:
            return self._text
        return None if value is EMPTY else value


class _List(Template):
    def __init__(self, items: list[Any]) -> None:
        self._items = items
        self.has_env = any(getattr(item, "has_env", False) for item in items)

    def render(self, scope: Scope, memory: Memory) -> list[Any]:
        return [
            item.render(scope, memory) if isinstance(item, Template) else item
            for item in self._items
        ]

    def shown(self, scope: Scope, memory: Memory) -> list[Any]:
        return [
            item.shown(scope, memory) if isinstance(item, Template) else item
            for item in self._items
        ]


class _Object(Template):
    def __init__(self, items: dict[str, Any]) -> None:
        self._items = items
        self.has_env = any(getattr(item, "has_env", False) for item in items.values())

    def render(self, scope: Scope, memory: Memory) -> dict[str, Any]:
        return {
            key: item.render(scope, memory) if isinstance(item, Template) else item
            for key, item in self._items.items()
        }

    def shown(self, scope: Scope, memory: Memory) -> dict[str, Any]:
        return {
            key: item.shown(scope, memory) if isinstance(item, Template) else item
            for key, item in self._items.items()
        }


def compile_value(value: Any, bound: Names, *, typed: bool = False) -> Any:
    """Return a `Template`, or the value itself if it holds no reference."""
    if isinstance(value, str):
        segments = split(value)
        if not any(not isinstance(segment, str) for segment in segments):
            return value
        if typed and len(segments) == 1 and isinstance(segments[0], Reference):
            return _Whole(segments[0], bound)
        return _Text(segments, bound)
    if isinstance(value, list):
        items = [compile_value(item, bound) for item in value]
        return _List(items) if any(isinstance(item, Template) for item in items) else value
    if isinstance(value, dict):
        fields = {key: compile_value(item, bound) for key, item in value.items()}
        changed = any(isinstance(item, Template) for item in fields.values())
        return _Object(fields) if changed else value
    return value


def compile_field(value: Any, bound: Names, mode: FieldMode, *, typed: bool) -> Any:
    """Return how a field's value is had when its block starts; see `FieldMode`."""
    if mode == "raw" or value is None:
        return value
    if mode == "code":
        return Code(code_text(value), bound)
    if mode == "conditions":
        return Conditions(option_rows(value), bound)
    return compile_value(value, bound, typed=typed)


def code_text(value: Any) -> str:
    """Return the source in a code field: text, or a list of ``{"content": …}`` cells."""
    if isinstance(value, list):
        cells = (item.get("content") if isinstance(item, Mapping) else item for item in value)
        return "\n".join(str(cell) for cell in cells if cell is not None)
    return value if isinstance(value, str) else value_text(value)


class Code(Template):
    """The source of a Function block. References become bound variables."""

    def __init__(self, source: str, bound: Names) -> None:
        self._segments = split(source)
        self._bound = bound
        self.has_env = any(isinstance(segment, EnvName) for segment in self._segments)

    def render(self, scope: Scope, memory: Memory) -> CodeText:
        """Return the source with its bindings.

        Raises:
            BlockError: a reference names what is not there.
        """
        scanner = Scanner()
        source: list[str] = []
        shown: list[str] = []
        bindings: dict[str, Any] = {}
        for segment in self._segments:
            if isinstance(segment, str):
                scanner.feed(segment)
                source.append(segment)
                shown.append(segment)
            elif isinstance(segment, EnvName):
                shown.append(segment.text)
                source.append(self._environment(segment, scanner, memory, bindings))
            else:
                value = self._bound.lookup(segment)(scope, memory)
                if value is LITERAL:
                    _require_variable(segment, self._bound)
                    scanner.feed(segment.text)
                    source.append(segment.text)
                    shown.append(segment.text)
                else:
                    value = None if value is EMPTY else value
                    source.append(_bind(value, scanner, bindings))
                    shown.append(json_text(value))
        return CodeText("".join(source), bindings, "".join(shown))

    def _environment(
        self, name: EnvName, scanner: Scanner, memory: Memory, bindings: dict[str, Any]
    ) -> str:
        value = memory.env.get(name.name)
        if value is None:
            scanner.feed(name.text)
            return name.text
        if scanner.place != "code":
            return javascript_text.escaped(value)
        scanner.value()
        key = f"__env{len(bindings)}"
        bindings[key] = value
        return key


def _require_variable(reference: Reference, bound: Names) -> None:
    if reference.head == "variable" and reference.path:
        known = [variable.name for variable in bound.graph.workflow.variables.values()]
        raise BlockError(
            f'Variable "{reference.path[0]}" doesn\'t exist. Available: {", ".join(known)}',
            hint=did_you_mean(str(reference.path[0]), known),
            retry=False,
        )


def _bind(value: Any, scanner: Scanner, bindings: dict[str, Any]) -> str:
    key = f"__ref{len(bindings)}"
    place = scanner.place
    if place == "code":
        scanner.value()
        if value is None:
            return "null"
        bindings[key] = value
        return key
    if place in ("line", "block"):
        return key
    bindings[key] = value
    if place == "template":
        return f"${{JSON.stringify({key})}}"
    quote = "'" if place == "single" else '"'
    return f"{quote} + JSON.stringify({key}) + {quote}"


class Conditions(Template):
    """The rows of a condition block, each expression resolved to JavaScript."""

    has_env = True

    def __init__(self, rows: list[Mapping[str, Any]], bound: Names) -> None:
        self._rows = [(row, Expression(row.get("value"), bound)) for row in rows]

    def render(self, scope: Scope, memory: Memory) -> list[dict[str, Any]]:
        return [
            {**row, "value": expression.render(scope, memory)} for row, expression in self._rows
        ]

    def shown(self, scope: Scope, memory: Memory) -> list[dict[str, Any]]:
        return [{**row, "value": expression.shown(scope, memory)} for row, expression in self._rows]


class Expression(Template):
    """One condition: JavaScript in which values are written out."""

    def __init__(self, source: Any, bound: Names) -> None:
        self._segments = split(source) if isinstance(source, str) else ()
        self._bound = bound

    def render(self, scope: Scope, memory: Memory) -> str:
        return self._write(scope, memory, memory.env)

    def shown(self, scope: Scope, memory: Memory) -> str:
        return self._write(scope, memory, {})

    def _write(self, scope: Scope, memory: Memory, env: Mapping[str, str]) -> str:
        scanner = Scanner()
        parts: list[str] = []
        for segment in self._segments:
            text = segment if isinstance(segment, str) else segment.text
            if isinstance(segment, Reference):
                value = self._bound.lookup(segment)(scope, memory)
                if value is not LITERAL:
                    scanner.value()
                    parts.append(javascript_text.literal(None if value is EMPTY else value, "'"))
                    continue
            elif isinstance(segment, EnvName) and segment.name in env:
                inside = scanner.place != "code"
                scanner.value()
                found = env[segment.name]
                parts.append(
                    javascript_text.escaped(found)
                    if inside
                    else javascript_text.environment_literal(found)
                )
                continue
            scanner.feed(text)
            parts.append(text)
        return "".join(parts)


class LoopCondition:
    """The condition of a while or doWhile loop. Environment names are not looked at."""

    def __init__(self, source: str, bound: Names) -> None:
        self._segments = split(source)
        self._bound = bound

    def render(self, scope: Scope, memory: Memory) -> str:
        """Return the condition as JavaScript; a reference to nothing known stays as it is."""
        parts: list[str] = []
        for segment in self._segments:
            if not isinstance(segment, Reference):
                parts.append(segment if isinstance(segment, str) else segment.text)
                continue
            value = self._bound.lookup(segment)(scope, memory)
            if value is LITERAL:
                parts.append(segment.text)
            elif isinstance(value, str) and value.lower() in ("true", "false"):
                parts.append(value.lower())
            else:
                parts.append(javascript_text.literal(None if value is EMPTY else value))
        return "".join(parts)
