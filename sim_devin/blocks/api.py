"""The API block: one HTTP request through the app's transport."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.blocks.table import table_pairs
from sim_devin.calls.request import Request, encode_query
from sim_devin.calls.response import Response, api_error
from sim_devin.engine.contract import BlockContext, BlockError, handler
from sim_devin.engine.references import MISSING, parse_json, value_text
from sim_devin.errors import SimDevinError
from sim_devin.specs.schema import number

TIMEOUT = 300.0  # seconds

_PHRASES = {
    400: "The request was invalid",
    401: "Authentication is required or has failed",
    403: "The request was refused",
    404: "The requested resource was not found",
    429: "Too many requests",
    500: "The server failed",
    502: "The server's upstream failed",
    503: "The service is unavailable",
}


@handler()
def api(block: BlockContext) -> dict[str, Any]:
    """Send the request; return data, status and headers of the answer."""
    request = build(block.values)
    if request is None:
        return {"data": None, "status": 200, "headers": {}}
    if block.transport is None:
        raise BlockError("there is no transport to send the request with", retry=False)
    try:
        answer: Response = block.transport.send(request, timeout=_timeout(block))
    except SimDevinError as error:
        raise BlockError(
            _failed(request, error.message),
            output=_nothing(),
            hint=error.hint,
            retry=not (error.means.uncertain or error.means.final),
        ) from error
    if not 200 <= answer.status < 300:
        text = _said(answer)
        status = f"Status: {answer.status} - {_PHRASES.get(answer.status, 'The request failed')}"
        raise BlockError(f"{_failed(request, text)} | {status}", output=_nothing())
    return {"data": _data(answer), "status": answer.status, "headers": dict(answer.headers)}


def _nothing() -> dict[str, Any]:
    return {}


def build(values: Mapping[str, Any]) -> Request | None:
    """Return the request of a block's values, None for a blank URL."""
    url = str(values.get("url") or "").strip()
    if len(url) > 1 and url[0] == url[-1] and url[0] in "\"'":
        url = url[1:-1]
    if not url:
        return None
    if not url.startswith(("https://", "http://")):
        raise BlockError(
            f"Invalid URL {url[:80]!r}: it must start with https:// or http://", retry=False
        )
    query = encode_query(table_pairs(values.get("params")))
    if query:
        url += ("&" if "?" in url else "?") + query
    headers = {key: value_text(value) for key, value in table_pairs(values.get("headers"))}
    method = str(values.get("method") or "GET").upper()
    body = values.get("body")
    if method in ("GET", "HEAD") or body in (None, ""):
        return Request(method, url, headers)
    parsed = parse_json(body) if isinstance(body, str) else body
    if not any(name.lower() == "content-type" for name in headers):
        kind = "text/plain; charset=utf-8" if parsed is MISSING else "application/json"
        headers["Content-Type"] = kind
    return Request(method, url, headers, body if parsed is MISSING else parsed)


def _said(answer: Response) -> str:
    target = answer.headers.get("location")
    if target is not None and 300 <= answer.status < 400:
        return f"a redirect to {target.partition('?')[0]} was not followed"
    reason = api_error(answer)
    return reason.detail or reason.message


def _timeout(block: BlockContext) -> float:
    value = block.values.get("timeout")
    asked = number(value) if isinstance(value, str) else value
    seconds = asked / 1000 if isinstance(asked, (int, float)) and asked > 0 else TIMEOUT
    remaining = block.remaining()
    return seconds if remaining is None else max(0.1, min(seconds, remaining))


def _failed(request: Request, reason: str) -> str:
    url = request.url.partition("?")[0]
    return f"HTTP Request failed: URL: {url} | Method: {request.method} | Error: {reason}"


def _data(answer: Response) -> Any:
    text = answer.body.decode("utf-8-sig", "replace")
    if "json" not in answer.headers.get("content-type", ""):
        return text
    parsed = parse_json(text)
    return text if parsed is MISSING else parsed
