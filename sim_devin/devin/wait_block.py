"""Waiting as a tool (`devin_wait_for_session`) and as a block (*Devin Wait*)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.calls.invoke import Context
from sim_devin.devin import wait
from sim_devin.devin.until import UNTIL
from sim_devin.specs.models import BlockField, BlockSpec, Schema, ToolSpec, Traits

TOOL_ID = "devin_wait_for_session"
DEFAULT_TIMEOUT = 3600  # seconds
LONGEST_TIMEOUT = 30 * 24 * 3600  # after 30 days a session cannot be continued


def _run(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Wait for one session and return it with its outcome."""
    timeout = float(params.get("timeoutSeconds", DEFAULT_TIMEOUT))
    if context.deadline is not None:
        timeout = min(timeout, context.deadline - context.clock.monotonic())
    (outcome,) = wait.wait(
        [params["sessionId"]],
        context.call,
        context.clock,
        until=UNTIL[params.get("until", "settled")],
        timeout=max(0.0, timeout),
        schema=params.get("structuredOutputSchema"),
        cancel=context.cancel,
        on_progress=context.on_progress,
        minutes=context.minutes_per_session,
        sent=context.sent,
    )
    result = outcome.to_json()
    session = result.pop("session")
    return {**session, **result}


_OUTCOME: dict[str, Any] = {
    "outcome": {
        "type": "string",
        "description": "done, blocked_on_user, blocked_on_approval, asleep, out_of_money, "
        "failed or ended; in_flight when the time ran out first.",
    },
    "reason": {"type": "string", "description": "The outcome in words."},
    "scope": {
        "type": ["string", "null"],
        "description": "Whose money ran out: session, user, organization or unknown.",
    },
    "timedOut": {"type": "boolean", "description": "Whether the time ran out first."},
    "waitedSeconds": {"type": "number", "description": "How long the wait took, in seconds."},
}


def wait_tool(session: Schema) -> ToolSpec:
    """Return the tool; `session` is the output schema of one session."""
    return ToolSpec(
        id=TOOL_ID,
        title="Wait for Devin session",
        description="Wait until a Devin session is done or needs somebody: an answer, an approval, "
        "money. Returns the session with its outcome. When the time runs out first, call it again "
        "with the same id to go on waiting.",
        connection="devin",
        params={
            "type": "object",
            "properties": {
                "sessionId": {
                    "type": "string",
                    "description": "Id of the session to wait for, as another tool returned it.",
                },
                "timeoutSeconds": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": LONGEST_TIMEOUT,
                    "description": "Longest time to wait, in seconds; an hour when left out.",
                },
                "until": {
                    "type": "string",
                    "enum": list(UNTIL),
                    "description": "settled: stop at anything that does not go on by itself. "
                    "over: go on waiting while somebody else answers or wakes the session.",
                },
                "structuredOutputSchema": {
                    "type": "object",
                    "description": "JSON Schema that the structured output has to fit to count as "
                    "the session's result.",
                    "x-advanced": True,
                },
            },
            "required": ["sessionId"],
            "additionalProperties": False,
        },
        output={
            "type": "object",
            "properties": {**session["properties"], **_OUTCOME},
            "required": ["sessionId"],
        },
        traits=Traits(readOnly=True, idempotent=True, ceilings=("timeoutSeconds",)),
        permission="ViewOrgSessions",
        run=_run,
    )


WAIT_BLOCK = BlockSpec(
    type="devin_wait",
    title="Devin Wait",
    description="Wait until a Devin session is done or needs somebody.",
    color="#12141a",
    operations={"wait_for_session": TOOL_ID},
    defaultOperation="wait_for_session",
    labels={"wait_for_session": "Wait for Session"},
    fields=(
        BlockField(id="sessionId", title="Session ID", placeholder="devin-…"),
        BlockField(id="timeoutSeconds", title="Longest Wait (s)", placeholder="3600"),
        BlockField(
            id="until",
            title="Wait Until",
            widget="dropdown",
            options=(
                {"id": "settled", "label": "Settled"},
                {"id": "over", "label": "Over"},
            ),
        ),
        BlockField(
            id="onQuestion",
            param="",
            title="When Devin Asks",
            widget="dropdown",
            options=(
                {"id": "return", "label": "End the wait"},
                {"id": "hold", "label": "Ask a person, then wait on"},
            ),
            description="Of a recorded run. Unless chosen, the run decides: --on-question, and on "
            "the canvas a person is asked.",
            advanced=True,
        ),
    ),
)
