"""Send a request, and send it again when that is safe.

What is safe follows from the tool's traits: a read may be repeated after anything that its
`retryOn` names, a create or a message only when the first try was provably not sent. An answer
does not prove that: a 429 or a 503 may come from a gateway after the service has done the work.
After an end that leaves this open, `AmbiguousResult` says so instead of guessing.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from sim_devin.calls.request import Request
from sim_devin.calls.response import Response, is_about_money, retry_after
from sim_devin.calls.sending import send_within
from sim_devin.calls.transport import Transport
from sim_devin.clock import Clock
from sim_devin.errors import (
    AmbiguousResult,
    ApiError,
    Cancelled,
    NotSent,
    SimDevinError,
    TimedOut,
    TransportError,
    UnreadableResponse,
)
from sim_devin.meaning import meaning_of_status
from sim_devin.specs.models import SIMULATED, RetryReason, ToolSpec

log = logging.getLogger("sim_devin")

LOOK_FIRST = (
    "It may have taken effect. Do not repeat it: list the sessions created in the last few "
    "minutes (or read the session's messages) and continue with what you find."
)
# The same for another service than Devin.
LOOK_THERE = "It may have taken effect. Do not repeat it: look at what the service has by now."


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long to try.

    Attributes:
        retries: tries after the first one; 0 turns retrying off.
        first: seconds before the second try at most; doubles with each try.
        ceiling: seconds a pause can grow to.
        read_timeout: seconds for one try.
        total: seconds for all tries and pauses together.
    """

    retries: int = 4
    first: float = 0.5
    ceiling: float = 8.0
    read_timeout: float = 60.0
    total: float = 180.0

    def pause(self, attempt: int, rng: Callable[[], float]) -> float:
        """Return the pause after try number `attempt` (1, 2, …): full jitter."""
        bound: float = min(self.ceiling, self.first * 2 ** (attempt - 1))
        return bound * rng()


@dataclass(frozen=True)
class Attempt:
    """What one try came to: a response, or the error that stood in for it."""

    response: Response | None
    error: SimDevinError | None
    reason: RetryReason | None
    untaken: bool = False  # it provably was not sent


@dataclass(frozen=True)
class Hooks:
    """What is called while a request is sent.

    Attributes:
        confirm: called before each try; raises if the request may not be sent any more.
        late: told of an answer that comes after it was given up.
        rng: returns a number from 0 to 1, for the length of pauses.
    """

    confirm: Callable[[], None] | None = None
    late: Callable[[Response], None] | None = None
    rng: Callable[[], float] = random.random


def send(
    spec: ToolSpec,
    request: Request,
    transport: Transport,
    clock: Clock,
    *,
    policy: RetryPolicy | None = None,
    cancel: threading.Event | None = None,
    deadline: float | None = None,
    **hooks: Any,
) -> Response:
    """Return the answer to `request`, after as many tries as `spec.traits` allow.

    `deadline` is a moment of ``clock.monotonic()``. A ``Retry-After`` is honoured; when it
    exceeds what is left, the answer is returned at once, so that its error can expose it.
    `hooks` are the fields of a `Hooks`.

    Raises:
        TransportError: no answer came; `AmbiguousResult` when it may have been processed and
            the tool is not safe to repeat.
        UnreadableResponse: the answer is too large.
        Cancelled: `cancel` was set.
    """
    policy = policy or RetryPolicy()
    cancel = cancel or threading.Event()
    end = clock.monotonic() + policy.total
    end = end if deadline is None else min(end, deadline)
    attempt = 0
    called = Hooks(**hooks)
    if called.confirm is not None:
        request = replace(request, confirm=called.confirm)
    while True:
        attempt += 1
        if cancel.is_set():
            raise Cancelled(f"{spec.id} was cancelled before it was sent.")
        remaining = end - clock.monotonic()
        if remaining <= 0:
            raise TimedOut(f"Time ran out before {spec.id} was sent.", sent=False)
        if called.confirm is not None:
            called.confirm()
        started = clock.monotonic()
        tried = _try(transport, request, min(policy.read_timeout, remaining), cancel, called.late)
        _record(spec, request, tried, attempt, clock.monotonic() - started)
        retriable = tried.reason is not None and _may_repeat(spec, tried)
        if retriable and attempt <= policy.retries:
            pause = policy.pause(attempt, called.rng)
            asked = tried.response and retry_after(tried.response.headers, now=clock.time())
            pause = max(pause, asked or 0.0)
            if clock.monotonic() + pause < end:
                if clock.wait(cancel, pause):
                    raise Cancelled(f"{spec.id} was cancelled between two attempts.")
                continue
        return _settle(spec, tried)


def _try(
    transport: Transport,
    request: Request,
    timeout: float,
    cancel: threading.Event,
    late: Callable[[Response], None] | None,
) -> Attempt:
    try:
        response = send_within(transport, request, timeout=timeout, cancel=cancel, late=late)
    except Cancelled as error:
        return Attempt(None, error, None)
    except NotSent as error:
        return Attempt(None, error, "connect", untaken=True)
    except TimedOut as error:
        return Attempt(None, error, "timeout", untaken=error.means.did_nothing)
    except TransportError as error:
        return Attempt(None, error, "reset")
    except UnreadableResponse as error:  # too large: once more would not make it smaller
        return Attempt(None, error, None)
    if not meaning_of_status(response.status).temporary or is_about_money(response):
        return Attempt(response, None, None)
    return Attempt(response, None, "429" if response.status in (425, 429) else "5xx")


def _may_repeat(spec: ToolSpec, tried: Attempt) -> bool:
    safe = spec.traits.read_only or spec.traits.idempotent or tried.untaken
    return safe and tried.reason in spec.traits.retry_on


def _settle(spec: ToolSpec, tried: Attempt) -> Response:
    """Return the answer, or raise what its absence means for this tool."""
    if tried.response is not None:
        return tried.response
    error = tried.error
    assert error is not None  # noqa: S101 - an attempt has one of the two
    if isinstance(error, (TransportError, Cancelled)) and not tried.untaken:
        error = unknown(spec, error) or error
    raise error


def unknown(spec: ToolSpec, error: SimDevinError) -> AmbiguousResult | None:
    """Return what `error` means for a tool that must not be repeated; None if that is clear."""
    if spec.traits.read_only or spec.traits.idempotent:
        return None
    if not (error.means.temporary or isinstance(error, Cancelled)):
        return None
    answered = f"the response was {error.message}" if isinstance(error, ApiError) else None
    what = (answered or str(error)).rstrip(".")
    return AmbiguousResult(
        f"{spec.id} has an unknown outcome: {what}.",
        status=getattr(error, "status", None),
        retry_after=getattr(error, "retry_after", None),
        hint=LOOK_FIRST if spec.connection in (None, SIMULATED) else LOOK_THERE,
    )


def _record(spec: ToolSpec, request: Request, tried: Attempt, attempt: int, took: float) -> None:
    """Log one structured event for each try."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    outcome = tried.response.status if tried.response else type(tried.error).__name__
    path = urlsplit(request.url).path
    log.debug(
        "%s %s %s -> %s, attempt %d, %.0f ms",
        spec.id,
        request.method,
        path,
        outcome,
        attempt,
        took * 1000,
        extra={
            "tool": spec.id,
            "method": request.method,
            "path": path,
            "outcome": outcome,
            "attempt": attempt,
            "seconds": took,
        },
    )
