"""JavaScript with references in it: Function blocks, conditions, while loops.

References in a Function's code become bound variables; in conditions their values are
written out, spelled so that data can never end the text it stands in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sim_devin.engine import javascript_text
from sim_devin.engine.contract import BlockError, CodeText, FieldMode
from sim_devin.engine.graph import option_rows
from sim_devin.engine.javascript_text import Scanner
from sim_devin.engine.names import EMPTY, LITERAL, Memory, Names
from sim_devin.engine.references import EnvName, Reference, json_text, split, value_text
from sim_devin.engine.scopes import Scope
from sim_devin.engine.templates import Template, compile_value
from sim_devin.text import did_you_mean


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

    has_env = True  # logs show it with its values written out

    def __init__(self, source: str, bound: Names) -> None:
        self._segments = split(source)
        self._bound = bound
        self._variables = javascript_text.variables_read(source)

    def render(self, scope: Scope, memory: Memory) -> CodeText:
        """Return the source with its bindings.

        Raises:
            BlockError: a reference names what is not there.
        """
        scanner = Scanner()
        source: list[str] = []
        shown: list[str] = []
        told: list[str] = []
        bindings: dict[str, Any] = {}
        if self._variables:
            env, every = memory.env, javascript_text.EVERY in self._variables
            bindings[javascript_text.VARIABLES] = {
                name: env[name] for name in (env if every else self._variables) if name in env
            }
        for segment in self._segments:
            if isinstance(segment, str):
                scanner.feed(segment)
                source.append(segment)
                shown.append(segment)
                told.append(segment)
            elif isinstance(segment, EnvName):
                shown.append(segment.text)
                told.append(segment.text)
                source.append(self._environment(segment, scanner, memory, bindings))
            else:
                value = self._bound.lookup(segment)(scope, memory)
                if value is LITERAL and _is_of_container(segment, self._bound):
                    scanner.value()
                    for parts in (source, shown, told):
                        parts.append("undefined")  # the container has not run
                    continue
                if value is LITERAL:
                    _require_variable(segment, self._bound)
                    scanner.feed(segment.text)
                    source.append(segment.text)
                    shown.append(segment.text)
                    told.append(segment.text)
                    continue
                value = None if value is EMPTY else value
                shown.append(json_text(value))
                if _is_inlined(segment, value):
                    scanner.value()
                    source.append(javascript_text.literal(value))
                else:
                    source.append(_bind(value, scanner, bindings))
                told.append(source[-1])
        return CodeText("".join(source), bindings, "".join(shown), "".join(told))

    def shown(self, scope: Scope, memory: Memory) -> str:
        """Return the source as logs may show it."""
        return self.render(scope, memory).shown

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


def _is_of_container(reference: Reference, bound: Names) -> bool:
    return reference.head in bound.containers and reference.path[:1] in (("results",), ("result",))


def _require_variable(reference: Reference, bound: Names) -> None:
    if reference.head == "variable" and reference.path:
        known = [variable.name for variable in bound.graph.workflow.variables.values()]
        raise BlockError(
            f'Variable "{reference.path[0]}" doesn\'t exist. Available: {", ".join(known)}',
            hint=did_you_mean(str(reference.path[0]), known),
            retry=False,
        )


def _is_inlined(reference: Reference, value: Any) -> bool:
    """Return whether Sim writes the value itself into the source, wherever it stands."""
    if reference.head in ("loop", "parallel"):
        return True
    return reference.head == "variable" and not isinstance(value, (dict, list))


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
        """Return the rows with their expressions."""
        return [
            {**row, "value": expression.render(scope, memory)} for row, expression in self._rows
        ]

    def shown(self, scope: Scope, memory: Memory) -> list[dict[str, Any]]:
        """Return the rows as logs may show them."""
        return [{**row, "value": expression.shown(scope, memory)} for row, expression in self._rows]


class Expression(Template):
    """One condition: JavaScript in which values are written out."""

    def __init__(self, source: Any, bound: Names) -> None:
        self._segments = split(source) if isinstance(source, str) else ()
        self._bound = bound

    def render(self, scope: Scope, memory: Memory) -> str:
        """Return the expression."""
        return self._write(scope, memory, memory.env, _expression)

    def shown(self, scope: Scope, memory: Memory) -> str:
        """Return the expression as logs may show it, which nothing evaluates."""
        return self._write(scope, memory, {}, _readable)

    def _write(
        self, scope: Scope, memory: Memory, env: Mapping[str, str], spell: Callable[[Any], str]
    ) -> str:
        scanner = Scanner()
        parts: list[str] = []
        for segment in self._segments:
            text = segment if isinstance(segment, str) else segment.text
            if isinstance(segment, Reference):
                value = self._bound.lookup(segment)(scope, memory)
                if value is LITERAL and _is_of_container(segment, self._bound):
                    scanner.value()
                    parts.append("undefined")
                    continue
                if value is not LITERAL:
                    scanner.value()
                    parts.append(spell(None if value is EMPTY else value))
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


def _expression(value: Any) -> str:
    return javascript_text.literal(value, "'")


def _readable(value: Any) -> str:
    if not isinstance(value, str):
        return json_text(value)
    for character, escape in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r")):
        value = value.replace(character, escape)
    return f"'{value}'"


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
