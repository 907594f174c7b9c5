"""Where the durable runs of an app are kept."""

from __future__ import annotations

from pathlib import Path

from sim_devin.clock import RealClock
from sim_devin.errors import CallerError
from sim_devin.runs.carrier import Carrier
from sim_devin.runs.leases import LeaseCarrier
from sim_devin.runs.runs import Runs
from sim_devin.settings import APP_NAME
from sim_devin.store.shared_clock import SharedClock
from sim_devin.store.sql_store import SqlStore, open_store
from sim_devin.store.sqlite_file import IN_MEMORY
from sim_devin.toolbox import Toolbox

LEASE = 20.0  # seconds without a sign of life after which a process counts as dead


def open_runs(app: Toolbox) -> Runs:
    """Return the durable runs of an app: see `App.runs`.

    Raises:
        StoreError: the store cannot be opened.
        CallerError: ``SIM_DEVIN_LEASE`` is no number of seconds.
    """
    lease = app.settings.env.get("SIM_DEVIN_LEASE", "")
    try:
        seconds = float(lease) if lease else LEASE
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise CallerError(f"SIM_DEVIN_LEASE is {lease[:60]!r}; it must be a number of seconds.")
    handed_in = app.store if isinstance(app.store, SqlStore) else None
    store = handed_in or open_store(store_place(app))
    own = app.clock.own if isinstance(app.clock, SharedClock) else app.clock
    if isinstance(own, RealClock) and store.database.offset() is not None:
        app.clock = SharedClock(own, store.database)

    def carry(sealed: SqlStore, owner: str) -> Carrier:
        return LeaseCarrier(sealed, owner, seconds, app.clock)

    return Runs(app, store, carry=carry, owns_store=handed_in is None)


def store_place(app: Toolbox) -> str:
    """Return where durable runs are kept: a file, a ``postgresql://`` address, or memory."""
    named = app.settings.env.get("SIM_DEVIN_STORE", "")
    if named == "memory":
        return IN_MEMORY
    if named:
        return named if "://" in named else str(Path(named).expanduser())
    from platformdirs import user_data_path

    return str(user_data_path(APP_NAME) / "runs.sqlite")
