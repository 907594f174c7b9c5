"""Ask a person through the MCP client whether a call may continue."""

from __future__ import annotations

from typing import Any

import mcp_types as types

from sim_devin.errors import Declined
from sim_devin.mcp.elicitation import Context, Questions, can_ask
from sim_devin.policy.rules import NeedsApproval

CONFIRM = "confirm"

_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        CONFIRM: {
            "type": "boolean",
            "title": "Approve",
            "description": "Whether to approve this call.",
        }
    },
    "required": [CONFIRM],
}


async def approve(
    questions: Questions,
    ctx: Context,
    params: types.CallToolRequestParams,
    needed: NeedsApproval,
) -> types.InputRequiredResult | None:
    """Return None once a person said yes, or the question to send to the client.

    Raises:
        Declined: the person said no, or the client cannot ask.
    """
    if not can_ask(ctx):
        raise Declined(
            f"{params.name} requires approval, and this client does not support elicitation.",
            hint="Nothing was sent. Let the user make the call (sim-devin call), use a client "
            "that supports elicitation, or change what requires approval ([policy] in the "
            "config file, options of sim-devin mcp).",
        )
    answer = await questions.ask(ctx, params, needed.question, _FORM)
    if isinstance(answer, types.InputRequiredResult):
        return answer
    if answer.action == "accept" and (answer.content or {}).get(CONFIRM) is True:
        return None
    raise Declined(
        f"A person was asked to approve {params.name} and did not.",
        hint="Nothing was sent. Do not try again unless the user asks for it.",
    )
