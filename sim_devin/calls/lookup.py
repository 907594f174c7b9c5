"""Look for something that may or may not have happened, for as long as it still may."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sim_devin.calls.invoke import Context
from sim_devin.errors import ApiError, Cancelled, SimDevinError, UncertainResult

FIRST_LOOK = 1.0  # seconds until the second look; each pause is twice the one before
LONGEST_PAUSE = 30.0

T = TypeVar("T")


def look_until(context: Context, look: Callable[[], T | None], *, grace: float) -> T | None:
    """Return what `look` finds; None when a look after `grace` seconds saw nothing.

    Raises:
        UncertainResult: no look after the window succeeded, or time ran out before.
        Cancelled: ``context.cancel`` was set.
    """
    clock = context.clock
    end = clock.monotonic() + grace
    last = end + grace  # a service that is down gets as long again
    if context.deadline is not None:
        last = min(last, context.deadline)
    pause = FIRST_LOOK
    while True:
        closed = clock.monotonic() >= end  # only a look that begins then is the last word
        failure: SimDevinError | None = None
        try:
            found = look()
            if found is not None:
                return found
        except SimDevinError as error:
            if error.means.temporary:
                failure = error  # a failed look says nothing
            elif isinstance(error, ApiError):
                raise _unsettled(error) from None
            else:
                raise
        if closed and failure is None:
            return None
        now = clock.monotonic()
        if now >= last:
            raise _unsettled(failure)
        until = last if failure and now >= end else max(now, min(end, last))
        if clock.wait(context.cancel, min(pause, until - now)):
            raise Cancelled("Cancelled while looking for the outcome of an interrupted request.")
        pause = min(LONGEST_PAUSE, pause * 2)


def while_temporary(context: Context, read: Callable[[], T], *passing: type[SimDevinError]) -> T:
    """Return what `read` reads; temporary errors, and those of `passing`, are waited out.

    For no longer than the grace window: a service that cannot be read is not sent to.

    Raises:
        SimDevinError: the last error of `read`.
        Cancelled: ``context.cancel`` was set.
    """
    clock = context.clock
    end = clock.monotonic() + context.settle.grace
    if context.deadline is not None:
        end = min(end, context.deadline)
    pause = FIRST_LOOK
    while True:
        try:
            return read()
        except SimDevinError as error:
            passes = error.means.temporary or isinstance(error, passing)
            if not passes or clock.monotonic() + pause >= end:
                raise
        if clock.wait(context.cancel, pause):
            raise Cancelled("Cancelled before it was sent.")
        pause = min(LONGEST_PAUSE, pause * 2)


def _unsettled(failure: SimDevinError | None) -> UncertainResult:
    why = f"the last look-up failed: {failure.message}" if failure else "time ran out"
    return UncertainResult(
        f"The outcome of an interrupted request is unknown; {why}".rstrip(".") + ".",
        hint="It may have taken effect: check the newest sessions, or the session's messages, "
        "before repeating it.",
    )
