"""The app: tools, blocks and workflows behind one object. Made by `sim_devin.open_app`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sim_devin.app_services import AppServices
from sim_devin.calls import invoke
from sim_devin.calls.ceilings import CAP, lowered, lowest
from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.calls.retry import RetryPolicy
from sim_devin.calls.transport import HttpTransport, Transport, check_base_url
from sim_devin.clock import Clock
from sim_devin.devin import wait
from sim_devin.devin.doubles import end_strays
from sim_devin.devin.intents import Ledger, Settle
from sim_devin.devin.run_ledger import Reports, RunLedger
from sim_devin.devin.turn import SentMessages
from sim_devin.devin.until import Until, until_named
from sim_devin.engine import engine
from sim_devin.engine.events import Listener
from sim_devin.engine.run import RunResult
from sim_devin.functions.calls import FunctionAnswer
from sim_devin.functions.calls import call as execute_function
from sim_devin.functions.schemas import Functions
from sim_devin.plugins import registry
from sim_devin.policy.gate import Gate
from sim_devin.policy.rules import Approve, Policy, starts_session
from sim_devin.redaction import Credentials, Redactor
from sim_devin.runs.kept_runs import KeptRuns
from sim_devin.runs.telemetry import open_telemetry
from sim_devin.settings import Settings
from sim_devin.specs.models import Connection, Schema, ToolSpec
from sim_devin.specs.schema import Checker
from sim_devin.store.account import StoreSpending
from sim_devin.store.memory import RunStore

if TYPE_CHECKING:
    from sim_devin.runs.runs import Runs

NOWHERE = invoke.Target(Connection(id="none", title="none", baseUrl="", fields={}))


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
        retry_policy: RetryPolicy,
        ledger: Ledger,
        settle: Settle,
    ) -> None:
        self.registry = registry
        self.settings = settings
        self.telemetry = open_telemetry(settings.otel)
        self.clock = clock
        self.llm = llm
        self.store = store
        self._transport = transport
        self._base_url = base_url
        self._credentials = Credentials(credentials)
        self._retry_policy = retry_policy
        self.gate = Gate(settings.policy, StoreSpending(lambda: self.runs.store, clock))
        self._own_gate = self.gate.of_own_act()
        self._runs: Runs | None = None
        self._opening = threading.Lock()
        self._ledger = ledger
        self._reports = Reports()
        self._paused: dict[str, RunLedger] = {}  # by run
        self._settle = settle
        self._sent = SentMessages()
        self._checkers: dict[str, Checker] = {}
        self._targets: dict[str, invoke.Target] = {}
        self._kept = KeptRuns(self)

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
        """Close connections and the file of durable runs, but not a store that was handed in.

        The app can still be used: it connects and opens the file anew.
        """
        close = getattr(self._transport, "close", None)
        if close is not None:
            close()
        with self._opening:
            runs, self._runs = self._runs, None
        if runs is not None:
            runs.close()

    @cached_property
    def transport(self) -> Transport:
        """What carries requests; made when it is first needed."""
        return self._transport or HttpTransport(network=self.settings.network)

    @property
    def runs(self) -> Runs:
        """Durable runs: recorded step by step, resumed after a crash, waiting as rows.

        They are kept in the app's store if that is a `SqlStore`, else in the file that
        ``SIM_DEVIN_STORE`` names, else in the user's own; with a simulator, in memory.
        """
        from sim_devin.runs.opening import open_runs

        with self._opening:  # two stores in memory would be two accounts
            if self._runs is None:
                self._runs = open_runs(self)
            return self._runs

    @property
    def settle(self) -> Settle:
        """How an ambiguous create or message is settled."""
        return self._settle

    @cached_property
    def sender(self) -> invoke.Sender:
        """What carries prepared calls out."""
        sender = invoke.Sender(self.transport, self.clock, self._retry_policy)
        return self.telemetry.sender(sender)

    @cached_property
    def redactor(self) -> Redactor:
        """Masks every credential this app was given or found, and variables with secret names."""
        from sim_devin.runs.secrets import known

        return Redactor(known(self, self.environment()).values())

    @property
    def policy(self) -> Policy:
        """What agents and workflows may do; `gate` applies it."""
        return self.gate.policy

    def credentials_of(self, connection_id: str) -> Mapping[str, str]:
        """Return the fields of a connection that this app was given or found."""
        return self._target(self.registry.connections[connection_id]).credentials

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

        It is your own act: of the policy only the ceilings of a day and of a session's time
        bind it. A session without a cap gets one where there is a ceiling of the day in ACUs.

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
            ledger: where intents are recorded, instead of the app's own.
            settle: how an ambiguous end is settled, instead of the app's own way.
            confirm: called right before each try of an HTTP tool; raises if it may not be sent.
            admitted: whether a gate or a ledger has drawn from the day for it already.

        Raises:
            NotAllowed: a ceiling of the day is used up.
            SimDevinError: see `sim_devin.errors` for what can go wrong and what to do.
        """
        spec = self.registry.tool(tool_id)
        if not admitted and self._own_gate.policy.bounds_day and starts_session(spec):
            options: dict[str, Any] = {
                "credentials": credentials,
                "reconcile": reconcile,
                "cancel": cancel,
                "deadline": deadline,
                "on_progress": on_progress,
                "ledger": ledger,
                "settle": settle,
                "confirm": confirm,
            }
            most = lowest(ceilings, self._most)
            asked = lowered(params or {}, {k: v for k, v in most.items() if k in spec.properties})
            with self._own_gate.admitted(spec, asked) as allowed:
                most = lowest(most, allowed.ceilings)
                return self.call(tool_id, params, ceilings=most, admitted=True, **options)
        prepared = self._prepare(spec, params or {}, credentials, ceilings)
        end = None if deadline is None else self.clock.monotonic() + deadline

        def carry_out(
            prepared: invoke.Prepared, end: float | None = end, **options: Any
        ) -> dict[str, Any]:
            with self._sent.noting(prepared.spec.id, prepared.params):
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
            checker = self._checker(other_spec)
            ready = invoke.prepare(other_spec, other_params, prepared.target, checker)
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
            ledger=ledger or self.run_ledger(),
            settle=settle or self._settle,
            minutes_per_session=self.policy.minutes_per_session,
            sent=self._sent.last,
        )
        return invoke.act(act, prepared, context)

    def end_doubles(self, *, credentials: Mapping[str, str] | None = None) -> list[str]:
        """End the sessions that turned up after their create was given up or sent again.

        Returns their ids. Every reconciled create does so, too; a program that creates nothing
        more may call it later. See `sim_devin.devin.doubles`.
        """

        def call(tool_id: str, params: Mapping[str, Any], /, **options: Any) -> dict[str, Any]:
            return self.call(tool_id, params, credentials=credentials, **options)

        return end_strays(invoke.Context(call=call, clock=self.clock, ledger=self.run_ledger()))

    def run_ledger(self) -> RunLedger:
        """Return the app's ledger, as one run uses it."""
        return RunLedger(self._ledger, self._reports)

    def build_request(
        self,
        tool_id: str,
        params: Mapping[str, Any] | None = None,
        *,
        credentials: Mapping[str, str] | None = None,
    ) -> Request:
        """Return the request a call would send. No I/O.

        Raises:
            CallerError: the parameters are wrong; all problems are listed. Or they are right,
                and the tool is no single request.
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
        until: str | Until = "settled",
        deadline: float | None = None,
        schema: Schema | None = None,
        cancel: threading.Event | None = None,
        on_progress: Callable[[wait.Progress], None] | None = None,
        credentials: Mapping[str, str] | None = None,
    ) -> list[wait.Outcome]:
        """Wait for sessions; return one outcome for each, in the order given.

        A session that takes longer than the policy's `minutes_per_session` is ended, and its
        outcome says so.

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

        def call(
            tool_id: str, params: Mapping[str, Any], /, *, deadline: float | None = None
        ) -> dict[str, Any]:
            return self.call(
                tool_id, params, credentials=credentials, cancel=cancel, deadline=deadline
            )

        return wait.wait(
            session_ids,
            call,
            self.clock,
            until=until if callable(until) else until_named(until),
            timeout=deadline,
            schema=schema,
            cancel=cancel,
            on_progress=on_progress,
            minutes=self.policy.minutes_per_session,
            sent=self._sent.last,
        )

    # -- workflows -------------------------------------------------------------------------

    def run(
        self,
        workflow: engine.Source,
        inputs: Any = None,
        *,
        env: Mapping[str, str] | None = None,
        trigger: str = "manual",
        run_id: str | None = None,
        children: engine.Children | None = None,
        from_block: str | None = None,
        snapshot: Mapping[str, Any] | None = None,
        stop_after: str | None = None,
        deadline: float | None = None,
        cancel: threading.Event | None = None,
        bindings: Mapping[str, Any] | None = None,
        on_event: Listener | None = None,
        reconcile: bool = False,
        max_acu: int | None = None,
        max_sessions: int | None = None,
        allow_python: bool = False,
        approve: Approve | None = None,
        gate: Gate | None = None,
    ) -> RunResult:
        """Run a workflow and return how it ended. A failing block is in the result, not raised.

        Args:
            workflow: a Sim export as parsed JSON, or the path of one.
            inputs: what the start block is given.
            env: what ``{{NAME}}`` stands for; unless given, the app's environment, in which
                the variables of its credentials (such as DEVIN_API_KEY) hold the app's own.
            trigger: ``manual``, ``api``, ``chat`` or ``external``.
            run_id: the run's id; made up unless given.
            children: workflow id -> document or path, for Workflow blocks.
            from_block: run only this block and what follows, on the outputs of `snapshot`.
            snapshot: `RunResult.snapshot` of an earlier run.
            stop_after: id of a block after which nothing new starts.
            deadline: seconds from now after which the run is cancelled.
            cancel: set it to cancel the run.
            bindings: values of fields that exports leave out, ``"Block.field"`` -> value.
            on_event: told what happens, see `sim_devin.engine.events`.
            reconcile: settle ambiguous creates and messages by looking for them.
            max_acu: ceiling for the ACU limits of all sessions of the run together.
            max_sessions: most sessions that the run may create.
            allow_python: let Function blocks run Python in a process of their own.
            approve: asked where the policy wants a person's yes, see `policy.NeedsApproval`; in
                a thread of the run, and in several at once. Without it the answer is no.
            gate: the policy that binds the run, and its account; the app's own unless given.

        Raises:
            InvalidWorkflow: the document cannot be run; every problem is listed.
            CredentialsError: a credential refers to a variable that is not set.
        """
        policy = (gate or self.gate).policy.tightened(Policy(sessions_per_run=max_sessions))
        services = AppServices(
            self, reconcile=reconcile, allows_python=allow_python, approve=approve, gate=gate
        )
        result = engine.run(
            workflow,
            inputs,
            services=services,
            env=self.environment() if env is None else env,
            trigger=trigger,
            run_id=run_id,
            children=children,
            from_block=from_block,
            snapshot=snapshot,
            stop_after=stop_after,
            deadline=deadline,
            cancel=cancel,
            bindings=bindings,
            ceilings=policy.run_ceilings(max_acu),
            call_ceilings=policy.call_ceilings(),
            sessions=policy.sessions_per_run,
            on_event=self.telemetry.listener(on_event),
        )
        return self._outcome(result, services)

    def resume(
        self,
        run: RunResult | str,
        answer: Any = None,
        *,
        context_id: str | None = None,
        env: Mapping[str, str] | None = None,
        deadline: float | None = None,
        cancel: threading.Event | None = None,
        on_event: Listener | None = None,
        reconcile: bool = False,
        allow_python: bool = False,
        approve: Approve | None = None,
        gate: Gate | None = None,
    ) -> RunResult:
        """Answer a paused run and let it go on.

        Args:
            run: the result of the paused run, or the id of one in the store.
            answer: the fields of the pause's form; nothing for a pause of time.
            context_id: which pause is answered; the first unless given.
            env: as for `run`; needed again for a run of another process.
            deadline: as for `run`.
            cancel: as for `run`.
            on_event: as for `run`.
            reconcile: as for `run`.
            allow_python: as for `run`.
            approve: as for `run`.
            gate: as for `run`.

        Raises:
            UnknownName: no run of that id is in the store.
            CallerError: the run is not paused.
        """
        policy = (gate or self.gate).policy
        services = AppServices(
            self, reconcile=reconcile, allows_python=allow_python, approve=approve, gate=gate
        )
        paused = self._paused.get(run if isinstance(run, str) else run.run_id)
        services.ledger = paused or services.ledger
        result = engine.resume(
            run if isinstance(run, RunResult) else self._kept.find(run, env),
            answer,
            services=services,
            context_id=context_id,
            env=self.environment() if env is None and isinstance(run, str) else env,
            deadline=deadline,
            cancel=cancel,
            ceilings=policy.run_ceilings(),
            call_ceilings=policy.call_ceilings(),
            sessions=policy.sessions_per_run,
            on_event=self.telemetry.listener(on_event),
        )
        return self._outcome(result, services)

    def _outcome(self, result: RunResult, services: AppServices) -> RunResult:
        """Return how a run ended, with what was found out about what it has sent."""
        ledger = services.ledger
        result.warnings += ledger.conclude(self, look=result.status is None)
        if result.status == "paused":
            self._paused[result.run_id] = ledger
        else:
            self._paused.pop(result.run_id, None)
        return self._kept.keep(result)

    def environment(self) -> dict[str, str]:
        """Return what ``{{NAME}}`` stands for unless a run says otherwise.

        That is the environment, with the app's credentials under their variables' names.
        """
        own = {
            declared.env: self.credentials_of(connection.id)[name]
            for connection in self.registry.connections.values()
            for name, declared in connection.fields.items()
            if name in self.credentials_of(connection.id)
        }
        return {**self.settings.env, **own}

    # -- agents ----------------------------------------------------------------------------

    @cached_property
    def functions(self) -> Functions:
        """The tools as functions of a model."""
        return Functions(self.registry)

    def function_schemas(
        self,
        dialect: str = "openai",
        *,
        strict: bool = False,
        bind: Mapping[str, Any] | None = None,
        tools: Iterable[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the tools as functions, ready to send to a provider.

        Args:
            dialect: ``openai``, ``openai-responses``, ``anthropic``, ``gemini``, ``mcp`` or
                ``jsonschema``.
            strict: the provider enforces the schema, where it can.
            bind: parameter -> value fixed by the user; such parameters are left out.
            tools: ids of the tools to offer; all that the policy allows unless given.

        Raises:
            UnknownName: there is no such dialect or tool.
            NotAllowed: the policy does not allow one of `tools`.
            CallerError: `bind` names something that none of the tools takes.
        """
        offered = self.policy.offered(self.registry.tools, tools)
        return self.functions.schemas(dialect, strict=strict, bind=bind, tools=offered)

    def call_function(
        self,
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
        """Execute a model's function call; return the text to answer it with.

        See `sim_devin.functions.calls.call`. What went wrong is in the text, so that the model can
        mend it; `FunctionAnswer.output` and `.error` hold the same for a program.

        Raises:
            Cancelled: `cancel` was set.
            CallerError: `bind` names something that no tool takes.
        """
        return execute_function(
            self,
            name,
            arguments,
            bind=bind,
            credentials=credentials,
            ceilings=ceilings,
            gate=gate,
            approve=approve,
            reconcile=reconcile,
            cancel=cancel,
            deadline=deadline,
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

    @property
    def _most(self) -> dict[str, float]:
        """The ceilings of every call, whoever makes it."""
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
            known.update({k: v for k, v in self._credentials.items() if k in connection.fields})
            target = invoke.Target(
                connection,
                known,
                check_base_url(self._base_url or self.settings.base_url_for(connection)),
                self._most,
            )
            self._targets[connection.id] = target
        return target
