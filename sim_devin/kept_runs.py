"""Runs that are not durable, kept so that a paused one can be resumed by its id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sim_devin.durable.secrets import seal_of
from sim_devin.engine.run import RunResult
from sim_devin.store.memory import MemoryStore

if TYPE_CHECKING:
    from sim_devin.app import App


class KeptRuns:
    """The results of an app's runs, in the app's store."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._paused: dict[str, RunResult] = {}

    def keep(self, result: RunResult) -> RunResult:
        """Put a result into the store; a paused one also with what its snapshot leaves out."""
        store = self._app.store
        record = {"result": result.to_json(), "snapshot": result.snapshot}
        if not isinstance(store, MemoryStore):  # what leaves this process holds no secret
            env = result.bound.env if result.bound is not None else self._app.environment()
            record = seal_of(self._app, env).close(record)
        store.save(result.run_id, record)
        self._paused.pop(result.run_id, None)
        if result.status == "paused":
            self._paused[result.run_id] = result
        return result

    def find(self, run_id: str, env: Mapping[str, str] | None) -> RunResult | Mapping[str, Any]:
        """Return a paused run: its result, or the snapshot that another process left.

        Raises:
            UnknownName: no run of that id is in the store.
        """
        if run_id in self._paused:
            return self._paused[run_id]
        snapshot: Mapping[str, Any] = self._app.store.load(run_id)["snapshot"]
        if isinstance(self._app.store, MemoryStore):
            return snapshot
        opened: Mapping[str, Any] = seal_of(self._app, env or self._app.environment()).open(
            snapshot
        )
        return opened
