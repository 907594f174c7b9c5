"""Ask a person something through the MCP client, in both eras of the protocol."""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp_types.version import is_version_at_least

from sim_devin.errors import NotAllowed

MULTI_ROUND = "2026-07-28"  # from here on questions travel in the call's own answer
ANSWER = "answer"
OPEN_QUESTIONS = 1000

Context = ServerRequestContext[Any, Any]


class Questions:
    """Questions that were asked and not answered yet. Each answer counts once."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, tuple[str, str, str]] = OrderedDict()

    async def ask(
        self,
        ctx: Context,
        params: types.CallToolRequestParams,
        message: str,
        form: Mapping[str, Any],
        *,
        about: str = "",
    ) -> types.InputRequiredResult | types.ElicitResult:
        """Return the person's answer, or the question to send to the client.

        Args:
            ctx: the request.
            params: the call that waits for the answer, which is good for no other one.
            message: what is asked.
            form: JSON Schema of the answer: an object of texts, numbers and booleans.
            about: what the answer is for, where the call alone does not say it.

        Raises:
            NotAllowed: the client cannot ask.
        """
        if not can_ask(ctx):
            raise NotAllowed(
                f"{params.name} requires a person, and this client does not support elicitation."
            )
        if not is_version_at_least(ctx.protocol_version, MULTI_ROUND):
            return await ctx.session.elicit_form(message, dict(form), ctx.request_id)
        call = (params.name, json.dumps(params.arguments or {}, sort_keys=True), about)
        asked = self._open.pop(params.request_state or "", None)
        answer = (params.input_responses or {}).get(ANSWER)
        if asked == call and isinstance(answer, types.ElicitResult):
            return answer
        # A made-up, used or foreign answer is none: the question is put again.
        return self._question(call, message, form)

    def _question(
        self, call: tuple[str, str, str], message: str, form: Mapping[str, Any]
    ) -> types.InputRequiredResult:
        handle = secrets.token_urlsafe(24)
        self._open[handle] = call
        while len(self._open) > OPEN_QUESTIONS:
            self._open.popitem(last=False)
        asked = types.ElicitRequestFormParams(message=message, requested_schema=dict(form))
        return types.InputRequiredResult(
            input_requests={ANSWER: types.ElicitRequest(params=asked)}, request_state=handle
        )


def can_ask(ctx: Context) -> bool:
    """Return whether the client can put a form to a person."""
    capabilities = ctx.session.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    # An empty object is how clients declared forms before there were modes.
    forms = elicitation is not None and (elicitation.form is not None or elicitation.url is None)
    if is_version_at_least(ctx.protocol_version, MULTI_ROUND):
        return forms
    return forms and ctx.session.can_send_request
