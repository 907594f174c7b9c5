"""The ledger of intents in the store: whoever records one first may send, whatever crashes."""
# ruff: noqa: S608 - only fixed fragments are put into statements, never values

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from sim_devin.calls.intents import TAG_PREFIX, Intent, State, next_state
from sim_devin.calls.jobs.ledger import take
from sim_devin.calls.jobs.turn import Sent
from sim_devin.clock import Clock, day_of
from sim_devin.errors import (
    AmbiguousResult,
    CallerError,
    Cancelled,
    TimedOut,
    UnreadableResponse,
)
from sim_devin.specs.jobs import JobSpec
from sim_devin.store.account import NO_DAY, draw, drawn_on, give_back, require
from sim_devin.store.database import DatabaseConnection
from sim_devin.store.records import DUPLICATE, LATE_ANSWER, EventRecord, Run, Wait
from sim_devin.store.rows import OF_STEP, LeaseLost, marks, of_step
from sim_devin.store.sealing import names, read_text
from sim_devin.store.sql_store import SqlStore
from sim_devin.store.turns import Slot


@dataclass(frozen=True, kw_only=True)
class Takes:
    """What a step takes when its intent is recorded.

    Attributes:
        shares: what is taken off which ceiling: ACUs, sessions.
        limits: the ceilings of a day, see `account.require`; None if the shares count for the
            run alone, and the day is another's account.
        slot: what a create takes of its organization's limits; None for anything else.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, float] | None = None
    slot: Slot | None = None


class StepLedger:
    """The intents of one step of one durable run (`intents.Ledger`).

    A tag is a pure function of run, step and number of the try, so that a process that
    takes over finds what its predecessor recorded and sent.

    Args:
        store: where they are kept.
        run: the run, as claimed by this process.
        step: the try of a block, and the number of the call in it.
        clock: the app's time, for what is reported.
        takes: what is taken off ceilings and limits when an intent is recorded.
        driven: whether only the process that drives the run may record.
        wait: what the message answers: it is not sent once that is over.
        job: the kind of job that the call has to do with; None for none.
    """

    def __init__(
        self,
        store: SqlStore,
        run: Run,
        step: str,
        clock: Clock,
        takes: Takes | None = None,
        *,
        driven: bool = True,
        wait: Wait | None = None,
        job: JobSpec | None = None,
    ) -> None:
        self._store = store
        self._run = run
        self._step = step
        self._clock = clock
        self._takes = takes or Takes()
        self._driven = driven
        self._wait = wait
        self._job = job

    def tag(self, number: str) -> str:
        """Return the tag of a try of this step."""
        name = "\0".join((self._run.id, self._step, number))
        return TAG_PREFIX + hashlib.sha256(name.encode()).hexdigest()[:24]

    def claim(self, intent: Intent) -> bool:
        """Record an intent; return whether this caller may send.

        An intent that surely came to nothing may be claimed again, and so may one that is to
        be repeated. Otherwise, and for what is to be repeated, the attributes of `intent` become
        those of the record.

        Raises:
            LeaseLost: another process drives the run now.
            NotAllowed: a ceiling of the day would be exceeded; nothing is recorded.
            NotYourTurn: a limit of the organization is reached; nothing is recorded.
            Cancelled: what it answers is over; nothing is recorded.
        """
        store = self._store
        with self._writing() as connection:
            self._check_wait(connection)
            if intent.session_id and self._holds_secret(self._run.id, intent.session_id):
                raise CallerError("The session id holds a secret.", hint="Nothing was sent.")
            known = _recorded(connection, intent.tag)
            if known is not None and known.state == "repeat":
                connection.execute(
                    "UPDATE intents SET state = 'open', at = ?, sends = sends + 1 WHERE tag = ?",
                    (intent.at, intent.tag),
                )
                known = Intent(**{**vars(known), "at": intent.at, "state": "open"})
                known.sends += 1
                vars(intent).update(vars(known))
            elif known is not None and known.state != "rejected":
                vars(intent).update(vars(known))
                return False
            else:
                intent.state, intent.sends = "open", 1
                values = {**vars(intent), "run_id": self._run.id, "step": self._step}
                values["tool"] = store.closed_text(connection, self._run.id, intent.tool)
                connection.execute("DELETE FROM intents WHERE tag = ?", (intent.tag,))
                connection.execute(
                    f"INSERT INTO intents ({', '.join(values)}) VALUES ({marks(tuple(values))})",
                    tuple(values.values()),
                )
            takes = self._takes
            if takes.shares:
                own, day = (self._run.id, self._step), NO_DAY
                if takes.limits is not None:
                    day = day_of(store.now(self._clock))
                    # Others may have drawn since the shares were worked out.
                    require(takes.limits, drawn_on(store, day, besides=own), takes.shares)
                draw(connection, *own, day, takes.shares)
            if takes.slot is not None:
                takes.slot.take(store, self._run.id, self._step, store.now(self._clock))
            job = self._job
            answers = job is not None and intent.tool == job.tools.get("answer")
            if job is not None and answers and intent.session_id:
                store.rouse_session(job, intent.session_id, intent.at)
        return True

    def confirm(self, intent: Intent, *, stale: bool = False) -> None:
        """Raise if this process may not send any more what it has claimed and not yet sent.

        Asks the store: right before it is sent, nothing else knows of a lease that was lost
        while this process stood still.

        Raises:
            LeaseLost: another process drives the run now.
            AmbiguousResult: without a lease: another process has decided about it.
            TimedOut: it is `stale`, and no lease keeps others from deciding about it.
            Cancelled: what it answers is over.
        """
        if stale and not self._driven:
            text = f"{intent.tool} was delayed too long before it was sent."
            raise TimedOut(text, sent=False)
        with self._writing() as connection:
            self._check_wait(connection)
            known = _recorded(connection, intent.tag)
            if known is None or known.state != "open" or known.sends != intent.sends:
                if self._driven:
                    raise LeaseLost(self._run.id)
                raise AmbiguousResult(f"Another process has already settled {intent.tool}.")

    def settle(
        self,
        tag: str,
        state: State,
        session_id: str | None = None,
        *,
        adopted: bool = False,
        sends: int | None = None,
    ) -> Intent:
        """Record what became of an intent, and return what is recorded then.

        Compares and sets: see `intents.next_state`. Of the intents of a step only one is ever
        ``done``; a second one is ``stray``, and the first is returned. While there is one, what was
        given up stays so, and is looked for as a double. What was surely not done gives its share
        back. An answer that comes after another process has taken the run over is told in the run's
        events, and ends its question what happened.

        Raises:
            UnreadableResponse: the session's id, which is stored as it is, holds a secret.
        """
        store = self._store
        with store.database.write() as connection:
            known = _recorded(connection, tag)
            if known is None:  # pruned with its run meanwhile
                return Intent(tag, "", 0.0, state, session_id)
            query = "SELECT run_id, step, tool FROM intents WHERE tag = ?"
            owner = connection.execute(query, (tag,)).fetchone()
            run_id, step = owner["run_id"], owner["step"]
            if session_id is not None and self._holds_secret(run_id, session_id):
                raise UnreadableResponse(
                    f"{read_text(owner['tool'])} was answered with a session id that holds a "
                    "secret of this run, and is not kept.",
                    accepted=True,
                )
            after, kept = next_state(known, state, adopted=adopted, sends=sends), known
            other = _done(connection, run_id, step, besides=tag)
            if other is not None and after == "done" != known.state:
                after, kept = "stray", other
            elif other is not None and known.state == "missing" and after != "stray":
                return known
            if after == known.state:
                return known
            known.state, known.session_id = after, session_id or known.session_id
            connection.execute(
                "UPDATE intents SET state = ?, session_id = ? WHERE tag = ?",
                (after, known.session_id, tag),
            )
            if after == "rejected":
                give_back(connection, run_id, step)
            _follow_up(store, run_id, step, after, session_id)
            if state == "done":
                self._report_late(connection, known, step)
        return kept

    def _report_late(self, connection: DatabaseConnection, intent: Intent, step: str) -> None:
        """Tell of an answer that came after the run was taken from this process."""
        run = self._run
        query = "SELECT owner, fence FROM runs WHERE id = ?"
        row = connection.execute(query, (run.id,)).fetchone()
        ours = row is None or (row["owner"], row["fence"]) == (run.owner, run.fence)
        if ours or not self._driven:
            return
        what = "is used" if intent.state == "done" else "arrived too late, and is not used"
        noun, job_id = "session", intent.session_id or ""
        if self._job is not None:
            noun, job_id = self._job.noun, self._job.bare(job_id)
        data = {
            "message": f"{intent.tool} was answered to a process that no longer owned the "
            f"run: the {noun} {job_id} {what}.",
            "tool": intent.tool,
            "sessionId": intent.session_id,
        }
        self._store.put_event(
            connection, EventRecord(run.id, self._clock.time(), LATE_ANSWER, data)
        )
        if intent.state == "done":
            for wait in self._store.waits(run.id, only_open=True):
                if wait.kind == "uncertain" and wait.step == step.rpartition("/")[0]:
                    self._store.drop_wait(wait, self._clock.time())

    def watched(self, creates: Collection[str], since: float) -> list[Intent]:
        """Return the creates of every run sent after `since` that may turn out doubles."""
        return [intent for _, _, intent in watched_intents(self._store, creates, since)]

    def in_use(self, job: JobSpec, job_id: str) -> bool:
        """Return whether a job is what an intent of any run led to."""
        of, values = _of_job(job, job_id)
        query = f"SELECT session_id FROM intents WHERE state = 'done' AND {of}"
        return bool(self._store.database.read(query, values))

    def same_text(self, job: JobSpec, job_id: str, text: str) -> list[Intent]:
        """Return the intents of all messages of a text to a job, whichever run's."""
        of, values = _of_job(job, job_id)
        query = f"SELECT * FROM intents WHERE text = ? AND {of}"
        return list(map(_intent, self._store.database.read(query, (text, *values))))

    def take(
        self, job: JobSpec, tags: Sequence[str], copies: int, others: Sequence[Intent]
    ) -> bool:
        """Record that a message has arrived, if one of the copies of its text is nobody's yet."""
        with self._store.database.write() as connection:
            mine = _recorded(connection, tags[-1])
            if mine is None:  # pruned with its run meanwhile
                return False
            same = self.same_text(job, mine.session_id or "", mine.text or "")
            return take(self.settle, same, tags, copies, others)

    def report(self, tag: str, message: str, session_id: str) -> None:
        """Tell in the events of the run that an intent belongs to what was found out about it."""
        with self._store.database.write() as connection:
            row = connection.execute("SELECT run_id FROM intents WHERE tag = ?", (tag,)).fetchone()
            if row is not None:
                data = {"message": message, "sessionId": session_id, "tag": tag}
                event = EventRecord(row["run_id"], self._clock.time(), DUPLICATE, data)
                self._store.put_event(connection, event)

    def _check_wait(self, connection: DatabaseConnection) -> None:
        query = "SELECT 1 FROM waits WHERE id = ? AND open = 1 AND kind = 'sending'"
        if self._wait is not None and not connection.execute(query, (self._wait.id,)).fetchone():
            raise Cancelled("The question that the message answers is closed.")

    def _holds_secret(self, run_id: str, text: str) -> bool:
        return any(names(self._store.seals(run_id).close(text)))

    def _writing(self) -> AbstractContextManager[DatabaseConnection]:
        """Return a transaction; of a run that is driven, only for the process that drives it."""
        return self._store.held(self._run) if self._driven else self._store.database.write()

    def earlier(self) -> list[Intent]:
        """Return what is recorded of this step, oldest first."""
        return intents(self._store, self._run.id, self._step)


