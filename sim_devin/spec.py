"""The spec files as frozen models: what a tool, a connection and a block are.

A spec is pure data and round-trips to the JSON it came from. The language is closed;
what does not fit it is a Python function that a plugin attaches with `model_copy`
(`prepare`, `read` or `run`), never a new keyword.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

JSON = Any  # a JSON value
Schema = dict[str, Any]  # a JSON Schema, draft 2020-12

TOOL_ID = r"^[a-z][a-z0-9_]{0,55}$"
PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")

RetryReason = Literal["connect", "reset", "timeout", "429", "5xx"]


class Model(BaseModel):
    """Base of all spec models: frozen, no unknown keys, keys as written in the files."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON this model was read from."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class RequestSpec(Model):
    """How parameters become an HTTP request. `{name}` stands for one parameter's value."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    query: dict[str, str] = Field(default_factory=dict)
    body: dict[str, str] | None = None


class SuccessOn(Model):
    """An error answer that means success: this status, with `contains` in its text."""

    status: int
    contains: str = ""


class Traits(Model):
    """What a tool does to the world. Drives retries, confirmations, annotations and docs."""

    read_only: bool = Field(default=False, alias="readOnly")
    destructive: bool = False
    idempotent: bool = False
    costs_money: bool = Field(default=False, alias="costsMoney")
    paginated: bool = False
    retry_on: tuple[RetryReason, ...] = Field(default=(), alias="retryOn")
    success_on: tuple[SuccessOn, ...] = Field(default=(), alias="successOn")


class ToolSpec(Model):
    """One tool. Exactly one of `request` (HTTP) and `run` (a plugin's function) acts.

    Attributes:
        params: JSON Schema of what a caller may pass. Besides the standard keywords a
            property may carry `x-visibility` (`user-only` hides it from models) and
            `x-advanced`.
        output: JSON Schema of what comes back, with `x-from` naming the wire key.
        prepare: `(params, build) -> Request`, wraps the building of the request.
        read: `(response, read) -> output`, wraps the reading of the answer.
        run: `(params, context) -> output`, for a tool that is not one HTTP request.
        reconcile: `(params, context) -> output`, a call that settles an ambiguous end itself.
        shapes: the output shapes of the file's folder, by name.
    """

    schema_: str | None = Field(default=None, alias="$schema")
    id: str = Field(pattern=TOOL_ID)
    title: str
    description: str
    connection: str | None = None
    request: RequestSpec | None = None
    params: Schema
    output: Schema
    traits: Traits = Traits()
    permission: str = ""
    examples: tuple[dict[str, Any], ...] = ()
    prepare: Callable[..., Any] | None = Field(default=None, exclude=True, repr=False)
    read: Callable[..., Any] | None = Field(default=None, exclude=True, repr=False)
    run: Callable[..., Any] | None = Field(default=None, exclude=True, repr=False)
    reconcile: Callable[..., Any] | None = Field(default=None, exclude=True, repr=False)
    shapes: dict[str, Schema] = Field(default_factory=dict, exclude=True, repr=False)

    @cached_property
    def answer(self) -> Schema:
        """The output schema with a reference into `shapes.json` followed."""
        reference = self.output.get("$ref", "")
        return self.shapes[reference.rpartition("/")[2]] if reference else self.output

    @property
    def properties(self) -> Mapping[str, Schema]:
        """The declared parameters, in order."""
        properties: Mapping[str, Schema] = self.params.get("properties", {})
        return properties

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the required parameters."""
        return tuple(self.params.get("required", ()))


class CredentialField(Model):
    """One field of a connection, filled from arguments, the environment or a config file."""

    title: str
    description: str
    env: str
    secret: bool = False
    placeholder: str = ""


class Connection(Model):
    """Where a family of tools lives and how it authenticates.

    `headers` values may hold `{field}` placeholders of `fields`.
    """

    schema_: str | None = Field(default=None, alias="$schema")
    id: str = Field(pattern=TOOL_ID)
    title: str
    description: str = ""
    base_url: str = Field(alias="baseUrl")
    base_url_env: str = Field(default="", alias="baseUrlEnv")
    fields: dict[str, CredentialField]
    headers: dict[str, str] = Field(default_factory=dict)


class BlockField(Model):
    """A sub-block: one widget of a block's form.

    For a block over tools a field overlays a parameter (`param`, the field's id unless
    given): what is left out here (title, when it is shown or required) is computed from
    the tools. For a block of its own (`operations` empty) the field says it all.
    """

    id: str
    param: str | None = None
    title: str = ""
    widget: str = "short-input"
    description: str = ""
    placeholder: str = ""
    type: str = "string"
    options: tuple[dict[str, str], ...] = ()
    default: JSON = None
    required: bool = False
    advanced: bool = False
    secret: bool = False
    shown_for: dict[str, tuple[str, ...]] | None = Field(default=None, alias="shownFor")


class BlockSpec(Model):
    """One block of the canvas.

    Attributes:
        operations: operation id -> tool id, in the dropdown's order; empty for a block
            whose handler is its own.
        operation_field: id of the dropdown.
        labels: operation id -> text shown in the dropdown.
        fields: overlays and order of the form's fields.
        inputs: input name -> type, when it differs from the field's own.
        outputs: output name -> JSON Schema, for a block without tools.
    """

    schema_: str | None = Field(default=None, alias="$schema")
    type: str = Field(pattern=TOOL_ID)
    title: str
    description: str = ""
    category: str = "tools"
    color: str = "#6b7280"
    icon: str = ""
    docs: str = ""
    operation_field: str = Field(default="operation", alias="operationField")
    default_operation: str = Field(default="", alias="defaultOperation")
    operations: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    fields: tuple[BlockField, ...] = ()
    outputs: dict[str, Schema] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _default_operation_exists(self) -> BlockSpec:
        if self.default_operation and self.default_operation not in self.operations:
            raise ValueError(f"defaultOperation {self.default_operation!r} is not an operation")
        return self
