"""The state machine: what becomes of a session as time passes and messages arrive.

Nothing happens in the background. `settle` plays, in their order, all the events that have
become due since the session was last looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from sim_devin.simulator.model import Attachment, Message, Session
from sim_devin.simulator.scenario import SUSPENSIONS, Reply, Step
from sim_devin.simulator.schema_example import instance
from sim_devin.simulator.switches import Switches

MONEY = frozenset(SUSPENSIONS) - {"user_request", "error"}
IDLE = frozenset({"waiting_for_user", "waiting_for_approval", "finished"})
_COMPLETION = {
    "finished": ("running", "finished"),
    "waiting_for_user": ("running", "waiting_for_user"),
    "exit": ("exit", "finished"),
}
_PLAIN_REPLY = (
    Step(at=0.0, status="running"),
    Step(at=20.0, message="Done: {answer}"),
    Step(at=21.0, complete=True),
)

NewId = Callable[[], str]


def settle(session: Session, now: float, switches: Switches, new_id: NewId) -> None:
    """Play everything that is due in `session` up to `now`. `new_id` makes identifiers."""
    while not session.ended:
        step_at = _next_step_at(session)
        idle_at = _idle_at(session, switches)
        wake_at = math.inf if session.wake_at is None else session.wake_at
        due = min(step_at, idle_at, wake_at)
        if due > now:
            return
        if due == wake_at:
            session.wake_at = None
            status, detail = session.wake_to
            _enter(session, due, status, detail)
        elif due == step_at:
            step = session.steps[session.next_step]
            session.next_step += 1
            _play(session, step, due, switches, new_id)
        else:
            session.change(due, status="suspended", status_detail="inactivity")


def hear(session: Session, text: str, now: float, switches: Switches, new_id: NewId) -> None:
    """Let `session`, settled at `now`, react to a user's message that it accepts."""
    session.messages.append(Message(new_id(), "user", text, now))
    session.before, session.heard_at = session.state_at(now, switches), now
    session.active_at = now
    status, detail = session.view.status, session.view.status_detail
    resumes_at = now
    if status == "suspended":
        resumes_at = now + switches.wake_seconds
        session.wake_at = resumes_at
        session.wake_to = ("running", "working")
        session.change(now, status="resuming", status_detail=None)
        if detail in MONEY and switches.unpaid_message == "suspend_again":
            session.wake_to = ("suspended", detail)
            return
    elif status == "resuming":
        resumes_at = session.wake_at if session.wake_at is not None else now
        session.change(now)
    elif status == "running" and detail in IDLE:
        _enter(session, now, "running", "working")
    else:
        session.change(now)
    _go_on(session, text, detail, resumes_at)


def _go_on(session: Session, text: str, detail: str | None, resumes_at: float) -> None:
    """Choose the steps that follow a message and the moment they are counted from."""
    remaining = session.next_step < len(session.steps)
    paused_at, session.paused_at = session.paused_at, None
    if session.halted and remaining:
        session.halted = False
        session.anchor = resumes_at
    elif remaining and paused_at is not None:
        session.anchor += resumes_at - paused_at
    elif remaining and detail not in IDLE | {"inactivity"}:
        return  # still at work: the message does not change the script
    else:
        session.halted = False
        session.steps = _reply_to(session, text)
        session.next_step = 0
        session.anchor = resumes_at


def pause(session: Session, now: float) -> None:
    """Put a session that is not asleep or ended to sleep, its script with it."""
    if session.view.status not in ("suspended", "exit", "error"):
        detail = session.view.status_detail
        session.change(now, status="suspended", status_detail="user_request")
        session.wake_at = None
        if detail not in IDLE:
            session.paused_at = now


def end(session: Session, now: float) -> None:
    """End a session for good."""
    session.change(now, status="exit", status_detail=None)
    session.wake_at = None


