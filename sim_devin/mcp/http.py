"""Serve the MCP server over HTTP: loopback, with a bearer token, to known hosts and origins."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from mcp.server import Server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from sim_devin.errors import CallerError
from sim_devin.service.http_server import http_server, listening

PATH = "/mcp"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class RequireToken:
    """Lets requests through that carry the token; a wrong one costs as much time as a right one."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, with 401 unless it carries the token."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        if len(given) == 1 and hmac.compare_digest(given[0], self._wanted):
            await self._app(scope, receive, send)
            return
        body = {"error": "invalid_token", "error_description": "Send Authorization: Bearer TOKEN."}
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        await JSONResponse(body, 401, challenge)(scope, receive, send)


def http_app(
    server: Server[Any],
    *,
    token: str | None,
    host: str = "127.0.0.1",
    hosts: Iterable[str] = (),
    origins: Iterable[str] = (),
) -> ASGIApp:
    """Return the ASGI app that serves `server` at ``/mcp``.

    Args:
        server: from `mcp_server.build`.
        token: what clients have to send as ``Authorization: Bearer``; None for no token, which
            only a loopback address may have.
        host: the address it will listen on.
        hosts: further names that clients may know it by, with a port or ``:*``.
        origins: web origins that may use it, with a port or ``:*``; those of this machine may.

    Raises:
        CallerError: other machines could reach it and there is no token.
    """
    if token is None and not is_loopback(host):
        raise CallerError(
            f"{host} can be reached from other machines.",
            hint="Omit --no-token, or listen on 127.0.0.1.",
        )
    known = LOOPBACK if is_loopback(host) else (*LOOPBACK, f"[{host}]" if ":" in host else host)
    security = TransportSecuritySettings(
        allowed_hosts=[*(f"{name}:*" for name in known), *hosts],
        allowed_origins=[*(f"http://{name}:*" for name in LOOPBACK), *origins],
    )
    app = server.streamable_http_app(
        streamable_http_path=PATH, transport_security=security, host=host
    )
    return app if token is None else RequireToken(app, token)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(app: ASGIApp, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until a signal stops it, telling `ready` the address of the endpoint.

    Raises:
        CallerError: the address cannot be used.
    """
    with listening(host, port) as listener:
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{listener.getsockname()[1]}{PATH}")
        http_server(app, lifespan=True, grace=5).run(sockets=[listener])
