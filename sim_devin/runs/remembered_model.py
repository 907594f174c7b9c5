"""The language model of a durable run: a reply that is recorded is not asked for again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sim_devin.runs.journal import Journal


class RememberedModel:
    """Asks the model, and records what it replies.

    Args:
        model: replies, see `engine.services.LanguageModel`.
        journal: the record of the run.
        next_step: returns the name of the next step of the block that asks.
    """

    def __init__(self, model: Any, journal: Journal, next_step: Callable[[], str]) -> None:
        self._model = model
        self._journal = journal
        self._next_step = next_step

    def complete(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> Mapping[str, Any]:
        """Return the model's reply, from the record if it is there."""
        step = self._next_step()
        past = self._journal.step(step, "model")
        if past is not None:
            reply: Mapping[str, Any] = past["output"]
            return reply
        reply = self._model.complete(messages, **options)
        self._journal.put_step(step, "model", {"output": reply})
        return reply


def remembered(model: Any, journal: Journal, next_step: Callable[[], str]) -> Any:
    """Return a model that remembers its replies; None without one."""
    return None if model is None else RememberedModel(model, journal, next_step)
