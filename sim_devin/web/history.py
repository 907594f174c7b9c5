"""Events and results for the page, made from what the store keeps of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sim_devin.calls.jobs.verdict import classify
from sim_devin.engine import events, snapshot
from sim_devin.engine.document import load_workflow
from sim_devin.engine.run import iso
from sim_devin.engine.start import START_TYPES
from sim_devin.plugins.registry import Registry
from sim_devin.runs.summary import verdict_of
from sim_devin.runs.why import why
from sim_devin.store.records import ENDED, BlockRecord, Run, Wait
from sim_devin.web import verdicts
from sim_devin.web.executions import ExecutionView, of_key, of_log
from sim_devin.web.run_view import highlights

GOES_ON_EVENT = "block.going_on"
RESULT = "run.result"  # the last event of a feed: how the run ended, or what it needs
CAN_RESUME = ("failed", "held", "uncertain")  # states of runs that `durable.Runs.resume` moves
NEEDS_A_FORM = ("human", "approval", "uncertain")
GOES_ON = ("session", "question", "sending", "time", "sleep", "turn", "service")

_STATUS: Mapping[str, str] = {
    "done": "finished",
    "failed": "failed",
    "cancelled": "cancelled",
    "uncertain": "paused",
    "held": "paused",
}
# What a person can say to a call that waits for approval.
_APPROVE = {"label": "Approve", "answer": {"approved": True}}
_DECLINE = {
    "label": "Decline",
    "help": "Nothing is sent, and the block fails.",
    "answer": {"approved": False},
    "fields": [{"name": "reason", "label": "Reason (optional)"}],
}
# What a person can say where it is unknown whether something was done: `answer`, with the
# fields filled in, is what `durable.Runs.answer` takes.
_FOUND = {
    "label": "It was carried out, in this session",
    "answer": {},
    "fields": [{"name": "sessionId", "label": "Session id", "required": True}],
}
_DONE = {
    "label": "It was carried out",
    "help": "The run continues without its output.",
    "answer": {"output": {}},
}
_REPEAT = {
    "label": "It was not carried out: do it again",
    "help": "Done twice if it was carried out after all.",
    "answer": {"repeat": True},
}
_FAIL = {"label": "Give up", "help": "The block fails.", "answer": {"fail": True}}


def status_of(run: Run, waits: Sequence[Wait]) -> str:
    """Return a run's state in the page's words.

    A run whose session asks something counts as running: the answer is given on the card,
    and nothing else of the run is held up by it.
    """
    if run.state == "asking":
        return "paused" if any(wait.kind in NEEDS_A_FORM for wait in waits) else "running"
    return _STATUS.get(run.state, "running")


def line(
    run: Run, waits: Sequence[Wait], *, workflow: str, title: str, count: int
) -> dict[str, Any]:
    """Return a run as a line of the history.

    Args:
        run: the run.
        waits: what it waits for.
        workflow: name of its file among those of the page; empty if it is none of them.
        title: what it is called.
        count: how many of its events are told by now.
    """
    return {
        "id": run.id,
        "workflow": workflow,
        "title": title,
        "status": status_of(run, waits),
        "state": run.state,
        "canResume": run.state in CAN_RESUME,
        "startedAt": iso(run.created if run.started is None else run.started),
        "endedAt": None if run.ended is None else iso(run.ended),
        "error": run.error,
        "summary": verdicts.at_the_end(status_of(run, waits), run.summary),
        "events": count,
    }


def started_event(run: Run) -> dict[str, Any]:
    """Return the event with which a run begins."""
    began = run.created if run.started is None else run.started
    return {"event": events.RUN_STARTED, "runId": run.id, "time": iso(began)}


def block_event(
    registry: Registry, run_id: str, log: Mapping[str, Any], execution: ExecutionView
) -> dict[str, Any]:
    """Return the event of an execution of a block that ended, from its log entry."""
    kind = events.BLOCK_FINISHED if log.get("error") is None else events.BLOCK_FAILED
    about = {key: log[key] for key in log if key not in ("input", "output", "childLogs")}
    return {
        "event": kind,
        "runId": run_id,
        "time": log.get("endedAt"),
        **about,
        **execution.to_json(),
        **came_to(registry, log, log.get("output")),
    }


def came_to(registry: Registry, log: Mapping[str, Any], output: Any) -> dict[str, Any]:
    """Return what of a block's end is worth a place on its card."""
    verdict = verdict_of(registry, log, output)
    shown = None if verdict is None else verdicts.of_block(verdict, output)
    return {**highlights(registry, output), **({"verdict": shown} if shown else {})}


