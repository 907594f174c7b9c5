"""Wait for jobs: many in one list call, until each is settled or the time is up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from sim_devin.calls.jobs.looking import end, listed, needs_full, single, unknown
from sim_devin.calls.jobs.turn import Sent, Turn, messages_of
from sim_devin.calls.jobs.verdict import (
    Until,
    Verdict,
    classify,
    ended_for_time,
    is_over,
    until_settled,
)
from sim_devin.calls.money import Scope
from sim_devin.clock import Clock
from sim_devin.errors import (
    Cancelled,
    RateLimited,
    SimDevinError,
    TimedOut,
    WaitTimedOut,
)
from sim_devin.specs import json_schema
from sim_devin.specs.jobs import JobSpec, JobState
from sim_devin.specs.models import Schema

FIRST_PAUSE = 5.0  # seconds between the first looks
LONGEST_PAUSE = 60.0
GROWTH = 1.3  # each look that changes nothing makes the pause this much longer
LOOK = 30.0  # seconds one look may take, all its calls together
LAST_LOOK = 3.0  # the same for the last one, however little time is left
MISSING_FOR = 120.0  # seconds a session may be unknown to the service before it counts as gone


@dataclass(frozen=True)
class Outcome:
    """How waiting for one job ended.

    Attributes:
        session_id: the id that was waited for.
        state: see `classify`; ``in_flight`` when the deadline came first.
        reason: the same in words.
        scope: whose money ran out, for ``out_of_money``.
        session: the job as last seen, as its tools give it.
        waited: seconds from the start of the wait.
        timed_out: whether the deadline came first.
    """

    session_id: str
    state: JobState
    reason: str
    scope: Scope | None = None
    session: Mapping[str, Any] = field(default_factory=dict)
    waited: float = 0.0
    timed_out: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON data."""
        return {
            "sessionId": self.session_id,
            "outcome": self.state,
            "reason": self.reason,
            "scope": self.scope,
            "timedOut": self.timed_out,
            "waitedSeconds": round(self.waited, 3),
            "session": dict(self.session),
        }

    def to_output(self, job: JobSpec) -> dict[str, Any]:
        """Return the output of the tool that waits: the job with its outcome."""
        outcome = self.to_json()
        seen, job_id = outcome.pop("session"), outcome.pop("sessionId")
        return {**seen, job.fields.id: job_id, **outcome}


@dataclass(frozen=True)
class Progress:
    """One look at one job, handed to `on_progress`."""

    session_id: str
    verdict: Verdict
    session: Mapping[str, Any]
    waited: float
    next_look: float  # seconds until the next look; 0 when the job settled
    job: JobSpec

    @property
    def cost(self) -> float | None:
        """What the job has cost so far; None if that is not known."""
        return self.job.cost_of(self.session)

    def to_json(self) -> dict[str, Any]:
        """Return the look as JSON data, with what of the job is worth watching.

        The keys are the same for all kinds of jobs.
        """
        return {
            "sessionId": self.session_id,
            "url": self.job.field(self.session, "url"),
            "acusConsumed": self.job.field(self.session, "cost"),
            "outcome": self.verdict.state,
            "reason": self.verdict.reason,
            "waitedSeconds": round(self.waited, 3),
            "nextLookSeconds": round(self.next_look, 3),
        }


NOTHING_NEW = Verdict("in_flight", "it shows nothing newer than the last message to it")


