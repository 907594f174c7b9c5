"""Which of the page's workflow files a run belongs to: kept with the run, so that it lasts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sim_devin.app import App
from sim_devin.store.records import Run
from sim_devin.web.documents import ENDING


class RunFiles:
    """The files of runs, as far as they are in one folder.

    Args:
        app: its runs.
        folder: where the workflow files of the page are.
    """

    def __init__(self, app: App, folder: Path) -> None:
        self._app = app
        self._folder = folder.resolve()
        self._known: dict[str, str] = {}

    def put(self, run_id: str, name: str) -> None:
        """Say that a run was started from a file of the folder."""
        self._known[run_id] = str(self._path(name))
        self._app.runs.store.put_file(run_id, self._known[run_id], self._app.clock.time())

    def rename(self, name: str, to: str) -> None:
        """Let the runs of a file belong to it under its new name."""
        old, new = str(self._path(name)), str(self._path(to))
        self._app.runs.store.rename_file(old, new, self._app.clock.time())
        self._known = {run: new if file == old else file for run, file in self._known.items()}

    def names(self, runs: Sequence[Run]) -> dict[str, str]:
        """Return run -> name of its file, for those whose file is in the folder."""
        asked = [run.id for run in runs]
        unknown = [run_id for run_id in asked if run_id not in self._known]
        if unknown:
            self._known |= self._app.runs.store.files(unknown)
        found = {run_id: Path(self._known[run_id]) for run_id in asked if run_id in self._known}
        return {
            run_id: path.name.removesuffix(ENDING)
            for run_id, path in found.items()
            if path.parent == self._folder
        }

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{ENDING}"