def wait_event(registry: Registry, wait: Wait, now: float, answered: int) -> dict[str, Any]:
    """Return the event of an execution of a block that waits, with what it asks.

    Args:
        registry: knows the kinds of jobs.
        wait: what it waits for.
        now: the moment.
        answered: how many of its questions were answered before.
    """
    return {
        "event": events.BLOCK_WAITING,
        "runId": wait.run_id,
        "time": iso(now),
        "blockId": wait.block_id,
        "blockName": wait.point.get("blockName", ""),
        "blockType": "",
        "startedAt": iso(wait.created),
        "endedAt": None,
        "durationMs": None,
        "contextId": wait.context_id,
        **of_key(wait.step).to_json(),
        **why(wait, registry, now),
        "ask": _ask(registry, wait, answered),
    }


def goes_on_event(wait: Wait, now: float) -> dict[str, Any]:
    """Return the event of an execution that does not wait for this any more."""
    return {
        "event": GOES_ON_EVENT,
        "runId": wait.run_id,
        "time": iso(now),
        "blockId": wait.block_id,
        "blockName": wait.point.get("blockName", ""),
        **of_key(wait.step).to_json(),
    }


def _ask(registry: Registry, wait: Wait, answered: int) -> dict[str, Any] | None:
    """Return what a wait asks a person, and how the answer is addressed; None if nothing.

    ``answerTo`` names the wait for `durable.Runs.answer`. A form has a ``point``; a question
    of Devin the ``text`` and ``question``, its number at this place. A session that may be
    answered though the run does not ask for it has its id alone.
    """
    if wait.kind in NEEDS_A_FORM:
        return {"kind": "form", "answerTo": wait.step, "point": _point(registry, wait)}
    if wait.kind not in ("session", "question"):
        return None
    session = (wait.seen or {}).get("session", {})
    job = registry.job(wait.job)
    verdict = classify(job, session, schema=wait.about.get("schema"))
    said = {"kind": "session", "session": str(wait.about.get("sessionId", ""))}
    if wait.kind == "session":
        shown = verdicts.view(verdict)
        can = shown["canAnswer"] and job.answer is not None
        return {**said, "reason": verdict.reason} if can else None
    return {
        **said,
        "reason": str(wait.point.get("note") or verdict.reason),
        "text": str(wait.point.get("question") or ""),
        "answerTo": wait.step,
        "question": answered,
    }


def end_events(
    registry: Registry, run: Run, status: str, waits: Sequence[Wait], now: float
) -> list[dict[str, Any]]:
    """Return the events with which a run ends, or stands still until someone does something."""
    at = iso(now if run.ended is None else run.ended)
    kind = f"run.{status}"
    told = {"event": kind, "runId": run.id, "time": at}
    if run.error:
        told["error"] = run.error
    body = dict(run.result or {"success": False, "output": None})
    body.pop("logs", None)
    if run.error and not body.get("error"):
        body["error"] = run.error
    if status == "paused":
        body["pausePoints"] = [
            _point(registry, wait) for wait in waits if wait.kind in NEEDS_A_FORM
        ]
    ended = {
        "status": status,
        "state": run.state,
        "canResume": run.state in CAN_RESUME,
        "summary": verdicts.at_the_end(status, run.summary),
    }
    return [told, {"event": RESULT, "runId": run.id, **ended, "result": body}]


