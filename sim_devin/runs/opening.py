"""Where the runs of an app are recorded, opened when that is first needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sim_devin.clock import Clock, RealClock
from sim_devin.engine.run import RunResult
from sim_devin.errors import CallerError, UnknownName
from sim_devin.runs import snapshots
from sim_devin.runs.attended import AttendedRuns
from sim_devin.runs.carrier import Carrier
from sim_devin.runs.leases import LeaseCarrier
from sim_devin.runs.locks import LockCarrier
from sim_devin.runs.runs import Runs
from sim_devin.runs.services import Attendance
from sim_devin.runs.snapshots import RunStore
from sim_devin.runs.starting import RunRequest
from sim_devin.settings import APP_NAME
from sim_devin.store.shared_clock import SharedClock
from sim_devin.store.sql_store import SqlStore, open_store
from sim_devin.store.sqlite_file import IN_MEMORY
from sim_devin.toolbox import Toolbox

log = logging.getLogger("sim_devin")

SUGGESTED = 1000  # runs whose ids are compared with an unknown one
LEASE = 20.0  # seconds without a sign of life after which a process counts as dead


class Recorders:
    """The durable runs of an app, and those that `App.run` attends.

    Attended runs are recorded in the store that the app was handed, if it was; else in memory.

    Args:
        app: makes the calls.
        store: what `open_app` was given: a store, an object that keeps snapshots, a place, None.
    """

    def __init__(self, app: Toolbox, store: SqlStore | RunStore | str | Path | None) -> None:
        self._app = app
        self._store = store if isinstance(store, SqlStore) else None
        self._shares = isinstance(store, (SqlStore, str, Path))
        self._snapshots = None if isinstance(store, (str, Path)) else store
        self._durable: Runs | None = None
        self._attended: AttendedRuns | None = None
        self._lock = threading.Lock()

    @property
    def durable(self) -> Runs:
        """See `App.runs`."""
        with self._lock:  # two stores in memory would be two accounts
            if self._durable is None:
                self._durable = open_runs(self._app, self._store)
            return self._durable

    @property
    def attended(self) -> AttendedRuns:
        """Runs that a caller waits for."""
        durable = self.durable if self._shares else None
        with self._lock:
            found = self._attended
            if found is None or (durable is not None and found.runs is not durable):
                runs = durable or open_runs(self._app, open_store(IN_MEMORY))
                found = self._attended = AttendedRuns(runs)
            return found

    @property
    def records(self) -> Any:
        """The object that was passed in to keep runs; else what loads those of `App.run`."""
        return self if self._snapshots is None else self._snapshots

    def load(self, run_id: str) -> Mapping[str, Any]:
        """Return the record of a run of `App.run`: its ``result``, without secrets.

        Raises:
            UnknownName: there is no such run, or it is forgotten by now.
        """
        run = self.attended.runs.store.run(run_id)
        return {"result": run.result, "state": run.state}

    def close(self) -> None:
        """Close the store of durable runs, unless it was passed in. Attended runs stay."""
        with self._lock:
            runs, self._durable = self._durable, None
        if runs is not None:
            runs.close()

    def end_doubles(self) -> list[str]:
        """End the duplicate sessions of the runs of `App.run`, and of durable ones if open."""
        with self._lock:
            attended = None if self._attended is None else self._attended.runs
            every = {id(runs): runs for runs in (self._durable, attended) if runs is not None}
        return [ended for runs in every.values() for ended in runs.worker.doubles.end_all()]

    def run(self, request: RunRequest, attendance: Attendance) -> RunResult:
        """See `App.run`."""
        attended = self.attended
        result = attended.run(request, attendance)
        if self._snapshots is not None and self._store is None:
            snapshots.keep(self._snapshots, result, attended.runs.secrets.seal(result.run_id))
        return result

    def resume(
        self,
        run: RunResult | str,
        answer: Any,
        attendance: Attendance,
        *,
        context_id: str | None,
        env: Mapping[str, str] | None,
        bindings: Mapping[str, Any],
    ) -> RunResult:
        """See `App.resume`."""
        run_id = run if isinstance(run, str) else run.run_id
        attended, kept = self.attended, self._snapshots
        store = attended.runs.store
        known: dict[str, Any] = {"context_id": context_id, "env": env, "bindings": bindings}
        if store.is_run(run_id):
            result = attended.resume(run_id, answer, attendance, **known)
            seal = attended.runs.secrets.seal(run_id)
            kept = kept if self._store is None else None
        else:
            if isinstance(run, RunResult):
                paused: Any = run
            elif kept is not None:
                paused = snapshots.load(self._app, kept, run, env, bindings)
            else:
                raise UnknownName("run", run, [one.id for one in store.runs(limit=SUGGESTED)])
            result = snapshots.resume(self._app, paused, answer, attendance, **known)
            seal = snapshots.seal_of_result(self._app, result, bindings)
        if kept is not None:
            snapshots.keep(kept, result, seal)
        return result


def open_runs(app: Toolbox, handed_in: SqlStore | None = None) -> Runs:
    """Return runs that an app drives, in a store that was passed in or in that of the settings.

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
    store = handed_in or open_store(store_place(app))
    own = app.clock.own if isinstance(app.clock, SharedClock) else app.clock
    if isinstance(own, RealClock) and store.database.offset() is not None:
        app.clock = SharedClock(own, store.database)
    if lease and store.database.locks is not None and store.database.name != IN_MEMORY:
        log.warning(
            "SIM_DEVIN_LEASE means nothing to %s: a run there is its process's until that ends. "
            "It is for runs that are kept in PostgreSQL.",
            store.database.name,
        )
    carry = partial(carrier_of, ttl=seconds, clock=app.clock)
    return Runs(app, store, carry=carry, owns_store=handed_in is None)


def carrier_of(store: SqlStore, owner: str, *, ttl: float, clock: Clock) -> Carrier:
    """Return what brings the runs of a store to a process of that name.

    `ttl` is for how many seconds runs are leased where processes of several machines share them.
    """
    locks = store.database.locks
    if locks is None:
        return LeaseCarrier(store, owner, ttl, clock)
    return LockCarrier(store, owner, locks, ttl)


def store_place(app: Toolbox) -> str:
    """Return where durable runs are kept: a file, a ``postgresql://`` address, or memory."""
    named = app.settings.env.get("SIM_DEVIN_STORE", "")
    if named == "memory":
        return IN_MEMORY
    if named:
        return named if "://" in named else str(Path(named).expanduser())
    from platformdirs import user_data_path

    return str(user_data_path(APP_NAME) / "runs.sqlite")
