"""Switches for behavior of the real service that is unknown or varies.

Every field of `Switches` is a question that the public documentation leaves open or answers
in more than one way. The defaults are the best guess; a test that must pass either way runs
with both settings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

DAY = 86_400.0


class SwitchError(ValueError):
    """An unknown switch, or an invalid value for one."""


def _switch(default: Any, about: str, *allowed: Any) -> Any:
    return dataclasses.field(default=default, metadata={"about": about, "allowed": allowed})


@dataclasses.dataclass(frozen=True)
class Switches:
    """How the simulated service behaves where the real one is unknown or varies.

    Times are in simulated seconds, statuses are HTTP status codes. Raises `SwitchError` for
    an invalid value. `describe` lists name, default, choices and meaning.
    """

    session_id: str = _switch(
        "bare", "form of session ids in responses: 32 hex digits, alone or prefixed with devin-",
        "bare", "prefixed",
    )  # fmt: skip
    path_ids: str = _switch(
        "both", "form of session ids accepted in paths; other forms are not found",
        "both", "prefixed", "bare",
    )  # fmt: skip
    error_body: str = _switch(
        "problem", "problem+json, or the older {detail: text or list}", "problem", "legacy"
    )
    missing_auth_status: int = _switch(403, "response to a request without a key", 403, 401)
    bad_token_status: int = _switch(401, "response to an invalid key", 401, 403)
    create_permission: str = _switch(
        "UseDevinSessions", "permission required to create a session",
        "UseDevinSessions", "ManageOrgSessions",
    )  # fmt: skip
    completion: str = _switch(
        "finished", "final state of a scenario's `complete` step: running/finished, "
        "running/waiting_for_user, or exit/finished",
        "finished", "waiting_for_user", "exit",
    )  # fmt: skip
    optional_fields: str = _switch(
        "null", "optional fields without a value are null, or omitted", "null", "absent"
    )
    extra_fields: bool = _switch(
        False, "add fields newer than the published contract to sessions and messages"
    )
    drift_detail: str | None = _switch(None, "an unknown status_detail, shown instead of `working`")
    auto_title: bool = _switch(True, "generate a title if none was given; otherwise it stays null")
    attachments_envelope: str = _switch(
        "array", "attachments as a bare array, or as {items: [...]}", "array", "items"
    )
    attachment_url: str = _switch(
        "webapp", "url of a listed attachment: the web application's (needs a browser session), "
        "the API's, or a signed one",
        "webapp", "api", "signed",
    )  # fmt: skip
    page_fields: str = _switch(
        "full", "page envelope: all four fields, or only those with a value",
        "full", "minimal",
    )  # fmt: skip
    last_page_cursor: str = _switch(
        "null", "end_cursor of the last page: null, or the cursor of its last item",
        "null", "cursor",
    )  # fmt: skip
    bad_cursor_status: int = _switch(
        422, "response to an `after` that the service never issued", 422, 400
    )
    timestamps: str = _switch(
        "seconds", "unit of created_at and updated_at", "seconds", "milliseconds"
    )
    prompt_is_message: bool = _switch(True, "list the prompt as the first message")
    list_archived: str = _switch(
        "include", "archived sessions in a list requested without is_archived", "include", "exclude"
    )
    list_lag: float = _switch(0.0, "the list shows the state from this many seconds ago")
    get_lag: float = _switch(0.0, "a new session is not found by id for this many seconds")
    status_lag: float = _switch(
        0.0, "after a message a session shows its previous status for this many seconds"
    )
    acu_lag: float = _switch(30.0, "acus_consumed shows the amount from this many seconds ago")
    category_delay: float = _switch(90.0, "category stays null for this long after the create")
    retry_after: str = _switch(
        "seconds",
        "form of Retry-After on a 429, unless the fault sets one",
        "seconds",
        "date",
        "none",
    )
    devin_id_query: str = _switch(
        "ignore", "the undocumented devin_id query of a create: ignored, an id whose repeat is a "
        "409, or an id whose repeat returns the first session",
        "ignore", "conflict", "idempotent",
    )  # fmt: skip
    billing: str = _switch(
        "acus", "how the organization pays: in ACUs, or by quota, where acus_consumed stays 0 "
        "and no session stops at max_acu_limit",
        "acus", "quota",
    )  # fmt: skip
    quota_sessions: int | None = _switch(
        None, "maximum sessions of an organization; further creates respond as with out_of_quota"
    )
    out_of_quota: bool = _switch(False, "respond to every create with 403 out_of_quota")
    quota_status: int = _switch(403, "response to a create without quota", 403, 402, 429)
    quota_code: str = _switch(
        "detail", "where the code out_of_quota appears: in detail, or in error_code with a neutral "
        "detail",
        "detail", "error_code",
    )  # fmt: skip
    enabled_modes: tuple[str, ...] = _switch(
        ("normal", "fast", "lite", "ultra", "fusion"),
        "devin_mode values available to the organization",
    )
    platforms: tuple[str, ...] = _switch(
        ("linux", "windows"), "platform labels available to the organization"
    )
    allowed_tags: tuple[str, ...] | None = _switch(None, "the tags accepted; null accepts all")
    disallowed_tag_status: int = _switch(
        422, "response to a tag outside allowed_tags", 422, 400, 403
    )
    tag_limit: int = _switch(50, "maximum tags of a request and of a session")
    archived_write_status: int = _switch(
        409, "response to a message or tags for an archived session", 409, 400, 403
    )
    ended_message_status: int = _switch(
        409, "response to a message for a session in exit or error", 409, 400, 403, 404
    )
    expired_message_status: int = _switch(
        409, "response to a message after continuation_seconds", 409, 400, 403, 404
    )
    unpaid_message: str = _switch(
        "suspend_again", "a message for a session suspended for lack of money: accepted but "
        "suspended again, accepted and resumed, or rejected with 403",
        "suspend_again", "resume", "refuse",
    )  # fmt: skip
    delete_twice_status: int = _switch(
        200, "response to DELETE of a session that has ended", 200, 400, 404, 409
    )
    archive_twice_status: int = _switch(
        200, "response to archiving an archived session", 200, 400, 409
    )
    idle_seconds: float = _switch(1_800.0, "idle time until suspended/inactivity")
    continuation_seconds: float = _switch(30 * DAY, "age after which a session accepts no messages")
    wake_seconds: float = _switch(5.0, "how long a session stays `resuming` after waking up")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            object.__setattr__(self, field.name, _checked(field, value))

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Switches:
        """Return switches from names and values; a value may be given as text.

        ``{"list_lag": "30", "allowed_tags": "a,b"}`` is how a command line passes them.
        """
        return cls().changed(values)

    def changed(self, values: Mapping[str, Any]) -> Switches:
        """Return these switches with some `values` replaced; text is converted as in `parse`."""
        fields = {field.name: field for field in dataclasses.fields(self)}
        for name in values:
            if name not in fields:
                raise SwitchError(f"unknown switch {name!r}; available: {', '.join(fields)}")
        given = {
            name: _from_text(fields[name], value) if isinstance(value, str) else value
            for name, value in values.items()
        }
        return dataclasses.replace(self, **given)

    @classmethod
    def describe(cls) -> list[tuple[str, Any, tuple[Any, ...], str]]:
        """Return (name, default, choices, meaning) of every switch, in order."""
        return [
            (field.name, field.default, field.metadata["allowed"], field.metadata["about"])
            for field in dataclasses.fields(cls)
        ]


def _from_text(field: dataclasses.Field[Any], text: str) -> Any:
    kind = str(field.type)
    kind, _, optional = kind.partition(" | ")
    if optional and text.lower() in ("", "none", "null"):
        return None
    if kind.startswith("tuple"):
        return tuple(item.strip() for item in text.split(",") if item.strip())
    if kind == "bool":
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind in ("int", "float"):
        try:
            return int(text) if kind == "int" else float(text)
        except ValueError:
            return text
    return text


_NAMES = {
    "str": "a string",
    "bool": "true or false",
    "int": "a whole number, 0 or more",
    "float": "a number of seconds, 0 or more",
    "tuple[str, ...]": "a list of strings",
}


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:
    kind, _, optional = str(field.type).partition(" | ")
    if value is None and optional:
        return None
    given, value = value, _converted(kind, value)
    allowed = field.metadata["allowed"]
    if value is None:
        raise SwitchError(f"switch {field.name}: expected {_NAMES[kind]}, got {given!r}")
    if allowed and value not in allowed:
        choices = ", ".join(str(item) for item in allowed)
        raise SwitchError(f"switch {field.name}: expected one of {choices}, got {value!r}")
    return value


def _converted(kind: str, value: Any) -> Any:
    """Return `value` as the kind of a switch, or None if it is not of that kind."""
    if kind.startswith("tuple"):
        good = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
        return tuple(value) if good else None
    if kind == "bool" or isinstance(value, bool):
        return value if kind == "bool" and isinstance(value, bool) else None
    if kind == "str":
        return value if isinstance(value, str) else None
    numbers = int if kind == "int" else int | float
    if not isinstance(value, numbers) or not 0 <= value < float("inf"):
        return None
    return value if kind == "int" else float(value)
