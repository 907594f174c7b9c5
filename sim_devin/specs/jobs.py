"""Kinds of long-running jobs: which tool does what to one, and which field of it means what.

A job is something a service works on by itself after a call has started it, such as a Devin
session. What this package knows of a job it reads by its `JobSpec`, which is pure data; where the
meaning of a state cannot be said as data, the plugin attaches a function (`judge`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, model_validator

from sim_devin.specs.models import PARAMETER, TOOL_ID, SpecModel

JobState = Literal[
    "in_flight",
    "done",
    "blocked_on_user",
    "blocked_on_approval",
    "asleep",
    "out_of_money",
    "failed",
    "ended",
]
OVER: tuple[JobState, ...] = ("done", "failed", "ended")

_Name = Field(default="", pattern=rf"^$|{PARAMETER}")


class JobFields(SpecModel):
    """Which output field of the job's tools means what; the same names in all of them.

    Attributes:
        id: the job's id, as its tools take it.
        state: its state, see `JobSpec.states`.
        detail: what the state means more exactly.
        result: its result, once there is one.
        cost: what it has cost so far, a number.
        url: where a person can watch it.
        title: its title.
        created: when it was created: Unix seconds or milliseconds, or an ISO 8601 text.
        changed: when it changed last, in the same form.
        closed: true once it is put away for good and takes no more answers.
        artifacts: what it has made elsewhere, such as pull requests: a list of objects.
        artifact_url: the key of an artifact's address.
        artifact_state: the key of its state, such as merged.
    """

    id: str
    state: str
    detail: str = ""
    result: str = ""
    cost: str = ""
    url: str = ""
    title: str = ""
    created: str = ""
    changed: str = ""
    closed: str = ""
    artifacts: str = ""
    artifact_url: str = Field(default="url", alias="artifactUrl")
    artifact_state: str = Field(default="state", alias="artifactState")


class JobCreate(SpecModel):
    """Which tool creates a job.

    Attributes:
        tool: the tool.
        task: the parameter that says what to do.
        cap: the parameter that bounds what the job may cost; it counts in the account of what is
            spent, as what is in the field `cost` does.
        tag: the parameter that a tag of ours goes into, by which `find` finds a job again whose
            create got no answer: a list, to which it is added, or a text.
        most_tags: the most tags that the list may hold; 0 for any number.
        schema_: the parameter that takes a JSON Schema (draft 7) for the result.
    """

    tool: str
    task: str = _Name
    cap: str = _Name
    tag: str = _Name
    most_tags: int = Field(default=0, ge=0, alias="mostTags")
    schema_: str = Field(default="", pattern=rf"^$|{PARAMETER}", alias="schema")


class JobCall(SpecModel):
    """A tool that takes a job's id.

    Attributes:
        tool: the tool.
        id: the parameter that takes the id.
    """

    tool: str
    id: str


class JobLookMany(SpecModel):
    """Which tool looks at many jobs at once.

    Attributes:
        tool: the tool.
        ids: the parameter that takes their ids, a list.
        items: the output field that holds the jobs.
        most: the most ids of one call.
        with_: further parameters of every call.
    """

    tool: str
    ids: str
    items: str
    most: int = Field(default=150, ge=1)
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")


class JobFind(SpecModel):
    """Which tool finds the jobs that carry a tag. What it returns is checked once more here.

    Attributes:
        tool: the tool.
        items: the output field that holds the jobs.
        field: the field of a job that holds the tag: a list of texts, or a text.
        tag: the parameter that takes the tag; left out, all jobs that the tool lists are looked
            through.
        since: the parameter that takes the moment from which on jobs were created, in Unix
            seconds.
        each: parameters of each call that together see all jobs; one call without any unless
            given.
    """

    tool: str
    items: str
    field: str
    tag: str = _Name
    since: str = _Name
    each: tuple[dict[str, Any], ...] = ({},)


class JobAnswer(SpecModel):
    """Which tool says something to a job, such as the answer to its question.

    Attributes:
        tool: the tool.
        id: the parameter that takes the job's id.
        text: the parameter that takes what is said.
    """

    tool: str
    id: str
    text: str


class JobMessages(SpecModel):
    """Which tool lists what was said to a job and by it, oldest first.

    Attributes:
        tool: the tool.
        id: the parameter that takes the job's id.
        items: the output field that holds the messages.
        text: the key of a message's text.
        author: the key that says who wrote it.
        users: values of the author that stand for the users of the service, us among them.
        key: the key that tells a message from all others.
        at: the key of when it was written, see `JobFields.created`.
        with_: further parameters of every call.
    """

    tool: str
    id: str
    items: str
    text: str
    author: str
    users: tuple[str, ...] = Field(min_length=1)
    key: str = ""
    at: str = ""
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")


class JobWait(SpecModel):
    """The tool and the block that wait for a job; both are made from the rest of this file.

    Attributes:
        tool: id of the tool.
        block: type of the block.
        title: the block's title.
    """

    tool: str = Field(pattern=TOOL_ID)
    block: str = Field(pattern=TOOL_ID)
    title: str = ""


class JobSpec(SpecModel):
    """One kind of long-running job.

    Attributes:
        schema_: where the JSON Schema of this file is, for editors.
        id: unique among all kinds of jobs; stores know it.
        title: a few words for people, such as Devin session.
        noun: what people call one, such as session.
        artifact: what people call what it makes, such as Pull request.
        unit: in what its cost is counted, such as ACUs.
        id_prefix: what ids may begin with or not, and mean the same.
        fields: which output field means what.
        states: what a job's state means -> the values of the field `state`, or of `detail`, which
            is looked at first; other values mean that it is at work.
        final: values of the field `state` from which no job comes back; those that mean failed or
            ended unless given.
        create: the tool that creates one.
        look: the tool that looks at one.
        look_many: the tool that looks at many.
        find: the tool that finds those that carry a tag.
        answer: the tool that says something to one.
        messages: the tool that lists what was said.
        end: the tool that ends one for good.
        wait: the tool and the block that wait for one.
        transcript: the address of its transcript for MCP clients, with `{id}` for the job's id.
        judge: `(job, schema) -> (state, reason, scope)`, where `states` cannot say it.
    """

    schema_: str | None = Field(default=None, alias="$schema")
    id: str = Field(pattern=TOOL_ID)
    title: str
    noun: str = "job"
    artifact: str = "Artifact"
    unit: str = ""
    id_prefix: str = Field(default="", alias="idPrefix")
    fields: JobFields
    states: dict[JobState, tuple[str, ...]] = Field(default_factory=dict)
    final: tuple[str, ...] = ()
    create: JobCreate
    look: JobCall
    look_many: JobLookMany | None = Field(default=None, alias="lookMany")
    find: JobFind | None = None
    answer: JobAnswer | None = None
    messages: JobMessages | None = None
    end: JobCall | None = None
    wait: JobWait | None = None
    transcript: str = ""
    judge: Callable[..., Any] | None = Field(default=None, exclude=True, repr=False)

    @model_validator(mode="after")
    def _states_say_one_thing_each(self) -> JobSpec:
        values = [value for values in self.states.values() for value in values]
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ValueError(f"states: {', '.join(map(repr, twice))} cannot mean two things")
        if "in_flight" in self.states:
            raise ValueError("states: in_flight is what all other values mean; leave it out")
        return self

    # -- ids -----------------------------------------------------------------------------------

    def bare(self, job_id: Any) -> str:
        """Return an id without the prefix, the form to compare ids in."""
        return str(job_id or "").removeprefix(self.id_prefix)

    def spellings(self, job_id: Any) -> tuple[str, str]:
        """Return an id as it may be written: without the prefix, and with it."""
        return self.bare(job_id), self.id_prefix + self.bare(job_id)

    def same(self, one: Any, other: Any) -> bool:
        """Return whether two ids are of one job."""
        return self.bare(one) == self.bare(other)

    # -- fields --------------------------------------------------------------------------------

    def id_of(self, job: Mapping[str, Any]) -> str | None:
        """Return the id of a job as a tool returned it; None if there is none."""
        found = job.get(self.fields.id)
        return found if isinstance(found, str) and found else None

    def field(self, job: Mapping[str, Any], name: str) -> Any:
        """Return what a job has in the field that `JobFields` calls `name`; None without one."""
        key = getattr(self.fields, name)
        return job.get(key) if key else None

    def cost_of(self, job: Mapping[str, Any]) -> float | None:
        """Return what a job has cost; None if its answer holds no such number."""
        cost = self.field(job, "cost")
        return cost if isinstance(cost, int | float) and not isinstance(cost, bool) else None

    def moment(self, job: Mapping[str, Any], name: str) -> float | None:
        """Return a moment of a job in Unix seconds: ``created`` or ``changed``."""
        return seconds(self.field(job, name))

    def is_seen(self, output: Mapping[str, Any]) -> bool:
        """Return whether an output says in which state a job is."""
        return self.id_of(output) is not None and bool(self.field(output, "state"))

    def meaning(self, job: Mapping[str, Any]) -> tuple[JobState, str]:
        """Return what `states` says of a job, and the value that says it."""
        for value in (self.field(job, "detail"), self.field(job, "state")):
            for state, values in self.states.items():
                if value in values:
                    return state, str(value)
        return "in_flight", str(self.field(job, "state") or "unknown")

    def outlines(self, job: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return what changes when there is news of a job."""
        return tuple(self.field(job, name) for name in ("id", "state", "detail", "cost", "changed"))

    def takes_answers(self, job: Mapping[str, Any]) -> bool:
        """Return whether a job may still be said something to."""
        return not self.is_final(job) and not self.field(job, "closed")

    def is_final(self, job: Mapping[str, Any]) -> bool:
        """Return whether a job can never be at work again."""
        final = self.final or (*self.states.get("failed", ()), *self.states.get("ended", ()))
        return self.field(job, "state") in final

    def artifacts_of(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what a job made elsewhere, each with its address under `artifact_url`.

        The answers hold a list of objects; a single one, texts, and other shapes that an address
        can be found in are taken for what they mean.
        """
        key, given = self.fields.artifact_url, self.field(job, "artifacts")

        def address(item: Any) -> str:
            if isinstance(item, Mapping):
                item = item.get(key) or item.get("url")
            return item if isinstance(item, str) else ""

        if isinstance(given, Mapping) and not address(given):
            given = [*given.values()]
        found = []
        for item in given if isinstance(given, list | tuple) else [given]:
            url = address(item)
            if url:
                found.append({**(item if isinstance(item, Mapping) else {}), key: url})
        return found

    # -- tools ---------------------------------------------------------------------------------

    @property
    def tools(self) -> dict[str, str]:
        """Role -> tool id, for the roles that the job has; ``wait`` among them."""
        roles = ("create", "look", "look_many", "find", "answer", "messages", "end", "wait")
        return {role: part.tool for role in roles if (part := getattr(self, role)) is not None}


def seconds(value: Any) -> float | None:
    """Return a moment that a service shows, in Unix seconds: some show milliseconds, some text."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value / 1000 if value > 1e11 else float(value)
