"""The process that drives durable runs: it claims them, looks after parked ones, and drives."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, TypeVar

from sim_devin.calls.local_faults import local_fault
from sim_devin.engine.code_check import require_extras
from sim_devin.engine.document import load_workflow
from sim_devin.engine.events import Listener
from sim_devin.engine.program import Program
from sim_devin.engine.run import RunResult
from sim_devin.errors import CallerError, LocalFault, SimDevinError, StoreUnavailable
from sim_devin.runs.answers import Answers
from sim_devin.runs.carrier import Carrier, Drives, Watched
from sim_devin.runs.doubles_watch import DoublesWatch
from sim_devin.runs.drive import Drive
from sim_devin.runs.looks import Looks
from sim_devin.runs.overtime import Overtime
from sim_devin.runs.poller import Poller
from sim_devin.runs.reminders import Reminders, open_reminders
from sim_devin.runs.secrets import SecretsHere
from sim_devin.runs.services import AppServices, Attendance
from sim_devin.runs.session_watch import SessionWatch
from sim_devin.runs.turns import call_next
from sim_devin.runs.why import WaitReporter
from sim_devin.store.records import ENDED, Run
from sim_devin.store.rows import LeaseLost
from sim_devin.store.sql_store import SqlStore
from sim_devin.toolbox import Toolbox

log = logging.getLogger("sim_devin")

SHORTEST_IDLE = 0.05  # seconds between first looks at a followed run that another process drives
IDLE = 1.0  # seconds between looks for runs that other processes started
LONGEST_IDLE = 30.0
CONCURRENCY = 8
TEND_AGAIN = 0.5  # real seconds until the rest is done although a service is silent
STOP_WITHIN = 3.0  # real seconds that what is asked of the service gets to stop
# Real seconds between tries while the store or this machine refuses.
SHORTEST_PATIENCE, LONGEST_PATIENCE = 0.5, 15.0

_T = TypeVar("_T")


class Worker:
    """Drives the runs of a store, one at a time (`follow`) or all (`work`).

    Args:
        app: makes the calls.
        store: keeps the runs.
        owner: name of this process, unlike that of any other.
        carrier: brings the runs.
        secrets: what this process knows of the secrets of runs.
    """

    def __init__(
        self, app: Toolbox, store: SqlStore, owner: str, carrier: Carrier, secrets: SecretsHere
    ) -> None:
        self._app = app
        self._store = store
        self.carrier = carrier
        self.drives = Drives(store, owner, carrier, app.clock)
        self._secrets = secrets
        self._looks = Looks(carrier.turn)
        self._stopped: dict[str, tuple[Run, str]] = {}  # runs to be put back, and why
        self.doubles = DoublesWatch(app, store, secrets.seal)

    @cached_property
    def reminders(self) -> Reminders:
        """What reminds people of what runs ask."""
        return open_reminders(self._app, self._store)

    def close(self) -> None:
        """Let go of everything; wait for reminders that are being sent, for a while."""
        self._looks.stop(STOP_WITHIN)
        self.drives.close()
        if "reminders" in self.__dict__:
            self.reminders.close()

    def follow(
        self,
        run_id: str,
        *,
        cancel: threading.Event | None = None,
        on_event: Listener | None = None,
    ) -> RunResult | None:
        """Drive a run here until it is over or needs someone. See `Runs.follow`."""
        cancel = cancel or threading.Event()
        return self._patiently(lambda: self._follow(run_id, cancel, on_event), cancel)

    def _follow(
        self, run_id: str, cancel: threading.Event, on_event: Listener | None
    ) -> RunResult | None:
        run_id = self._store.run(run_id).id
        clock = self._app.clock
        result: RunResult | None = None
        parked = WaitReporter(self._store, self._app.registry, on_event)
        patience = SHORTEST_IDLE
        while True:
            run = self._store.run(run_id)
            if run.state in (*ENDED, "asking", "uncertain", "held"):
                self.doubles.look(run_id)
                return result
            if cancel.is_set():
                self._store.cancel_run(run_id, clock.time())
            claimed = self.claim(run_id)
            if claimed is not None:
                result = self.drive(claimed, cancel, on_event, parked) or result
                patience = SHORTEST_IDLE
            elif run.state in ("ready", "running"):
                time.sleep(patience)  # another process holds it: nothing of ours to wait for
                patience = min(self.carrier.pace, 1.5 * patience)
            elif not self.look_after(run_id, cancel):
                parked.tell(run_id, clock.time())
                clock.wait(cancel, self._pause(run))

    def work(
        self,
        *,
        once: bool = False,
        concurrency: int = CONCURRENCY,
        cancel: threading.Event | None = None,
        on_event: Listener | None = None,
        each_turn: Callable[[], bool] = lambda: False,
    ) -> int:
        """Drive all runs of the store that can continue. See `Runs.work`."""
        cancel = cancel or threading.Event()
        driven: list[str] = []
        self.drives.asking.most = concurrency

        room = concurrency

        def act() -> None:
            nonlocal room
            began = time.monotonic()
            try:
                self._work(driven, once, room, cancel, on_event, each_turn)
            except LocalFault:  # a machine that is short may have enough for fewer runs
                went_well = time.monotonic() - began > LONGEST_PATIENCE
                room = concurrency if went_well else max(1, room // 2)
                raise

        self._patiently(act, cancel, once=once)
        return len(driven)

    def _work(
        self,
        driven: list[str],
        once: bool,
        concurrency: int,
        cancel: threading.Event,
        on_event: Listener | None,
        each_turn: Callable[[], bool],
    ) -> None:
        reminders, asking = self.reminders, self.drives.asking
        active: dict[tuple[str, int], threading.Thread] = {}  # by run and fence
        ended = self._looks.ended
        failures: list[BaseException] = []

        def begin(run: Run, act: Callable[[], Any]) -> None:
            def carry_out() -> None:
                try:
                    act()
                except BaseException as error:
                    failures.append(error)
                finally:
                    active.pop(key, None)
                    ended.set()

            key = run.id, run.fence
            thread = threading.Thread(target=carry_out, name=f"run {run.id}")
            active[key] = thread
            try:
                thread.start()
            except RuntimeError as error:
                del active[key]
                short = local_fault(error)
                if short is None:
                    raise
                raise LocalFault(f"{short[0]}.", hint=short[1]) from error

        try:
            while not cancel.is_set() and not failures:
                # Who ends meanwhile may leave something to be done.
                busy = bool(active) or self._looks.busy()
                moved = each_turn() | self._tend(None) | self._looks.news()
                reminders.remind(on_event=on_event)
                while len(active) - asking.slow() < concurrency and not cancel.is_set():
                    run = self.claim(sweep=once)
                    if run is None:
                        break
                    driven.append(run.id)
                    moved = True
                    try:
                        begin(run, partial(self.drive, run, None, on_event))
                    except LocalFault as error:
                        self._stopped[run.id] = run, str(error)
                        self.drives.let_go(run)
                        raise
                if active or self._looks.busy():
                    # So soon again, for what others start or wake meanwhile.
                    self.drives.rest(ended.wait, 0.5, looking=len(active) < concurrency)
                    ended.clear()
                elif not (moved or busy or self._looks.news()):
                    if once:
                        break
                    self.drives.idle(cancel, min(IDLE, self._pause(None)))
        finally:
            self.drives.give_back(run_id for run_id, _ in list(active))
            self._looks.stop(STOP_WITHIN)
            for thread in list(active.values()):
                thread.join()
        if failures:
            raise failures[0]

    def _patiently(
        self, act: Callable[[], _T], cancel: threading.Event, *, once: bool = False
    ) -> _T:
        """Do it, again and again for as long as the store or this machine refuses.

        Raises:
            StoreUnavailable: the store refuses, and it is to be done `once`, or `cancel` is set.
            LocalFault: the same of this machine.
        """
        pause, said = SHORTEST_PATIENCE, ""
        while True:
            began = time.monotonic()
            try:
                self._put_back()
                return act()
            except (StoreUnavailable, LocalFault) as error:
                if once or cancel.is_set():
                    raise
                if time.monotonic() - began > LONGEST_PATIENCE:  # it had gone well for a while
                    pause, said = SHORTEST_PATIENCE, ""
                if str(error) != said:
                    said = str(error)
                    log.warning("waiting to retry: %s", self._app.redactor.text(said))
            cancel.wait(pause)
            pause = min(2 * pause, LONGEST_PATIENCE)

    def _put_back(self) -> None:
        """Make the runs ready again that could not continue, and record why.

        Raises:
            StoreUnavailable: the store still refuses.
        """
        for run, reason in list(self._stopped.values()):
            self.drives.put_back(run, reason)
            self._stopped.pop(run.id, None)

    def claim(self, run_id: str | None = None, *, sweep: bool = False) -> Run | None:
        """Begin a run, or that one, to drive it. See `Drives.claim`."""
        return self.drives.claim(run_id, sweep=sweep)

    def look_after(self, run_id: str | None = None, cancel: threading.Event | None = None) -> bool:
        """Do what is due for parked runs, or for that one; return whether one may continue now.

        Waits for what is asked of the service for that run, until it may continue without that;
        for the rest not long.
        """
        cancel = cancel or threading.Event()
        moved, tended = self._tend(run_id), time.monotonic()
        while self._looks.busy(since=LONGEST_IDLE if run_id is None else IDLE, run_id=run_id):
            self._looks.ended.wait(0.1)
            self._looks.ended.clear()
            if cancel.is_set():
                break
            if time.monotonic() - tended >= TEND_AGAIN:  # one service must not hold up the rest
                moved, tended = self._tend(run_id) | moved, time.monotonic()
                if run_id is not None and self._store.run(run_id).state != "waiting":
                    break
        called = call_next(self._app, self._store)  # what was seen may have made room
        return self._looks.news(run_id) | moved | bool(called)

    def _tend(self, run_id: str | None) -> bool:
        """Do what the store alone takes for parked runs, and begin what takes the service.

        Returns whether a run may continue now.
        """
        now, seals = self._app.clock.time(), self._secrets.seal
        answers = Answers(self._app, self._store, seals)
        self._store.mend_looks(now)
        woken = self._store.finish_due(now) + self._store.wake_overdue(now)
        settled = answers.answer_overdue() + answers.time_out()
        self._looks.begin(answers.tasks(run_id))
        self._looks.begin(Poller(self._app, self._store, seals).tasks(run_id))
        self._looks.begin(SessionWatch(self._app, self._store, seals).tasks())
        self._looks.begin(Overtime(self._app, self._store, seals).tasks())
        self._looks.overdue()
        called = call_next(self._app, self._store)
        self._looks.begin(self.doubles.tasks(run_id))
        return bool(woken or settled or called)

    def _pause(self, run: Run | None) -> float:
        moment = self._store.next_moment(None if run is None else run.id)
        if moment is None or (run is not None and self._store.is_queued(run.id)):
            return IDLE  # others may make room at any moment
        if run is not None and run.deadline is not None:
            moment = min(moment, run.deadline)
        return min(LONGEST_IDLE, max(0.01, moment - self._app.clock.time()))

    def drive(
        self,
        run: Run,
        stop: threading.Event | None,
        on_event: Listener | None,
        parked: WaitReporter | None = None,
    ) -> RunResult | None:
        """Drive a claimed run once; None if it is another's by now, or held.

        Raises:
            StoreUnavailable: the store cannot be used now; nothing recorded is lost, and the run
                continues from there.
            LocalFault: this machine refuses what the run needs; the same.
        """
        with self.drives.watch(run, stop) as watched:
            try:
                drive = self._prepare(run, watched, on_event)
                result = drive.run()
                if parked is not None:
                    parked.logs = drive.parked
                return result
            except LeaseLost:
                return None
            except (StoreUnavailable, LocalFault) as error:
                self._stopped[run.id] = run, str(error)
                raise
            except Exception as error:  # one run must not end the worker of all
                if (short := local_fault(error)) is not None:
                    fault = LocalFault(f"{short[0]}.", hint=short[1])
                    self._stopped[run.id] = run, str(fault)
                    raise fault from error
                if not isinstance(error, SimDevinError):
                    log.exception("run %s cannot be driven", run.id)
                why = str(error) if isinstance(error, SimDevinError) else repr(error)
                with suppress(LeaseLost):
                    self._store.end_run(run, "held", self._app.clock.time(), error=why)
                return None

    @contextmanager
    def begun(self, ready: Callable[[], str], attendance: Attendance) -> Iterator[Drive]:
        """Begin a run that `ready` makes ready, all of it or nothing, and watch it meanwhile.

        Raises:
            CallerError: another process drives it.
            SimDevinError: it cannot be driven; nothing of what `ready` did is kept.
        """
        cancel = attendance.cancel
        with ExitStack() as stack:
            with self._store.database.write():
                run = self.claim(ready())
                if run is None:
                    raise CallerError("Another process drives this run.")
                watched = stack.enter_context(self.drives.watch(run, cancel))
                if cancel is not None and cancel.is_set():
                    watched.stop.set()
                drive = self._prepare(run, watched, attendance)
            yield drive

    def _prepare(self, run: Run, watched: Watched, company: Listener | Attendance | None) -> Drive:
        env, chosen = self._secrets.environment(run.id), run.chosen
        attendance = company if isinstance(company, Attendance) else None
        services = AppServices(self._app, allows_python=chosen.allow_python, attendance=attendance)
        seal = self._secrets.seal(run.id)
        document = load_workflow(seal.open(self._store.document(run.document)))
        everything = chosen.from_block is not None
        program = Program(document, services, kind=chosen.trigger, everything=everything)
        program.require_fields(env)
        require_extras(program)
        children = {
            key: load_workflow(seal.open(self._store.document(document_id)))
            for key, document_id in run.children.items()
        }
        programs = {"": program} | {
            f"{key}/": Program(child, services, kind="child") for key, child in children.items()
        }
        self._secrets.learn(run.id, programs)
        seal = self._secrets.seal(run.id)
        opened = replace(
            run,
            inputs=seal.open(run.inputs),
            options={
                **seal.open_known(run.options),
                "snapshot": seal.open(chosen.snapshot),
            },
        )
        app, store, secrets = self._app, self._store, self._secrets
        return Drive(app, store, opened, program, children, secrets, watched, company)
