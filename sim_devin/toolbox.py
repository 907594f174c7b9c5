"""The toolbox: everything needed to make calls, and all that runs and functions see of an app."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from sim_devin.calls import invoke
from sim_devin.calls.ceilings import CAP, lowered, lowest, of_tool
from sim_devin.calls.intents import Ledger, Settle
from sim_devin.calls.jobs import wait
from sim_devin.calls.jobs.doubles import end_strays
from sim_devin.calls.jobs.turn import SentMessages
from sim_devin.calls.jobs.verdict import Until, until_named
from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.calls.retry import RetryPolicy
from sim_devin.calls.transport import HttpTransport, Transport, check_base_url
from sim_devin.clock import Clock
from sim_devin.plugins import registry
from sim_devin.policy.gate import Gate
from sim_devin.policy.rules import Policy, starts_session
from sim_devin.policy.spending import Spending
from sim_devin.redaction import Redactor
from sim_devin.secret_names import is_secret_name
from sim_devin.settings import Settings
from sim_devin.specs.models import Connection, Schema, ToolSpec
from sim_devin.specs.schema import Checker

MODEL_KEY = "app:model.apiKey"  # the key of the agents' model, which belongs to no connection
NOWHERE = invoke.Target(Connection(id="none", title="none", baseUrl="", fields={}))


@dataclass(frozen=True, kw_only=True)
class Dependencies:
    """The external dependencies of an app, see `open_app`."""

    transport: Transport | None
    llm: Any
    base_url: str
    credentials: Mapping[str, str | Mapping[str, str]] = field(repr=False)
    retry_policy: RetryPolicy
    ledger: Ledger
    settle: Settle


class Toolbox:
    """Tools, credentials, and everything needed to make calls; thread-safe."""

    def __init__(
        self,
        registry: registry.Registry,
        settings: Settings,
        clock: Clock,
        edges: Dependencies,
        spending: Spending,
    ) -> None:
        self.registry = registry
        self.settings = settings
        self.clock = clock
        self.llm = edges.llm
        self.gate = Gate(settings.policy, spending)
        self._own_gate = self.gate.of_own_act()
        self._transport = edges.transport
        self._base_url = edges.base_url
        self._credentials = registry.credentials_by_connection(edges.credentials)
        self._retry_policy = edges.retry_policy
        self._ledger = edges.ledger
        self.settle = edges.settle  # how an ambiguous create or message is settled
        self._sent = SentMessages()
        self._checkers: dict[str, Checker] = {}
        self._targets: dict[str, invoke.Target] = {}

    @cached_property
    def transport(self) -> Transport:
        """The transport for requests; created on first use."""
        return self._transport or HttpTransport(network=self.settings.network)

    @cached_property
    def sender(self) -> invoke.RetryingSender:
        """The sender of prepared calls."""
        return self._traced(invoke.RetryingSender(self.transport, self.clock, self._retry_policy))

    def _traced(self, sender: invoke.RetryingSender) -> invoke.RetryingSender:
        """Return an observed sender; here there is no observer."""
        return sender

    @cached_property
    def redactor(self) -> Redactor:
        """Masks every credential this app was given or found, and variables with secret names."""
        return Redactor(self.secrets(self.environment()).values())

    @property
    def policy(self) -> Policy:
        """What agents and workflows may do; `gate` applies it."""
        return self.gate.policy

    def credentials_of(self, connection_id: str) -> Mapping[str, str]:
        """Return the fields of a connection that this app was given or found."""
        return self._target(self.registry.connections[connection_id]).credentials

    def environment(self) -> dict[str, str]:
        """Return the default values of ``{{NAME}}`` for runs.

        These are the environment, with the app's credentials under their variables' names.
        """
        own = {
            declared.env: self.credentials_of(connection.id)[name]
            for connection in self.registry.connections.values()
            for name, declared in connection.fields.items()
            if name in self.credentials_of(connection.id)
        }
        return {**self.settings.env, **own}

    def secrets(self, env: Mapping[str, str], names: Iterable[str] = ()) -> dict[str, str]:
        """Return name -> value of everything that is secret in every run.

        These are variables with a secret name, variables in `names` (``env:…``), and the app's
        credentials.
        """
        variables = {name for name in env if is_secret_name(name)}
        variables |= {name[4:] for name in names if name.startswith("env:")}
        found = {f"env:{name}": env[name] for name in sorted(variables) if env.get(name)}
        for connection in self.registry.connections.values():
            credentials = self.credentials_of(connection.id)
            for name, declared in connection.fields.items():
                if declared.secret and credentials.get(name):
                    found[f"app:{connection.id}.{name}"] = credentials[name]
        if self.settings.model_api_key:
            found[MODEL_KEY] = self.settings.model_api_key
        return found

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
        ledger: Ledger | None = None,
        settle: Settle | None = None,
        confirm: Callable[[], None] | None = None,
        admitted: bool = False,
    ) -> dict[str, Any]:
        """Call a tool and return its output.

        This counts as the user's own call: of the policy, only the daily ceilings and the session
        time limit apply. A session without a cap gets one if there is a daily ACU ceiling.

        Args:
            tool_id: such as ``devin_get_session``.
            params: the tool's parameters; may include the connection's fields.
            credentials: the connection's fields, overriding the app's own.
            reconcile: reconcile an ambiguous create or message instead of raising
                `AmbiguousResult`.
            ceilings: parameter -> its maximum, for this call.
            cancel: set it to give up.
            deadline: seconds from now within which the call has to end.
            on_progress: receives the progress of a long call, such as a wait.
            ledger: where intents are recorded, instead of the app's own.
            settle: how an ambiguous outcome is settled, instead of the app's own way.
            confirm: called right before each attempt of an HTTP tool; raises to prevent it.
            admitted: whether a gate or a ledger has already reserved from the day's budget.

        Raises:
            NotAllowed: a daily ceiling is used up.
            SimDevinError: see `sim_devin.errors` for possible failures and what to do.
        """
        spec = self.registry.tool(tool_id)
        invoke.require_simulated(spec, self._transport, self.registry.connections)
        if not admitted and self._own_gate.policy.bounds_day and starts_session(spec):
            options: dict[str, Any] = {"credentials": credentials, "reconcile": reconcile}
            options |= {"cancel": cancel, "deadline": deadline, "on_progress": on_progress}
            options |= {"ledger": ledger, "settle": settle, "confirm": confirm}
            most = lowest(ceilings, self._most)
            asked = lowered(params or {}, of_tool(spec, most))
            with self._own_gate.admitted(spec, asked) as allowed:
                most = lowest(most, allowed.ceilings)
                return self.call(tool_id, params, ceilings=most, admitted=True, **options)
        prepared = self._prepare(spec, params or {}, credentials, ceilings)
        end = None if deadline is None else self.clock.monotonic() + deadline

        def carry_out(
            prepared: invoke.Prepared, end: float | None = end, **options: Any
        ) -> dict[str, Any]:
            of = self.registry.job_of(prepared.spec.id)
            with self._sent.noting(of, prepared.spec.id, prepared.params):
                return self.sender.call(prepared, cancel=cancel, deadline=end, **options)

        act = spec.run or (spec.reconcile if reconcile else None)
        if act is None:
            return carry_out(prepared, confirm=confirm)

        def call(
            other: str,
            other_params: Mapping[str, Any],
            /,
            *,
            deadline: float | None = None,
            **options: Any,
        ) -> dict[str, Any]:
            other_spec = self.registry.tool(other)
            if other_spec.connection == spec.connection:
                checker, whose = self._checker(other_spec), self.registry.owner_of(other_spec)
                ready = invoke.prepare(other_spec, other_params, prepared.target, checker, whose)
            else:  # the key for one service is not sent to another
                ready = self._prepare(other_spec, other_params, None, prepared.target.ceilings)
            if deadline is None:
                return carry_out(ready, **options)
            own = self.clock.monotonic() + deadline
            return carry_out(ready, own if end is None else min(own, end), **options)

        context = invoke.Context(
            call=call,
            clock=self.clock,
            cancel=cancel or threading.Event(),
            deadline=end,
            on_progress=on_progress,
            ledger=ledger or self._ledger,
            settle=settle or self.settle,
            minutes_per_session=self.policy.minutes_per_session,
            sent=partial(self._sent.last, self.registry.job_of(tool_id)),
        )
        return invoke.act(act, prepared, context)

    def end_doubles(self, *, credentials: Mapping[str, str] | None = None) -> list[str]:
        """End the jobs that appeared after their create was given up or resent.

        Returns their ids. Every reconciled create does this too; a program that creates nothing
        more may call it later. See `sim_devin.calls.jobs.doubles`.
        """
        ended: list[str] = []
        for job in self.registry.jobs.values():
            connection = self.registry.tool(job.create.tool).connection
            own = credentials if connection == self.registry.own_connection else None
            call = partial(self.call, credentials=own)
            context = invoke.Context(call=call, clock=self.clock, ledger=self._ledger)
            ended += end_strays(job, context)
        return ended

    def build_request(
        self,
        tool_id: str,
        params: Mapping[str, Any] | None = None,
        *,
        credentials: Mapping[str, str] | None = None,
    ) -> Request:
        """Return the request that a call would send. No I/O.

        Raises:
            CallerError: the parameters are invalid, and all problems are listed; or they are valid
                and the tool is not a single request.
            MissingCredentials: a credential is missing.
        """
        spec = self.registry.tool(tool_id)
        return self._prepare(spec, params or {}, credentials, None).request()

    def address_of(self, tool_id: str, credentials: Mapping[str, str] | None = None) -> str:
        """Return the URL prefix of a tool's calls, before its own parameters. No I/O.

        Raises:
            CredentialsError: no usable key or organization.
        """
        spec = self.registry.tool(tool_id)
        target = self._target(self.registry.connections[spec.connection or ""])
        return invoke.address_of(spec, target, credentials or {})

    def read_response(
        self,
        tool_id: str,
        status: int,
        *,
        payload: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return the output for a response. No I/O.

        Pass the response as `body` (raw bytes) or as `payload` (parsed JSON).

        Raises:
            ApiError: the response is an error.
            UnreadableResponse: the response is a success in an unexpected shape.
        """
        if body is None:
            body = json.dumps(payload).encode()
        lowered = {name.lower(): value for name, value in (headers or {}).items()}
        spec = self.registry.tool(tool_id)
        answer = Response(status, lowered, body)
        now, owner = self.clock.time(), self.registry.owner_of(spec)
        return invoke.read(spec, answer, now=now, redactor=self.redactor, owner=owner)

    def plan_block(self, block_type: str, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the tool and the parameters that a block's values result in. No I/O.

        Raises:
            UnknownName: there is no such block or operation.
        """
        return self.registry.plan(block_type, values)

    def wait(
        self,
        session_ids: Iterable[str],
        *,
        job: str | None = None,
        until: str | Until = "settled",
        deadline: float | None = None,
        schema: Schema | None = None,
        cancel: threading.Event | None = None,
        on_progress: Callable[[wait.Progress], None] | None = None,
        credentials: Mapping[str, str] | None = None,
    ) -> list[wait.Outcome]:
        """Wait for sessions, or other jobs; return one outcome for each, in the order given.

        A session that exceeds the policy's `minutes_per_session` is ended, and its outcome says so.

        Args:
            session_ids: with or without the ``devin-`` prefix.
            job: the kind of job; default: Devin sessions, the built-in kind.
            until: ``settled`` (any state that does not change by itself), ``over`` (someone else
                answers in the meantime), or a function of a `wait.Verdict`.
            deadline: seconds from now; the outcome then has ``timed_out``.
            schema: JSON Schema that a structured output must match to count as a result.
            cancel: set it to stop waiting; the sessions continue.
            on_progress: receives each poll.
            credentials: the connection's fields, overriding the app's own.

        Raises:
            WaitTimedOut: a session could not be read before the deadline.
            SimDevinError: an error that waiting cannot fix, such as a wrong key.
        """
        kind = self.registry.job(job)
        return wait.wait(
            kind,
            session_ids,
            partial(self.call, credentials=credentials, cancel=cancel),
            self.clock,
            until=until if callable(until) else until_named(until),
            timeout=deadline,
            schema=schema,
            cancel=cancel,
            on_progress=on_progress,
            minutes=self.policy.minutes_per_session,
            sent=partial(self._sent.last, kind),
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
        return invoke.prepare(
            spec, params, target, self._checker(spec), self.registry.owner_of(spec)
        )

    @property
    def _most(self) -> dict[str, float]:
        """The ceilings that apply to every call, whoever makes it."""
        return {} if self.settings.max_acu is None else {CAP: self.settings.max_acu}

    def _checker(self, spec: ToolSpec) -> Checker:
        checker = self._checkers.get(spec.id)
        if checker is None:
            checker = self._checkers[spec.id] = Checker(spec.params)
        return checker

    def _target(self, connection: Connection) -> invoke.Target:
        target = self._targets.get(connection.id)
        if target is None:
            known = self.settings.credentials_for(connection)
            known.update(self._credentials.get(connection.id, {}))
            own = connection.id == self.registry.own_connection
            url = (own and self._base_url) or self.settings.base_url_for(connection, own=own)
            url = check_base_url(url, connection.base_url, connection.base_url_env)
            target = invoke.Target(connection, known, url, self._most)
            self._targets[connection.id] = target
        return target
