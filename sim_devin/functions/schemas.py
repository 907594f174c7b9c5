"""Tools as functions of a language model: what it is shown, and what its calls mean.

A model never sees and never sets what belongs to the user: the connection's fields (key,
organization), parameters marked ``user-only``, and whatever was bound beforehand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sim_devin.errors import CallerError, InvalidParams
from sim_devin.functions import arguments as function_arguments
from sim_devin.functions import dialects
from sim_devin.plugins.registry import Registry
from sim_devin.specs.forms import NOTHING
from sim_devin.specs.models import Schema, ToolSpec
from sim_devin.specs.rewriting import branched
from sim_devin.specs.schema import Checker, publish
from sim_devin.text import did_you_mean
from sim_devin.toolbox import Toolbox

USER_ONLY = "user-only"


@dataclass(frozen=True)
class FunctionCall:
    """A model's call, read and checked: the tool and its parameters, the user's among them."""

    spec: ToolSpec
    params: Mapping[str, Any]


class Functions:
    """The functions that a registry's tools make. Schemas are generated once and kept."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._exported: dict[tuple[Any, ...], str] = {}
        self._visible: dict[tuple[str, frozenset[str]], Checker] = {}

    def schemas(
        self,
        dialect: str = "openai",
        *,
        strict: bool = False,
        bind: Mapping[str, Any] | None = None,
        tools: Iterable[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the functions in the shape a provider takes.

        Args:
            dialect: ``openai`` (chat completions), ``openai-responses``, ``anthropic``,
                ``gemini`` (function declarations), ``mcp`` or ``jsonschema`` (name,
                description, parameters).
            strict: the provider enforces the schema. Where it has no such mode, no difference.
            bind: parameter -> value the user fixed; such parameters are left out.
            tools: ids of the tools to offer, all unless given.

        Raises:
            UnknownName: there is no such dialect or tool.
            CallerError: `bind` names something that none of the tools takes.
        """
        dialects.named(dialect)
        chosen = list(self._registry.tools) if tools is None else list(tools)
        specs = [self._registry.tool(tool_id) for tool_id in chosen]
        bound = {spec.id: frozenset(self.bound(spec, bind)) for spec in specs}
        self._check_names(bind, specs)
        key = (dialect, strict, *((tool_id, bound[tool_id]) for tool_id in chosen))
        if key not in self._exported:
            exported = [
                _export(spec, self.visible(spec, bound[spec.id]).schema, dialect, strict=strict)
                for spec in specs
            ]
            self._exported[key] = json.dumps(exported)
        # A copy for each caller: they send it, and some change it on the way.
        functions: list[dict[str, Any]] = json.loads(self._exported[key])
        return functions

    def visible(self, spec: ToolSpec, bound: Iterable[str] = ()) -> Checker:
        """Return the checker of what a model may pass to a tool."""
        key = (spec.id, frozenset(bound))
        checker = self._visible.get(key)
        if checker is None:
            hidden = key[1] | {name for name in spec.properties if self._is_users(spec, name)}
            checker = self._visible[key] = Checker(_closed(spec.params, hidden))
        return checker

    def bound(self, spec: ToolSpec, bind: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return what of `bind` a tool takes; null and empty text bind nothing.

        `blocks.NOTHING` settles a parameter as absent.

        A block's fields may stand for the parameters they fill.
        """
        if not bind:
            return {}
        own = {name: name for name in (*spec.properties, *self._fields(spec))}
        names = own | self._block_fields(spec)
        return {
            names[name]: value
            for name, value in bind.items()
            if name in names and value is not None and value != ""
        }

    def read(
        self,
        name: str,
        arguments: str | Mapping[str, Any] | None,
        *,
        bind: Mapping[str, Any] | None = None,
    ) -> FunctionCall:
        """Return a model's call, merged with what the user bound.

        Text that holds JSON is taken for what it holds where no text is wanted. Null, and an
        empty list or object that the parameter gives no meaning, stand for absent. What belongs
        to the user is dropped from the model's arguments.

        Raises:
            UnknownName: there is no such function.
            InvalidParams: with every problem of the model's arguments at once.
            CallerError: `bind` names something that no tool takes.
        """
        spec = self._registry.tool(name)
        self._check_names(bind, self._registry.tools.values())
        bound = self.bound(spec, bind)
        given = {
            key: value
            for key, value in function_arguments.parse(name, arguments).items()
            if key not in bound and not self._is_users(spec, key)
        }
        checker = self.visible(spec, bound)
        read = function_arguments.read(name, spec.params, given)
        problems = checker.problems(checker.coerce(read), read)
        if problems:
            raise InvalidParams(
                name, problems, hint="Nothing was sent; call again with all parameters."
            )
        users = {key: value for key, value in bound.items() if value is not NOTHING}
        return FunctionCall(spec, {**read, **users})

    def _is_users(self, spec: ToolSpec, name: str) -> bool:
        declared = spec.properties.get(name)
        if declared is None:
            return name in self._fields(spec)
        return declared.get("x-visibility") == USER_ONLY

    def _fields(self, spec: ToolSpec) -> Iterable[str]:
        connection = self._registry.connections.get(spec.connection or "")
        return connection.fields if connection is not None else ()

    def _block_fields(self, spec: ToolSpec) -> dict[str, str]:
        return {
            field.id: field.param
            for block in self._registry.blocks.values()
            if spec.id in block.operations.values()
            for field in block.fields
            if field.param and field.param in spec.properties and field.id not in spec.properties
        }

    def _check_names(self, bind: Mapping[str, Any] | None, specs: Iterable[ToolSpec]) -> None:
        """Refuse a bound name that nothing takes: a slip would leave the choice to the model."""
        if not bind:
            return
        known: dict[str, None] = {}
        for spec in specs:
            for names in (spec.properties, self._fields(spec), self._block_fields(spec)):
                known |= dict.fromkeys(names)
        unknown = [name for name in bind if name not in known]
        if unknown:
            raise CallerError(
                f"No tool has the parameter {', '.join(map(repr, unknown))}, so it cannot be "
                "bound.",
                hint=did_you_mean(unknown[0], known),
            )


# -- what a model is shown -------------------------------------------------------------------


def _closed(schema: Schema, hidden: Iterable[str]) -> Schema:
    """Return the schema of what a model may pass: nothing of the user's, objects closed."""
    published = publish(_stripped(schema), hide=hidden)
    if not published.get("required"):
        published.pop("required", None)
    return {"type": "object", "properties": {}, **_shut(published), "additionalProperties": False}


def _stripped(node: Any) -> Any:
    """Return a schema without the nested properties that belong to the user."""
    if isinstance(node, list):
        return [_stripped(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: _stripped(value) for key, value in node.items()}
    properties = node.get("properties")
    if isinstance(properties, dict):
        users = {
            name
            for name, item in properties.items()
            if isinstance(item, dict) and item.get("x-visibility") == USER_ONLY
        }
        if users:
            result["properties"] = {k: v for k, v in result["properties"].items() if k not in users}
            result["required"] = [n for n in node.get("required", ()) if n not in users]
    return result


def _shut(node: Any) -> Any:
    """Return a schema in which objects of declared properties take no others, unless they say."""
    if isinstance(node, list):
        return [_shut(item) for item in node]
    if not isinstance(node, dict):
        return node
    # What `allOf` adds up must stay open; the whole is closed around it.
    result = {key: value if key == "allOf" else _shut(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        result.setdefault("additionalProperties", False)
    return result


def _export(spec: ToolSpec, visible: Schema, dialect: str, *, strict: bool) -> dict[str, Any]:
    described = {"name": spec.id, "description": spec.description}
    schema = dialects.rewrite(visible, dialect, strict=strict)
    strict = strict and dialects.has_strict(dialect)
    match dialect:
        case "openai":
            function = {**described, "parameters": schema, **({"strict": True} if strict else {})}
            return {"type": "function", "function": function}
        case "openai-responses":
            # This API takes a missing strict for true.
            return {"type": "function", **described, "parameters": schema, "strict": strict}
        case "anthropic":
            return {**described, "input_schema": schema, **({"strict": True} if strict else {})}
        case "gemini":
            return {**described, "parametersJsonSchema": schema}
        case "mcp":
            return {
                **described,
                "title": spec.title,
                "inputSchema": schema,
                "outputSchema": branched(publish(spec.answer)),
                "annotations": hints(spec),
            }
        case _:
            return {**described, "parameters": schema}


def hints(spec: ToolSpec) -> dict[str, Any]:
    """Return a tool's traits as MCP's hints, all four said: the defaults presume the worst."""
    traits = spec.traits
    return {
        "title": spec.title,
        "readOnlyHint": traits.read_only,
        "destructiveHint": traits.destructive and not traits.read_only,
        "idempotentHint": traits.idempotent or traits.read_only,
        "openWorldHint": True,
    }


_FUNCTIONS: WeakKeyDictionary[Toolbox, Functions] = WeakKeyDictionary()


def functions_of(toolbox: Toolbox) -> Functions:
    """Return the tools of a toolbox as functions, always the same."""
    return _FUNCTIONS.setdefault(toolbox, Functions(toolbox.registry))
