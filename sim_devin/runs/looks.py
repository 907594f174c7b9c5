"""Calls to the service that nobody waits for, each organization's in a thread of its own.

Looking after sessions and sending answers must hold up neither the runs that are driven nor
another organization: a service that is silent costs its own thread, and no more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sim_devin.errors import Cancelled, NothingSent, StoreError, TimedOut
from sim_devin.specs.jobs import JobSpec
from sim_devin.store.records import SessionRecord, Wait
from sim_devin.toolbox import Toolbox

log = logging.getLogger("sim_devin")

LOOK = 25.0  # real seconds that the calls of one look may take together
PATIENCE = 3.0  # real seconds of waiting for a service after which other things continue without it
HELD_PAUSE = 600.0  # seconds until what only a person can fix is tried again
MEND = "Fix that; the run resumes by itself within ten minutes, or at once with runs resume."
COOL_DOWN = 30.0  # real seconds until what failed inside is tried again


OfJob = TypeVar("OfJob", SessionRecord, Wait)


@dataclass
class UnderWay:
    """A task that is being done.

    Attributes:
        stop: set when it has to end.
        began: when it began, in real seconds.
        asking_since: when its present call began; None between calls.
        asked_for: real seconds that its calls before took.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    began: float = field(default_factory=time.monotonic)
    asking_since: float | None = None
    asked_for: float = 0.0

    def waited(self) -> float:
        """Return for how many seconds in all the service has been waited for."""
        since = self.asking_since
        return self.asked_for + (0.0 if since is None else time.monotonic() - since)


@dataclass(frozen=True)
class LookTask:
    """Something to do with the service of one organization.

    Attributes:
        name: two of one name are not done at a time.
        act: does it and returns how many calls that took.
        overdue: called again and again once the service takes long, for what cannot wait.
        run_id: the run for which alone it is done, if any.
        turn: names what only one process does at a time; empty if all may.
    """

    name: str
    act: Callable[[UnderWay], int]
    overdue: Callable[[], object] = lambda: None
    run_id: str | None = None
    turn: str = ""


