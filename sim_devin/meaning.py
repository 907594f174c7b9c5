"""What an error means for whoever decides what comes next: decided here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Meaning:
    """What an error says about the call that ended in it.

    Attributes:
        temporary: the same call may succeed later although nobody changes anything: the
            network, a time-out, 408, 425, 429, 5xx.
        did_nothing: the call certainly changed and cost nothing. Only a refusal of what was
            asked for proves that. A 409, a 429 or a 5xx does not: a gateway may
            answer so after the service has done the work.
        callers_fault: the call cannot succeed as it stands; it has to be changed.
        access: a key, a permission or money is missing; the same call succeeds once a person
            has mended that.
        uncertain: the call may have taken effect: look before it is repeated.
        final: the answer is a decision (the policy's, a person's), a property of this
            installation, or money that is gone; trying again only asks again.
    """

    temporary: bool = False
    did_nothing: bool = False
    callers_fault: bool = False
    access: bool = False
    uncertain: bool = False
    final: bool = False


WRONG = Meaning(did_nothing=True, callers_fault=True)
DECIDED = Meaning(did_nothing=True, callers_fault=True, final=True)
ACCESS = Meaning(did_nothing=True, access=True)
PASSING = Meaning(temporary=True)
UNTAKEN = Meaning(temporary=True, did_nothing=True)
UNCERTAIN = Meaning(uncertain=True)

# Answers of the 4xx kind that say nothing of the request itself: it may be under way, or done.
_DOUBTFUL = frozenset((408, 409, 425, 429, 499))


def meaning_of_status(status: int) -> Meaning:
    """Return what an HTTP status means that is not a success."""
    if status in (401, 402, 403):
        return ACCESS
    if status in (408, 425, 429) or status >= 500:
        return PASSING
    if not 400 <= status < 500:
        return Meaning()
    return Meaning(did_nothing=status not in _DOUBTFUL, callers_fault=True)
