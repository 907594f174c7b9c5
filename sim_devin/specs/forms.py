"""Blocks over tools: the form of a block, and the plan from its values to one tool call.

A block file says which operation is which tool. Everything else a form needs (which field
for which operation, what is required, types, secrets) is computed from the tools, so a
block and its tools cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sim_devin.errors import CallerError, UnknownName
from sim_devin.specs.models import BlockField, BlockSpec, Connection, Schema, ToolSpec
from sim_devin.specs.schema import coerce, shorten

# In what is fixed for a model: the parameter is settled, and has no value.
NOTHING: Any = type("Nothing", (), {"__repr__": lambda _: "NOTHING"})()

_SCALARS = ("integer", "number", "boolean")  # what Sim's block converts; lists wait for the call
_WIDGETS = {"boolean": "switch", "array": "short-input", "object": "code"}


@dataclass(frozen=True)
class FormField:
    """One field of a block's form.

    Attributes:
        id: the sub-block's id, the key of its value.
        param: the tool parameter it sets; None for the operation dropdown and for blocks
            without tools.
        type: ``string``, ``integer``, ``number``, ``boolean``, ``array`` or ``object``.
        options: choices of a dropdown, as ``{"id", "label"}``.
        shown_for: operations in which it is shown; None for always.
        required_for: operations in which it must have a value.
        conditions: further conditions, field id -> accepted values; all must hold.
        model_input: whether a language model reads it, whatever the operation.
        model_input_for: operations in which one does.
        ceiling: whether it bounds something, whatever the operation.
        ceiling_for: operations in which it does.
        operation_field: id of the block's operation dropdown.
    """

    id: str
    param: str | None = None
    title: str = ""
    widget: str = "short-input"
    type: str = "string"
    description: str = ""
    placeholder: str = ""
    options: tuple[Mapping[str, str], ...] = ()
    default: Any = None
    advanced: bool = False
    secret: bool = False
    shown_for: tuple[str, ...] | None = None
    required_for: tuple[str, ...] = ()
    always_required: bool = False
    conditions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    operation_field: str = "operation"
    model_input: bool = False
    model_input_for: tuple[str, ...] = ()
    ceiling: bool = False
    ceiling_for: tuple[str, ...] = ()

    def read_by_model(self, values: Mapping[str, Any]) -> bool:
        """Return whether a language model reads the field; if in doubt about the operation, yes."""
        chosen = values.get(self.operation_field)
        if self.model_input or not self.model_input_for:
            return self.model_input
        return chosen not in (self.shown_for or ()) or chosen in self.model_input_for

    def bounds(self, values: Mapping[str, Any]) -> bool:
        """Return whether the field is a ceiling; if in doubt about the operation, yes."""
        chosen = values.get(self.operation_field)
        if self.ceiling or not self.ceiling_for:
            return self.ceiling
        known = isinstance(chosen, str) and chosen.isidentifier()  # else a reference, or nothing
        return not known or chosen in self.ceiling_for

    def shown(self, values: Mapping[str, Any]) -> bool:
        """Return whether the field is shown for these stored values (defaults not filled in)."""
        if self.shown_for is not None and values.get(self.operation_field) not in self.shown_for:
            return False
        return all(
            _as_option(values.get(name)) in accepted for name, accepted in self.conditions.items()
        )

    def required(self, values: Mapping[str, Any]) -> bool:
        """Return whether the field must have a value, given the stored values."""
        if not self.shown(values):
            return False
        return self.always_required or values.get(self.operation_field) in self.required_for

    def to_json(self) -> dict[str, Any]:
        """Return the field as JSON data, for the canvas and ``--json``."""
        return {
            "id": self.id,
            "param": self.param,
            "title": self.title,
            "widget": self.widget,
            "type": self.type,
            "description": self.description,
            "placeholder": self.placeholder,
            "options": [dict(option) for option in self.options],
            "default": self.default,
            "advanced": self.advanced,
            "secret": self.secret,
            "shownFor": None if self.shown_for is None else list(self.shown_for),
            "requiredFor": list(self.required_for),
            "required": self.always_required,
            "conditions": {name: list(values) for name, values in self.conditions.items()},
            "modelInput": self.model_input,
            "modelInputFor": list(self.model_input_for),
        }


def _as_option(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def form(
    block: BlockSpec, tools: Mapping[str, ToolSpec], connections: Mapping[str, Connection]
) -> tuple[FormField, ...]:
    """Return the fields of a block's form in order: dropdown, overlays, the rest, credentials."""
    if not block.operations:
        return tuple(_own_field(block, overlay) for overlay in block.fields)
    operations = {
        operation: tools[tool] for operation, tool in block.operations.items() if tool in tools
    }
    fields: list[FormField] = []
    if len(block.operations) > 1:
        fields.append(_dropdown(block))
    overlaid: set[tuple[str, str]] = set()
    for overlay in block.fields:
        if overlay.param == "":
            fields.append(_own_field(block, overlay))
            continue
        param = overlay.param or overlay.id
        covered = [
            operation
            for operation, tool in operations.items()
            if param in tool.properties and _allows(block, overlay, operation)
        ]
        overlaid |= {(param, operation) for operation in covered}
        fields.append(_tool_field(block, overlay, param, covered, operations))
    for operation, tool in operations.items():
        for param in tool.properties:
            if (param, operation) in overlaid:
                continue
            covered = [
                other
                for other, candidate in operations.items()
                if param in candidate.properties and (param, other) not in overlaid
            ]
            overlaid |= {(param, other) for other in covered}
            fields.append(_tool_field(block, BlockField(id=param), param, covered, operations))
    return (*fields, *_credential_fields(block, operations.values(), connections))


