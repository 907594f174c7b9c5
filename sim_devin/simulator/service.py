"""The operations of the simulated service on its state. Nothing here knows HTTP."""

from __future__ import annotations

import random
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sim_devin.simulator import paging, rules, script, validation
from sim_devin.simulator.access import Caller
from sim_devin.simulator.answers import Problem
from sim_devin.simulator.clock import Clock
from sim_devin.simulator.filters import SessionFilter
from sim_devin.simulator.model import Attachment, Message, Session, View
from sim_devin.simulator.repertoire import Repertoire
from sim_devin.simulator.switches import Switches

_FILE_PATH = re.compile(r"/attachments/([0-9a-f-]{36})/[^/]+$")


@dataclass(slots=True)
class Organization:
    """The sessions of one organization in the order of their creation, and its files."""

    sessions: dict[str, Session] = field(default_factory=dict)
    files: dict[str, Attachment] = field(default_factory=dict)


class Service:
    """Sessions, messages, tags and attachments of any number of organizations.

    Operations return JSON data in the form of the wire or raise `Problem`. `counts` is what
    really happened, whatever the clients were told. Not thread-safe by itself.
    """

    def __init__(
        self,
        clock: Clock,
        switches: Switches,
        repertoire: Repertoire,
        rng: random.Random,
    ) -> None:
        self.clock = clock
        self.switches = switches
        self.repertoire = repertoire
        self._random = rng
        self.reset()

    def reset(self) -> None:
        """Forget all sessions, files and counts."""
        self.organizations: dict[str, Organization] = {}
        self.counts: Counter[str] = Counter()
        self._numbers = 0

    def organization(self, org_id: str) -> Organization:
        """Return the organization, which comes into being when first named."""
        return self.organizations.setdefault(org_id, Organization())

    def new_id(self) -> str:
        """Return a fresh uuid; the same sequence for the same `rng`."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    # Sessions

    def create(
        self,
        caller: Caller,
        body: Mapping[str, Any],
        *,
        devin_id: str | None = None,
        commit_delay: float = 0.0,
    ) -> dict[str, Any]:
        """Create a session, which exists from `commit_delay` simulated seconds on."""
        validation.check_body(
            body, {**validation.CREATE, "tags": validation.tags(self.switches.tag_limit)}, "prompt"
        )
        if body.get("create_as_user_id") is not None:
            caller.require("ImpersonateOrgSessions")
        rules.check_quota(len(self.organization(caller.org_id).sessions), self.switches)
        rules.check_modes(body, self.switches)
        tags = rules.allowed_tags(body.get("tags") or (), self.switches)
        known = self._known(caller.org_id, devin_id)
        if known is not None:
            return self._wire(known, full=False)
        user_id = body.get("create_as_user_id") or caller.user_id
        session = self.add(
            caller.org_id,
            body["prompt"],
            title=body.get("title"),
            tags=tags,
            created_at=self.clock.time() + commit_delay,
            session_id=None if devin_id is None else self._own_id(devin_id),
            repos=tuple(body.get("repos") or ()),
            structured_output_schema=body.get("structured_output_schema"),
            max_acu_limit=body.get("max_acu_limit"),
            user_id=user_id,
            service_user_id=None if user_id else caller.service_user_id,
            playbook_id=body.get("playbook_id"),
            devin_mode=body.get("devin_mode") or next(iter(self.switches.enabled_modes), None),
        )
        self._attach(session, body.get("attachment_urls") or ())
        self.counts["sessions_created"] += 1
        return self._wire(session, full=False)

    def add(
        self,
        org_id: str,
        prompt: str,
        *,
        title: str | None = None,
        tags: Iterable[str] = (),
        created_at: float | None = None,
        session_id: str | None = None,
        scenario: str | None = None,
        parent_session_id: str | None = None,
        **fields: Any,
    ) -> Session:
        """Put a session there without a request; `fields` are further ones of `Session`.

        For what no request can ask for: another `origin`, a parent, a schedule, a user.
        """
        tags = tuple(dict.fromkeys(tags))
        if scenario is None:
            chosen = self.repertoire.choose(prompt, title, tags)
        else:
            chosen = self.repertoire.scenarios[scenario]
        organization = self.organization(org_id)
        if parent_session_id is not None:
            parent_session_id = parent_session_id.removeprefix("devin-")
        now = self.clock.time() if created_at is None else created_at
        self._numbers += 1
        session = Session(
            id=session_id or f"{self._random.getrandbits(128):032x}",
            org_id=org_id,
            number=self._numbers,
            created_at=now,
            prompt=prompt,
            scenario=chosen,
            timeline=[View(updated_at=now, title=title, tags=tags)],
            steps=chosen.steps,
            anchor=now,
            active_at=now,
            parent_session_id=parent_session_id,
            **fields,
        )
        if self.switches.prompt_is_message:
            session.messages.append(Message(self.new_id(), "user", prompt, now))
        parent = organization.sessions.get(parent_session_id or "")
        if parent is not None:
            children = (*parent.view.child_session_ids, session.id)
            parent.change(now, child_session_ids=children)
        organization.sessions[session.id] = session
        return session

    def get(self, caller: Caller, session_id: str) -> dict[str, Any]:
        """Return one session in full."""
        return self._wire(self._session(caller.org_id, session_id), full=True)

    def list_sessions(self, caller: Caller, query: validation.Query) -> dict[str, Any]:
        """Return a page of the sessions that pass all filters of `query`, newest first."""
        switches = self.switches
        size = query.page_size()
        wanted = SessionFilter(query, switches)
        after = query.text("after")
        query.finish()
        before = paging.position("sessions", after, switches)
        lag = switches.list_lag
        now = self.clock.time()
        sessions = self.organization(caller.org_id).sessions
        if wanted.session_ids is None:
            pool: Iterable[Session] = reversed(sessions.values())
        else:
            found = [sessions[each] for each in wanted.session_ids if each in sessions]
            pool = sorted(found, key=lambda session: -session.number)
        page: list[Session] = []
        total = 0
        more = False
        for session in pool:
            if session.created_at > now - lag:
                continue
            script.settle(session, now, switches, self.new_id)
            if not wanted.fits(session, now - lag):
                continue
            total += 1
            if before is None or session.number < before:
                if len(page) < size:
                    page.append(session)
                else:
                    more = True
        return paging.envelope(
            [session.wire(now, switches, full=True, lag=lag) for session in page],
            last_cursor=paging.cursor("sessions", page[-1].number) if page else None,
            more=more,
            total=total,
            switches=switches,
        )

    def archive(self, caller: Caller, session_id: str) -> dict[str, Any]:
        """Archive a session and its children; what runs falls asleep."""
        session = self._session(caller.org_id, session_id)
        if session.view.is_archived and self.switches.archive_twice_status != 200:
            raise Problem(self.switches.archive_twice_status, "Devin session already archived")
        self._archive(session)
        return self._wire(session, full=False)

    def unarchive(self, caller: Caller, session_id: str) -> dict[str, Any]:
        """Take a session, but not its children, back out of the archive."""
        session = self._session(caller.org_id, session_id)
        if session.view.is_archived:
            session.change(self.clock.time(), is_archived=False)
        return self._wire(session, full=False)

    def terminate(self, caller: Caller, session_id: str, *, archive: bool) -> dict[str, Any]:
        """End a session for good, and archive it if asked to."""
        session = self._session(caller.org_id, session_id)
        if session.ended and self.switches.delete_twice_status != 200:
            raise Problem(self.switches.delete_twice_status, "Devin session already exited")
        if not session.ended:
            script.end(session, self.clock.time())
            self.counts["sessions_terminated"] += 1
        if archive:
            self._archive(session)
        return self._wire(session, full=False)

    # Messages

    def send_message(
        self, caller: Caller, session_id: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Store a user's message; the session continues or wakes up."""
        validation.check_body(body, validation.MESSAGE, "message")
        if body.get("message_as_user_id") is not None:
            caller.require("ImpersonateOrgSessions")
        session = self._session(caller.org_id, session_id)
        now = self.clock.time()
        rules.check_message(session, now, self.switches)
        script.hear(session, body["message"], now, self.switches, self.new_id)
        self._attach(session, body.get("attachment_urls") or ())
        self.counts["messages_stored"] += 1
        script.settle(session, now, self.switches, self.new_id)
        return self._wire(session, full=False)

    def list_messages(
        self, caller: Caller, session_id: str, query: validation.Query
    ) -> dict[str, Any]:
        """Return a page of a session's messages, oldest first."""
        size = query.page_size()
        after = query.text("after")
        query.finish()
        session = self._session(caller.org_id, session_id)
        kind = f"messages of {session.id}"
        done = paging.position(kind, after, self.switches)
        start = 0 if done is None else max(0, done + 1)
        page = session.messages[start : start + size]
        return paging.envelope(
            [message.wire(self.switches) for message in page],
            last_cursor=paging.cursor(kind, start + len(page) - 1) if page else None,
            more=start + len(page) < len(session.messages),
            total=len(session.messages),
            switches=self.switches,
        )

    # Tags

    def tags(self, caller: Caller, session_id: str) -> dict[str, Any]:
        """Return a session's tags."""
        return {"tags": list(self._session(caller.org_id, session_id).view.tags)}

    def set_tags(
        self, caller: Caller, session_id: str, body: Mapping[str, Any], *, append: bool
    ) -> dict[str, Any]:
        """Replace a session's tags, or add to them; each is there once, in order."""
        limit = self.switches.tag_limit
        validation.check_body(body, {"tags": validation.tags(limit)}, "tags")
        session = self._session(caller.org_id, session_id)
        if session.view.is_archived:
            raise Problem(self.switches.archived_write_status, "Session is archived")
        tags = rules.allowed_tags(body["tags"], self.switches)
        if append:
            tags = tuple(dict.fromkeys((*session.view.tags, *tags)))
            validation.check_body({"tags": list(tags)}, {"tags": validation.tags(limit)}, "tags")
        session.change(self.clock.time(), tags=tags)
        return {"tags": list(tags)}

    # Attachments

    def upload(
        self, caller: Caller, name: str, content: bytes, content_type: str | None
    ) -> Attachment:
        """Keep a file in the caller's organization."""
        file = Attachment(self.new_id(), name, content, content_type)
        self.organization(caller.org_id).files[file.attachment_id] = file
        self.counts["files_uploaded"] += 1
        return file

    def attachments(self, caller: Caller, session_id: str) -> list[Attachment]:
        """Return the attachments of a session."""
        return list(self._session(caller.org_id, session_id).attachments)

    def file(self, org_id: str, attachment_id: str, name: str) -> Attachment:
        """Return the file of an organization, whether uploaded or made by Devin."""
        organization = self.organization(org_id)
        uploaded = organization.files.get(attachment_id)
        now = self.clock.time()
        if uploaded is not None and uploaded.name == name:
            return uploaded
        for session in organization.sessions.values():
            script.settle(session, now, self.switches, self.new_id)
            for item in session.attachments:
                if item.attachment_id == attachment_id and item.name == name and item.url is None:
                    return item
        raise Problem(404, "Attachment not found")

    # The whole, for tests and tools

    def truth(self) -> list[dict[str, Any]]:
        """Return every session of every organization as it really is now, oldest first.

        Sessions whose create has not been committed yet have ``"committed": false``.
        """
        now = self.clock.time()
        shown = []
        for organization in self.organizations.values():
            for session in organization.sessions.values():
                script.settle(session, now, self.switches, self.new_id)
                data = session.wire(now, Switches(acu_lag=0.0), full=True)
                data["number"] = session.number
                data["committed"] = session.created_at <= now
                data["scenario"] = session.scenario.name
                data["messages"] = [item.wire(self.switches) for item in session.messages]
                shown.append(data)
        return sorted(shown, key=lambda data: int(data["number"]))

    # Parts

    def _session(self, org_id: str, text: str) -> Session:
        bare = text.removeprefix("devin-")
        form = self.switches.path_ids
        given = "bare" if bare == text else "prefixed"
        session = self.organization(org_id).sessions.get(bare)
        now = self.clock.time()
        hidden = session is None or session.created_at + self.switches.get_lag > now
        if session is None or hidden or form not in ("both", given):
            raise Problem(404, "Session not found")
        script.settle(session, now, self.switches, self.new_id)
        return session

    def _wire(self, session: Session, *, full: bool) -> dict[str, Any]:
        return session.wire(self.clock.time(), self.switches, full=full)

    def _known(self, org_id: str, devin_id: str | None) -> Session | None:
        """Return the session an idempotent create repeats, if it repeats one."""
        if devin_id is None or self.switches.devin_id_query == "ignore":
            return None
        known = self.organization(org_id).sessions.get(devin_id.removeprefix("devin-"))
        if known is not None and self.switches.devin_id_query == "conflict":
            raise Problem(409, f"Session {devin_id} already exists")
        return known

    def _own_id(self, devin_id: str) -> str | None:
        return None if self.switches.devin_id_query == "ignore" else devin_id.removeprefix("devin-")

    def _archive(self, session: Session) -> None:
        now = self.clock.time()
        if not session.view.is_archived:
            script.pause(session, now)
            session.change(now, is_archived=True)
            self.counts["sessions_archived"] += 1
        for child_id in session.view.child_session_ids:
            child = self.organization(session.org_id).sessions[child_id]
            script.settle(child, now, self.switches, self.new_id)
            self._archive(child)

    def _attach(self, session: Session, urls: Iterable[str]) -> None:
        files = self.organization(session.org_id).files
        for url in urls:
            found = _FILE_PATH.search(url.split("?")[0])
            uploaded = files.get(found[1]) if found else None
            name = url.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
            session.attachments.append(
                uploaded or Attachment(self.new_id(), name, b"", None, "user", url=url)
            )
