"""Schedules of the config file, and which of their moments are due. Pure: no clock, no runs.

A schedule starts a workflow at the moments of a cron expression::

    [schedules.nightly]
    workflow = "triage.json"
    cron = "30 2 * * MON-FRI"        # minute, hour, day of month, month, day of week
    timezone = "Europe/Berlin"       # unless given, UTC
    inputs = { label = "bug" }
    overlap = "skip"                 # or "start": also while an earlier run has not ended
    catch_up = false                 # true: what was due while no worker ran, the latest of it

The moments are those of cronsim, which goes by Debian's cron: a fixed time that the clocks skip
comes with the next minute there is; one that they repeat comes the first time only. Where day of
month and day of week are both restricted, either is enough, unless one of them begins with ``*``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from sim_devin.errors import CallerError

OVERLAPS = ("skip", "start")
MINUTE = "%Y%m%dT%H%MZ"  # how a run's id ends
MINUTE_LENGTH = len("20261124T0900Z")
HOUR = 3600.0
_KEYS = ("workflow", "cron", "timezone", "inputs", "overlap", "catch_up")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


@dataclass(frozen=True)
class Schedule:
    """Which workflow starts when. All times are Unix seconds.

    Attributes:
        overlap: ``skip`` starts nothing while an earlier run of the schedule has not ended.
        catch_up: whether the latest moment that came while no worker ran is made up for.
    """

    name: str
    workflow: Path
    cron: str
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    inputs: Mapping[str, Any] = field(default_factory=dict)
    overlap: str = "skip"
    catch_up: bool = False

    @property
    def prefix(self) -> str:
        """What the ids of its runs begin with; the rest is `MINUTE_LENGTH` characters."""
        return f"schedule-{self.name}-"

    def run_id(self, moment: float) -> str:
        """Return the id of the run of a moment, the same in every worker."""
        return self.prefix + datetime.fromtimestamp(moment, UTC).strftime(MINUTE)

    def moment(self, run_id: str) -> float:
        """Return the moment that a run of this schedule was started for."""
        text = run_id.removeprefix(self.prefix)
        return datetime.strptime(text, MINUTE).replace(tzinfo=UTC).timestamp()

    def due(self, after: float, until: float = math.inf) -> Iterator[float]:
        """Yield the moments after one moment and not after another, in order."""
        # Whole seconds: a fraction could be rounded up to the very moment that is looked for.
        start = datetime.fromtimestamp(math.floor(after), self.zone)
        for found in CronSim(_five_fields(self.cron), start):
            moment = found.timestamp()
            if moment > until:
                return
            if moment > after:  # in an hour that the clocks repeat, cronsim begins with the first
                yield moment

    def latest(self, after: float, until: float) -> float | None:
        """Return the last of the moments that are `due`, without going through all of them."""
        span = HOUR
        while True:
            begin = max(after, until - span)
            *_, last = None, *self.due(begin, until)
            if last is not None or begin <= after:
                return last
            span *= 24

    def following(self, after: float, count: int) -> list[datetime]:
        """Return the next moments after one, in the schedule's own time zone."""
        return [datetime.fromtimestamp(at, self.zone) for at in islice(self.due(after), count)]


def read_schedules(table: object) -> list[Schedule]:
    """Return the schedules of a config file's ``[schedules]`` table.

    Raises:
        CallerError: one of them cannot be used; says how to fix it.
    """
    if not isinstance(table, Mapping):
        raise CallerError(
            "schedules in the config file must be tables.", hint="Write [schedules.nightly]."
        )
    return [_schedule(str(name), declared) for name, declared in table.items()]


