"""Where a redirect leads, and what may go along. Pure: no I/O."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from sim_devin.calls.network import DEFAULT_PORTS
from sim_devin.calls.request import Request
from sim_devin.calls.response import Response

# All that goes along to another origin; any other header could be, or hold, a credential.
_HARMLESS = ("accept", "accept-language")
# Readers of addresses disagree about these, and about who the host is then.
_DISPUTED = re.compile(r"[^!-~]|[\\@]")


def followed(request: Request, response: Response) -> Request | None:
    """Return the request that a redirect asks for; None if there is none to follow.

    A tool's call stays within its origin and its organization, and only repeats a body where
    the status says so (307, 308). A request of a workflow (``untrusted``) goes anywhere as the
    Fetch standard has it, https://fetch.spec.whatwg.org/#http-redirect-fetch; but nothing that
    could be a credential leaves the origin, or Devin's organization, it was meant for: no
    header beyond ``Accept``, and no body.
    """
    location = response.headers.get("location")
    if location is None or response.status not in (301, 302, 303, 307, 308):
        return None
    try:
        target = urljoin(request.url, location)
        here, there = urlsplit(request.url), urlsplit(target)
        at_home = _home(here) == _home(there)
    except ValueError:  # a port or an address that is none
        return None
    if there.scheme not in DEFAULT_PORTS or _DISPUTED.search(there.netloc):
        return None
    rewritten = _becomes_get(request.method, response.status)
    if not request.untrusted:
        return None if rewritten or not at_home else replace(request, url=target)
    headers = dict(request.headers)
    if rewritten:
        request = replace(request, method="GET", json=None)
        headers = {n: v for n, v in headers.items() if not n.lower().startswith("content-")}
    if not at_home:
        if request.json is not None:
            return None
        headers = {n: v for n, v in headers.items() if n.lower() in _HARMLESS}
    return replace(request, url=target, headers=headers)


def _becomes_get(method: str, status: int) -> bool:
    if status == 303:
        return method not in ("GET", "HEAD")
    return status in (301, 302) and method == "POST"


def _home(parts: SplitResult) -> tuple[object, ...]:
    """Return what a credential is good for: the origin, and in Devin's API the organization."""
    port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    return parts.scheme, parts.hostname, port, _organization(parts.path)


def _organization(path: str) -> list[str] | None:
    """Return a path's segments up to the id after ``organizations``, however it is spelled."""
    while (plain := unquote(path)) != path:
        path = plain
    segments: list[str] = []
    for segment in path.replace("\\", "/").split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    for index, segment in enumerate(segments):
        if segment.lower() == "organizations":
            return segments[: index + 2]
    return None