class TimedCall(Protocol):
    """Carries out a tool within `deadline` seconds."""

    def __call__(
        self, tool_id: str, params: Mapping[str, Any], /, *, deadline: float | None = None
    ) -> dict[str, Any]:
        """Return the tool's output or raise a `SimDevinError`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Terms:
    """When a wait ends, and who is told meanwhile.

    Attributes:
        until: decides from a verdict whether a job is waited for no longer.
        timeout: seconds after which the wait ends.
        schema: JSON Schema that a structured output has to match to count as a result.
        on_progress: told about each look.
        minutes: minutes after its create at which a job that is not over is ended.
        sent: returns the last message that was sent to a job, if it is known.
    """

    until: Until = until_settled
    timeout: float | None = None
    schema: Schema | None = None
    on_progress: Callable[[Progress], None] | None = None
    minutes: float | None = None
    sent: Callable[[str], Sent | None] = lambda _: None


def wait(
    job: JobSpec,
    ids: Iterable[str],
    call: TimedCall,
    clock: Clock,
    *,
    cancel: threading.Event | None = None,
    **given: Any,
) -> list[Outcome]:
    """Wait for jobs and return one outcome for each, in the order of `ids`.

    `call` carries out the tools of their kind; `given` are the fields of `Terms`. All jobs that
    are still open are asked for in list calls of many. A failing look is tried until the timeout;
    jobs the service does not list are asked for one by one; one it does not know counts as
    failed after two minutes. A state that may be of the turn before the last message to a job
    does not end its wait, see `turn`; `sent` returns that message if it is known. One that is not
    over `minutes` after its create is ended, and its outcome says so.

    Raises:
        WaitTimedOut: nothing at all was heard of any session before the timeout.
        Cancelled: `cancel` was set. The sessions themselves continue.
        InvalidParams: `schema` is not a JSON Schema of draft 7, or refers to something else.
        SimDevinError: an error that waiting cannot fix, such as a wrong key.
    """
    terms = Terms(**given)
    if terms.schema is not None:
        terms = replace(terms, schema=json_schema.require(terms.schema, "schema", "draft 7"))
    ids = [ids] if isinstance(ids, str) else list(ids)  # a text is a sequence of texts, too
    return _Wait(job, ids, call, clock, terms).run(cancel or threading.Event())


class _Wait:
    def __init__(
        self,
        job: JobSpec,
        ids: Sequence[str],
        call: TimedCall,
        clock: Clock,
        terms: Terms,
    ) -> None:
        self.job = job
        self.ids = ids
        self.minutes = terms.minutes
        self.open = {self.job.bare(session_id): session_id for session_id in ids}
        self.call = call
        self.clock = clock
        self.until = terms.until
        self.schema = terms.schema
        self.on_progress = terms.on_progress
        self.sent = terms.sent
        self.turns: dict[str, tuple[Sent | None, Turn]] = {}
        self.started = clock.monotonic()
        self.end = None if terms.timeout is None else self.started + terms.timeout
        self.look_ends = self.started + LOOK
        self.seen: dict[str, Mapping[str, Any]] = {}
        self.missing_since: dict[str, float] = {}
        self.outcomes: dict[str, Outcome] = {}
        self.last_error: SimDevinError | None = None

    def run(self, cancel: threading.Event) -> list[Outcome]:
        pause = FIRST_PAUSE
        while self.open:
            if cancel.is_set():
                raise Cancelled("The wait was cancelled; the sessions continue.")
            changed, asked = self._look()
            pause = FIRST_PAUSE if changed else min(LONGEST_PAUSE, pause * GROWTH)
            delay = max(pause, asked)
            if not self.open:
                break
            if self.end is not None:
                left = self.end - self.clock.monotonic()
                if left <= 0:
                    self._time_out()
                    break
                delay = min(delay, left)
            self._report(delay)
            self.clock.wait(cancel, delay)
        return [self.outcomes[self.job.bare(session_id)] for session_id in self.ids]

    def _call(self, tool_id: str, params: Mapping[str, Any]) -> dict[str, Any]:
        left = self.look_ends - self.clock.monotonic()
        if left <= 0:
            raise TimedOut("The service took so long that the poll was abandoned.")
        return self.call(tool_id, params, deadline=left)

    def _look(self) -> tuple[bool, float]:
        """Look at every open session; return whether one changed and the pause asked for."""
        changed = False
        now = self.clock.monotonic()
        left = LOOK if self.end is None else self.end - now
        self.look_ends = now + max(LAST_LOOK, min(LOOK, left))
        try:
            many = self.job.look_many
            most = 1 if many is None else many.most
            for batch in _batches(list(self.open.values()), most):
                changed |= self._look_at(batch)
        except RateLimited as error:
            self.last_error = error
            return changed, error.retry_after or 0.0
        return changed, 0.0

    def _look_at(self, ids: Sequence[str]) -> bool:
        changed = False
        listed = self._listed(ids) if len(ids) > 1 else {}
        if listed is None:
            return False
        for session_id in ids:
            try:
                session = listed.get(self.job.bare(session_id)) or self._single(session_id)
                changed |= self._take(session_id, session)
            except SimDevinError as error:  # one session's trouble is not the others'
                self._failed(error)
        return changed

    def _listed(self, ids: Sequence[str]) -> dict[str, Mapping[str, Any]] | None:
        """Return the sessions by bare id, as far as the list has them; None when it failed."""
        try:
            found = listed(self.job, ids, self._call)
        except SimDevinError as error:
            self._failed(error)
            return None
        return {key: found[key] for key in map(self.job.bare, ids) if key in found}

    def _failed(self, error: SimDevinError) -> None:
        """Remember why a look failed; raise what waiting cannot fix, or asks to slow down."""
        if isinstance(error, RateLimited) or not error.means.temporary:
            raise error
        self.last_error = error

    def _single(self, session_id: str) -> Mapping[str, Any] | None:
        return single(self.job, session_id, self._call)

    def _take(self, session_id: str, session: Mapping[str, Any] | None) -> bool:
        """Take in what a look saw; return whether it is news."""
        key = self.job.bare(session_id)
        now = self.clock.monotonic()
        if session is None:
            since = self.missing_since.setdefault(key, now)
            if now - since >= MISSING_FOR:
                self._settle(key, unknown(self.job))
            return False
        self.missing_since.pop(key, None)
        before = self.seen.get(key)
        news = before is None or self.job.outlines(before) != self.job.outlines(session)
        if not news and before is not None:
            session = before  # a list entry; what is known may be more
        if needs_full(self.job, session):
            session = self._single(session_id) or session
        self.seen[key] = session
        verdict = classify(self.job, session, schema=self.schema)
        if not verdict.settled:
            self._turn(session_id)[1].at_work(self.job, session)
        if self.minutes is not None and self._is_overdue(session, verdict):
            self._end(key, session, self.minutes)
        elif self.until(verdict) and self._is_over(session_id, session):
            self._settle(key, verdict)
        return news

    def _is_overdue(self, session: Mapping[str, Any], verdict: Verdict) -> bool:
        created = self.job.moment(session, "created")
        if self.minutes is None or is_over(verdict) or created is None or self.job.end is None:
            return False
        return self.clock.time() - created >= 60 * self.minutes

    def _end(self, key: str, session: Mapping[str, Any], minutes: float) -> None:
        """End a session that took too long; one that cannot be ended now is tried at each look."""
        self.seen[key] = end(self.job, self.open[key], session, self._call)
        self._settle(key, ended_for_time(minutes))

    def _turn(self, session_id: str) -> tuple[Sent | None, Turn]:
        """Return the message that is waited past, if it is known, and how far its turn is."""
        key, sent = self.job.bare(session_id), self.sent(session_id)
        turn = self.turns.get(key)
        if turn is None or turn[0] != sent:
            turn = self.turns[key] = (sent, Turn())
        return turn

    def _is_over(self, session_id: str, session: Mapping[str, Any]) -> bool:
        sent, turn = self._turn(session_id)
        now, time = self.clock.monotonic(), self.clock.time()
        messages = partial(messages_of, self.job, session_id, self._call)
        return turn.is_over(self.job, session, messages, sent, now=now, time=time)

    def _settle(self, key: str, verdict: Verdict, *, timed_out: bool = False) -> None:
        session_id = self.open.pop(key)
        session = self.seen.get(key, {})
        waited = self.clock.monotonic() - self.started
        self.outcomes[key] = Outcome(
            session_id=session_id,
            state=verdict.state,
            reason=verdict.reason,
            scope=verdict.scope,
            session=session,
            waited=waited,
            timed_out=timed_out,
        )
        if self.on_progress:
            self.on_progress(Progress(session_id, verdict, session, waited, 0.0, self.job))

    def _time_out(self) -> None:
        if not self.seen and not self.outcomes:
            why = f" Last error: {self.last_error}" if self.last_error else ""
            raise WaitTimedOut(
                f"{', '.join(self.ids[:5])} could not be read before the deadline.{why}",
                hint="The sessions may continue; wait again with the same ids.",
            )
        for key in list(self.open):
            verdict = Verdict("in_flight", "it could not be read")
            if key in self.seen:
                verdict = classify(self.job, self.seen[key], schema=self.schema)
            if self.until(verdict):  # and yet it was not believed
                verdict = NOTHING_NEW
            self._settle(key, verdict, timed_out=True)

    def _report(self, delay: float) -> None:
        if self.on_progress is None:
            return
        waited = self.clock.monotonic() - self.started
        for key, session_id in self.open.items():
            session = self.seen.get(key, {})
            verdict = classify(self.job, session, schema=self.schema)
            self.on_progress(Progress(session_id, verdict, session, waited, delay, self.job))


def _batches(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
