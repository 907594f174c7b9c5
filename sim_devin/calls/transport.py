"""The wire: the only module that imports requests.

A transport is anything with ``send(request, *, timeout) -> Response``; it raises
`NotSent` when the request provably never reached the service, and `TimedOut` or another
`TransportError` when that is unknown.
"""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from sim_devin.calls.connections import CONFIRM, POOLS, Pools, judged_pools, look_up
from sim_devin.calls.local_faults import local_fault
from sim_devin.calls.network import DEFAULT_PORTS, NetworkPolicy
from sim_devin.calls.redirects import followed
from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.errors import (
    CallerError,
    LocalFault,
    NotSent,
    SimDevinError,
    TimedOut,
    TransportError,
    UnreadableResponse,
)

CONNECT_TIMEOUT = 5.0  # seconds
BODY_LIMIT = 10 * 1024 * 1024  # bytes of an answer, as Sim caps it
REDIRECT_LIMIT = 5
CHUNK = 64 * 1024

# No connection came about. Other TLS errors are not here: they can strike after the sending.
_NOT_CONNECTED = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ProxyError,
    ssl.SSLCertVerificationError,
)
_NO_TUNNEL = "Tunnel connection failed"  # how http.client words a proxy's refusal


class Transport(Protocol):
    """Carries one request to the service and brings the answer back."""

    def send(self, request: Request, *, timeout: float) -> Response:
        """Return the answer to `request`, within `timeout` seconds in all."""
        ...


class HttpTransport:
    """HTTP(S) over pooled connections; safe to use from many threads.

    Proxy and certificate settings of the environment are honoured and looked up once for
    each host, not once for each call; netrc and cookies are not used. Redirects are followed as
    `redirects.followed` has it, so a credential never reaches another host.

    An untrusted request only connects to what `network` lets it reach. It is judged by the
    addresses that its host led to when the connection is made, and it has connections of its
    own. Through a proxy, which looks names up itself, it is judged by what the name leads to
    here, if it leads anywhere; the proxy's own address is not judged.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        pool_size: int = 32,
        redirects: int = REDIRECT_LIMIT,
        network: NetworkPolicy | None = None,
    ) -> None:
        self._connect_timeout = connect_timeout
        self._redirects = redirects
        self._network = network or NetworkPolicy()
        options = {"pool_connections": 8, "pool_maxsize": pool_size, "max_retries": 0}
        self._trusted = _Adapter(POOLS, **options)
        self._judged = _Adapter(judged_pools(self._network), **options)
        self._verify: str | bool = (
            os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        )
        self._proxies: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close all pooled connections."""
        self._trusted.close()
        self._judged.close()

    def send(self, request: Request, *, timeout: float) -> Response:
        """Return the answer to `request`.

        Raises:
            NotSent: no connection could be made.
            TimedOut: `timeout` seconds passed; the request may have been processed.
            TransportError: the connection broke; the request may have been processed.
            UnreadableResponse: the answer is larger than 10 MiB.
            CallerError: the address, a header or a setting cannot be used.
            AddressRefused: an untrusted request, or a redirect of one, leads to an address that
                `network` does not let it reach.
        """
        started = time.monotonic()
        response = self._once(request, timeout)
        for _ in range(self._redirects):
            target = followed(request, response)
            if target is None:
                break
            request = target
            response = self._once(request, timeout - (time.monotonic() - started))
        return response

    def _once(self, request: Request, timeout: float) -> Response:
        if timeout <= 0:
            raise TimedOut("Time ran out before the request was sent.", sent=False)
        deadline = time.monotonic() + timeout
        prepared = self._prepared(request)
        proxies = self._by_way_of(request) if request.proxy else self._proxies_for(request.url)
        if request.untrusted:
            self._judge(prepared.url or "", proxies)
        token = CONFIRM.set(request.confirm)
        try:
            # Not Session.send: it looks into redirects and cookies, which are not wanted here.
            answer = (self._judged if request.untrusted else self._trusted).send(
                prepared,
                stream=True,
                timeout=(min(self._connect_timeout, timeout), timeout),
                proxies=proxies,
                verify=self._verify,
            )
            with answer:
                body = _read(answer, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _translate(error, timeout) from None
        except OSError as error:
            if (why := local_fault(error)) is not None:
                raise LocalFault(f"No connection to the service: {why[0]}.", hint=why[1]) from None
            # Only the certificate file is opened here; requests says so with a plain OSError.
            raise CallerError(
                f"The certificates cannot be read ({type(error).__name__}).",
                hint="Check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE.",
            ) from None
        finally:
            CONFIRM.reset(token)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status_code, headers, body)

    def _judge(self, url: str, proxies: dict[str, str]) -> None:
        """Refuse an untrusted address by what can be known of it before a connection is made."""
        parts = urllib3.util.parse_url(url)
        host, port = parts.host or "", parts.port or DEFAULT_PORTS[parts.scheme or "http"]
        self._network.check_host(host, port)
        if requests.utils.select_proxy(url, proxies) is None:
            return
        try:
            addresses = look_up(host, port)
        except (OSError, UnicodeError):
            return  # where only a proxy leads out, it may be the only one that knows names
        for address in addresses:  # which of them it takes is up to the proxy
            self._network.reachable(host, port, [address])

    def _prepared(self, request: Request) -> requests.PreparedRequest:
        url = request.url
        prepared = requests.PreparedRequest()
        try:
            prepared.prepare_method(request.method)
            prepared.prepare_url(url, None)
            prepared.prepare_headers(dict(request.headers))
            if urlsplit(prepared.url or "").scheme not in DEFAULT_PORTS:
                raise requests.exceptions.InvalidSchema
            "".join(request.headers.values()).encode("latin-1")
        except (requests.RequestException, ValueError) as error:
            what = type(error).__name__
            raise CallerError(f"The address or a header is invalid ({what}).") from None
        prepared.url = _as_given(url, prepared.url or "")
        try:
            body = request.body()
        except (TypeError, ValueError, RecursionError) as error:
            raise CallerError(f"The body cannot be encoded as JSON: {error}.") from None
        prepared.prepare_body(body, None)
        return prepared

    def _by_way_of(self, request: Request) -> dict[str, str]:
        """Return requests' setting for the proxy that a request names itself.

        Raises:
            CallerError: it is no address of an HTTP proxy.
            AddressRefused: it is untrusted, and may not be reached.
        """
        try:
            parts = urllib3.util.parse_url(request.proxy)
        except urllib3.exceptions.LocationParseError:
            parts = urllib3.util.Url()
        if parts.scheme != "http" or not parts.host:
            raise CallerError(
                "The proxy's address cannot be used.", hint="Write it as http://host:port."
            )
        if request.untrusted:
            port = parts.port or DEFAULT_PORTS["http"]
            self._network.check_host(parts.host, port)
            try:
                found = look_up(parts.host, port)
            except (OSError, UnicodeError):
                raise NotSent(f"The proxy {parts.host} leads nowhere.") from None
            # One look-up is judged and connected to, as for the request itself.
            address = next(iter(self._network.reachable(parts.host, port, found)))
            parts = parts._replace(host=f"[{address}]" if ":" in address else address)
        return dict.fromkeys(("http", "https"), parts.url)

    def _proxies_for(self, url: str) -> dict[str, str]:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            if origin not in self._proxies:
                self._proxies[origin] = dict(requests.utils.get_environ_proxies(url))
            return self._proxies[origin]