def _reply_to(session: Session, text: str) -> tuple[Step, ...]:
    for number, reply in enumerate(session.scenario.on_message):
        used = session.replies_used.get(number, 0)
        if _answers(reply, text, used):
            session.replies_used[number] = used + 1
            return reply.steps
    return _PLAIN_REPLY


def _answers(reply: Reply, text: str, used: int) -> bool:
    fresh = reply.times is None or used < reply.times
    return fresh and (reply.match is None or reply.match.search(text) is not None)


def _next_step_at(session: Session) -> float:
    stopped = session.halted or session.paused_at is not None
    if stopped or session.next_step >= len(session.steps):
        return math.inf
    return session.anchor + session.steps[session.next_step].at


def _idle_at(session: Session, switches: Switches) -> float:
    view = session.view
    if view.status != "running" or view.status_detail not in IDLE:
        return math.inf
    return session.active_at + switches.idle_seconds


def _enter(session: Session, at: float, status: str, detail: str | None) -> None:
    session.active_at = at
    session.change(at, status=status, status_detail=detail)


def _play(session: Session, step: Step, at: float, switches: Switches, new_id: NewId) -> None:
    fill = _filler(session)
    changes: dict[str, Any] = {}
    if step.complete:
        changes["status"], changes["status_detail"] = _COMPLETION[switches.completion]
    if step.wait_for_user:
        session.halted = True
        changes["status"] = "running"
        changes["status_detail"] = step.status_detail or "waiting_for_user"
    if step.status is not None:
        changes["status"] = step.status
        default = "working" if step.status == "running" else None
        changes["status_detail"] = step.status_detail or default
    for name in ("category", "subcategory"):
        if getattr(step, name) is not None:
            changes[name] = getattr(step, name)
    if step.title is not None:
        changes["title"] = fill(step.title)
    if step.pull_requests is not None:
        changes["pull_requests"] = tuple(
            {**item, "pr_url": fill(item["pr_url"])} for item in step.pull_requests
        )
    output = _output(session, step)
    if output is not None:
        changes["structured_output"] = output
    if step.acus is not None:
        limit = session.max_acu_limit if switches.billing == "acus" else None
        changes |= _spend(session, step.acus, limit)
    if step.message is not None:
        session.messages.append(Message(new_id(), "devin", fill(step.message), at))
    for file in step.attachments:
        name = fill(file.name).encode("utf-8", "replace").decode()
        content = fill(file.content).encode("utf-8", "replace")
        session.attachments.append(
            Attachment(new_id(), name, content, file.content_type, source="devin")
        )
    session.active_at = at
    session.change(at, **changes)


def _output(session: Session, step: Step) -> Mapping[str, Any] | None:
    if step.structured_output != "auto":
        return step.structured_output
    schema = session.structured_output_schema
    return None if schema is None else instance(schema)


def _spend(session: Session, acus: float, limit: float | None) -> dict[str, Any]:
    """Return the changes that `acus` consumed in all bring, the session's limit included."""
    acus = max(acus, session.view.acus)
    if limit is None or acus < limit:
        return {"acus": acus}
    session.next_step = len(session.steps)
    return {"acus": limit, "status": "suspended", "status_detail": "usage_limit_exceeded"}


def _filler(session: Session) -> Callable[[str], str]:
    """Return a function that puts facts of the session in the place of ``{repo}`` and the like."""
    repo = session.repos[0] if session.repos else "acme/app"
    asked = [item.message for item in session.messages if item.source == "user"]
    facts = {
        "repo": repo,
        "number": str(session.number),
        "session_id": session.id,
        "prompt": session.prompt,
        "answer": asked[-1] if asked else "",
    }

    def fill(text: str) -> str:
        # One pass per name, so that a user's text is never searched for names itself.
        if "{" not in text:
            return text
        head, *rest = text.split("{")
        parts = [head]
        for piece in rest:
            name, closed, tail = piece.partition("}")
            parts.append(facts[name] + tail if closed and name in facts else "{" + piece)
        return "".join(parts)

    return fill
