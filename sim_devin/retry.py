"""Send a request, and send it again when that is safe.

What is safe follows from the tool's `retryOn` trait: a read may be repeated after anything,
a create or a message only when the first try provably was not processed. After an end that
leaves this open, `AmbiguousResult` says so instead of guessing.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from sim_devin.clock import Clock
from sim_devin.errors import (
    AmbiguousResult,
    Cancelled,
    NotSent,
    SimDevinError,
    TimedOut,
    TransportError,
    UnreadableResponse,
    meaning_of_status,
)
from sim_devin.request import Request
from sim_devin.response import Response, retry_after
from sim_devin.sending import send_within
from sim_devin.spec import RetryReason, ToolSpec
from sim_devin.transport import Transport

log = logging.getLogger("sim_devin")

LOOK_FIRST = (
    "It may have taken effect. Do not repeat it: list the sessions created in the last minutes "
    "(or read the session's messages) and go on with what you find."
)


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long to try.

    Attributes:
        retries: tries after the first one; 0 turns retrying off.
        first: seconds before the second try at the most; doubles with each try.
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
    processed: bool | None  # None: nobody knows


def send(
    spec: ToolSpec,
    request: Request,
    transport: Transport,
    clock: Clock,
    *,
    policy: RetryPolicy | None = None,
    cancel: threading.Event | None = None,
    deadline: float | None = None,
    rng: Callable[[], float] = random.random,
) -> Response:
    """Return the answer to `request`, after as many tries as `spec.traits` allow.

    `deadline` is a moment of ``clock.monotonic()``. A ``Retry-After`` is honoured; when it
    exceeds what is left, the answer is returned at once, so that its error can expose it.

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
    while True:
        attempt += 1
        if cancel.is_set():
            raise Cancelled(f"{spec.id} was cancelled before it was sent.")
        remaining = end - clock.monotonic()
        if remaining <= 0:
            raise TimedOut(f"Time ran out before {spec.id} was sent.")
        started = clock.monotonic()
        tried = _try(transport, request, min(policy.read_timeout, remaining), cancel)
        _record(spec, request, tried, attempt, clock.monotonic() - started)
        retriable = tried.reason is not None and _may_repeat(spec, tried)
        if retriable and attempt <= policy.retries:
            pause = policy.pause(attempt, rng)
            asked = tried.response and retry_after(tried.response.headers, now=clock.time())
            pause = max(pause, asked or 0.0)
            if clock.monotonic() + pause < end:
                if clock.wait(cancel, pause):
                    raise Cancelled(f"{spec.id} was cancelled between two tries.")
                continue
        return _settle(spec, tried)


def _try(
    transport: Transport, request: Request, timeout: float, cancel: threading.Event
) -> Attempt:
    try:
        response = send_within(transport, request, timeout=timeout, cancel=cancel)
    except Cancelled as error:
        return Attempt(None, error, None, None)
    except NotSent as error:
        return Attempt(None, error, "connect", False)
    except TimedOut as error:
        return Attempt(None, error, "timeout", None)
    except TransportError as error:
        return Attempt(None, error, "reset", None)
    except UnreadableResponse as error:  # too large: once more would not make it smaller
        return Attempt(None, error, None, True)
    means = meaning_of_status(response.status)
    if not means.temporary:
        return Attempt(response, None, None, True)
    reason: RetryReason = "429" if response.status in (425, 429) else "5xx"
    # A 503 that says when to come back was turned away before it was processed.
    turned_away = response.status == 503 and "retry-after" in response.headers
    untaken = means.did_nothing or response.status == 429 or turned_away
    return Attempt(response, None, reason, False if untaken else None)


def _may_repeat(spec: ToolSpec, tried: Attempt) -> bool:
    if tried.processed is False and "connect" in spec.traits.retry_on:
        return tried.reason != "429" or "429" in spec.traits.retry_on
    return tried.reason in spec.traits.retry_on


def _settle(spec: ToolSpec, tried: Attempt) -> Response:
    """Return the answer, or raise what its absence means for this tool."""
    unsafe = not (spec.traits.read_only or spec.traits.idempotent)
    if tried.processed is None and unsafe:
        what = (
            f"it was answered with HTTP {tried.response.status}"
            if tried.response is not None
            else str(tried.error).rstrip(".")
        )
        raise AmbiguousResult(f"{spec.id} has no known outcome: {what}.", hint=LOOK_FIRST)
    if tried.error is not None:
        raise tried.error
    assert tried.response is not None  # noqa: S101 - an attempt has one of the two
    return tried.response


def _record(spec: ToolSpec, request: Request, tried: Attempt, attempt: int, took: float) -> None:
    """Log one structured event for each try."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    outcome = tried.response.status if tried.response else type(tried.error).__name__
    path = urlsplit(request.url).path
    log.debug(
        "%s %s %s -> %s, try %d, %.0f ms",
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
