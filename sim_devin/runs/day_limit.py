"""The ceilings on what all runs and calls over a store may spend in one day (UTC).

A session counts with its cap until it is over and known what it used (`session_watch`), so what
the shares of a day add up to is the most that the day can cost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sim_devin.calls.ceilings import CAP, SESSIONS, amount
from sim_devin.policy.rules import Policy
from sim_devin.store.account import drawn_on, require
from sim_devin.store.records import Run
from sim_devin.store.sql_store import SqlStore


def day_limits(policy: Policy) -> dict[str, float]:
    """Return the ceilings of a day, as `store.account.require` takes them."""
    limits = {CAP: policy.acu_per_day, SESSIONS: policy.sessions_per_day}
    return {name: limit for name, limit in limits.items() if limit is not None}


def share_of_day(
    store: SqlStore,
    run: Run,
    step: str,
    limits: Mapping[str, float],
    day: str,
    wanted: Any,
    shares: Mapping[str, float],
) -> Mapping[str, float]:
    """Return the shares of a call that starts a session, the day's ceilings kept.

    A session without a cap gets one where there is a ceiling: what is left of the day.

    Args:
        store: where the shares of all runs are.
        run: the run that the call is a part of.
        step: the call; what it reserved before does not count against it.
        limits: the ceilings, see `day_limits`.
        day: the day.
        wanted: the cap that was asked for.
        shares: what the run's own ceilings leave of it.

    Raises:
        NotAllowed: the session could spend more than is left of the day; says by how much.
    """
    shares = {**shares, SESSIONS: 1}
    if not limits:
        return shares
    drawn = drawn_on(store, day, besides=(run.id, step))
    if CAP in limits and not shares.get(CAP):
        left = math.floor(limits[CAP] - drawn.acus)
        shares[CAP] = amount(wanted) or max(1, left)
    require(limits, drawn, shares)
    return shares
