"""The ceiling on what all durable runs of a store together may spend in one day (UTC).

A session counts with its cap until it is over and known what it used (`session_watch`), so what
the shares of a day add up to is the most that the day can cost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sim_devin.clock import day_of
from sim_devin.engine.budget import amount
from sim_devin.policy import CAP
from sim_devin.store.records import Run
from sim_devin.store.sql_store import SqlStore
from sim_devin.store.step_ledger import day_exceeded, reserved_on


def share_of_day(
    store: SqlStore,
    run: Run,
    step: str,
    ceiling: float | None,
    now: float,
    wanted: Any,
    shares: Mapping[str, float],
) -> Mapping[str, float]:
    """Return the shares of a call that starts a session, the day's ceiling kept.

    A session without a cap gets one: what is left of the day.

    Args:
        store: where the shares of all runs are.
        run: the run that the call is a part of.
        step: the call; what it reserved before does not count against it.
        ceiling: ACUs; None for no ceiling.
        now: the moment, which says the day.
        wanted: the cap that was asked for.
        shares: what the run's own ceilings leave of it.

    Raises:
        NotAllowed: the session could spend more than is left of the day; says by how much.
    """
    if ceiling is None:
        return shares
    left = ceiling - reserved_on(store, day_of(now), CAP, besides=(run.id, step))
    asked = shares.get(CAP) or amount(wanted)
    cap = max(1.0, math.floor(left)) if asked is None else asked
    if cap > left:
        raise day_exceeded(ceiling, left, cap)
    return {**shares, CAP: cap}
