"""The transcript of a job, such as a Devin session, as an MCP resource."""

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
from sim_devin.errors import SimDevinError
from sim_devin.mcp import worker as mcp_worker
from sim_devin.specs.jobs import JobMessages, JobSpec, seconds
from sim_devin.text import whole

PAGES = 50  # pages of messages; the rest is said to be left out

Context = ServerRequestContext[Any, Any]


class Transcript:
    """Reads transcripts, where the policy lets the tools that this takes be called unasked."""

    def __init__(
        self, app: App, lets: Callable[[str], bool], limiter: anyio.CapacityLimiter
    ) -> None:
        self._app = app
        self._offered = {
            job.transcript: job
            for job in app.registry.jobs.values()
            if job.transcript
            and job.messages is not None
            and lets(job.look.tool)
            and lets(job.messages.tool)
        }
        self._limiter = limiter

    async def list(
        self, _ctx: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        """Return no resources: which sessions there are is a question for a tool."""
        return types.ListResourcesResult(resources=[])

    async def templates(
        self, _ctx: Context, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        """Return the addresses of transcripts, one for each kind of job."""
        templates = [
            types.ResourceTemplate(
                name=f"{job.noun}_transcript",
                title=f"Transcript of a {job.noun}",
                uri_template=address.replace("{id}", f"{{{job.fields.id}}}"),
                description=f"The messages of a {job.title}, oldest first, and its state.",
                mime_type="text/markdown",
            )
            for address, job in self._offered.items()
        ]
        return types.ListResourceTemplatesResult(resource_templates=templates)

    async def read(
        self, ctx: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        """Return the transcript of a session.

        Raises:
            MCPError: the address is none of a transcript, or it could not be read.
        """
        job, job_id = self._asked(str(params.uri))

        def work(*, cancel: threading.Event, on_progress: Callable[[Any], None]) -> str:
            text = "\n".join(self._lines(job, job_id, cancel, on_progress))
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

    def _asked(self, uri: str) -> tuple[JobSpec, str]:
        """Return of which job an address is the transcript.

        Raises:
            MCPError: of none.
        """
        for address, job in self._offered.items():
            before, _, after = address.partition("{id}")
            pattern = f"{re.escape(before)}([^/?#]+){re.escape(after)}"
            if match := re.fullmatch(pattern, uri):
                return job, unquote(match[1])
        known = " or ".join(self._offered)
        message = f"No such resource; a transcript is at {known}." if known else "No such resource."
        raise MCPError(code=types.INVALID_PARAMS, message=message)

    def _lines(
        self,
        job: JobSpec,
        job_id: str,
        cancel: threading.Event,
        on_progress: Callable[[Any], None],
    ) -> Iterator[str]:
        spec = job.messages
        assert spec is not None  # noqa: S101 - only such kinds are offered
        found = self._app.call(job.look.tool, {job.look.id: job_id}, cancel=cancel)
        yield f"# {job.field(found, 'title') or job.id_of(found) or job_id}"
        yield ""
        state = "/".join(filter(None, (job.field(found, "state"), job.field(found, "detail"))))
        cost = f" · {job.cost_of(found) or 0:g} {job.unit}" if job.fields.cost else ""
        yield f"{job.field(found, 'url') or job_id} · {state}{cost}"

        def fetch(after: str | None) -> Mapping[str, Any]:
            more = {} if after is None else {"after": after}
            request = {spec.id: job_id, **spec.with_, **more}
            return self._app.call(spec.tool, request, cancel=cancel)

        count = 0
        for number, page in enumerate(pages(fetch), 1):
            for message in page[spec.items]:
                count += 1
                yield from _message(spec, message)
            if number == PAGES and page.get("hasNextPage"):
                yield f"\n(The first {count} messages; later ones are omitted.)"
                return
            on_progress(f"page {number}")


def _message(spec: JobMessages, message: Mapping[str, Any]) -> Iterator[str]:
    at, when = seconds(message.get(spec.at)), ""
    if at is not None:
        when = f", {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    yield f"\n**{message.get(spec.author) or 'unknown'}**{when}\n"
    yield str(message.get(spec.text) or "")
