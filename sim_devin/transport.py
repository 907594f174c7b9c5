"""The wire: the only module that imports requests.

A transport is anything with ``send(request, *, timeout) -> Response``; it raises
`NotSent` when the request provably never reached the service, and `TimedOut` or another
`TransportError` when that is unknown.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from sim_devin.errors import CallerError, NotSent, TimedOut, TransportError, UnreadableResponse
from sim_devin.request import Request
from sim_devin.response import Response

CONNECT_TIMEOUT = 5.0  # seconds
BODY_LIMIT = 10 * 1024 * 1024  # bytes of an answer, as Sim caps it
REDIRECT_LIMIT = 5
CHUNK = 64 * 1024

_NOT_CONNECTED = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NameResolutionError,
    urllib3.exceptions.SSLError,
    urllib3.exceptions.ProxyError,
)


class Transport(Protocol):
    """Carries one request to the service and brings the answer back."""

    def send(self, request: Request, *, timeout: float) -> Response:
        """Return the answer to `request`, within `timeout` seconds in all."""
        ...


class HttpTransport:
    """HTTP(S) over one pooled `requests.Session`; safe to use from many threads.

    Proxy and certificate settings of the environment are honoured and looked up once for
    each host, not once for each call; netrc and cookies are not used. Redirects are only
    followed within one origin, so a credential never reaches another host.
    """

    def __init__(self, *, connect_timeout: float = CONNECT_TIMEOUT, pool_size: int = 32) -> None:
        self._connect_timeout = connect_timeout
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = HTTPAdapter(pool_connections=8, pool_maxsize=pool_size, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._verify: str | bool = (
            os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        )
        self._proxies: dict[str, Mapping[str, str]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close all pooled connections."""
        self._session.close()

    def send(self, request: Request, *, timeout: float) -> Response:
        """Return the answer to `request`.

        Raises:
            NotSent: no connection could be made.
            TimedOut: `timeout` seconds passed; the request may have been processed.
            TransportError: the connection broke; the request may have been processed.
            UnreadableResponse: the answer is larger than 10 MiB.
        """
        started = time.monotonic()
        url, method = request.url, request.method
        for _ in range(REDIRECT_LIMIT + 1):
            remaining = timeout - (time.monotonic() - started)
            response, target = self._once(request, method, url, remaining)
            if target is None:
                return response
            url = target
        return response

    def _once(
        self, request: Request, method: str, url: str, timeout: float
    ) -> tuple[Response, str | None]:
        """Send once; return the answer and where to go on within the origin, if anywhere."""
        if timeout <= 0:
            raise TimedOut("Time ran out before the request was sent.")
        deadline = time.monotonic() + timeout
        try:
            answer = self._session.send(
                self._prepared(request, method, url),
                timeout=(min(self._connect_timeout, timeout), timeout),
                allow_redirects=False,
                stream=True,
                proxies=self._proxies_for(url),
                verify=self._verify,
            )
            with answer:
                body = _read(answer, deadline)
        except requests.RequestException as error:
            raise _translate(error, timeout) from None
        except urllib3.exceptions.HTTPError as error:
            raise TransportError(
                f"The connection broke while the answer was read ({type(error).__name__})."
            ) from None
        headers = {name.lower(): value for name, value in answer.headers.items()}
        response = Response(answer.status_code, headers, body)
        return response, _redirect(method, url, response)

    def _prepared(self, request: Request, method: str, url: str) -> requests.PreparedRequest:
        prepared = requests.PreparedRequest()
        try:
            prepared.prepare_method(method)
            prepared.prepare_url(url, None)
        except (requests.RequestException, UnicodeError) as error:
            raise CallerError(f"The address cannot be used ({type(error).__name__}).") from None
        prepared.prepare_headers(dict(request.headers))
        body = None if request.json is None else json.dumps(request.json, allow_nan=False).encode()
        prepared.prepare_body(body, None)
        return prepared

    def _proxies_for(self, url: str) -> Mapping[str, str]:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            if origin not in self._proxies:
                self._proxies[origin] = requests.utils.get_environ_proxies(url)
            return self._proxies[origin]


def _read(answer: requests.Response, deadline: float) -> bytes:
    chunks: list[bytes] = []
    size = 0
    for chunk in answer.iter_content(CHUNK):
        size += len(chunk)
        if size > BODY_LIMIT:
            raise UnreadableResponse(
                f"The answer is larger than {BODY_LIMIT // 1024 // 1024} MiB.",
                status=answer.status_code,
                accepted=200 <= answer.status_code < 300,
            )
        if time.monotonic() > deadline:
            raise TimedOut("Time ran out while the answer was read.")
        chunks.append(chunk)
    return b"".join(chunks)


def _redirect(method: str, url: str, response: Response) -> str | None:
    location = response.headers.get("location")
    if location is None or response.status not in (301, 302, 303, 307, 308):
        return None
    if method != "GET" and response.status not in (307, 308):
        return None
    target = urljoin(url, location)
    here, there = urlsplit(url), urlsplit(target)
    same = (here.scheme, here.hostname, here.port) == (there.scheme, there.hostname, there.port)
    return target if same else None


def _translate(error: requests.RequestException, timeout: float) -> TransportError:
    """Return our error for one of requests': what matters is whether anything was sent."""
    reason = _reason(error)
    name = type(reason).__name__
    if isinstance(error, requests.ConnectTimeout) or isinstance(reason, _NOT_CONNECTED):
        hint = "Check the network, the proxy settings and the base URL."
        return NotSent(f"No connection to the service ({name}).", hint=hint)
    if isinstance(error, requests.ReadTimeout) or isinstance(
        reason, urllib3.exceptions.ReadTimeoutError
    ):
        return TimedOut(f"No answer came within {timeout:.3g} s.")
    return TransportError(f"The connection broke before an answer came ({name}).")


def _reason(error: BaseException) -> BaseException:
    """Return the innermost cause that urllib3 recorded."""
    cause: Any = error.args[0] if error.args else None
    if isinstance(cause, BaseException):
        return _reason(getattr(cause, "reason", None) or cause)
    return error


def check_base_url(url: str) -> str:
    """Return a base URL without its trailing slash.

    Raises:
        CallerError: it is not an absolute https address (http is accepted for loopback).
    """
    parts = urlsplit(url)
    hint = "Use an address such as https://api.devin.ai/v3 (set by DEVIN_BASE_URL)."
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CallerError("The base URL is not an absolute http(s) address.", hint=hint)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise CallerError(
            "The base URL may not hold credentials, a query or a fragment.", hint=hint
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise CallerError("The base URL must use https: the API key would be readable.", hint=hint)
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
