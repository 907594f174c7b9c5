"""Send a request and wait for its answer no longer than there is time for it."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.calls.transport import Transport
from sim_devin.errors import Cancelled, NotSent, TimedOut

MARGIN = 0.5  # seconds a transport may take to notice by itself that its time is up
TICK = 0.1  # seconds between looks at whether the caller wants to stop


class _Errand:
    """A request on its way, in a thread of its own."""

    def __init__(
        self,
        transport: Transport,
        request: Request,
        timeout: float,
        late: Callable[[Response], None] | None,
    ) -> None:
        self.over = threading.Event()
        self.response: Response | None = None
        self.error: BaseException | None = None
        self._given_up = False
        self._late = late
        self._lock = threading.Lock()
        self._confirm = request.confirm
        if self._confirm is not None:
            request = replace(request, confirm=self._may_be_sent)
        self._work = (transport, request, timeout)
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run, args=(self._run,), name="sim-devin-request", daemon=True
        ).start()

    def _may_be_sent(self) -> None:
        """Raise if nobody waits for the answer any more, or if it may not be sent."""
        if self._given_up:
            raise TimedOut("It was abandoned before it was sent.", sent=False)
        if self._confirm is not None:
            self._confirm()

    def give_up(self) -> bool:
        """Leave it to itself; return False if it is over already."""
        with self._lock:
            self._given_up = not self.over.is_set()
            return self._given_up

    def _run(self) -> None:
        transport, request, timeout = self._work
        try:
            self.response = transport.send(request, timeout=timeout)
        except BaseException as error:
            self.error = error
        finally:
            with self._lock:
                self.over.set()
        if self._given_up and self.response is not None and self._late is not None:
            self._late(self.response)


def send_within(
    transport: Transport,
    request: Request,
    *,
    timeout: float,
    cancel: threading.Event | None = None,
    late: Callable[[Response], None] | None = None,
) -> Response:
    """Return the answer to `request` that `transport` brings.

    A look-up of a name that hangs, a head that trickles, a transport that does not keep its
    time: none of it holds the caller longer than `timeout` seconds. What is given up continues in
    a thread of its own until the transport lets go of it, and its answer is not used; where
    the request has a `confirm`, it is not sent any more. An answer that comes after that is
    handed to `late`, in that thread.

    Raises:
        TimedOut: the time is up; the request may have been processed.
        Cancelled: `cancel` was set meanwhile; the request may have been processed.
        NotSent: there is no thread left to send it with.
        SimDevinError: what the transport raises.
    """
    until = time.monotonic() + timeout + MARGIN
    try:
        errand = _Errand(transport, request, timeout, late)
    except RuntimeError as error:  # nothing was sent
        raise NotSent(
            f"The request was not sent: {error}.", hint="This process has too many threads."
        ) from error
    while not errand.over.wait(TICK if cancel is not None else MARGIN):
        if cancel is not None and cancel.is_set() and errand.give_up():
            raise Cancelled("The request was abandoned while in progress.")
        if time.monotonic() >= until and errand.give_up():
            raise TimedOut(f"No response within {timeout:.3g} s.")
    if errand.error is not None:
        raise errand.error
    assert errand.response is not None  # noqa: S101 - it is one of the two
    return errand.response
