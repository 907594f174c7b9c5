"""Durable runs in SQLite: runs and their leases, what blocks came to, waits, events.

JSON only. Secrets are replaced by their names before they get here (`sealing`).
"""
# ruff: noqa: S608 - only fixed fragments are put into statements, never values

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sim_devin.errors import CallerError, UnknownName
from sim_devin.records import ENDED, PARKED, Event, Outcome, Run, RunState, Wait
from sim_devin.sqlite_file import IN_MEMORY, SqliteFile
from sim_devin.sqlite_schema import MIGRATIONS

_JSON = {
    "runs": ("children", "inputs", "options", "result"),
    "blocks": ("output", "variables", "log"),
    "waits": ("point", "output", "about", "seen", "answer"),
}
_BOOLEAN = ("cancelling", "open", "retry")


class LeaseLost(Exception):
    """Another process drives the run now. What this one still does of it counts for nothing."""


class SqliteStore:
    """The store. Safe for many threads and many processes on one machine.

    Args:
        path: the file; in memory unless given.

    Raises:
        StoreError: the file cannot be used.
    """

    def __init__(self, path: str | Path = IN_MEMORY) -> None:
        self.file = SqliteFile(path, MIGRATIONS)

    def __repr__(self) -> str:
        return f"SqliteStore({self.file.path!r})"

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    # -- records of runs that are not durable (`store.RunStore`) ---------------------------------

    def save(self, run_id: str, record: Mapping[str, Any]) -> None:
        """Keep a run's record, replacing an older one."""
        with self.file.write() as connection:
            connection.execute(
                "INSERT INTO records (run_id, body) VALUES (?, ?) "
                "ON CONFLICT (run_id) DO UPDATE SET body = excluded.body",
                (run_id, text(record)),
            )

    def load(self, run_id: str) -> Mapping[str, Any]:
        """Return a run's record.

        Raises:
            UnknownName: there is no such run.
        """
        rows = self.file.read("SELECT body FROM records WHERE run_id = ?", (run_id,))
        if not rows:
            known = self.file.read("SELECT run_id FROM records LIMIT 1000")
            raise UnknownName("run", run_id, [row["run_id"] for row in known])
        record: Mapping[str, Any] = json.loads(rows[0]["body"])
        return record

    # -- documents -----------------------------------------------------------------------------

    def put_document(self, document: Any) -> str:
        """Keep a workflow document; return its id, the same for the same document."""
        body = json.dumps(document, default=str, ensure_ascii=False)
        key = hashlib.sha256(body.encode()).hexdigest()
        with self.file.write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO documents (id, body) VALUES (?, ?)", (key, body)
            )
        return key

    def document(self, key: str) -> Any:
        """Return a workflow document."""
        (row,) = self.file.read("SELECT body FROM documents WHERE id = ?", (key,))
        return json.loads(row["body"])

    # -- runs ------------------------------------------------------------------------------------

    def add_run(self, run: Run) -> None:
        """Record a new run.

        Raises:
            CallerError: there is a run of that id.
        """
        with self.file.write() as connection:
            if connection.execute("SELECT 1 FROM runs WHERE id = ?", (run.id,)).fetchone():
                raise CallerError(f"There is a run {run.id!r} already.")
            _insert(connection, "runs", run)
            _event(connection, Event(run.id, run.created, "run.created", {"workflow": run.name}))

    def run(self, run_id: str) -> Run:
        """Return a run, found by its id or by the beginning of it.

        Raises:
            UnknownName: there is no such run, or several begin like that.
        """
        rows = self.file.read("SELECT * FROM runs WHERE id = ?", (run_id,))
        if not rows and len(run_id) >= 4:
            pattern = run_id.replace("%", "").replace("_", r"\_") + "%"
            rows = self.file.read(
                r"SELECT * FROM runs WHERE id LIKE ? ESCAPE '\' LIMIT 2", (pattern,)
            )
        if len(rows) != 1:
            known = self.file.read("SELECT id FROM runs ORDER BY created DESC LIMIT 1000")
            raise UnknownName("run", run_id, [row["id"] for row in known])
        return _run(rows[0])

    def runs(self, states: Sequence[str] = (), *, limit: int = 100) -> list[Run]:
        """Return the runs in any of these states, newest first."""
        where = f"WHERE state IN ({_marks(states)})" if states else ""
        query = f"SELECT * FROM runs {where} ORDER BY created DESC, rowid DESC LIMIT ?"
        return [_run(row) for row in self.file.read(query, (*states, limit))]

    def count(self, states: Sequence[str]) -> int:
        """Return how many runs are in one of these states."""
        query = f"SELECT count(*) AS n FROM runs WHERE state IN ({_marks(states)})"
        return int(self.file.read(query, states)[0]["n"])

    def claim_run(
        self, owner: str, now: float, ttl: float, moment: float, run_id: str | None = None
    ) -> Run | None:
        """Take the lease of a run that is ready, or whose process is dead; None without one.

        `now` is real time, since leases are about processes; `moment` is the app's own.
        """
        chosen = "AND id = ?" if run_id is not None else ""
        values = (now, run_id) if run_id is not None else (now,)
        with self.file.write() as connection:
            row = connection.execute(
                "SELECT id FROM runs WHERE "
                "(state = 'ready' OR (state = 'running' AND lease_until < ?)) "
                f"{chosen} ORDER BY updated LIMIT 1",
                values,
            ).fetchone()
            if row is None:
                return None
            taken = connection.execute(
                "UPDATE runs SET state = 'running', owner = ?, fence = fence + 1, lease_until = ?, "
                "started = coalesce(started, ?) WHERE id = ? RETURNING *",
                (owner, now + ttl, moment, row["id"]),
            ).fetchone()
        return _run(taken)

    def keep_leases(self, owner: str, until: float) -> dict[str, tuple[int, bool]]:
        """Prolong the leases of a process; return run -> (fence, whether it is to be cancelled)."""
        with self.file.write() as connection:
            rows = connection.execute(
                "UPDATE runs SET lease_until = ? WHERE owner = ? AND state = 'running' "
                "RETURNING id, fence, cancelling",
                (until, owner),
            ).fetchall()
        return {row["id"]: (row["fence"], bool(row["cancelling"])) for row in rows}

    def end_run(
        self,
        run: Run,
        state: RunState,
        now: float,
        *,
        result: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """Record how a run ended, or why it is held, and give up its lease.

        Raises:
            LeaseLost: another process has taken the run.
        """
        with self._held(run) as connection:
            connection.execute(
                "UPDATE runs SET state = ?, result = ?, error = ?, updated = ?, ended = ?, "
                "owner = NULL, lease_until = 0 WHERE id = ?",
                (state, text(result), error, now, now if state in ENDED else None, run.id),
            )
            if state in ENDED:
                connection.execute("UPDATE waits SET open = 0 WHERE run_id = ?", (run.id,))
            data = {"error": error} if error else {}
            _event(connection, Event(run.id, now, f"run.{state}", data))

    def park(self, run: Run, now: float) -> RunState:
        """Set a run aside until something it waits for is there; return its state.

        It is ready again at once when that came while it was still being driven.

        Raises:
            LeaseLost: another process has taken the run.
        """
        with self._held(run) as connection:
            woken = connection.execute(
                "SELECT 1 FROM waits WHERE run_id = ? AND open = 0 AND used = 0", (run.id,)
            ).fetchone()
            state: RunState = "ready" if woken else self._parked_state(connection, run.id)
            connection.execute(
                "UPDATE runs SET state = ?, updated = ?, owner = NULL, lease_until = 0, "
                "error = NULL WHERE id = ?",
                (state, now, run.id),
            )
            _event(connection, Event(run.id, now, f"run.{state}", {}))
        return state

    def release(self, run: Run, now: float) -> None:
        """Give a run back so that any process can take it on at once."""
        with self._held(run) as connection:
            connection.execute(
                "UPDATE runs SET state = 'ready', updated = ?, owner = NULL, lease_until = 0 "
                "WHERE id = ?",
                (now, run.id),
            )

    def make_ready(self, run_id: str, states: Sequence[str], now: float) -> bool:
        """Make a run in one of these states ready; return whether it was."""
        with self.file.write() as connection:
            return _changed(
                connection,
                f"UPDATE runs SET state = 'ready', updated = ?, ended = NULL, result = NULL, "
                f"error = NULL, cancelling = 0 WHERE id = ? AND state IN ({_marks(states)})",
                (now, run_id, *states),
            )

    def cancel_run(self, run_id: str, now: float) -> RunState:
        """Ask for a run to be cancelled; return its state, ``cancelled`` if nobody drives it."""
        with self.file.write() as connection:
            if _changed(
                connection,
                f"UPDATE runs SET state = 'cancelled', updated = ?, ended = ? "
                f"WHERE id = ? AND state IN ({_marks((*PARKED, 'ready', 'held'))})",
                (now, now, run_id, *PARKED, "ready", "held"),
            ):
                connection.execute("UPDATE waits SET open = 0 WHERE run_id = ?", (run_id,))
                _event(connection, Event(run_id, now, "run.cancelled", {}))
            else:
                connection.execute("UPDATE runs SET cancelling = 1 WHERE id = ?", (run_id,))
            row = connection.execute("SELECT state FROM runs WHERE id = ?", (run_id,)).fetchone()
        state: RunState = row["state"]
        return state

    def wake_overdue(self, now: float) -> int:
        """Make parked runs ready whose deadline has passed; return how many."""
        where = f"deadline <= ? AND state IN ({_marks(PARKED)})"
        if not self.file.read(f"SELECT 1 FROM runs WHERE {where} LIMIT 1", (now, *PARKED)):
            return 0
        with self.file.write() as connection:
            return connection.execute(
                f"UPDATE runs SET state = 'ready', updated = ? "
                f"WHERE deadline <= ? AND state IN ({_marks(PARKED)})",
                (now, now, *PARKED),
            ).rowcount

    def prune(self, before: float) -> int:
        """Forget runs that ended before a moment, and all that belongs to them."""
        with self.file.write() as connection:
            ended = connection.execute(
                f"DELETE FROM runs WHERE ended < ? AND state IN ({_marks(ENDED)})",
                (before, *ENDED),
            ).rowcount
            connection.execute(
                "DELETE FROM documents WHERE id NOT IN (SELECT document FROM runs) AND id NOT IN "
                "(SELECT value FROM runs, json_each(runs.children))"
            )
        return ended

    @contextmanager
    def _held(self, run: Run) -> Any:
        with self.file.write() as connection:
            held = connection.execute(
                "SELECT 1 FROM runs WHERE id = ? AND owner = ? AND fence = ? AND state = 'running'",
                (run.id, run.owner, run.fence),
            ).fetchone()
            if held is None:
                raise LeaseLost(run.id)
            yield connection

    def held(self, run: Run) -> Any:
        """Return a transaction that only the process that drives a run can open.

        Raises:
            LeaseLost: another process has taken the run.
        """
        return self._held(run)

    def _parked_state(self, connection: sqlite3.Connection, run_id: str) -> RunState:
        rows = connection.execute(
            "SELECT DISTINCT kind FROM waits WHERE run_id = ? AND open = 1", (run_id,)
        )
        kinds = {row["kind"] for row in rows}
        if "uncertain" in kinds:
            return "uncertain"
        return "asking" if kinds & {"human", "question"} else "waiting"

    # -- what blocks came to ------------------------------------------------------------------

    def outcomes(self, run_id: str) -> list[Outcome]:
        """Return what is recorded of a run's blocks, in the order in which they ended."""
        query = "SELECT * FROM blocks WHERE run_id = ? ORDER BY sequence"
        return [_row(Outcome, "blocks", row) for row in self.file.read(query, (run_id,))]

    def record(self, run: Run, outcomes: Iterable[Outcome], events: Iterable[Event] = ()) -> None:
        """Record what blocks came to, all or nothing.

        Raises:
            LeaseLost: another process has taken the run.
        """
        with self._held(run) as connection:
            for outcome in outcomes:
                _insert(connection, "blocks", outcome, run_id=run.id)
                connection.execute(
                    "UPDATE waits SET used = 1 WHERE run_id = ? AND step = ?",
                    (run.id, f"{outcome.key}#{outcome.attempt}"),
                )
            for event in events:
                _event(connection, event)

    def forget_failures(self, run_id: str) -> int:
        """Forget the failed tries of a run, so that they are made again; return how many."""
        with self.file.write() as connection:
            return connection.execute(
                "DELETE FROM blocks WHERE run_id = ? AND error IS NOT NULL", (run_id,)
            ).rowcount

    def step(self, run_id: str, step: str) -> dict[str, Any] | None:
        """Return what a call inside a block came to: ``name``, ``output``, ``error``; or None."""
        rows = self.file.read(
            "SELECT name, body FROM steps WHERE run_id = ? AND step = ?", (run_id, step)
        )
        return {"name": rows[0]["name"], **json.loads(rows[0]["body"])} if rows else None

    def record_step(self, run: Run, step: str, name: str, body: Mapping[str, Any]) -> None:
        """Record what a call inside a block came to."""
        with self._held(run) as connection:
            connection.execute(
                "INSERT OR IGNORE INTO steps (run_id, step, name, body) VALUES (?, ?, ?, ?)",
                (run.id, step, name, text(body)),
            )

    def steps(self, run_id: str) -> set[str]:
        """Return the steps of a run that are recorded."""
        rows = self.file.read("SELECT step FROM steps WHERE run_id = ?", (run_id,))
        return {row["step"] for row in rows}

    # -- waits -----------------------------------------------------------------------------------

    def add_wait(self, run: Run, wait: Wait) -> None:
        """Record what a run waits for; a wait that is recorded already stays as it is."""
        with self._held(run) as connection:
            _insert(connection, "waits", wait, how="INSERT OR IGNORE", without=("id",))
            data = {"blockId": wait.block_id, "reason": wait.kind, "contextId": wait.context_id}
            _event(connection, Event(run.id, wait.created, "block.waiting", data))

    def waits(self, run_id: str, *, only_open: bool = False) -> list[Wait]:
        """Return what a run waits for, or waited for."""
        more = "AND open = 1" if only_open else ""
        query = f"SELECT * FROM waits WHERE run_id = ? {more} ORDER BY id"
        return [_row(Wait, "waits", row) for row in self.file.read(query, (run_id,))]

    def open_waits(self, kind: str, *, limit: int = 1000) -> list[Wait]:
        """Return open waits of one kind, oldest first."""
        query = "SELECT * FROM waits WHERE open = 1 AND kind = ? ORDER BY id LIMIT ?"
        return [_row(Wait, "waits", row) for row in self.file.read(query, (kind, limit))]

    def finish_wait(
        self, wait: Wait, now: float, answer: Any = None, *, error: str | None = None
    ) -> bool:
        """End a wait and wake its run; return False if somebody else has ended it."""
        with self.file.write() as connection:
            if not _changed(
                connection,
                "UPDATE waits SET open = 0, answer = ?, error = ?, ended = ? "
                "WHERE id = ? AND open = 1 AND kind = ?",
                (text(answer), error, now, wait.id, wait.kind),
            ):
                return False
            self._wake(connection, wait.run_id, now)
        return True

    def drop_wait(self, wait: Wait, now: float) -> bool:
        """Forget a wait, so that its block is tried anew, and wake its run."""
        with self.file.write() as connection:
            if not _changed(connection, "DELETE FROM waits WHERE id = ? AND open = 1", (wait.id,)):
                return False
            self._wake(connection, wait.run_id, now)
        return True

    def finish_due(self, now: float) -> int:
        """End the waits for a moment that has come; return how many."""
        query = "SELECT * FROM waits WHERE open = 1 AND kind = 'time' AND due <= ? LIMIT 1000"
        rows = self.file.read(query, (now,))
        return sum(self.finish_wait(_row(Wait, "waits", row), now) for row in rows)

    def change_wait(self, wait: Wait, was: str, /, **changes: Any) -> bool:
        """Change an open wait of a kind; return False if it is none any more."""
        names = ", ".join(f"{name} = ?" for name in changes)
        values = [
            text(value) if name in _JSON["waits"] else value for name, value in changes.items()
        ]
        with self.file.write() as connection:
            changed = _changed(
                connection,
                f"UPDATE waits SET {names} WHERE id = ? AND open = 1 AND kind = ?",
                (*values, wait.id, was),
            )
            if changed and "kind" in changes:
                connection.execute(
                    f"UPDATE runs SET state = ? WHERE id = ? AND state IN ({_marks(PARKED)})",
                    (self._parked_state(connection, wait.run_id), wait.run_id, *PARKED),
                )
        return changed

    def _wake(self, connection: sqlite3.Connection, run_id: str, now: float) -> None:
        connection.execute(
            "UPDATE runs SET state = 'ready', updated = ? "
            f"WHERE id = ? AND state IN ({_marks(PARKED)})",
            (now, run_id, *PARKED),
        )

    # -- sessions that are waited for ----------------------------------------------------------

    def groups(self, now: float, run_id: str | None = None) -> list[tuple[str, str | None]]:
        """Return (place, credentials) of the session waits that are due for a look."""
        mine, values = ("AND run_id = ?", (run_id,)) if run_id else ("", ())
        rows = self.file.read(
            "SELECT DISTINCT place, json_extract(about, '$.credentials') AS credentials FROM waits "
            f"WHERE open = 1 AND kind = 'session' AND (next_look <= ? OR due <= ?) {mine}",
            (now, now, *values),
        )
        return [(row["place"], row["credentials"]) for row in rows]

    def due_sessions(
        self,
        place: str,
        credentials: str | None,
        now: float,
        *,
        after: int,
        limit: int,
        run_id: str | None = None,
    ) -> list[Wait]:
        """Return a batch of session waits to look at, those after the wait of id `after`."""
        mine, values = ("AND run_id = ?", (run_id,)) if run_id else ("", ())
        rows = self.file.read(
            "SELECT * FROM waits WHERE open = 1 AND kind = 'session' AND place = ? "
            "AND json_extract(about, '$.credentials') IS ? AND id > ? "
            f"AND (next_look <= ? OR due <= ?) {mine} ORDER BY id LIMIT ?",
            (place, credentials, after, now, now, *values, limit),
        )
        return [_row(Wait, "waits", row) for row in rows]

    def next_moment(self, run_id: str | None = None) -> float | None:
        """Return when the next look, moment or deadline is due; None if there is none."""
        mine, values = ("AND run_id = ?", (run_id,)) if run_id else ("", ())
        (row,) = self.file.read(
            "SELECT min(CASE WHEN kind = 'session' THEN min(next_look, coalesce(due, next_look)) "
            "ELSE due END) AS moment FROM waits "
            f"WHERE open = 1 AND kind IN ('session', 'time') {mine}",
            values,
        )
        moment: float | None = row["moment"]
        return moment

    def lease(self, name: str, owner: str, now: float, ttl: float) -> bool:
        """Take or prolong a lease on something that one process does for all."""
        query = "SELECT 1 FROM leases WHERE name = ? AND owner = ? AND until > ?"
        if self.file.read(query, (name, owner, now + ttl / 2)):
            return True
        with self.file.write() as connection:
            return _changed(
                connection,
                "INSERT INTO leases (name, owner, until) VALUES (?, ?, ?) ON CONFLICT (name) "
                "DO UPDATE SET owner = excluded.owner, until = excluded.until "
                "WHERE leases.owner = excluded.owner OR leases.until < ?",
                (name, owner, now + ttl, now),
            )

    # -- answers to questions, and events -------------------------------------------------------

    def put_answer(self, wait: Wait, message: str, now: float) -> bool:
        """Record the answer to a question, to be sent; return False if there is one already."""
        with self.file.write() as connection:
            if not self.change_wait(wait, "question", kind="sending", answer=message):
                return False
            connection.execute(
                "INSERT INTO answers (run_id, step, number, body, at) "
                "SELECT ?, ?, count(*), ?, ? FROM answers WHERE run_id = ? AND step = ?",
                (wait.run_id, wait.step, text(message), now, wait.run_id, wait.step),
            )
        return True

    def answers(self, wait: Wait) -> int:
        """Return how many questions of a wait were answered."""
        rows = self.file.read(
            "SELECT count(*) AS n FROM answers WHERE run_id = ? AND step = ?",
            (wait.run_id, wait.step),
        )
        return int(rows[0]["n"])

    def add_event(self, event: Event) -> None:
        """Record an event."""
        with self.file.write() as connection:
            _event(connection, event)

    def events(self, run_id: str, *, after: int = 0, limit: int = 1000) -> list[Event]:
        """Return the events of a run that come after the one of an id."""
        rows = self.file.read(
            "SELECT * FROM events WHERE run_id = ? AND id > ? ORDER BY id LIMIT ?",
            (run_id, after, limit),
        )
        return [
            Event(row["run_id"], row["at"], row["kind"], json.loads(row["data"]), row["id"])
            for row in rows
        ]


def text(value: Any) -> str | None:
    """Return a value as JSON text; None stays None."""
    return None if value is None else json.dumps(value, default=str, ensure_ascii=False)


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _changed(connection: sqlite3.Connection, statement: str, values: Sequence[Any]) -> bool:
    return connection.execute(statement, values).rowcount > 0


def _event(connection: sqlite3.Connection, event: Event) -> None:
    connection.execute(
        "INSERT INTO events (run_id, at, kind, data) VALUES (?, ?, ?, ?)",
        (event.run_id, event.at, event.kind, text(dict(event.data))),
    )


def _insert(
    connection: sqlite3.Connection,
    table: str,
    record: Any,
    *,
    how: str = "INSERT",
    without: Sequence[str] = (),
    **more: Any,
) -> None:
    values = {
        name: text(value) if name in _JSON[table] else value
        for name, value in {**vars(record), **more}.items()
        if name not in without
    }
    names = ", ".join(f'"{name}"' for name in values)
    connection.execute(
        f"{how} INTO {table} ({names}) VALUES ({_marks(tuple(values))})", tuple(values.values())
    )


def _row(kind: Any, table: str, row: sqlite3.Row) -> Any:
    known = kind.__dataclass_fields__
    values = {name: row[name] for name in row.keys() if name in known}  # noqa: SIM118 - a Row
    for name in _JSON[table]:
        if name in values and values[name] is not None:
            values[name] = json.loads(values[name])
    for name in _BOOLEAN:
        if name in values:
            values[name] = bool(values[name])
    return kind(**values)


def _run(row: sqlite3.Row) -> Run:
    run: Run = _row(Run, "runs", row)
    return run
