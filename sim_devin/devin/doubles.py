"""Sessions that are one too many: found by the tag they carry, ended, and reported."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from sim_devin.calls.intents import Intent, Ledger
from sim_devin.calls.invoke import Context
from sim_devin.devin.intents import same_session
from sim_devin.devin.verdict import bare
from sim_devin.errors import SimDevinError

log = logging.getLogger("sim_devin")

STRAYS_FOR = 24 * 3600.0  # seconds in which a double may still turn up and is looked for


def end_strays(context: Context) -> list[str]:
    """End the sessions that appeared after their create was given up or sent again.

    Returns their ids. Called after every reconciled create; a long-lived process may call it
    from time to time. What cannot be looked up or ended now is looked for the next time.
    """
    ledger: Ledger = context.ledger
    ended: list[str] = []
    for intent in ledger.watched(context.clock.time() - STRAYS_FOR):
        try:
            ended += end_doubles_of(intent, context)
        except SimDevinError:
            continue
    return ended


def end_doubles_of(intent: Intent, context: Context) -> list[str]:
    """End the sessions that carry the tag of a create and that nobody uses; return their ids.

    Raises:
        SimDevinError: they cannot be looked for.
    """
    ledger: Ledger = context.ledger
    ended = []
    for session in carriers(intent.tag, context):
        session_id = session["sessionId"]
        if session.get("status") == "exit":
            continue
        # Recorded first: from then on nobody can adopt it any more.
        kept = ledger.settle(intent.tag, "stray", session_id)
        twin = kept.state == "done" and not same_session(kept.session_id, session_id)
        if (twin or kept.state == "stray") and end_double(session, intent.tag, context):
            ended.append(session_id)
    return ended


def carriers(tag: str, context: Context) -> list[Mapping[str, Any]]:
    """Return the sessions that carry a tag, archived or not."""
    return [
        session
        for archived in (False, True)
        for session in context.call(
            "devin_list_sessions", {"tags": [tag], "isArchived": archived, "limit": 200}
        )["sessions"]
        if tag in (session.get("tags") or ()) and session.get("sessionId")
    ]


def end_double(session: Mapping[str, Any], tag: str, context: Context) -> bool:
    """End a session that is one too many, unless it is in use, and say so.

    Returns whether it was ended.
    """
    ledger: Ledger = context.ledger
    session_id = session["sessionId"]
    if ledger.in_use(session_id):
        return False
    about = {"session": session_id, "tag": tag}
    try:
        context.call("devin_terminate_session", {"sessionId": session_id})
    except SimDevinError as error:
        reason = type(error).__name__
        log.warning("could not end the duplicate session %s: %s", session_id, reason, extra=about)
        text = f"The duplicate session {bare(session_id)} could not be ended yet: {error.message}"
        ledger.report(tag, text, session_id)
        return False
    log.warning("ended the duplicate session %s", session_id, extra=about)
    ledger.report(tag, f"The duplicate session {bare(session_id)} was ended.", session_id)
    return True
