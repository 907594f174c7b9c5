"""Durable runs: started, driven, set aside, woken, answered, resumed. `App.runs` returns them.

A run is driven by at most one process at a time, which holds its lease and gives signs of
life; when it dies, another takes over. Driving plays back what is recorded and goes on from
there, so a waiting run is a row in the store and nothing else.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sim_devin.app_services import AppServices
from sim_devin.durable.answers import Answers
from sim_devin.durable.drive import Drive
from sim_devin.durable.fork import record_before
from sim_devin.durable.leases import Leases
from sim_devin.durable.poller import Poller
from sim_devin.durable.secrets import finder, known, seal_of, sealed_document
from sim_devin.engine import engine, start
from sim_devin.engine.bindings import bind
from sim_devin.engine.events import Listener
from sim_devin.engine.from_block import require_block
from sim_devin.engine.program import Program
from sim_devin.engine.run import RunResult
from sim_devin.engine.workflow import load_workflow
from sim_devin.errors import CallerError, SimDevinError, StoreError
from sim_devin.store.records import ENDED, Event, Run
from sim_devin.store.rows import LeaseLost
from sim_devin.store.sealing import Seal
from sim_devin.store.sql_store import SqlStore

if TYPE_CHECKING:
    from sim_devin.app import App

log = logging.getLogger("sim_devin")

IDLE = 1.0  # seconds between looks for runs that other processes started
LONGEST_IDLE = 30.0
CONCURRENCY = 8


class Runs:
    """The durable runs of a store.

    Args:
        app: makes the calls.
        store: keeps the runs.
        lease: seconds without a sign of life after which another process takes a run over.
    """

    def __init__(self, app: App, store: SqlStore, *, lease: float) -> None:
        self.store = store
        self._app = app
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._leases = Leases(store, self.owner, lease)
        self._given: dict[str, dict[str, str]] = {}
        self._env: dict[str, Mapping[str, str]] = {}

    # -- starting --------------------------------------------------------------------------------

    def start(
        self,
        workflow: engine.Source,
        inputs: Any = None,
        *,
        env: Mapping[str, str] | None = None,
        trigger: str = "manual",
        run_id: str | None = None,
        children: Mapping[str, Any] | None = None,
        from_block: str | None = None,
        snapshot: Mapping[str, Any] | None = None,
        stop_after: str | None = None,
        deadline: float | None = None,
        bindings: Mapping[str, Any] | None = None,
        max_acu: int | None = None,
        allow_python: bool = False,
        on_question: str = "return",
        answer_within: float | None = None,
        default_answer: Any = None,
        secret_names: Iterable[str] = (),
    ) -> str:
        """Record a run and return its id. A worker, or `follow`, drives it.

        The arguments are those of `App.run`, with these differences: the documents of the
        workflow and of its children are kept as they are now; `env` is not stored, and
        another process uses its own; `deadline` counts from now, waiting included.
        `on_question` says what a Devin Wait block does when Devin asks something: ``return``
        ends the wait with that outcome, ``hold`` sets the run aside until `answer`. A block's
        own field ``onQuestion`` goes before it. A question or form that nobody answers
        within `answer_within` seconds is answered by a worker with `default_answer`; without
        one its block fails. `secret_names` are of variables that are secret though neither their
        name nor the fields they stand in say so.

        Raises:
            InvalidWorkflow: the document cannot be run; every problem is listed.
            CredentialsError: a credential refers to a variable that is not set.
            StoreError: the run cannot be recorded.
        """
        app = self._app
        if on_question not in ("return", "hold"):
            raise CallerError(f"on_question is {on_question!r}; it must be return or hold.")
        env = app.environment() if env is None else env
        services = AppServices(app, allows_python=allow_python)
        document = bind(load_workflow(workflow), bindings or {})
        program = Program(document, services, kind=trigger, everything=from_block is not None)
        if from_block is not None:
            require_block(program, from_block)
        program.require_fields(env)
        start.start_output(
            program.start, inputs, external=program.start.type not in start.START_TYPES
        )
        programs = {"": program} | {
            f"{key}/": Program(load_workflow(source), services, kind="child")
            for key, source in (children or {}).items()
        }
        secret_names = sorted(secret_names)
        given = known(app, programs, env, secret_names)
        seal = Seal(given)
        now = app.clock.time()
        run = Run(
            id=run_id or str(uuid.uuid4()),
            state="ready",
            name=document.name,
            document=self.store.put_document(sealed_document(program, seal)),
            children={
                prefix[:-1]: self.store.put_document(sealed_document(child, seal, prefix))
                for prefix, child in programs.items()
                if prefix
            },
            inputs=seal.close(inputs),
            options={
                "trigger": trigger,
                "fromBlock": from_block,
                "snapshot": seal.close(snapshot),
                "stopAfter": stop_after,
                "maxAcu": max_acu,
                "allowPython": allow_python,
                "onQuestion": on_question,
                "answerWithin": answer_within,
                "defaultAnswer": seal.close(default_answer),
                "secretNames": secret_names,
            },
            created=now,
            updated=now,
            deadline=None if deadline is None else now + deadline,
        )
        self.store.add_run(run)
        self._given[run.id] = given
        self._env[run.id] = env
        return run.id

    # -- looking -----------------------------------------------------------------------------------

    def list(self, states: tuple[str, ...] = (), *, limit: int = 100) -> list[dict[str, Any]]:
        """Return runs as JSON data, newest first."""
        return [run.to_json() for run in self.store.runs(states, limit=limit)]

    def show(self, run_id: str) -> dict[str, Any]:
        """Return a run with its blocks, what it waits for, and its result, as JSON data.

        Raises:
            UnknownName: there is no such run.
        """
        run = self.store.run(run_id)
        body = run.to_json()
        body["waits"] = [wait.to_json() for wait in self.store.waits(run.id, only_open=True)]
        body["blocks"] = [outcome.log for outcome in self.store.outcomes(run.id)]
        body["result"] = run.result
        return body

    def events(self, run_id: str, *, after: int = 0) -> Sequence[Event]:
        """Return the events of a run that come after the one of an id."""
        return self.store.events(self.store.run(run_id).id, after=after)

    # -- steering ----------------------------------------------------------------------------------

    def resume(
        self,
        run_id: str,
        *,
        env: Mapping[str, str] | None = None,
        bindings: Mapping[str, str] | None = None,
    ) -> str:
        """Let a run go on that failed, is held or is uncertain; return its id.

        Failed blocks run again. What is uncertain is looked for once more, never repeated.
        A run that is ready, waits or is under way stays as it is. `bindings` hands secrets in
        again, ``"block id.field"`` -> value; `env` as for `start`, for this process.

        Raises:
            UnknownName: there is no such run.
            CallerError: it is over.
        """
        run = self.store.run(run_id)
        now = self._app.clock.time()
        if env is not None:
            self._env[run.id] = env
        given = {f"set:{name}": value for name, value in (bindings or {}).items()}
        self._given[run.id] = {**self._given.get(run.id, {}), **given}
        if run.state in ("done", "cancelled"):
            raise CallerError(f"The run {run.id} is over: {run.state}.")
        if run.state == "failed":
            self.store.forget_failure(run.id)
        for wait in self.store.waits(run.id, only_open=True):
            if wait.kind == "uncertain":
                self.store.drop_wait(wait, now)
        self.store.make_ready(run.id, ("failed", "held"), now)
        return run.id

    def fork(self, run_id: str, from_block: str, *, new_id: str | None = None) -> str:
        """Start a run on the record of another, and let it go its own way from a block on.

        What was recorded before that block is taken over and not done again; the block and
        what follows it run anew, with sessions of their own. The other run stays as it is.

        Args:
            run_id: the run whose document, inputs, options and record are taken.
            from_block: id or name of a block of the workflow itself.
            new_id: the new run's id; made up unless given.

        Raises:
            UnknownName: there is no such run or block.
            CallerError: the block is inside a container, or disabled.
        """
        old = self.store.run(run_id)
        kept = record_before(self.store, old, from_block, AppServices(self._app))
        now = self._app.clock.time()
        limit = None if old.deadline is None else now + old.deadline - old.created
        run = Run(
            id=new_id or str(uuid.uuid4()),
            state="ready",
            document=old.document,
            name=old.name,
            children=old.children,
            inputs=old.inputs,
            options={**old.options, "stopAfter": None, "forkedFrom": old.id},
            created=now,
            updated=now,
            deadline=limit,
        )
        self.store.add_run(run, kept)
        if old.id in self._given:
            self._given[run.id] = self._given[old.id]
        if old.id in self._env:
            self._env[run.id] = self._env[old.id]
        return run.id

    def cancel(self, run_id: str) -> str:
        """Cancel a run; return its state. One under way ends soon; Devin's sessions go on.

        Raises:
            UnknownName: there is no such run.
            CallerError: it is over.
        """
        run = self.store.run(run_id)
        if run.state in ENDED:
            raise CallerError(f"The run {run.id} is over: {run.state}.")
        return self.store.cancel_run(run.id, self._app.clock.time())

    def answer(self, run_id: str, answer: Any, *, context_id: str | None = None) -> str:
        """Answer what a run asks; return its id. Each question takes one answer.

        A form takes its fields; Devin's question takes a text, which is sent to the session
        exactly once; what is uncertain takes ``{"sessionId": …}``, ``{"repeat": true}``,
        ``{"output": {…}}`` or ``{"fail": true}``.

        Raises:
            UnknownName: there is no such run, or nothing of that `context_id` is asked.
            CallerError: the run asks nothing, several things, or has the answer already.
            UncertainResult: nobody knows whether the message arrived; the run asks on.
        """
        run = self.store.run(run_id)
        Answers(self._app, self.store, self._seal(run)).give(run, answer, context_id)
        return run.id

    def prune(self, before: float) -> int:
        """Forget the runs that ended before a moment (Unix seconds); return how many."""
        return self.store.prune(before)

    # -- driving -----------------------------------------------------------------------------------

    def follow(
        self,
        run_id: str,
        *,
        cancel: threading.Event | None = None,
        on_event: Listener | None = None,
    ) -> RunResult | None:
        """Drive a run here until it is over or needs somebody; return the latest result.

        None if another process drove it to its end. See the run's state for what it needs.
        Setting `cancel` cancels the run.

        Raises:
            StoreError: the store failed; nothing recorded is lost.
        """
        run_id = self.store.run(run_id).id
        cancel = cancel or threading.Event()
        clock = self._app.clock
        result: RunResult | None = None
        while True:
            run = self.store.run(run_id)
            if run.state in (*ENDED, "asking", "uncertain", "held"):
                return result
            if cancel.is_set():
                self.store.cancel_run(run_id, clock.time())
            claimed = self._claim(run_id)
            if claimed is not None:
                result = self._drive(claimed, cancel, on_event) or result
            elif run.state in ("ready", "running"):
                time.sleep(0.05)  # another process holds it: nothing of ours to wait for
            elif not self._look_after(run_id):
                clock.wait(cancel, self._pause(run_id))

    def work(
        self,
        *,
        once: bool = False,
        concurrency: int = CONCURRENCY,
        cancel: threading.Event | None = None,
        on_event: Listener | None = None,
    ) -> int:
        """Drive all runs of the store that can go on, until `cancel` is set; return how many times.

        With `once` only until nothing can go on at this moment. Several workers share the
        runs. A worker that is stopped gives its runs back.

        Raises:
            StoreError: the store failed; nothing recorded is lost.
        """
        cancel = cancel or threading.Event()
        active: dict[str, threading.Thread] = {}
        ended = threading.Event()
        failures: list[BaseException] = []
        driven = 0

        def drive(run: Run) -> None:
            try:
                self._drive(run, None, on_event)
            except BaseException as error:
                failures.append(error)
            finally:
                active.pop(run.id, None)
                ended.set()

        try:
            while not cancel.is_set() and not failures:
                moved = self._look_after(None)
                while len(active) < concurrency and not cancel.is_set():
                    run = self._claim()
                    if run is None:
                        break
                    driven += 1
                    moved = True
                    thread = threading.Thread(target=drive, args=(run,), name=f"run {run.id}")
                    active[run.id] = thread
                    thread.start()
                if active:
                    ended.wait(0.5)  # so soon again, for what others start or wake meanwhile
                    ended.clear()
                elif once and not moved:
                    break
                elif not moved:
                    self._app.clock.wait(cancel, min(IDLE, self._pause(None)))
        finally:
            self._leases.give_back(list(active))
            for thread in list(active.values()):
                thread.join()
        if failures:
            raise failures[0]
        return driven

    def _claim(self, run_id: str | None = None) -> Run | None:
        return self._leases.claim(self._app.clock.time(), run_id)

    def _look_after(self, run_id: str | None) -> bool:
        """Do what is due for parked runs; return whether that may let one go on."""
        now = self._app.clock.time()
        woken = self.store.finish_due(now) + self.store.wake_overdue(now)
        seal = self._seal(None if run_id is None else self.store.run(run_id))
        answers = Answers(self._app, self.store, seal)
        sent = answers.answer_overdue() + answers.send_waiting(run_id)
        calls = Poller(self._app, self.store, seal, self.owner).poll(run_id)
        return bool(woken or sent or calls)

    def _pause(self, run_id: str | None) -> float:
        moment = self.store.next_moment(run_id)
        if moment is None:
            return IDLE
        return min(LONGEST_IDLE, max(0.01, moment - self._app.clock.time()))

    def _drive(
        self, run: Run, stop: threading.Event | None, on_event: Listener | None
    ) -> RunResult | None:
        with self._leases.watch(run, stop) as watched:
            try:
                return self._prepare(run, watched.stop, on_event).run(watched)
            except LeaseLost:
                return None
            except StoreError:
                raise
            except Exception as error:  # one run must not end the worker of all
                if not isinstance(error, SimDevinError):
                    log.exception("run %s cannot be driven", run.id)
                why = str(error) if isinstance(error, SimDevinError) else repr(error)
                text = seal_of(self._app, self._app.environment()).close(why)
                with suppress(LeaseLost):
                    self.store.end_run(run, "held", self._app.clock.time(), error=text)
                return None

    def _prepare(self, run: Run, stop: threading.Event, on_event: Listener | None) -> Drive:
        env = self._env.get(run.id) or self._app.environment()
        services = AppServices(self._app, allows_python=bool(run.options.get("allowPython")))
        opening = self._seal(run)
        document = load_workflow(opening.open(self.store.document(run.document)))
        everything = run.options.get("fromBlock") is not None
        program = Program(document, services, kind=run.options["trigger"], everything=everything)
        program.require_fields(env)
        children = {
            key: load_workflow(opening.open(self.store.document(document_id)))
            for key, document_id in run.children.items()
        }
        programs = {"": program} | {
            f"{key}/": Program(child, services, kind="child") for key, child in children.items()
        }
        find = finder(self._app, env, self._given.get(run.id, {}))
        seal = Seal(known(self._app, programs, env, run.options.get("secretNames", ())), find)
        opened = replace(
            run,
            inputs=seal.open(run.inputs),
            options={**run.options, "snapshot": seal.open(run.options.get("snapshot"))},
        )
        return Drive(self._app, self.store, opened, program, children, env, seal, stop, on_event)

    def _seal(self, run: Run | None) -> Seal:
        """Return what puts a run's secrets back in place, as far as they are known here."""
        run_id = "" if run is None else run.id
        env = self._env.get(run_id) or self._app.environment()
        given = self._given.get(run_id) or {}
        if run is None:
            given = {key: value for item in self._given.values() for key, value in item.items()}
        return Seal({}, finder(self._app, env, given))
