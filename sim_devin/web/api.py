"""The canvas's API: JSON over the registry, the workflows of a folder, secrets and runs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from sim_devin.app import App
from sim_devin.engine import workflow_check
from sim_devin.engine.problem import Problem
from sim_devin.errors import (
    CallerError,
    SimDevinError,
    UnknownName,
)
from sim_devin.runs.services import AppServices
from sim_devin.runs.starting import RunRequest
from sim_devin.secret_names import PATTERNS
from sim_devin.web import secret_fields
from sim_devin.web.acts import Acts
from sim_devin.web.answer import ApiResponse
from sim_devin.web.catalog import catalog
from sim_devin.web.documents import Folder
from sim_devin.web.endpoints import Endpoints
from sim_devin.web.guard import Guard
from sim_devin.web.page import Page
from sim_devin.web.runs import RunBoard
from sim_devin.web.secret_store import SecretStore


@dataclass(frozen=True)
class ApiContext:
    """What the page is told about where it runs."""

    simulated: bool = False
    speed: float = 1.0
    templates: Path | None = None


class Api:
    """The endpoints. Every answer is masked; documents keep their secrets on this side."""

    def __init__(
        self,
        app: App,
        folder: Folder,
        secrets: SecretStore,
        surroundings: ApiContext,
        *,
        allow_python: bool = False,
    ) -> None:
        self._app = app
        self._folder = folder
        self._secrets = secrets
        self._surroundings = surroundings
        self._templates = Folder(surroundings.templates) if surroundings.templates else None
        self._secret_ids: dict[str, frozenset[str] | None] = {}
        self.runs = RunBoard(app, secrets.values, folder.path, allow_python=allow_python)
        self._endpoints = Endpoints(Acts(app.runs.store), self._masked)

    def routes(self) -> list[Route]:
        """Return the routes below ``/api``."""
        table: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", "/api/info", self._info),
            ("GET", "/api/blocks", self._blocks),
            ("POST", "/api/check", self._check),
            ("GET", "/api/workflows", self._list),
            ("GET", "/api/workflows/{name}", self._read),
            ("PUT", "/api/workflows/{name}", self._write),
            ("DELETE", "/api/workflows/{name}", self._delete),
            ("POST", "/api/workflows/{name}/rename", self._rename),
            ("GET", "/api/templates", self._list_templates),
            ("GET", "/api/templates/{name}", self._read_template),
            ("GET", "/api/secrets", self._list_secrets),
            ("PUT", "/api/secrets/{name}", self._put_secret),
            ("DELETE", "/api/secrets/{name}", self._delete_secret),
            ("GET", "/api/runs", self._list_runs),
            ("POST", "/api/runs", self._start),
            ("GET", "/api/runs/{run}", self._run),
            ("GET", "/api/runs/{run}/logs/{order}", self._log),
            ("POST", "/api/runs/{run}/stop", self._stop),
            ("POST", "/api/runs/{run}/resume", self._resume),
            ("POST", "/api/runs/{run}/answer", self._answer),
            ("GET", "/api/runs/{run}/messages", self._messages),
            ("POST", "/api/runs/{run}/messages", self._send_message),
            ("GET", "/api/runs/{run}/sessions", self._sessions),
            ("POST", "/api/runs/{run}/sessions/{session}/end", self._end_session),
        ]
        reading = (self._check,)
        costing = (self._start, self._resume, self._answer, self._send_message)
        routes = [
            Route(
                path,
                self._endpoints.of(
                    act,
                    acts=method != "GET" and act not in reading,
                    costs=act in costing,
                    too_much=self._too_much if act in reading else None,
                ),
                methods=[method],
            )
            for method, path, act in table
        ]
        return [*routes, Route("/api/runs/{run}/events", self._events)]

    # -- registry ----------------------------------------------------------------------------

    def _info(self, _request: Request, _body: Any) -> dict[str, Any]:
        env = self._app.environment()
        stored = self._secrets.names
        wanted = dict.fromkeys(
            field.env
            for connection in self._app.registry.connections.values()
            for field in connection.fields.values()
        )
        return {
            "version": version("sim-devin"),
            "folder": self._folder.path.name,
            "simulated": self._surroundings.simulated,
            "speed": self._surroundings.speed,
            "variables": [
                {"name": name, "set": name in env or name in stored, "stored": name in stored}
                for name in dict.fromkeys([*wanted, *stored])
            ],
            "secretNames": list(PATTERNS),
        }

    def _blocks(self, _request: Request, _body: Any) -> dict[str, Any]:
        broken = [plugin.name for plugin in self._app.registry.report if plugin.state == "broken"]
        return {"blocks": catalog(self._app.registry), "broken": broken}

    def _check(self, _request: Request, body: Any) -> dict[str, Any]:
        if "document" not in body:
            raise CallerError("The request contains no workflow.")
        if not isinstance(body["document"], Mapping):
            return self._too_much("A workflow must be a JSON object.")
        try:
            document, _ = self._given(body)
        except SimDevinError:  # the file cannot be read; what the page has can be checked
            document, _ = self._given({**body, "workflow": None})
        env = {**self._app.environment(), **self._secrets.values()}
        found = workflow_check.check(document, AppServices(self._app), env=env)
        return self._masked({"problems": [_with_field(problem) for problem in found]})

    def _too_much(self, why: str) -> dict[str, Any]:
        return {"problems": [_with_field(Problem(why))]}

    # -- workflows ---------------------------------------------------------------------------

    def _list(self, _request: Request, _body: Any) -> dict[str, Any]:
        return {"workflows": self._folder.names()}

    def _read(self, request: Request, _body: Any) -> Response:
        found = self._folder.read(request.path_params["name"])
        content = secret_fields.masked(found.content, self._secret_fields)
        return ApiResponse(
            {"name": found.name, "document": content}, headers={"ETag": f'"{found.etag}"'}
        )

    def _write(self, request: Request, body: Any) -> Response:
        name = request.path_params["name"]
        etag = request.headers.get("if-match", "").strip('"') or None
        if etag is None and request.headers.get("if-none-match") != "*":
            raise CallerError("A change must name the version it replaces.", hint="Send If-Match.")
        stored = None if etag is None else self._folder.read(name).content
        content = secret_fields.restored(body.get("document"), stored, self._secret_fields)
        written = self._folder.write(name, content, etag=etag)
        return ApiResponse({"name": name}, headers={"ETag": f'"{written}"'})

    def _delete(self, request: Request, _body: Any) -> dict[str, Any]:
        etag = request.headers.get("if-match", "").strip('"')
        self._folder.delete(request.path_params["name"], etag=etag)
        return {}

    def _rename(self, request: Request, body: Any) -> dict[str, Any]:
        etag = request.headers.get("if-match", "").strip('"')
        old, name = request.path_params["name"], str(body.get("to") or "").strip()
        self._folder.rename(old, name, etag=etag)
        self.runs.files.rename(old, name)
        return {"name": name}

    def _list_templates(self, _request: Request, _body: Any) -> dict[str, Any]:
        if self._templates is None:
            return {"templates": []}
        listed = []
        for name in self._templates.names():
            content = self._templates.read(name).content
            about = content.get("state", {}).get("metadata", {})
            listed.append(
                {
                    "name": name,
                    "title": about.get("name") or name.replace("_", " "),
                    "description": about.get("description") or "",
                }
            )
        return {"templates": listed}

    def _read_template(self, request: Request, _body: Any) -> dict[str, Any]:
        name = request.path_params["name"]
        if self._templates is None:
            raise UnknownName("template", name, ())
        return {"document": self._templates.read(name).content}

    # -- secrets -----------------------------------------------------------------------------

    def _list_secrets(self, _request: Request, _body: Any) -> dict[str, Any]:
        return {"secrets": self._secrets.names}

    def _put_secret(self, request: Request, body: Any) -> dict[str, Any]:
        self._secrets.put(request.path_params["name"], str(body.get("value") or ""))
        return {"secrets": self._secrets.names}

    def _delete_secret(self, request: Request, _body: Any) -> dict[str, Any]:
        self._secrets.delete(request.path_params["name"])
        return {"secrets": self._secrets.names}

    # -- runs --------------------------------------------------------------------------------

    def _list_runs(self, request: Request, _body: Any) -> dict[str, Any]:
        return {"runs": self.runs.all(before=request.query_params.get("before"))}

    def _start(self, request: Request, body: Any) -> Response:
        document, literals = self._given(body)
        for name in ("fromBlock", "earlier", "stopAfter"):
            if not isinstance(body.get(name), str | None):
                raise CallerError(f"{name} must be an id.")
        for name in ("deadline", "maxAcu", "maxSessions"):
            if body.get(name) is not None and not _is_above_zero(body[name]):
                raise CallerError(f"{name} must be a number above 0.")
        asked = RunRequest(
            workflow=document,
            inputs=body.get("inputs"),
            from_block=body.get("fromBlock"),
            stop_after=body.get("stopAfter"),
            deadline=body.get("deadline"),
            max_acu=body.get("maxAcu"),
            max_sessions=body.get("maxSessions"),
        )
        run = self.runs.start(
            asked,
            file=str(body.get("workflow") or ""),
            literals=literals,
            earlier=body.get("earlier"),
            key=request.state.key,
        )
        return ApiResponse(run, 201)

    def _run(self, request: Request, _body: Any) -> dict[str, Any]:
        return self.runs.get(request.path_params["run"])

    def _log(self, request: Request, _body: Any) -> dict[str, Any]:
        order = _small_number(request.path_params["order"])
        if order is None:
            raise UnknownName("log entry", request.path_params["order"], ())
        return self.runs.feed(request.path_params["run"]).log(order)

    def _stop(self, request: Request, _body: Any) -> dict[str, Any]:
        return self.runs.stop(request.path_params["run"])

    def _resume(self, request: Request, _body: Any) -> dict[str, Any]:
        return self.runs.resume(request.path_params["run"])

    def _answer(self, request: Request, body: Any) -> dict[str, Any]:
        return self.runs.answer(
            request.path_params["run"],
            body.get("answer"),
            context_id=body.get("contextId"),
            number=body.get("question"),
        )

    def _messages(self, request: Request, _body: Any) -> dict[str, Any]:
        asked = request.query_params
        return self.runs.messages(
            request.path_params["run"], asked.get("block", ""), asked.get("session", "")
        )

    def _send_message(self, request: Request, body: Any) -> dict[str, Any]:
        return self.runs.say(
            request.path_params["run"],
            str(body.get("block") or ""),
            str(body.get("session") or ""),
            body.get("message"),
            key=request.state.key,
            seen=body.get("seen"),
        )

    def _sessions(self, request: Request, _body: Any) -> dict[str, Any]:
        return {"sessions": self.runs.sessions.all(request.path_params["run"])}

    def _end_session(self, request: Request, _body: Any) -> dict[str, Any]:
        return self.runs.sessions.end(request.path_params["run"], request.path_params["session"])

    async def _events(self, request: Request) -> Response:
        try:
            told = await run_in_threadpool(self.runs.feed, request.path_params["run"])
        except SimDevinError as error:
            return self._endpoints.failed(error)
        last = request.headers.get("last-event-id") or request.query_params.get("after") or "0"

        async def stream() -> AsyncIterator[str]:
            async for item in told.feed.follow(_small_number(last) or 0):
                if item is None:
                    yield ": still here\n\n"
                else:
                    number, event = item
                    yield f"id: {number}\ndata: {json.dumps(event, default=str)}\n\n"

        return StreamingResponse(stream(), media_type="text/event-stream")

    # -- inside ------------------------------------------------------------------------------

    def _masked(self, data: dict[str, Any]) -> dict[str, Any]:
        masked: dict[str, Any] = self.runs.redactor().data(data)
        return masked

    def _given(self, body: Any) -> tuple[Mapping[str, Any], list[str]]:
        """Return the document of a request with its secrets, and those secrets."""
        document = body.get("document")
        if not isinstance(document, Mapping):
            raise CallerError("The request contains no workflow.")
        name, stored = body.get("workflow"), None
        if name and name in self._folder.names():
            stored = self._folder.read(name).content
        whole = secret_fields.restored(document, stored, self._secret_fields)
        return whole, secret_fields.values(whole, self._secret_fields)

    def _secret_fields(self, block_type: str) -> frozenset[str] | None:
        """Return the ids of a block type's secret fields; None for an unknown type."""
        if block_type not in self._secret_ids:
            known = block_type in self._app.registry.blocks
            form = self._app.registry.form(block_type) if known else ()
            ids = frozenset(item.id for item in form if item.secret)
            self._secret_ids[block_type] = ids if known else None
        return self._secret_ids[block_type]


def _with_field(problem: Problem) -> dict[str, Any]:
    """Return a problem with the id of the field it points at, if it points at one."""
    _, _, field = problem.place.rpartition(".") if problem.block_id else ("", "", "")
    return {**problem.to_json(), "field": field if " " not in field else ""}


def _is_above_zero(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9


def _small_number(text: str) -> int | None:
    """Return the number that a part of an address is; None if it is none, or too long."""
    return int(text) if text.isdecimal() and len(text) < 20 else None


def application(api: Api, *, token: str, hosts: list[str], page: Page | None = None) -> ASGIApp:
    """Return the guarded ASGI application of a canvas.

    Its lifespan drives the runs of the store, and gives them back when the server ends.
    """
    page = page or Page()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await run_in_threadpool(api.runs.open)
        try:
            yield
        finally:
            await run_in_threadpool(api.runs.close)

    routes = [*api.routes(), Route("/", page.serve), Route("/{path:path}", page.serve)]
    return Guard(Starlette(routes=routes, lifespan=lifespan), token=token, hosts=hosts)
