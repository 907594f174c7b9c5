"""The API block: one HTTP request through the app's transport.

What Sim does with the same fields: docs/workflows.md says where this differs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sim_devin.blocks.http_body import body_of, field_text
from sim_devin.blocks.table import table_pairs
from sim_devin.calls.request import VERSION, Request
from sim_devin.calls.response import Response, api_error, retry_after
from sim_devin.engine.contract import BlockContext, BlockError, handler
from sim_devin.engine.references import MISSING, parse_json, value_text
from sim_devin.errors import Cancelled, LocalFault, SimDevinError, TransportError
from sim_devin.specs.schema import number
from sim_devin.text import whole

TIMEOUT = 300.0  # seconds

_PHRASES = {
    400: "The request was invalid",
    401: "Authentication is required or has failed",
    403: "The request was rejected",
    404: "The requested resource was not found",
    429: "Too many requests",
    500: "The server failed",
    502: "The server's upstream failed",
    503: "The service is unavailable",
}


# Those that may be sent again although it is unknown whether they took effect.
_IDEMPOTENT = ("GET", "HEAD", "PUT", "DELETE")
_MOST_RETRIES = 10


@handler()
def api(block: BlockContext) -> dict[str, Any]:
    """Send the request; return data, status and headers of the answer."""
    request = build(block.values)
    if request is None:
        return {"data": None, "status": 200, "headers": {}}
    if block.transport is None:
        raise BlockError("no transport is available to send the request", retry=False)
    try:
        answer = _sent(block, request)
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


# -- tries -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Retries:
    """How often a request is sent again, and after how many seconds."""

    most: int
    first: float
    ceiling: float

    def pause(self, attempt: int, asked: float | None) -> float | None:
        """Return the seconds after try number `attempt`; None if a service asks for too many."""
        if asked is not None:
            return None if asked > self.ceiling else max(asked, min(self.first, self.ceiling))
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        return min(self.first * 2.0 ** (attempt - 1), self.ceiling) * jitter


def _retries(values: Mapping[str, Any], method: str) -> _Retries:
    safe = method in _IDEMPOTENT or values.get("retryNonIdempotent") in (True, "true")
    wanted = min(_MOST_RETRIES, int(_positive(values.get("retries")) or 0)) if safe else 0
    first = _positive(values.get("retryDelayMs")) or 500
    ceiling = _positive(values.get("retryMaxDelayMs")) or 30_000
    return _Retries(wanted, first / 1000, ceiling / 1000)


def _sent(block: BlockContext, request: Request) -> Response:
    """Return the answer, after as many tries as the block's fields allow."""
    retries = _retries(block.values, request.method)
    attempt = 0
    while True:
        attempt += 1
        asked = None
        try:
            outcome: Response | TransportError = block.transport.send(
                request, timeout=_timeout(block)
            )
        except TransportError as error:
            outcome = error
        if isinstance(outcome, Response):
            temporary = outcome.status == 429 or 500 <= outcome.status <= 599
            asked = retry_after(outcome.headers, now=block.clock.time())
        else:
            temporary = not isinstance(outcome, LocalFault)
        pause = retries.pause(attempt, asked) if temporary and attempt <= retries.most else None
        remaining = block.remaining()
        if pause is None or (remaining is not None and pause >= remaining):
            if isinstance(outcome, Response):
                return outcome
            raise outcome
        if block.clock.wait(block.cancel, pause):
            raise Cancelled("The request was not sent again: the run is to stop.")


def _positive(value: Any) -> float | None:
    parsed = number(value) if isinstance(value, str) else value
    if isinstance(parsed, bool) or not isinstance(parsed, (int, float)) or not parsed > 0:
        return None
    return float(parsed)


# -- the request -----------------------------------------------------------------------------


