"""The ceilings of one durable run: what its recorded steps have left, and what comes back."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from sim_devin.durable.journal import Journal
from sim_devin.engine.budget import Budget
from sim_devin.policy import CAP
from sim_devin.store.step_ledger import Share, shares_of


class RunBudget(Budget):
    """What is left of a run's ceiling on ACUs, kept by what its sessions really used.

    Args:
        journal: what is recorded of the run.
        ceiling: ACUs; None for no ceiling.
        each: parameter -> the most that any one call may have.
    """

    def __init__(self, journal: Journal, ceiling: float | None, each: Mapping[str, float]) -> None:
        self._store, self._run_id = journal.store, journal.run.id
        self._has_ceiling = ceiling is not None
        self._unused: dict[str, float] = {}
        self._looking = threading.Lock()
        if ceiling is None:
            super().__init__({}, each)
            return
        steps, recorded = self._store.steps(self._run_id), journal.recorded
        used = 0.0
        for share in self._shares():
            if share.step in steps or share.step.rpartition("/")[0] in recorded:
                used += share.amount
            self._unused[share.step] = share.unused
        super().__init__({CAP: ceiling}, each, {CAP: used})

    def reserve(
        self, tool_params: Mapping[str, Any], params: Mapping[str, Any]
    ) -> dict[str, float]:
        """Return the share of each ceiling that a call gets. See `Budget.reserve`."""
        if self._has_ceiling and CAP in tool_params:
            with self._looking:
                for share in self._shares():
                    more = share.unused - self._unused.get(share.step, 0.0)
                    self._unused[share.step] = share.unused
                    self.give_back({CAP: more})
        return super().reserve(tool_params, params)

    def _shares(self) -> list[Share]:
        return [share for share in shares_of(self._store, self._run_id) if share.ceiling == CAP]
