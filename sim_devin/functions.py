"""Tools as functions of a language model: what it is shown, and one dispatcher for its calls.

A model never sees and never sets what belongs to the user: the connection's fields (key,
organisation), parameters marked ``user-only``, and whatever was bound beforehand. The
dispatcher runs exactly the call it is handed; nothing that comes back from a tool is ever
looked at for further calls.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim_devin import dialects
from sim_devin.errors import (
    CallerError,
    Cancelled,
    InvalidParams,
    NotAllowed,
    SimDevinError,
    UnknownName,
    did_you_mean,
)
from sim_devin.policy import Gate, NeedsApproval
from sim_devin.schema import Checker, publish
from sim_devin.spec import Schema, ToolSpec

if TYPE_CHECKING:
    from sim_devin.app import App
    from sim_devin.registry import Registry

USER_ONLY = "user-only"

Approve = Callable[[NeedsApproval], bool]

logger = logging.getLogger("sim_devin")


class FunctionAnswer(str):
    """What a model is told: the tool's output as JSON text, or an error it can act on.

    Attributes:
        output: the tool's output; None when the call failed.
        error: why it failed, or None.
    """

    __slots__ = ("error", "output")

    output: dict[str, Any] | None
    error: SimDevinError | None

    def __new__(
        cls,
        text: str,
        *,
        output: dict[str, Any] | None = None,
        error: SimDevinError | None = None,
    ) -> FunctionAnswer:
        """Return the answer; `text` is what the model is told."""
        answer = super().__new__(cls, text)
        answer.output, answer.error = output, error
        return answer

    @property
    def is_error(self) -> bool:
        """Whether the call failed."""
        return self.error is not None


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

        Text that holds JSON is taken for what it holds where no text is wanted, and null for
        absent. What belongs to the user is dropped from the model's arguments.

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
            for key, value in _parsed(name, arguments).items()
            if key not in bound and not self._is_users(spec, key)
        }
        checker = self.visible(spec, bound)
        read = _read(checker.schema, given, checker.schema)
        problems = checker.problems(checker.coerce(read), read)
        if problems:
            raise InvalidParams(name, problems, hint="Nothing was sent; call again with all of it.")
        return FunctionCall(spec, {**read, **bound})

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
                f"None of the tools takes {', '.join(map(repr, unknown))}, so it cannot be bound.",
                hint=did_you_mean(unknown[0], known),
            )


def call(
    app: App,
    name: str,
    arguments: str | Mapping[str, Any] | None = None,
    *,
    bind: Mapping[str, Any] | None = None,
    credentials: Mapping[str, str] | None = None,
    ceilings: Mapping[str, float] | None = None,
    gate: Gate | None = None,
    approve: Approve | None = None,
    reconcile: bool = False,
    cancel: threading.Event | None = None,
    deadline: float | None = None,
    on_progress: Callable[[Any], None] | None = None,
) -> FunctionAnswer:
    """Execute a model's function call and return the text to answer it with.

    Args:
        app: the app whose tools the model was shown.
        name: the function's name.
        arguments: JSON text or an object, as the provider handed it over.
        bind: parameter -> value fixed by the user, credentials and ceilings included.
        credentials: the connection's fields, over the app's own.
        ceilings: parameter -> the most it may be; the model can only stay below.
        gate: the policy to obey, and what has been spent under it.
        approve: asked when the policy wants a person's yes; without it the answer is no.
        reconcile: settle an ambiguous create or message by looking for it.
        cancel: set it to give up.
        deadline: seconds from now in which the call has to end.
        on_progress: told about the steps of a long call.

    Raises:
        Cancelled: `cancel` was set.
        CallerError: `bind` names something that no tool takes.
    """
    try:
        called = app.functions.read(name, arguments, bind=bind)
    except (InvalidParams, UnknownName) as error:
        return failed(app, name, error)
    try:
        output = carry_out(
            app,
            called,
            gate=gate,
            approve=approve,
            credentials=credentials,
            ceilings=ceilings,
            reconcile=reconcile,
            cancel=cancel,
            deadline=deadline,
            on_progress=on_progress,
        )
    except Cancelled:
        raise
    except SimDevinError as error:
        return failed(app, name, error)
    return FunctionAnswer(json.dumps(output, ensure_ascii=False), output=output)


def carry_out(
    app: App,
    called: FunctionCall,
    *,
    gate: Gate | None = None,
    approve: Approve | None = None,
    ceilings: Mapping[str, float] | None = None,
    act: Callable[..., dict[str, Any]] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Carry out a call that was read, under the policy, and return the tool's output.

    `act` carries it out; `App.call` unless given, whose `options` it takes. Under a dry run
    the output is what would be sent.

    Raises:
        NotAllowed: the policy refuses it, or nobody said yes.
        SimDevinError: the call failed.
    """
    spec, params = called.spec, called.params
    act = act or app.call
    if gate is None:
        return _call(act, spec, params, {**options, "ceilings": ceilings})
    verdict = gate.admit(spec, params)
    if isinstance(verdict, NeedsApproval):
        if approve is None or not approve(verdict):
            raise NotAllowed(f"{spec.id} needs a person's yes and did not get it.", hint=NOT_SENT)
        verdict = gate.admit(spec, params, approved=True)
        assert not isinstance(verdict, NeedsApproval)  # noqa: S101 - it was approved
    if verdict.dry_run:
        return dry_run(app, spec, params, options.get("credentials"))
    lowest = dict(ceilings or {})
    for limit, most in verdict.ceilings.items():
        lowest[limit] = min(most, lowest.get(limit, most))
    try:
        return _call(act, spec, params, {**options, "ceilings": lowest})
    except SimDevinError as error:
        gate.settle(verdict, error)
        raise