def intents(store: SqlStore, run_id: str, step: str) -> list[Intent]:
    """Return the intents of a step, or of all calls of a block's try."""
    rows = store.database.read(
        f"SELECT * FROM intents WHERE run_id = ? AND {OF_STEP} ORDER BY at",
        (run_id, *of_step(step)),
    )
    return [_intent(row) for row in rows]


def last_message(
    store: SqlStore, run_id: str, job: JobSpec, job_id: str
) -> tuple[bool, Sent | None]:
    """Return whether a run created a job, and the last message that it sent to it."""
    of, values = _of_job(job, job_id)
    rows = store.database.read(
        f"SELECT tool, position FROM intents WHERE run_id = ? AND {of} "
        "AND state IN ('open', 'done', 'uncertain') ORDER BY at DESC, position DESC",
        (run_id, *values),
    )
    answer = job.tools.get("answer")
    sent = [Sent(position=row["position"]) for row in rows if row["tool"] == answer]
    return any(row["tool"] == job.create.tool for row in rows), sent[0] if sent else None


def watched_intents(
    store: SqlStore, creates: Collection[str], since: float, run_id: str | None = None
) -> list[tuple[str, str, Intent]]:
    """Return run, step and intent of the creates that may turn out doubles: `may_double`."""
    mine, values = ("AND run_id = ?", (run_id,)) if run_id else ("", ())
    tools = sorted(creates)
    if not tools:
        return []
    rows = store.database.read(
        "SELECT * FROM intents WHERE (state IN ('missing', 'stray') OR sends > 1) "
        f"AND at >= ? AND tool IN ({marks(tools)}) {mine} ORDER BY at",
        (since, *tools, *values),
    )
    return [(row["run_id"], row["step"], _intent(row)) for row in rows]


