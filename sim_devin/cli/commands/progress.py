"""The progress of a wait: a live list on a terminal, otherwise one line per change."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from sim_devin.cli.commands.output import console, duration, harmless

if TYPE_CHECKING:
    from sim_devin.calls.jobs.wait import Progress

SHOWN = 20  # sessions listed live; the rest are counted


class WaitProgress:
    """Receives the polls of a wait and shows them on standard error."""

    def __init__(self, live: Any = None) -> None:
        self._live = live
        self._latest: dict[str, Progress] = {}

    def __call__(self, progress: Progress) -> None:
        """Show one poll of one session."""
        before = self._latest.get(progress.session_id)
        self._latest[progress.session_id] = progress
        if self._live is not None:
            self._live.update(self._text())
        elif before is None or before.verdict != progress.verdict:
            click.echo(_line(progress), err=True)

    def _text(self) -> Any:
        from rich.text import Text

        lines = [_line(progress) for progress in self._latest.values()]
        if len(lines) > SHOWN:
            lines = [*lines[:SHOWN], f"… and {len(lines) - SHOWN} more"]
        return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def _line(progress: Progress) -> str:
    verdict = progress.verdict
    parts = [verdict.state.replace("_", " ")]
    if not verdict.settled or verdict.reason:
        parts.append(verdict.reason)
    parts.append(f"waited {duration(progress.waited)}")
    if progress.next_look > 0:
        parts.append(f"next poll in {duration(progress.next_look)}")
    return harmless(f"{progress.session_id}  {' · '.join(parts)}")


@contextmanager
def wait_progress(*, quiet: bool) -> Iterator[WaitProgress | None]:
    """Yield the `on_progress` callback for a wait; None if `quiet`."""
    if quiet:
        yield None
        return
    if not sys.stderr.isatty():
        yield WaitProgress()
        return
    from rich.live import Live

    with Live(console=console(err=True), auto_refresh=False, transient=True) as live:
        yield WaitProgress(_Refreshing(live))


class _Refreshing:
    """A live display that is redrawn on every update."""

    def __init__(self, live: Any) -> None:
        self._live = live

    def update(self, content: Any) -> None:
        self._live.update(content, refresh=True)
