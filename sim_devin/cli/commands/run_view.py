"""A run in progress: live on a terminal, otherwise one line per event, or JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import click

from sim_devin.cli.commands.output import console, duration, echo_json, harmless
from sim_devin.engine import events

if TYPE_CHECKING:
    from rich.console import Console

    from sim_devin.clock import Clock
    from sim_devin.engine.events import Event, Listener
    from sim_devin.engine.run import BlockLog

SHOWN = 15  # blocks listed live at a time; the rest are counted
QUESTION = 200  # longest question shown on a line, in characters
KEPT = 200  # finished blocks printed; after that, only failures


class EventLines:
    """Prints each event as a line of JSON on standard output."""

    def __call__(self, event: Event) -> None:
        """Print one event; a closed pipe does not stop the run."""
        with suppress(BrokenPipeError):
            echo_json(event.to_json(), compact=True)


def listening(
    clock: Clock, *, events: bool, quiet: bool
) -> AbstractContextManager[Listener | None]:
    """Return what shows the events of a run: as JSON lines, not at all, or for people."""
    if events:
        return nullcontext(EventLines())
    return nullcontext(None) if quiet else progress(clock)


@contextmanager
def progress(clock: Clock) -> Iterator[Listener]:
    """Yield a listener that shows the run on standard error."""
    if not sys.stderr.isatty():
        yield PlainLines()
        return
    from rich.live import Live

    screen = console(err=True)
    view = LiveView(clock, screen)
    with Live(
        get_renderable=view.render, console=screen, refresh_per_second=5, transient=True
    ) as live:
        view.refresh = live.refresh
        yield view


def told(event: Event) -> str:
    """Return an event in words; for a block's event, without the block's name."""
    log, data = event.log, event.data or {}
    if event.kind == events.RUN_REMINDER:
        return reminder(data)
    if event.kind == events.BLOCK_WAITING:
        return f"waiting: {reason(data)}"
    if event.kind == events.BLOCK_WARNING:
        return f"warning: {data.get('warning')}"
    if event.kind == events.BLOCK_RETRYING:
        return f"attempt {data.get('attempt')} after: {data.get('error')}"
    if event.kind == events.BLOCK_FAILED and log is not None:
        handled = " (handled)" if log.error_handled else ""
        return f"failed{took(log)}: {log.error}{handled}"
    if event.kind == events.BLOCK_FINISHED and log is not None:
        return f"done{took(log)}"
    return event.kind.rpartition(".")[2]


def reason(data: Mapping[str, Any], *, looks: bool = True) -> str:
    """Return why a block waits, from its event's data; with `looks`, also when the next poll is."""
    step = data.get("progress")
    if isinstance(step, Mapping):
        parts = [str(step.get("reason", ""))]
        next_look = step.get("nextLookSeconds")
        if looks and isinstance(next_look, (int, float)) and next_look > 0:
            parts.append(f"next poll in {duration(next_look)}")
        parts.append(str(step.get("sessionId", "")))
        return " · ".join(part for part in parts if part)
    kinds = {
        "human": "for a person to answer",
        "approval": "for approval",
        "time": "until a set time",
    }
    text = str(step or data.get("reason", ""))
    return kinds.get(text, text)


def took(log: BlockLog) -> str:
    """Return how long a block took; empty for less than a tenth of a second."""
    milliseconds = log.duration_ms or 0
    return f" in {duration(milliseconds / 1000)}" if milliseconds >= 100 else ""


def reminder(data: Mapping[str, Any]) -> str:
    """Return a reminder's block and question in one line."""
    question = shorten(str(data.get("question", "")), QUESTION, placeholder=" …")
    return f"{data.get('blockName')}: reminder {data.get('reminders')}: {question}".rstrip(": ")


class PlainLines:
    """Prints a line on standard error for each event of a block."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], str] = {}
        self._begun: set[tuple[str, int]] = set()

    def __call__(self, event: Event) -> None:
        """Print one event, unless it repeats the last one."""
        log = event.log
        if event.kind == events.RUN_REMINDER:
            click.echo(harmless(told(event)), err=True)
        if log is None:
            return
        key = (log.block_id, log.execution_order)
        if event.kind == events.BLOCK_WAITING:
            # A wait reports every poll; the reason rarely changes.
            said = reason(event.data or {}, looks=False)
            if self._last.get(key) == said:
                return
            self._last[key] = said
        elif event.kind == events.BLOCK_STARTED:
            if key in self._begun:  # it was suspended, and has resumed
                return
            self._begun.add(key)
        else:
            self._last.pop(key, None)
        click.echo(f"{harmless(log.block_name)}: {harmless(told(event))}", err=True)


class LiveView:
    """Prints ended blocks above a live list of those in progress."""

    def __init__(self, clock: Clock, screen: Console) -> None:
        self._clock = clock
        self.screen = screen
        self._began = clock.time()
        self._active: dict[tuple[str, int], BlockLog] = {}
        self._notes: dict[tuple[str, int], str] = {}
        self._ended = 0
        fancy = (screen.encoding or "").lower().startswith("utf")
        self._done, self._failed = ("✓", "✗") if fancy else ("+", "x")
        self.refresh: Callable[[], None] = lambda: None

    def __call__(self, event: Event) -> None:
        """Process one event."""
        log = event.log
        if event.kind == events.RUN_REMINDER:
            self.screen.print(harmless(told(event)))
        if log is None:
            return
        if event.kind == events.BLOCK_WARNING:
            self.screen.print(harmless(told(event)))
            return
        key = (log.block_id, log.execution_order)
        if log.ended is None or event.kind == events.BLOCK_WAITING:
            self._active[key] = log
            if event.kind != events.BLOCK_STARTED:
                self._notes[key] = told(event)
            return
        self._active.pop(key, None)
        self._notes.pop(key, None)
        self._ended += 1
        failed = event.kind == events.BLOCK_FAILED
        if self._ended <= KEPT or failed:
            self.refresh()  # or the line appears above a list that still contains the block
            self._print(log, told(event), failed=failed)

    def _print(self, log: BlockLog, text: str, *, failed: bool) -> None:
        from rich.text import Text

        mark = self._failed if failed else self._done
        style = "red" if failed else "green"
        line = Text.assemble((f"{mark} ", style), harmless(log.block_name), "  ")
        line.append(harmless(text), style="red" if failed else "dim")
        self.screen.print(line)

    def render(self) -> Any:
        """Return the blocks in progress, for the live part of the screen."""
        from rich.text import Text

        now = self._clock.time()
        lines = [self._line(key, log, now) for key, log in list(self._active.items())[:SHOWN]]
        more = len(self._active) - SHOWN
        if more > 0:
            lines.append(f"  … and {more} more")
        blocks = "block" if self._ended == 1 else "blocks"
        lines.append(f"{self._ended} {blocks} done · {duration(now - self._began)}")
        return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")

    def _line(self, key: tuple[str, int], log: BlockLog, now: float) -> str:
        note = self._notes.get(key, "running")
        text = f"  {log.block_name}  {duration(max(0.0, now - log.started))}  {note}"
        return harmless(text)
