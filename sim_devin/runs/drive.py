"""One process driving one durable run: until it is over, or until it has to wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.calls.ceilings import least
from sim_devin.engine import engine
from sim_devin.engine.contract import BlockError
from sim_devin.engine.document import load_workflow
from sim_devin.engine.events import Listener
from sim_devin.engine.program import Program
from sim_devin.engine.run import BlockLog, RunResult
from sim_devin.engine.workflow import Workflow
from sim_devin.errors import LocalFault, StoreError
from sim_devin.runs.blocks import wrap
from sim_devin.runs.calls import Calls, DriveContext
from sim_devin.runs.carrier import Watched
from sim_devin.runs.journal import Journal
from sim_devin.runs.run_budget import RunBudget
from sim_devin.runs.secrets import SecretsHere
from sim_devin.runs.services import AppServices, Attendance
from sim_devin.store.records import Run
from sim_devin.store.rows import LeaseLost
from sim_devin.store.sql_store import SqlStore
from sim_devin.toolbox import Toolbox


class Drive:
    """Drives a claimed run once.

    Raises:
        MissingCredentials: a secret that stands in the record is not known here.
    """

    def __init__(
        self,
        app: Toolbox,
        store: SqlStore,
        run: Run,
        program: Program,
        children: Mapping[str, Workflow],
        secrets: SecretsHere,
        watched: Watched,
        company: Listener | Attendance | None,
    ) -> None:
        self._app = app
        self._store = store
        self._run = run
        self._program = program
        self._children = children
        self._env = secrets.environment(run.id)
        self._secrets = secrets
        self._watched = watched
        attendance = company if isinstance(company, Attendance) else None
        listener = company.on_event if isinstance(company, Attendance) else company
        self._attendance = attendance
        self._journal = Journal(
            store,
            run,
            secrets.seal(run.id),
            app.clock,
            watched.stop,
            listener,
            registry=app.registry,
        )
        gate = attendance and attendance.gate
        self._budget = RunBudget(self._journal, (gate or app.gate).policy, run.chosen)
        self._around = DriveContext(
            app,
            self._journal,
            self._budget,
            app.settle,
            app.policy.of_one_call(),
            self._run_child,
            allows_python=run.chosen.allow_python,
            hold_questions=run.chosen.on_question == "hold",
            asking=watched.asking,
            attendance=attendance,
        )
        wrap(program, self._around)

    @property
    def record(self) -> Run:
        """The run, as it was claimed."""
        return self._run

    @property
    def parked(self) -> Mapping[str, BlockLog]:
        """The steps that wait by now, and the log entries of their blocks."""
        return self._journal.telling.parked

    def run(self) -> RunResult | None:
        """Drive, record how it went, and return the result; None if the run was lost.

        Raises:
            StoreError: the store failed; nothing recorded is lost, and the run is taken up
                again once its lease is over.
        """
        run, clock, chosen = self._run, self._app.clock, self._run.chosen
        left = None if run.deadline is None else max(0.0, run.deadline - clock.time())
        if self._attendance is not None and self._attendance.deadline is not None:
            left = least(left, self._attendance.deadline)
        result = engine.run_program(
            self._program,
            run.inputs,
            bound=engine.Bound(
                env=self._env, bindings={}, children=self._find_child, budget=self._budget
            ),
            from_block=chosen.from_block,
            earlier=chosen.snapshot,
            run_id=run.id,
            stop_after=chosen.stop_after,
            deadline=left,
            cancel=self._watched.stop,
            on_event=self._journal.hear,
            is_heard=self._journal.is_heard,
        )
        try:
            if self._journal.broken is None:
                self._journal.flush()
                self._conclude(result)
        except LeaseLost:
            return None
        if isinstance(self._journal.broken, (StoreError, LocalFault)):
            raise self._journal.broken
        return None if self._journal.broken or self._watched.lost else result

    def _conclude(self, result: RunResult) -> None:
        watched = self._watched
        run, store, now = self._run, self._store, self._app.clock.time()
        self._journal.settle_logs()
        result.started = run.started if run.started is not None else result.started
        if result.status == "paused":
            store.park(run, now, self._journal.telling.parked)
            return
        result.warnings += self._store.warnings(run.id)
        body = result.to_json()
        run.summary = self._journal.tally.to_json()
        if result.status == "cancelled" and result.reason != "deadline":
            asked = self._attendance is not None and not watched.lost
            if asked or watched.cancelled or store.run(run.id).cancelling:
                store.end_run(run, "cancelled", now, result=body)
            elif not watched.lost:
                store.release(run, now)
            return
        if result.status == "cancelled":
            store.end_run(run, "cancelled", now, result=body, error="The run timed out.")
        elif result.success:
            store.end_run(run, "done", now, result=body)
        else:
            store.end_run(run, "failed", now, result=body, error=result.error)

    def _find_child(self, workflow_id: str) -> Any:
        found = self._children.get(workflow_id)
        return self._services().workflow(workflow_id) if found is None else found

    def _services(self) -> AppServices:
        return AppServices(
            self._app,
            allows_python=self._run.chosen.allow_python,
            attendance=self._attendance,
        )

    def _run_child(
        self, calls: Calls, workflow_id: str, inputs: Mapping[str, Any], block_id: str
    ) -> RunResult:
        if calls.depth >= engine.MAX_DEPTH:
            raise BlockError(
                f"child workflows are nested deeper than {engine.MAX_DEPTH}", retry=False
            )
        source = self._find_child(workflow_id)
        if source is None:
            raise BlockError(
                f"unknown workflow {workflow_id!r}",
                hint="Pass it in children, or register it.",
                retry=False,
            )
        program = Program(load_workflow(source), self._services(), kind="child")
        self._secrets.learn(self._run.id, {f"{workflow_id}/": program})
        depth = calls.depth + 1
        wrap(program, self._around, prefix=f"{calls.step}>", depth=depth)
        return engine.run_program(
            program,
            inputs,
            bound=engine.Bound(
                self._env, {}, self._find_child, self._budget, depth, calls.origins_of(block_id)
            ),
            run_id=f"{calls.run_id}.{workflow_id}",
            deadline=calls.remaining(),
            cancel=calls.stop,
            on_event=None if self._attendance is None else calls.relay,
        )
