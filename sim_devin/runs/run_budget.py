"""The ceilings of one durable run: what its steps have left, and what comes back."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from sim_devin.calls.ceilings import CAP, SESSIONS, cap_of
from sim_devin.engine.budget import Budget
from sim_devin.policy.rules import Policy
from sim_devin.runs.journal import Journal
from sim_devin.specs.models import ToolSpec
from sim_devin.store.account import Share, shares_of
from sim_devin.store.records import RunOptions


class RunBudget(Budget):
    """What is left of a run's ceilings, kept by what its sessions really used.

    What a step took off them in an earlier drive of the run stays taken off, also while it is
    not known what came of it, until the step comes to its turn again: no other step can have it.

    Args:
        journal: what is recorded of the run.
        policy: the ceilings.
        options: the run's: its own ceilings can only lower those of the policy.
    """

    def __init__(self, journal: Journal, policy: Policy, options: RunOptions) -> None:
        self._store, self._run_id = journal.store, journal.run.id
        self._unused: dict[str, float] = {}
        self._again: dict[str, dict[str, float]] = {}
        self._looking = threading.Lock()
        policy = policy.tightened(Policy(sessions_per_run=options.max_sessions))
        ceilings, used = policy.run_ceilings(options.max_acu), {CAP: 0.0, SESSIONS: 0.0}
        steps, recorded = self._store.steps(self._run_id), journal.recorded
        for share in self._shares():
            used[share.ceiling] += share.amount
            if share.ceiling == CAP:
                self._unused[share.step] = share.unused
            if share.step not in steps and share.step.rpartition("/")[0] not in recorded:
                self._again.setdefault(share.step, {})[share.ceiling] = share.amount
        super().__init__(
            ceilings, policy.call_ceilings(), sessions=policy.sessions_per_run, used=used
        )

    def reserve_for(self, step: str, spec: ToolSpec, params: Mapping[str, Any]) -> dict[str, float]:
        """Return the share of each ceiling that a step gets which calls a tool.

        See `Budget.reserve`.
        """
        cap = cap_of(spec)
        with self._looking:
            self.give_back(self._again.pop(step, {}))
            if cap and CAP in self._total:
                for share in self._shares():
                    if share.ceiling == CAP:
                        more = share.unused - self._unused.get(share.step, 0.0)
                        self._unused[share.step] = share.unused
                        self.give_back({CAP: more})
        starts = spec.creates_job or bool(cap)
        return self.reserve(spec.properties, params, cap=cap, starts=starts)

    def _shares(self) -> list[Share]:
        return [
            share
            for share in shares_of(self._store, self._run_id)
            if share.ceiling in (CAP, SESSIONS)
        ]
