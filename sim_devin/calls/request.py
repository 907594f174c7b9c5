"""Spec and checked parameters → an HTTP request. Pure: no I/O, no clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import quote, quote_plus

from sim_devin.errors import CallerError, InvalidParams
from sim_devin.redaction import Redactor
from sim_devin.specs.models import EXTRA_BODY, EXTRA_QUERY, PLACEHOLDER, Connection, ToolSpec
from sim_devin.text import text, trim, whole

try:
    VERSION = version("sim-devin")
except PackageNotFoundError:  # a bare checkout
    VERSION = "0"


@dataclass(frozen=True)
class Request:
    """One HTTP request. Its repr hides secrets.

    `json` is the body, or None for no body; bytes are sent as they are.
    An `untrusted` request has its address from a workflow, a model or a service, not from who
    runs this: it reaches public addresses only, see `sim_devin.calls.network`.
    `confirm` raises if it may not be sent any more; a transport calls it right before it sends.
    `proxy` is the address of the HTTP proxy to send it through, judged like the request's own;
    empty for what the environment says.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    untrusted: bool = False
    confirm: Callable[[], None] | None = field(default=None, compare=False)
    proxy: str = ""

    def body(self) -> bytes | None:
        """Return the body: JSON, or a text as it is where the headers say it is not JSON.

        Raises:
            TypeError, ValueError, RecursionError: it cannot be written as JSON.
        """
        if self.json is None or isinstance(self.json, bytes):
            return self.json
        if isinstance(self.json, str):
            kinds = (v for name, v in self.headers.items() if name.lower() == "content-type")
            if "json" not in next(kinds, "json"):
                return self.json.encode()
        return json.dumps(self.json, allow_nan=False).encode()

    def __repr__(self) -> str:
        redactor = Redactor()
        return (
            f"Request({self.method} {redactor.text(self.url)}, "
            f"headers: {', '.join(self.headers)}; "
            f"body: {'none' if self.json is None else 'JSON'})"
        )


def build(
    spec: ToolSpec,
    connection: Connection,
    params: Mapping[str, Any],
    credentials: Mapping[str, str],
    base_url: str,
) -> Request:
    """Return the request that carries out `spec` with checked `params`.

    `credentials` are the connection's fields. Texts in the path and the query are trimmed
    as JavaScript trims; a path value becomes one percent-encoded segment.

    Raises:
        InvalidParams: a path value is blank, ``.`` or ``..``, or a header value cannot be sent.
        CallerError: the tool is no single request.
    """
    request = spec.request
    if request is None:
        raise CallerError(f"{spec.id} is not a single request.")
    values = {**params, **credentials}
    problems: list[str] = []
    path = _path(request.path, values, problems)
    headers = _headers(connection, credentials, problems)
    query = _mapped(request.query, values, EXTRA_QUERY, problems)
    problems += [
        f"{EXTRA_QUERY}.{wire}: an object cannot be part of a query; pass a string, a number, a "
        "boolean or a list of those"
        for wire, value in query.items()
        if any(isinstance(item, (dict, list, tuple)) for item in _each(value))
    ]
    body = None
    if request.body is not None:
        body = _mapped(request.body, values, EXTRA_BODY, problems)
        headers["Content-Type"] = "application/json"
    if problems:
        raise InvalidParams(spec.id, problems)
    query_text = encode_query(
        (wire, item) for wire, value in query.items() for item in _each(value)
    )
    url = base_url.rstrip("/") + path + (f"?{query_text}" if query_text else "")
    return Request(request.method, url, headers, body)


def _mapped(
    mapping: Mapping[str, str], values: Mapping[str, Any], extra: str, problems: list[str]
) -> dict[str, Any]:
    """Return wire key -> value for the values that are there, and the escape hatch's keys."""
    mapped = {
        wire: values[template[1:-1]]
        for wire, template in mapping.items()
        if values.get(template[1:-1]) is not None
    }
    further: Mapping[str, Any] = values.get(extra) or {}
    problems += [
        f"{extra}.{wire}: this field has its own parameter; use {mapping[wire][1:-1]}"
        for wire in further
        if wire in mapping
    ]
    return {**mapped, **further}


def _path(template: str, values: Mapping[str, Any], problems: list[str]) -> str:
    parts: list[str] = []
    end = 0
    for match in PLACEHOLDER.finditer(template):
        parts.append(template[end : match.start()])
        end = match.end()
        name = match.group(1)
        segment = trim(text(values.get(name, "")))
        if segment in ("", ".", ".."):
            problems.append(f"{name}: {segment!r} cannot be part of a URL path; pass the id itself")
        parts.append(quote(whole(segment), safe=""))
    return "".join((*parts, template[end:]))


def _headers(
    connection: Connection, credentials: Mapping[str, str], problems: list[str]
) -> dict[str, str]:
    headers = {"Accept": "application/json", "User-Agent": f"sim-devin/{VERSION}"}
    for name, template in connection.headers.items():
        for placeholder in PLACEHOLDER.findall(template):
            if not _sendable(credentials.get(placeholder, "")):
                problems.append(
                    f"{placeholder}: contains a character not allowed in HTTP headers (a line "
                    "break, or one outside Latin-1); copy the value again without extra "
                    "characters"
                )
        headers[name] = PLACEHOLDER.sub(lambda m: credentials.get(m.group(1), ""), template)
    return headers


def _sendable(value: str) -> bool:
    return all(character == "\t" or " " <= character <= "\xff" for character in value) and (
        "\x7f" not in value
    )


def _each(value: Any) -> Iterable[Any]:
    """Yield what to send for one query key: nothing, the value, or each item of a list."""
    if isinstance(value, (list, tuple)):
        yield from value
    elif value is not None:
        yield value


def encode_query(pairs: Iterable[tuple[str, Any]]) -> str:
    """Return a query string encoded as browsers encode forms; texts are trimmed."""
    return encode_form((text(name), trim(text(value))) for name, value in pairs)


def encode_form(pairs: Iterable[tuple[str, str]]) -> str:
    """Return pairs of texts encoded as browsers encode forms."""
    return "&".join(f"{_form(name)}={_form(value)}" for name, value in pairs)


def _form(value: str) -> str:
    # The URL standard's form encoding keeps * and encodes ~, the reverse of quote_plus.
    return quote_plus(whole(value), safe="*").replace("~", "%7E")
