"""Calls of durable runs that wait for approval.

The question is a wait of its own, named after the call and recorded before anything is
reserved or sent for it. The answer is for this call alone: when the run comes to the step with
another tool or other parameters, it asks again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sim_devin.errors import CallerError, Declined, NotAllowed
from sim_devin.policy.gate import NOT_SENT
from sim_devin.policy.rules import Allowed, NeedsApproval, Policy, Refused
from sim_devin.runs.journal import Journal, plain
from sim_devin.runs.parked import Parked
from sim_devin.specs.models import ToolSpec
from sim_devin.store.records import EventRecord, Wait
from sim_devin.store.sealing import to_json
from sim_devin.store.sql_store import SqlStore

APPROVED, DECLINED = "call.approved", "call.declined"  # events of a run
TOO_LATE = "nobody answered in time"


def admitted(
    journal: Journal, policy: Policy, spec: ToolSpec, params: Mapping[str, Any], step: str
) -> Allowed:
    """Return that a call may continue, and how.

    Args:
        journal: what is recorded of the run.
        policy: what the call has to obey.
        spec: the tool.
        params: what it is called with, credentials among them.
        step: name of the call: a pure function of the place in the run.

    Raises:
        NotAllowed: the policy refuses it.
        Declined: a person did not say yes.
        Parked: a person has to say yes first.
    """
    verdict = policy.check(spec, params)
    wait = journal.wait(step)
    if not isinstance(verdict, NeedsApproval):
        if wait is not None:
            journal.forget(wait)
        if isinstance(verdict, Refused):
            raise NotAllowed(verdict.reason, hint=verdict.hint)
        return verdict
    # The ceilings are a part of what is asked about: the policy may have been widened since.
    call = _fingerprint(journal, spec, {**params, **verdict.ceilings})
    if wait is not None and wait.about["call"] != call:
        journal.forget(wait)
        wait = None
    if wait is None or wait.open:
        raise Parked(wait or _question(journal, verdict, step, call))
    journal.use(wait)
    if wait.error is not None:
        raise Declined(wait.error, hint=NOT_SENT)
    return Allowed(verdict.ceilings)


def _question(journal: Journal, needed: NeedsApproval, step: str, call: str) -> Wait:
    within = journal.run.chosen.answer_within
    return Wait(
        journal.run.id,
        step,
        "approval",
        point={
            "question": f"{needed.title} ({needed.tool})? It {needed.why}.",
            "tool": needed.tool,
            "parameters": plain(dict(needed.parameters)),
        },
        about={"tool": needed.tool, "call": call},
        answer_by=None if within is None else journal.clock.time() + within,
    )


def _fingerprint(journal: Journal, spec: ToolSpec, params: Mapping[str, Any]) -> str:
    """Return what tells a call from any other; secrets go into it by their names."""
    call = plain({"tool": spec.id, "params": dict(params)})
    closed = to_json(journal.seal.close_credentials(call))
    return hashlib.sha256(json.dumps(closed, sort_keys=True).encode()).hexdigest()


# -- the answer ------------------------------------------------------------------------------


def settle(store: SqlStore, wait: Wait, answer: Any, now: float) -> bool:
    """Record a person's answer and wake the run; return False if it has one already.

    `answer` is ``{"approved": true}`` or ``{"approved": false}``, with a ``reason`` if there is
    one to tell.

    Raises:
        CallerError: it is something else.
    """
    if not is_answer(answer):
        raise CallerError(
            "A call that requires approval must be approved or declined.",
            hint='Answer {"approved": true}, or {"approved": false, "reason": "…"}.',
        )
    reason = str(answer.get("reason") or "").strip()
    why = None
    if not answer["approved"]:
        why = _declined(wait, f"a person declined{reason and ': '}{reason}")
    given = {"approved": answer["approved"], "reason": reason}
    return _finish(store, wait, given, why, now)


def is_answer(answer: Any) -> bool:
    """Return whether an answer says yes or no."""
    return isinstance(answer, Mapping) and isinstance(answer.get("approved"), bool)


def time_out(store: SqlStore, wait: Wait, now: float) -> bool:
    """Take silence for a no; return False if someone has answered."""
    given = {"approved": False, "reason": TOO_LATE}
    return _finish(store, wait, given, _declined(wait, TOO_LATE), now)


def _declined(wait: Wait, how: str) -> str:
    return f"{wait.about['tool']} requires approval, which was not given: {how}."


def _finish(
    store: SqlStore, wait: Wait, answer: Mapping[str, Any], error: str | None, now: float
) -> bool:
    data = {
        "blockId": wait.block_id,
        "blockName": wait.point.get("blockName", ""),
        "tool": wait.about["tool"],
        "reason": answer["reason"],
    }
    told = EventRecord(wait.run_id, now, DECLINED if error else APPROVED, data)
    with store.database.write():  # both or neither: the event is the record of who said what
        taken = store.finish_wait(wait, now, answer, error=error)
        if taken:
            store.add_event(told)
    return taken
