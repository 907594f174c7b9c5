"""Scenarios: small pieces of data that say what happens in a session, and when."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

SUSPENSIONS = {
    "usage_limit_exceeded": "the session's own limit is used up",
    "total_session_limit_exceeded": "a limit on sessions is reached",
    "out_of_credits": "the account has no credits left",
    "out_of_quota": "the account has no quota left",
    "no_quota_allocation": "the account was given no quota",
    "payment_declined": "a payment was declined",
    "org_usage_limit_exceeded": "the organization's limit is used up",
    "user_usage_limit_exceeded": "the user's limit is used up",
    "contract_expired": "the contract ended (newer than the published list)",
    "user_request": "a user paused the session",
    "error": "a fault stopped the session",
}


class ScenarioError(ValueError):
    """A scenario that cannot be played. `problems` has one line for each mistake."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))
        self.problems = list(problems)


@dataclass(frozen=True, slots=True)
class File:
    """An attachment that Devin adds to a session."""

    name: str
    content: str = ""
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What changes in a session at one moment.

    `at` counts simulated seconds from the create, or from the user's message that let the
    script continue. Fields left at None change nothing.
    """

    at: float = 0.0
    status: str | None = None
    status_detail: str | None = None
    message: str | None = None
    title: str | None = None
    category: str | None = None
    subcategory: str | None = None
    acus: float | None = None
    pull_requests: tuple[Mapping[str, Any], ...] | None = None
    structured_output: Mapping[str, Any] | Literal["auto"] | None = None
    attachments: tuple[File, ...] = ()
    wait_for_user: bool = False
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What follows a user's message once the script has been played to its end.

    `match` is a regular expression searched for in the message; `times` is how often in a
    session the reply may be used.
    """

    steps: tuple[Step, ...]
    match: re.Pattern[str] | None = None
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """Which created sessions a scenario is for; everything given has to fit."""

    prompt: re.Pattern[str] | None = None
    title: re.Pattern[str] | None = None
    tags: tuple[str, ...] = ()

    def fits(self, prompt: str, title: str | None, tags: Iterable[str]) -> bool:
        """Return whether a session with these values is meant."""
        return (
            (self.prompt is None or self.prompt.search(prompt) is not None)
            and (self.title is None or self.title.search(title or "") is not None)
            and set(self.tags) <= set(tags)
        )


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named script, which sessions it is for, and how it answers later messages."""

    name: str
    steps: tuple[Step, ...]
    description: str = ""
    match: Match | None = None
    on_message: tuple[Reply, ...] = ()


def load_scenarios(path: str | Path) -> list[Scenario]:
    """Return the scenarios of a ``.json``, ``.yaml`` or ``.yml`` file.

    The file holds one scenario or ``{"scenarios": [...]}``. Raises `ScenarioError` with every
    mistake and its place. YAML takes the extra ``simulator`` (pyyaml).
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(str(path), [f"cannot be read: {error}"]) from error
    return parse_scenarios(_read(path, text), source=str(path), default_name=path.stem)


