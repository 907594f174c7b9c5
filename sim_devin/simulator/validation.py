"""Checks of request bodies and queries, with the field-level failures of a 422."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sim_devin.simulator.answers import Problem

ORIGINS = (
    "webapp", "slack", "teams", "api", "linear", "jira", "automation", "cli", "desktop",
    "code_scan", "other", "scheduled",
)  # fmt: skip
CATEGORIES = (
    "bug_fixing", "ci_cd_and_devops", "code_quality_and_security", "code_review",
    "code_review_and_analysis", "data_and_automation", "documentation_and_content",
    "feature_development", "migrations_and_upgrades", "other", "production_investigation",
    "refactoring_and_optimization", "research_and_exploration", "security",
    "unit_test_generation",
)  # fmt: skip
LARGEST_SCHEMA = 64 * 1024
_INTEGER = re.compile(r"[+-]?\d{1,18}")


class Failures:
    """Collects what is wrong with one request; `finish` raises if anything is."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.items: list[dict[str, Any]] = []

    def add(self, name: str | tuple[str | int, ...], message: str, kind: str) -> None:
        """Note that the field `name` is wrong."""
        path = (name,) if isinstance(name, str) else name
        self.items.append({"loc": [self.where, *path], "msg": message, "type": kind})

    def finish(self) -> None:
        """Raise the 422 `Problem` with all failures, if there are any."""
        if self.items:
            raise Problem(422, "Request validation failed", self.items)


Check = Callable[[Failures, str, Any], None]


def json_object(body: bytes, content_type: str) -> dict[str, Any]:
    """Return the JSON object in `body`, or raise the 422 `Problem`."""
    failures = Failures("body")
    if not body:
        failures.add((), "Field required", "missing")
        failures.finish()
    if content_type and "json" not in content_type.lower():
        failures.add((), "Input should be sent as application/json", "model_attributes_type")
        failures.finish()
    data: Any = None
    try:
        data = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        failures.add((), "JSON decode error", "json_invalid")
        failures.finish()
    if not isinstance(data, dict):
        failures.add((), "Input should be a valid dictionary", "dict_type")
        failures.finish()
    return dict(data)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def check_body(data: Mapping[str, Any], checks: Mapping[str, Check], required: str) -> None:
    """Raise the 422 `Problem` unless `data` passes; null counts as left out, extras are ignored.

    `required` is the one field that must be there and not be null.
    """
    failures = Failures("body")
    if required not in data:
        failures.add(required, "Field required", "missing")
    for name, check in checks.items():
        if name in data and (data[name] is not None or name in (required, "resumable")):
            check(failures, name, data[name])
    failures.finish()


def text(failures: Failures, name: str, value: Any) -> None:
    """Check for a string."""
    if not isinstance(value, str):
        failures.add(name, "Input should be a valid string", "string_type")


def boolean(failures: Failures, name: str, value: Any) -> None:
    """Check for true or false."""
    if not isinstance(value, bool):
        failures.add(name, "Input should be a valid boolean", "bool_type")


