"""What commands print: JSON, tables, and untrusted text made safe for a terminal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

UNBOUNDED = 10_000  # columns; used when the output is not a terminal
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def harmless(text: object) -> str:
    """Return text without the control characters that could manipulate a terminal."""
    return _CONTROL.sub("", str(text))


def json_text(value: Any, *, compact: bool = False) -> str:
    """Return JSON, indented unless `compact`, in characters that standard output can encode."""
    indent = None if compact else 2
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=str)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent, default=str)
    return text


def echo_json(value: Any, *, compact: bool = False) -> None:
    """Print JSON, indented unless `compact`."""
    click.echo(json_text(value, compact=compact))


def console(*, err: bool = False) -> Console:
    """Return a console that prints text unchanged; NO_COLOR and pipes are respected."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else UNBOUNDED
    return Console(
        file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False
    )


def echo_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; the last column wraps, the others keep their width."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for place, heading in enumerate(headings):
        last = place == len(headings) - 1
        table.add_column(heading, no_wrap=not last, overflow="fold")
    for row in rows:
        table.add_row(*(Text(harmless(cell)) for cell in row))
    screen = console()
    with screen.capture() as captured:
        screen.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip(), color=True)


def duration(seconds: float) -> str:
    """Return a duration in readable form: ``0.3s``, ``42s``, ``3m 5s``, ``2h 10m``."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    return f"{whole // 3600}h {whole % 3600 // 60}m"
