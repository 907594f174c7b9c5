"""What the simulated service remembers, and how it looks on the wire."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sim_devin.simulator.scenario import Scenario, Step
from sim_devin.simulator.switches import Switches

TITLE_DELAY = 4.0
_CATEGORIES = (
    ("unit_test_generation", ("test",)),
    ("bug_fixing", ("fix", "bug", "crash")),
    ("migrations_and_upgrades", ("bump", "upgrade", "migrat")),
    ("documentation_and_content", ("docs", "document", "readme")),
    ("refactoring_and_optimization", ("refactor", "optimi", "speed")),
)


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message; `created_at` is in seconds since the epoch."""

    event_id: str
    source: str
    message: str
    created_at: float

    def wire(self, switches: Switches) -> dict[str, Any]:
        """Return the message as the service shows it."""
        data: dict[str, Any] = {
            "event_id": self.event_id,
            "source": self.source,
            "message": self.message,
            "created_at": timestamp(self.created_at, switches),
        }
        if switches.extra_fields:
            data["username"] = None if self.source == "devin" else "someone"
        return data


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file: uploaded to the organization, or listed with a session."""

    attachment_id: str
    name: str
    content: bytes
    content_type: str | None = None
    source: str = "user"
    url: str | None = None  # set when it lies elsewhere and only its address is known


@dataclass(frozen=True, slots=True)
class View:
    """Everything about a session that changes, at one moment."""

    updated_at: float
    status: str = "new"
    status_detail: str | None = None
    title: str | None = None
    tags: tuple[str, ...] = ()
    acus: float = 0.0
    pull_requests: tuple[Mapping[str, Any], ...] = ()
    structured_output: Mapping[str, Any] | None = None
    category: str | None = None
    subcategory: str | None = None
    is_archived: bool = False
    child_session_ids: tuple[str, ...] = ()


@dataclass(slots=True)
class Session:
    """A session: what was asked for, its history, and how far its script has come.

    `timeline` holds a `View` for every change, so that lists and amounts can lag behind.
    """

    id: str
    org_id: str
    number: int
    created_at: float
    prompt: str
    scenario: Scenario
    timeline: list[View]
    repos: tuple[str, ...] = ()
    structured_output_schema: Mapping[str, Any] | None = None
    max_acu_limit: float | None = None
    user_id: str | None = None
    service_user_id: str | None = None
    playbook_id: str | None = None
    automation_id: str | None = None
    schedule_id: str | None = None
    parent_session_id: str | None = None
    origin: str = "api"
    devin_mode: str | None = None
    messages: list[Message] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)

    steps: tuple[Step, ...] = ()
    next_step: int = 0
    anchor: float = 0.0
    halted: bool = False
    paused_at: float | None = None
    active_at: float = 0.0
    wake_at: float | None = None
    wake_to: tuple[str, str | None] = ("running", "working")
    heard_at: float = float("-inf")
    before: tuple[str, str | None] = ("new", None)
    replies_used: dict[int, int] = field(default_factory=dict)

    @property
    def view(self) -> View:
        """Return the session as it is now."""
        return self.timeline[-1]

    def view_at(self, moment: float) -> View:
        """Return the session as it was at `moment`, its first state when that is before it."""
        for view in reversed(self.timeline):
            if view.updated_at <= moment:
                return view
        return self.timeline[0]

    def change(self, at: float, **changes: Any) -> None:
        """Add a new present to the timeline; time never goes back in it."""
        moment = max(at, self.view.updated_at)
        self.timeline.append(dataclasses.replace(self.view, updated_at=moment, **changes))

    def state_at(self, now: float, switches: Switches) -> tuple[str, str | None]:
        """Return the present status and its detail as shown: those of before a message linger."""
        awake = self.view.status in ("running", "resuming")  # what else it says is not hidden
        if awake and now < self.heard_at + switches.status_lag:
            return self.before
        return self.view.status, self.view.status_detail

    @property
    def ended(self) -> bool:
        """Return whether nothing can happen in the session any more."""
        return self.view.status in ("exit", "error")

    def title_at(self, view: View, now: float, switches: Switches) -> str | None:
        """Return the title: the given one, or after a moment one made from the prompt."""
        if view.title is not None or not switches.auto_title:
            return view.title
        if now < self.created_at + TITLE_DELAY:
            return None
        return " ".join(self.prompt.split()[:6]) or "Untitled session"

    def category_at(self, view: View, now: float, switches: Switches) -> str | None:
        """Return the category: the scripted one, or late enough one guessed from the prompt."""
        if view.category is not None:
            return view.category
        if now < self.created_at + switches.category_delay:
            return None
        prompt = self.prompt.lower()
        for category, words in _CATEGORIES:
            if any(word in prompt for word in words):
                return category
        return "feature_development"

    def wire(
        self, now: float, switches: Switches, *, full: bool, lag: float = 0.0
    ) -> dict[str, Any]:
        """Return the session as the service shows it, `lag` seconds late.

        Only with `full` (get and list) does it carry the fields the contract keeps for them.
        """
        now -= lag
        view = self.view_at(now) if lag else self.timeline[-1]
        status, detail = view.status, view.status_detail
        if view is self.view:
            status, detail = self.state_at(now, switches)
        counted = view.acus and switches.billing == "acus"
        acus = self.view_at(now - switches.acu_lag).acus if counted else 0.0
        shown_id = shown(self.id, switches)
        parent = self.parent_session_id
        required = {
            "session_id": shown_id,
            "url": f"https://app.devin.ai/sessions/{shown_id}",
            "status": status,
            "tags": list(view.tags),
            "org_id": self.org_id,
            "created_at": timestamp(self.created_at, switches),
            "updated_at": timestamp(view.updated_at, switches),
            "acus_consumed": acus,
            "pull_requests": [dict(item) for item in view.pull_requests],
        }
        optional: dict[str, Any] = {
            "title": self.title_at(view, now, switches),
            "user_id": self.user_id,
            "service_user_id": self.service_user_id,
            "playbook_id": self.playbook_id,
            "automation_id": self.automation_id,
            "parent_session_id": None if parent is None else shown(parent, switches),
            "child_session_ids": [shown(child, switches) for child in view.child_session_ids],
            "origin": self.origin,
            "devin_mode": self.devin_mode,
            "is_archived": view.is_archived,
            "status_detail": None,
            "structured_output": None,
            "category": None,
            "subcategory": None,
        }
        if full:
            category = self.category_at(view, now, switches)
            if detail == "working" and switches.drift_detail is not None:
                detail = switches.drift_detail
            optional["status_detail"] = detail
            optional["structured_output"] = view.structured_output
            optional["category"] = category
            optional["subcategory"] = view.subcategory or ("Other" if category else None)
        if switches.optional_fields == "absent":
            optional = {name: value for name, value in optional.items() if value not in (None, [])}
        data = required | optional
        if switches.extra_fields:
            data["security_profile"] = "standard"
            data["latest_status_contents"] = {"enum": status}
        return data


def shown(session_id: str, switches: Switches) -> str:
    """Return a session's id in the form the service shows."""
    return session_id if switches.session_id == "bare" else f"devin-{session_id}"


def timestamp(moment: float, switches: Switches) -> int:
    """Return `moment` as the integer the service shows."""
    return int(moment * 1_000) if switches.timestamps == "milliseconds" else int(moment)
