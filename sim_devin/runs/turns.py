"""Turns: runs that wait for a slot of their organization, called when one is free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.runs.places import credentials_in, place_of
from sim_devin.store.rows import text
from sim_devin.store.sealing import Seal, to_json
from sim_devin.store.sql_store import SqlStore
from sim_devin.store.turns import SessionLimits, Slot
from sim_devin.toolbox import Toolbox

ALL = 1000  # runs that are called at a time where there is no limit any more


def limits_of(app: Toolbox) -> SessionLimits:
    """Return the limits of every organization, from the settings."""
    return SessionLimits(app.settings.max_sessions, app.settings.max_creates_per_minute)


def slot_for(app: Toolbox, seal: Seal, tool_id: str, params: Mapping[str, Any]) -> Slot | None:
    """Return what a call needs a slot of; None if it creates no session.

    Raises:
        CredentialsError: no usable key or organization.
    """
    job = app.registry.job_of(tool_id)
    if job is None or tool_id != job.create.tool:
        return None
    credentials = credentials_in(app, tool_id, params)
    closed = text(to_json(seal.close_credentials(credentials or None)))
    return Slot(job.id, place_of(app, job, credentials), closed, limits_of(app))


def call_next(app: Toolbox, store: SqlStore) -> int:
    """Wake the runs whose turn it is, the longest waiting first; return how many."""
    now, limits, woken = store.now(app.clock), limits_of(app), 0
    for place in store.queues():
        free = limits.free(store, place, now)
        woken += store.call_next(place, now, ALL if free is None else free)
    return woken
