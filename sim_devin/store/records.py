"""What the store of durable runs keeps, as rows. All times are Unix seconds.

Texts that hold secrets are `sealing.Hidden` in records that were read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

RunState = Literal[
    "ready", "running", "waiting", "asking", "uncertain", "held", "done", "failed", "cancelled"
]
PARKED: tuple[RunState, ...] = ("waiting", "asking", "uncertain")
ENDED: tuple[RunState, ...] = ("done", "failed", "cancelled")

# What a run waits for:
#   session    a Devin session, looked after by the poller
#   question   the answer of a person to what Devin asked; the wait for the session continues then
#   sending    the same, answered: the message is on its way
#   human      a form
#   approval   approval to a call
#   time       a moment
#   sleep      a moment so near that the run stays in its process
#   turn       a free slot of an organization, to create a session
#   service    a moment after which a service that could not be read is asked again
#   uncertain  a person who says whether something was done
WaitKind = Literal[
    "session",
    "question",
    "sending",
    "human",
    "approval",
    "time",
    "sleep",
    "turn",
    "service",
    "uncertain",
]
ASKING: tuple[WaitKind, ...] = ("human", "question", "approval", "uncertain")


DUPLICATE = "session.duplicate"  # a session that was one too many; ``message`` says what was done
OVERTIME = "session.overtime"  # a session that was ended for its time; ``message`` says so
LATE_ANSWER = "call.late"  # an answer to a process that had lost the run to another

FILE_EVENT = (
    "run.file"  # says by ``path`` which workflow file a run belongs to; the last one counts
)


def _camel_case(name: str) -> str:
    first, *more = name.split("_")
    return first + "".join(map(str.capitalize, more))


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run is carried out: what of a `RunRequest` is stored with the run.

    Attributes:
        trigger: how it starts: ``manual``, ``api``, ``chat`` or ``external``.
        from_block: id of the block that it starts from, on the outputs of `snapshot`.
        snapshot: what an earlier run left behind, see `RunResult.snapshot`.
        stop_after: id of the block after which nothing new starts.
        max_acu: ceiling for the ACU limits of all its sessions together.
        max_sessions: the most sessions that it may create.
        allow_python: whether Function blocks may run Python.
        on_question: what a Devin Wait block does when Devin asks: ``return`` or ``hold``.
        answer_within: seconds in which a question or form has to be answered.
        default_answer: the answer that is given then.
        remind_every: seconds between two reminders of a question or form.
        forked_from: id of the run whose record it began with.
    """

    trigger: str = "manual"
    from_block: str | None = None
    snapshot: Mapping[str, Any] | None = None
    stop_after: str | None = None
    max_acu: int | None = None
    max_sessions: int | None = None
    allow_python: bool = False
    on_question: str = "return"
    answer_within: float | None = None
    default_answer: Any = None
    remind_every: float | None = None
    forked_from: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the options as they are stored."""
        stored = {key: getattr(self, name) for name, key in _STORED.items()}
        if self.forked_from is None:  # only forks have it
            del stored["forkedFrom"]
        return stored

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> RunOptions:
        """Return the options that were stored; what an earlier version did not know is unset."""
        return cls(**{name: stored[key] for name, key in _STORED.items() if key in stored})


_STORED = {item.name: _camel_case(item.name) for item in fields(RunOptions)}


@dataclass
class Run:
    """One durable run.

    Attributes:
        state: ``ready`` to be driven, ``running`` while a process holds its lease,
            ``waiting`` for sessions or moments, ``asking`` for you, ``uncertain`` whether
            something was done, ``held`` for what is missing here (`error` says what), or how
            it ended: ``done``, ``failed``, ``cancelled``.
        document: id of the workflow document it started with.
        children: workflow id -> id of the document, of child workflows.
        inputs: what the start block is given; secrets replaced by their names.
        options: how it is carried out, as stored; `chosen` has them typed.
        secrets: the names of the secrets that can stand in what is recorded of it.
        owner: the process that drives it; `fence` grows with each.
        lease_until: until when that process holds it without a further sign of life.
        result: the result at the end, as JSON data.
        summary: what it came to: ``blocks``, how many ran, and ``sessions``, state -> how many.
    """

    id: str
    state: RunState
    document: str
    name: str = ""
    children: dict[str, str] = field(default_factory=dict)
    inputs: Any = None
    options: dict[str, Any] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    created: float = 0.0
    updated: float = 0.0
    started: float | None = None
    ended: float | None = None
    deadline: float | None = None
    owner: str | None = None
    fence: int = 0
    lease_until: float = 0.0
    cancelling: bool = False
    result: dict[str, Any] | None = None
    error: str | None = None
    summary: dict[str, Any] | None = None

    @property
    def chosen(self) -> RunOptions:
        """How it is carried out."""
        return RunOptions.of_json(self.options)

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON data, without its document and result."""
        return {
            "runId": self.id,
            "workflow": self.name,
            "state": self.state,
            "createdAt": self.created,
            "updatedAt": self.updated,
            "startedAt": self.started,
            "endedAt": self.ended,
            "deadline": self.deadline,
            "owner": self.owner,
            "error": self.error,
        }


