"""Whether a message has arrived, told by how many copies of its text a session holds.

The list of messages says who wrote them, a user or Devin, and no more. So a message has
arrived for certain only when there are more copies of its text than all others can account
for: those that stood there before, those that other steps, runs and threads have sent, and
those that they may have sent. It has not arrived when what surely was sent accounts for all
of them. Between the two nobody can tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.calls.intents import Intent, Ledger
from sim_devin.calls.invoke import Context
from sim_devin.devin.intents import digest
from sim_devin.devin.turn import messages_of


class Copies:
    """The copies of one text in one session."""

    def __init__(self, session_id: str, message: str, context: Context) -> None:
        self._session_id = session_id
        self._text = digest(message)
        self._context = context
        self._ledger: Ledger = context.ledger
        self._unclear = False

    def count_before(self, intent: Intent) -> None:
        """Note in an intent how many copies there are that none of ours accounts for."""
        sure, _ = self._same()
        messages = messages_of(self._session_id, self._context.call)
        found = self._copies(messages)
        later, open_ones = self._same()
        intent.position = len(messages)
        intent.most = max(0, found - sure)
        intent.least = max(0, found - later - open_ones)

    def arrived(self, sent: list[Intent]) -> bool:
        """Return whether one of the intents of one message surely arrived; see `cannot_tell`."""
        own = [intent.tag for intent in sent]
        sure, _ = self._same(own)
        messages = messages_of(self._session_id, self._context.call)
        found = self._copies(messages)
        later, open_ones = self._same(own)
        first = sent[0]
        if first.most is None or first.least is None:  # recorded by an earlier version
            before = self._copies(messages[: first.position])
            most, least = max(0, before - sure), max(0, before - later - open_ones)
        else:
            most, least = first.most, first.least
        arrived = found > most + later + open_ones
        self._unclear = not arrived and found > least + sure
        return arrived

    def cannot_tell(self) -> bool:
        """Return whether the last look saw a copy that may be this message or another's."""
        return self._unclear

    def _same(self, besides: list[str] | None = None) -> tuple[int, int]:
        return self._ledger.same_text(self._session_id, self._text, besides or ())

    def _copies(self, messages: list[Mapping[str, Any]]) -> int:
        return sum(
            item.get("source") == "user" and digest(str(item.get("message"))) == self._text
            for item in messages
        )
