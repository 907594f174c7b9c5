"""The pauses of a run: a moment is waited for, a person is asked."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sim_devin.commands.output import harmless, json_text

if TYPE_CHECKING:
    from sim_devin.clock import Clock
    from sim_devin.run import RunResult

Resume = Callable[..., "RunResult"]


class Deadline:
    """The end of a run in all, its pauses included."""

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        self._clock = clock
        self._end = None if seconds is None else clock.monotonic() + seconds

    def left(self) -> float | None:
        """Return the seconds that are left, or None without a deadline."""
        return None if self._end is None else max(0.0, self._end - self._clock.monotonic())


def sit_out(
    result: RunResult,
    resume: Resume,
    clock: Clock,
    cancel: threading.Event,
    deadline: Deadline,
) -> RunResult:
    """Let a run go on that only waits for a moment to come, once it has come.

    It is a cancelled one when `cancel` is set or the deadline comes before that.
    """
    from sim_devin.run import unix

    while result.status == "paused" and not _human(result):
        point = min(result.pause_points, key=lambda item: unix(item["resumeAt"]))
        pause = max(0.0, unix(point["resumeAt"]) - clock.time())
        left = deadline.left()
        if clock.wait(cancel, pause if left is None else min(pause, left)):
            return replace(result, success=False, status="cancelled", reason="cancel")
        if left is not None and left < pause:
            return replace(result, success=False, status="cancelled", reason="deadline")
        result = resume(result, context_id=point["contextId"], deadline=deadline.left())
    return result


def answer_to(
    result: RunResult, given: Iterator[dict[str, Any]], *, ask: bool
) -> tuple[str, dict[str, Any]] | None:
    """Return a pause (its context id) and the answer to it, or None when nobody answers.

    The answer is the next one `given`; then the person at the terminal is asked, if `ask`.
    """
    points = _human(result) if result.status == "paused" else []
    if not points:
        return None
    point = points[0]
    answer = next(given, None)
    if answer is None and ask and sys.stdin.isatty() and sys.stderr.isatty():
        answer = _asked(point)
    return None if answer is None else (point["contextId"], answer)


def _human(result: RunResult) -> list[dict[str, Any]]:
    return [point for point in result.pause_points if point.get("pauseKind") != "time"]


def shown(point: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a pause shows to whoever is to answer it, line by line."""
    for item in _data(point, "responseStructure"):
        value = item.get("value")
        text = value if isinstance(value, str) else json_text(value)
        yield harmless(f"  {item.get('name')}: {text}")


def fields(point: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the fields of the form of a pause."""
    return _data(point, "inputFormat")


def _data(point: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    response = point.get("response")
    data = response.get("data") if isinstance(response, Mapping) else None
    items = data.get(key) if isinstance(data, Mapping) else None
    return [item for item in items or () if isinstance(item, Mapping)]


def _asked(point: Mapping[str, Any]) -> dict[str, Any]:
    click.echo(f"\n{harmless(point.get('blockName', 'The run'))} waits for you.", err=True)
    for line in shown(point):
        click.echo(line, err=True)
    return {str(field["name"]): _field(field) for field in fields(point)}


def _field(field: Mapping[str, Any]) -> Any:
    label = harmless(field.get("label") or field["name"])
    kind, default = field.get("type"), field.get("value")
    if kind == "boolean":
        return click.confirm(label, default=default in (True, "true"), err=True)
    if kind == "number":
        return click.prompt(label, type=float, default=default or None, err=True)
    text = default if isinstance(default, str) else "" if default is None else json_text(default)
    required = bool(field.get("required")) and not text
    return click.prompt(label, default=None if required else text, err=True)
