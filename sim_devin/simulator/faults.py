"""Faults: rules for what goes wrong between the service and its client."""

from __future__ import annotations

import dataclasses
import random
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

from sim_devin.simulator.answers import Answer, Break, Problem, failure, success
from sim_devin.simulator.switches import Switches

KINDS = {
    "status": "respond with `status` and a problem body",
    "html": "respond with an HTML page and `status`, as a proxy does",
    "reset": "break the connection without a response",
    "timeout": "never respond; the connection stays open for at most `seconds`",
    "commit_delay": "never respond, and carry out a create only after `seconds` of simulated time",
    "slow": "respond after `seconds`",
    "truncate": "break the connection after half of the body",
    "bad_json": "respond 200 with a body that is not JSON",
    "wrong_shape": "respond 200 with JSON of the wrong shape",
    "empty": "respond 200 without a body",
    "circle": "respond to a list with cursors that form an endless loop",
}
_COMMITTED = {"slow", "truncate", "bad_json", "wrong_shape", "empty", "circle", "commit_delay"}
_BREAKS: dict[str, Break] = {
    "reset": "reset",
    "timeout": "timeout",
    "commit_delay": "timeout",
    "truncate": "truncate",
}
_LONGEST_SILENCE = 60.0
CIRCLE = ("A", "B")  # cursors; a client that has come by one of them does not get out
_Test = Callable[[Any], bool]
_PAGE = (
    b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
)


def _number(least: float, most: float = float("inf"), *, whole: bool = False) -> _Test:
    kinds = int if whole else int | float

    def good(value: Any) -> bool:
        return isinstance(value, kinds) and not isinstance(value, bool) and least <= value <= most

    return good


def _or_none(good: _Test) -> _Test:
    return lambda value: value is None or good(value)


# Values may come from JSON, so types are checked too.
_FIELDS: dict[str, tuple[_Test, str]] = {
    "method": (lambda value: value is None or isinstance(value, str), "a string"),
    "times": (_or_none(_number(1, whole=True)), "a whole number, 1 or more, or null"),
    "after": (_number(0, whole=True), "a whole number, 0 or more"),
    "probability": (_number(0, 1), "0 to 1"),
    "commit": (lambda value: value in (None, True, False), "true, false or null"),
    "status": (_or_none(_number(200, 599, whole=True)), "an HTTP status, 200 to 599"),
    "detail": (lambda value: value is None or isinstance(value, str), "a string"),
    "retry_after": (_or_none(_number(0)), "seconds, 0 or more"),
    "retry_after_form": (
        lambda value: value in (None, "seconds", "date", "none"),
        "seconds, date or none",
    ),
    "seconds": (_or_none(_number(0, 3e6)), "seconds, 0 or more"),
}


class FaultError(ValueError):
    """An unknown or malformed fault."""


