"""THE call: coerce → check → build → send → read. Every way in ends here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sim_devin.calls import request as requesting
from sim_devin.calls import response as responding
from sim_devin.calls import retry
from sim_devin.calls.ceilings import lowered, lowest, of_tool
from sim_devin.calls.plugin_functions import plugin_function
from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.calls.transport import Transport
from sim_devin.clock import Clock, RealClock
from sim_devin.errors import (
    ApiError,
    CallerError,
    InvalidParams,
    MissingCredentials,
    NotAllowed,
    SimDevinError,
)
from sim_devin.redaction import Redactor
from sim_devin.specs.json_input import NotJson, parse_json
from sim_devin.specs.models import (
    PLACEHOLDER,
    SIMULATED,
    Connection,
    RequestSpec,
    Schema,
    ToolSpec,
)
from sim_devin.specs.schema import Checker
from sim_devin.text import trim


@dataclass(frozen=True)
class Target:
    """Where a tool's calls go and as whom. Its repr hides the credentials.

    Attributes:
        connection: the tool's connection.
        credentials: its fields' values; some may be missing.
        base_url: overrides the connection's own.
        ceilings: parameter name -> the most it may be; applied to every call that has it.
    """

    connection: Connection
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    base_url: str = ""
    ceilings: Mapping[str, float] = field(default_factory=dict)

    def over(self, credentials: Mapping[str, str], ceilings: Mapping[str, float]) -> Target:
        """Return the target with `credentials` over its own and the lower of the ceilings."""
        merged = {**self.credentials, **{k: v for k, v in credentials.items() if v}}
        return replace(self, credentials=merged, ceilings=lowest(self.ceilings, ceilings))


@dataclass(frozen=True)
class Prepared:
    """A call that passed its checks: what will be sent, and what may never be shown.

    `owner` is the plugin that brought the tool; empty for one of ours.
    """

    spec: ToolSpec
    params: Mapping[str, Any] = field(repr=False)
    target: Target
    redactor: Redactor = field(repr=False)
    owner: str = ""

    def request(self) -> Request:
        """Return the HTTP request. Pure; no I/O."""

        def build(params: Mapping[str, Any]) -> Request:
            target = self.target
            base_url = target.base_url or target.connection.base_url
            return requesting.build(
                self.spec, target.connection, params, target.credentials, base_url
            )

        prepare = self.spec.prepare
        try:
            if prepare is None:
                return build(self.params)
            with plugin_function(self.spec, "prepare", self.owner, self.redactor) as returns:
                return returns(prepare(self.params, build), Request)
        except SimDevinError as error:
            raise self.redactor.error(error) from None

    def read(self, response: Response, *, now: float | None = None) -> dict[str, Any]:
        """Return the tool's output. Pure; no I/O."""
        return read(
            self.spec, response, self.params, now=now, redactor=self.redactor, owner=self.owner
        )


def read(
    spec: ToolSpec,
    response: Response,
    params: Mapping[str, Any] | None = None,
    *,
    now: float | None = None,
    redactor: Redactor | None = None,
    owner: str = "",
) -> dict[str, Any]:
    """Return the output of `spec` from an answer, through the plugin's `read` if it has one."""
    redactor = redactor or Redactor()

    def plain(answer: Response) -> dict[str, Any]:
        return responding.read(spec, answer, params, now=now)

    if not response.ok:
        # Before the explanation is cut to size, which could leave half a secret.
        masked = redactor.text(response.body.decode("utf-8", "replace"))
        response = replace(response, body=masked.encode())
    try:
        if spec.read is None:
            return plain(response)
        with plugin_function(spec, "read", owner, redactor) as returns:
            return returns(spec.read(response, plain), dict)
    except SimDevinError as error:
        raise redactor.error(error) from None


