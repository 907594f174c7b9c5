"""Ask a person through the MCP client whether a call may go on."""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp_types.version import is_version_at_least

from sim_devin.errors import NotAllowed
from sim_devin.policy import NeedsApproval

MULTI_ROUND = "2026-07-28"  # from here on questions travel in the call's own answer
ANSWER = "confirm"
OPEN_QUESTIONS = 1000

_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        ANSWER: {
            "type": "boolean",
            "title": "Go ahead",
            "description": "Whether this call may be carried out.",
        }
    },
    "required": [ANSWER],
}


class Approvals:
    """Questions that were asked and not answered yet. Each answer counts once."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, tuple[str, str]] = OrderedDict()

    async def ask(
        self,
        ctx: ServerRequestContext[Any, Any],
        params: types.CallToolRequestParams,
        needed: NeedsApproval,
    ) -> types.InputRequiredResult | None:
        """Return None once a person said yes, or the question to send to the client.

        Raises:
            NotAllowed: the person said no, or the client cannot ask.
        """
        if not _can_ask(ctx):
            raise NotAllowed(
                f"{params.name} needs a person's yes, and this client cannot ask for it.",
                hint="Nothing was sent. Ask the user to do it, or to use a client that supports "
                "elicitation.",
            )
        message = needed.question
        if not is_version_at_least(ctx.protocol_version, MULTI_ROUND):
            result = await ctx.session.elicit_form(message, _FORM, ctx.request_id)
            _settle(params, result)
            return None
        call = (params.name, json.dumps(params.arguments or {}, sort_keys=True))
        asked = self._open.pop(params.request_state or "", None)
        if asked is None or asked != call:
            # A made-up, used or foreign answer is none: the question is put again.
            return self._question(call, message)
        _settle(params, (params.input_responses or {}).get(ANSWER))
        return None

    def _question(self, call: tuple[str, str], message: str) -> types.InputRequiredResult:
        handle = secrets.token_urlsafe(24)
        self._open[handle] = call
        while len(self._open) > OPEN_QUESTIONS:
            self._open.popitem(last=False)
        form = types.ElicitRequestFormParams(message=message, requested_schema=_FORM)
        return types.InputRequiredResult(
            input_requests={ANSWER: types.ElicitRequest(params=form)}, request_state=handle
        )


def _can_ask(ctx: ServerRequestContext[Any, Any]) -> bool:
    capabilities = ctx.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    # An empty object is how clients declared forms before there were modes.
    forms = elicitation is not None and (elicitation.form is not None or elicitation.url is None)
    if is_version_at_least(ctx.protocol_version, MULTI_ROUND):
        return forms
    return forms and ctx.session.can_send_request


def _settle(params: types.CallToolRequestParams, answer: Any) -> None:
    if (
        isinstance(answer, types.ElicitResult)
        and answer.action == "accept"
        and (answer.content or {}).get(ANSWER) is True
    ):
        return
    raise NotAllowed(
        f"A person was asked about {params.name} and did not say yes.",
        hint="Nothing was sent. Do not try it again unless the user asks for it.",
    )
