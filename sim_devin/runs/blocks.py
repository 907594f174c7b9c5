"""The handlers of a durable run: each replays what is recorded, or runs and records.

A block is known by an exact key: its id and the number of the pass of every container
around it, child runs included. Its tries are counted from 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from sim_devin.calls.local_faults import local_fault
from sim_devin.engine import pauses
from sim_devin.engine.contract import BlockContext, BlockError, Handler, Pause, Sleep
from sim_devin.engine.failures import describe, may_retry
from sim_devin.engine.program import Program, Step
from sim_devin.engine.tool_block import run_tool
from sim_devin.errors import Cancelled, LocalFault, StoreError
from sim_devin.runs.attended_calls import AttendedCalls
from sim_devin.runs.calls import Calls, DriveContext
from sim_devin.runs.journal import plain
from sim_devin.runs.parked import Parked
from sim_devin.store.records import BlockRecord, Wait
from sim_devin.store.rows import LeaseLost

IN_PLACE = 5.0  # seconds a run may sleep without being suspended


def wrap(program: Program, around: DriveContext, *, prefix: str = "", depth: int = 0) -> None:
    """Let every block of a program be recorded; `prefix` says of which child run."""
    for step in program.steps.values():
        step.handler = _recorded(step, around, prefix, depth)


def _recorded(step: Step, around: DriveContext, prefix: str, depth: int) -> Handler:
    blocks = _Block(step, around, prefix, depth)
    return blocks.run


class _Block:
    """One block of the document, in whatever pass it runs."""

    def __init__(self, step: Step, around: DriveContext, prefix: str, depth: int) -> None:
        self._handler = step.handler
        self._inline = step.inline
        self._tries = step.tries
        self._around = around
        self._journal = around.journal
        self._prefix = prefix
        self._depth = depth

    def run(self, block: BlockContext, /) -> Any:
        """Return what the block outputs, from the record or by running it."""
        journal = self._journal
        key = self._prefix + _place(block)
        past = journal.past(key)
        if past is not None and (
            past.error is None or not past.retry or past.attempt >= self._tries
        ):
            return self._played_back(past, block)
        attempt = 1 if past is None else past.attempt + 1
        journal.check()
        wait = journal.wait(f"{key}#{attempt}")
        if wait is not None and wait.kind != "turn":
            return self._waited(wait, key, attempt, block)
        journal.begin(block, key, inline=self._inline)
        started = journal.clock.time()
        attendance = self._around.attendance
        place = (block.run, block, f"{key}#{attempt}", self._around)
        options: dict[str, Any] = {
            "remembers": self._handler is not run_tool,
            "depth": self._depth,
        }
        if attendance is None:
            calls = Calls(*place, **options)
        else:
            calls = AttendedCalls(*place, attendance, **options)
        try:
            output = self._handler(block.over(calls))
        except Parked as parked:
            if wait is not None and (parked.wait is None or parked.wait.kind != "turn"):
                journal.forget(wait)  # its turn would call the run again and again meanwhile
            return self._park(parked.wait, block)
        except (LeaseLost, StoreError) as error:
            raise journal.abort(error) from error
        except Cancelled:
            if not calls.stop.is_set():
                self._put_failure(key, attempt, block, Cancelled("Cancelled."), started)
            raise
        except Exception as error:  # whatever a handler raises is the failure of its block
            if attendance is None and (short := _shortage(error)) is not None:
                raise journal.abort(short) from error
            self._put_failure(key, attempt, block, error, started)
            raise
        if isinstance(output, Pause):
            return self._pause(output, calls.step, block)
        if isinstance(output, Sleep):
            return self._sleep(output, calls.step, block)
        return self._put(key, attempt, block, output, started, variables=calls.variables)

    # -- recorded already ------------------------------------------------------------------------

    def _played_back(self, past: BlockRecord, block: BlockContext) -> Any:
        journal = self._journal
        journal.stamp(block.log, past)
        if past.error is not None:
            raise BlockError(past.error, output=past.output, hint=past.hint, retry=False)
        for variable_id, value in past.variables.items():
            variable = block.variable("", variable_id)
            if variable is not None and journal.is_last_word(
                self._prefix, variable_id, past.sequence
            ):
                block.set_variable(variable, value)
        return past.output

    def _waited(self, wait: Wait, key: str, attempt: int, block: BlockContext) -> Any:
        journal = self._journal
        now = journal.clock.time()
        if wait.kind == "sleep":
            due = wait.due or now
            return wait.output if due <= now else Sleep(due - now, wait.output)
        if wait.open:
            return self._paused(wait, block)
        journal.begin(block, key, inline=self._inline)
        if wait.error is not None:
            error = BlockError(wait.error)
            self._put_failure(key, attempt, block, error, wait.created, ended=wait.ended)
            raise error
        if wait.then == "answered":
            paused_at, ended = wait.created, wait.ended or now
            output = pauses.answered(
                {**wait.output, "_pauseMetadata": dict(wait.point)},
                wait.point,
                wait.answer,
                run_id=block.run_id,
                now=ended,
                paused_at=paused_at,
            )
        else:
            output = wait.output if wait.answer is None else wait.answer
        return self._put(key, attempt, block, output, wait.created, ended=wait.ended)

    # -- what came of it -----------------------------------------------------------------------

    def _put(
        self,
        key: str,
        attempt: int,
        block: BlockContext,
        output: Any,
        started: float,
        *,
        ended: float | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        if not isinstance(output, Mapping):
            output = {} if output is None else {"result": output}
        kept: dict[str, Any] = plain(dict(output))
        log = block.log
        log.started, log.ended = started, ended or self._journal.clock.time()
        log.success, log.raw_output, log.tries = True, kept, attempt
        outcome = BlockRecord(
            key,
            attempt,
            block.node_id,
            output=kept,
            variables=plain(dict(variables or {})),
            log=plain(log.to_json()),
            started=log.started,
            ended=log.ended,
        )
        self._journal.put(outcome, later=self._inline)
        self._journal.stamp(log, outcome)
        return kept

    def _put_failure(
        self,
        key: str,
        attempt: int,
        block: BlockContext,
        error: Exception,
        started: float,
        *,
        ended: float | None = None,
    ) -> None:
        described = describe(error)
        log = block.log
        log.started, log.ended = started, ended or self._journal.clock.time()
        log.error, log.tries = log.redactor.text(described.text), attempt
        log.hint = log.redactor.text(described.hint) or None
        outcome = BlockRecord(
            key,
            attempt,
            block.node_id,
            output=plain(dict(described.output)),
            error=described.text,
            hint=described.hint,
            retry=may_retry(error),
            log=plain(log.to_json()),
            started=log.started,
            ended=log.ended,
        )
        self._journal.put(outcome, later=self._inline)
        self._journal.stamp(log, outcome)

    # -- waiting ---------------------------------------------------------------------------------

    def _park(self, wait: Wait | None, block: BlockContext) -> Pause:
        if wait is None:
            return Pause({}, {})
        if wait.id:  # recorded already, and still open
            return self._paused(wait, block)
        wait.point = {
            "blockName": block.block.name,
            **({"sessionId": wait.about["sessionId"]} if "sessionId" in wait.about else {}),
            **wait.point,
        }
        return self._add(wait, block)

    def _pause(self, pause: Pause, step: str, block: BlockContext) -> Pause:
        wait = Wait(
            self._journal.run.id,
            step,
            pause.kind,
            output=plain(dict(pause.output)),
            point=plain(pauses.point(block, pause, self._journal.clock.time())),
            then="answered",
            due=pause.resume_at,
            answer_by=self._answer_by(pause),
        )
        return self._add(wait, block)

    def _answer_by(self, pause: Pause) -> float | None:
        within = self._journal.run.chosen.answer_within
        if within is None or pause.kind != "human":
            return None
        return float(self._journal.clock.time() + within)

    def _sleep(self, sleep: Sleep, step: str, block: BlockContext) -> Pause | Sleep:
        now = self._journal.clock.time()
        in_place = sleep.seconds <= IN_PLACE or self._around.attendance is not None
        wait = Wait(
            self._journal.run.id,
            step,
            "sleep" if in_place else "time",
            output=plain(dict(sleep.output)),
            point={"blockName": block.block.name, "reason": sleep.reason},
            due=now + sleep.seconds,
        )
        pause = self._add(wait, block)
        return sleep if in_place else pause

    def _add(self, wait: Wait, block: BlockContext) -> Pause:
        self._journal.flush()
        wait.run_id = self._journal.run.id
        wait.block_id = block.node_id
        wait.context_id = self._prefix + block.context_id
        wait.created = self._journal.clock.time()
        self._journal.add_wait(wait)
        return self._paused(wait, block)

    def _paused(self, wait: Wait, block: BlockContext) -> Pause:
        self._journal.telling.is_parked(block.log, wait)
        return _pause_of(wait)


def _shortage(error: Exception) -> LocalFault | None:
    """Return what this machine is short of, if that is why a block failed: no fault of its own."""
    if isinstance(error, LocalFault):
        return error
    why = local_fault(error)
    return None if why is None else LocalFault(f"{why[0]}.", hint=why[1])


def _pause_of(wait: Wait) -> Pause:
    kind: Any = "time" if wait.kind in ("time", "session", "turn", "service") else "human"
    output = wait.output if isinstance(wait.output, dict) else {}
    return Pause(output, wait.point.get("response", {}), kind, wait.due)


def _place(block: BlockContext) -> str:
    around = "".join(f"{_name(container)}.{index}/" for container, index in block.scope.path())
    return around + _name(block.block.id)


def _name(text: str) -> str:
    return quote(text, safe="-_")