def prepare(
    spec: ToolSpec,
    params: Mapping[str, Any],
    target: Target,
    checker: Checker,
    owner: str = "",
) -> Prepared:
    """Coerce and check the parameters of a call.

    Fields of the connection may stand among `params` (as a block has them) and win over
    the target's.

    Raises:
        InvalidParams: with every problem of the call at once.
        MissingCredentials: a field of the connection has no value.
    """
    fields = target.connection.fields
    own = {name: value for name, value in params.items() if name not in fields}
    given = {
        name: params[name] if params.get(name) not in (None, "") else target.credentials.get(name)
        for name in fields
    }
    coerced = checker.coerce(own)
    redactor = Redactor(secrets_of(spec, target.connection, {**coerced, **given}))
    try:
        problems, missing, credentials = _credentials(target.connection, given)
        coerced = lowered(coerced, of_tool(spec, target.ceilings))
        problems += checker.problems(coerced, own)
        if problems:
            raise InvalidParams(spec.id, problems)
        if missing:
            raise _missing(target.connection, missing)
    except SimDevinError as error:
        raise redactor.error(error) from None
    settled = Target(target.connection, credentials, target.base_url, target.ceilings)
    return Prepared(spec, coerced, settled, redactor, owner)


def require_simulated(
    spec: ToolSpec, transport: Transport | None, connections: Mapping[str, Connection]
) -> None:
    """Refuse to ask a simulator what another service would have to answer.

    Raises:
        NotAllowed: the transport simulates, and the tool's service is another.
    """
    only = getattr(transport, "simulates", None)
    if only is None or spec.connection in (None, only) or spec.request is None:
        return
    raise NotAllowed(
        f"{spec.id} cannot be simulated: it asks {connections[spec.connection].title}, and only "
        f"{connections[only].title if only in connections else only} is simulated.",
        hint="Call it without --simulate.",
    )


def address_of(spec: ToolSpec, target: Target, credentials: Mapping[str, str]) -> str:
    """Return where a tool's calls go, up to the first of its own parameters in the path.

    Raises:
        CallerError: the tool is no single request, or a credential cannot be sent.
        MissingCredentials: a field of the connection has no value.
    """
    if spec.request is None:
        raise CallerError(f"{spec.id} is not a single request.")
    path, end = spec.request.path, len(spec.request.path)
    for match in PLACEHOLDER.finditer(path):
        if match.group(1) not in target.connection.fields:
            end = match.start()
            break
    request = RequestSpec(method="GET", path=path[:end].rstrip("/"))
    params: Schema = {"type": "object", "properties": {}}
    changes = {"request": request, "params": params, "prepare": None}
    return (
        prepare(spec.model_copy(update=changes), credentials, target, Checker(params)).request().url
    )


def _credentials(
    connection: Connection, given: Mapping[str, Any]
) -> tuple[list[str], list[str], dict[str, str]]:
    problems: list[str] = []
    missing: list[str] = []
    credentials: dict[str, str] = {}
    for name in connection.fields:
        value = given[name]
        if value is None or (isinstance(value, str) and not trim(value)):
            missing.append(name)
        elif not isinstance(value, str):
            problems.append(f"{name}: got a {type(value).__name__}; pass text")
        else:
            credentials[name] = value
    return problems, missing, credentials


def _missing(connection: Connection, names: list[str]) -> MissingCredentials:
    titles = [f"{name} ({connection.fields[name].title})" for name in names]
    variables = [connection.fields[name].env for name in names]
    without = ", or try it without an account: --simulate" if connection.id == SIMULATED else ""
    return MissingCredentials(
        f"{connection.title} needs {' and '.join(titles)}.",
        hint=f"Set {' and '.join(variables)}{without}.",
    )


def secrets_of(
    spec: ToolSpec, connection: Connection | None, params: Mapping[str, Any]
) -> list[Any]:
    """Return what is secret in the parameters of a call, its connection's fields among them."""
    fields = connection.fields if connection is not None else {}
    keys = [params.get(name) for name in fields if fields[name].secret]
    return [*keys, *_secret_values(spec.params, params)]


