"""Who may create a session now: the limits of an organization, kept over all runs of a store."""

from __future__ import annotations

from dataclasses import dataclass

from sim_devin.store.records import SessionRecord
from sim_devin.store.sql_store import SqlStore

MINUTE = 60.0


class NotYourTurn(Exception):
    """A limit of the organization is reached; says which. The create waits in the queue."""


@dataclass(frozen=True)
class SessionLimits:
    """How many sessions of one organization there may be; None for any number.

    Attributes:
        at_once: in progress at the same time.
        per_minute: created within any minute.
    """

    at_once: int | None = None
    per_minute: int | None = None

    def free(self, store: SqlStore, place: str, now: float) -> int | None:
        """Return how many sessions may be created now; None for any number."""
        free = []
        if self.at_once is not None:
            free.append(self.at_once - store.slots_used(place, now))
        if self.per_minute is not None:
            free.append(self.per_minute - store.created_since(place, now - MINUTE))
        return max(0, min(free)) if free else None

    def reason(self, store: SqlStore, place: str, now: float, ahead: int) -> str:
        """Return in words why no session can be created now, with `ahead` others in the queue."""
        reached = []
        if self.at_once is not None:
            used = store.slots_used(place, now)
            text = _sessions(used, ("is", "are")) + " in progress"
            reached.append((self.at_once - used, f"{text}; the limit is {self.at_once}"))
        if self.per_minute is not None:
            made = store.created_since(place, now - MINUTE)
            text = _sessions(made, ("was", "were")) + " created within a minute"
            reached.append((self.per_minute - made, f"{text}; the limit is {self.per_minute}"))
        left, text = min(reached)
        return f"{text}; {ahead} ahead." if left > 0 else f"{text}."


@dataclass(frozen=True)
class Slot:
    """What a create needs to be allowed: a slot of its organization.

    Attributes:
        job: the kind of job that is created.
        place: the organization: the address of its list of sessions.
        credentials: what tells sessions of one key from those of another; no secret.
        limits: how many there may be.
    """

    job: str
    place: str
    credentials: str | None
    limits: SessionLimits

    def take(self, store: SqlStore, run_id: str, step: str, now: float) -> None:
        """Take the slot for a step. Call it inside the transaction that records its intent.

        A step that has a slot already keeps it, however often its create is tried.

        Raises:
            NotYourTurn: none is free, or others have waited longer.
        """
        waiting = step.rpartition("/")[0]
        if not store.holds_slot(run_id, step):
            free = self.limits.free(store, self.place, now)
            ahead = 0 if free is None else store.ahead(self.place, run_id, waiting, now)
            if free is not None and ahead >= free:
                raise NotYourTurn(self.limits.reason(store, self.place, now, ahead))
        made = SessionRecord(run_id, step, self.place, self.credentials, now, now, job=self.job)
        store.put_session(made)
        store.leave_queue(run_id, waiting)


def _sessions(number: int, verb: tuple[str, str]) -> str:
    one = number == 1
    return f"{number} session{'' if one else 's'} of this organization {verb[0 if one else 1]}"