def _read(path: Path, text: str) -> Any:
    if path.suffix.lower() not in (".yaml", ".yml"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ScenarioError(str(path), [f"is not JSON: {error}"]) from error
    try:
        import yaml
    except ImportError as error:
        advice = "YAML needs pyyaml: pip install 'sim-devin[simulator]'"
        raise ScenarioError(str(path), [advice]) from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError(str(path), [f"is not YAML: {error}"]) from error


def parse_scenarios(
    data: Any, *, source: str = "scenario", default_name: str = "custom"
) -> list[Scenario]:
    """Return the scenarios in `data`, the content of a scenario file.

    `source` names the data in errors; `default_name` is the name of a scenario without one.
    """
    reader = _Reader()
    if isinstance(data, Mapping) and "scenarios" in data:
        reader.known(data, "the file", {"scenarios"})
        items = reader.sequence(data["scenarios"], "scenarios")
        found = [
            reader.scenario(item, f"scenarios[{number}].", f"{default_name}-{number}")
            for number, item in enumerate(items)
        ]
    else:
        found = [reader.scenario(data, "", default_name)]
    names = [scenario.name for scenario in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        reader.problems.append(f"two scenarios are named {name!r}")
    if reader.problems:
        raise ScenarioError(source, reader.problems)
    return found


_STEP_KEYS = {field.name for field in fields(Step)}
_SCENARIO_KEYS = {field.name for field in fields(Scenario)}


class _Reader:
    """Reads scenario data and notes everything wrong with it instead of stopping."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def wrong(self, place: str, expected: str, value: Any) -> None:
        self.problems.append(f"{place}: expected {expected}, got {value!r}")

    def known(self, data: Mapping[Any, Any], place: str, keys: set[str]) -> None:
        for key in data:
            if key not in keys:
                allowed = ", ".join(sorted(keys))
                self.problems.append(f"{place}: unknown key {key!r}; allowed are {allowed}")

    def mapping(self, value: Any, place: str, keys: set[str]) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            self.wrong(place or "the file", "an object", value)
            return {}
        self.known(value, place or "scenario", keys)
        return value

    def sequence(self, value: Any, place: str) -> Sequence[Any]:
        if isinstance(value, list | tuple):
            return value
        self.wrong(place, "a list", value)
        return ()

    def text(self, data: Mapping[str, Any], key: str, place: str) -> str | None:
        value = data.get(key)
        if value is None or (isinstance(value, str) and value):
            return value
        self.wrong(f"{place}.{key}", "a non-empty text", value)
        return None

    def number(self, data: Mapping[str, Any], key: str, place: str) -> float | None:
        value = data.get(key)
        if value is None:
            return None
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if good and 0 <= value < float("inf"):
            return float(value)
        self.wrong(f"{place}.{key}", "a number, 0 or more", value)
        return None

    def flag(self, data: Mapping[str, Any], key: str, place: str) -> bool:
        value = data.get(key, False)
        if not isinstance(value, bool):
            self.wrong(f"{place}.{key}", "true or false", value)
        return value is True

    def pattern(self, data: Mapping[str, Any], key: str, place: str) -> re.Pattern[str] | None:
        text = self.text(data, key, place)
        if text is None:
            return None
        try:
            return re.compile(text)
        except re.error as error:
            self.wrong(f"{place}.{key}", f"a regular expression ({error})", text)
            return None

    def scenario(self, value: Any, prefix: str, default_name: str) -> Scenario:
        place = prefix.rstrip(".")
        data = self.mapping(value, place, _SCENARIO_KEYS)
        if isinstance(value, Mapping) and "steps" not in data:
            self.problems.append(f"{prefix}steps: is missing; a list of steps is expected")
        replies = self.sequence(data.get("on_message", ()), f"{prefix}on_message")
        return Scenario(
            name=self.text(data, "name", place) or default_name,
            description=self.text(data, "description", place) or "",
            match=self.match(data["match"], f"{prefix}match") if "match" in data else None,
            steps=self.steps(data.get("steps", ()), f"{prefix}steps"),
            on_message=tuple(
                self.reply(item, f"{prefix}on_message[{number}]")
                for number, item in enumerate(replies)
            ),
        )

    def match(self, value: Any, place: str) -> Match:
        data = self.mapping(value, place, {"prompt", "title", "tags"})
        tags = self.sequence(data.get("tags", ()), f"{place}.tags")
        for tag in tags:
            if not isinstance(tag, str):
                self.wrong(f"{place}.tags", "texts", tag)
        return Match(
            prompt=self.pattern(data, "prompt", place),
            title=self.pattern(data, "title", place),
            tags=tuple(str(tag) for tag in tags),
        )

    def reply(self, value: Any, place: str) -> Reply:
        data = self.mapping(value, place, {"match", "times", "steps"})
        times = data.get("times")
        if times is not None and (type(times) is not int or times < 1):
            self.wrong(f"{place}.times", "a whole number, 1 or more", times)
            times = None
        return Reply(
            steps=self.steps(data.get("steps", ()), f"{place}.steps"),
            match=self.pattern(data, "match", place),
            times=times,
        )

    def steps(self, value: Any, place: str) -> tuple[Step, ...]:
        steps: list[Step] = []
        earliest = 0.0
        for number, item in enumerate(self.sequence(value, place)):
            step = self.step(item, f"{place}[{number}]")
            if step.at < earliest:
                self.problems.append(
                    f"{place}[{number}].at: expected {earliest:g} or more (steps are in order; "
                    f"counting starts anew after wait_for_user), got {step.at:g}"
                )
            earliest = 0.0 if step.wait_for_user else step.at
            steps.append(step)
        return tuple(steps)

    def step(self, value: Any, place: str) -> Step:
        data = self.mapping(value, place, _STEP_KEYS)
        requests = data.get("pull_requests")
        files = self.sequence(data.get("attachments", ()), f"{place}.attachments")
        alone = data.get("status") is None and not data.get("wait_for_user")
        if data.get("status_detail") is not None and alone:
            self.problems.append(f"{place}.status_detail: needs a status beside it")
        return Step(
            at=self.number(data, "at", place) or 0.0,
            status=self.text(data, "status", place),
            status_detail=self.text(data, "status_detail", place),
            message=self.text(data, "message", place),
            title=self.text(data, "title", place),
            category=self.text(data, "category", place),
            subcategory=self.text(data, "subcategory", place),
            acus=self.number(data, "acus", place),
            pull_requests=None
            if requests is None
            else tuple(
                self.pull_request(item, f"{place}.pull_requests[{number}]")
                for number, item in enumerate(self.sequence(requests, f"{place}.pull_requests"))
            ),
            structured_output=self.output(data, place),
            attachments=tuple(
                self.file(item, f"{place}.attachments[{number}]")
                for number, item in enumerate(files)
            ),
            wait_for_user=self.flag(data, "wait_for_user", place),
            complete=self.flag(data, "complete", place),
        )

    def pull_request(self, value: Any, place: str) -> Mapping[str, Any]:
        data = self.mapping(value, place, {"pr_url", "pr_state"})
        if self.text(data, "pr_url", place) is None and "pr_url" not in data:
            self.problems.append(f"{place}.pr_url: is missing; a text is expected")
        return {
            "pr_url": str(data.get("pr_url", "")),
            "pr_state": self.text(data, "pr_state", place),
        }

    def output(
        self, data: Mapping[str, Any], place: str
    ) -> Mapping[str, Any] | Literal["auto"] | None:
        value = data.get("structured_output")
        if value == "auto":
            return "auto"
        if value is None or isinstance(value, Mapping):
            return value
        self.wrong(f"{place}.structured_output", "an object or 'auto'", value)
        return None

    def file(self, value: Any, place: str) -> File:
        data = self.mapping(value, place, {"name", "content", "content_type"})
        name = self.text(data, "name", place)
        if name is None and "name" not in data:
            self.problems.append(f"{place}.name: is missing; a text is expected")
        return File(
            name=name or "",
            content=self.text(data, "content", place) or "",
            content_type=self.text(data, "content_type", place),
        )
