"""What an organization and the state of a session allow, as far as the switches say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sim_devin.simulator.answers import Problem
from sim_devin.simulator.model import Session
from sim_devin.simulator.script import MONEY
from sim_devin.simulator.switches import Switches


def check_modes(body: Mapping[str, Any], switches: Switches) -> None:
    """Raise the 400 `Problem` for a mode or platform the organization does not have."""
    mode = body.get("devin_mode")
    if mode is not None and mode not in switches.enabled_modes:
        raise Problem(400, f"devin_mode {mode!r} is not enabled for this organization")
    platform = body.get("platform")
    labels = ("inherit", *switches.platforms)
    if platform is not None and platform.lower() not in [label.lower() for label in labels]:
        raise Problem(400, f"Unknown platform {platform!r}. Allowed: {', '.join(labels)}")


def check_quota(sessions: int, switches: Switches) -> None:
    """Raise the `Problem` for an organization of so many sessions that has no quota left."""
    most = switches.quota_sessions
    if not switches.out_of_quota and (most is None or sessions < most):
        return
    code = "out_of_quota"
    if switches.quota_code == "detail":
        raise Problem(switches.quota_status, code)
    raise Problem(switches.quota_status, "The request was refused.", code=code)


def allowed_tags(tags: Iterable[str], switches: Switches) -> tuple[str, ...]:
    """Return `tags`, each once and in order; a `Problem` for one that is not allowed."""
    wanted = tuple(dict.fromkeys(tags))
    allowed = switches.allowed_tags
    refused = [] if allowed is None else [tag for tag in wanted if tag not in allowed]
    if refused:
        status = switches.disallowed_tag_status
        message = f"Tags not allowed in this organization: {', '.join(refused)}"
        error = {"loc": ["body", "tags"], "msg": message, "type": "value_error"}
        raise Problem(status, message, [error] if status == 422 else None)
    return wanted


def check_message(session: Session, now: float, switches: Switches) -> None:
    """Raise the `Problem` for a session that takes no messages."""
    if session.view.is_archived:
        raise Problem(switches.archived_write_status, "Session is archived")
    if session.ended:
        raise Problem(switches.ended_message_status, "Devin session already exited")
    if now > session.created_at + switches.continuation_seconds:
        raise Problem(switches.expired_message_status, "Session can no longer be continued")
    unpaid = session.view.status == "suspended" and session.view.status_detail in MONEY
    if unpaid and switches.unpaid_message == "refuse":
        raise Problem(403, str(session.view.status_detail))
