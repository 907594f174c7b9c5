"""A session's transcript as an MCP resource."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from sim_devin.app import App
from sim_devin.calls.paging import pages
from sim_devin.devin.verdict import acus
from sim_devin.errors import SimDevinError
from sim_devin.mcp import worker as mcp_worker
from sim_devin.text import whole

TEMPLATE = "devin://sessions/{sessionId}/transcript"
PAGES = 50  # pages of 200 messages; the rest is said to be left out

_ADDRESS = re.compile(r"devin://sessions/([^/?#]+)/transcript")
_TOOLS = ("devin_get_session", "devin_list_session_messages")

Context = ServerRequestContext[Any, Any]


class Transcript:
    """Reads transcripts, where the policy lets the tools that this takes be called unasked."""

    def __init__(
        self, app: App, lets: Callable[[str], bool], limiter: anyio.CapacityLimiter
    ) -> None:
        self._app = app
        self._offered = all(map(lets, _TOOLS))
        self._limiter = limiter

    async def list(
        self, _ctx: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        """Return no resources: which sessions there are is a question for a tool."""
        return types.ListResourcesResult(resources=[])

    async def templates(
        self, _ctx: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        """Return the address of a transcript."""
        template = types.ResourceTemplate(
            name="session_transcript",
            title="Transcript of a session",
            uri_template=TEMPLATE,
            description="The messages of a Devin session, oldest first, and its state.",
            mime_type="text/markdown",
        )
        offered = [template] if self._offered else []
        return types.ListResourceTemplatesResult(resource_templates=offered)

    async def read(
        self, ctx: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        """Return the transcript of a session.

        Raises:
            MCPError: the address is none of a transcript, or it could not be read.
        """
        match = _ADDRESS.fullmatch(str(params.uri)) if self._offered else None
        if match is None:
            message = f"No such resource; a transcript is at {TEMPLATE}."
            raise MCPError(code=types.INVALID_PARAMS, message=message)
        session_id = unquote(match[1])

        def work(*, cancel: threading.Event, on_progress: Callable[[Any], None]) -> str:
            text = "\n".join(self._lines(session_id, cancel, on_progress))
            return self._app.redactor.text(text, queries=False)

        async def report(gone: float, words: str) -> None:
            await ctx.session.report_progress(gone, None, words)

        try:
            text = await mcp_worker.in_thread(work, report, self._limiter)
        except SimDevinError as error:
            message = self._app.redactor.text(str(error))
            raise MCPError(code=types.INVALID_PARAMS, message=message) from None
        content = types.TextResourceContents(
            uri=str(params.uri), mime_type="text/markdown", text=whole(text)
        )
        return types.ReadResourceResult(contents=[content])

    def _lines(
        self, session_id: str, cancel: threading.Event, on_progress: Callable[[Any], None]
    ) -> Iterator[str]:
        session = self._app.call("devin_get_session", {"sessionId": session_id}, cancel=cancel)
        yield f"# {session['title'] or session['sessionId']}"
        yield ""
        state = "/".join(filter(None, (session["status"], session["statusDetail"])))
        yield f"{session['url']} · {state} · {acus(session) or 0:g} ACUs"

        def fetch(after: str | None) -> Mapping[str, Any]:
            more = {} if after is None else {"after": after}
            request = {"sessionId": session_id, "limit": 200, **more}
            return self._app.call("devin_list_session_messages", request, cancel=cancel)

        for number, page in enumerate(pages(fetch), 1):
            for message in page["messages"]:
                yield from _message(message)
            if number == PAGES and page["hasNextPage"]:
                yield f"\n(The first {PAGES * 200} messages; later ones are omitted.)"
                return
            on_progress(f"page {number}")


def _message(message: Mapping[str, Any]) -> Iterator[str]:
    at = message["createdAt"]
    when = ""
    if isinstance(at, (int, float)):
        when = f", {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    yield f"\n**{message['source'] or 'unknown'}**{when}\n"
    yield str(message["message"] or "")
