"""How a block says that it cannot continue now."""

from __future__ import annotations

from sim_devin.store.records import Wait


class Parked(BaseException):
    """A block cannot continue now. Not an `Exception`: no handler may take it for a failure.

    `wait` is what it waits for; None when that is recorded already, by a child run.
    """

    def __init__(self, wait: Wait | None = None) -> None:
        super().__init__()
        self.wait = wait
