"""Whether a message has arrived, told by how many copies of its text a job holds.

The list of messages says who wrote them, a user or the job, and no more. Messages of one text
are interchangeable, so copies are counted: each copy that none of those accounts for which are
known to have arrived belongs to one of those of which that is not known, and it does not matter
to which. A message takes such a copy once no other can still turn out to own it: its request is
over, with the answer lost, when it has been seen open for a whole grace window. Whoever finds
no copy left has not arrived. Two that look at once cannot take the same copy: the ledger compares
and sets.

What was there before, from others than us, is known as a range: a copy may have been one of
ours in progress. Where that range decides, nobody can tell.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from sim_devin.calls.intents import MAY_ARRIVE, Intent, Ledger
from sim_devin.calls.invoke import Context
from sim_devin.calls.jobs.turn import is_users, messages_of
from sim_devin.specs.jobs import JobSpec

AGAIN = 1.0  # seconds until another look, where something has changed during one


class Copies:
    """The copies of one text in one job.

    Of a job whose messages no tool lists, nothing can be told.
    """

    def __init__(self, job: JobSpec, job_id: str, message: str, context: Context) -> None:
        self._job = job
        self._job_id = job_id
        self._text = digest(message)
        self._context = context
        self._ledger: Ledger = context.ledger
        self._seen: dict[tuple[str, int], float] = {}  # others that are open, and since when
        self._last = context.clock.monotonic()
        self._unclear = job.messages is None
        self._more = 0.0

    def count_before(self, intent: Intent) -> None:
        """Note in an intent how many copies there are that none of ours accounts for."""
        if self._job.messages is None:
            return
        before = self._same()
        messages = messages_of(self._job, self._job_id, self._context.call)
        found, after = self._copies(messages), self._same()
        sure = [one.tag for one in before if one.state == "done"]
        theirs = [
            one for one in after if one.tag not in sure and one.state in ("done", *MAY_ARRIVE)
        ]
        # What others noted holds still: what came since is theirs.
        most = [found - len(sure), *(one.most for one in theirs if one.most is not None)]
        least = [found - len(sure) - len(theirs), *(one.least or 0 for one in theirs)]
        intent.position = len(messages)
        intent.least = max(0, *least)
        intent.most = max(intent.least, min(most))

    def arrived(self, sent: Sequence[Intent]) -> bool:
        """Return whether one of the intents of one message surely arrived, and record it.

        See `cannot_tell` and `more`.
        """
        if self._job.messages is None:
            return False
        own = [intent.tag for intent in sent]
        before = self._same(own)
        messages = messages_of(self._job, self._job_id, self._context.call)
        found, after = self._copies(messages), self._same(own)
        first = sent[0]
        if first.most is None or first.least is None:  # recorded by an earlier version
            then = self._copies(messages[: first.position])
            pending = sum(one.state in MAY_ARRIVE for one in after)
            most, least = then - _done(before), then - _done(after) - pending
        else:
            most, least = first.most, first.least
        most, least = max(0, most), max(0, least)
        closed, open_for = self._closed(after)
        if most > least:
            closed = []  # what looks like a copy of theirs may be none of ours
        theirs = sum(one.state in MAY_ARRIVE for one in after) - len(closed)
        ours = found - most - theirs
        if _done(after) < ours:
            if self._ledger.take(self._job, own, ours, closed):
                return True
            open_for = max(open_for, AGAIN)
        if _done(before) < _done(after):  # which of them did this look see?
            open_for = max(open_for, AGAIN)
        self._unclear = found > least + _done(before)
        self._more = open_for if self._unclear else 0.0
        return False

    def cannot_tell(self) -> bool:
        """Return whether the last look saw a copy that may be this message or another's."""
        return self._unclear

    def more(self) -> float:
        """Return for how many seconds to look on until others' requests are over."""
        return self._more

    def _closed(self, others: Sequence[Intent]) -> tuple[list[Intent], float]:
        """Return the open ones whose answer cannot come any more, and when the rest are."""
        grace = self._context.settle.grace
        now = self._context.clock.monotonic()
        if now - self._last >= grace / 2:  # this process stood still, and so did its requests
            self._seen.clear()
        self._last = now
        closed, longest = [], 0.0
        for one in others:
            if one.state not in MAY_ARRIVE or one.state == "uncertain":  # a person's to decide
                continue
            left = self._seen.setdefault((one.tag, one.sends), now) + grace - now
            if left <= 0:
                closed.append(one)
            longest = max(longest, left)
        return closed, longest

    def _same(self, besides: Sequence[str] = ()) -> list[Intent]:
        found = self._ledger.same_text(self._job, self._job_id, self._text)
        return [intent for intent in found if intent.tag not in besides]

    def _copies(self, messages: list[Mapping[str, Any]]) -> int:
        spec = self._job.messages
        assert spec is not None  # noqa: S101 - the callers looked
        return sum(
            is_users(self._job, item) and digest(str(item.get(spec.text))) == self._text
            for item in messages
        )


def _done(intents: Sequence[Intent]) -> int:
    return sum(intent.state == "done" for intent in intents)


def digest(message: str) -> str:
    """Return what tells a text from others, however a service keeps it.

    Blanks around it, line ends and the composition of characters may come back otherwise than
    they were sent, and a message must be found again all the same.
    """
    kept = unicodedata.normalize("NFC", "\n".join(message.splitlines()).strip())
    return hashlib.sha256(kept.encode("utf-8", "surrogatepass")).hexdigest()