def _point(registry: Registry, wait: Wait) -> dict[str, Any]:
    about = {
        "contextId": wait.context_id,
        "answerTo": wait.step,
        "blockId": wait.block_id,
        "pauseKind": "human",
        **of_key(wait.step).to_json(),
    }
    if wait.kind == "human":
        return {**wait.point, **about}
    parameters = wait.point.get("parameters")
    said = [{"name": "parameters", "value": parameters}] if parameters else []
    done = _FOUND if _leads_to_job(registry, str(wait.point.get("tool"))) else _DONE
    is_held = wait.kind == "approval"
    return {
        **about,
        "blockName": wait.point.get("blockName", wait.block_id),
        "message": wait.point.get("message") or wait.point.get("question", ""),
        "hint": wait.point.get("hint", ""),
        "response": {"data": {"responseStructure": said}},
        "choices": [_APPROVE, _DECLINE] if is_held else [done, _REPEAT, _FAIL],
    }


def _leads_to_job(registry: Registry, tool: str) -> bool:
    """Return whether a tool creates a job, or says something to one."""
    job = registry.job_of(tool)
    return job is not None and tool in (job.create.tool, job.tools.get("answer"))


def start_log(run: Run, document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the log entry of the block that a run started at; None if it was another one's.

    The store has none, since a start block only hands the inputs on.
    """
    workflow = load_workflow(document)
    starts = [
        block
        for kind in START_TYPES
        for block in workflow.blocks.values()
        if block.type == kind and block.enabled
    ]
    if not starts or run.started is None or run.chosen.from_block is not None:
        return None
    return {
        "blockId": starts[0].id,
        "blockName": starts[0].name,
        "blockType": starts[0].type,
        "startedAt": iso(run.started),
        "endedAt": iso(run.started),
        "durationMs": 0,
        "success": True,
        "executionOrder": 1,
    }


def logs_of(
    run: Run, outcomes: Sequence[BlockRecord]
) -> list[tuple[ExecutionView, Mapping[str, Any]]]:
    """Return the executions of blocks that have ended, in that order, with their log entries.

    Those of child runs are among them.
    """
    over = has_ended(run)
    found: list[tuple[ExecutionView, Mapping[str, Any]]] = [
        (of_key(outcome.key), outcome.log)
        for outcome in outcomes
        if over or outcome.error is None or not outcome.retry
    ]
    found += [(of_log(log), log) for log in other_logs(run, outcomes)]
    return sorted(found, key=lambda item: (item[1].get("endedAt") or "", item[1]["executionOrder"]))


def other_logs(run: Run, outcomes: Sequence[BlockRecord]) -> list[Mapping[str, Any]]:
    """Return the log entries that only the result has, such as that of the start."""
    known = {outcome.block_id for outcome in outcomes if not _is_of_child(outcome)}
    logs: list[Mapping[str, Any]] = (run.result or {}).get("logs", [])
    return [log for log in logs if log["blockId"] not in known]


def left_behind(run: Run, outcomes: Sequence[BlockRecord]) -> dict[str, Any]:
    """Return what a run from one block needs of an earlier run, as an engine's snapshot.

    The outputs are as the store has them: secrets replaced by their names.
    """
    outputs: dict[str, Any] = {
        log["blockId"]: log["output"]
        for log in other_logs(run, outcomes)
        if log.get("output") is not None
    }
    variables: dict[str, Any] = {}
    for outcome in outcomes:
        if _is_of_child(outcome):
            continue
        failure = {} if outcome.error is None else {"error": outcome.error}
        outputs[outcome.block_id] = {**(outcome.output or {}), **failure}
        variables |= outcome.variables
    return {"version": snapshot.VERSION, "outputs": outputs, "variables": variables}


def _is_of_child(outcome: BlockRecord) -> bool:
    return ">" in outcome.key


def has_ended(run: Run) -> bool:
    """Return whether nothing of a run continues any more."""
    return run.state in ENDED
