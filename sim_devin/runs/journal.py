"""What is recorded of one durable run while one process drives it, and played back to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

from sim_devin.clock import Clock
from sim_devin.engine import events
from sim_devin.engine.events import Listener
from sim_devin.engine.run import BlockLog
from sim_devin.errors import Cancelled, LocalFault, StoreError
from sim_devin.plugins.registry import EMPTY, Registry
from sim_devin.runs.summary import CONTAINERS, Tally
from sim_devin.runs.why import why
from sim_devin.store.records import Event, Outcome, Run, Wait
from sim_devin.store.rows import LeaseLost
from sim_devin.store.sealing import Seal
from sim_devin.store.sql_store import SqlStore

FLUSH_AT = 200  # outcomes of blocks without I/O that may wait for the next write

_Record = TypeVar("_Record", Outcome, Wait)


class Journal:
    """The journal of a run. Safe for the threads of that run.

    What a block with I/O came to is on the disk before anything goes on from it. Blocks that
    only compute are written together, before the next block with I/O starts.

    Args:
        store: where it is kept.
        run: the run, as claimed by this process.
        seal: puts the run's secrets back in what is recorded.
        clock: the time.
        stop: set when the journal cannot be kept any more: the run has to stop.
        listener: told what happens that was not told before.
        registry: knows which tools and kinds of jobs the run has to do with.

    Raises:
        MissingCredentials: a secret that stands in the record is not known here.
    """

    def __init__(
        self,
        store: SqlStore,
        run: Run,
        seal: Seal,
        clock: Clock,
        stop: threading.Event,
        listener: Listener | None = None,
        *,
        registry: Registry = EMPTY,
    ) -> None:
        self.store = store
        self.run = run
        self.seal = seal
        self.clock = clock
        self.broken: LeaseLost | LocalFault | StoreError | None = None
        self._stop = stop
        self._listener = listener
        self._lock = threading.Lock()
        self._past: dict[str, Outcome] = {}
        self._pending: list[Outcome] = []
        self._sequence = 0
        self._registry = registry
        self.tally = Tally(registry)
        for outcome in store.outcomes(run.id):
            self._past[outcome.key] = _opened(outcome, seal)
            self._sequence = outcome.sequence
            self.tally.add(outcome.key, outcome.log, outcome.output)
        self._waits = {wait.step: _opened(wait, seal) for wait in store.waits(run.id)}
        self._fresh = not self._past and not self._waits
        self._live: set[int] = set()
        self._parked: dict[int, tuple[BlockLog, Wait]] = {}
        self._held: dict[int, list[events.Event]] = {}
        self._stamps: list[tuple[BlockLog, Outcome]] = []
        self._set_by: dict[tuple[str, str], int] = {}

    @property
    def recorded(self) -> set[str]:
        """The tries of blocks that are recorded."""
        return {f"{outcome.key}#{outcome.attempt}" for outcome in self._past.values()}

    def past(self, key: str) -> Outcome | None:
        """Return what the latest recorded try of a block came to."""
        return self._past.get(key)

    def wait(self, step: str) -> Wait | None:
        """Return what a try of a block waits for."""
        return self._waits.get(step)

    def check(self) -> None:
        """Go on only while the journal can be kept.

        Raises:
            Cancelled: it cannot.
        """
        if self.broken is not None:
            raise Cancelled("The run is no longer driven by this process.")

    def abort(self, error: LeaseLost | LocalFault | StoreError) -> Cancelled:
        """Stop the run in this process, and return what a block raises then."""
        self.broken = self.broken or error
        self._stop.set()
        return Cancelled("The run is no longer driven by this process.")

    # -- writing ---------------------------------------------------------------------------------

    def put(self, outcome: Outcome, *, later: bool = False) -> None:
        """Record what a block came to; `later` lets it wait for the next write.

        Raises:
            Cancelled: it could not be recorded, so nothing may go on from it.
        """
        self.tally.add(outcome.key, outcome.log, outcome.output)
        with self._lock:
            self._sequence += 1
            outcome.sequence = self._sequence
            self._past[outcome.key] = outcome  # of which another try is the next
            self._pending.append(outcome)
            if not later or len(self._pending) >= FLUSH_AT:
                self._write()

    def flush(self) -> None:
        """Write what waits to be written.

        Raises:
            Cancelled: it could not be written.
        """
        with self._lock:
            if self._pending:
                self._write()

    def _write(self) -> None:
        self.check()
        pending, self._pending = self._pending, []
        try:
            self.store.record(self.run, pending, map(self._event, pending))
        except (LeaseLost, StoreError) as error:
            raise self.abort(error) from error

    def _event(self, outcome: Outcome) -> Event:
        kind = events.BLOCK_FINISHED if outcome.error is None else events.BLOCK_FAILED
        shown = ("blockId", "blockName", "blockType", "error", "durationMs", "iterationIndex")
        data = {name: outcome.log[name] for name in shown if name in outcome.log}
        return Event(self.run.id, outcome.ended, kind, data)

    def _put_container(self, log: BlockLog) -> bool:
        """Record how a container ended; return whether that was not recorded before.

        No handler runs a container, so the engine's event is what there is to record.
        """
        key = _container_key(log)
        past = self._past.get(key)
        if past is not None:
            self.stamp(log, past)
            return False
        outcome = Outcome(
            key,
            1,
            log.block_id,
            output=plain(log.raw_output),
            error=log.error,
            hint=log.hint or "",
            log=plain(log.to_json()),
            started=log.started,
            ended=log.ended or self.clock.time(),
        )
        with suppress(Cancelled):  # the run is told to stop, and the next drive records it
            self.put(outcome, later=True)
        return True

    def add_wait(self, wait: Wait) -> None:
        """Record what the run waits for.

        Raises:
            Cancelled: it could not be recorded.
        """
        self.check()
        try:
            self.store.add_wait(self.run, wait)
        except (LeaseLost, StoreError) as error:
            raise self.abort(error) from error

    def forget(self, wait: Wait) -> None:
        """Forget what the run waits for, or waited for.

        Raises:
            Cancelled: it could not be forgotten.
        """
        self._of_wait(self.store.forget_wait, wait)
        self._waits.pop(wait.step, None)

    def use(self, wait: Wait) -> None:
        """Record that the run goes on from the answer to a wait.

        Raises:
            Cancelled: it could not be recorded.
        """
        self._of_wait(self.store.use_wait, wait)

    def _of_wait(self, act: Callable[[Run, Wait], None], wait: Wait) -> None:
        self.check()
        try:
            act(self.run, wait)
        except (LeaseLost, StoreError) as error:
            raise self.abort(error) from error

    def step(self, step: str, name: str) -> dict[str, Any] | None:
        """Return what a call inside a block came to, if that is recorded.

        Raises:
            StoreError: another call than `name` is recorded there.
        """
        found = self.store.step(self.run.id, step)
        if found is None:
            return None
        if found["name"] != name:
            raise StoreError(
                f"The run called {found['name']} at a point where it now calls {name}.",
                hint="Its blocks are not deterministic; start a new run.",
            )
        opened: dict[str, Any] = self.seal.open(found)
        return opened

    def put_step(self, step: str, name: str, body: Mapping[str, Any]) -> None:
        """Record what a call inside a block came to.

        Raises:
            Cancelled: it could not be recorded.
        """
        self.check()
        try:
            self.store.record_step(self.run, step, name, plain(body))
        except (LeaseLost, StoreError) as error:
            raise self.abort(error) from error

    # -- playing back ----------------------------------------------------------------------------

    def is_last_word(self, prefix: str, variable: str, sequence: int) -> bool:
        """Return whether no block that ended later has set a variable already."""
        with self._lock:
            last = self._set_by.get((prefix, variable), -1)
            if sequence >= last:
                self._set_by[prefix, variable] = sequence
            return sequence >= last

    def stamp(self, log: BlockLog, outcome: Outcome) -> None:
        """Remember when the block of a log entry really ran."""
        log.started = outcome.started
        with self._lock:
            self._stamps.append((log, outcome))

    def settle_logs(self) -> None:
        """Give the log entries of blocks that were played back their own times."""
        for log, outcome in self._stamps:
            log.started, log.ended, log.tries = outcome.started, outcome.ended, outcome.attempt

    @property
    def is_heard(self) -> bool:
        """Whether anybody is told what happens."""
        return self._listener is not None

    # -- telling ---------------------------------------------------------------------------------

    @property
    def parked(self) -> dict[str, BlockLog]:
        """The steps that wait in this drive, and the log entries of their blocks."""
        return {wait.step: log for log, wait in self._parked.values() if wait.kind != "sleep"}

    def is_parked(self, log: BlockLog, wait: Wait) -> None:
        """Say what a block waits for."""
        self._parked[id(log)] = log, wait

    def is_live(self, log: BlockLog) -> None:
        """Say that a block runs now and is not played back."""
        self._live.add(id(log))

    def hear(self, event: events.Event) -> None:
        """Record how containers end, and pass on the events of the engine that are news."""
        own = event.run_id == self.run.id
        if own and event.log is not None and event.log.block_type in CONTAINERS:
            if not self._put_container(event.log):
                return
            self.is_live(event.log)
        if self._listener is None:
            return
        if event.log is None:
            again = own and event.kind == events.RUN_STARTED and not self._fresh
            if not again and self.broken is None:
                self._listener(event)
            return
        key = id(event.log)
        if event.kind == events.BLOCK_WAITING and key in self._parked:
            event.data = {
                **(event.data or {}),
                **why(self._parked[key][1], self._registry, event.time),
            }
        if self._fresh or key in self._live:
            for earlier in self._held.pop(key, ()):
                self._listener(earlier)
            self._listener(event)
        elif event.kind in (events.BLOCK_STARTED, events.BLOCK_WARNING):
            self._held.setdefault(key, []).append(event)


def _container_key(log: BlockLog) -> str:
    """Return the key of a container: its node and the passes around it."""
    around = [
        (entry["iterationContainerId"], entry["iterationCurrent"])
        for entry in log.parent_iterations or ()
    ]
    if log.iteration_index is not None:
        around.append((log.loop_id or log.parallel_id or "", log.iteration_index))
    passes = "".join(f"{quote(node, safe='-_')}.{index}/" for node, index in around)
    return passes + quote(log.block_id, safe="-_")


def _opened(record: _Record, seal: Seal) -> _Record:
    """Return what was recorded of a run with its secrets back in place, all or none of them."""
    kept = {name: value for name, value in vars(record).items() if name != "log"}
    return replace(record, **seal.open(kept))


def plain(value: Any) -> Any:
    """Return a value as reading it back from JSON will give it."""
    return json.loads(json.dumps(value, default=str))