@dataclass
class BlockRecord:
    """What one try of one block came to.

    Attributes:
        key: the block and the passes around it, exactly.
        attempt: number of the try, from 1.
        output: its output; of a failure what joins ``error``.
        error: why it failed; None if it did not. `retry` says whether trying again is safe.
        variables: workflow variable id -> value it set.
        log: its log entry, secrets masked.
        sequence: its place in the order in which blocks ended.
    """

    key: str
    attempt: int
    block_id: str
    output: Any = None
    error: str | None = None
    hint: str = ""
    retry: bool = False
    variables: dict[str, Any] = field(default_factory=dict)
    log: dict[str, Any] = field(default_factory=dict)
    started: float = 0.0
    ended: float = 0.0
    sequence: int = 0


@dataclass
class Wait:
    """One thing a run waits for.

    Attributes:
        step: the try of the block that waits; of an approval, the call in it.
        open: whether it is still waited for.
        context_id: under which name it is answered.
        point: what is shown about it, as JSON data.
        output: the block's output until then.
        then: what becomes of the answer: ``answered`` merges it into `output`, ``output``
            makes it the output.
        due: when it is over without an answer; for `session` its deadline.
        answer_by: of a question, form or approval: when it is too late to answer it.
        about: of a session: ``sessionId`` (the job's id, of whatever kind), ``until``, ``schema``,
            ``credentials``, ``onQuestion``; of something uncertain: the tool; of an approval: the
            tool, and in ``call`` what tells the call from others.
        job: the kind of job that it is for; None where it is for none.
        place: where the job is looked for: the address of the organization's list.
        next_look: when it is looked at next; `pause` the seconds between the last looks. Of
            a turn: when its run was last called to take it.
        seen: the session's state at the last look.
        answer: the answer, as JSON data; `error` if it ended in a failure.
        remind_every: seconds between two reminders, of a run that says so itself.
        remind_at: of a question or form: when someone is reminded next; None for at once.
        reminders: how often someone was reminded of it.
    """

    run_id: str
    step: str
    kind: WaitKind
    block_id: str = ""
    context_id: str = ""
    point: dict[str, Any] = field(default_factory=dict)
    output: Any = None
    then: Literal["answered", "output"] = "output"
    due: float | None = None
    answer_by: float | None = None
    about: dict[str, Any] = field(default_factory=dict)
    job: str | None = None
    place: str | None = None
    next_look: float = 0.0
    pause: float = 0.0
    seen: dict[str, Any] | None = None
    created: float = 0.0
    ended: float | None = None
    answer: Any = None
    error: str | None = None
    open: bool = True
    remind_every: float | None = None
    remind_at: float | None = None
    reminders: int = 0
    id: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the wait as JSON data for people."""
        return {
            "kind": self.kind,
            "step": self.step,
            "blockId": self.block_id,
            "contextId": self.context_id,
            "since": self.created,
            "due": self.due,
            "answerBy": self.answer_by,
            "reminders": self.reminders,
            "remindAt": self.remind_at,
            "session": self.about.get("sessionId"),
            **{key: value for key, value in self.point.items() if key != "contextId"},
        }


@dataclass
class SessionRecord:
    """One job, such as a Devin session, that a durable run creates or has created.

    Attributes:
        step: the call that creates it.
        place: its organization: the address of the organization's list.
        credentials: what tells sessions of one key from those of another; no secret.
        created: when the intent of the create was recorded last.
        since: when it was last set going: by its create, or by a message.
        session_id: its id; None until it is known.
        working: whether it holds a slot of its organization.
        over_since: the first look that saw it over, if it is.
        next_look: when it is looked at next though no run waits for it; None unless
            something depends on it.
        overtime: of one that is over its time: ``ending`` while it is being ended, ``ended``,
            or ``over`` if it had ended by itself.
        overtime_look: when ending it is tried again, after a failure.
        job: which kind of job it is.
    """

    run_id: str
    step: str
    place: str
    credentials: str | None
    created: float
    since: float
    session_id: str | None = None
    working: bool = True
    over_since: float | None = None
    next_look: float | None = None
    overtime: str | None = None
    overtime_look: float | None = None
    job: str = ""


@dataclass
class EventRecord:
    """One thing that happened in a run, as it is kept."""

    run_id: str
    at: float
    kind: str
    data: Mapping[str, Any]
    id: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the event as JSON data."""
        return {"event": self.kind, "runId": self.run_id, "time": self.at, **self.data}
