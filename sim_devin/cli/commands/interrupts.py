"""Ctrl-C and SIGTERM as requests for a graceful stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click


@contextmanager
def cancelled_by_signals(notice: str) -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C or SIGTERM sets; a second signal raises KeyboardInterrupt.

    `notice` is printed on the first signal.
    """
    cancel = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield cancel
        return
    asked = False

    def stop() -> None:
        cancel.set()
        click.echo(f"\n{notice}", err=True)

    def on_signal(_signum: int, _frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        # On a thread: the main one may hold the lock of the event or of standard error.
        threading.Thread(target=stop).start()

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
