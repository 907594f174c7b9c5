"""Records as rows: written, read, and guarded by the lease of the run they belong to."""
# ruff: noqa: S608 - only fixed fragments are put into statements, never values

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from sim_devin.store.damage import DamagedRow, require_sound
from sim_devin.store.database import Database, DatabaseConnection
from sim_devin.store.records import EventRecord, Run, RunState, Wait
from sim_devin.store.sealing import (
    OWN,
    Seals,
    names,
    no_secrets,
    read_json,
    read_text,
    to_json,
    to_text,
)

JSON: Mapping[str, Sequence[str]] = {
    "runs": ("inputs", "options", "result"),
    "blocks": ("output", "variables", "log"),
    "waits": ("point", "output", "about", "seen", "answer"),
    "sessions": (),
}
PLAIN: Mapping[str, Sequence[str]] = {  # JSON without secrets
    "runs": ("children", "secrets", "summary")
}
TEXTS: Mapping[str, Sequence[str]] = {
    "runs": ("name", "error"),
    "blocks": ("error", "hint"),
    "waits": ("error",),
    "sessions": (),
}
_HALF = re.compile("[\ud800-\udfff]")
_BOOLEAN = ("cancelling", "open", "retry", "working")

# A step, or any call in it. Not LIKE, which would take a _ or % in a step for any text.
OF_STEP = "(step = ? OR substr(step, 1, ?) = ?)"

# What is selected of sessions that are looked at with the same key, and how they are grouped.
GROUP = (
    "place, credentials, CASE WHEN credentials LIKE ? THEN run_id END AS own, min(run_id) AS run, "
    "min(job) AS job"
)
BY_GROUP = "GROUP BY place, credentials, own"
# The value in it. A quotation mark in a text has a backslash before it, so no text is like this.
WITH_OWN = f'%{{"name": "{OWN}%'


class Group(NamedTuple):
    """Sessions that are looked at with the same key.

    Attributes:
        place: their organization.
        credentials: what tells the key from others, as JSON text.
        own: the run if the key is one of its own: another may have one by the same name.
        run: a run that the key belongs to.
        job: a kind of job that is looked at there.
    """

    place: str
    credentials: str | None
    own: str | None
    run: str
    job: str


class LeaseLost(Exception):
    """Another process drives the run now. What this one still does of it counts for nothing."""


class Term(NamedTuple):
    """For how long a process has what it begins to drive, by the database's time.

    Attributes:
        now: the present.
        until: when it counts as dead without a further sign of life; 0 if that is not how dead
            ones are found.
        longest: seconds for which processes here are given runs at a time.
    """

    now: float
    until: float
    longest: float


class HandOut(Protocol):
    """What the store tells whatever brings runs to processes, and asks it (`runs.carrier`)."""

    def put(self, connection: DatabaseConnection, run_ids: Sequence[str], /) -> None:
        """Take note of runs that become ready, in the transaction that makes them so."""
        ...

    def holds(self, run_id: str, /) -> bool:
        """Return whether a run that was begun here is still this process's."""
        ...


class _Nothing:
    """Takes note of nothing, and knows nothing better than the row does."""

    def put(self, _: DatabaseConnection, __: Sequence[str]) -> None:
        pass

    def holds(self, _: str) -> bool:
        return True