def integer(failures: Failures, name: str, value: Any) -> None:
    """Check for a whole number; ``8.0`` is one."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole:
        failures.add(name, "Input should be a valid integer", "int_type")


def texts(failures: Failures, name: str, value: Any) -> None:
    """Check for a list of strings."""
    if not isinstance(value, list):
        failures.add(name, "Input should be a valid list", "list_type")
        return
    for number, item in enumerate(value):
        if not isinstance(item, str):
            failures.add((name, number), "Input should be a valid string", "string_type")


def addresses(failures: Failures, name: str, value: Any) -> None:
    """Check for a list of URLs of 1 to 2083 characters."""
    texts(failures, name, value)
    for number, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, str):
            if not 1 <= len(item) <= 2083:
                failures.add((name, number), "URL should have 1 to 2083 characters", "url_too_long")
            elif not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://?[^\s/]", item):
                failures.add((name, number), "Input should be a valid URL", "url_parsing")


def secrets(failures: Failures, name: str, value: Any) -> None:
    """Check for a list of inline session secrets."""
    if not isinstance(value, list):
        failures.add(name, "Input should be a valid list", "list_type")
        return
    for number, item in enumerate(value):
        if not isinstance(item, dict):
            failures.add((name, number), "Input should be a valid dictionary", "dict_type")
            continue
        for key, least, most in (("key", 1, 256), ("value", 0, 65_536)):
            part = item.get(key)
            if key not in item:
                failures.add((name, number, key), "Field required", "missing")
            elif not isinstance(part, str):
                failures.add((name, number, key), "Input should be a valid string", "string_type")
            elif not least <= len(part) <= most:
                message = f"String should have {least} to {most} characters"
                failures.add((name, number, key), message, "string_length")
        if not isinstance(item.get("sensitive", True), bool):
            failures.add((name, number, "sensitive"), "Input should be a boolean", "bool_type")


def output_schema(failures: Failures, name: str, value: Any) -> None:
    """Check for a self-contained JSON Schema of at most 64 KB."""
    if not isinstance(value, dict):
        failures.add(name, "Input should be a valid dictionary", "dict_type")
    elif len(json.dumps(value).encode()) > LARGEST_SCHEMA:
        failures.add(name, "Schema should have at most 64 KB", "schema_too_large")
    elif any(not ref.startswith("#") for ref in _references(value)):
        failures.add(name, "Schema should not have external references", "schema_reference")


def _references(schema: Any) -> Iterable[str]:
    waiting = [schema]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            reference = item.get("$ref")
            if isinstance(reference, str):
                yield reference
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def tags(limit: int) -> Check:
    """Return a check for a list of at most `limit` strings."""

    def check(failures: Failures, name: str, value: Any) -> None:
        texts(failures, name, value)
        if isinstance(value, list) and len(value) > limit:
            failures.add(name, f"List should have at most {limit} items", "too_long")

    return check


CREATE: dict[str, Check] = {
    "prompt": text,
    "title": text,
    "repos": texts,
    "playbook_id": text,
    "child_playbook_id": text,
    "knowledge_ids": texts,
    "secret_ids": texts,
    "session_secrets": secrets,
    "session_links": texts,
    "attachment_urls": addresses,
    "max_acu_limit": integer,
    "devin_mode": text,
    "platform": text,
    "resumable": boolean,
    "bypass_approval": boolean,
    "create_as_user_id": text,
    "structured_output_schema": output_schema,
    "structured_output_required": boolean,
}
MESSAGE: dict[str, Check] = {
    "message": text,
    "attachment_urls": addresses,
    "message_as_user_id": text,
}


class Query:
    """The flat query of a request; arrays repeat their key. `finish` raises what was wrong."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for key, value in pairs:
            self._values.setdefault(key, []).append(value)
        self._failures = Failures("query")

    def text(self, name: str) -> str | None:
        """Return a text, or None when it is left out."""
        values = self._values.get(name)
        return values[-1] if values else None

    def texts(self, name: str, allowed: Iterable[str] = ()) -> frozenset[str] | None:
        """Return the values of an array, or None when it is left out."""
        values = self._values.get(name)
        if values is None:
            return None
        choices = tuple(allowed)
        for number, value in enumerate(values):
            if choices and value not in choices:
                self._failures.add((name, number), f"Input should be one of {choices}", "enum")
        return frozenset(values)

    def choice(self, name: str, allowed: tuple[str, ...]) -> str | None:
        """Return a text out of `allowed`, or None when it is left out."""
        value = self.text(name)
        if value is not None and value not in allowed:
            self._failures.add(name, f"Input should be one of {allowed}", "enum")
        return value

    def integer(self, name: str) -> int | None:
        """Return a whole number, or None when it is left out."""
        value = self.text(name)
        if value is None:
            return None
        if not _INTEGER.fullmatch(value.strip()):
            message = "Input should be a valid integer, unable to parse string as an integer"
            self._failures.add(name, message, "int_parsing")
            return None
        return int(value)

    def boolean(self, name: str) -> bool | None:
        """Return true or false, or None when it is left out."""
        value = self.text(name)
        if value is None:
            return None
        if value.lower() in ("true", "1", "yes", "on", "t", "y"):
            return True
        if value.lower() in ("false", "0", "no", "off", "f", "n"):
            return False
        message = "Input should be a valid boolean, unable to interpret input"
        self._failures.add(name, message, "bool_parsing")
        return None

    def page_size(self) -> int:
        """Return ``first``: 1 to 200, 100 when it is left out."""
        size = self.integer("first")
        if size is None:
            return 100
        if size < 1:
            message = "Input should be greater than or equal to 1"
            self._failures.add("first", message, "greater_than_equal")
        elif size > 200:
            message = "Input should be less than or equal to 200"
            self._failures.add("first", message, "less_than_equal")
        return size

    def finish(self) -> None:
        """Raise the 422 `Problem` with everything that was wrong."""
        self._failures.finish()
