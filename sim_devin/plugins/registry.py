"""Everything that plugins provide, its owners, and what failed to load."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from sim_devin.errors import CallerError, InvalidSpec, PluginError, UnknownName
from sim_devin.plugins.loading import Loaded
from sim_devin.redaction import Credentials
from sim_devin.specs import forms as over_tools
from sim_devin.specs import json_schema
from sim_devin.specs.files import Specs
from sim_devin.specs.jobs import JobSpec
from sim_devin.specs.models import SIMULATED, BlockSpec, Connection, Schema, ToolSpec
from sim_devin.specs.spec_problems import connection_problems
from sim_devin.text import did_you_mean


@dataclass(frozen=True)
class Registry:
    """Tools, kinds of jobs, blocks, connections and handlers by id, in a fixed order.

    Attributes:
        owners: ``kind:id`` -> name of the plugin that provides it.
        report: one entry per plugin, with what it provides and what failed.
    """

    tools: Mapping[str, ToolSpec]
    blocks: Mapping[str, BlockSpec]
    connections: Mapping[str, Connection]
    handlers: Mapping[str, Any]
    owners: Mapping[str, str]
    report: tuple[Loaded, ...] = field(repr=False, default=())
    jobs: Mapping[str, JobSpec] = field(default_factory=dict)
    _forms: dict[str, tuple[over_tools.FormField, ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def tool(self, tool_id: str) -> ToolSpec:
        """Return a tool by its id.

        Raises:
            UnknownName: there is none; suggests the nearest.
        """
        try:
            return self.tools[tool_id]
        except KeyError:
            raise UnknownName("tool", tool_id, self.tools, hint=self._failed()) from None

    def job(self, job_id: str | None = None) -> JobSpec:
        """Return a kind of job by its id; the default is the first, which is built in.

        Raises:
            UnknownName: there is none; suggests the nearest.
        """
        job_id = next(iter(self.jobs), "") if job_id is None else job_id
        try:
            return self.jobs[job_id]
        except KeyError:
            raise UnknownName("kind of job", job_id, self.jobs, hint=self._failed()) from None

    def job_of(self, tool_id: str) -> JobSpec | None:
        """Return the kind of job that a tool belongs to; None without one."""
        tool = self.tools.get(tool_id)
        return self.jobs.get(tool.job) if tool is not None else None

    @property
    def creates(self) -> tuple[str, ...]:
        """The tools that create jobs."""
        return tuple(job.create.tool for job in self.jobs.values())

    def job_seen(self, output: Any) -> JobSpec | None:
        """Return the kind of job that a tool's output describes; None without one.

        A kind whose state is in the output takes precedence over one with only its id there.
        """
        if not isinstance(output, Mapping):
            return None
        named = [job for job in self.jobs.values() if job.id_of(output) is not None]
        return next((job for job in named if job.is_seen(output)), next(iter(named), None))

    def block(self, block_type: str) -> BlockSpec:
        """Return a block by its type.

        Raises:
            UnknownName: there is none; suggests the nearest.
        """
        try:
            return self.blocks[block_type]
        except KeyError:
            raise UnknownName("block", block_type, self.blocks, hint=self._failed()) from None

    def form(self, block_type: str) -> tuple[over_tools.FormField, ...]:
        """Return the derived form of a block."""
        found = self._forms.get(block_type)
        if found is None:
            block = self.block(block_type)
            found = self._forms[block_type] = over_tools.form(block, self.tools, self.connections)
        return found

    def owner_of(self, tool: ToolSpec) -> str:
        """Return the plugin that provides a tool; empty for the built-in Devin plugin."""
        owner = self.owners.get(f"tool:{tool.id}", "")
        return "" if owner == SIMULATED else owner

    def plan(self, block_type: str, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the tool and the parameters that a block's values result in."""
        block = self.block(block_type)
        fields = self.form(block_type) if block.operations else ()
        return over_tools.plan(block, self.tools, self.connections, values, fields)

    def outputs(self, block_type: str, operation: str | None = None) -> dict[str, Schema]:
        """Return the outputs of a block, of one operation or of all."""
        return over_tools.outputs(self.block(block_type), self.tools, operation)

    @property
    def own_connection(self) -> str:
        """The id of the built-in connection, the first one: what is given without a name is its."""
        return next(iter(self.connections), "")

    def credentials_by_connection(
        self, given: Mapping[str, str | Mapping[str, str]]
    ) -> Mapping[str, Credentials]:
        """Return connection -> fields for credentials given to an app.

        A name of a connection with its fields is what it says. A single field belongs to the
        built-in connection; one that only another connection has, to that one. So a key for one
        service never goes to another that calls its own key the same.

        Raises:
            CallerError: no connection has the field, or several others have.
        """
        found: dict[str, Credentials] = {}
        for name, value in given.items():
            if not isinstance(value, str):
                if name not in self.connections:
                    raise UnknownName("connection", name, self.connections)
                unknown = [item for item in value if item not in self.connections[name].fields]
                if unknown:
                    raise UnknownName("credential", unknown[0], self.connections[name].fields)
                found.setdefault(name, Credentials()).update(value)
                continue
            having = [key for key, item in self.connections.items() if name in item.fields]
            if not having:
                fields = [key for item in self.connections.values() for key in item.fields]
                hint = did_you_mean(name, fields) or f"Known: {', '.join(dict.fromkeys(fields))}."
                raise CallerError(f"No connection has the credential {name[:60]!r}.", hint=hint)
            if len(having) > 1 and having[0] != self.own_connection:
                raise CallerError(
                    f"Several connections have the credential {name!r}: {', '.join(having)}.",
                    hint=f'Say whose it is: credentials={{"{having[0]}": {{"{name}": …}}}}.',
                )
            found.setdefault(having[0], Credentials())[name] = value
        return found

    def unread_credentials(self, given: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
        """Yield the problems in the config file's connection -> fields."""
        for name, stored in given.items():
            connection = self.connections.get(name)
            if connection is None:
                hint = did_you_mean(name, self.connections) or "No loaded plugin provides it."
                yield f"Unknown connection {name[:60]!r} in [credentials]. {hint}"
                continue
            for item in stored:
                if item not in connection.fields:
                    hint = did_you_mean(item, connection.fields)
                    hint = hint or f"Known: {', '.join(connection.fields)}."
                    yield f"Unknown key {item[:60]!r} in [credentials.{name}]. {hint}"

    def _failed(self) -> str:
        if any(plugin.state == "broken" for plugin in self.report):
            return "A plugin failed to load: see sim-devin plugins doctor."
        return "See sim-devin tools for a list."


EMPTY = Registry({}, {}, {}, {}, {})


def build(plugins: Iterable[Loaded], *, strict: bool = False) -> Registry:
    """Return the registry of what the plugins provide.

    An item that does not fit the others is skipped and reported by itself: a tool whose connection
    is missing, a block whose tool is missing, a handler for another plugin's block. If two items
    claim one id, the first is kept and the second is skipped; the report names both owners.
    Nothing is renamed or replaced.

    Raises:
        PluginError: in strict mode, instead of reporting.
    """
    collection = _Collection(
        [
            replace(plugin, failures=[*plugin.failures], details=[*plugin.details])
            for plugin in plugins
        ]
    )
    for kind, offered_by in _OFFERS.items():
        for plugin in collection.plugins:
            for name, item in offered_by(plugin):
                try:
                    collection.add(kind, name, item, plugin)
                except PluginError as error:
                    plugin.fail("clash", error, strict=strict)
                except InvalidSpec as error:
                    plugin.fail("spec", error, strict=strict)
    return collection.registry()


# In this order, so that each can refer to the ones before it.
_OFFERS: Mapping[str, Callable[[Loaded], Iterable[tuple[str, Any]]]] = {
    "connection": lambda plugin: ((item.id, item) for item in plugin.specs.connections),
    "tool": lambda plugin: ((item.id, item) for item in plugin.specs.tools),
    "job": lambda plugin: ((item.id, item) for item in plugin.specs.jobs),
    "block": lambda plugin: ((item.type, item) for item in plugin.specs.blocks),
    "handler": lambda plugin: plugin.handlers.items(),
}


class _Collection:
    """A registry under construction."""

    def __init__(self, plugins: list[Loaded]) -> None:
        self.plugins = plugins
        self.items: dict[str, dict[str, Any]] = {kind: {} for kind in _OFFERS}
        self.owners: dict[str, Loaded] = {}

    def add(self, kind: str, name: str, item: Any, plugin: Loaded) -> None:
        """Add an item.

        Raises:
            PluginError: another plugin has that id.
            InvalidSpec: it does not fit the items added before.
        """
        owner = self.owners.get(f"{kind}:{name}")
        if owner is not None:
            raise _clash(f"{kind} {name!r}", owner, plugin)
        problems: Iterable[str] = ()
        if kind == "tool":
            problems = _tool_problems(item, self.items["connection"])
        elif kind == "job":
            problems = _job_problems(item, self.items["tool"])
        elif kind == "block":
            problems = _block_problems(item, self.items["tool"])
        elif kind == "handler":
            owner = self.owners.get(f"block:{name}", plugin)
            if owner is not plugin:
                raise _clash(f"block {name!r}", owner, plugin)
        problems = list(problems)
        if problems:
            raise InvalidSpec(f"{kind} {name}", problems)
        self.items[kind][name] = item
        self.owners[f"{kind}:{name}"] = plugin

    def registry(self) -> Registry:
        for plugin in self.plugins:  # a report lists what is in use, not what was skipped
            plugin.specs = Specs(
                tuple(t for t in plugin.specs.tools if self.items["tool"].get(t.id) is t),
                tuple(b for b in plugin.specs.blocks if self.items["block"].get(b.type) is b),
                tuple(
                    c for c in plugin.specs.connections if self.items["connection"].get(c.id) is c
                ),
                jobs=tuple(j for j in plugin.specs.jobs if self.items["job"].get(j.id) is j),
            )
            plugin.handlers = {
                block_type: handler
                for block_type, handler in plugin.handlers.items()
                if self.owners.get(f"handler:{block_type}") is plugin
            }
        return Registry(
            tools=MappingProxyType(self.items["tool"]),
            blocks=MappingProxyType(self.items["block"]),
            connections=MappingProxyType(self.items["connection"]),
            handlers=MappingProxyType(self.items["handler"]),
            owners=MappingProxyType({item: owner.name for item, owner in self.owners.items()}),
            report=tuple(self.plugins),
            jobs=MappingProxyType(self.items["job"]),
        )


def _clash(what: str, owner: Loaded, plugin: Loaded) -> PluginError:
    if owner is plugin:
        return PluginError(f"{plugin.origin} provides {what} twice.", hint="Rename one.")
    return PluginError(
        f"{what} belongs to {owner.origin}; the one from {plugin.origin} is ignored.",
        hint="Rename it, or disable a plugin with SIM_DEVIN_DISABLE.",
    )


def _tool_problems(tool: ToolSpec, connections: Mapping[str, Connection]) -> Iterator[str]:
    if (tool.request is None) == (tool.run is None):
        yield "request: a tool has either a request or a function to run"
    if tool.request is not None and tool.connection is None:
        yield "connection: required with a request; it defines the server"
    for text in json_schema.outside(tool.params):
        yield f"params: {text}"
    shape = str(tool.output.get("$ref", "")).rpartition("/")[2]
    if "$ref" in tool.output and shape not in tool.shapes:
        yield f"output: unknown shape {shape!r}"
    else:
        for text in json_schema.outside(tool.answer):
            yield f"output: {text}"
    if tool.connection is not None and tool.connection not in connections:
        yield _missing("connection", "connection", tool.connection, connections)
    else:
        yield from connection_problems(tool, connections.values())


def _job_problems(job: JobSpec, tools: Mapping[str, ToolSpec]) -> Iterator[str]:
    """Yield the tools of a job that are missing, or belong to another plugin."""
    for role, tool in job.tools.items():
        if tool not in tools or tools[tool].job != job.id:
            yield f"{role}.tool: the tool {tool!r} is not in use"


def _block_problems(block: BlockSpec, tools: Mapping[str, ToolSpec]) -> Iterator[str]:
    for operation, tool in block.operations.items():
        if tool not in tools:
            yield _missing(f"operations.{operation}", "tool", tool, tools)


def _missing(place: str, kind: str, name: str, known: Iterable[str]) -> str:
    return f"{place}: unknown {kind} {name!r}. {did_you_mean(name, known)}".rstrip()
