"""What is on the cassettes: one table, from which they are recorded and checked.

A case is a short conversation with the service: what is there before, which faults and
switches are on, which tools are called, and what each call must come to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sim_devin import errors
from sim_devin.simulator import Fault, Key

NOW = 1_800_000_000.0  # the moment everything is recorded at, in Unix seconds
KEY = "cog_scrubbed"
ORG = "org-acme"
SESSION = "4f1c9a7e2b6d4c0f9e8a1d3b5c7f2a90"
UNKNOWN = "0" * 32

# What a session that was created ten minutes ago has come to.
DONE = {
    "sessionId": SESSION,
    "url": f"https://app.devin.ai/sessions/{SESSION}",
    "status": "running",
    "statusDetail": "finished",
    "title": "Fix the bug",
    "createdAt": 1_799_999_400,
    "updatedAt": 1_799_999_620,
    "acusConsumed": 0.75,
    "tags": ["nightly"],
    "pullRequests": [{"pr_url": "https://github.com/acme/web/pull/1", "pr_state": "open"}],
    "structuredOutput": {"ok": True},
    "playbookId": None,
    "isArchived": False,
}
LISTED = {name: value for name, value in DONE.items() if name != "structuredOutput"}
# Only get and list tell a session's detail and structured output.
BRIEF = {**DONE, "statusDetail": None, "structuredOutput": None}
# What is written changes the time of the last change, too.
WRITTEN = {name: value for name, value in BRIEF.items() if name != "updatedAt"}
ATTACHED = {
    "attachmentId": "53d23c0b-df43-4fb2-99fc-fc64e7aa8576",
    "name": "report.md",
    "url": "https://app.devin.ai/attachments/53d23c0b-df43-4fb2-99fc-fc64e7aa8576/report.md",
    "source": "devin",
    "contentType": "text/markdown",
}
SAID = [
    {"eventId": event_id, "source": source, "message": message, "createdAt": at}
    for event_id, source, message, at in (
        ("c963cfe0-afae-4a3b-b909-6a04e7d80068", "user", "Fix the bug in acme/web.", 1_799_999_400),
        ("26b563b1-e794-4e14-a145-4c40c439f34a", "devin", "I'll take a look.", 1_799_999_405),
        ("d96e5adf-a2be-4e31-ac8b-e7d742840d2b", "devin", "Done. The tests pass.", 1_799_999_610),
    )
]


@dataclass(frozen=True)
class Step:
    """One call and what it must come to.

    Attributes:
        tool: the tool that is called.
        params: its parameters.
        returns: what its output must hold, or None when it must fail.
        raises: the error's class.
        status: the error's HTTP status.
        retry_after: the error's ``retry_after``, in seconds.
        says: a part of the error's text.
        waits: seconds the call waits at the least.
        later: seconds that pass before the call.
    """

    tool: str
    params: Mapping[str, Any]
    returns: Mapping[str, Any] | None = None
    raises: type[errors.SimDevinError] | None = None
    status: int | None = None
    retry_after: float | None = None
    says: str = ""
    waits: float = 0.0
    later: float = 0.0


@dataclass(frozen=True)
class Case:
    """One cassette.

    Attributes:
        folder: the operation it is about, which is also its folder.
        name: its file, without the ending.
        steps: the calls, in order.
        faults: what goes wrong on the way.
        switches: how the simulator behaves, where that is not as usual.
        session: fields of the session that is there before; None for no session.
        keys: the keys the simulator knows; None for any.
        org: the organization that is asked.
        live: whether it can be recorded from the real service without harm.
    """

    folder: str
    name: str
    steps: tuple[Step, ...]
    faults: tuple[Fault, ...] = ()
    switches: Mapping[str, Any] = field(default_factory=dict)
    session: Mapping[str, Any] | None = field(default_factory=dict)
    keys: Mapping[str, Key] | None = None
    org: str = ORG
    live: bool = False

    @property
    def path(self) -> str:
        """The cassette's place below the folder of all cassettes."""
        return f"{self.folder}/{self.name}.yaml"


