"""Who may talk to the canvas: pages it served itself, with the token it was started with.

A server on loopback is reachable by every page the user has open and by every user of the
machine, so nothing is trusted for where it comes from. The token travels in a header and
nowhere else: a cookie set for 127.0.0.1 is sent to every port of it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

API = "/api/"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
LARGEST_BODY = 8 * 1024 * 1024  # bytes; a workflow of 500 blocks is about one MiB

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """ASGI middleware that turns away what did not come from the canvas's own page.

    Args:
        app: what is guarded.
        token: what requests below ``/api/`` have to show.
        hosts: the only values of the Host header that are served, with their port. A name
            that resolves here by DNS rebinding is none of them.
    """

    def __init__(self, app: ASGIApp, *, token: str, hosts: Iterable[str]) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = frozenset(hosts)
        self._origins = frozenset(f"http://{host}" for host in self._hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                if scope["path"].startswith(API):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        refusal = self._refusal(scope)
        app = self._app if refusal is None else refusal
        await app(scope, receive, send_hardened)

    def _refusal(self, scope: MutableMapping[str, Any]) -> JSONResponse | None:
        headers = Headers(scope=scope)
        if headers.get("host", "") not in self._hosts:
            return _refused(421, "This address is not served.")
        if not scope["path"].startswith(API):
            return None
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return _refused(403, "Only the canvas page may request this.")
        if headers.get("origin") not in (None, *self._origins):
            return _refused(403, "Only the canvas page may request this.")
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            given.strip().encode("utf-8", "surrogateescape"), self._token
        ):
            return _refused(
                401,
                "The token is missing or wrong.",
                hint="Open the address printed by sim-devin serve.",
            )
        if scope["method"] not in SAFE_METHODS:
            if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                return _refused(415, "The body must be JSON.")
            length = headers.get("content-length", "0")
            chunked = "transfer-encoding" in headers
            is_number = length.isdecimal() and len(length) < 20
            if chunked or not is_number or int(length) > LARGEST_BODY:
                return _refused(413, f"The body may have at most {LARGEST_BODY} bytes.")
        return None


def _refused(status: int, message: str, *, hint: str = "") -> JSONResponse:
    error = {"type": "Refused", "message": message, "hint": hint}
    return JSONResponse({"error": error}, status)
