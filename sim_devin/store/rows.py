"""Records as rows: written, read, and guarded by the lease of the run they belong to."""
# ruff: noqa: S608 - only fixed fragments are put into statements, never values

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sim_devin.store.database import Connection, Database
from sim_devin.store.records import Event, Run, RunState
from sim_devin.store.sealing import OPEN, OWN

JSON: Mapping[str, Sequence[str]] = {
    "runs": ("children", "inputs", "options", "result"),
    "blocks": ("output", "variables", "log"),
    "waits": ("point", "output", "about", "seen", "answer"),
    "sessions": (),
}
_HALF = re.compile("[\ud800-\udfff]")
_BOOLEAN = ("cancelling", "open", "retry", "working")

# A step, or any call in it. Not LIKE, which would take a _ or % in a step for any text.
OF_STEP = "(step = ? OR substr(step, 1, ?) = ?)"

# Sessions that are looked at with the same key: place, credentials, and the run if the key is
# one of its own, of which another run may have one by the same name.
Group = tuple[str, str | None, str | None]
GROUP = "place, credentials, CASE WHEN credentials LIKE ? THEN run_id END AS own"
WITH_OWN = f"%{OPEN}{OWN}%"  # the value in it


class LeaseLost(Exception):
    """Another process drives the run now. What this one still does of it counts for nothing."""


class Rows:
    """What all tables share: the database, and the guard of a run's lease."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @contextmanager
    def held(self, run: Run) -> Iterator[Connection]:
        """Yield a transaction that only the process that drives a run can open.

        Raises:
            LeaseLost: another process has taken the run.
        """
        with self.database.write() as connection:
            held = connection.execute(
                "SELECT 1 FROM runs WHERE id = ? AND owner = ? AND fence = ? AND state = 'running'",
                (run.id, run.owner, run.fence),
            ).fetchone()
            if held is None:
                raise LeaseLost(run.id)
            yield connection


def parked_state(connection: Connection, run_id: str) -> RunState:
    """Return the state of a run that waits, after what it waits for."""
    rows = connection.execute(
        "SELECT DISTINCT kind FROM waits WHERE run_id = ? AND open = 1", (run_id,)
    ).fetchall()
    kinds = {row["kind"] for row in rows}
    if "uncertain" in kinds:
        return "uncertain"
    return "asking" if kinds & {"human", "question", "approval"} else "waiting"


def text(value: Any) -> str | None:
    """Return a value as JSON text; None stays None."""
    return None if value is None else json_text(value)


def json_text(value: Any) -> str:
    """Return a value as JSON text that UTF-8 has bytes for."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    # Half of a character, as JavaScript can cut one, can only be kept as an escape.
    return json.dumps(value, default=str) if _HALF.search(text) else text


def marks(values: Sequence[Any]) -> str:
    """Return the place holders of some values."""
    return ", ".join("?" * len(values))


def of_step(step: str) -> tuple[str, int, str]:
    """Return the values for `OF_STEP`."""
    return (step, len(step) + 1, f"{step}/")


def changed(connection: Connection, statement: str, values: Sequence[Any]) -> bool:
    """Execute a statement and return whether it changed a row."""
    return connection.execute(statement, values).rowcount > 0


def group_of(row: Any) -> Group:
    """Return the group that a row of `GROUP` stands for."""
    return (row["place"], row["credentials"], row["own"])


def put_event(connection: Connection, event: Event) -> None:
    """Record an event."""
    connection.execute(
        "INSERT INTO events (run_id, at, kind, data) VALUES (?, ?, ?, ?)",
        (event.run_id, event.at, event.kind, text(dict(event.data))),
    )


def insert(
    connection: Connection,
    table: str,
    record: Any,
    *,
    once: bool = False,
    without: Sequence[str] = (),
    **more: Any,
) -> None:
    """Insert a record as a row; with `once` only if there is none of its key."""
    values = {
        name: text(value)
        if name in JSON[table]
        else int(value)
        if isinstance(value, bool)
        else value
        for name, value in {**vars(record), **more}.items()
        if name not in without
    }
    names = ", ".join(f'"{name}"' for name in values)
    conflict = "ON CONFLICT DO NOTHING" if once else ""
    connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks(tuple(values))}) {conflict}",
        tuple(values.values()),
    )


def record_of(kind: Any, table: str, row: Any) -> Any:
    """Return the record that a row stands for."""
    known = kind.__dataclass_fields__
    values = {name: row[name] for name in row.keys() if name in known}  # noqa: SIM118 - a Row
    for name in JSON[table]:
        if name in values and values[name] is not None:
            values[name] = json.loads(values[name])
    for name in _BOOLEAN:
        if name in values:
            values[name] = bool(values[name])
    return kind(**values)


def run_of(row: Any) -> Run:
    """Return the run that a row stands for."""
    run: Run = record_of(Run, "runs", row)
    return run
