"""What there is, who brought it, and what failed to load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sim_devin import blocks as over_tools
from sim_devin.errors import InvalidSpec, PluginError, UnknownName
from sim_devin.plugins import Loaded
from sim_devin.spec import BlockSpec, Connection, Schema, ToolSpec
from sim_devin.spec_files import connection_problems


@dataclass(frozen=True)
class Registry:
    """Tools, blocks, connections and handlers by id, in a fixed order.

    Attributes:
        owners: ``kind:id`` -> name of the plugin that brought it.
        report: one entry a plugin, with what it brings and what failed.
    """

    tools: Mapping[str, ToolSpec]
    blocks: Mapping[str, BlockSpec]
    connections: Mapping[str, Connection]
    handlers: Mapping[str, Any]
    owners: Mapping[str, str]
    report: tuple[Loaded, ...] = field(repr=False, default=())

    def tool(self, tool_id: str) -> ToolSpec:
        """Return a tool by its id.

        Raises:
            UnknownName: there is none; names the nearest.
        """
        try:
            return self.tools[tool_id]
        except KeyError:
            raise UnknownName("tool", tool_id, self.tools, hint=self._failed()) from None

    def block(self, block_type: str) -> BlockSpec:
        """Return a block by its type.

        Raises:
            UnknownName: there is none; names the nearest.
        """
        try:
            return self.blocks[block_type]
        except KeyError:
            raise UnknownName("block", block_type, self.blocks, hint=self._failed()) from None

    def form(self, block_type: str) -> tuple[over_tools.FormField, ...]:
        """Return the computed form of a block."""
        return over_tools.form(self.block(block_type), self.tools, self.connections)

    def plan(self, block_type: str, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the tool and the parameters that a block's values stand for."""
        return over_tools.plan(self.block(block_type), self.tools, self.connections, values)

    def outputs(self, block_type: str, operation: str | None = None) -> dict[str, Schema]:
        """Return the outputs of a block, of one operation or of all."""
        return over_tools.outputs(self.block(block_type), self.tools, operation)

    def _failed(self) -> str:
        if any(plugin.state == "broken" for plugin in self.report):
            return "A plugin failed to load: see sim-devin plugins doctor."
        return "See sim-devin tools for what there is."


def build(plugins: Iterable[Loaded], *, strict: bool = False) -> Registry:
    """Return the registry of what the plugins bring.

    An item that contradicts the rest (a tool whose connection is missing, a block whose tool
    is missing) is left out and reported; so is the second of two that claim one id.

    Raises:
        PluginError: in strict mode, instead of reporting.
    """
    plugins = tuple(plugins)
    owners: dict[str, str] = {}
    collected: dict[str, dict[str, Any]] = {
        kind: {} for kind in ("connection", "tool", "block", "handler")
    }
    for kind, items_of in (
        ("connection", lambda p: ((c.id, c) for c in p.specs.connections)),
        ("tool", lambda p: ((t.id, t) for t in p.specs.tools)),
        ("block", lambda p: ((b.type, b) for b in p.specs.blocks)),
        ("handler", lambda p: p.handlers.items()),
    ):
        for plugin in plugins:
            for name, item in items_of(plugin):
                owner = owners.setdefault(f"{kind}:{name}", plugin.name)
                if owner != plugin.name or name in collected[kind]:
                    _clash(kind, name, owner, plugin, strict)
                    continue
                problems = list(_problems(kind, item, collected))
                if problems:
                    del owners[f"{kind}:{name}"]
                    plugin.fail("spec", InvalidSpec(f"{kind} {name}", problems), strict=strict)
                    continue
                collected[kind][name] = item
    return Registry(
        tools=MappingProxyType(collected["tool"]),
        blocks=MappingProxyType(collected["block"]),
        connections=MappingProxyType(collected["connection"]),
        handlers=MappingProxyType(collected["handler"]),
        owners=MappingProxyType(owners),
        report=plugins,
    )


def _clash(kind: str, name: str, owner: str, plugin: Loaded, strict: bool) -> None:
    error = PluginError(
        f"{kind} {name!r} is claimed by both {owner!r} and {plugin.name!r}; "
        f"the one of {owner!r} is used.",
        hint="Rename one, or disable a plugin with SIM_DEVIN_DISABLE.",
    )
    plugin.fail("clash", error, strict=strict)


def _problems(kind: str, item: Any, collected: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    if kind == "tool":
        yield from connection_problems(item, collected["connection"].values())
        if item.request is None and item.run is None:
            yield "request: the tool has neither a request nor a function to run"
    if kind == "block":
        for operation, tool in item.operations.items():
            if tool not in collected["tool"]:
                yield f"operations.{operation}: there is no tool {tool!r}"
