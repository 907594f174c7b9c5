"""One run as the page is told of it: what is heard while it is driven here, and what is stored.

Blocks that start and retry are known only where a run is driven. Everything else is in the
store, whoever drives it, so each look at the store adds what was not heard.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sim_devin.engine import events
from sim_devin.engine.events import Event
from sim_devin.engine.run import BlockLog, iso
from sim_devin.errors import SimDevinError, StoreUnavailable, UnknownName
from sim_devin.plugins.registry import EMPTY, Registry
from sim_devin.redaction import Redactor
from sim_devin.store.damage import DamagedRow
from sim_devin.store.records import Run, Wait
from sim_devin.store.sql_store import SqlStore
from sim_devin.web import history
from sim_devin.web.executions import of_log
from sim_devin.web.feed import Feed
from sim_devin.web.run_view import shown


class RunFeed:
    """Tells one run. Safe for many threads.

    Args:
        run_id: id of the run.
        store: where it is.
        redactor: takes secrets out of everything that is told.
        start: number after which its events are counted.
        document: its document with the secrets, if it was started here; never sent anywhere.
        registry: knows which tools and kinds of jobs the run has to do with.

    Attributes:
        feed: the events.
    """

    def __init__(
        self,
        run_id: str,
        store: SqlStore,
        redactor: Redactor,
        *,
        start: int = 0,
        document: Mapping[str, Any] | None = None,
        registry: Registry = EMPTY,
    ) -> None:
        self.id = run_id
        self.feed = Feed(start)
        self.document = document
        self._store = store
        self._registry = registry
        self._redactor = redactor
        self._lock = threading.RLock()
        self._status = "running"
        self._asked: list[int] = []
        self._over: float | None = None  # when it ended
        self._looked_until = 0
        # By execution (`executions.ExecutionView.key`):
        self._ended: dict[str, bool] = {}  # whether it ended well
        self._numbers: dict[str, int] = {}
        self._parked: dict[str, dict[str, Any]] = {}
        self._logs: dict[int, BlockLog | Mapping[str, Any]] = {}
        self._waits: dict[int, tuple[Wait, Any]] = {}  # those that were told, and what of them

    def __repr__(self) -> str:
        return f"RunFeed({self.id}, {self._status})"

    @property
    def is_needed(self) -> bool:
        """Whether the store has to be looked at for what is new."""
        is_own = self.document is not None
        return self._status in ("running", "paused") and (is_own or self.feed.is_watched)

    def log(self, number: int) -> dict[str, Any]:
        """Return the log entry of a block with its input and output, as the page may see it.

        Raises:
            UnknownName: there is no such entry.
        """
        entry = self._logs.get(number)
        if entry is None:
            raise UnknownName("log entry", str(number), ())
        body = entry.to_json() if isinstance(entry, BlockLog) else entry
        view: dict[str, Any] = shown(body, self._redactor)
        return view

    def hear(self, event: Event) -> None:
        """Tell what just happened, where the run is driven by this process."""
        with self._lock:
            body = event.to_json()
            if event.log is None:
                if event.kind == events.RUN_STARTED and not len(self.feed):
                    self._tell(body)
                return
            body |= of_log(body).to_json()
            if event.kind == events.BLOCK_WAITING and "contextId" in body:
                self._parked[body["execution"]] = body
                return
            if event.kind == events.BLOCK_STARTED and self._waits_for(body["execution"]):
                return  # told late: its wait is in the store already
            if event.kind in (events.BLOCK_FINISHED, events.BLOCK_FAILED):
                whole = {**body, "input": event.log.input, "error": event.log.error}
                body |= history.came_to(self._registry, whole, event.log.output)
            self._tell_block(body, event.log)

    def look(self, now: float) -> None:
        """Tell what the store knows and was not heard; of what is damaged there, that it is.

        Raises:
            UnknownName: the run has been forgotten.
        """
        damaged: list[str] = []
        with self._lock:
            run = self._run()
            if not len(self.feed) and run.started is not None:
                self._begin(run)
            waits = self._store.waits(self.id, only_open=True, damaged=damaged)
            status = history.status_of(run, waits)
            asked = [wait.id for wait in waits if wait.kind in history.NEEDS_A_FORM]
            is_news = (status, asked) != (self._status, self._asked)
            # Resumed, and at its end again between two looks.
            again = self._over is not None and run.ended not in (None, self._over)
            if again or (status == "running" and self._status != "running"):
                self._go_on(run, now)
            self._add_blocks(run, damaged)
            if damaged:
                run = replace(run, error="; ".join(filter(None, (run.error, *damaged))))
            self._add_waits(waits, now, is_over=history.has_ended(run))
            if (is_news or again) and status != "running":
                self._stand_still(run, status, waits, now)
            self._status, self._asked, self._over = status, asked, run.ended

    # -- inside ----------------------------------------------------------------------------------

    def _tell(self, body: Mapping[str, Any]) -> None:
        self.feed.append(shown(body, self._redactor))

    def _tell_block(
        self, body: dict[str, Any], log: BlockLog | Mapping[str, Any] | None = None
    ) -> None:
        """Tell an event of a block, under a number of its own; nothing after its end."""
        key, order = body["execution"], int(body.get("executionOrder") or 0)
        if key in self._ended:
            return
        if key not in self._numbers:
            taken = order == 0 or order in self._logs or order in self._numbers.values()
            self._numbers[key] = self._free_number() if taken else order
        number = body["executionOrder"] = self._numbers[key]
        if log is not None:
            self._logs[number] = log
        if body["event"] in (events.BLOCK_FINISHED, events.BLOCK_FAILED):
            self._ended[key] = body["event"] == events.BLOCK_FINISHED
        self._tell(body)

    def _waits_for(self, execution: str) -> bool:
        return any(news["execution"] == execution for _, news in self._waits.values())

    def _free_number(self) -> int:
        return 1 + max((*self._logs, *self._numbers.values()), default=0)

    def _run(self) -> Run:
        try:
            return self._store.run(self.id)
        except DamagedRow:  # nobody can drive it
            run = self._store.listed(self.id)
            return run if history.has_ended(run) else replace(run, state="held")

    def _add_blocks(self, run: Run, damaged: list[str]) -> None:
        before = self._looked_until
        while recent := self._store.events(self.id, after=self._looked_until):
            self._looked_until = recent[-1].id
        if self._looked_until == before:
            return
        outcomes = self._store.outcomes(self.id, damaged)
        for execution, log in history.logs_of(run, outcomes):
            self._tell_block(history.block_event(self._registry, self.id, log, execution), log)

    def _add_waits(self, waits: list[Wait], now: float, *, is_over: bool) -> None:
        gone = self._waits.keys() - {wait.id for wait in waits}
        for wait in [self._waits.pop(wait_id)[0] for wait_id in sorted(gone)]:
            if not is_over:
                self._tell_block(history.goes_on_event(wait, now))
        for wait in waits:
            if wait.kind == "sleep":
                continue
            answered = self._store.answers(wait) if wait.kind == "question" else 0
            body = history.wait_event(self._registry, wait, now, answered)
            news = {**body, "time": "", "progress": _without_times(body.get("progress"))}
            if self._waits.get(wait.id, (None, None))[1] == news:
                continue
            self._waits[wait.id] = wait, news
            heard = self._parked.get(body["execution"], {})
            places = ("blockType", "executionOrder", "iterationIndex")
            self._tell_block({**body, **{name: heard[name] for name in places if name in heard}})

    def _begin(self, run: Run) -> None:
        self._tell(history.started_event(run))
        try:
            log = history.start_log(run, self._store.document(run.document))
        except StoreUnavailable:
            raise
        except SimDevinError:  # damaged: whoever drives the run says so
            log = None
        if log is not None:
            self._tell_block(history.block_event(self._registry, self.id, log, of_log(log)), log)

    def _go_on(self, run: Run, now: float) -> None:
        self._ended = {key: well for key, well in self._ended.items() if well}
        self.feed.reopen()
        self._tell({**history.started_event(run), "time": iso(now)})

    def _stand_still(self, run: Run, status: str, waits: list[Wait], now: float) -> None:
        self.feed.reopen()
        for body in history.end_events(self._registry, run, status, waits, now):
            self._tell(body)
        if not any(wait.kind in history.GOES_ON for wait in waits):
            self.feed.close()


def _without_times(progress: Any) -> Any:
    if not isinstance(progress, Mapping):
        return progress
    times = ("waitedSeconds", "nextLookSeconds")
    return {key: value for key, value in progress.items() if key not in times}
