"""A typed client: one method per operation, pagination, and sessions run to their end.

Everything uses the same tools as blocks and agents; the parameters are the tools' own in snake
case, and a test keeps the two in sync.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from sim_devin.app import App, open_app
from sim_devin.calls.jobs.wait import LAST_LOOK, Outcome, Progress
from sim_devin.calls.paging import pages
from sim_devin.devin.answers import (
    Answer,
    Attachment,
    Message,
    MessagePage,
    PullRequest,
    Session,
    SessionPage,
    SessionRun,
)
from sim_devin.errors import SimDevinError, UnreadableResponse
from sim_devin.redaction import Credentials

__all__ = [
    "Answer",
    "Attachment",
    "Devin",
    "Message",
    "MessagePage",
    "PullRequest",
    "Session",
    "SessionPage",
    "SessionRun",
]

M = TypeVar("M", bound=Answer)


class Devin:
    """A client for one organization.

    `api_key` and `org_id` default to ``DEVIN_API_KEY`` and ``DEVIN_ORG_ID`` (or the config file);
    the other arguments are those of `sim_devin.open_app`::

        with Devin(simulate=True) as devin:
            print(devin.run_session("Fix the build of acme/web").outcome)

    Creates and messages with an unknown outcome are reconciled, never repeated blindly. Every
    method raises `sim_devin.SimDevinError`.
    """

    def __init__(
        self,
        api_key: str | None = None,
        org_id: str | None = None,
        *,
        app: App | None = None,
        **options: Any,
    ) -> None:
        given = {"apiKey": api_key, "orgId": org_id}
        self._credentials = Credentials({name: value for name, value in given.items() if value})
        self.app = app or open_app(**options)

    def __enter__(self) -> Devin:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return "Devin()"

    def close(self) -> None:
        """Close pooled connections."""
        self.app.close()

    # -- sessions --------------------------------------------------------------------------

    def create_session(
        self,
        prompt: str,
        *,
        playbook_id: str | None = None,
        max_acu_limit: int | None = None,
        tags: Sequence[str] | None = None,
        title: str | None = None,
        repos: Sequence[str] | None = None,
        knowledge_ids: Sequence[str] | None = None,
        secret_ids: Sequence[str] | None = None,
        session_secrets: Sequence[Mapping[str, Any]] | None = None,
        session_links: Sequence[str] | None = None,
        attachment_urls: Sequence[str] | None = None,
        child_playbook_id: str | None = None,
        devin_mode: str | None = None,
        platform: str | None = None,
        resumable: bool | None = None,
        bypass_approval: bool | None = None,
        create_as_user_id: str | None = None,
        structured_output_schema: Mapping[str, Any] | None = None,
        structured_output_required: bool | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_query: Mapping[str, Any] | None = None,
    ) -> Session:
        """Start a session. See docs/tools.md, devin_create_session."""
        given = _given(locals())
        return self._as(Session, "devin_create_session", given)

    def get_session(self, session_id: str) -> Session:
        """Return a session."""
        return self._as(Session, "devin_get_session", _given(locals()))

    def list_sessions(
        self,
        *,
        limit: int | None = None,
        after: str | None = None,
        session_ids: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
        created_after: int | None = None,
        created_before: int | None = None,
        updated_after: int | None = None,
        updated_before: int | None = None,
        playbook_id: str | None = None,
        origins: Sequence[str] | None = None,
        schedule_id: str | None = None,
        user_ids: Sequence[str] | None = None,
        service_user_ids: Sequence[str] | None = None,
        is_archived: bool | None = None,
        category: str | None = None,
        repo_names: Sequence[str] | None = None,
        automation_ids: Sequence[str] | None = None,
        parent_session_id: str | None = None,
        extra_query: Mapping[str, Any] | None = None,
    ) -> SessionPage:
        """Return one page of sessions. See docs/tools.md, devin_list_sessions."""
        given = _given(locals())
        return self._as(SessionPage, "devin_list_sessions", given)

    def iter_sessions(self, **filters: Any) -> Iterator[Session]:
        """Yield sessions across pages; `filters` are the arguments of `list_sessions`.

        Raises `UnreadableResponse` if the service repeats a page.
        """
        for page in _pages(lambda after: self.list_sessions(**{**filters, "after": after})):
            yield from page.sessions

    def archive_session(self, session_id: str) -> Session:
        """Archive a session and return it."""
        return self._as(Session, "devin_archive_session", _given(locals()))

    def terminate_session(self, session_id: str, *, archive: bool | None = None) -> Session:
        """End a session permanently, optionally archiving it; return it."""
        return self._as(Session, "devin_terminate_session", _given(locals()))

    # -- conversation ----------------------------------------------------------------------

    def send_message(
        self,
        session_id: str,
        message: str,
        *,
        attachment_urls: Sequence[str] | None = None,
        message_as_user_id: str | None = None,
    ) -> Session:
        """Send a message to a session and return the session; wakes a suspended one."""
        return self._as(Session, "devin_send_message", _given(locals()))

    def list_session_messages(
        self, session_id: str, *, limit: int | None = None, after: str | None = None
    ) -> MessagePage:
        """Return one page of a session's messages."""
        return self._as(MessagePage, "devin_list_session_messages", _given(locals()))

    def iter_messages(self, session_id: str, *, limit: int | None = None) -> Iterator[Message]:
        """Yield a session's messages across pages, oldest first.

        Raises `UnreadableResponse` if the service repeats a page.
        """
        return self._messages(_given({"session_id": session_id, "limit": limit}))

    def list_session_attachments(self, session_id: str) -> list[Attachment]:
        """Return a session's files."""
        return self._attachments(_given(locals()))

    # -- tags ------------------------------------------------------------------------------

    def get_session_tags(self, session_id: str) -> list[str]:
        """Return a session's tags."""
        return self._tags("devin_get_session_tags", _given(locals()))

    def append_session_tags(self, session_id: str, tags: Sequence[str]) -> list[str]:
        """Add tags to a session and return all its tags."""
        return self._tags("devin_append_session_tags", _given(locals()))

    def replace_session_tags(self, session_id: str, tags: Sequence[str]) -> list[str]:
        """Replace a session's tags; an empty list removes all."""
        return self._tags("devin_replace_session_tags", _given(locals()))

    # -- time ------------------------------------------------------------------------------

    def wait(
        self,
        session_ids: Iterable[str],
        *,
        until: str = "settled",
        deadline: float | None = None,
        cancel: threading.Event | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> list[Outcome]:
        """Wait for sessions; see `sim_devin.App.wait`."""
        return self.app.wait(
            session_ids,
            until=until,
            deadline=deadline,
            cancel=cancel,
            on_progress=on_progress,
            credentials=self._credentials,
        )

    def run_session(
        self,
        prompt: str,
        *,
        until: str = "settled",
        deadline: float | None = None,
        cancel: threading.Event | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        **create: Any,
    ) -> SessionRun:
        """Create a session, wait until it settles, and collect its results.

        `create` are additional arguments for `create_session`; `deadline` is in seconds, for
        everything together. A structured output counts as the result if it fits
        ``structured_output_schema``. Data that cannot be read within the deadline is omitted.
        """
        clock = self.app.clock
        end = None if deadline is None else clock.monotonic() + deadline

        def left() -> float | None:
            return None if end is None else end - clock.monotonic()

        asked = {"prompt": prompt, **_given(create)}
        created = self._call("devin_create_session", asked, deadline=left(), cancel=cancel)
        session = _model(Session, created)
        (outcome,) = self.app.wait(
            [session.session_id],
            until=until,
            deadline=None if end is None else max(0.0, end - clock.monotonic()),
            schema=create.get("structured_output_schema"),
            cancel=cancel,
            on_progress=on_progress,
            credentials=self._credentials,
        )
        messages: list[Message] = []
        attachments: list[Attachment] = []
        late = False
        given = {"sessionId": session.session_id}
        asked_for = end
        if end is not None:
            end = max(end, clock.monotonic() + LAST_LOOK)
        try:
            messages = list(self._messages(given, left))
            attachments = self._attachments(given, left())
        except SimDevinError as error:
            if asked_for is None or clock.monotonic() < asked_for or not error.means.temporary:
                raise
            late = True
        return SessionRun(
            session=_model(Session, outcome.session) if outcome.session else session,
            outcome=outcome.state,
            reason=outcome.reason,
            messages=messages,
            attachments=attachments,
            timed_out=outcome.timed_out or late,
            doubles=self.app.end_doubles(credentials=self._credentials),
        )

    # -- inside ----------------------------------------------------------------------------

    def _call(self, tool_id: str, params: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        credentials = self._credentials
        return self.app.call(tool_id, params, credentials=credentials, reconcile=True, **options)

    def _messages(
        self, params: Mapping[str, Any], left: Callable[[], float | None] = lambda: None
    ) -> Iterator[Message]:
        def fetch(after: str | None) -> MessagePage:
            more = {} if after is None else {"after": after}
            asked = {**params, **more}
            answer = self._call("devin_list_session_messages", asked, deadline=left())
            return _model(MessagePage, answer)

        for page in _pages(fetch):
            yield from page.messages

    def _attachments(
        self, params: Mapping[str, Any], deadline: float | None = None
    ) -> list[Attachment]:
        answer = self._call("devin_list_session_attachments", params, deadline=deadline)
        return [_model(Attachment, item) for item in answer["attachments"]]

    def _as(self, model: type[M], tool_id: str, params: Mapping[str, Any]) -> M:
        return _model(model, self._call(tool_id, params))

    def _tags(self, tool_id: str, params: Mapping[str, Any]) -> list[str]:
        return [str(tag) for tag in self._call(tool_id, params)["tags"] or []]


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a method's own arguments under the tool's names, without omitted ones."""
    return {
        to_camel(name): value
        for name, value in arguments.items()
        if name != "self" and value is not None
    }


def _model(model: type[M], data: Mapping[str, Any]) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, item["loc"])) for item in error.errors()[:5])
        raise UnreadableResponse(
            f"The response does not match {model.__name__}: {places}.",
            accepted=True,
            hint="The call itself succeeded: do not repeat it. app.call returns the raw output.",
        ) from None


P = TypeVar("P", SessionPage, MessagePage)


def _pages(fetch: Callable[[str | None], P]) -> Iterator[P]:
    """Yield all pages of a list, see `sim_devin.calls.paging.pages`."""
    return pages(
        fetch, of=lambda page: {"hasNextPage": page.has_next_page, "endCursor": page.end_cursor}
    )
