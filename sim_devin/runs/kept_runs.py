"""Runs that are not durable, kept so that a paused one can be resumed by its id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.devin.run_ledger import RunLedger
from sim_devin.engine.run import RunResult
from sim_devin.runs.secrets import seal_of
from sim_devin.store.marked import from_marks
from sim_devin.store.memory import MemoryStore
from sim_devin.store.sealing import from_json, names, to_json
from sim_devin.toolbox import Toolbox


class KeptRuns:
    """The results of an app's runs, in the app's store."""

    def __init__(self, app: Toolbox) -> None:
        self._app = app
        self._paused: dict[str, tuple[RunResult, RunLedger]] = {}  # by run

    def keep(self, result: RunResult, ledger: RunLedger) -> RunResult:
        """Return how a run ended, with what was found out about what it has sent.

        It is put into the store; a paused one also with what its snapshot leaves out.
        """
        result.warnings += ledger.conclude(self._app.end_doubles, look=result.status is None)
        store = self._app.store
        record = {"result": result.to_json(), "snapshot": result.snapshot}
        if not isinstance(store, MemoryStore):  # what leaves this process holds no secret
            env = result.bound.env if result.bound is not None else self._app.environment()
            closed = seal_of(self._app, env).close(record)
            record = to_json(closed) | {"secrets": sorted(set(names(closed)))}
        store.save(result.run_id, record)
        self._paused.pop(result.run_id, None)
        if result.status == "paused":
            self._paused[result.run_id] = result, ledger
        return result

    def ledger_of(self, run: RunResult | str) -> RunLedger | None:
        """Return the ledger of a run that this process has paused; None for any other."""
        _, ledger = self._paused.get(run if isinstance(run, str) else run.run_id, (None, None))
        return ledger

    def find(self, run_id: str, env: Mapping[str, str] | None) -> RunResult | Mapping[str, Any]:
        """Return a paused run: its result, or the snapshot that another process left.

        Raises:
            UnknownName: no run of that id is in the store.
        """
        if run_id in self._paused:
            return self._paused[run_id][0]
        record = self._app.store.load(run_id)
        snapshot: Mapping[str, Any] = record["snapshot"]
        if isinstance(self._app.store, MemoryStore):
            return snapshot
        # Without the names it was written with marks in texts, and every mark in it is ours.
        closed = from_json(snapshot) if "secrets" in record else from_marks(snapshot)
        allowed = record["secrets"] if "secrets" in record else set(names(closed))
        seal = seal_of(self._app, env or self._app.environment(), allowed)
        opened: Mapping[str, Any] = seal.open(closed)
        return opened
