"""Durable runs: start, drive, suspend, resume, answer. `App.runs` returns them.

A run is driven by at most one process at a time (`carrier`); when it dies, another takes over.
Driving replays the record and continues from there, so a suspended run is only a row in the store.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sim_devin.clock import day_of
from sim_devin.engine import engine
from sim_devin.engine.events import Listener
from sim_devin.engine.run import RunResult
from sim_devin.errors import CallerError
from sim_devin.runs.answers import Answers
from sim_devin.runs.carrier import Carrier
from sim_devin.runs.fork import record_before
from sim_devin.runs.reminders import Reminders
from sim_devin.runs.secrets import SecretsHere
from sim_devin.runs.services import AppServices
from sim_devin.runs.starting import RunRequest, new_run
from sim_devin.runs.worker import CONCURRENCY, Worker
from sim_devin.specs.json_input import require_json
from sim_devin.store.records import ENDED, PARKED, EventRecord, Run, Wait
from sim_devin.store.sql_store import SqlStore
from sim_devin.toolbox import Toolbox


class Runs:
    """The durable runs of a store.

    Args:
        app: makes the calls.
        store: keeps the runs.
        carry: returns what brings runs to this process, given the store and the process's name.
        owns_store: whether this object closes the store.
    """

    def __init__(
        self,
        app: Toolbox,
        store: SqlStore,
        *,
        carry: Callable[[SqlStore, str], Carrier],
        owns_store: bool = False,
    ) -> None:
        self.app = app
        self._owns_store = owns_store
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.secrets = SecretsHere(app, store)
        self.store = store.sealed(self.secrets.seal)
        self.store.carrier = carrier = carry(self.store, self.owner)
        self.worker = Worker(app, self.store, self.owner, carrier, self.secrets)

    # -- starting --------------------------------------------------------------------------------

    def start(
        self,
        workflow: engine.Source | RunRequest,
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
        max_sessions: int | None = None,
        allow_python: bool = False,
        on_question: str = "return",
        answer_within: float | None = None,
        default_answer: Any = None,
        remind_every: float | None = None,
        secret_names: Iterable[str] = (),
    ) -> str:
        """Record a run and return its id. A worker, or `follow`, drives it.

        A `RunRequest` in place of the workflow combines all arguments. The arguments are those of
        `App.run`, with these differences: the documents of the workflow and of its children are
        kept as they are now; `env` is not stored, and another process uses its own; `deadline`
        counts from now, including waits. `on_question` sets what a Devin Wait block does when Devin
        asks something: ``return`` ends the wait with that outcome, ``hold`` suspends the run until
        `answer`. A block's own field ``onQuestion`` takes precedence. A question or form not
        answered within `answer_within` seconds is answered by a worker with `default_answer`;
        without one its block fails, and a call that requires approval is declined. Workers send
        reminders every `remind_every` seconds; default: the interval in their config file.
        `secret_names` are variables that are secret although neither their name nor their fields
        say so.

        Raises:
            InvalidWorkflow: the document cannot be run; lists every problem.
            CredentialsError: a credential refers to a variable that is not set.
            StoreError: the run cannot be recorded.
        """
        asked = (
            workflow
            if isinstance(workflow, RunRequest)
            else RunRequest(
                workflow=workflow,
                inputs=inputs,
                env=env,
                trigger=trigger,
                run_id=run_id,
                children=children,
                from_block=from_block,
                snapshot=snapshot,
                stop_after=stop_after,
                deadline=deadline,
                bindings=bindings,
                max_acu=max_acu,
                max_sessions=max_sessions,
                allow_python=allow_python,
                on_question=on_question,
                answer_within=answer_within,
                default_answer=default_answer,
                remind_every=remind_every,
                secret_names=secret_names,
            )
        )
        env = self.app.environment() if asked.env is None else asked.env
        new = new_run(self.app, asked, env)  # its checks hold no lock of the store
        # In one transaction, so that no process deletes a document that the run is about to use.
        with self.store.database.write():
            new.put_documents(self.store)
            self.secrets.add(new.run.id, new.secrets, env)
            self.store.add_run(new.run)
        return new.run.id

    # -- looking -----------------------------------------------------------------------------------

    def list(
        self, states: tuple[str, ...] = (), *, limit: int = 100, before: str | None = None
    ) -> list[dict[str, Any]]:
        """Return runs as JSON data, newest first, with the kinds of their waits.

        `before` is the id of a run; only older runs are returned, for the next page.

        Raises:
            UnknownName: there is no run `before`.
        """
        found = self.store.runs(states, limit=limit, before=before)
        parked = [run.id for run in found if run.state in PARKED]
        kinds = self.store.kinds_waited_for(parked) if parked else {}
        return [{**run.to_json(), "waitsFor": kinds.get(run.id, [])} for run in found]

    def show(self, run_id: str) -> dict[str, Any]:
        """Return a run with its blocks, waits and result, as JSON data.

        Raises:
            UnknownName: there is no such run.
        """
        run = self.store.run(run_id)
        body = run.to_json()
        damaged: list[str] = []
        waits = self.store.waits(run.id, only_open=True, damaged=damaged)
        body["waits"] = [self._told(wait) for wait in waits]
        body["blocks"] = [outcome.log for outcome in self.store.outcomes(run.id, damaged)]
        body["result"] = run.result
        if warnings := self.store.warnings(run.id):
            body["warnings"] = warnings
        if damaged:
            body["damaged"] = damaged
        return body

    def _told(self, wait: Wait) -> dict[str, Any]:
        body = wait.to_json()
        if wait.kind == "turn" and wait.place is not None:
            now = self.app.clock.time()
            body["ahead"] = self.store.ahead(wait.place, wait.run_id, wait.step, now)
        return body

    def events(self, run_id: str, *, after: int = 0) -> Sequence[EventRecord]:
        """Return the events of a run after the event with this id."""
        return self.store.events(self.store.run(run_id).id, after=after)

    # -- steering ----------------------------------------------------------------------------------

    def resume(
        self,
        run_id: str,
        *,
        env: Mapping[str, str] | None = None,
        bindings: Mapping[str, str] | None = None,
    ) -> str:
        """Resume a failed, held or uncertain run; return its id.

        Failed blocks run again. An uncertain request is looked up once more, never repeated. A run
        that is ready, waiting or running is unchanged. `bindings` supplies secrets again,
        ``"block id.field"`` -> value; `env` as for `start`, for this process.

        Raises:
            UnknownName: there is no such run.
            CallerError: it has ended.
        """
        run = self.store.run(run_id)
        now = self.app.clock.time()
        self.secrets.add_again(run.id, bindings or {}, env)
        if run.state in ("done", "cancelled"):
            raise CallerError(f"The run {run.id} has ended: {run.state}.")
        if run.state == "failed":
            self.store.forget_failure(run.id)
        for wait in self.store.waits(run.id, only_open=True):
            if wait.kind == "uncertain":
                self.store.drop_wait(wait, now)
        self.store.look_now(run.id, now)
        self.store.make_ready(run.id, ("failed", "held"), now)
        return run.id

    def fork(self, run_id: str, from_block: str, *, new_id: str | None = None) -> str:
        """Start a run on the record of another one, diverging from a given block.

        The record before that block is copied and not executed again; the block and those after it
        run again, with their own sessions. The other run is unchanged.

        Args:
            run_id: the run whose document, inputs, options and record are copied.
            from_block: id or name of a block of the workflow itself.
            new_id: the new run's id; generated by default.

        Raises:
            UnknownName: there is no such run or block.
            CallerError: the block is inside a container, or disabled.
        """
        old = self.store.run(run_id)
        kept = record_before(self.store, old, from_block, AppServices(self.app))
        now = self.app.clock.time()
        limit = None if old.deadline is None else now + old.deadline - old.created
        run = Run(
            id=new_id or str(uuid.uuid4()),
            state="ready",
            document=old.document,
            name=old.name,
            children=old.children,
            inputs=old.inputs,
            options=replace(old.chosen, stop_after=None, forked_from=old.id).to_json(),
            secrets=old.secrets,
            created=now,
            updated=now,
            deadline=limit,
        )
        self.secrets.copy(old.id, run.id)
        self.store.add_run(run, kept)
        return run.id

    def cancel(self, run_id: str) -> str:
        """Cancel a run; return its state. A running one ends soon; Devin's sessions continue.

        Raises:
            UnknownName: there is no such run.
            CallerError: it has ended.
        """
        run = self.store.run(run_id)
        if run.state in ENDED:
            raise CallerError(f"The run {run.id} has ended: {run.state}.")
        return self.store.cancel_run(run.id, self.app.clock.time())

    def answer(self, run_id: str, answer: Any, *, context_id: str | None = None) -> str:
        """Answer a run's question; return its id. Each question takes one answer.

        A form takes its fields; a question from Devin takes text, which is sent to the session
        exactly once; a call that requires approval takes ``{"approved": true}``, or false with an
        optional ``reason``; an uncertain request takes ``{"sessionId": …}``, ``{"repeat": true}``,
        ``{"output": {…}}`` or ``{"fail": true}``.

        Raises:
            UnknownName: there is no such run, or no question with that `context_id`.
            CallerError: the run has no open question, several, or has the answer already.
            UncertainResult: it is unknown whether the message arrived; the question stays open.
        """
        run = self.store.run(run_id)
        require_json(answer, "The answer")
        Answers(self.app, self.store, self.secrets.seal).give(run, answer, context_id)
        return run.id

    def opened(self, run_id: str, value: Any) -> Any:
        """Return stored data of a run with its secrets restored.

        Raises:
            MissingCredentials: one of them is not available here.
        """
        return self.secrets.seal(run_id).open(value)

    def prune(
        self,
        before: float,
        *,
        cancel: threading.Event | None = None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Delete the runs that ended before a Unix time (seconds); return how many.

        A run that counts against today's ceiling stays until tomorrow (UTC). Deletes in many small
        steps, between which others can write; `on_progress` receives the total after each. Setting
        `cancel` ends it after the current step.
        """
        forgotten = 0
        for count in self.store.prune(before, day_of(self.store.now(self.app.clock))):
            forgotten += count
            on_progress(forgotten)
            if cancel is not None and cancel.is_set():
                break
        return forgotten

    @property
    def reminders(self) -> Reminders:
        """Sends reminders for open questions; created on first use.

        Raises:
            CallerError: the config file's ``[reminders]`` is invalid.
        """
        return self.worker.reminders

    def close(self) -> None:
        """Wait briefly for reminders being sent, and close the store if it is owned."""
        self.worker.close()
        if self._owns_store:
            self.store.close()

    # -- driving -----------------------------------------------------------------------------------

    def follow(
        self,
        run_id: str,
        *,
        cancel: threading.Event | None = None,
        on_event: Listener | None = None,
    ) -> RunResult | None:
        """Drive a run here until it ends or needs a person; return the latest result.

        None if another process drove it to its end. See the run's state for what it needs. Setting
        `cancel` cancels the run.

        Raises:
            StoreError: the store failed; nothing recorded is lost.
        """
        return self.worker.follow(run_id, cancel=cancel, on_event=on_event)

    def work(
        self,
        *,
        once: bool = False,
        concurrency: int = CONCURRENCY,
        cancel: threading.Event | None = None,
        on_event: Listener | None = None,
        each_turn: Callable[[], bool] = lambda: False,
    ) -> int:
        """Drive all runs in the store that are ready, until `cancel` is set; return how many times.

        With `once`, only until no run can proceed at the moment. Several workers share the runs. A
        worker that is stopped releases its runs. `each_turn` is called before each poll of the
        store, about every second; it returns whether it has made a run ready.

        Raises:
            CallerError: the config file's ``[reminders]`` is invalid.
            StoreError: the store failed; nothing recorded is lost.
        """
        return self.worker.work(
            once=once,
            concurrency=concurrency,
            cancel=cancel,
            on_event=on_event,
            each_turn=each_turn,
        )
