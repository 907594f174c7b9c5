"""Applies a policy: admits calls, asks for approval, and tracks spending."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sim_devin.calls.ceilings import least
from sim_devin.clock import Clock
from sim_devin.errors import Declined, NotAllowed, SimDevinError
from sim_devin.policy.rules import (
    Allowed,
    Approve,
    NeedsApproval,
    Policy,
    Refused,
    Spent,
    Verdict,
    starts_session,
)
from sim_devin.policy.spending import Drawn, MemorySpending, Spending
from sim_devin.specs.models import ToolSpec

NOT_SENT = "Nothing was sent. Ask the user before trying again."
NOBODY_TO_ASK = (
    "Nothing was sent. A durable run waits for the answer (sim-devin run, app.runs.start); "
    "App.run and call_function need an approve function."
)


class Gate:
    """Applies a policy: admits calls and reserves what they may spend. Safe to share.

    The gate counts the spending of one run: it belongs to one run, one server, or one conversation
    with a model. `spending` counts that of a day.

    Attributes:
        policy: the policy.
        spending: the account of the day; default: in memory.
    """

    def __init__(
        self,
        policy: Policy,
        spending: Spending | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.policy = policy
        self.spending = spending or MemorySpending(clock)
        self._run = Drawn()
        self._lock = threading.Lock()

    def admit(
        self, spec: ToolSpec, params: Mapping[str, Any], *, approved: bool = False
    ) -> Allowed | NeedsApproval:
        """Return whether a call may proceed, having reserved its budget if it may.

        Raises:
            NotAllowed: the policy denies it.
        """
        policy = replace(self.policy, confirm=()) if approved else self.policy
        verdict: Verdict = Refused("")
        receipt = ""

        def decide(day: Drawn) -> Drawn:
            nonlocal verdict
            run = self._run
            spent = Spent(run.acus, day.acus, run.sessions, day.sessions)
            verdict = policy.check(spec, params, spent)
            return drawn(verdict) if isinstance(verdict, Allowed) else Drawn()

        with self._lock:
            if policy.bounds_day and starts_session(spec):
                receipt = self.spending.reserve(decide)
            else:
                decide(Drawn())
            if isinstance(verdict, Allowed):
                self._run += drawn(verdict)
        if isinstance(verdict, Refused):
            raise NotAllowed(verdict.reason, hint=verdict.hint)
        return replace(verdict, receipt=receipt) if isinstance(verdict, Allowed) else verdict

    @contextmanager
    def admitted(
        self, spec: ToolSpec, params: Mapping[str, Any], approve: Approve | None = None
    ) -> Iterator[Allowed]:
        """Admit a call that the body makes; refund what was certainly not spent.

        `approve` is called if the policy requires approval; without it the call is declined.

        Raises:
            NotAllowed: the policy denies it.
            Declined: it was not approved.
        """
        verdict = self.admit(spec, params)
        if isinstance(verdict, NeedsApproval):
            if approve is None or approve(verdict) is not True:
                how = "there is no way to ask here" if approve is None else "a person declined"
                raise Declined(
                    f"{spec.id} requires approval, which was not given: {how}.",
                    hint=NOBODY_TO_ASK if approve is None else NOT_SENT,
                )
            # The approval covers these ceilings, even if more budget is left by now.
            verdict = self.admit(spec, {**params, **verdict.ceilings}, approved=True)
            assert not isinstance(verdict, NeedsApproval)  # noqa: S101 - it was approved
        try:
            yield verdict
        except SimDevinError as error:
            self.settle(verdict, error)
            raise

    def over_runs(self) -> Gate:
        """Return a gate for workflows that shares the day's account but not the run's."""
        return Gate(self.policy.over_runs(), self.spending)

    def of_own_act(self) -> Gate:
        """Return the gate for a person's own calls, which shares the day's account."""
        return Gate(self.policy.of_own_act(), self.spending)

    def draws_for(self, other: Gate) -> bool:
        """Return whether this gate's calls also count towards the other's day."""
        mine, theirs = self.policy, other.policy
        return self.spending is other.spending and all(
            least(getattr(mine, name), getattr(theirs, name)) == getattr(mine, name)
            for name in ("acu_per_day", "sessions_per_day")
        )

    def settle(self, allowed: Allowed, error: SimDevinError) -> None:
        """Refund the reservation if `error` shows that the call certainly had no effect."""
        if not error.means.did_nothing:
            return
        with self._lock:
            self._run += Drawn(-allowed.reserve, -allowed.sessions)
        if allowed.receipt:
            self.spending.give_back(allowed.receipt)


def drawn(allowed: Allowed) -> Drawn:
    """Return what an allowed call deducts from the day and the run."""
    return Drawn(allowed.reserve, allowed.sessions)
