"""How the states of sessions are shown: in words, and in one of the page's four tones.

A block that waited for a session, or read it, has done what it is for whatever became of the
session. Only a session that is done makes it green.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from sim_devin.verdict import State, classify

# good: as it should be. busy: under way. attention: somebody has to act, or nothing came of it.
# bad: it failed, or no money is left.
Tone = Literal["good", "busy", "attention", "bad"]

_SHOWN: Mapping[State, tuple[Tone, str, str]] = {
    "done": ("good", "Done", "done"),
    "in_flight": ("busy", "Still working", "still working"),
    "blocked_on_user": ("attention", "Waits for an answer", "waiting for an answer"),
    "blocked_on_approval": ("attention", "Waits for an approval", "waiting for an approval"),
    "asleep": ("attention", "Asleep", "asleep"),
    "ended": ("attention", "Ended without a result", "ended without a result"),
    "out_of_money": ("bad", "Out of money", "out of money"),
    "failed": ("bad", "Session failed", "failed"),
}
ANSWERABLE: tuple[State, ...] = ("blocked_on_user", "blocked_on_approval", "asleep")

# Operations of a Devin block whose output is one session as it is: what they say of it counts.
# One that ends, archives or wakes a session says how it was found or left, on purpose.
_READS = ("create_session", "get_session", "wait_for_session")
_DEVIN = ("devin", "devin_wait")


def verdict_view(state: str, reason: str = "") -> dict[str, Any]:
    """Return how a session's state is shown: ``state``, ``tone``, ``words`` and ``reason``.

    ``canAnswer`` says whether a message to the session lets it go on. A state that is not known
    here is never shown as good.
    """
    tone, words, _ = _SHOWN.get(state, ("attention", state.replace("_", " ").capitalize(), ""))  # type: ignore[call-overload]
    return {
        "state": state,
        "tone": tone,
        "words": words,
        "reason": reason,
        "canAnswer": state in ANSWERABLE,
    }


def verdict_of(log: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how the session is shown that a block's log entry is about; None if about none.

    None also for one that only goes on: a block that created it has nothing more to say.
    """
    output = log.get("output")
    if log.get("error") is not None or not isinstance(output, Mapping):
        return None
    state = output.get("outcome")
    if isinstance(state, str) and isinstance(output.get("sessionId"), str):
        late = " when the time ran out" if output.get("timedOut") else ""
        shown = verdict_view(state, str(output.get("reason") or ""))
        return {**shown, "words": f"{shown['words']}{late}"} if state != "done" else shown
    if log.get("blockType") not in _DEVIN or not output.get("status"):
        return None
    given = log.get("input")
    operation = given.get("operation") if isinstance(given, Mapping) else None
    if operation is not None and operation not in _READS:
        return None
    verdict = classify(output)
    return None if verdict.state == "in_flight" else verdict_view(verdict.state, verdict.reason)


def in_words(verdicts: Iterable[Mapping[str, Any]]) -> tuple[Tone, str]:
    """Return the worst tone of some sessions, and in words how many are not done.

    Returns ("good", "") if all are.
    """
    counts: dict[str, int] = {}
    for verdict in verdicts:
        if verdict["tone"] != "good":
            counts[verdict["state"]] = counts.get(verdict["state"], 0) + 1
    if not counts:
        return "good", ""
    known = [state for state in get_args(State) if state in counts]
    known += [state for state in counts if state not in known]
    told = ", ".join(f"{counts[state]} {_lower(state)}" for state in known)
    tones = [verdict_view(state)["tone"] for state in counts]
    tone: Tone = "bad" if "bad" in tones else "attention"
    number = sum(counts.values())
    return tone, f"{number} session{'' if number == 1 else 's'} not done: {told}"


def _lower(state: str) -> str:
    found = _SHOWN.get(state)  # type: ignore[call-overload]
    return found[2] if found else state.replace("_", " ")