@dataclass(frozen=True)
class Operation:
    """What the cassettes that every operation has are made from."""

    tool: str
    params: Mapping[str, Any]
    returns: Mapping[str, Any]
    invalid: Step
    invalid_case: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The operation's name, as its spec file has it."""
        return self.tool.removeprefix("devin_")


def refused(tool: str, params: Mapping[str, Any], status: int, says: str = "") -> Step:
    """Return a call that the service refuses with `status`."""
    kinds: dict[int, type[errors.SimDevinError]] = {
        401: errors.AuthenticationFailed,
        403: errors.PermissionDenied,
        404: errors.NotFound,
        409: errors.Conflict,
        429: errors.RateLimited,
    }
    kind = kinds.get(status, errors.BadRequest)
    return Step(tool, params, raises=kind, status=status, says=says)


def _invalid(tool: str, **params: Any) -> dict[str, Any]:
    """Return an operation's validation case where nothing a call can say is refused."""
    given = {"sessionId": SESSION, **params}
    detail = "Session id is not valid"
    return {
        "invalid": refused(tool, given, 422, detail),
        "invalid_case": {"faults": (Fault("status", status=422, detail=detail),)},
    }


_TAGS = [f"tag-{number}" for number in range(50)]
_PAGE = {"endCursor": None, "hasNextPage": False}
_ID = {"sessionId": SESSION}

OPERATIONS = (
    Operation(
        "devin_create_session",
        # Harmless on purpose: with a key it is sent to the real service.
        {
            "prompt": "Reply with the word ready and stop. Change nothing.",
            "maxAcuLimit": 1,
            "tags": ["sim-devin-check"],
        },
        {
            "sessionId": "26b563b1e794ee14e1454c40c439f34a",
            "url": "https://app.devin.ai/sessions/26b563b1e794ee14e1454c40c439f34a",
            "status": "new",
            "statusDetail": None,
            "title": None,
            "acusConsumed": 0,
            "tags": ["sim-devin-check"],
            "pullRequests": [],
            "structuredOutput": None,
            "playbookId": None,
            "isArchived": False,
        },
        refused(
            "devin_create_session",
            {"prompt": "Fix the bug.", "attachmentUrls": ["no address"]},
            422,
            "attachment_urls.0: Input should be a valid URL",
        ),
    ),
    Operation("devin_get_session", _ID, DONE, **_invalid("devin_get_session")),
    Operation(
        "devin_list_sessions",
        {"limit": 10, "tags": ["nightly", "sim-devin-check"]},
        {**_PAGE, "sessions": [LISTED], "total": 1},
        refused("devin_list_sessions", {"after": "not-a-cursor"}, 422, "Invalid cursor"),
        {"live": True},
    ),
    Operation(
        "devin_send_message",
        {**_ID, "message": "Thank you. Grüße, 世界."},
        WRITTEN,
        refused(
            "devin_send_message",
            {**_ID, "message": "Look at this.", "attachmentUrls": ["no address"]},
            422,
            "valid URL",
        ),
    ),
    Operation(
        "devin_list_session_messages",
        {**_ID, "limit": 50},
        {**_PAGE, "messages": SAID, "total": 3},
        refused(
            "devin_list_session_messages", {**_ID, "after": "not-a-cursor"}, 422, "Invalid cursor"
        ),
        {"live": True},
    ),
    Operation(
        "devin_list_session_attachments",
        _ID,
        {"attachments": [ATTACHED]},
        **_invalid("devin_list_session_attachments"),
    ),
    Operation(
        "devin_get_session_tags", _ID, {"tags": ["nightly"]}, **_invalid("devin_get_session_tags")
    ),
    Operation(
        "devin_append_session_tags",
        {**_ID, "tags": "nightly, reviewed"},
        {"tags": ["nightly", "reviewed"]},
        refused("devin_append_session_tags", {**_ID, "tags": ["more"]}, 422, "at most 50"),
        {"session": {"tags": _TAGS}},
    ),
    Operation(
        "devin_replace_session_tags",
        {**_ID, "tags": ["reviewed"]},
        {"tags": ["reviewed"]},
        refused("devin_replace_session_tags", {**_ID, "tags": ["other"]}, 422, "not allowed"),
        {"switches": {"allowed_tags": ("nightly",)}},
    ),
    Operation(
        "devin_archive_session",
        _ID,
        {**WRITTEN, "status": "suspended", "isArchived": True},
        **_invalid("devin_archive_session"),
    ),
    Operation(
        "devin_terminate_session",
        {**_ID, "archive": True},
        {**WRITTEN, "status": "exit", "isArchived": True},
        **_invalid("devin_terminate_session"),
    ),
)


