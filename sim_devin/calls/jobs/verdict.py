"""What a job's state means, and until when it is waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sim_devin.calls.money import Scope
from sim_devin.errors import UnknownName
from sim_devin.specs.jobs import OVER, JobSpec, JobState
from sim_devin.specs.models import Schema

BLOCKED: tuple[JobState, ...] = ("blocked_on_user", "blocked_on_approval")


@dataclass(frozen=True)
class Verdict:
    """What a job's state means. `scope` says whose money ran out, for `out_of_money`."""

    state: JobState
    reason: str
    scope: Scope | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more happens without someone acting."""
        return self.state != "in_flight"


def classify(job: JobSpec, found: Mapping[str, Any], *, schema: Schema | None = None) -> Verdict:
    """Return what a job's state means, from the output of a look at it or of a list.

    `schema` is the JSON Schema its result has to fit to count as one, where the kind of job
    judges by that. States that the kind does not know are in flight, so that new ones break
    nothing.

    Raises:
        InvalidParams: `schema` refers to something outside of itself.
    """
    if job.judge is not None:
        return Verdict(*job.judge(found, schema))
    state, value = job.meaning(found)
    scope: Scope | None = "unknown" if state == "out_of_money" else None
    return Verdict(state, f"the {job.noun} is {value}", scope)


Until = Callable[[Verdict], bool]


def until_settled(verdict: Verdict) -> bool:
    """Stop at anything that does not move on by itself. The default."""
    return verdict.settled


def is_over(verdict: Verdict) -> bool:
    """Return whether a job has ended, for good or until someone continues it."""
    return verdict.state in OVER


def ended_for_time(minutes: float) -> Verdict:
    """Return the verdict of a job that was ended since it took longer than it may."""
    text = f"it was ended after {minutes:g} minutes, the policy's limit for a session"
    return Verdict("ended", text)


def until_over(verdict: Verdict) -> bool:
    """Stop only when the job cannot continue by itself or by an answer: done, failed, ended.

    Someone else is expected to answer or to wake the job meanwhile.
    """
    return verdict.state in (*OVER, "out_of_money")


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
