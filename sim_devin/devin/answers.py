"""What the typed client returns: Devin's sessions, messages and files as pydantic models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic.alias_generators import to_camel

from sim_devin.devin.verdict import pull_requests
from sim_devin.specs.jobs import JobState


class Answer(BaseModel):
    """Base of what the client returns. Unknown fields are kept; enums are open."""

    model_config = ConfigDict(
        frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True
    )


class PullRequest(Answer):
    """A pull request of a session. `pr_state` is such as open, merged, closed or draft."""

    model_config = ConfigDict(frozen=True, extra="allow")

    pr_url: str
    pr_state: str | None = None


class Session(Answer):
    """A session. Times are Unix seconds; `status_detail` and `structured_output` come by get."""

    session_id: str
    url: str | None = None
    status: str | None = None
    status_detail: str | None = None
    title: str | None = None
    created_at: float | None = None
    updated_at: float | None = None
    acus_consumed: float | None = None
    tags: list[str] = []
    pull_requests: list[PullRequest] = []
    structured_output: Any = None
    playbook_id: str | None = None
    is_archived: bool = False

    @field_validator("pull_requests", mode="before")
    @classmethod
    def _with_addresses(cls, given: Any) -> list[dict[str, Any]]:
        return pull_requests({"pullRequests": given})


class Message(Answer):
    """A message. `source` is devin or user; `event_id` does not sort by time."""

    event_id: str | None = None
    source: str | None = None
    message: str | None = None
    created_at: float | None = None


class Attachment(Answer):
    """A file given to a session or made by it."""

    attachment_id: str | None = None
    name: str | None = None
    url: str | None = None
    source: str | None = None
    content_type: str | None = None


class SessionPage(Answer):
    """One page of sessions; pass `end_cursor` as ``after`` for the next."""

    sessions: list[Session]
    end_cursor: str | None = None
    has_next_page: bool = False
    total: int | None = None


class MessagePage(Answer):
    """One page of messages, oldest first; pass `end_cursor` as ``after`` for the next."""

    messages: list[Message]
    end_cursor: str | None = None
    has_next_page: bool = False
    total: int | None = None


class SessionRun(BaseModel):
    """What `Devin.run_session` brings back.

    Attributes:
        session: the session as last seen.
        outcome: how it ended, such as ``done`` or ``blocked_on_user``; see
            `sim_devin.calls.jobs.wait`.
        reason: the outcome in words.
        messages: the conversation, oldest first.
        attachments: the session's files.
        timed_out: whether the deadline came before the session settled, or before all of it
            was read.
        doubles: ids of sessions that were one too many, and were ended: see
            `sim_devin.App.end_doubles`.
    """

    model_config = ConfigDict(frozen=True)

    session: Session
    outcome: JobState
    reason: str
    messages: list[Message]
    attachments: list[Attachment]
    timed_out: bool = False
    doubles: list[str] = []
