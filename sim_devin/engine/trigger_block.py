"""Triggers: what starts a run hands on its inputs; any other trigger has nothing to say."""

from __future__ import annotations

from typing import Any

from sim_devin.engine.contract import BlockContext, handler


@handler(inline=True, retries=False)
def trigger(_: BlockContext) -> dict[str, Any]:
    """Return nothing: the engine puts the run's inputs in the place of the start block's output."""
    return {}