def _secret_values(schema: Schema, value: Any) -> Iterator[str]:
    """Yield the texts that stand at `writeOnly` places of a schema."""
    if schema.get("writeOnly") and isinstance(value, str):
        yield value
    if not schema:
        return  # nothing is declared from here on
    if isinstance(value, str) and schema.get("type") in ("array", "object"):
        with suppress(NotJson):
            value = parse_json(value)
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _secret_values(schema.get("properties", {}).get(name, {}), item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _secret_values(schema.get("items", {}), item)


class NestedCall(Protocol):
    """Carries out another tool of the same app, with the same credentials."""

    def __call__(
        self,
        tool_id: str,
        params: Mapping[str, Any],
        /,
        *,
        deadline: float | None = None,
        confirm: Callable[[], None] | None = None,
        late: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Return the tool's output or raise a `SimDevinError`, within `deadline` seconds.

        `confirm` is called right before the request is sent and raises if it may not be. `late`
        is told, in a thread of its own, of an output that comes after the call was given up.
        """
        ...


@dataclass(frozen=True)
class Context:
    """What a plugin's `run` and `reconcile` functions get besides the parameters.

    Attributes:
        call: carries out another tool, without reconciliation.
        clock: time; wait with ``clock.wait(cancel, seconds)``.
        cancel: set when the caller wants to stop.
        deadline: moment of ``clock.monotonic()`` to be finished by, or None.
        on_progress: told about steps of long work.
        ledger: where intents are recorded before something that must not happen twice.
        settle: how an ambiguous end is settled.
        minutes_per_session: minutes after its create at which a session is ended; None for never.
        sent: returns the last message of this process to a job (`turn.Sent`), or None.
    """

    call: NestedCall
    clock: Clock
    cancel: threading.Event = field(default_factory=threading.Event)
    deadline: float | None = None
    on_progress: Callable[[Any], None] | None = None
    ledger: Any = None
    settle: Any = None
    minutes_per_session: float | None = None
    sent: Callable[[str], Any] = lambda _: None


def act(
    function: Callable[[Mapping[str, Any], Context], dict[str, Any]],
    prepared: Prepared,
    context: Context,
) -> dict[str, Any]:
    """Carry out a tool through a plugin's function (`run` or `reconcile`).

    Raises:
        SimDevinError: with every secret masked.
    """
    name = "run" if function is prepared.spec.run else "reconcile"
    try:
        with plugin_function(prepared.spec, name, prepared.owner, prepared.redactor) as returns:
            return returns(function(prepared.params, context), dict)
    except SimDevinError as error:
        raise prepared.redactor.error(error) from None


@dataclass(frozen=True)
class RetryingSender:
    """What carries a prepared call out."""

    transport: Transport
    clock: Clock = field(default_factory=RealClock)
    policy: retry.RetryPolicy = field(default_factory=retry.RetryPolicy)

    def call(
        self,
        prepared: Prepared,
        *,
        cancel: threading.Event | None = None,
        deadline: float | None = None,
        confirm: Callable[[], None] | None = None,
        late: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Carry out a prepared HTTP call and return the tool's output. See `retry.send`.

        Raises:
            AmbiguousResult: it may have taken effect, and must not be repeated.
            SimDevinError: with every secret masked.
        """

        def read_late(response: Response) -> None:
            with suppress(SimDevinError):
                if late is not None:
                    late(prepared.read(response, now=self.clock.time()))

        try:
            response = retry.send(
                prepared.spec,
                prepared.request(),
                self.transport,
                self.clock,
                policy=self.policy,
                cancel=cancel,
                deadline=deadline,
                confirm=confirm,
                late=read_late,
            )
            return prepared.read(response, now=self.clock.time())
        except ApiError as error:  # masked already
            raise retry.unknown(prepared.spec, error) or error from None
        except SimDevinError as error:
            raise prepared.redactor.error(error) from None
