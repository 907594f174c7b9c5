"""What agents may do: which tools, which need a person's yes, and how much they may spend.

A `Policy` is data and decides; a `Gate` applies it and keeps what was spent. ACUs are
reserved by a session's cap when it is created: what the caps of a day add up to is the most
that the day can cost. A message to a session spends within that session's own cap.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Protocol

from sim_devin.clock import Clock, RealClock
from sim_devin.errors import CallerError, NotAllowed, SimDevinError, surely_did_nothing
from sim_devin.schema import number
from sim_devin.spec import ToolSpec

CAP = "maxAcuLimit"  # the parameter that bounds what a session may spend, in ACUs

# Words that stand for every tool with a trait, among the patterns of `Policy.confirm`.
DESTRUCTIVE = "destructive"
COSTS_MONEY = "costs-money"


@dataclass(frozen=True)
class Spent:
    """ACUs reserved so far: by this process (one run) and on this day (UTC)."""

    run: float = 0.0
    day: float = 0.0


@dataclass(frozen=True)
class Allowed:
    """The call may go on.

    Attributes:
        ceilings: parameter -> the most it may be.
        reserve: ACUs to reserve for it.
        dry_run: only say what would be sent.
        day: the day it was reserved on, set by `Gate.admit`.
    """

    ceilings: Mapping[str, float] = field(default_factory=dict)
    reserve: float = 0.0
    dry_run: bool = False
    day: str = ""


@dataclass(frozen=True)
class NeedsApproval:
    """A person has to say yes first. `question` says to what."""

    question: str
    ceilings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """The call may not go on."""

    reason: str
    hint: str = ""


Verdict = Allowed | NeedsApproval | Refused


@dataclass(frozen=True)
class Policy:
    """What agents may do. Patterns match tool ids, with ``*`` for anything.

    Attributes:
        read_only: only tools that change nothing.
        allow: patterns of the tools to offer; empty for all.
        deny: patterns of tools not to offer, whatever `allow` says.
        confirm: patterns of tools that need a person's yes; ``destructive`` and
            ``costs-money`` stand for all tools with that trait.
        acu_per_call: most ACUs that one session may be capped at.
        acu_per_run: most ACUs that the caps of one run may add up to.
        acu_per_day: most ACUs that the caps of one day (UTC) may add up to.
        dry_run: nothing that changes anything is sent.
    """

    read_only: bool = False
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    confirm: tuple[str, ...] = ()
    acu_per_call: float | None = None
    acu_per_run: float | None = None
    acu_per_day: float | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name in ("acu_per_call", "acu_per_run", "acu_per_day"):
            ceiling = getattr(self, name)
            if ceiling is not None and not ceiling >= 1:
                raise CallerError(f"{name} is {ceiling}; it must be at least 1.")

    def offers(self, spec: ToolSpec) -> bool:
        """Return whether a tool is to be offered at all."""
        return self._refusal(spec) is None

    def check(self, spec: ToolSpec, params: Mapping[str, Any], spent: Spent = Spent()) -> Verdict:
        """Return whether a call may go on. Pure.

        A ceiling lowers a cap that was asked for, and sets one where none was.
        """
        refusal = self._refusal(spec)
        if refusal is not None:
            return refusal
        if self.dry_run and not spec.traits.read_only:
            return Allowed(dry_run=True)
        ceilings: dict[str, float] = {}
        if CAP in spec.properties:
            for words, left in self._left(spent):
                if left < 1:
                    return Refused(
                        f"The ceiling of ACUs {words} is used up; {spec.id} was not sent.",
                        "A person can raise it.",
                    )
            limits = [left for _, left in self._left(spent)]
            if limits:
                wanted = _amount(params.get(CAP))
                most = int(min(limits))
                ceilings[CAP] = most if wanted is None else min(wanted, most)
        if self._needs_yes(spec):
            return NeedsApproval(_question(spec, params, ceilings), ceilings)
        return Allowed(ceilings, reserve=ceilings.get(CAP, 0.0))

    def _refusal(self, spec: ToolSpec) -> Refused | None:
        if self.read_only and not spec.traits.read_only:
            return Refused(f"{spec.id} changes something, and only reading is allowed.")
        if self.allow and not _matches(spec.id, self.allow):
            return Refused(f"{spec.id} is not among the tools allowed here.")
        if _matches(spec.id, self.deny):
            return Refused(f"{spec.id} is denied here.")
        return None

    def _left(self, spent: Spent) -> list[tuple[str, float]]:
        limits = (
            ("of a call", self.acu_per_call, 0.0),
            ("of this run", self.acu_per_run, spent.run),
            ("of this day", self.acu_per_day, spent.day),
        )
        return [(words, ceiling - used) for words, ceiling, used in limits if ceiling is not None]

    def _needs_yes(self, spec: ToolSpec) -> bool:
        return (
            _matches(spec.id, self.confirm)
            or (DESTRUCTIVE in self.confirm and spec.traits.destructive)
            or (COSTS_MONEY in self.confirm and spec.traits.costs_money)
        )


def _matches(tool_id: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(tool_id, pattern) for pattern in patterns)


def _question(spec: ToolSpec, params: Mapping[str, Any], ceilings: Mapping[str, float]) -> str:
    shown = {
        name: value
        for name, value in {**params, **ceilings}.items()
        if name in spec.properties and "x-visibility" not in spec.properties[name]
    }
    what = ", ".join(f"{name}: {_short(value)}" for name, value in shown.items())
    why = "cannot be undone" if spec.traits.destructive else "changes something"
    if spec.traits.costs_money:
        why = "costs money"
    return f"{spec.title} ({spec.id})? It {why}. {what}".strip()


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 300 else f"{text[:300]}…"


def _amount(value: Any) -> float | None:
    if isinstance(value, str):
        value = number(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        return None
    return value


# -- applying it -----------------------------------------------------------------------------


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
    """A policy at work: admits calls, and reserves what they may spend. Safe to share."""

    def __init__(
        self,
        policy: Policy,
        spending: Spending | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.policy = policy
        self._spending = spending or MemorySpending()
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

        day = datetime.fromtimestamp(self._clock.time(), UTC).date().isoformat()
        self._spending.reserve(day, decide)
        if isinstance(verdict, Refused):
            raise NotAllowed(verdict.reason, hint=verdict.hint)
        return replace(verdict, day=day) if isinstance(verdict, Allowed) else verdict

    def settle(self, allowed: Allowed, error: SimDevinError) -> None:
        """Give back what was reserved if `error` says that the call surely did nothing."""
        if allowed.reserve and surely_did_nothing(error):
            self._spending.give_back(allowed.day, allowed.reserve)
