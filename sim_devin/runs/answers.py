"""Answers of people to what a durable run asks."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from sim_devin.calls.jobs.verdict import Verdict
from sim_devin.calls.jobs.wait import FIRST_PAUSE
from sim_devin.engine.typed_inputs import form_of, read_answer
from sim_devin.errors import (
    ApiError,
    CallerError,
    Cancelled,
    InvalidParams,
    MissingCredentials,
    SimDevinError,
    StoreError,
    UncertainResult,
    UnknownName,
)
from sim_devin.meaning import meaning_of_status
from sim_devin.runs import approvals
from sim_devin.runs.looks import HELD_PAUSE, MEND, LookTask, UnderWay
from sim_devin.runs.overtime import output_of
from sim_devin.store.records import ASKING, ENDED, Run, Wait
from sim_devin.store.sealing import Seals
from sim_devin.store.sql_store import SqlStore
from sim_devin.store.step_ledger import StepLedger, intents, resolve
from sim_devin.toolbox import Toolbox

log = logging.getLogger("sim_devin")

TRY_AGAIN = 30.0  # seconds until an answer that could not be sent is tried again


class AnsweredAlready(CallerError):
    """Someone else was first: the question has its answer."""


class Answers:
    """Takes answers and sends them on."""

    def __init__(self, app: Toolbox, store: SqlStore, seals: Seals) -> None:
        self._app = app
        self._store = store
        self._seals = seals

    def give(self, run: Run, answer: Any, context_id: str | None) -> None:
        """Answer what a run asks. See `durable.Runs.answer`."""
        wait = self._asked(run, context_id)
        now = self._app.clock.time()
        if wait.kind == "human":
            taken = self._store.finish_wait(wait, now, _filled_in(wait, answer) or {})
        elif wait.kind == "approval":
            taken = approvals.settle(self._store, wait, answer, now)
        elif wait.kind == "question":
            message = answer.get("message") if isinstance(answer, Mapping) else answer
            if not isinstance(message, str) or not message.strip():
                raise CallerError("An answer to Devin must be non-blank text.")
            taken = self._store.put_answer(wait, message, now)
            if taken:
                for waiting in self._to_send(run.id):
                    self._send(waiting, threading.Event())
        else:
            taken = self._resolve(wait, answer, now)
        if not taken:
            raise _answered()

    def answer_overdue(self) -> int:
        """Give the default answer where nobody answered in time, or fail; return how many."""
        now = self._app.clock.time()
        settled = 0
        for wait in self._store.unanswered(now):
            default = self._store.run(wait.run_id).chosen.default_answer
            try:
                default = self._seals(wait.run_id).open(default)
            except MissingCredentials:  # another process may know the secrets in it
                log.debug("the default answer of run %s cannot be restored here", wait.run_id)
                continue
            if wait.kind == "approval":
                if approvals.is_answer(default):
                    settled += approvals.settle(self._store, wait, default, now)
                else:
                    settled += approvals.time_out(self._store, wait, now)
            elif default is None:
                why = "Nobody answered in time."
                settled += self._store.finish_wait(wait, now, error=why)
            elif wait.kind == "question":
                text = default if isinstance(default, str) else json.dumps(default)
                settled += self._store.put_answer(wait, text, now)
            else:
                settled += self._default(wait, default, now)
        return settled

    def time_out(self) -> int:
        """End the waits whose time is over while their answers could not be sent.

        What is not on its way by then is not sent any more. Returns how many were ended.
        """
        now, ended = self._app.clock.time(), 0
        for wait in self._store.unsent(now):
            step = f"{wait.step}!{self._store.answers(wait)}"
            sent = intents(self._store, wait.run_id, step)
            seen = wait.seen or {}
            if seen.get("held"):
                self._store.unhold_run(wait.run_id)
            unknown = any(intent.state in ("open", "uncertain") for intent in sent)
            why = "may not have been sent" if unknown else "was not sent"
            reason = f"your answer {why} in time, and will not be sent"
            if seen.get("error"):
                reason += f": {seen['error']}"
            verdict = Verdict("blocked_on_user", reason)
            job = self._app.registry.job(wait.job)
            output = output_of(wait, job, seen.get("session", {}), verdict, now, timed_out=True)
            ended += self._store.finish_wait(wait, now, output)
        return ended

    def _default(self, wait: Wait, default: Any, now: float) -> bool:
        try:
            filled_in = _filled_in(wait, default)
        except InvalidParams as error:
            why = f"Nobody answered in time, and the default answer is invalid: {error}"
            return self._store.finish_wait(wait, now, error=why)
        return self._store.finish_wait(wait, now, filled_in)

    def tasks(self, run_id: str | None = None) -> Iterator[LookTask]:
        """Yield a task for each organization to which answers are recorded and not sent yet.

        Any number of processes may try; each message arrives once.
        """
        for place in dict.fromkeys(wait.place for wait in self._to_send(run_id)):
            name = f"send {place} {run_id or ''}"
            yield LookTask(name, partial(self._send_to, place, run_id), run_id=run_id)

    def _to_send(self, run_id: str | None) -> list[Wait]:
        now = self._app.clock.time()
        return [
            wait
            for wait in self._store.open_waits("sending")
            if run_id in (None, wait.run_id) and wait.next_look <= now
        ]

    def _send_to(self, place: str | None, run_id: str | None, under_way: UnderWay) -> int:
        waits = [wait for wait in self._to_send(run_id) if wait.place == place]
        for wait in waits:
            if not under_way.stop.is_set():
                self._send(wait, under_way.stop)
        return len(waits)

    def _send(self, wait: Wait, cancel: threading.Event) -> bool:
        number = self._store.answers(wait)
        run = self._store.run(wait.run_id)
        step = f"{wait.step}!{number}"
        job = self._app.registry.job(wait.job)
        ledger = StepLedger(
            self._store, run, step, self._app.clock, driven=False, wait=wait, job=job
        )
        seal = self._seals(wait.run_id)
        try:
            about = seal.open(wait.about)
            credentials = about.get("credentials") or {}
            if job.answer is None:
                raise CallerError(f"No tool answers a {job.title}.", hint="Answer it there.")
            said = {job.answer.id: about["sessionId"], job.answer.text: seal.open(wait.answer)}
            self._app.call(
                job.answer.tool,
                {**said, **credentials},
                reconcile=True,
                ledger=ledger,
                settle=self._app.settle,
                cancel=cancel,
            )
        except UncertainResult as error:
            if error.status is not None and meaning_of_status(error.status).temporary:
                # It was answered, and looked for: it is not there, and may be sent again.
                resolve(self._store, wait.run_id, step, "repeat", None)
                return self._keep(wait, error)
            # A default answer would be a second message: only a person may answer now.
            why = f"{error} Check the session before you answer again."
            self._ask_again(wait, why, answer_by=None)
            return False
        except (Cancelled, StoreError):
            return False  # it is kept as it is
        except SimDevinError as error:
            if not error.means.callers_fault:
                self._keep(wait, error)
            else:
                why = f"The answer could not be sent: {error}"
                now = self._app.clock.time()
                if wait.answer_by is not None and wait.answer_by <= now:
                    self._store.finish_wait(wait, now, error=why)
                else:
                    self._ask_again(wait, why)
            return False
        if (wait.seen or {}).get("held"):
            self._store.unhold_run(wait.run_id)
        now = self._app.clock.time()
        return self._store.change_wait(
            wait,
            "sending",
            kind="session",
            answer=None,
            seen={"session": (wait.seen or {}).get("session", {})},
            next_look=now + FIRST_PAUSE,
            pause=FIRST_PAUSE,
        )

    def _keep(self, wait: Wait, error: SimDevinError) -> bool:
        """Keep an answer that could not be sent, and try again later.

        The run is held meanwhile if only a person can fix what is in the way.
        """
        now = self._app.clock.time()
        held = error.means.access and isinstance(error, ApiError)
        pause = HELD_PAUSE if held else max(TRY_AGAIN, getattr(error, "retry_after", None) or 0.0)
        seen = {**(wait.seen or {}), "held": held, "error": error.message}
        self._store.change_wait(wait, "sending", next_look=now + pause, pause=pause, seen=seen)
        if held:
            why = f"The answer could not be sent, and is kept: {error} {MEND}"
            self._store.hold_run(wait.run_id, now, why)
        return False

    def _ask_again(self, wait: Wait, why: str, **changes: Any) -> None:
        point = {**wait.point, "note": why, "since": self._app.clock.time()}
        self._store.change_wait(
            wait, "sending", kind="question", answer=None, point=point, **changes
        )

    def _asked(self, run: Run, context_id: str | None) -> Wait:
        waits = self._store.waits(run.id)
        asked = [wait for wait in waits if wait.open and wait.kind in ASKING]
        if context_id is not None:
            named = [wait for wait in waits if context_id in (wait.context_id, wait.step)]
            known = [wait.context_id for wait in asked]
            asked = [wait for wait in named if wait in asked]
            if not asked and any(
                wait.ended is not None or self._store.answers(wait) for wait in named
            ):
                raise _answered()
            if not asked and run.state not in ENDED:
                raise UnknownName("question", context_id, known)
        if not asked:
            raise CallerError(f"The run {run.id} has no open question: it is {run.state}.")
        if len(asked) > 1:
            contexts = [wait.context_id for wait in asked]
            names = ", ".join(
                wait.context_id if contexts.count(wait.context_id) == 1 else wait.step
                for wait in asked
            )
            raise CallerError(
                f"The run {run.id} has {len(asked)} open questions.", hint=f"Choose one: {names}."
            )
        return asked[0]

    def _resolve(self, wait: Wait, answer: Any, now: float) -> bool:
        found = answer if isinstance(answer, Mapping) else {}
        session = found.get("sessionId")
        if isinstance(session, str) and session:
            resolve(self._store, wait.run_id, wait.step, "done", session)
            return self._store.drop_wait(wait, now)
        if found.get("repeat") is True:
            resolve(self._store, wait.run_id, wait.step, "repeat", None)
            return self._store.drop_wait(wait, now)
        if isinstance(found.get("output"), Mapping):
            resolve(self._store, wait.run_id, wait.step, "done", None)
            return self._store.finish_wait(wait, now, found["output"])
        if found.get("fail") is True:
            resolve(self._store, wait.run_id, wait.step, "uncertain", None)
            return self._store.finish_wait(wait, now, error=str(wait.point.get("message", "")))
        raise CallerError(
            "The outcome is unknown; say whether it happened.",
            hint=str(wait.point.get("resolve", "")),
        )


def _filled_in(wait: Wait, answer: Any) -> Any:
    """Return the answer to a form as its types."""
    return read_answer(form_of(wait.point), answer, place=str(wait.point.get("blockName")))


def _answered() -> AnsweredAlready:
    return AnsweredAlready(
        "The question has already been answered by someone else.", hint="Check the run again."
    )
