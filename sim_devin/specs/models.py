"""The spec files as frozen models: tools, connections and blocks.

A spec is pure data and round-trips to its JSON. The language is closed; anything else is a Python
function that a plugin attaches with `model_copy` (`prepare`, `read` or `run`), never a new
keyword.
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
PARAMETER = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"  # a name that every model provider accepts
# A parameter with one of these names is the escape hatch: an object merged into the request.
EXTRA_BODY = "extraBody"
EXTRA_QUERY = "extraQuery"
SIMULATED = "devin"  # id of the connection that the simulator replaces
SHAPES = "shapes.json"  # the file of outputs shared by the tools of a folder

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")

RetryReason = Literal["connect", "reset", "timeout", "429", "5xx"]


class SpecModel(BaseModel):
    """Base of all spec models: frozen, no unknown keys, keys as in the files."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON this model was read from."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class RequestSpec(SpecModel):
    """How parameters become an HTTP request. `{name}` stands for one parameter's value.

    Attributes:
        method: the HTTP method.
        path: relative to the connection's base URL, such as `/sessions/{sessionId}`; a value
            becomes one percent-encoded segment.
        query: query key -> `{parameter}`; omitted if the parameter is absent, repeated for each
            item of a list.
        body: key in the JSON body -> `{parameter}`; omitted if the parameter is absent.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    query: dict[str, str] = Field(default_factory=dict)
    body: dict[str, str] | None = None


class SuccessOn(SpecModel):
    """An error response that means success.

    Attributes:
        status: the HTTP status.
        contains: text that must be in the response, ignoring case; empty for none.
    """

    status: int
    contains: str = ""


class Traits(SpecModel):
    """The effects of a tool. Determines retries, approvals, annotations and docs.

    Attributes:
        read_only: it changes nothing.
        destructive: it may end or overwrite something.
        idempotent: doing it twice is the same as doing it once.
        costs_money: it may be billed.
        paginated: it returns one page of a longer list.
        retry_on: when to retry. `connect`: the request was never sent. `reset`, `timeout`, `429`
            (and 425), `5xx` (and 408): the outcome is unknown, so only for tools that may be
            repeated, that is `read_only` or `idempotent`.
        success_on: error responses that mean success.
        model_input: parameters that a language model reads, such as a prompt. A workflow never
            inserts the value of an environment variable there: ``{{NAME}}`` is sent unchanged.
        ceilings: parameters that limit the cost or duration of a call. If a workflow fills one
            from something without a value, the block fails instead of omitting it.
    """

    read_only: bool = Field(default=False, alias="readOnly")
    destructive: bool = False
    idempotent: bool = False
    costs_money: bool = Field(default=False, alias="costsMoney")
    paginated: bool = False
    retry_on: tuple[RetryReason, ...] = Field(default=(), alias="retryOn")
    success_on: tuple[SuccessOn, ...] = Field(default=(), alias="successOn")
    model_input: tuple[str, ...] = Field(default=(), alias="modelInput")
    ceilings: tuple[str, ...] = ()


class ToolSpec(SpecModel):
    """One tool. Exactly one of `request` (HTTP) and `run` (a plugin's function) is set.

    Attributes:
        schema_: location of this file's JSON Schema, for editors.
        id: unique among all tools; starts with the plugin's name.
        title: a few words for people.
        description: what it does and when to use it; models choose tools by it.
        connection: id of the connection, which defines the server and the credentials.
        request: the HTTP request.
        params: JSON Schema of the parameters. Besides the standard keywords a property may have
            `x-visibility` (`user-only` hides it from models), `x-advanced` and `x-keepEmpty` (an
            empty list or object differs from an omitted one).
        output: JSON Schema of the output, with `x-from` naming the wire key, or a reference into
            the folder's shapes.json.
        traits: its effects.
        permission: the permission the key needs; named if the service responds with 403.
        examples: parameters of realistic calls; used by documentation and tests.
        prepare: `(params, build) -> Request`, wraps the building of the request.
        read: `(response, read) -> output`, wraps the reading of the response.
        run: `(params, context) -> output`, for a tool that is not a single HTTP request.
        reconcile: `(params, context) -> output`, a call that reconciles an ambiguous outcome
            itself.
        shapes: the output shapes of the file's folder, by name.
        job: the kind of job it belongs to, see `sim_devin.specs.jobs`; empty for none.
        creates_job: whether it creates one.
        cap: the parameter that limits a call's cost; empty for none.
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
    job: str = Field(default="", exclude=True, repr=False)
    creates_job: bool = Field(default=False, exclude=True, repr=False)
    cap: str = Field(default="", exclude=True, repr=False)

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


class CredentialField(SpecModel):
    """One field of a connection, filled from arguments, the environment or a config file.

    Attributes:
        title: a few words for people.
        description: what it is and where to get it.
        env: the environment variable it is read from.
        secret: whether it is masked wherever it might be shown.
        placeholder: shown in an empty field of a form.
    """

    title: str
    description: str
    env: str
    secret: bool = False
    placeholder: str = ""


class Connection(SpecModel):
    """Where a family of tools lives and how it authenticates.

    Attributes:
        schema_: where the JSON Schema of this file is, for editors.
        id: unique among all connections.
        title: a few words for people.
        description: what stands at the other end.
        base_url: address that paths are put after; https, except on this machine.
        base_url_env: an environment variable that overrides the address.
        fields: name -> a value the user gives once; each is a required parameter of every
            tool here, usable as `{name}` in paths and headers, and never shown to models.
        headers: HTTP header -> value, in which `{field}` stands for a field.
    """

    schema_: str | None = Field(default=None, alias="$schema")
    id: str = Field(pattern=TOOL_ID)
    title: str
    description: str = ""
    base_url: str = Field(alias="baseUrl")
    base_url_env: str = Field(default="", alias="baseUrlEnv")
    fields: dict[str, CredentialField]
    headers: dict[str, str] = Field(default_factory=dict)


class BlockField(SpecModel):
    """A sub-block: one widget of a block's form.

    For a block with tools a field overlays a parameter (`param`, default: the field's id):
    anything omitted here (title, when it is shown or required) is derived from the tools. For a
    block without tools (`operations` empty) the field defines everything.

    Attributes:
        id: key of the value in a workflow document.
        param: the tool parameter it sets; default: the field's id. ``""`` for a field that no
            tool takes, only the code that runs the block.
        title: its label.
        widget: such as short-input, long-input, dropdown, switch, code or table.
        description: help beside the field.
        placeholder: shown while it is empty.
        type: string, integer, number, boolean, array or object.
        options: choices of a dropdown, each with id and label.
        default: value in a new block.
        required: whether it must have a value.
        advanced: whether it is collapsed at first.
        secret: whether it is masked.
        model_input: whether a language model reads it (see `Traits.model_input`); derived from
            the tools for a field over tools.
        ceiling: whether it is a limit (see `Traits.ceilings`); derived from the tools for a
            field over tools.
        shown_for: other field's id -> values for which this field is shown.
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
    model_input: bool = Field(default=False, alias="modelInput")
    ceiling: bool = False
    shown_for: dict[str, tuple[str, ...]] | None = Field(default=None, alias="shownFor")


class BlockSpec(SpecModel):
    """One block of the canvas: an operation dropdown over tools, or a block with a handler.

    Attributes:
        schema_: location of this file's JSON Schema, for editors.
        type: unique among all blocks.
        title: a few words for people.
        description: its purpose.
        category: group in the list of blocks.
        color: of its icon, as #rrggbb.
        icon: an emoji or a few letters.
        docs: URL of its documentation.
        operation_field: id of the dropdown.
        default_operation: the operation of a new block; default: the first.
        operations: operation id -> tool id, in the dropdown's order; empty for a block with its
            own handler.
        labels: operation id -> text shown in the dropdown.
        fields: overlays and order of the form's fields.
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