def _schedule(name: str, declared: Any) -> Schedule:
    if not _NAME.fullmatch(name):
        raise CallerError(
            f"Invalid schedule name {name[:70]!r}.",
            hint="Use up to 64 letters, digits, _ and -.",
        )
    if not isinstance(declared, Mapping):
        raise CallerError(
            f"The schedule {name} must be a table.", hint=f"Write [schedules.{name}]."
        )
    unknown = sorted(set(declared) - set(_KEYS))
    if unknown:
        raise CallerError(
            f"Unknown key {unknown[0]!r} in [schedules.{name}].",
            hint=f"Known: {', '.join(_KEYS)}.",
        )
    inputs = declared.get("inputs", {})
    if not isinstance(inputs, Mapping):
        raise CallerError(
            f"The inputs of the schedule {name} must be a table.",
            hint=f"Write them under [schedules.{name}.inputs].",
        )
    overlap = declared.get("overlap", "skip")
    if overlap not in OVERLAPS:
        raise CallerError(
            f"The schedule {name} has an invalid overlap: {overlap!r}.",
            hint=f"Write {' or '.join(OVERLAPS)}.",
        )
    catch_up = declared.get("catch_up", False)
    if not isinstance(catch_up, bool):
        raise CallerError(
            f"The schedule {name} has an invalid catch_up: {catch_up!r}.",
            hint="Write true or false.",
        )
    return Schedule(
        name,
        _workflow(name, declared.get("workflow")),
        _cron(name, declared.get("cron")),
        _zone(name, declared.get("timezone", "UTC")),
        dict(inputs),
        overlap,
        catch_up,
    )


def _workflow(name: str, given: Any) -> Path:
    if not isinstance(given, str) or not given:
        raise CallerError(
            f"The schedule {name} has no workflow.", hint='Write workflow = "…", a file\'s path.'
        )
    path = Path(given).expanduser()
    if not path.is_file():
        raise CallerError(
            f"The schedule {name} starts {given}, which is not a file.",
            hint="A relative path is resolved from the directory where the worker was started.",
        )
    return path


def _cron(name: str, given: Any) -> str:
    if not isinstance(given, str):
        raise CallerError(
            f"The schedule {name} has an invalid cron expression: {given!r}.", hint=_FIVE_FIELDS
        )
    expression, problem = _five_fields(given), ""
    count = len(expression.split())
    try:
        if count != 5:
            problem = f"{count} fields"
        elif next(CronSim(expression, datetime.now(UTC)), None) is None:
            problem = "never occurs"
    except CronSimError as error:
        problem = str(error)
    if problem:
        raise CallerError(
            f"The schedule {name} has an invalid cron expression: {given!r}: {problem}.",
            hint=_cron_hint(given),
        )
    return given


_FIVE_FIELDS = (
    'Write five fields: minute, hour, day of month, month, day of week ("0 9 * * MON-FRI").'
)


def _five_fields(cron: str) -> str:
    """Return a cron expression as cronsim reads it: nicknames written out, ``?`` being any day."""
    fields = _NICKNAMES.get(cron.strip().lower(), cron).split()
    days = {2, 4}.intersection(range(len(fields)))
    return " ".join("*" if at in days and item == "?" else item for at, item in enumerate(fields))


def _cron_hint(given: str) -> str:
    fields = given.strip().upper().split()
    if given.strip().startswith("@"):
        return f"Supported nicknames: {', '.join(_NICKNAMES)}. {_FIVE_FIELDS}"
    if len(fields) > 5:
        return f"Seconds and years are not supported. {_FIVE_FIELDS}"
    days = [fields[at] for at in (2, 4) if at < len(fields)]
    if any(re.search(r"\dW|L-\d", day) for day in days):
        return (
            "The nearest working day (15W) and days before the last one (L-3) are not supported; "
            "L, LW, 5L (the last Friday) and FRI#2 (the second) are."
        )
    if any(re.match(r"H\b", item) for item in fields):
        return f"H is not supported, since starts are not spread over time. {_FIVE_FIELDS}"
    return _FIVE_FIELDS


def _zone(name: str, given: Any) -> ZoneInfo:
    try:
        return ZoneInfo(str(given))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CallerError(
            f"The schedule {name} has an unknown timezone: {str(given)[:60]!r}.",
            hint="Use an IANA name such as Europe/Berlin. If the system has no time zone data: "
            "pip install tzdata.",
        ) from None