def _everywhere(operation: Operation) -> list[Case]:
    """Return the cassettes that every operation has."""
    folder, tool, params = operation.folder, operation.tool, operation.params
    success = Step(tool, params, operation.returns)
    ambiguous = tool in ("devin_create_session", "devin_send_message")
    has_id = "sessionId" in params
    unknown = {**params, "sessionId": UNKNOWN} if has_id else params
    turned_away = Fault("status", status=503, retry_after=2)
    broken = (turned_away,) if ambiguous else (Fault("status", status=500), Fault("html"))

    def unclear(status: int, retry_after: float | None = None) -> Step:
        """Return the end of a call that must not be repeated, whatever the answer says."""
        return Step(
            tool,
            params,
            raises=errors.AmbiguousResult,
            status=status,
            retry_after=retry_after,
            says=f"HTTP {status}",
        )

    def again(status: int, retry_after: float | None = None) -> Step:
        waits = retry_after or 0.0
        repeated = Step(tool, params, operation.returns, waits=waits)
        return unclear(status, retry_after) if ambiguous else repeated

    def limited(form: str) -> tuple[Fault, ...]:
        return (Fault("status", status=429, retry_after=30, retry_after_form=form),)

    cases = [
        Case(folder, "success", (success,), live=True),
        Case(folder, "validation", (operation.invalid,), **operation.invalid_case),
        Case(
            folder,
            "unauthorised",
            (refused(tool, params, 401, "Invalid API key"),),
            keys={},
            live=True,
        ),
        Case(
            folder,
            "forbidden",
            (refused(tool, params, 403, "Missing permission"),),
            keys={KEY: Key(ORG, permissions=frozenset())},
        ),
        Case(
            folder,
            "not_found",
            (refused(tool, unknown, 404, "not found"),),
            org=ORG if has_id else "nowhere",
            live=True,
        ),
        Case(folder, "rate_limited_seconds", (again(429, 30),), limited("seconds")),
        Case(folder, "rate_limited_date", (again(429, 30),), limited("date")),
        Case(folder, "rate_limited", (again(429),), limited("none")),
        Case(
            folder,
            "rate_limited_for_long",
            (
                unclear(429, 600)
                if ambiguous
                else Step(tool, params, raises=errors.RateLimited, status=429, retry_after=600),
            ),
            (Fault("status", status=429, retry_after=600),),
        ),
        Case(folder, "server_error", (again(503, 2) if ambiguous else success,), broken),
    ]
    if ambiguous:
        cases.append(
            Case(folder, "server_error_ambiguous", (unclear(500),), (Fault("status", status=500),))
        )
    return cases


def _get(returns: Mapping[str, Any], **more: Any) -> tuple[Step, ...]:
    return (Step("devin_get_session", _ID, returns, **more),)


def _asleep(detail: str) -> Case:
    return Case(
        "get_session",
        f"detail_{detail}",
        _get({"status": "suspended", "statusDetail": detail}),
        session={"scenario": detail},
    )


