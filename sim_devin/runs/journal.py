"""What is recorded of one durable run while one process drives it, and replayed to it."""

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
from sim_devin.engine.contract import BlockContext
from sim_devin.engine.events import Listener
from sim_devin.engine.run import BlockLog
from sim_devin.errors import Cancelled, LocalFault, StoreError
from sim_devin.plugins.registry import EMPTY, Registry
from sim_devin.runs.summary import CONTAINERS, Tally
from sim_devin.runs.telling import Telling
from sim_devin.store.records import BlockRecord, EventRecord, Run, Wait
from sim_devin.store.rows import LeaseLost
from sim_devin.store.sealing import Seal
from sim_devin.store.sql_store import SqlStore

FLUSH_AT = 200  # outcomes of blocks without I/O that may wait for the next write

_Record = TypeVar("_Record", BlockRecord, Wait)


class Journal:
    """The journal of a run. Safe for the threads of that run.

    What a block with I/O came to is on the disk before anything continues from it. Blocks that
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
        self._lock = threading.Lock()
        self._past: dict[str, BlockRecord] = {}
        self._pending: list[BlockRecord] = []
        self._sequence = 0
        self.tally = Tally(registry)
        for outcome in store.outcomes(run.id):
            self._past[outcome.key] = _opened(outcome, seal)
            self._sequence = outcome.sequence
            self.tally.add(outcome.key, outcome.log, outcome.output)
        self._waits = {wait.step: _opened(wait, seal) for wait in store.waits(run.id)}
        fresh = not self._past and not self._waits
        self._untold: list[EventRecord] = []
        self.telling = Telling(
            run.id,
            fresh=fresh,
            begun=store.begun(run.id),
            record=self._note,
            registry=registry,
            listener=listener,
        )
        self._stamps: list[tuple[BlockLog, BlockRecord]] = []
        self._set_by: dict[tuple[str, str], int] = {}

    @property
    def recorded(self) -> set[str]:
        """The tries of blocks that are recorded."""
        return {f"{outcome.key}#{outcome.attempt}" for outcome in self._past.values()}

    def past(self, key: str) -> BlockRecord | None:
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

    def put(self, outcome: BlockRecord, *, later: bool = False) -> None:
        """Record what a block came to; `later` lets it wait for the next write.

        Raises:
            Cancelled: it could not be recorded, so nothing may continue from it.
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
            if self._pending or self._untold:
                self._write()

    def _note(self, event: EventRecord) -> None:
        with self._lock:
            self._untold.append(event)

    def _write(self) -> None:
        self.check()
        pending, self._pending = self._pending, []
        untold, self._untold = self._untold, []
        ended = map(self._event, pending)
        try:
            self.store.record(self.run, pending, sorted((*untold, *ended), key=_moment))
        except (LeaseLost, StoreError) as error:
            raise self.abort(error) from error

    def _event(self, outcome: BlockRecord) -> EventRecord:
        kind = events.BLOCK_FINISHED if outcome.error is None else events.BLOCK_FAILED
        return self.telling.event(kind, outcome.ended, outcome.log, outcome.key)

    def _put_log(self, log: BlockLog) -> bool:
        """Record how a block ended that no handler ran; return whether that was not before.

        So the engine's event is what there is to record: of a container, and of a block whose
        fields could not be resolved.
        """
        key = key_of(log)
        past = self._past.get(key)
        if past is not None:
            self.stamp(log, past)
            return False
        outcome = BlockRecord(
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
        """Record that the run continues from the answer to a wait.

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

    # -- replaying ----------------------------------------------------------------------------

    def is_last_word(self, prefix: str, variable: str, sequence: int) -> bool:
        """Return whether no block that ended later has set a variable already."""
        with self._lock:
            last = self._set_by.get((prefix, variable), -1)
            if sequence >= last:
                self._set_by[prefix, variable] = sequence
            return sequence >= last

    def stamp(self, log: BlockLog, outcome: BlockRecord) -> None:
        """Remember when the block of a log entry really ran."""
        log.started = outcome.started
        self.telling.is_played_back(log)
        with self._lock:
            self._stamps.append((log, outcome))

    def settle_logs(self) -> None:
        """Give the log entries of blocks that were replayed their own times."""
        for log, outcome in self._stamps:
            log.started, log.ended, log.tries = outcome.started, outcome.ended, outcome.attempt

    @property
    def is_heard(self) -> bool:
        """Whether anybody is told what happens."""
        return self.telling.listener is not None

    # -- telling ---------------------------------------------------------------------------------

    def begin(self, block: BlockContext, key: str, *, inline: bool) -> None:
        """Record that a block runs now and is not replayed: before it continues, if it does I/O.

        Raises:
            Cancelled: it could not be recorded.
        """
        self.telling.begin(block.log, key, None if inline else block)
        if not inline:
            self.flush()

    def hear(self, event: events.Event) -> None:
        """Record what no handler says, and pass on the events of the engine that are news."""
        log, kind = event.log, event.kind
        if self.broken is not None and log is None:
            return
        if log is not None and event.run_id == self.run.id:
            is_container = log.block_type in CONTAINERS
            if is_container and kind == events.BLOCK_STARTED:
                if self.past(key_of(log)) is None:
                    self.telling.begin(log, key_of(log))
            elif is_container or (kind == events.BLOCK_FAILED and self.telling.is_news(log)):
                if not self._put_log(log):
                    return
                self.telling.begin(log, key_of(log))
        self.telling.hear(event)


def _moment(event: EventRecord) -> float:
    return event.at


def key_of(log: BlockLog) -> str:
    """Return the key of what a log entry is about: its node and the passes around it."""
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
