"""The HTTP endpoint of a worker: ``POST /hooks/NAME``, ``GET /metrics``, ``GET /healthz``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sim_devin.errors import CallerError, CredentialsError, StoreError
from sim_devin.service.hooks import Hook
from sim_devin.service.metrics import Metrics
from sim_devin.service.starts import start_once
from sim_devin.specs.json_input import read_json

if TYPE_CHECKING:
    from sim_devin.app import App

LARGEST_BODY = 2 * 1024 * 1024  # bytes of a delivery
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

log = logging.getLogger(__name__)


def application(app: App, hooks: Mapping[str, Hook], metrics: Metrics) -> Starlette:
    """Return the endpoint as an ASGI application; runs go into the store of `app`."""

    async def deliver(request: Request) -> Response:
        hook = hooks.get(request.path_params["name"])
        if hook is None:
            return _refused(404, "No such hook.")
        body = await _body(request)
        if body is None:
            return _refused(413, f"A delivery may have at most {LARGEST_BODY} bytes.")
        headers = dict(request.headers)
        if not hook.accepts(headers, body, app.clock.time()):
            return _refused(401, "Not accepted.")
        if hook.style == "github" and headers.get("x-github-event") == "ping":
            return JSONResponse({"ok": True})  # GitHub's way to try a hook out
        try:
            payload = read_json(body, "The body")
        except CallerError as error:
            return _refused(400, str(error))
        return await run_in_threadpool(_start, app, hook, hook.run_id(headers, body), payload)

    def read_metrics(_: Request) -> Response:
        try:
            return Response(metrics.text(), headers={"content-type": METRICS_TYPE})
        except StoreError:
            return _refused(503, "The store cannot be read.")

    def health(_: Request) -> Response:
        try:
            app.runs.store.is_any("ready")
        except StoreError:
            return _refused(503, "The store cannot be read.")
        return JSONResponse({"ok": True})

    return Starlette(
        routes=[
            Route("/hooks/{name}", deliver, methods=["POST"]),
            Route("/metrics", read_metrics),
            Route("/healthz", health),
        ]
    )


async def _body(request: Request) -> bytes | None:
    """Return the body, or None as soon as it proves too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            return None
    return bytes(body)


def _start(app: App, hook: Hook, run_id: str, payload: Any) -> Response:
    """Start the run unless this delivery did so before, here or in another worker."""
    try:
        started = start_once(app, hook.workflow, payload, run_id, delivered=True)
    except StoreError:
        return _refused(503, "The run cannot be recorded at the moment.")
    except (CallerError, CredentialsError) as error:
        log.warning("hook %s cannot start its workflow: %s", hook.name, error)
        return _refused(422, "The workflow cannot be started with this body; see the worker's log.")
    return JSONResponse({"runId": run_id}, status_code=202 if started else 200)


def _refused(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)
