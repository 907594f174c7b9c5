"""A small bounded pool of threads that starts threads as needed and leaves none behind."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

Task = Callable[[], Any]

HEAD_START = 0.1  # seconds within which a task is over at once


class Workers:
    """Runs tasks on at most `size` threads. Tasks must not raise.

    Tasks that are over at once end in the order in which they were submitted, however the
    threads are scheduled: a task begins when the one before it is over, or when none has been
    over at once for the time of a head start.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._lock = threading.Lock()
        self._last = threading.Event()
        self._last.set()
        self._quick = 0.0  # when a task ended last that was over at once

    def submit(self, task: Task) -> None:
        """Run `task` as soon as a thread is free."""
        context = contextvars.copy_context()
        before, over = self._last, threading.Event()
        self._last = over
        submitted = time.monotonic()

        def run() -> None:
            while not before.is_set():
                left = max(submitted, self._quick) + HEAD_START - time.monotonic()
                if left <= 0:
                    break
                before.wait(left)
            began = time.monotonic()
            context.run(task)
            ended = time.monotonic()
            if ended - began < HEAD_START:
                self._quick = ended
            over.set()

        with self._lock:
            self._busy += 1
            if self._busy > len(self._threads) and len(self._threads) < self.size:
                thread = threading.Thread(
                    target=self._work, name=f"sim-devin-run-{len(self._threads)}", daemon=True
                )
                self._threads.append(thread)
                thread.start()
        self._tasks.put(run)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            with self._lock:
                self._busy -= 1

    def close(self, timeout: float | None) -> list[Any]:
        """End the threads; return those that are still busy after `timeout` seconds."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(timeout)
        return [thread for thread in self._threads if thread.is_alive()]
