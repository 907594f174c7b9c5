"""Until when a session is waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sim_devin.devin.verdict import Verdict
from sim_devin.errors import UnknownName

Until = Callable[[Verdict], bool]


def until_settled(verdict: Verdict) -> bool:
    """Stop at anything that does not move on by itself. The default."""
    return verdict.settled


def is_over(verdict: Verdict) -> bool:
    """Return whether a session has ended, for good or until somebody continues it."""
    return verdict.state in ("done", "failed", "ended")


def ended_for_time(minutes: float) -> Verdict:
    """Return the verdict of a session that was ended since it took longer than it may."""
    text = f"it was ended after the {minutes:g} minutes that the policy lets a session take"
    return Verdict("ended", text)


def until_over(verdict: Verdict) -> bool:
    """Stop only when the session cannot go on by itself or by an answer: done, failed, ended.

    Somebody else is expected to answer or to wake the session meanwhile.
    """
    return verdict.state in ("done", "failed", "ended", "out_of_money")


UNTIL: Mapping[str, Until] = {"settled": until_settled, "over": until_over}


def until_named(name: str) -> Until:
    """Return a stop rule by its name.

    Raises:
        UnknownName: there is none of that name.
    """
    try:
        return UNTIL[name]
    except KeyError:
        raise UnknownName("way to wait", name, UNTIL, hint=f"Known: {', '.join(UNTIL)}.") from None