def build(values: Mapping[str, Any]) -> Request | None:
    """Return the request of a block's values, None for a blank URL."""
    url = str(values.get("url") or "").strip()
    if len(url) > 1 and url[0] == url[-1] and url[0] in "\"'":
        url = url[1:-1]
    if not url:
        return None
    if not url.lower().startswith(("https://", "http://")):
        raise BlockError(
            f"Invalid URL {url[:80]!r}: it must start with https:// or http://", retry=False
        )
    url = _address(url, values)
    method = str(values.get("method") or "GET").upper()
    headers = {
        key: value_text(value)
        for key, value in table_pairs(values.get("headers"))
        if value is not None
    }
    named = {name.lower(): value for name, value in headers.items()}
    headers |= {name: value for name, value in _USUAL.items() if name.lower() not in named}
    proxy = str(values.get("proxyUrl") or "").strip()
    body = None
    if method not in ("GET", "HEAD"):
        fields = ((k, v) for k, v in table_pairs(values.get("formData")) if v is not None)
        body = body_of(values.get("body"), fields, named.get("content-type", ""))
    if body is None:
        return Request(method, url, headers, proxy=proxy)
    if body.content_type is not None:
        headers = {name: v for name, v in headers.items() if name.lower() != "content-type"}
        headers["Content-Type"] = body.content_type
    return Request(method, url, headers, body.content, proxy=proxy)


_USUAL = {"Accept": "*/*", "Cache-Control": "no-cache", "User-Agent": f"sim-devin/{VERSION}"}
_PATH_KEY = re.compile(r"[A-Za-z_$][^\s/?#]*")
# What the URL standard writes as escapes, https://url.spec.whatwg.org/#percent-encoded-bytes
_IN_PATH = "!$%&'()*+,-./:;=@[]_|~"
_IN_QUERY = "!$%&()*+,-./:;=?@[]\\^_`{|}~"
_PARTS = re.compile(r"([^/\\?]*)([^?]*)(\??)(.*)", re.DOTALL)


def _address(url: str, values: Mapping[str, Any]) -> str:
    """Return a URL with its path and query parameters, without its fragment."""
    url = re.sub(r"[\t\n\r]", "", url).partition("#")[0]
    for key, value in table_pairs(values.get("pathParams")):
        if value is not None and _PATH_KEY.fullmatch(key):
            placeholder = rf":{re.escape(key)}(?![\w$])"
            url = re.sub(placeholder, _component(value_text(value)), url, count=1)
    start, _, rest = url.partition("://")
    parts = _PARTS.fullmatch(rest)
    assert parts is not None  # noqa: S101 - it fits every text
    host, path, mark, query = parts.groups()
    path = quote(whole(path or "/").replace("\\", "/"), safe=_IN_PATH)
    query = quote(whole(query), safe=_IN_QUERY)
    added = "&".join(
        f"{_component(key)}={_component(field_text(value))}"
        for key, value in table_pairs(values.get("params"))
        if value is not None
    )
    if added:
        query, mark = (f"{query}&{added}" if mark else added), "?"
    return f"{start.lower()}://{host}{path}{mark}{query}"


def _component(text: str) -> str:
    """Return a text as JavaScript's encodeURIComponent writes it."""
    return quote(whole(text), safe="!'()*-._~")


def _said(answer: Response) -> str:
    target = answer.headers.get("location")
    if target is not None and 300 <= answer.status < 400:
        return f"a redirect to {target.partition('?')[0]} was not followed"
    reason = api_error(answer)
    return reason.detail or reason.message


def _timeout(block: BlockContext) -> float:
    asked = _positive(block.values.get("timeout"))
    seconds = TIMEOUT if asked is None else asked / 1000
    remaining = block.remaining()
    return seconds if remaining is None else max(0.1, min(seconds, remaining))


def _failed(request: Request, reason: str) -> str:
    url = request.url.partition("?")[0]
    return f"HTTP Request failed: URL: {url} | Method: {request.method} | Error: {reason}"


def _data(answer: Response) -> Any:
    text = answer.body.decode("utf-8-sig", "replace")
    if "application/json" not in answer.headers.get("content-type", "").lower():
        return text
    parsed = parse_json(text)
    return text if parsed is MISSING else parsed
