"""Helper processes that run what comes from outside: one request a line, one reply a line.

A helper holds its own deadline, and its death is an answer too. Helpers start when first needed,
are reused, and end with their owner. A pool may be used from several threads at once; each gets a
helper of its own.
"""

from __future__ import annotations

import atexit
import os
import subprocess  # the helper process
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

_IDLE = 4  # helpers kept for the next request

Process = subprocess.Popen[bytes]


def start(script: str, *arguments: str, env: Sequence[tuple[str, str]] = ()) -> Process:
    """Start a Python script that sees neither our environment nor our packages.

    Raises:
        OSError: the machine has no process for it.
    """
    # Windows cannot start a process without this one.
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    return subprocess.Popen(  # noqa: S603 - our own interpreter and our own script
        [sys.executable, "-I", "-S", "-B", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**kept, **dict(env)},
        start_new_session=True,  # an interrupt at the terminal is the caller's to handle
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )


class HelperPool:
    """Idle helper processes, ready for the next request; `start_one` starts another."""

    def __init__(self, start_one: Callable[[], Process]) -> None:
        self._start = start_one
        self._lock = threading.Lock()
        self._idle: list[Process] = []
        self._inherited: list[Process] = []
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def ask(self, request: bytes, *, fresh: bool) -> bytes:
        """Return the reply of an idle or a fresh helper, or nothing if it died over it."""
        helper = self._start() if fresh else self._take()
        reply = b""
        try:
            reply = _exchange(helper, request)
        finally:
            if not (reply and self._give_back(helper)):
                _end(helper)
        return reply

    def _take(self) -> Process:
        with self._lock:
            helper = self._idle.pop() if self._idle else None
        return helper or self._start()

    def _give_back(self, helper: Process) -> bool:
        with self._lock:
            if len(self._idle) >= _IDLE:
                return False
            self._idle.append(helper)
            return True

    def close(self) -> None:
        """End the idle helpers."""
        with self._lock:
            idle, self._idle = self._idle, []
        for helper in idle:
            _end(helper)

    def _forget(self) -> None:
        """Leave the helpers to the process that this one was forked from."""
        self._lock = threading.Lock()
        self._inherited, self._idle = self._inherited + self._idle, []


def _exchange(helper: Process, request: bytes) -> bytes:
    stdin, stdout = helper.stdin, helper.stdout
    if stdin is None or stdout is None:
        raise RuntimeError("the helper process has no pipes")
    try:
        stdin.write(request)
        stdin.flush()
    except OSError:
        return b""
    return stdout.readline()


def _end(helper: Process) -> None:
    for pipe in (helper.stdin, helper.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    helper.kill()
    helper.wait()
