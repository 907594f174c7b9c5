"""The simulator as an ASGI application, without a framework."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, quote

from sim_devin.simulator.answers import Answer, Problem, failure
from sim_devin.simulator.api import LARGEST_BODY
from sim_devin.simulator.control import CONTROL, control
from sim_devin.simulator.simulator import Simulator

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def app(simulator: Simulator, *, control: bool = True) -> Callable[[Scope, Receive, Send], Any]:
    """Return `simulator` as an ASGI application, with its control endpoints unless told not.

    ASGI has no word for a broken connection. The application aborts the transport of uvicorn;
    under other servers it ends the answer too early, after the head.
    """

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await _serve(simulator, control, scope, receive, send)

    return application


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _serve(
    simulator: Simulator, controlled: bool, scope: Scope, receive: Receive, send: Send
) -> None:
    raw_path = scope.get("raw_path")
    path = raw_path.decode("latin-1").partition("?")[0] if raw_path else quote(scope["path"])
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    body = await _body(receive)
    if body is None:
        problem = Problem(413, f"Body is larger than {LARGEST_BODY} bytes")
        answer = failure(problem, path)
    elif controlled and path.startswith(CONTROL):
        client = scope.get("client")
        peer = client[0] if client else None
        answer = control(simulator, scope["method"], path, headers, body, peer)
    else:
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        answer = simulator.handle(scope["method"], path, query, headers, body)
    await _deliver(answer, scope["method"], receive, send)


async def _body(receive: Receive) -> bytes | None:
    """Return the request's body, or None when it is too large."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(chunks)
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size <= LARGEST_BODY:
            chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks) if size <= LARGEST_BODY else None


async def _deliver(answer: Answer, method: str, receive: Receive, send: Send) -> None:
    if answer.fault == "timeout":
        await _stay_silent(receive, answer.delay)
    elif answer.delay:
        await asyncio.sleep(answer.delay)
    if answer.fault in ("reset", "timeout") and _abort(send):
        await _stay_silent(receive, 1.0)  # lets the server notice, or it would answer 500
        return
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in answer.headers.items()
    ]
    length = str(max(1, len(answer.body)) if answer.fault else len(answer.body))
    headers.append((b"content-length", length.encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.fault is None:
        body = b"" if method == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})
        return
    half = answer.body[: len(answer.body) // 2] if answer.fault == "truncate" else b""
    await send({"type": "http.response.body", "body": half, "more_body": True})
    # Returning now leaves the answer incomplete, on which a server closes the connection.


async def _stay_silent(receive: Receive, seconds: float) -> None:
    """Wait until the client hangs up, but no longer than `seconds`."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(gone(), seconds)
    except TimeoutError:
        return


def _abort(send: Send) -> bool:
    """Reset the connection if the server is one whose `send` shows its transport."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        return False
    transport.abort()
    return True