def _as_given(url: str, checked: str) -> str:
    """Return `checked` with path and query as in `url`: requests rewrites their escapes."""
    given, host = urlsplit(url), urlsplit(checked)
    return urlunsplit((host.scheme, host.netloc, given.path or "/", given.query, ""))


def _read(answer: requests.Response, deadline: float) -> bytes:
    """Return the body. Takes what has arrived, so that a trickle cannot outlast `deadline`."""
    chunks: list[bytes] = []
    size = 0
    answer.raw.decode_content = True
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimedOut("Time ran out while reading the response.")
        connection = getattr(answer.raw, "connection", None)
        if connection is not None and connection.sock is not None:
            connection.sock.settimeout(left)
        chunk = answer.raw.read1(CHUNK)
        if not chunk:
            return b"".join(chunks)
        size += len(chunk)
        if size > BODY_LIMIT:
            raise UnreadableResponse(
                f"The response is larger than {BODY_LIMIT // 1024 // 1024} MiB.",
                status=answer.status_code,
                accepted=200 <= answer.status_code < 300,
            )
        chunks.append(chunk)


class _Adapter(HTTPAdapter):
    """An adapter with pools of connections of ours; proxies have those that keep time."""

    def __init__(self, pools: Pools, **options: Any) -> None:
        super().__init__(**options)
        self.poolmanager.pool_classes_by_scheme = pools

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = POOLS
        return manager


def _translate(error: Exception, timeout: float) -> SimDevinError:
    """Return our error for one of requests' or urllib3's: what matters is what was sent."""
    if (why := local_fault(error)) is not None:
        return LocalFault(f"No connection to the service: {why[0]}.", hint=why[1])
    causes = list(_causes(error))
    name = type(causes[-1]).__name__
    hint = "Check the network, the proxy settings and the base URL."
    if isinstance(error, ValueError) and not isinstance(error, requests.exceptions.InvalidHeader):
        # An address or a proxy it cannot use. (Bad headers at this point are the answer's.)
        return CallerError(f"The request cannot be sent ({name}).", hint=hint)
    if any(
        isinstance(cause, _NOT_CONNECTED) or str(cause).startswith(_NO_TUNNEL) for cause in causes
    ):
        return NotSent(f"No connection to the service ({name}).", hint=hint)
    if any(
        isinstance(cause, (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError))
        for cause in causes
    ):
        return TimedOut(f"No response within {timeout:.3g} s.")
    return TransportError(f"The connection broke before the response was complete ({name}).")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what lies behind it, as urllib3 records it: in `reason` or `args`."""
    yield error
    for cause in (getattr(error, "reason", None), *error.args):
        if isinstance(cause, BaseException):
            yield from _causes(cause)
            return


def check_base_url(
    url: str, example: str = "https://api.devin.ai/v3", variable: str = "DEVIN_BASE_URL"
) -> str:
    """Return a base URL without its trailing slash.

    `example` is an address that would do, and `variable` the one that sets it, if any.

    Raises:
        CallerError: it is not an absolute https address (http is accepted for loopback).
    """
    set_by = f" (set by {variable})" if variable else ""
    hint = f"Use an address such as {example}{set_by}."
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise CallerError("The base URL is not a URL.", hint=hint) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CallerError("The base URL is not an absolute http(s) URL.", hint=hint)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise CallerError(
            "The base URL must not contain credentials, a query or a fragment.", hint=hint
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise CallerError(
            "The base URL must use https, since http would expose the API key.", hint=hint
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
