"""One create or message on its way: sent, looked for, and sent again where that is safe."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from sim_devin.calls.intents import Intent, Ledger
from sim_devin.calls.invoke import Context
from sim_devin.calls.jobs.doubles import end_double
from sim_devin.calls.lookup import look_until, while_temporary
from sim_devin.errors import (
    AmbiguousResult,
    ApiError,
    Cancelled,
    Conflict,
    NotFound,
    NothingSent,
    SimDevinError,
    StoreError,
    TimedOut,
    TransportError,
    UncertainResult,
    UnreadableResponse,
)
from sim_devin.specs.jobs import JobSpec

log = logging.getLogger("sim_devin")

TURNED_AWAY = 5  # times one create or message is sent to a service that says "later"
LATER = 3600.0  # seconds a service may ask to wait until it is sent again
OTHERS = 3  # times the looking continues for others that may be what is seen
LAST_LOOKS = 5.0  # seconds to look for what was left to a human before

Output = dict[str, Any]


class Delivery:
    """One create or message on its way: sent, looked for, and sent again where that is safe.

    Args:
        job: the kind of job that it creates, or says something to.
        context: makes the calls.
        params: what is sent; a function of the intent.
        make: returns a new intent of a tag.
        look: returns what was sent if it is there, or None; decides among `sent`.
        unclear: whether the last look could not tell.
        more: for how many seconds to look on then, since others may tell.
        explained: whether a conflict (409) follows from the state of what it was sent to.
    """

    def __init__(
        self,
        job: JobSpec,
        context: Context,
        params: Callable[[Intent], Mapping[str, Any]],
        make: Callable[[str], Intent],
        look: Callable[[list[Intent]], Output | None],
        unclear: Callable[[], bool] = lambda: False,
        more: Callable[[], float] = lambda: 0.0,
        explained: Callable[[], bool] = lambda: False,
    ) -> None:
        self._job = job
        self._context = context
        self._ledger: Ledger = context.ledger
        self._params = params
        self._make = make
        self._look = look
        self._unclear = unclear
        self._more = more
        self._explained = explained
        self.sent = [intent for intent in self._ledger.earlier() if intent.state != "rejected"]
        self.error: SimDevinError | None = None  # what left it open, with the service's words

    def run(self) -> Output | None:
        """Return the job; None when nobody knows, which is recorded.

        Raises:
            NothingSent: the service cannot be read, so it was not sent to.
            SimDevinError: it was refused, and nothing came of it.
        """
        tries = 2 if self._context.settle.policy == "retry" else 1
        for number in range(tries):
            tag = self._ledger.tag(str(number))
            intent = self._made(tag)
            self.sent = [one for one in self.sent if one.tag != intent.tag] + [intent]
            session = self._try(intent, last=number == tries - 1)
            if session is not None:
                return session
            if intent.state == "uncertain":
                break  # only a human lets it be sent again
        self._leave()
        return None

    def _made(self, tag: str) -> Intent:
        """Return an intent, whose making may read the service.

        Raises:
            NothingSent: the service could not be read for a whole window.
        """
        try:
            return while_temporary(self._context, partial(self._make, tag))
        except SimDevinError as error:
            if not error.means.temporary:
                raise
            raise NothingSent(
                f"Nothing was sent, since the look-up before it failed: {error.message}",
                hint="Try again later.",
            ) from error

    def _try(self, intent: Intent, *, last: bool) -> Output | None:
        """Carry one tag through; None when it is not there after the grace window."""
        grace = self._context.settle.grace
        for turn in range(1, TURNED_AWAY + 1):
            claimed = self._context.clock.monotonic()
            mine = self._ledger.claim(intent)
            if intent.state == "done" and not mine:
                return self._known(intent)
            if not mine and intent.state in ("missing", "stray") and not last:
                return None  # given up before; what took its place comes next
            if not mine and intent.state in ("uncertain", "missing"):
                grace = min(grace, LAST_LOOKS)
            error: SimDevinError | None = None
            sent_at = claimed
            if mine:
                if intent.sends > 1:  # nothing is sent again before another look
                    session = self._look_once()
                    if session is not None:
                        return session
                sent_at = self._context.clock.monotonic()
                try:
                    session, error = self._post(intent, claimed)
                except TimedOut:  # before it was sent
                    if turn == TURNED_AWAY or self._is_late():
                        raise
                    continue  # this process stood still: it has all its time again
                if session is None and isinstance(error, Conflict) and self._explained():
                    session = self._look_once()
                    if session is None:
                        self._settle(intent, "rejected")
                        raise error
                if session is not None:
                    return session
            session = self._look_for(grace)
            for _ in range(OTHERS):
                if session is None and (more := self._more()) > 0:
                    session = self._look_for(more)
            if session is not None:
                return session
            if self._unclear():
                self._leave()
                intent.state = "uncertain"
            if intent.state == "uncertain":
                return None
            if _says_later(error) and turn < TURNED_AWAY and self._wait(error, sent_at):
                self._settle(intent, "repeat")
                continue
            kept = self._settle(intent, "missing")
            if kept.state == "done":  # another process had its answer meanwhile
                return self._known(kept)
            if isinstance(error, ApiError):  # it was answered, and nothing came of it
                raise error
            if kept.state != "rejected":  # else: another process was refused meanwhile
                return None
        return None

    def _post(self, intent: Intent, claimed: float) -> tuple[Output | None, SimDevinError | None]:
        """Send it; return the answer, or the error that leaves open whether it was taken."""
        context, clock = self._context, self._context.clock
        limit = context.settle.grace / 3

        def confirm() -> None:
            self._ledger.confirm(intent, stale=clock.monotonic() - claimed > limit)

        try:
            # So short that it is over long before anybody believes that it is not there.
            deadline = max(1.0, context.settle.grace / 2)
            output = context.call(
                intent.tool,
                self._params(intent),
                deadline=deadline,
                confirm=confirm,
                late=lambda output: self._came_late(intent, output),
            )
        except StoreError:
            raise  # ours, and before anything was sent
        except SimDevinError as error:
            if error.means.did_nothing or isinstance(error, Cancelled):
                self._settle(intent, "rejected")
                raise
            again = " before it is resent" if _says_later(error) else " at most"
            grace = context.settle.grace
            log.warning("%s Looking for it, for %g s%s.", error.message, grace, again)
            self.error = error
            return None, error
        return self._kept(intent, output), None

    def _came_late(self, intent: Intent, output: Output) -> None:
        """Record an answer that came when nobody waited for it any more."""
        with suppress(SimDevinError):
            self._kept(replace(intent), output)

    def _kept(self, intent: Intent, output: Output) -> Output:
        """Record an answer, and return the session that counts: another may have come first."""
        job, creates = self._job, intent.tool == self._job.create.tool
        # What an answer is said to have reached needs no id of its own.
        job_id = job.id_of(output) or str(intent.session_id or "")
        kept = self._settle(intent, "done", job_id)
        if kept.state == "done" and job.same(kept.session_id, job_id):
            return output
        if creates:
            end_double(job, output, intent.tag, self._context)
        else:
            text = f"A message reached {job.bare(job_id)} after it had been given up."
            self._ledger.report(intent.tag, text, job_id)
        if kept.state == "done":
            return self._known(kept)
        raise UncertainResult(
            f"The response to {intent.tool} arrived after it had been given up.",
            hint=f"The {job.noun} {job.bare(job_id)} is not used.",
        )

    def _known(self, intent: Intent) -> Output:
        """Return the job that an intent is known to have led to."""
        job = self._job
        if intent.tool != job.create.tool:
            return read_job(job, intent.session_id, self._context, reached(job, intent.session_id))
        return created_job(job, intent.session_id, self._context)

    def _look_for(self, grace: float) -> Output | None:
        """Look again and again until something is found or the grace window has passed.

        Returns None only when a look after the window saw nothing. Whatever else ends the
        looking leaves what was sent uncertain. The window is this process's own, measured by a
        clock that never goes back: it does not matter when another process has sent it.
        """
        try:
            return look_until(self._context, lambda: self._look(self.sent), grace=grace)
        except UncertainResult as error:
            self._leave()
            raise UncertainResult(
                f"{error.message}{words_of(self.error)}", hint=error.hint
            ) from None

    def _look_once(self) -> Output | None:
        try:
            return while_temporary(self._context, lambda: self._look(self.sent))
        except Cancelled:
            raise
        except SimDevinError as error:
            self._leave()
            raise UncertainResult(
                f"It was not resent, since the look-up before that failed: {error.message}",
                hint="Try again later.",
            ) from None

    def _is_late(self) -> bool:
        deadline = self._context.deadline
        return deadline is not None and self._context.clock.monotonic() >= deadline

    def _wait(self, error: SimDevinError | None, sent_at: float) -> bool:
        """Wait for as long as the service asked to; return whether there is the time for it."""
        context = self._context
        asked = sent_at + (getattr(error, "retry_after", None) or 0.0)
        left = asked - context.clock.monotonic()
        if left > LATER or (context.deadline is not None and asked >= context.deadline):
            return False
        if left > 0 and context.clock.wait(context.cancel, left):
            raise Cancelled("Cancelled while waiting as the service's Retry-After asked.")
        return True

    def _settle(self, intent: Intent, state: Any, session_id: str | None = None) -> Intent:
        kept = self._ledger.settle(intent.tag, state, session_id, sends=intent.sends)
        if kept.tag == intent.tag:
            intent.state, intent.session_id = kept.state, kept.session_id
        return kept

    def _leave(self) -> None:
        for intent in self.sent:
            self._ledger.settle(intent.tag, "uncertain", sends=intent.sends)


def created_job(job: JobSpec, job_id: str | None, context: Context) -> Output:
    """Return the job that a create is known to have led to, as the create would have."""
    found = read_job(job, job_id, context, f"{job.bare(job_id)} was created")
    return as_created(job, found)


def as_created(job: JobSpec, found: Mapping[str, Any]) -> Output:
    """Return a job that was found as its create answers: it has no result yet."""
    result = job.fields.result
    return {**found, result: None} if result else dict(found)


def read_job(job: JobSpec, job_id: str | None, context: Context, what: str) -> Output:
    """Return the job that something is known to have come to, or to have reached.

    Errors that pass are waited out, and so is a job that is not shown by its id yet.

    Raises:
        UnreadableResponse: it cannot be read (`accepted` is true); `what` says what was done.
    """
    read = partial(context.call, job.look.tool, {job.look.id: job_id})
    try:
        return while_temporary(context, read, NotFound)
    except (TransportError, ApiError, UnreadableResponse) as error:
        raise UnreadableResponse(
            f"{what}, but the {job.noun} cannot be read: {error.message}",
            accepted=True,
            hint="It is not repeated.",
        ) from None


def reached(job: JobSpec, job_id: str | None) -> str:
    """Return in words that a message got to a job."""
    return f"The message reached {job.bare(job_id)}"


def words_of(error: SimDevinError | None) -> str:
    """Return what left an outcome open, to continue a sentence."""
    return "" if error is None else f" {error.message}"


def _says_later(error: SimDevinError | None) -> bool:
    """Return whether an answer asks to send the same again later."""
    if not isinstance(error, AmbiguousResult):
        return False
    return error.status in (425, 429) or (error.status == 503 and error.retry_after is not None)
