"""Classification of errors for callers that decide what to do next. The only place for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Meaning:
    """What an error says about the call that raised it.

    Attributes:
        temporary: the same call may succeed later without any change: the network, a timeout, 408,
            425, 429, 5xx.
        did_nothing: the call certainly changed and cost nothing. Only a rejection of the request
            itself proves that. A 409, a 429 or a 5xx does not: a gateway may return those after
            the service has done the work.
        callers_fault: the call cannot succeed as it is; it has to be changed.
        access: a key, a permission or money is missing; the same call succeeds once a person has
            fixed that.
        uncertain: the call may have taken effect: check before repeating it.
        final: the error is a decision (by the policy or a person), a property of this
            installation, or a lack of money; trying again only asks again.
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

# 4xx statuses that say nothing about the request itself: it may be in progress, or done.
_DOUBTFUL = frozenset((408, 409, 425, 429, 499))


def meaning_of_status(status: int) -> Meaning:
    """Return the classification of a non-success HTTP status."""
    if status in (401, 402, 403):
        return ACCESS
    if status in (408, 425, 429) or status >= 500:
        return PASSING
    if not 400 <= status < 500:
        return Meaning()
    return Meaning(did_nothing=status not in _DOUBTFUL, callers_fault=True)
