"""How the states of sessions are shown: in words, and in one of the page's four tones.

A block that waited for a session, or read it, has done what it is for whatever became of the
session. Only a session that is done makes it green.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from sim_devin.calls.jobs.verdict import Verdict
from sim_devin.specs.jobs import JobState

# good: as it should be. busy: in progress. attention: someone has to act, or nothing came of it.
# bad: it failed, or no money is left.
Tone = Literal["good", "busy", "attention", "bad"]

_SHOWN: Mapping[JobState, tuple[Tone, str]] = {
    "done": ("good", "Done"),
    "in_flight": ("busy", "Still working"),
    "blocked_on_user": ("attention", "Waits for an answer"),
    "blocked_on_approval": ("attention", "Waits for approval"),
    "asleep": ("attention", "Asleep"),
    "ended": ("attention", "Ended without a result"),
    "out_of_money": ("bad", "Out of money"),
    "failed": ("bad", "Session failed"),
}
_COUNTED: Mapping[JobState, str] = {  # after a number, of sessions at the end of a run
    "in_flight": "still working",
    "blocked_on_user": "waiting for an answer",
    "blocked_on_approval": "waiting for approval",
    "asleep": "asleep",
    "ended": "ended without a result",
    "out_of_money": "out of money",
    "failed": "failed",
}
_ANSWERABLE: tuple[JobState, ...] = ("blocked_on_user", "blocked_on_approval", "asleep")


def view(verdict: Verdict) -> dict[str, Any]:
    """Return how a session's state is shown: ``state``, ``tone``, ``words`` and ``reason``.

    ``canAnswer`` says whether a message to the session lets it continue.
    """
    tone, words = _SHOWN[verdict.state]
    return {
        "state": verdict.state,
        "tone": tone,
        "words": words,
        "reason": verdict.reason,
        "canAnswer": verdict.state in _ANSWERABLE,
    }


def of_block(verdict: Verdict, output: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how a block that has ended is shown after the session it is about.

    None if the block alone counts: a session that it created, or read, may continue. One that it
    waited for in vain may not.
    """
    shown = view(verdict)
    if verdict.state != "in_flight":
        return shown
    if not output.get("timedOut"):
        return None
    return {**shown, "tone": "attention", "words": "Still working when the time ran out"}


def at_the_end(status: str, summary: Mapping[str, Any] | None) -> dict[str, str]:
    """Return what else there is to say of a run, as its ``tone`` and ``words``; both may be "".

    Args:
        status: the run's, in the page's words.
        summary: what it came to (`store.records.Run.summary`).
    """
    nothing = {"tone": "", "words": ""}
    if summary is None or status not in ("finished", "failed", "cancelled"):
        return nothing
    if status == "finished" and not summary["blocks"]:
        return {
            "tone": "attention",
            "words": "Nothing ran: no enabled block was reached.",
        }
    counts = summary["sessions"]
    told = {state: f"{counts[state]} {_COUNTED[state]}" for state in _COUNTED if counts.get(state)}
    working = told.pop("in_flight", "")
    number = sum(counts[state] for state in told)
    if not number and not working:
        return nothing
    if not number:  # one that was created, or read, and continues by itself is no trouble
        return {"tone": "", "words": f"{_sessions(counts['in_flight'])} still working"}
    listed = [*told.values(), *([working] if working else [])]
    return {
        "tone": "bad" if any(_SHOWN[state][0] == "bad" for state in told) else "attention",
        "words": f"{_sessions(number)} not done: {', '.join(listed)}",
    }


def _sessions(number: int) -> str:
    return f"{number} session{'' if number == 1 else 's'}"
