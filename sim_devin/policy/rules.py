"""What agents and workflows may do: allowed tools, approvals, spending limits.

A `Policy` is data and makes decisions; a `gate.Gate` applies them and tracks spending. ACUs are
reserved by a session's cap when it is created: the sum of a day's caps is the most that the day can
cost. A message to a session spends within that session's own cap. Plans billed by quota report no
ACUs; there, limit sessions and minutes instead.

It applies to automated callers: models that call functions, MCP clients, the blocks of a workflow.
`App.call` and ``sim-devin call`` are the user's own calls: only the limits of a day and of one
session apply to them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from sim_devin.calls.ceilings import CAP, amount, cap_of, checked, least
from sim_devin.errors import CallerError, NotAllowed
from sim_devin.specs.models import ToolSpec
from sim_devin.text import did_you_mean

# Words in `Policy.confirm` that stand for every tool with a trait.
DESTRUCTIVE = "destructive"
COSTS_MONEY = "costs-money"

# The limits among the fields of a `Policy`; None means no limit.
CEILINGS = (
    "acu_per_call",
    "acu_per_run",
    "acu_per_day",
    "sessions_per_run",
    "sessions_per_day",
    "minutes_per_session",
)

QUOTED = 1000  # characters of a value shown in a question


@dataclass(frozen=True)
class Spent:
    """Reservations so far: ACUs and sessions, of one run and of this day (UTC)."""

    run: float = 0.0
    day: float = 0.0
    run_sessions: int = 0
    day_sessions: int = 0


@dataclass(frozen=True)
class Allowed:
    """The call may proceed.

    Attributes:
        ceilings: parameter -> its maximum.
        reserve: ACUs to reserve for it.
        sessions: sessions to count for it.
        dry_run: only show what would be sent.
        receipt: refunds the day's reservation; set by `Gate.admit`.
    """

    ceilings: Mapping[str, float] = field(default_factory=dict)
    reserve: float = 0.0
    sessions: int = 0
    dry_run: bool = False
    receipt: str = ""


@dataclass(frozen=True)
class NeedsApproval:
    """The call requires approval.

    Attributes:
        question: the question to ask.
        ceilings: parameter -> its maximum.
        tool: id of the tool.
        title: its name.
        parameters: its parameters, without the user's private values such as secrets.
        why: the reason, such as ``cannot be undone``.
    """

    question: str
    ceilings: Mapping[str, float] = field(default_factory=dict)
    tool: str = ""
    title: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True)
class Refused:
    """The call is denied."""

    reason: str
    hint: str = ""


Verdict = Allowed | NeedsApproval | Refused
Approve = Callable[[NeedsApproval], bool]


@dataclass(frozen=True)
class Policy:
    """What agents and workflows may do. Patterns match tool ids, with ``*`` for anything.

    Attributes:
        read_only: only tools that change nothing.
        allow: patterns of allowed tools; empty allows all.
        deny: patterns of denied tools, overriding `allow`.
        confirm: patterns of tools that require approval; ``destructive`` and ``costs-money``
            stand for all tools with that trait.
        acu_per_call: maximum ACU cap of one session.
        acu_per_run: maximum sum of the ACU caps of one run.
        acu_per_day: maximum sum of the ACU caps of one day (UTC).
        sessions_per_run: maximum number of sessions created by one run.
        sessions_per_day: maximum number of sessions created in one day (UTC).
        minutes_per_session: minutes after its create at which an unfinished session is ended.
        dry_run: nothing that makes changes is sent.
    """

    read_only: bool = False
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    confirm: tuple[str, ...] = ()
    acu_per_call: float | None = None
    acu_per_run: float | None = None
    acu_per_day: float | None = None
    sessions_per_run: int | None = None
    sessions_per_day: int | None = None
    minutes_per_session: float | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name in CEILINGS:
            checked(name, getattr(self, name))
        for name in ("sessions_per_run", "sessions_per_day"):
            if getattr(self, name) is not None and int(getattr(self, name)) != getattr(self, name):
                raise CallerError(f"{name} is {getattr(self, name)}; it must be a whole number.")
        for name in ("allow", "deny", "confirm"):
            # Each letter of a string would be a pattern, and the one in "*" would match every tool.
            if isinstance(getattr(self, name), str):
                text = getattr(self, name)
                raise CallerError(f"{name} is a string; it must be a tuple: ({text!r},).")

    def offers(self, spec: ToolSpec) -> bool:
        """Return whether a tool is offered at all."""
        return self._refusal(spec) is None

    def offered(
        self, specs: Mapping[str, ToolSpec], chosen: Iterable[str] | None = None
    ) -> list[str]:
        """Return the ids of the tools to offer: the selected ones, or all that are allowed.

        Raises:
            NotAllowed: a selected tool is not allowed.
        """
        if chosen is None:
            return [name for name, spec in specs.items() if self.offers(spec)]
        chosen = list(chosen)
        for name in chosen:
            refusal = self._refusal(specs[name]) if name in specs else None
            if refusal is not None:
                raise NotAllowed(refusal.reason, hint=refusal.hint)
        return chosen

    def tightened(self, other: Policy) -> Policy:
        """Return this policy combined with another.

        The other can only tighten it, with one exception: its `allow`, if set, replaces this one's.
        What is denied here stays denied.
        """
        lowest: dict[str, Any] = {
            name: least(getattr(self, name), getattr(other, name)) for name in CEILINGS
        }
        return Policy(
            read_only=self.read_only or other.read_only,
            allow=other.allow or self.allow,
            deny=_joined(self.deny, other.deny),
            confirm=_joined(self.confirm, other.confirm),
            dry_run=self.dry_run or other.dry_run,
            **lowest,
        )

    @property
    def bounds_day(self) -> bool:
        """Whether there is a daily limit."""
        return self.acu_per_day is not None or self.sessions_per_day is not None

    def of_one_call(self) -> Policy:
        """Return the policy without limits on total spending, which are tracked elsewhere."""
        return replace(self.over_runs(), acu_per_day=None, sessions_per_day=None)

    def over_runs(self) -> Policy:
        """Return the policy without limits of one run, which are tracked with the run."""
        return replace(self, acu_per_run=None, sessions_per_run=None)

    def of_own_act(self) -> Policy:
        """Return the part of the policy that applies to a person's own calls, as to everyone's."""
        return Policy(
            acu_per_day=self.acu_per_day,
            sessions_per_day=self.sessions_per_day,
            minutes_per_session=self.minutes_per_session,
        )

    def call_ceilings(self) -> dict[str, float]:
        """Return parameter -> its maximum in one call."""
        return {} if self.acu_per_call is None else {CAP: math.floor(self.acu_per_call)}

    def run_ceilings(self, asked: float | None = None) -> dict[str, float]:
        """Return parameter -> its maximum for one run; `asked` can only lower it."""
        limit = least(checked("max_acu", asked), self.acu_per_run)
        return {} if limit is None else {CAP: math.floor(limit)}

    def slips(self, tools: Iterable[str]) -> list[str]:
        """Return messages about patterns that match no tool.

        Raises:
            CallerError: a pattern in `deny` or `confirm` is for a service whose tools are loaded:
                the call it should have stopped would proceed.
        """
        known = [*tools, DESTRUCTIVE, COSTS_MONEY]
        services = {item.partition("_")[0] for item in known if "_" in item}
        found: list[str] = []
        for name in ("allow", "deny", "confirm"):
            for pattern in getattr(self, name):
                if any(fnmatchcase(item, pattern) for item in known):
                    continue
                said = f"{name} has {pattern!r}, which matches no tool."
                hint = did_you_mean(pattern, known) or "See: sim-devin tools."
                service = pattern.partition("_")[0]
                if name != "allow" and ("_" not in pattern or service in services):
                    raise CallerError(f"The policy's {said}", hint=hint)
                found.append(f"{said} {hint}")
        return found

    def check(self, spec: ToolSpec, params: Mapping[str, Any], spent: Spent = Spent()) -> Verdict:
        """Return whether a call may proceed. Pure.

        A ceiling lowers a requested cap, and sets one if there was none.
        """
        refusal = self._refusal(spec)
        if refusal is not None:
            return refusal
        ceilings: dict[str, float] = {}
        sessions = int(starts_session(spec))
        if sessions:
            for words, ceiling, used in (
                ("run", self.sessions_per_run, spent.run_sessions),
                ("day", self.sessions_per_day, spent.day_sessions),
            ):
                if ceiling is not None and used >= ceiling:
                    return _used_up(f"{ceiling:g} sessions of this {words}", spec)
        cap = cap_of(spec)
        if cap:
            for words, left in self._left(spent):
                if left < 1:
                    return _used_up(f"ACUs {words}", spec)
            limits = [left for _, left in self._left(spent)]
            if limits:
                most = math.floor(min(limits))
                ceilings[cap] = least(amount(params.get(cap)), most) or most
        if self.dry_run and not spec.traits.read_only:
            return Allowed(ceilings, dry_run=True)
        if self._needs_yes(spec):
            return _needed(spec, params, ceilings)
        return Allowed(ceilings, reserve=ceilings.get(cap, 0.0), sessions=sessions)

    def _refusal(self, spec: ToolSpec) -> Refused | None:
        if self.read_only and not spec.traits.read_only:
            return Refused(f"{spec.id} makes changes, and the policy is read-only.")
        if self.allow and not _matches(spec.id, self.allow):
            return Refused(f"{spec.id} is not among the allowed tools.")
        if _matches(spec.id, self.deny):
            return Refused(f"{spec.id} is denied by the policy.")
        return None

    def _left(self, spent: Spent) -> list[tuple[str, float]]:
        limits = (
            ("per call", self.acu_per_call, 0.0),
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


def starts_session(spec: ToolSpec) -> bool:
    """Return whether a call of the tool itself creates a job, or something else with a cap.

    A tool that stands for a workflow also takes a cap, but its blocks start the sessions.
    """
    acts = spec.request is not None or spec.run is not None
    return spec.creates_job or (bool(cap_of(spec)) and acts)


def _used_up(what: str, spec: ToolSpec) -> Refused:
    text = f"The ceiling of {what} is used up; {spec.id} was not sent."
    return Refused(text, "A person can raise it.")


def _matches(tool_id: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(tool_id, pattern) for pattern in patterns)


def _joined(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def _needed(
    spec: ToolSpec, params: Mapping[str, Any], ceilings: Mapping[str, float]
) -> NeedsApproval:
    shown = {
        name: value
        for name, value in {**params, **ceilings}.items()
        if name in spec.properties
        and "x-visibility" not in spec.properties[name]
        and value not in (None, "")
    }
    what = ", ".join(f"{name}: {_quoted(value)}" for name, value in shown.items())
    reasons = [
        words
        for words, counts in (
            ("cannot be undone", spec.traits.destructive),
            ("costs money", spec.traits.costs_money),
        )
        if counts
    ]
    why = " and ".join(reasons) or ("only reads" if spec.traits.read_only else "makes changes")
    question = f"{spec.title} ({spec.id})? It {why}. {what}".strip()
    return NeedsApproval(question, ceilings, spec.id, spec.title, shown, why)


def _quoted(value: Any) -> str:
    """Return a value with no text that could pass for another value or manipulate a terminal."""
    text = repr(value)
    more = len(text) - QUOTED
    return text if more <= 0 else f"{text[:QUOTED]}… ({more} more characters)"
