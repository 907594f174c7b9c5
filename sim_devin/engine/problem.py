"""One thing that is wrong with a workflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """What is wrong, where, and what to do about it.

    Attributes:
        text: what is wrong.
        place: ``block name`` or ``block name.field``; empty for the workflow as a whole.
        hint: what to do.
        level: ``error`` (it cannot run, or fails) or ``warning`` (likely a mistake).
        block_id: the block's id.
        widens: whether more would happen without the error than was asked for: a limit, a filter
            or a switch would not apply.
    """

    text: str
    place: str = ""
    hint: str = ""
    level: Level = "error"
    block_id: str | None = None
    widens: bool = False

    def __str__(self) -> str:
        return " ".join(
            part for part in (f"{self.place}:" if self.place else "", self.text) if part
        )

    def to_json(self) -> dict[str, Any]:
        """Return the problem as JSON data."""
        return {
            "problem": self.text,
            "place": self.place,
            "hint": self.hint,
            "level": self.level,
            "blockId": self.block_id,
        }