def _dropdown(block: BlockSpec) -> FormField:
    return FormField(
        id=block.operation_field,
        title="Operation",
        widget="dropdown",
        default=block.default_operation or next(iter(block.operations)),
        options=tuple(
            {"id": operation, "label": block.labels.get(operation, operation)}
            for operation in block.operations
        ),
        operation_field=block.operation_field,
    )


def _allows(block: BlockSpec, overlay: BlockField, operation: str) -> bool:
    accepted = (overlay.shown_for or {}).get(block.operation_field)
    return accepted is None or operation in accepted


def _tool_field(
    block: BlockSpec,
    overlay: BlockField,
    param: str,
    covered: list[str],
    operations: Mapping[str, ToolSpec],
) -> FormField:
    schema: Schema = next((operations[name].properties[param] for name in covered), {})
    kind = str(schema.get("type", "string"))
    given = overlay.model_fields_set
    return FormField(
        id=overlay.id,
        param=param,
        title=overlay.title or _words(overlay.id),
        widget=overlay.widget if "widget" in given else _WIDGETS.get(kind, "short-input"),
        type=kind,
        description=overlay.description or str(schema.get("description", "")),
        placeholder=overlay.placeholder,
        options=overlay.options,
        default=overlay.default,
        advanced=overlay.advanced or bool(schema.get("x-advanced")),
        secret=overlay.secret or bool(schema.get("writeOnly")),
        shown_for=None if len(block.operations) == 1 else tuple(covered),
        required_for=tuple(name for name in covered if param in operations[name].required),
        always_required=len(block.operations) == 1 and param in operations[covered[0]].required
        if covered
        else False,
        operation_field=block.operation_field,
        model_input=overlay.model_input,
        model_input_for=tuple(
            name for name in covered if param in operations[name].traits.model_input
        ),
        ceiling=overlay.ceiling,
        ceiling_for=tuple(name for name in covered if param in operations[name].traits.ceilings),
    )