class Caller:
    """Makes the calls of one look, for no longer than a look may take.

    Args:
        app: makes the calls.
        credentials: go with each of them.
        under_way: the task that the look is.
    """

    def __init__(self, app: Toolbox, credentials: Mapping[str, str], under_way: UnderWay) -> None:
        self._app = app
        self._credentials = credentials
        self._under_way = under_way
        self.calls = 0

    def __call__(self, tool_id: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return a tool's output.

        Raises:
            TimedOut: the look has taken too long.
            Cancelled: it has to stop.
            SimDevinError: the call failed.
        """
        under_way = self._under_way
        left = LOOK - under_way.waited()
        if left <= 0:
            raise TimedOut("The service took so long that the poll was abandoned.")
        self.calls += 1
        params = {**params, **self._credentials}
        under_way.asking_since = began = time.monotonic()
        try:
            return self._app.call(tool_id, params, cancel=under_way.stop, deadline=left)
        finally:
            under_way.asked_for += time.monotonic() - began
            under_way.asking_since = None


def by_kind(app: Toolbox, batch: Iterable[OfJob]) -> Iterator[tuple[JobSpec, list[OfJob]]]:
    """Yield the sessions, or waits, of a batch by their kinds of jobs, as many as one list takes.

    Raises:
        UnknownName: a kind is not known here.
    """
    kinds: dict[str | None, list[OfJob]] = {}
    for item in batch:
        kinds.setdefault(item.job, []).append(item)
    for kind, items in kinds.items():
        job = app.registry.job(kind)
        most = len(items) if job.look_many is None else job.look_many.most
        for start in range(0, len(items), most):
            yield job, items[start : start + most]


class Asking:
    """Which runs that are driven here ask which service, and for how long.

    A run that asks one which does not answer takes no slot of the worker meanwhile, so that others
    continue; and there are never more than `most` of them for one service.
    """

    def __init__(self) -> None:
        self.most = 1
        self._since: dict[tuple[str, str, object], float] = {}  # service, run, call -> began
        self._lock = threading.Lock()

    @contextmanager
    def of(self, service: str, run_id: str) -> Iterator[None]:
        """Note that a run asks a service.

        Raises:
            NothingSent: as many runs as may have been asking it for long.
        """
        key = service, run_id, object()
        with self._lock:
            slow = {run for at, run in self._slow() if at == service}
            if len(slow - {run_id}) >= self.most:
                raise NothingSent(
                    f"Nothing was sent: {len(slow)} runs of this process are waiting for "
                    f"responses from {service}."
                )
            self._since[key] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                del self._since[key]

    def slow(self) -> int:
        """Return how many runs have been asking for long."""
        with self._lock:
            return len({run for _, run in self._slow()})

    def _slow(self) -> Iterator[tuple[str, str]]:
        before = time.monotonic() - PATIENCE
        return ((at, run) for (at, run, _), since in self._since.items() if since <= before)


class Looks:
    """Does tasks in threads. All times here are real ones: the threads live in them.

    Attributes:
        ended: set whenever a task has ended.

    Args:
        turn: enters what one process does for all, by its name; see `carrier.Carrier.turn`.
    """

    def __init__(self, turn: Callable[[str], AbstractContextManager[bool]]) -> None:
        self._turn = turn
        self.ended = threading.Event()
        self._under_way: dict[str, tuple[LookTask, UnderWay]] = {}
        self._not_before: dict[str, float] = {}
        self._lock = threading.Lock()
        self._news: set[str | None] = set()
        self._failure: BaseException | None = None

    def begin(self, tasks: Iterable[LookTask]) -> None:
        """Begin what is not in progress already."""
        for task in tasks:
            with self._lock:
                later = self._not_before.get(task.name, 0.0) > time.monotonic()
                if later or task.name in self._under_way:
                    continue
                under_way = UnderWay()
                self._under_way[task.name] = (task, under_way)
            work = threading.Thread(target=self._do, args=(task, under_way), daemon=True)
            work.name = f"sim-devin {task.name.partition(' ')[0]}"
            try:
                work.start()
            except RuntimeError as error:  # no thread is left: the same again later
                log.warning("could not start to poll sessions: %s", error)
                self._leave(task, cool_down=True)

    def busy(self, *, since: float = 0.0, run_id: str | None = None) -> bool:
        """Return whether something is in progress, for a run or for less than `since` seconds."""
        now = time.monotonic()
        with self._lock:
            return any(
                since <= 0 or now - one.began < since or task.run_id == run_id
                for task, one in self._under_way.values()
            )

    def news(self, run_id: str | None = None) -> bool:
        """Return whether tasks, of all runs or of one, did anything since this was called last.

        Raises:
            StoreError: the store failed meanwhile.
        """
        with self._lock:
            news = run_id in self._news
            self._news.discard(run_id)
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return news

    def overdue(self) -> None:
        """Do what cannot wait for tasks that take long."""
        with self._lock:
            slow = [task for task, one in self._under_way.values() if one.waited() >= PATIENCE]
        for task in slow:
            task.overdue()

    def stop(self, within: float) -> None:
        """Tell all tasks to stop, and wait for them `within` seconds at most."""
        with self._lock:
            for _, under_way in self._under_way.values():
                under_way.stop.set()
        until = time.monotonic() + within
        while self.busy() and (left := until - time.monotonic()) > 0:
            self.ended.wait(min(left, 0.05))
            self.ended.clear()

    def _do(self, task: LookTask, under_way: UnderWay) -> None:
        calls, failed = 0, False
        try:
            with self._turn(task.turn) if task.turn else nullcontext(True) as mine:
                calls = task.act(under_way) if mine else 0
        except Cancelled:
            pass
        except BaseException as error:
            if isinstance(error, StoreError) or not isinstance(error, Exception):
                with self._lock:
                    self._failure = error
            else:  # what one service answers must not end the worker of all
                failed = True
                log.exception("%s failed with an internal error", task.name.partition(" ")[0])
        finally:
            self._leave(task, news=calls > 0, cool_down=failed)

    def _leave(self, task: LookTask, *, news: bool = False, cool_down: bool = False) -> None:
        with self._lock:
            if news:
                self._news.add(task.run_id)
            if cool_down:
                self._not_before[task.name] = time.monotonic() + COOL_DOWN
            else:
                self._not_before.pop(task.name, None)
            del self._under_way[task.name]
        self.ended.set()
