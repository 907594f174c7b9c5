"""What a block may do to the world while a caller waits for its run (`App.run`).

The caller is asked for approval, told of an ambiguous end, and bound by the gate it brings. What
the calls have spent is recorded with the run, and so is what may not be done twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from sim_devin.engine.budget import caps
from sim_devin.engine.contract import BlockContext, RunAccess
from sim_devin.errors import SimDevinError, UncertainResult
from sim_devin.runs.calls import Calls, DriveContext
from sim_devin.runs.once import once
from sim_devin.runs.remembered_model import remembered
from sim_devin.runs.services import AppServices, Attendance
from sim_devin.runs.turns import slot_for
from sim_devin.store.step_ledger import StepLedger, Takes
from sim_devin.store.turns import SessionLimits


class AttendedCalls(Calls):
    """Access to a run for one try of one block, see `Calls`.

    Args:
        attendance: what the caller brings along.
    """

    def __init__(
        self,
        run: RunAccess,
        block: BlockContext,
        step: str,
        around: DriveContext,
        attendance: Attendance,
        **options: Any,
    ) -> None:
        super().__init__(run, block, step, around, **options)
        self._attendance = attendance
        self._outside = AttendedServices(self, attendance)
        self.services = self._outside

    def _call(
        self,
        step: str,
        tool_id: str,
        params: Mapping[str, Any],
        on_progress: Callable[[Any], None],
    ) -> dict[str, Any]:
        services, budget = self._outside, self.around.budget
        spec = self.around.app.registry.tool(tool_id)
        shares = budget.reserve_for(step, spec, params)
        try:
            return services.call_tool(
                tool_id,
                params,
                cancel=self.stop,
                timeout=self.remaining(),
                ceilings=caps(shares),
                on_progress=on_progress,
                act=partial(self._act, step, shares),
            )
        except SimDevinError as error:
            budget.settle(shares, error)
            raise

    def _act(
        self,
        step: str,
        shares: Mapping[str, float],
        tool_id: str,
        params: Mapping[str, Any],
        **options: Any,
    ) -> dict[str, Any]:
        """Carry out a call that the gate let through, and drew from the day for."""
        app, journal = self.around.app, self.around.journal
        spec, reconcile = app.registry.tool(tool_id), self._attendance.reconcile
        if spec.traits.read_only or spec.traits.idempotent:
            return app.call(tool_id, params, **options)
        slot = slot_for(app, journal.seal, tool_id, params) if reconcile else None
        # Nobody queues while the caller waits.
        slot = slot and replace(slot, limits=SessionLimits())
        takes = Takes(shares=shares, slot=slot)
        job = app.registry.job_of(tool_id)
        ledger = StepLedger(journal.store, journal.run, step, app.clock, takes, job=job)
        if reconcile and spec.reconcile is not None:
            options |= {"reconcile": True, "ledger": ledger, "settle": self.around.settle}
            return app.call(tool_id, params, **options)
        try:
            return once(
                ledger,
                tool_id,
                app.clock.time(),
                lambda confirm: app.call(tool_id, params, confirm=confirm, **options),
            )
        except UncertainResult as error:
            if isinstance(error.__cause__, SimDevinError):
                raise error.__cause__ from None
            raise


class AttendedServices(AppServices):
    """The outside world of one try of a block, as the caller has it."""

    def __init__(self, calls: Calls, attendance: Attendance) -> None:
        around = calls.around
        super().__init__(around.app, allows_python=around.allows_python, attendance=attendance)
        self._calls = calls

    @property
    def llm(self) -> Any:
        """The model, its replies recorded; None without one."""
        return remembered(super().llm, self._calls.around.journal, self._calls.next_step)