_PREFIXED = f"devin-{SESSION}"
_PROMPT = {"prompt": "Fix the bug."}
_QUOTA = Step(
    "devin_create_session", _PROMPT, raises=errors.OutOfQuota, status=403, says="out_of_quota"
)

# Where the service is known to vary, or to have changed: both sides are on tape.
DRIFT = (
    Case(
        "get_session",
        "prefixed_id",
        _get({"sessionId": _PREFIXED}),
        switches={"session_id": "prefixed"},
    ),
    Case(
        "list_sessions",
        "prefixed_id",
        (
            Step(
                "devin_list_sessions",
                {"sessionIds": [_PREFIXED]},
                {
                    "sessions": [
                        {**LISTED, "sessionId": _PREFIXED, "url": f"{DONE['url'][:-32]}{_PREFIXED}"}
                    ]
                },
            ),
        ),
        switches={"session_id": "prefixed"},
    ),
    Case(
        "list_session_attachments",
        "items",
        (Step("devin_list_session_attachments", _ID, {"attachments": [ATTACHED]}),),
        switches={"attachments_envelope": "items"},
    ),
    *map(
        _asleep,
        (
            *("usage_limit_exceeded", "out_of_credits", "payment_declined"),  # the older ones
            *("out_of_quota", "no_quota_allocation", "user_usage_limit_exceeded"),
            *("total_session_limit_exceeded", "contract_expired"),
        ),
    ),
    Case(
        "get_session",
        "unknown_detail",
        _get({"status": "running", "statusDetail": "moon_phase"}),
        switches={"drift_detail": "moon_phase"},
        session={"scenario": "never-ends"},
    ),
    Case(
        "get_session",
        "unknown_status",
        _get({"status": "hibernating", "statusDetail": "moon_phase"}),
        session={"scenario": "unknown-status", "created_at": NOW - 70},
    ),
    Case("get_session", "extra_fields", _get(DONE), switches={"extra_fields": True}),
    Case(
        "list_session_messages",
        "extra_fields",
        (Step("devin_list_session_messages", _ID, {**_PAGE, "messages": SAID}),),
        switches={"extra_fields": True},
    ),
    Case(
        "get_session",
        "null_title",
        _get({"title": None}),
        switches={"auto_title": False},
        session={"title": None},
    ),
    Case(
        "get_session",
        "absent_optionals",
        _get(
            {**BRIEF, "title": None, "pullRequests": [], "status": "claimed"}
            | {"acusConsumed": 0, "createdAt": int(NOW) - 3, "updatedAt": int(NOW) - 1}
        ),
        switches={"optional_fields": "absent"},
        session={"created_at": NOW - 3, "title": None},
    ),
    Case(
        "list_sessions",
        "least_fields",
        (Step("devin_list_sessions", {}, {**_PAGE, "sessions": [LISTED], "total": None}),),
        switches={"page_fields": "minimal"},
    ),
    Case(
        "list_sessions",
        "cursor_on_the_last_page",
        (Step("devin_list_sessions", {}, {"hasNextPage": False, "total": 1}),),
        switches={"last_page_cursor": "cursor"},
    ),
    Case(
        "get_session",
        "milliseconds",
        _get({"createdAt": 1_799_999_400_000}),
        switches={"timestamps": "milliseconds"},
    ),
    Case(
        "create_session",
        "validation_list",
        (
            refused(
                "devin_create_session",
                {**_PROMPT, "attachmentUrls": ["no address"]},
                422,
                "attachment_urls.0: Input should be a valid URL",
            ),
        ),
        switches={"error_body": "legacy"},
    ),
    Case(
        "get_session",
        "not_found_plain",
        (refused("devin_get_session", {"sessionId": UNKNOWN}, 404, "Session not found"),),
        switches={"error_body": "legacy"},
    ),
    Case(
        "get_session",
        "bad_key_forbidden",
        (refused("devin_get_session", _ID, 403, "Invalid API key"),),
        switches={"bad_token_status": 403},
        keys={},
    ),
    Case("create_session", "out_of_quota", (_QUOTA,), switches={"out_of_quota": True}),
    Case(
        "create_session",
        "out_of_quota_plain",
        (_QUOTA,),
        switches={"out_of_quota": True, "error_body": "legacy"},
    ),
    Case(
        "create_session",
        "unknown_platform",
        (refused("devin_create_session", {**_PROMPT, "platform": "amiga"}, 400, "linux, windows"),),
    ),
    Case(
        "create_session",
        "conflict",
        (
            refused(
                "devin_create_session",
                {**_PROMPT, "extraQuery": {"devin_id": _PREFIXED}},
                409,
                "already exists",
            ),
        ),
        switches={"devin_id_query": "conflict"},
    ),
    Case(
        "send_message",
        "conflict",
        (
            Step("devin_archive_session", _ID, {"isArchived": True}),
            refused("devin_send_message", {**_ID, "message": "Go on."}, 409, "archived"),
        ),
    ),
    Case(
        "terminate_session",
        "already_exited",
        (
            Step("devin_terminate_session", _ID, {"status": "exit"}),
            Step("devin_terminate_session", _ID, {"sessionId": SESSION}),
        ),
        switches={"delete_twice_status": 400},
    ),
    Case("get_session", "html_502", _get(DONE), (Fault("html", times=2),)),
    Case(
        "create_session",
        "html_502",
        (
            Step(
                "devin_create_session",
                _PROMPT,
                raises=errors.AmbiguousResult,
                says="HTTP 502",
                status=502,
            ),
        ),
        (Fault("html"),),
    ),
    Case(
        "get_session",
        "truncated_json",
        (
            Step(
                "devin_get_session",
                _ID,
                raises=errors.UnreadableResponse,
                status=200,
                says="safe to retry",
            ),
        ),
        (Fault("bad_json"),),
    ),
    Case(
        "create_session",
        "truncated_json",
        (Step("devin_create_session", _PROMPT, raises=errors.UnreadableResponse, status=200),),
        (Fault("bad_json"),),
    ),
    Case(
        "get_session",
        "another_shape",
        (Step("devin_get_session", _ID, raises=errors.UnreadableResponse, status=200),),
        (Fault("wrong_shape"),),
    ),
    Case(
        "get_session",
        "empty",
        (
            Step(
                "devin_get_session", _ID, raises=errors.UnreadableResponse, status=200, says="empty"
            ),
        ),
        (Fault("empty"),),
    ),
    Case(
        "create_session",
        "empty",
        (
            Step(
                "devin_create_session",
                _PROMPT,
                raises=errors.UnreadableResponse,
                status=200,
                says="empty",
            ),
        ),
        (Fault("empty"),),
    ),
    Case(
        "send_message",
        "empty",
        (Step("devin_send_message", {**_ID, "message": "Go on."}, {"sessionId": SESSION}),),
        (Fault("empty"),),
    ),
    Case(
        "get_session",
        "not_found_after_create",
        (
            refused("devin_get_session", _ID, 404, "not found"),
            Step("devin_get_session", _ID, {"sessionId": SESSION, "status": "claimed"}, later=4),
        ),
        switches={"get_lag": 3},
        session={"created_at": NOW},
    ),
    Case(
        "list_sessions",
        "pages",
        (
            Step(
                "devin_list_sessions",
                {"limit": 1},
                {"hasNextPage": True, "endCursor": "WyJzZXNzaW9ucyIsIDJd", "total": 2},
            ),
            Step(
                "devin_list_sessions",
                {"limit": 1, "after": "WyJzZXNzaW9ucyIsIDJd"},
                {**_PAGE, "sessions": [LISTED], "total": 2},
            ),
        ),
        session={"another": True},
    ),
)

CASES = (*(case for operation in OPERATIONS for case in _everywhere(operation)), *DRIFT)
