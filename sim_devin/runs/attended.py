"""Runs that a caller waits for (`App.run`): recorded as any, and driven until over or paused."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from sim_devin.engine.pauses import paused_output
from sim_devin.engine.run import RunResult
from sim_devin.errors import CallerError, StoreError, UnknownName
from sim_devin.runs.drive import Drive
from sim_devin.runs.runs import Runs
from sim_devin.runs.services import Attendance
from sim_devin.runs.starting import RunRequest
from sim_devin.specs.json_input import require_json
from sim_devin.store.records import ENDED
from sim_devin.store.rows import LeaseLost
from sim_devin.store.sqlite_file import IN_MEMORY

KEPT = 100  # ended runs that are kept in memory; the oldest are forgotten


class AttendedRuns:
    """Starts and resumes runs for callers that wait for them.

    Nothing but a form or a moment sets such a run aside; see `Attendance` for what happens instead.

    Args:
        runs: records and drives them. Of those in memory only the last `KEPT` that have ended
            are kept; those that are paused stay.
    """

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self._store = runs.store
        self._ended: deque[str] = deque()

    def run(self, request: RunRequest, attendance: Attendance) -> RunResult:
        """Record a run and drive it until it is over or paused.

        Raises:
            InvalidWorkflow, CredentialsError, StoreError: as `Runs.start` does; nothing is
                recorded.
        """
        return self._drive(lambda: self._start(request), attendance)

    def resume(
        self,
        run_id: str,
        answer: Any,
        attendance: Attendance,
        *,
        context_id: str | None,
        env: Mapping[str, str] | None,
        bindings: Mapping[str, Any],
    ) -> RunResult:
        """Answer a form, or end the wait for a moment, and drive the run on.

        Raises:
            UnknownName: there is no such run, or it has no such pause.
            CallerError: it is not paused.
            MissingCredentials: a secret of the run is not known here; the run stays paused.
        """
        require_json(answer, "The answer")

        def answered() -> str:
            run = self._store.run(run_id)
            waits = self._store.waits(run.id, only_open=True)
            pauses = {wait.context_id: wait for wait in waits if wait.then == "answered"}
            if run.state in ENDED or not pauses:
                hint = "Only a paused run can be resumed."
                raise CallerError("This run is not paused.", hint=hint)
            chosen = context_id or next(iter(pauses))
            if chosen not in pauses:
                raise UnknownName("pause", chosen, pauses)
            self.runs.secrets.add_again(run.id, bindings, env)
            self._store.finish_wait(pauses[chosen], self.runs.app.clock.time(), answer)
            return run.id

        return self._drive(answered, attendance)

    # -- inside ----------------------------------------------------------------------------

    def _start(self, request: RunRequest) -> str:
        if (
            request.run_id is not None and request.run_id in self._ended
        ):  # in memory a later run may take an id again
            self._forget(request.run_id)
        return self.runs.start(request)

    def _drive(self, ready: Callable[[], str], attendance: Attendance) -> RunResult:
        while True:
            with self.runs.worker.begun(ready, attendance) as drive:
                result = self._drive_once(drive)
            state = self._store.run(result.run_id).state
            if result.status == "paused" and state == "ready":
                ready = partial(str, result.run_id)  # what it waits for came meanwhile
                continue
            if result.status == "paused":
                waits = self._store.waits(result.run_id, only_open=True)
                result.pause_points = [wait.point for wait in waits if wait.then == "answered"]
                result.output = paused_output(result.pause_points)
                return result
            self.runs.worker.doubles.look(result.run_id)
            warnings = (*result.warnings, *self._store.warnings(result.run_id))
            result.warnings = list(dict.fromkeys(warnings))
            self._has_ended(result.run_id)
            return result

    def _drive_once(self, drive: Drive) -> RunResult:
        run = drive.record
        try:
            result = drive.run()
        except BaseException as error:
            now, why = self.runs.app.clock.time(), str(error) or type(error).__name__
            interrupted = isinstance(error, KeyboardInterrupt)
            with suppress(LeaseLost, StoreError):
                self._store.end_run(run, "cancelled" if interrupted else "failed", now, error=why)
                self._has_ended(run.id)
            raise
        if result is None:
            text = f"Another process has taken over the run {run.id}."
            raise StoreError(text, hint="See app.runs.show.")
        return result

    def _has_ended(self, run_id: str) -> None:
        if self._store.database.name != IN_MEMORY:
            return
        self._ended.append(run_id)
        if len(self._ended) > KEPT:
            self._forget(self._ended[0])

    def _forget(self, run_id: str) -> None:
        with suppress(ValueError):  # another thread may have
            self._ended.remove(run_id)
            self._store.forget_run(run_id)
            self.runs.secrets.forget(run_id)
