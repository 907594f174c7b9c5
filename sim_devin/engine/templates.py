"""Fields with references, compiled once and rendered each time their block starts.

Data is never scanned: only what stands in the document is looked at for ``<…>`` and
``{{…}}``, so nothing that a block outputs can refer to a secret or to another block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sim_devin.engine.names import EMPTY, LITERAL, Memory, Names
from sim_devin.engine.references import EnvName, Reference, Segment, split, value_text
from sim_devin.engine.scopes import Scope


class Hide(Protocol):
    """Keeps the values of environment variables out of a field that a model reads."""

    def name(self, name: EnvName) -> str:
        """Return what stands for ``{{NAME}}``."""
        ...

    def value(self, reference: Reference, value: Any) -> Any:
        """Return a referenced value without the values of variables."""
        ...

    def joined(self, pieces: Sequence[tuple[str, Reference | None]]) -> str:
        """Return the pieces of a text as one, each with the reference that brought it."""
        ...


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

    def for_model(self, scope: Scope, memory: Memory, hide: Hide) -> Any:
        """Return the value as a language model may read it."""
        raise NotImplementedError(f"{type(self).__name__} is nothing that a model reads")


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

    def for_model(self, scope: Scope, memory: Memory, hide: Hide) -> str:
        pieces: list[tuple[str, Reference | None]] = []
        for segment, lookup in self._parts:
            if lookup is not None and isinstance(segment, Reference):
                value = lookup(scope, memory)
                if value is LITERAL:
                    pieces.append((segment.text, None))
                elif value is not EMPTY:
                    pieces.append((value_text(hide.value(segment, value)), segment))
            elif isinstance(segment, EnvName):
                pieces.append((hide.name(segment), None))
            else:
                pieces.append((str(segment), None))
        return hide.joined(pieces)

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
        self._reference = reference
        self._lookup = bound.lookup(reference)

    def render(self, scope: Scope, memory: Memory) -> Any:
        value = self._lookup(scope, memory)
        if value is LITERAL:
            return self._reference.text
        return None if value is EMPTY else value

    def for_model(self, scope: Scope, memory: Memory, hide: Hide) -> Any:
        return hide.value(self._reference, self.render(scope, memory))


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

    def for_model(self, scope: Scope, memory: Memory, hide: Hide) -> list[Any]:
        return [
            item.for_model(scope, memory, hide) if isinstance(item, Template) else item
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

    def for_model(self, scope: Scope, memory: Memory, hide: Hide) -> dict[str, Any]:
        return {
            key: item.for_model(scope, memory, hide) if isinstance(item, Template) else item
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