class Rows:
    """What all tables share: the database, the guard of a run's lease, and the run's secrets.

    What is written of a run is closed here and nowhere else, so that nothing gets into the
    store with a secret in it; what is read is closed, and shows masks, until it is opened.

    Attributes:
        carrier: what brings runs to processes.

    Args:
        database: where the rows are.
        seals: take the secrets of a run out of what is written of it.
    """

    def __init__(self, database: Database, seals: Seals = no_secrets) -> None:
        self.database = database
        self.seals = seals
        self.carrier: HandOut = _Nothing()

    def make_ready_where(
        self,
        connection: DatabaseConnection,
        where: str,
        values: Sequence[Any],
        now: float,
        **also: Any,
    ) -> list[str]:
        """Make the runs of a condition ready to be driven, and return their ids.

        Every run that continues passes here, or is ready when it is recorded (`add_run`). `also` is
        what else becomes of their columns.
        """
        more = "".join(f", {name} = ?" for name in also)
        rows = connection.execute(
            f"UPDATE runs SET state = 'ready', updated = ?{more} WHERE {where} RETURNING id",
            (now, *also.values(), *values),
        ).fetchall()
        ready = [row["id"] for row in rows]
        if ready:
            self.carrier.put(connection, ready)
        return ready

    @contextmanager
    def held(self, run: Run) -> Iterator[DatabaseConnection]:
        """Yield a transaction that only the process that drives a run can open.

        Raises:
            LeaseLost: another process has taken the run.
        """
        with self.database.write() as connection:
            held = connection.execute(
                "SELECT 1 FROM runs WHERE id = ? AND owner = ? AND fence = ? AND state = 'running'",
                (run.id, run.owner, run.fence),
            ).fetchone()
            if held is None or not self.carrier.holds(run.id):
                raise LeaseLost(run.id)
            yield connection

    def closed(self, connection: DatabaseConnection, run_id: str, value: Any) -> Any:
        """Return data of a run as it may be stored; what is hidden in it may be opened later."""
        closed = self.seals(run_id).close(value)
        if used := set(names(closed)):
            self.record_secrets(connection, run_id, used)
        return to_json(closed)

    def closed_text(
        self, connection: DatabaseConnection, run_id: str, text: str | None
    ) -> str | None:
        """Return a text of a run as it may be stored in a column of plain texts."""
        if text is None:
            return None
        closed = self.seals(run_id).close(text)
        if used := set(names(closed)):
            self.record_secrets(connection, run_id, used)
        return to_text(closed)

    def record_secrets(
        self, connection: DatabaseConnection, run_id: str, names: Collection[str]
    ) -> None:
        """Record that these secrets, by name, belong to a run: only those can be opened in it."""
        row = connection.execute("SELECT secrets FROM runs WHERE id = ?", (run_id,)).fetchone()
        if row is not None and (more := set(names).difference(known := json.loads(row["secrets"]))):
            connection.execute(
                "UPDATE runs SET secrets = ? WHERE id = ?",
                (json.dumps(sorted({*known, *more})), run_id),
            )

    def secrets_of(self, run_id: str) -> list[str]:
        """Return the names of the secrets that belong to a run."""
        rows = self.database.read("SELECT secrets FROM runs WHERE id = ?", (run_id,))
        recorded: list[str] = json.loads(rows[0]["secrets"]) if rows else []
        return recorded

    def records(
        self, kind: Any, table: str, rows: Sequence[Any], damaged: list[str] | None = None
    ) -> list[Any]:
        """Return the records of rows; what is wrong with those that have none joins `damaged`.

        Raises:
            DamagedRow: there is no such list.
        """
        found = []
        for row in rows:
            try:
                found.append(record_of(kind, table, row))
            except DamagedRow as error:
                if damaged is None:
                    raise
                damaged.append(str(error))
        return found

    def sound_waits(self, rows: Sequence[Any]) -> list[Wait]:
        """Return the waits of rows. A run with a damaged one is held, and the wait is closed."""
        found = []
        for row in rows:
            try:
                found.append(record_of(Wait, "waits", row))
            except DamagedRow as error:
                with self.database.write() as connection:
                    connection.execute("UPDATE waits SET open = 0 WHERE id = ?", (row["id"],))
                    self.hold(connection, row["run_id"], error)
        return found

    def hold(self, connection: DatabaseConnection, run_id: str, error: DamagedRow) -> None:
        """Hold a run that is damaged, so that nobody tries to drive it."""
        connection.execute(
            "UPDATE runs SET state = 'held', error = ?, owner = NULL, lease_until = 0 "
            "WHERE id = ? AND ended IS NULL",
            (to_text(str(error)), run_id),
        )

    def put_event(self, connection: DatabaseConnection, event: EventRecord) -> None:
        """Record an event."""
        connection.execute(
            "INSERT INTO events (run_id, at, kind, data) VALUES (?, ?, ?, ?)",
            (
                event.run_id,
                event.at,
                event.kind,
                json_text(self.closed(connection, event.run_id, dict(event.data))),
            ),
        )

    def insert(
        self,
        connection: DatabaseConnection,
        table: str,
        record: Any,
        of: str,
        /,
        *,
        once: bool = False,
        without: Sequence[str] = (),
        **more: Any,
    ) -> None:
        """Insert a record `of` a run as a row; with `once` only if there is none of its key."""
        values = {
            name: self.column(connection, table, name, value, of)
            for name, value in {**vars(record), **more}.items()
            if name not in without
        }
        names = ", ".join(f'"{name}"' for name in values)
        conflict = "ON CONFLICT DO NOTHING" if once else ""
        connection.execute(
            f"INSERT INTO {table} ({names}) VALUES ({marks(tuple(values))}) {conflict}",
            tuple(values.values()),
        )

    def column(
        self, connection: DatabaseConnection, table: str, name: str, value: Any, run_id: str
    ) -> Any:
        """Return what an attribute of a record is in its column."""
        if name in PLAIN.get(table, ()):
            return json_text(value)
        if name in JSON[table]:
            return text(self.closed(connection, run_id, value))
        if name in TEXTS[table]:
            return self.closed_text(connection, run_id, value)
        return int(value) if isinstance(value, bool) else value


def parked_state(connection: DatabaseConnection, run_id: str) -> RunState:
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


def changed(connection: DatabaseConnection, statement: str, values: Sequence[Any]) -> bool:
    """Execute a statement and return whether it changed a row."""
    return connection.execute(statement, values).rowcount > 0


def group_of(row: Any) -> Group:
    """Return the group that a row of `GROUP` stands for."""
    return Group(row["place"], row["credentials"], row["own"], row["run"], row["job"])


def record_of(kind: Any, table: str, row: Any) -> Any:
    """Return the record that a row stands for.

    Raises:
        DamagedRow: it stands for none.
    """
    known = kind.__dataclass_fields__
    values = {name: row[name] for name in row.keys() if name in known}  # noqa: SIM118 - a Row
    readers = (
        (PLAIN.get(table, ()), json.loads),
        (JSON[table], read_json),
        (TEXTS[table], read_text),
    )
    for names_, read in readers:
        for name in names_:
            if values.get(name) is not None:
                try:
                    values[name] = read(values[name])
                except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                    raise DamagedRow(table, row, name, "cannot be read") from None
    for name in _BOOLEAN:
        if name in values:
            values[name] = bool(values[name])
    require_sound(kind, table, row, values)
    return kind(**values)


def run_of(row: Any) -> Run:
    """Return the run that a row stands for."""
    run: Run = record_of(Run, "runs", row)
    return run
