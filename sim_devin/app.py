"""The app: tools, blocks and workflows behind one object. Made by `sim_devin.open_app`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sim_devin.calls import invoke
from sim_devin.clock import Clock
from sim_devin.engine import engine
from sim_devin.engine.events import Listener
from sim_devin.engine.run import RunResult
from sim_devin.functions.calls import FunctionAnswer
from sim_devin.functions.calls import call as execute_function
from sim_devin.functions.schemas import Functions, functions_of
from sim_devin.policy.gate import Gate
from sim_devin.policy.rules import Approve, Policy
from sim_devin.runs.kept_runs import KeptRuns
from sim_devin.runs.services import AppServices
from sim_devin.runs.telemetry import open_telemetry
from sim_devin.settings import Settings
from sim_devin.store.account import StoreSpending
from sim_devin.toolbox import Toolbox

if TYPE_CHECKING:
    from sim_devin.runs.runs import Runs


class App(Toolbox):
    """Everything wired together. Made by `open_app`; safe to use from many threads.

    What makes calls is in the `Toolbox`; here is what stands above it.
    """

    def __init__(self, *, settings: Settings, clock: Clock, **edges: Any) -> None:
        spending = StoreSpending(lambda: self.runs.store, clock)
        super().__init__(settings=settings, clock=clock, spending=spending, **edges)
        self.telemetry = open_telemetry(settings.otel)
        self._runs: Runs | None = None
        self._opening = threading.Lock()
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

    def _traced(self, sender: invoke.Sender) -> invoke.Sender:
        return self.telemetry.sender(sender)

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
        return self._kept.keep(result, services.ledger)

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
        services.ledger = self._kept.ledger_of(run) or services.ledger
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
        return self._kept.keep(result, services.ledger)

    # -- agents ----------------------------------------------------------------------------

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

        What went wrong is in the text, so that the model can mend it; `FunctionAnswer.output` and
        `.error` hold the same for a program.

        Args:
            name: the function's name.
            arguments: JSON text or an object, as the provider handed it over.
            bind: parameter -> value fixed by the user, credentials and ceilings included.
            credentials: the connection's fields, over the app's own.
            ceilings: parameter -> the most it may be; the model can only stay below.
            gate: the policy to obey, and what has been spent under it; the app's own unless given.
            approve: asked when the policy wants a person's yes; without it the answer is no.
            reconcile: settle an ambiguous create or message by looking for it.
            cancel: set it to give up.
            deadline: seconds from now in which the call has to end.
            on_progress: told about the steps of a long call.

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
