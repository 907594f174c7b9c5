"""The app: tools, blocks and workflows behind one object, and `open_app`, which wires it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sim_devin import blocks
from sim_devin.calls import invoke
from sim_devin.calls.ceilings import checked, least
from sim_devin.calls.intents import Ledger, Settle
from sim_devin.calls.jobs.ledger import MemoryLedger
from sim_devin.calls.retry import RetryPolicy
from sim_devin.calls.transport import Transport, check_base_url
from sim_devin.clock import Clock, RealClock
from sim_devin.devin import plugin as devin
from sim_devin.engine import engine
from sim_devin.engine.events import Listener
from sim_devin.engine.run import RunResult
from sim_devin.functions import calls
from sim_devin.functions.calls import FunctionAnswer
from sim_devin.functions.schemas import Functions, functions_of
from sim_devin.llm.language_model import PydanticAiModel
from sim_devin.plugins import loading
from sim_devin.plugins.registry import Registry, build
from sim_devin.policy.gate import Gate
from sim_devin.policy.rules import Approve, Policy
from sim_devin.runs.opening import Recorders
from sim_devin.runs.runs import Runs
from sim_devin.runs.services import Attendance
from sim_devin.runs.snapshots import RunStore
from sim_devin.runs.starting import RunRequest
from sim_devin.runs.telemetry import open_telemetry
from sim_devin.settings import Settings, load_settings
from sim_devin.store.account import StoreSpending
from sim_devin.store.sql_store import SqlStore
from sim_devin.toolbox import Edges, Toolbox

SIMULATED_CREDENTIALS = {"apiKey": "cog_simulated_key", "orgId": "org-simulated"}

logger = logging.getLogger("sim_devin")


class App(Toolbox):
    """Everything wired together, above what makes calls. Safe to use from many threads.

    `store` is the object that was handed in to keep runs; else it has ``load`` alone.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        settings: Settings,
        clock: Clock,
        edges: Edges,
        store: SqlStore | RunStore | str | Path | None,
    ) -> None:
        account = StoreSpending(lambda: self.runs.store, clock)
        super().__init__(registry, settings, clock, edges, account)
        self._recorders = Recorders(self, store)
        self.store: Any = self._recorders.records
        self.telemetry = open_telemetry(settings.otel, registry)

    def __enter__(self) -> App:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections and the file of durable runs, but not a store that was handed in.

        The app can still be used: it connects and opens the file anew.
        """
        close = getattr(self._transport, "close", None)
        if close is not None:
            close()
        self._recorders.close()

    @property
    def runs(self) -> Runs:
        """Durable runs: recorded step by step, resumed after a crash, waiting as rows.

        They are kept in the store that was handed in, else in the one that ``SIM_DEVIN_STORE``
        names, else in the user's own; with a simulator, in memory.
        """
        return self._recorders.durable

    def _traced(self, sender: invoke.Sender) -> invoke.Sender:
        return self.telemetry.sender(sender)

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

        It is recorded in the store that was handed in; else in memory, where the last 100 are kept.

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
        request = RunRequest(
            workflow=workflow,
            inputs=inputs,
            env=env,
            trigger=trigger,
            run_id=run_id,
            children=None if callable(children) else children,
            from_block=from_block,
            snapshot=snapshot,
            stop_after=stop_after,
            bindings=bindings,
            max_acu=max_acu,
            max_sessions=max_sessions,
            allow_python=allow_python,
            as_sim=True,
        )
        attendance = Attendance(
            on_event=self.telemetry.listener(on_event),
            cancel=cancel,
            deadline=deadline,
            reconcile=reconcile,
            approve=approve,
            gate=gate,
            children=children if callable(children) else (children or {}).get,
        )
        return self._recorders.run(request, attendance)

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
        attendance = Attendance(
            on_event=self.telemetry.listener(on_event),
            cancel=cancel,
            deadline=deadline,
            reconcile=reconcile,
            approve=approve,
            gate=gate,
            allow_python=allow_python,
        )
        return self._recorders.resume(run, answer, attendance, context_id=context_id, env=env)

    @property
    def functions(self) -> Functions:
        """The tools as functions of a model."""
        return functions_of(self)

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

        See `sim_devin.functions.calls.call` for the arguments. What went wrong is in the text, so
        that the model can mend it; `FunctionAnswer.output` and `.error` hold it for a program.

        Raises:
            Cancelled: `cancel` was set.
            CallerError: `bind` names something that no tool takes.
        """
        return calls.call(
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


def open_app(
    *,
    transport: Transport | None = None,
    llm: Any = None,
    store: SqlStore | RunStore | str | Path | None = None,
    plugins: Iterable[object] = (),
    base_url: str | None = None,
    clock: Clock | None = None,
    credentials: Mapping[str, str] | None = None,
    specs: Iterable[Path | str] = (),
    discover: bool = True,
    simulate: bool | None = None,
    retries: int | None = None,
    max_acu: int | None = None,
    policy: Policy | None = None,
    ledger: Ledger | None = None,
    settle: Settle | None = None,
    strict: bool | None = None,
    env: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> App:
    """Return an app. Arguments win over the environment, which wins over the config file.

    Args:
        transport: carries requests; `HttpTransport` unless given.
        llm: the model of agent, router and evaluator blocks, see `engine.services.Model`;
            any provider through pydantic-ai (extra ``agent``) unless given, or a simulated
            one with `simulate`.
        store: keeps runs: an object, or the place of durable runs as `SIM_DEVIN_STORE` has it:
            a file, a ``postgresql://`` address, ``memory``. With a simulator, ``memory`` unless
            given. `App.run` records in it, too; in memory unless it is given here. An object
            that is no `SqlStore` has ``save`` and ``load``, and gets the record of each run.
        plugins: further plugins, as modules or objects with hook implementations.
        base_url: the API's address up to and including ``/v3``.
        clock: the time.
        credentials: connection fields, such as ``{"apiKey": …, "orgId": …}``.
        specs: folders of spec files to load as plugins.
        discover: whether to load installed plugins.
        simulate: talk to the built-in simulator of Devin, and to a simulated language model:
            no account, no key, no network.
        retries: tries after the first one; 0 turns retrying off.
        max_acu: ceiling for the ACU limit of every session; it can only lower one.
        policy: what agents and workflows may do. It goes over the config file's ``[policy]``,
            which it can only tighten, see `Policy.tightened`.
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
    written = settings.policy
    given, most = policy or Policy(), least(checked("max_acu", max_acu), settings.max_acu)
    both = written.tightened(given).tightened(settings.ceilings())
    both = both.tightened(Policy(acu_per_call=most))
    settings = replace(settings, policy=both, max_acu=most, max_acu_day=both.acu_per_day)
    strict = settings.strict if strict is None else strict
    loaded = loading.load(
        {"devin": devin, "workflow": blocks},
        plugins,
        folders=[*settings.specs, *map(Path, specs)],
        discover=discover,
        disabled=settings.disabled,
        strict=strict,
    )
    simulate = settings.simulate if simulate is None else simulate
    if simulate and transport is None:
        from sim_devin.simulated import SimulatedTransport

        simulated = SimulatedTransport(clock)
        transport, clock = simulated, simulated.clock
    if store is None and hasattr(transport, "simulator"):
        # Its sessions end with this process, and no worker may go on with such a run for real.
        store = "memory"
    if isinstance(store, (str, Path)):
        settings = replace(settings, env={**settings.env, "SIM_DEVIN_STORE": str(store)})
    built = build(loaded, strict=strict)
    slips = [f"policy: {slip}" for one in (written, given) for slip in one.slips(built.tools)]
    for slip in (*slips, *settings.unread, *built.unread_credentials(settings.credentials)):
        logger.warning("%s", slip)
    retries = settings.retries if retries is None else retries
    if llm is None and simulate:
        from sim_devin.simulated import SimulatedModel

        llm = SimulatedModel()
    elif llm is None:
        llm = PydanticAiModel(
            settings.env,
            default=settings.model,
            url=settings.model_url,
            key=settings.model_api_key,
            retries=retries,
        )
    edges = Edges(
        transport=transport,
        llm=llm,
        base_url=check_base_url(base_url) if base_url else "",
        credentials={**(SIMULATED_CREDENTIALS if simulate else {}), **(credentials or {})},
        retry_policy=RetryPolicy() if retries is None else RetryPolicy(retries=retries),
        ledger=ledger or MemoryLedger(),
        settle=settle or settings.settle,
    )
    clock = clock or RealClock()
    return App(registry=built, settings=settings, clock=clock, edges=edges, store=store)