def _own_field(block: BlockSpec, overlay: BlockField) -> FormField:
    return FormField(
        id=overlay.id,
        title=overlay.title or _words(overlay.id),
        widget=overlay.widget,
        type=overlay.type,
        description=overlay.description,
        placeholder=overlay.placeholder,
        options=overlay.options,
        default=overlay.default,
        advanced=overlay.advanced,
        secret=overlay.secret,
        always_required=overlay.required,
        conditions=overlay.shown_for or {},
        operation_field=block.operation_field,
        model_input=overlay.model_input,
        ceiling=overlay.ceiling,
    )


def _credential_fields(
    block: BlockSpec, tools: Any, connections: Mapping[str, Connection]
) -> Iterator[FormField]:
    seen: set[str] = set()
    for tool in tools:
        connection = connections.get(tool.connection or "")
        for name, credential in (connection.fields if connection else {}).items():
            if name not in seen:
                seen.add(name)
                yield FormField(
                    id=name,
                    param=name,
                    title=credential.title,
                    description=credential.description,
                    placeholder=credential.placeholder,
                    secret=credential.secret,
                    always_required=True,
                    operation_field=block.operation_field,
                )


def _words(name: str) -> str:
    """Return ``maxAcuLimit`` as ``Max Acu Limit``."""
    spaced = "".join(f" {c}" if c.isupper() else c for c in name.replace("_", " "))
    return spaced.strip().title()


def operation_of(block: BlockSpec, values: Mapping[str, Any]) -> str:
    """Return the operation chosen in `values`, or the block's default.

    Raises:
        UnknownName: the block has no such operation; suggests the nearest.
    """
    chosen = values.get(block.operation_field)
    if chosen in (None, "") or len(block.operations) == 1:
        return block.default_operation or next(iter(block.operations))
    if not isinstance(chosen, str) or chosen not in block.operations:
        named = chosen if isinstance(chosen, str) else shorten(chosen)
        raise UnknownName(f"operation of the block {block.type!r}", named, block.operations)
    return chosen


def plan(
    block: BlockSpec,
    tools: Mapping[str, ToolSpec],
    connections: Mapping[str, Connection],
    values: Mapping[str, Any],
    fields: Iterable[FormField] | None = None,
) -> tuple[str, dict[str, Any]]:
    """Return which tool a block's `values` call, and with which parameters.

    `fields` are those of the block's form, where they are known already.

    Only what the tool takes is handed on, converted to the declared type where the text
    allows it; leftovers of other operations are dropped, as Sim's tools ignore them.

    Raises:
        CallerError: the block is one without tools.
        UnknownName: no such operation, or its tool is not registered.
    """
    if not block.operations:
        raise CallerError(
            f"The block {block.type!r} calls no tool.", hint="Take a block that has operations."
        )
    operation = operation_of(block, values)
    tool = tools.get(block.operations[operation])
    if tool is None:
        raise UnknownName("tool", block.operations[operation], tools)
    chosen = {**values, block.operation_field: operation}
    params: dict[str, Any] = {}
    ids = set()
    for item in form(block, tools, connections) if fields is None else fields:
        ids.add(item.id)
        if item.param is not None and item.id in values and item.shown(chosen):
            params[item.param] = values[item.id]
    for name in tool.properties:
        # A value under the parameter's own name counts where no field of the form has that name.
        if name in values and name not in ids and params.get(name) in (None, ""):
            params[name] = values[name]
    for name, value in params.items():
        schema = tool.properties.get(name, {})
        if schema.get("type") in _SCALARS and value not in (None, ""):
            params[name] = coerce(schema, value)
    return tool.id, params


def outputs(
    block: BlockSpec, tools: Mapping[str, ToolSpec], operation: str | None = None
) -> dict[str, Schema]:
    """Return output name -> JSON Schema of a block, of one operation or of all together."""
    if not block.operations:
        return dict(block.outputs)
    merged: dict[str, Schema] = {}
    for name, tool in block.operations.items():
        if operation in (None, name) and tool in tools:
            merged = {**tools[tool].answer["properties"], **merged}
    return merged
