"""Run a blocking call beside the event loop: with progress, heartbeats and cancellation."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream

from sim_devin.calls.jobs.wait import Progress
from sim_devin.engine.events import Event
from sim_devin.errors import SimDevinError

HEARTBEAT = 10.0  # real seconds; clients give up after a minute without a sign of life
AT_ONCE = 64  # calls of one server; each holds a thread while it waits
GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Work(Protocol[T_co]):
    """A blocking call that stops when `cancel` is set and tells how it continues."""

    def __call__(self, *, cancel: threading.Event, on_progress: Callable[[Any], None]) -> T_co:
        """Do the work."""
        ...


Report = Callable[[float, str], Awaitable[None]]


async def in_thread(work: Work[T], report: Report, limiter: anyio.CapacityLimiter) -> T:
    """Run `work` in a thread and return its result.

    `report` is awaited with the real seconds gone by and words about each step, and at least
    every `HEARTBEAT` seconds. When the caller is cancelled, the work is told to stop.

    Raises:
        SimDevinError: the work failed.
    """
    cancel = threading.Event()
    loop = anyio.lowlevel.current_token()
    said, heard = anyio.create_memory_object_stream[str](1000)

    def tell(progress: Any) -> None:  # from any thread
        # Too late, or far too much to tell: neither may stop the work.
        with suppress(RuntimeError, anyio.WouldBlock, *GONE):
            if not cancel.is_set():
                anyio.from_thread.run_sync(said.send_nowait, in_words(progress), token=loop)

    failure: SimDevinError | None = None
    result: T | None = None
    try:
        async with anyio.create_task_group() as group, said:
            group.start_soon(_report, heard, report)
            try:
                result = await anyio.to_thread.run_sync(
                    lambda: work(cancel=cancel, on_progress=tell),
                    abandon_on_cancel=True,
                    limiter=limiter,
                )
            except SimDevinError as error:
                failure = error
    finally:
        cancel.set()
    if failure is not None:
        raise failure
    return result  # type: ignore[return-value]  # None only if the work returned it


async def _report(heard: MemoryObjectReceiveStream[str], report: Report) -> None:
    """Pass on what is said until nobody can say any more, and a sign of life in between."""
    started = time.monotonic()
    words = "working"
    async with heard:
        while True:
            with anyio.move_on_after(HEARTBEAT):
                try:
                    words = await heard.receive()
                except anyio.EndOfStream:
                    return
            # A client that left does not want to know any more.
            with suppress(*GONE):
                await report(time.monotonic() - started, words)


def in_words(progress: Any) -> str:
    """Return a step of a long call in words."""
    if isinstance(progress, Progress):
        return f"{progress.session_id}: {progress.verdict.reason}"
    if isinstance(progress, Event):
        block = progress.log.block_name if progress.log is not None else ""
        return f"{block} {progress.kind.partition('.')[2]}".strip()
    return str(progress)
