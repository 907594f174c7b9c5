"""The language model of a durable run: a reply that is recorded is not asked for again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim_devin.runs.calls import Calls


class RememberedModel:
    """Asks the model, and records what it replies.

    Args:
        model: replies, see `app.App`.
        calls: the try of the block that asks.
    """

    def __init__(self, model: Any, calls: Calls) -> None:
        self._model = model
        self._calls = calls

    def complete(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> Mapping[str, Any]:
        """Return the model's reply, from the record if it is there."""
        journal = self._calls.around.journal
        step = self._calls.next_step()
        past = journal.step(step, "model")
        if past is not None:
            reply: Mapping[str, Any] = past["output"]
            return reply
        reply = self._model.complete(messages, **options)
        journal.put_step(step, "model", {"output": reply})
        return reply
