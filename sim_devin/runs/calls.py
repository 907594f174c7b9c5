"""What a block of a durable run may do to the world, so that a crash never does it twice.

Reads, and what may be done twice, simply run again. Creates and messages go through the
intents of `reconcile`, under a tag that is a pure function of the run and the step. Of
anything else that was in progress when a process died nobody can know, so it is left to a
person.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from sim_devin.calls.ceilings import CAP, cap_of, lowered
from sim_devin.calls.intents import Settle
from sim_devin.clock import day_of
from sim_devin.engine.budget import caps
from sim_devin.engine.contract import BlockContext, RunAccess
from sim_devin.engine.events import Event
from sim_devin.engine.origins import Origins
from sim_devin.engine.run import RunResult
from sim_devin.engine.services import Services
from sim_devin.engine.workflow import Variable
from sim_devin.errors import (
    Cancelled,
    Declined,
    LocalFault,
    NothingSent,
    SimDevinError,
    StoreError,
    UncertainResult,
)
from sim_devin.functions.calls import dry_run
from sim_devin.policy.rules import Policy, starts_session
from sim_devin.runs import approvals
from sim_devin.runs.day_limit import day_limits, share_of_day
from sim_devin.runs.journal import Journal
from sim_devin.runs.looks import Asking
from sim_devin.runs.once import CarefulSender, once
from sim_devin.runs.parked import Parked
from sim_devin.runs.places import credentials_in, place_of, service_of
from sim_devin.runs.remembered_model import remembered
from sim_devin.runs.run_budget import RunBudget
from sim_devin.runs.services import AppServices, Attendance
from sim_devin.runs.session_wait import session_wait
from sim_devin.runs.session_watch import note
from sim_devin.runs.turns import slot_for
from sim_devin.specs.jobs import JobSpec
from sim_devin.specs.models import ToolSpec
from sim_devin.store.records import Wait
from sim_devin.store.rows import LeaseLost
from sim_devin.store.step_ledger import StepLedger, Takes
from sim_devin.store.turns import NotYourTurn
from sim_devin.toolbox import Toolbox

TRY_AGAIN = 30.0  # seconds until a service is asked again that could not be read

RunChild = Callable[["Calls", str, Mapping[str, Any], str], RunResult]


@dataclass(frozen=True)
class DriveContext:
    """What all calls of a run share."""

    app: Toolbox
    journal: Journal
    budget: RunBudget
    settle: Settle
    policy: Policy
    run_child: RunChild
    allows_python: bool = False
    hold_questions: bool = False
    asking: Asking = field(default_factory=Asking)
    attendance: Attendance | None = None


class Calls:
    """Access to a run for one try of one block (`handler.RunAccess`).

    Args:
        run: the access that the engine gave.
        block: the block.
        step: name of the try: a pure function of the place in the run.
        around: what all calls of the run share.
        remembers: whether every call is recorded by itself, as a block that makes several
            needs it; a block over one tool is recorded as a whole.
        depth: how many runs are around this one.
    """

    def __init__(
        self,
        run: RunAccess,
        block: BlockContext,
        step: str,
        around: DriveContext,
        *,
        remembers: bool,
        depth: int,
    ) -> None:
        self.block = block
        self.step = step
        self.around = around
        self.depth = depth
        self.variables: dict[str, Any] = {}
        self.services: Services = StepServices(self)
        self.run_id = run.run_id
        self.env = run.env
        self.stop: threading.Event = run.stop
        self.remembers = remembers
        self._run = run
        self._number = 0

    def next_step(self) -> str:
        """Return the name of the next call."""
        self._number += 1
        return f"{self.step}/{self._number}"

    def remaining(self) -> float | None:
        """Return the seconds left until the run's deadline, or None without one."""
        return self._run.remaining()

    def variable(self, name: str, variable_id: str | None) -> Variable | None:
        """Return the workflow variable of that id, else of exactly that name."""
        return self._run.variable(name, variable_id)

    def set_variable(self, variable: Variable, value: Any) -> None:
        """Set a workflow variable, and remember it for a replay."""
        self.variables[variable.id] = value
        self._run.set_variable(variable, value)

    def waiting(self, log: Any, reason: str, data: Mapping[str, Any]) -> None:
        """Tell the listener why a block is waiting."""
        self._run.waiting(log, reason, data)

    def relay(self, event: Event) -> None:
        """Pass on an event of a child run; from any thread."""
        self._run.relay(event)

    def origins_of(self, block_id: str) -> Origins:
        """Return which environment variables the fields of a block may hold."""
        return self._run.origins_of(block_id)

    def without_variables(self, value: Any, block_id: str) -> Any:
        """Return data without the values of environment variables that a block has."""
        return self._run.without_variables(value, block_id)

    def warn(self, log: Any, block: Any, text: str, field: str) -> None:
        """Add a warning to the run's result, once for each field of a block."""
        self._run.warn(log, block, text, field)

    def run_child(self, workflow_id: str, inputs: Mapping[str, Any], block_id: str) -> RunResult:
        """Run another workflow as a part of this run.

        Raises:
            Parked: it waits for something.
        """
        result = self.around.run_child(self, workflow_id, inputs, block_id)
        if result.status == "paused":
            raise Parked
        return result

    def call_tool(
        self, tool_id: str, params: Mapping[str, Any], on_progress: Callable[[Any], None]
    ) -> dict[str, Any]:
        """Call a tool under the policy, the run's ceilings, deadline and cancel event.

        Raises:
            Parked: the block has to wait: for a session, or for a person to say what happened
                or whether it may.
            SimDevinError: the call failed.
        """
        journal = self.around.journal
        step = self.next_step()
        past = journal.step(step, tool_id) if self.remembers else None
        if past is not None:
            return _replayed(past)
        try:
            output = self._call(step, tool_id, params, on_progress)
        except SimDevinError as error:
            if self.remembers and not isinstance(error, (Cancelled, Declined)):
                failure = {"error": error.message, "hint": error.hint}
                journal.put_step(step, tool_id, failure)
            raise
        if self.remembers:
            journal.put_step(step, tool_id, {"output": output})
        return output

    def asking(self, service: str) -> AbstractContextManager[None]:
        """Note that the run asks a service. Raises NothingSent if too many do."""
        return self.around.asking.of(service, self.run_id)

    # -- one call ------------------------------------------------------------------------------

    def _call(
        self,
        step: str,
        tool_id: str,
        params: Mapping[str, Any],
        on_progress: Callable[[Any], None],
    ) -> dict[str, Any]:
        app, journal, budget = self.around.app, self.around.journal, self.around.budget
        spec = app.registry.tool(tool_id)
        allowed = approvals.admitted(journal, self.around.policy, spec, params, step)
        if allowed.dry_run:
            return dry_run(app, spec, lowered(params, allowed.ceilings))
        job = app.registry.job_of(tool_id)
        if job is not None and tool_id == job.tools.get("wait") and not self.remembers:
            raise Parked(self._session(job, params))
        shares = budget.reserve_for(step, spec, params)
        try:
            drawn = self._within_day(step, spec, params, shares) if starts_session(spec) else shares
            with self.asking(service_of(app, tool_id, params)):
                output = self._carry_out(step, tool_id, params, drawn, on_progress)
            seen = None if spec.creates_job else job or app.registry.job_seen(output)
            if seen is not None:  # what a create answers is not a look at what became of it
                note(journal.store, seen, output, app.clock.time())
            return output
        except NotYourTurn as error:
            budget.give_back(shares)
            raise Parked(self._turn(error, tool_id, params)) from error
        except UncertainResult as error:
            raise Parked(self.uncertain(error, tool_id)) from error
        except NothingSent as error:
            budget.settle(shares, error)
            raise Parked(self.for_service(error, tool_id)) from error
        except LocalFault as error:
            budget.give_back(shares)
            raise journal.abort(error) from error
        except (LeaseLost, StoreError) as error:
            raise journal.abort(error) from error
        except SimDevinError as error:
            if spec.reconcile is not None and error.means.uncertain:
                # Done, but not readable: the retry of a failed block would do it once more.
                raise Parked(self.uncertain(error, tool_id)) from error
            budget.settle(shares, error)
            raise

    def _within_day(
        self, step: str, spec: ToolSpec, params: Mapping[str, Any], shares: Mapping[str, float]
    ) -> Mapping[str, float]:
        app, journal, cap = self.around.app, self.around.journal, cap_of(spec)
        limits, day = day_limits(app.policy), day_of(journal.store.now(app.clock))
        if not cap:
            limits.pop(CAP, None)  # nothing can bound what it costs
        wanted = params.get(cap)
        return share_of_day(journal.store, journal.run, step, limits, day, wanted, shares)

    def _carry_out(
        self,
        step: str,
        tool_id: str,
        params: Mapping[str, Any],
        shares: Mapping[str, float],
        on_progress: Callable[[Any], None],
    ) -> dict[str, Any]:
        app = self.around.app
        spec = app.registry.tool(tool_id)
        ledger = StepLedger(
            self.around.journal.store,
            self.around.journal.run,
            step,
            app.clock,
            Takes(
                shares=shares,
                limits=day_limits(app.policy),
                slot=slot_for(app, self.around.journal.seal, tool_id, params),
            ),
            job=app.registry.job_of(tool_id),
        )
        options: dict[str, Any] = {
            "ceilings": caps(shares),
            "cancel": self.stop,
            "deadline": self.remaining(),
            "on_progress": on_progress,
            "admitted": True,
        }
        if spec.traits.read_only or spec.traits.idempotent:
            return app.call(tool_id, params, **options)
        if spec.reconcile is None:
            return once(
                ledger,
                tool_id,
                app.clock.time(),
                lambda confirm: app.call(tool_id, params, confirm=confirm, **options),
            )
        settle = self.around.settle
        return app.call(tool_id, params, reconcile=True, ledger=ledger, settle=settle, **options)

    def _session(self, job: JobSpec, params: Mapping[str, Any]) -> Wait:
        on_question = "hold" if self.around.hold_questions else "return"
        on_question = self.block.block.values.get("onQuestion") or on_question
        return session_wait(self.around.app, job, self.run_id, self.step, params, on_question)

    def uncertain(self, error: SimDevinError, tool_id: str) -> Wait:
        """Return the wait for a person who finds out whether something was done."""
        return Wait(
            self.run_id,
            self.step,
            "uncertain",
            point={
                "message": error.message,
                "hint": error.hint,
                "tool": tool_id,
                "resolve": 'Answer {"sessionId": "…"} if it was carried out, {"repeat": true} to '
                'repeat it, {"fail": true} to give up; or resume the run to look once '
                "more.",
            },
            about={"tool": tool_id},
        )

    def for_service(self, error: SimDevinError, tool_id: str) -> Wait:
        """Return the wait for a service to be asked again."""
        due, point = self.around.app.clock.time() + TRY_AGAIN, {"message": error.message}
        return Wait(
            self.run_id, self.step, "service", point=point, about={"tool": tool_id}, due=due
        )

    def _turn(self, error: NotYourTurn, tool_id: str, params: Mapping[str, Any]) -> Wait:
        app = self.around.app
        job = app.registry.job(app.registry.tool(tool_id).job)
        return Wait(
            self.run_id,
            self.step,
            "turn",
            point={"message": str(error)},
            about={"tool": tool_id},
            job=job.id,
            place=place_of(app, job, credentials_in(app, tool_id, params)),
        )


def _replayed(past: Mapping[str, Any]) -> dict[str, Any]:
    if "error" in past:
        raise SimDevinError(past["error"], hint=past.get("hint", ""))
    output: dict[str, Any] = past["output"]
    return output


class StepServices(AppServices):
    """The outside world of one try of a block."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls.around.app, allows_python=calls.around.allows_python)
        self._calls = calls

    @property
    def transport(self) -> Any:
        """Sends requests of the API block, those that must not be repeated only once."""
        calls = self._calls
        return CarefulSender(super().transport, calls.around.journal, calls)

    @property
    def llm(self) -> Any:
        """The model, its replies recorded; None without one."""
        return remembered(super().llm, self._calls.around.journal, self._calls.next_step)
