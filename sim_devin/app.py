"""The wiring: registry + settings + transport + clock → `call`, `wait`, `run`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from sim_devin import invoke, plugins, registry, wait
from sim_devin.clock import Clock, RealClock
from sim_devin.reconcile import Ledger, MemoryLedger, Settle
from sim_devin.redaction import Credentials, Redactor
from sim_devin.request import Request
from sim_devin.response import Response
from sim_devin.retry import RetryPolicy
from sim_devin.schema import Checker
from sim_devin.settings import Settings, load_settings
from sim_devin.spec import Connection, Schema, ToolSpec
from sim_devin.store import MemoryStore, RunStore
from sim_devin.transport import HttpTransport, Transport, check_base_url

SIMULATED_CREDENTIALS = {"apiKey": "cog_simulated_key", "orgId": "org-simulated"}

NOWHERE = invoke.Target(Connection(id="none", title="none", baseUrl="", fields={}))


def open_app(
    *,
    transport: Transport | None = None,
    llm: Any = None,
    store: RunStore | None = None,
    plugins: Iterable[object] = (),
    base_url: str | None = None,
    clock: Clock | None = None,
    credentials: Mapping[str, str] | None = None,
    specs: Iterable[Path | str] = (),
    discover: bool = True,
    simulate: bool | None = None,
    retries: int | None = None,
    max_acu: int | None = None,
    ledger: Ledger | None = None,
    settle: Settle | None = None,
    strict: bool | None = None,
    env: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> App:
    """Return an app. Arguments win over the environment, which wins over the config file.

    Args:
        transport: carries requests; `HttpTransport` unless given.
        llm: the model of agent, router and evaluator blocks.
        store: keeps runs; in memory unless given.
        plugins: further plugins, as modules or objects with hook implementations.
        base_url: the API's address up to and including ``/v3``.
        clock: the time.
        credentials: connection fields, such as ``{"apiKey": …, "orgId": …}``.
        specs: folders of spec files to load as plugins.
        discover: whether to load installed plugins.
        simulate: talk to the built-in simulator: no account, no key, no network.
        retries: tries after the first one; 0 turns retrying off.
        max_acu: ceiling for the ACU limit of every session; it can only lower one.
        ledger: where intents of creates and messages are recorded; in memory unless given.
        settle: how an ambiguous create or message is settled.
        strict: whether a broken plugin is fatal.
        env: the environment to read; the process's unless given.
        config: the config file; the user's unless given.

    Raises:
        CallerError: a setting cannot be used.
        PluginError: in strict mode, when a plugin is broken.
    """
    settings = load_settings(env, config)
    strict = settings.strict if strict is None else strict
    loaded = _load(settings, plugins, specs, discover=discover, strict=strict)
    simulate = settings.simulate if simulate is None else simulate
    if simulate and transport is None:
        from sim_devin.simulate import SimulatedTransport

        simulated = SimulatedTransport(clock)
        transport, clock = simulated, simulated.clock
    return App(
        registry=registry.build(loaded, strict=strict),
        settings=settings,
        transport=transport,
        clock=clock or RealClock(),
        llm=llm,
        store=store or MemoryStore(),
        base_url=check_base_url(base_url) if base_url else "",
        credentials=credentials or (SIMULATED_CREDENTIALS if simulate else {}),
        policy=_policy(settings.retries if retries is None else retries),
        max_acu=_lowest(max_acu, settings.max_acu),
        ledger=ledger or MemoryLedger(),
        settle=settle or settings.settle,
    )


def _load(
    settings: Settings,
    extra: Iterable[object],
    folders: Iterable[Path | str],
    *,
    discover: bool,
    strict: bool,
) -> list[plugins.Loaded]:
    from sim_devin import devin, handlers

    return plugins.load(
        {"devin": devin, "workflow": handlers},
        extra,
        folders=[*settings.specs, *map(Path, folders)],
        discover=discover,
        disabled=settings.disabled,
        strict=strict,
    )


def _policy(retries: int | None) -> RetryPolicy:
    return RetryPolicy() if retries is None else RetryPolicy(retries=retries)


def _lowest(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)


class App:
    """Everything wired together. Made by `open_app`; safe to use from many threads."""

    def __init__(
        self,
        *,
        registry: registry.Registry,
        settings: Settings,
        transport: Transport | None,
        clock: Clock,
        llm: Any,
        store: RunStore,
        base_url: str,
        credentials: Mapping[str, str],
        policy: RetryPolicy,
        max_acu: int | None,
        ledger: Ledger,
        settle: Settle,
    ) -> None:
        self.registry = registry
        self.settings = settings
        self.clock = clock
        self.llm = llm
        self.store = store
        self._transport = transport
        self._base_url = base_url
        self._credentials = Credentials(credentials)
        self._policy = policy
        self._max_acu = max_acu
        self._ledger = ledger
        self._settle = settle
        self._checkers: dict[str, Checker] = {}
        self._targets: dict[str, invoke.Target] = {}

    def __enter__(self) -> App:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close pooled connections. The app can still be used; it connects anew."""
        close = getattr(self._transport, "close", None)
        if close is not None:
            close()

    @cached_property
    def transport(self) -> Transport:
        """What carries requests; made when it is first needed."""
        return self._transport or HttpTransport()

    @cached_property
    def sender(self) -> invoke.Sender:
        """What carries prepared calls out."""
        return invoke.Sender(self.transport, self.clock, self._policy)

    @cached_property
    def redactor(self) -> Redactor:
        """Masks every credential this app was given or found."""
        return Redactor(
            target.credentials.get(name)
            for connection in self.registry.connections.values()
            for target in [self._target(connection)]
            for name, declared in connection.fields.items()
            if declared.secret
        )

    # -- tools -----------------------------------------------------------------------------

    def call(
        self,
        tool_id: str,
        params: Mapping[str, Any] | None = None,
        *,
        credentials: Mapping[str, str] | None = None,
        reconcile: bool = False,
        ceilings: Mapping[str, float] | None = None,
        cancel: threading.Event | None = None,
        deadline: float | None = None,
        on_progress: Callable[[Any], None] | None = None,
    ) -> dict[str, Any]:
        """Call a tool and return its output.

        Args:
            tool_id: such as ``devin_get_session``.
            params: the tool's parameters; a connection's fields may stand among them.
            credentials: the connection's fields, over the app's own.
            reconcile: settle an ambiguous create or message by looking for it, instead of
                raising `AmbiguousResult`.
            ceilings: parameter -> the most it may be, for this call.
            cancel: set it to give up.
            deadline: seconds from now in which the call has to end.
            on_progress: told about the steps of a long call, such as a wait.

        Raises:
            SimDevinError: see `sim_devin.errors` for what can go wrong and what to do.
        """
        spec = self.registry.tool(tool_id)
        prepared = self._prepare(spec, params or {}, credentials, ceilings)
        end = None if deadline is None else self.clock.monotonic() + deadline

        def carry_out(prepared: invoke.Prepared) -> dict[str, Any]:
            return self.sender.call(prepared, cancel=cancel, deadline=end)

        act = spec.run or (spec.reconcile if reconcile else None)
        if act is None:
            return carry_out(prepared)

        def call(other: str, other_params: Mapping[str, Any], /) -> dict[str, Any]:
            other_spec = self.registry.tool(other)
            target = prepared.target
            return carry_out(
                invoke.prepare(other_spec, other_params, target, self._checker(other_spec))
            )

        context = invoke.Context(
            call=call,
            clock=self.clock,
            cancel=cancel or threading.Event(),
            deadline=end,
            on_progress=on_progress,
            ledger=self._ledger,
            settle=self._settle,
        )
        return invoke.act(act, prepared, context)

    def build_request(
        self,
        tool_id: str,
        params: Mapping[str, Any] | None = None,
        *,
        credentials: Mapping[str, str] | None = None,
    ) -> Request:
        """Return the request a call would send. No I/O.

        Raises:
            CallerError: the parameters are wrong; all problems are listed.
            MissingCredentials: a credential is missing.
        """
        spec = self.registry.tool(tool_id)
        return self._prepare(spec, params or {}, credentials, None).request()

    def read_response(
        self,
        tool_id: str,
        status: int,
        *,
        payload: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return the output that an answer stands for. No I/O.

        Give the answer as `body` (bytes as they came) or as `payload` (parsed JSON).

        Raises:
            ApiError: the answer is an error.
            UnreadableResponse: the answer is a success in another shape.
        """
        if body is None:
            body = json.dumps(payload).encode()
        lowered = {name.lower(): value for name, value in (headers or {}).items()}
        spec = self.registry.tool(tool_id)
        answer = Response(status, lowered, body)
        return invoke.read(spec, answer, now=self.clock.time(), redactor=self.redactor)

    def plan_block(self, block_type: str, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the tool and the parameters that a block's values stand for. No I/O.

        Raises:
            UnknownName: there is no such block or operation.
        """
        return self.registry.plan(block_type, values)

    def wait(
        self,
        session_ids: Iterable[str],
        *,
        until: str | wait.Until = "settled",
        deadline: float | None = None,
        schema: Schema | None = None,
        cancel: threading.Event | None = None,
        on_progress: Callable[[wait.Progress], None] | None = None,
        credentials: Mapping[str, str] | None = None,
    ) -> list[wait.Outcome]:
        """Wait for sessions; return one outcome for each, in the order given.

        Args:
            session_ids: with or without the ``devin-`` prefix.
            until: ``settled`` (anything that does not go on by itself), ``over`` (somebody
                else answers meanwhile), or a function of a `wait.Verdict`.
            deadline: seconds from now; the outcome then says ``timed_out``.
            schema: JSON Schema a structured output has to fit to count as a result.
            cancel: set it to stop waiting; the sessions go on.
            on_progress: told about each look.
            credentials: the connection's fields, over the app's own.

        Raises:
            WaitTimedOut: nothing was heard of a session before the deadline.
            SimDevinError: an error that waiting cannot mend, such as a wrong key.
        """

        def call(tool_id: str, params: Mapping[str, Any]) -> dict[str, Any]:
            return self.call(tool_id, params, credentials=credentials, cancel=cancel)

        return wait.wait(
            session_ids,
            call,
            self.clock,
            until=until if callable(until) else wait.until_named(until),
            timeout=deadline,
            schema=schema,
            cancel=cancel,
            on_progress=on_progress,
        )

    # -- inside ----------------------------------------------------------------------------

    def _prepare(
        self,
        spec: ToolSpec,
        params: Mapping[str, Any],
        credentials: Mapping[str, str] | None,
        ceilings: Mapping[str, float] | None,
    ) -> invoke.Prepared:
        if spec.connection is None:
            target = NOWHERE
        else:
            target = self._target(self.registry.connections[spec.connection])
        if credentials or ceilings:
            target = target.over(credentials or {}, ceilings or {})
        return invoke.prepare(spec, params, target, self._checker(spec))

    def _checker(self, spec: ToolSpec) -> Checker:
        checker = self._checkers.get(spec.id)
        if checker is None:
            checker = self._checkers[spec.id] = Checker(spec.params)
        return checker

    def _target(self, connection: Connection) -> invoke.Target:
        target = self._targets.get(connection.id)
        if target is None:
            known = self.settings.credentials_for(connection)
            known.update({k: v for k, v in self._credentials.items() if k in connection.fields})
            target = invoke.Target(
                connection,
                known,
                check_base_url(self._base_url or self.settings.base_url_for(connection)),
                {} if self._max_acu is None else {"maxAcuLimit": self._max_acu},
            )
            self._targets[connection.id] = target
        return target