def _recorded(connection: DatabaseConnection, tag: str) -> Intent | None:
    row = connection.execute("SELECT * FROM intents WHERE tag = ?", (tag,)).fetchone()
    return None if row is None else _intent(row)


def _done(connection: DatabaseConnection, run_id: str, step: str, *, besides: str) -> Intent | None:
    row = connection.execute(
        "SELECT * FROM intents WHERE run_id = ? AND step = ? AND state = 'done' AND tag <> ?",
        (run_id, step, besides),
    ).fetchone()
    return None if row is None else _intent(row)


def _of_job(job: JobSpec, job_id: str) -> tuple[str, tuple[str, ...]]:
    """Return the condition that intents are about a job, and its values."""
    tools = tuple(dict.fromkeys(job.tools.values()))
    return f"session_id IN (?, ?) AND tool IN ({marks(tools)})", (*job.spellings(job_id), *tools)


def resolve(store: SqlStore, run_id: str, step: str, state: State, session: str | None) -> int:
    """Record what a person found out about the open intents of a block; return how many."""
    with store.database.write() as connection:
        _follow_up(store, run_id, step, state, session)
        return connection.execute(
            "UPDATE intents SET state = ?, session_id = coalesce(?, session_id) WHERE run_id = ? "
            f"AND {OF_STEP} AND state IN ('open', 'uncertain', 'missing')",
            (state, session, run_id, *of_step(step)),
        ).rowcount


def _follow_up(
    store: SqlStore, run_id: str, step: str, state: State, session_id: str | None
) -> None:
    """Keep the slot of a create as long as a session may have come of it."""
    if state == "done" and session_id is not None:
        store.name_session(run_id, step, session_id)
    elif state in ("rejected", "repeat", "uncertain"):
        store.free_slot(run_id, step)


def _intent(row: Any) -> Intent:
    return Intent(
        tag=row["tag"],
        tool=read_text(row["tool"]),
        at=row["at"],
        state=row["state"],
        session_id=row["session_id"],
        position=row["position"],
        text=row["text"],
        least=row["least"],
        most=row["most"],
        sends=row["sends"],
    )