@dataclass(frozen=True)
class Fault:
    """A rule: which requests go wrong, how, and how often.

    `kind` is one of `KINDS`; `method` and the regular expression `path` (searched in the
    request's path) say for which requests, all when left out. The first `after` matching
    requests are let through, then `times` of them fail (None: all), each with `probability`.
    With `commit` the service carries the request out before things go wrong: None keeps what
    is usual for the kind. `retry_after` is in seconds; as an HTTP date with
    `retry_after_form` ``"date"``. `seconds` are real ones, except for ``commit_delay``.
    """

    kind: str
    method: str | None = None
    path: str | None = None
    times: int | None = 1
    after: int = 0
    probability: float = 1.0
    commit: bool | None = None
    status: int | None = None
    detail: str | None = None
    retry_after: float | None = None
    retry_after_form: str | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FaultError(f"unknown fault kind {self.kind!r}; available: {', '.join(KINDS)}")
        try:
            re.compile("" if self.path is None else self.path)
        except (re.error, TypeError) as error:
            raise FaultError(f"path: {self.path!r} is not a regular expression: {error}") from error
        for name, (good, expected) in _FIELDS.items():
            value = getattr(self, name)
            if not good(value):
                raise FaultError(f"{name}: expected {expected}, got {value!r}")

    @classmethod
    def parse(cls, data: Any) -> Fault:
        """Return the fault that JSON `data` describes; `FaultError` says what is wrong."""
        if not isinstance(data, Mapping):
            raise FaultError(f"a fault must be an object, got {data!r}")
        names = [field.name for field in dataclasses.fields(cls)]
        for key in data:
            if key not in names:
                raise FaultError(f"unknown key {key!r} in a fault; available: {', '.join(names)}")
        if "kind" not in data:
            raise FaultError(f"kind: missing; expected one of {', '.join(KINDS)}")
        return cls(**data)

    @property
    def commits(self) -> bool:
        """Return whether the service carries the request out."""
        return self.kind in _COMMITTED if self.commit is None else self.commit

    @property
    def commit_delay(self) -> float:
        """Return the simulated seconds until a create becomes real."""
        return (self.seconds or 0.0) if self.kind == "commit_delay" else 0.0

    def matches(self, method: str, path: str) -> bool:
        """Return whether a request is meant."""
        return (self.method is None or self.method.upper() == method) and (
            self.path is None or re.search(self.path, path) is not None
        )

    def spoil(
        self, answer: Answer, path: str, now: float, switches: Switches, after: str | None = None
    ) -> Answer:
        """Return what becomes of `answer`.

        `now` is the time for a Retry-After date, `after` the cursor of the request.
        """
        seconds = self.seconds
        if self.kind == "status":
            return self._refusal(path, now, switches)
        if self.kind == "html":
            return Answer(self.status or 502, {"Content-Type": "text/html"}, _PAGE)
        if self.kind == "slow":
            return dataclasses.replace(answer, delay=1.0 if seconds is None else seconds)
        if self.kind == "bad_json":
            return Answer(200, {"Content-Type": "application/json"}, b'{"items": [{"session_id":')
        if self.kind == "wrong_shape":
            return Answer(200, {"Content-Type": "application/json"}, b'["unexpected"]')
        if self.kind == "empty":
            return Answer(200, {}, b"")
        if self.kind == "circle":
            # The service takes no cursor but its own: later pages are errors, and empty here.
            page = answer.json() if answer.status == 200 else {"items": []}
            cursor = CIRCLE[after == CIRCLE[0]]
            circle = {"end_cursor": cursor, "has_next_page": True}
            return success({**page, **circle}) if "items" in page else answer
        silence = _LONGEST_SILENCE if seconds is None or self.kind == "commit_delay" else seconds
        fault = _BREAKS[self.kind]
        delay = silence if fault == "timeout" else 0.0
        return dataclasses.replace(answer, fault=fault, delay=delay)

    def _refusal(self, path: str, now: float, switches: Switches) -> Answer:
        status = self.status or 503
        details = {429: "Too many requests", 500: "Internal error", 503: "Service unavailable"}
        problem = Problem(status, self.detail or details.get(status, "Simulated fault"))
        headers: dict[str, str] = {}
        form = self.retry_after_form or switches.retry_after
        if form != "none" and (status == 429 or self.retry_after is not None):
            wait = 1.0 if self.retry_after is None else self.retry_after
            headers["Retry-After"] = (
                f"{wait:g}" if form == "seconds" else formatdate(now + wait, usegmt=True)
            )
        legacy = switches.error_body == "legacy"
        return failure(problem, path, legacy=legacy, headers=headers)


class Faults:
    """The faults in force. The first rule that matches a request is applied to it."""

    def __init__(self, faults: Iterable[Fault] = (), *, seed: int | None = None) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._rules: list[_Rule] = [_Rule(fault) for fault in faults]

    def add(self, *faults: Fault) -> None:
        """Put `faults` into force, after those that already are."""
        with self._lock:
            self._rules = [*self._rules, *(_Rule(fault) for fault in faults)]

    def clear(self) -> None:
        """Lift all faults."""
        with self._lock:
            self._rules = []

    def pending(self) -> list[dict[str, Any]]:
        """Return the faults in force as JSON data, `times` being what is left of each."""
        with self._lock:
            return [{**dataclasses.asdict(rule.fault), "times": rule.left} for rule in self._rules]

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault that hits this request, and count it."""
        if not self._rules:
            return None
        with self._lock:
            for rule in self._rules:
                if not rule.fault.matches(method, path):
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                    continue
                if self._random.random() >= rule.fault.probability:
                    continue
                if rule.left is not None:
                    rule.left -= 1
                    if rule.left == 0:
                        self._rules = [other for other in self._rules if other is not rule]
                return rule.fault
        return None


class _Rule:
    """A fault with what is left of its counts."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = fault.times
        self.skip = fault.after
