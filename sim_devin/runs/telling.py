"""What of a drive is news: starts are recorded when a block starts, and each is told once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sim_devin.engine import events
from sim_devin.engine.contract import BlockContext
from sim_devin.engine.events import Listener
from sim_devin.engine.run import BlockLog
from sim_devin.plugins.registry import Registry
from sim_devin.runs.why import why
from sim_devin.store.records import EventRecord, Wait

IDENTIFIES = ("blockId", "blockName", "blockType", "iterationIndex")
SHOWN = (*IDENTIFIES, "error", "durationMs", "attempt")


class Telling:
    """Tells a listener what happens in a drive, without what is only replayed.

    Args:
        run_id: the run.
        fresh: whether nothing is recorded of it.
        begun: the executions of blocks that have started and not ended, as recorded.
        record: takes an event that is to be recorded with the next write.
        registry: knows which kinds of jobs the run waits for.
        listener: told what is news.
    """

    def __init__(
        self,
        run_id: str,
        *,
        fresh: bool,
        begun: set[str],
        record: Callable[[EventRecord], None],
        registry: Registry,
        listener: Listener | None,
    ) -> None:
        self._run_id = run_id
        self._fresh = fresh
        self._begun = begun
        self._record = record
        self._registry = registry
        self.listener = listener
        # By the id of a log entry:
        self._live: dict[int, str] = {}  # the execution that it is of
        self._played_back: set[int] = set()
        self._again: set[int] = set()  # its start was told in an earlier drive
        self._held: dict[int, list[events.Event]] = {}
        self._parked: dict[int, tuple[BlockLog, Wait]] = {}

    @property
    def parked(self) -> dict[str, BlockLog]:
        """The steps that wait in this drive, and the log entries of their blocks."""
        return {wait.step: log for log, wait in self._parked.values() if wait.kind != "sleep"}

    def is_parked(self, log: BlockLog, wait: Wait) -> None:
        """Say what a block waits for."""
        self._parked[id(log)] = log, wait

    def is_played_back(self, log: BlockLog) -> None:
        """Say that a block has run in an earlier drive."""
        self._played_back.add(id(log))

    def is_news(self, log: BlockLog) -> bool:
        """Return whether a block was neither replayed nor run by its handler."""
        return id(log) not in self._live and id(log) not in self._played_back

    def begin(self, log: BlockLog, key: str, block: BlockContext | None = None) -> None:
        """Say that a block runs now; record its start unless an earlier drive did.

        The handler of a `block` may say so in a thread of its own.
        """
        number = id(log)
        if number in self._live:  # tried again
            return
        self._live[number] = key
        if key in self._begun:
            self._again.add(number)
        else:
            self._begun.add(key)
            summary = log.summary()
            about = {name: summary.get(name) for name in IDENTIFIES}
            self._record(self.event(events.BLOCK_STARTED, log.started, about, key))
        for held in self._held.pop(number, ()):
            if block is None:
                self._tell(held)
            else:
                block.run.relay(held)

    def event(self, kind: str, at: float, about: Mapping[str, Any], key: str) -> EventRecord:
        """Return an event of a block as it is recorded; `about` is its log entry, or more."""
        data = {name: about[name] for name in SHOWN if about.get(name) is not None}
        return EventRecord(self._run_id, at, kind, {**data, "execution": key})

    def hear(self, event: events.Event) -> None:
        """Pass on an event of the engine if it is news."""
        log, own = event.log, event.run_id == self._run_id
        if log is None:
            if self._fresh or not own or event.kind != events.RUN_STARTED:
                self._tell(event)
            return
        number = id(log)
        if event.kind == events.BLOCK_WAITING and number in self._parked:
            event.data = {
                **(event.data or {}),
                **why(self._parked[number][1], self._registry, event.time),
            }
        if event.kind == events.BLOCK_RETRYING and number in self._live:
            data = {**log.summary(), **(event.data or {})}
            self._record(self.event(event.kind, event.time, data, self._live[number]))
        if number in self._live or (self._fresh and number not in self._played_back):
            self._tell(event)
        elif event.kind in (events.BLOCK_STARTED, events.BLOCK_WARNING):
            self._held.setdefault(number, []).append(event)

    def _tell(self, event: events.Event) -> None:
        again = event.log is not None and id(event.log) in self._again
        if self.listener is not None and not (again and event.kind == events.BLOCK_STARTED):
            self.listener(event)
