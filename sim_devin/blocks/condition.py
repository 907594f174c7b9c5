"""The Condition block: the first row that holds decides which branch continues."""

from __future__ import annotations

from typing import Any

from sim_devin.engine.conditions import choose
from sim_devin.engine.contract import BlockContext, handler

# What Sim does not pass on from the block before.
LEFT_OUT = frozenset(
    {"error", "providerTiming", "tokens", "toolCalls", "model", "cost", "_pauseMetadata"}
)


@handler(inline=True, modes={"conditions": "conditions"}, needs_source=True)
def condition(block: BlockContext) -> dict[str, Any]:
    """Return the output of the block before, and which branch was chosen."""
    row = choose(block.values.get("conditions") or (), block.source)
    passed_on = {key: value for key, value in block.source.items() if key not in LEFT_OUT}
    option = None if row is None else row.get("id")
    target = block.target(f"condition-{option}")
    return {
        **passed_on,
        "conditionResult": row is not None,
        "selectedPath": target,
        "selectedOption": option,
    }
