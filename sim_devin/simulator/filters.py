"""The filters of a session list."""

from __future__ import annotations

from sim_devin.simulator.model import Session, timestamp
from sim_devin.simulator.switches import Switches
from sim_devin.simulator.validation import CATEGORIES, ORIGINS, Query


class SessionFilter:
    """The filters of a session list: all that are given must fit, in an array any one."""

    def __init__(self, query: Query, switches: Switches) -> None:
        ids = query.texts("session_ids")
        self.session_ids = (
            None if ids is None else frozenset(each.removeprefix("devin-") for each in ids)
        )
        self.tags = query.texts("tags")
        self.repo_names = query.texts("repo_names")
        archived = query.boolean("is_archived")
        hide = archived is None and switches.list_archived == "exclude"
        self.is_archived = False if hide else archived
        self.category = query.choice("category", CATEGORIES)
        parent = query.text("parent_session_id")
        equal = {
            "playbook_id": query.text("playbook_id"),
            "schedule_id": query.text("schedule_id"),
            "parent_session_id": None if parent is None else parent.removeprefix("devin-"),
        }
        any_of = {
            "origin": query.texts("origins", ORIGINS),
            "user_id": query.texts("user_ids"),
            "service_user_id": query.texts("service_user_ids"),
            "automation_id": query.texts("automation_ids"),
        }
        self.times = (
            query.integer("created_after"),
            query.integer("created_before"),
            query.integer("updated_after"),
            query.integer("updated_before"),
        )
        self.equal = {name: value for name, value in equal.items() if value is not None}
        self.any_of = {name: value for name, value in any_of.items() if value is not None}
        self.switches = switches

    def fits(self, session: Session, now: float) -> bool:
        """Return whether `session`, as it was at `now`, passes."""
        view = session.view_at(now)
        if self.is_archived is not None and view.is_archived != self.is_archived:
            return False
        if self.tags is not None and self.tags.isdisjoint(view.tags):
            return False
        if self.repo_names is not None and self.repo_names.isdisjoint(session.repos):
            return False
        if any(getattr(session, name) != value for name, value in self.equal.items()):
            return False
        if any(getattr(session, name) not in values for name, values in self.any_of.items()):
            return False
        category = self.category
        if category not in (None, session.category_at(view, now, self.switches)):
            return False
        created = timestamp(session.created_at, self.switches)
        updated = timestamp(view.updated_at, self.switches)
        created_after, created_before, updated_after, updated_before = self.times
        return (
            (created_after is None or created >= created_after)
            and (created_before is None or created <= created_before)
            and (updated_after is None or updated >= updated_after)
            and (updated_before is None or updated <= updated_before)
        )
