"""Starts the runs of schedules, in each worker that has them in its config file.

Workers do not agree on who starts what: a run's id is that of its schedule and minute, and the
store takes an id once.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sim_devin.errors import CallerError, CredentialsError
from sim_devin.service.schedules import MINUTE_LENGTH, Schedule
from sim_devin.service.starts import is_known, start_once

if TYPE_CHECKING:
    from sim_devin.app import App

log = logging.getLogger(__name__)


class Scheduler:
    """The schedules of one worker.

    What was due before it was made is not made up for, unless a schedule says ``catch_up``: its
    latest moment since its last run that the store knows. A schedule without one begins now.

    Raises:
        StoreError: the store cannot be read.
    """

    def __init__(self, app: App, schedules: Iterable[Schedule]) -> None:
        self._app = app
        self._watched = [_Watched(schedule, self._begin(schedule)) for schedule in schedules]

    def start_due(self) -> bool:
        """Start what has become due since the last call; return whether anything was started.

        Of the moments of a schedule that have passed meanwhile only the latest counts. What
        cannot be started is logged.

        Raises:
            StoreError: the store cannot be read or written.
        """
        now = self._app.clock.time()
        moments = [(watched.schedule, watched.take(now)) for watched in self._watched]
        started = [self._start(schedule, at) for schedule, at in moments if at is not None]
        return any(started)

    def _begin(self, schedule: Schedule) -> float:
        last = self._last(schedule) if schedule.catch_up else None
        return self._app.clock.time() if last is None else schedule.moment(last)

    def _start(self, schedule: Schedule, moment: float) -> bool:
        run_id = schedule.run_id(moment)
        if schedule.overlap == "skip":
            unended = self._last(schedule, unended=True)
            if unended is not None and not is_known(self._app, run_id):
                log.warning("%s is skipped: %s has not ended", run_id, unended)
                return False
        try:
            return start_once(self._app, schedule.workflow, dict(schedule.inputs), run_id)
        except (CallerError, CredentialsError) as error:
            log.warning("schedule %s cannot start its workflow: %s", schedule.name, error)
            return False

    def _last(self, schedule: Schedule, *, unended: bool = False) -> str | None:
        length = len(schedule.prefix) + MINUTE_LENGTH
        return self._app.runs.store.last_id(schedule.prefix, length, unended=unended)


class _Watched:
    """A schedule, and up to when its moments are dealt with."""

    def __init__(self, schedule: Schedule, after: float) -> None:
        self.schedule = schedule
        self._go_on(after)

    def take(self, now: float) -> float | None:
        """Return the latest moment that has come, once; None if there is none."""
        if now < self._next:
            return None
        latest = self.schedule.latest(self._after, now)
        self._go_on(now)
        return latest

    def _go_on(self, after: float) -> None:
        self._after = after
        self._next = next(self.schedule.due(after), math.inf)
