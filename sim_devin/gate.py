"""A policy at work: it admits calls, asks for a yes, and keeps what they may spend."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from sim_devin.clock import Clock, RealClock, day_of
from sim_devin.errors import Declined, NotAllowed, SimDevinError
from sim_devin.policy import Allowed, Approve, NeedsApproval, Policy, Refused, Spent, Verdict
from sim_devin.spec import ToolSpec

NOT_SENT = "Nothing was sent. Ask the user before you try it again."
NOBODY_TO_ASK = (
    "Nothing was sent. A durable run waits for the answer (sim-devin run, app.runs.start); App.run "
    "and call_function ask what they are given as approve."
)


class Spending(Protocol):
    """Keeps what was spent. `reserve` decides and records in one step that nobody can split."""

    def reserve(self, day: str, decide: Any) -> None:
        """Call ``decide(spent) -> amount`` and add the amount to the run and to `day`."""
        ...

    def give_back(self, day: str, amount: float) -> None:
        """Take an amount off again."""
        ...


class MemorySpending:
    """What this process spent. A new process starts from nothing."""

    def __init__(self) -> None:
        self._run = 0.0
        self._days: dict[str, float] = {}
        self._lock = threading.Lock()

    def reserve(self, day: str, decide: Any) -> None:
        """Call ``decide(spent) -> amount`` and add the amount to the run and to `day`."""
        with self._lock:
            amount = decide(Spent(self._run, self._days.get(day, 0.0)))
            self._add(day, amount)

    def give_back(self, day: str, amount: float) -> None:
        """Take an amount off again."""
        with self._lock:
            self._add(day, -amount)

    def _add(self, day: str, amount: float) -> None:
        self._run += amount
        self._days[day] = self._days.get(day, 0.0) + amount


class Gate:
    """A policy at work: admits calls, and reserves what they may spend. Safe to share.

    Attributes:
        policy: the policy.
        spending: keeps what was spent; in memory unless given.
    """

    def __init__(
        self,
        policy: Policy,
        spending: Spending | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.policy = policy
        self.spending = spending or MemorySpending()
        self._clock = clock or RealClock()

    def admit(
        self, spec: ToolSpec, params: Mapping[str, Any], *, approved: bool = False
    ) -> Allowed | NeedsApproval:
        """Return whether a call may go on, having reserved for it if it may.

        Raises:
            NotAllowed: the policy refuses it.
        """
        policy = replace(self.policy, confirm=()) if approved else self.policy
        verdict: Verdict = Refused("")

        def decide(spent: Spent) -> float:
            nonlocal verdict
            verdict = policy.check(spec, params, spent)
            return verdict.reserve if isinstance(verdict, Allowed) else 0.0

        day = day_of(self._clock.time())
        self.spending.reserve(day, decide)
        if isinstance(verdict, Refused):
            raise NotAllowed(verdict.reason, hint=verdict.hint)
        return replace(verdict, day=day) if isinstance(verdict, Allowed) else verdict

    @contextmanager
    def admitted(
        self, spec: ToolSpec, params: Mapping[str, Any], approve: Approve | None = None
    ) -> Iterator[Allowed]:
        """Admit a call for the body to carry out; what it surely did not spend is given back.

        `approve` is asked where a person's yes is needed; without it the answer is no.

        Raises:
            NotAllowed: the policy refuses it.
            Declined: nobody said yes.
        """
        verdict = self.admit(spec, params)
        if isinstance(verdict, NeedsApproval):
            if approve is None or approve(verdict) is not True:
                how = "nobody can be asked here" if approve is None else "a person declined"
                raise Declined(
                    f"{spec.id} needs a person's yes and did not get it: {how}.",
                    hint=NOBODY_TO_ASK if approve is None else NOT_SENT,
                )
            # The yes was to these ceilings; more may be left by now.
            verdict = self.admit(spec, {**params, **verdict.ceilings}, approved=True)
            assert not isinstance(verdict, NeedsApproval)  # noqa: S101 - it was approved
        try:
            yield verdict
        except SimDevinError as error:
            self.settle(verdict, error)
            raise

    def over_runs(self) -> Gate:
        """Return a gate for workflows that shares the day: what a run may spend is the run's."""
        return Gate(replace(self.policy, acu_per_run=None), self.spending, self._clock)

    def settle(self, allowed: Allowed, error: SimDevinError) -> None:
        """Give back what was reserved if `error` says that the call surely did nothing."""
        if allowed.reserve and error.means.did_nothing:
            self.spending.give_back(allowed.day, allowed.reserve)
