"""Drive durable runs in threads of the server, and wait for them no longer than a call may last."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sim_devin.errors import Cancelled, RunFailed, SimDevinError
from sim_devin.runs.runs import Runs

TICK = 0.1  # seconds between looks at a run that is waited for


@dataclass
class _Drive:
    cancel: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None
    tell: Callable[[Any], None] = lambda _event: None


class Driving:
    """Drives runs on until they are over or need someone, each in one thread."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._drives: dict[str, _Drive] = {}
        self._lock = threading.Lock()

    def wait(
        self,
        run_id: str,
        longest: float,
        *,
        cancel: threading.Event,
        on_progress: Callable[[Any], None],
        cancels: bool,
    ) -> None:
        """Drive a run and wait until it is over or needs someone, `longest` real seconds at most.

        It continues after that. Setting `cancel` ends the wait, and with `cancels` the run.

        Raises:
            Cancelled: `cancel` was set.
            StoreError: the store failed; nothing recorded is lost.
        """
        drive = self._drive(run_id)
        drive.tell = on_progress
        until = time.monotonic() + longest
        while not drive.over.wait(TICK) and time.monotonic() < until:
            if cancel.is_set():
                if cancels:
                    drive.cancel.set()
                    raise Cancelled("The run was cancelled with the call.")
                raise Cancelled("Stopped waiting for the run, which continues.")
        if isinstance(drive.failure, SimDevinError):
            raise drive.failure
        if drive.failure is not None:
            raise RunFailed(
                f"The run failed with an internal error: {type(drive.failure).__name__}."
            )

    def _drive(self, run_id: str) -> _Drive:
        with self._lock:
            drive = self._drives.get(run_id)
            if drive is None:
                drive = self._drives[run_id] = _Drive()
                thread = threading.Thread(
                    target=self._follow, args=(run_id, drive), name=f"run {run_id}", daemon=True
                )
                thread.start()
            return drive

    def _follow(self, run_id: str, drive: _Drive) -> None:
        try:
            self._runs.follow(run_id, cancel=drive.cancel, on_event=lambda event: drive.tell(event))
        except BaseException as error:  # told to whoever asks for the run
            drive.failure = error
        finally:
            with self._lock:
                del self._drives[run_id]
            drive.over.set()