NOT_SENT = "Nothing was sent. Ask the user before you try it again."


def _call(
    act: Callable[..., dict[str, Any]],
    spec: ToolSpec,
    params: Mapping[str, Any],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    try:
        return act(spec.id, params, **options)
    except SimDevinError:
        raise
    except Exception as error:
        # A plugin's mistake must not end the conversation; its text may hold anything.
        logger.exception("the tool %s failed", spec.id)
        raise SimDevinError(
            f"{spec.id} failed inside: {type(error).__name__}.",
            hint="It may or may not have had an effect; do not repeat it blindly.",
        ) from error


def dry_run(
    app: App, spec: ToolSpec, params: Mapping[str, Any], credentials: Any = None
) -> dict[str, Any]:
    """Return what a call would send, secrets masked. No I/O."""
    shown: dict[str, Any] = {"dryRun": True, "tool": spec.id}
    if spec.request is None:
        return {**shown, "params": app.redactor.data(dict(params))}
    request = app.build_request(spec.id, params, credentials=credentials)
    return {
        **shown,
        "request": {
            "method": request.method,
            "url": app.redactor.text(request.url),
            "json": app.redactor.data(request.json),
        },
    }


def failed(app: App, name: str, error: SimDevinError) -> FunctionAnswer:
    """Return an error as the text a model can correct itself from."""
    message = str(error)
    if isinstance(error, InvalidParams) and len(error.problems) > 1:
        message = f"The call has {len(error.problems)} problems. {error.hint}".strip()
    told = {
        "error": True,
        "tool": name,
        "type": type(error).__name__,
        "message": message,
        **{
            key: value
            for key, value in error.to_json().items()
            if key in ("problems", "status", "retry_after", "nearest", "accepted") and value
        },
    }
    text = json.dumps(app.redactor.data(told), ensure_ascii=False)
    return FunctionAnswer(text, error=error)


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
                "outputSchema": publish(spec.answer),
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


# -- what a model says -----------------------------------------------------------------------


def _parsed(name: str, arguments: str | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the arguments as an object; text may hold JSON that holds JSON."""
    value: Any = arguments
    for _ in range(2):
        if not isinstance(value, str):
            break
        try:
            value = json.loads(value or "{}", parse_constant=_no_constant)
        except RecursionError:
            raise InvalidParams(name, ["the arguments are nested too deeply"]) from None
        except ValueError as error:
            problem = f"the arguments are not JSON ({error}); pass one JSON object"
            raise InvalidParams(name, [problem]) from None
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        kind = "a list" if isinstance(value, list) else f"a {type(value).__name__}"
        raise InvalidParams(name, [f"the arguments are {kind}; pass one JSON object"])
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _read(schema: Any, value: Any, root: Schema) -> Any:
    """Return a value as its schema means it: JSON text parsed, nulls for absent left out."""
    schema = dialects.resolve(schema, root)
    if isinstance(value, str):
        value = _untexted(schema, value, root)
    if isinstance(value, Mapping):
        properties = schema.get("properties", {})
        return {
            key: _read(properties.get(key, {}), item, root)
            for key, item in value.items()
            if item is not None or not _means_absent(properties.get(key), root)
        }
    if isinstance(value, list):
        return [_read(schema.get("items", {}), item, root) for item in value]
    return value


def _means_absent(schema: Any, root: Schema) -> bool:
    """Return whether null stands for absent: the property is declared and takes no null."""
    return schema is not None and "null" not in dialects.types(schema, root)


def _untexted(schema: Schema, text: str, root: Schema) -> Any:
    """Return what JSON text holds, where the schema wants something else than text."""
    wanted = dialects.types(schema, root)
    if not wanted or "string" in wanted:
        return text
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text
    names = {dict: "object", list: "array", bool: "boolean", int: "integer", float: "number"}
    kind = names.get(type(value), "")
    fits = kind in wanted or (kind == "integer" and "number" in wanted)
    return value if fits else text
