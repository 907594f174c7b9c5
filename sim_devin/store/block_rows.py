"""What blocks of durable runs came to, and what happened meanwhile."""
# ruff: noqa: S608 - only fixed fragments are put into statements, never values

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sim_devin.engine.events import BLOCK_FAILED, BLOCK_FINISHED, BLOCK_STARTED
from sim_devin.store.damage import DamagedRow, naming
from sim_devin.store.records import (
    DUPLICATE,
    FILE_EVENT,
    LATE_ANSWER,
    OVERTIME,
    BlockRecord,
    EventRecord,
    Run,
)
from sim_devin.store.rows import Rows, marks, text
from sim_devin.store.sealing import read_json

# Written out, since the index of these events is found by it.
_OF_FILE = f"kind = '{FILE_EVENT}'"
AT_A_TIME = 500  # runs that one transaction changes


class BlockRows(Rows):
    """The tables of blocks, of the calls inside them, and of events."""

    def outcomes(self, run_id: str, damaged: list[str] | None = None) -> list[BlockRecord]:
        """Return what is recorded of a run's blocks, in the order in which they ended.

        What is wrong with rows that are damaged joins `damaged`.

        Raises:
            DamagedRow: a row is damaged, and there is no such list.
        """
        query = "SELECT * FROM blocks WHERE run_id = ? ORDER BY sequence"
        rows = self.database.read(query, (run_id,))
        return self.records(BlockRecord, "blocks", rows, damaged)

    def record(
        self, run: Run, outcomes: Iterable[BlockRecord], events: Iterable[EventRecord] = ()
    ) -> None:
        """Record what blocks came to, all or nothing.

        Raises:
            LeaseLost: another process has taken the run.
        """
        with self.held(run) as connection:
            for outcome in outcomes:
                self.insert(connection, "blocks", outcome, run.id, run_id=run.id)
                connection.execute(
                    "UPDATE waits SET used = 1, open = 0 WHERE run_id = ? AND step = ?",
                    (run.id, f"{outcome.key}#{outcome.attempt}"),
                )
            for event in events:
                self.put_event(connection, event)

    def forget_failure(self, run_id: str) -> None:
        """Forget the failed tries of a run, and wait again for what it no longer waited for."""
        with self.database.write() as connection:
            for table in ("blocks", "waits"):
                connection.execute(
                    f"DELETE FROM {table} WHERE run_id = ? AND error IS NOT NULL", (run_id,)
                )
            connection.execute(
                "UPDATE waits SET open = 1 WHERE run_id = ? AND ended IS NULL", (run_id,)
            )

    def step(self, run_id: str, step: str) -> dict[str, Any] | None:
        """Return what a call inside a block came to: ``name``, ``output``, ``error``; or None."""
        rows = self.database.read(
            "SELECT name, body FROM steps WHERE run_id = ? AND step = ?", (run_id, step)
        )
        if not rows:
            return None
        with naming(f"The step {step} of the run {run_id}"):
            return {"name": rows[0]["name"], **read_json(rows[0]["body"])}

    def record_step(self, run: Run, step: str, name: str, body: Mapping[str, Any]) -> None:
        """Record what a call inside a block came to."""
        with self.held(run) as connection:
            connection.execute(
                "INSERT INTO steps (run_id, step, name, body) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                (run.id, step, name, text(self.closed(connection, run.id, dict(body)))),
            )

    def steps(self, run_id: str) -> set[str]:
        """Return the steps of a run that are recorded."""
        rows = self.database.read("SELECT step FROM steps WHERE run_id = ?", (run_id,))
        return {row["step"] for row in rows}

    def add_event(self, event: EventRecord) -> None:
        """Record an event."""
        with self.database.write() as connection:
            self.put_event(connection, event)

    def events(self, run_id: str, *, after: int = 0, limit: int = 1000) -> list[EventRecord]:
        """Return the events of a run that come after the one of an id; damaged ones say so."""
        rows = self.database.read(
            "SELECT * FROM events WHERE run_id = ? AND id > ? ORDER BY id LIMIT ?",
            (run_id, after, limit),
        )
        return list(map(_event_of, rows))

    def begun(self, run_id: str) -> set[str]:
        """Return the executions of blocks of a run that have started and not ended."""
        rows = self.database.read(
            "SELECT * FROM events WHERE run_id = ? AND kind IN (?, ?, ?) ORDER BY id",
            (run_id, BLOCK_STARTED, BLOCK_FINISHED, BLOCK_FAILED),
        )
        begun: set[str] = set()
        for event in map(_event_of, rows):
            act = begun.add if event.kind == BLOCK_STARTED else begun.discard
            act(str(event.data.get("execution")))
        return begun

    def warnings(self, run_id: str) -> list[str]:
        """Return what was found out about a run that whoever reads its outcome should know."""
        rows = self.database.read(
            "SELECT * FROM events WHERE run_id = ? AND kind IN (?, ?, ?) ORDER BY id",
            (run_id, DUPLICATE, LATE_ANSWER, OVERTIME),
        )
        told = (_event_of(row).data for row in rows)
        return list(dict.fromkeys(str(data.get("message") or data.get("error")) for data in told))

    def put_file(self, run_id: str, path: str | Path, now: float) -> None:
        """Say which workflow file a run was started from."""
        self.add_event(EventRecord(run_id, now, FILE_EVENT, {"path": str(Path(path).resolve())}))

    def files(self, run_ids: Sequence[str]) -> dict[str, str]:
        """Return run -> path of its workflow file, for those of which it is known."""
        rows = self.database.read(
            f"SELECT * FROM events WHERE run_id IN ({marks(run_ids)}) AND {_OF_FILE} ORDER BY id",
            run_ids,
        )
        events = map(_event_of, rows)
        return {
            event.run_id: event.data["path"]
            for event in events
            if isinstance(event.data.get("path"), str)
        }

    def rename_file(self, path: str, to: str, now: float) -> None:
        """Let the runs of a workflow file belong to it under its new path."""
        query = (
            f"SELECT DISTINCT run_id FROM events WHERE {_OF_FILE} AND data = ? AND run_id > ? "
            "ORDER BY run_id LIMIT ?"
        )
        last, data = "", text({"path": path})
        while rows := self.database.read(query, (data, last, AT_A_TIME)):
            last = rows[-1]["run_id"]
            with self.database.write() as connection:
                for run_id, file in self.files([row["run_id"] for row in rows]).items():
                    if file == path:
                        self.put_event(
                            connection, EventRecord(run_id, now, FILE_EVENT, {"path": to})
                        )


def _event_of(row: Any) -> EventRecord:
    """Return the event that a row stands for; of a damaged one, that it is damaged."""
    try:
        data = read_json(row["data"])
    except (ValueError, TypeError, KeyError, RecursionError):
        data = None
    if not isinstance(data, Mapping) or not isinstance(row["at"], int | float):
        error = DamagedRow("events", row, "data", f"of event {row['id']} cannot be read")
        return EventRecord(row["run_id"], 0.0, str(row["kind"]), {"error": str(error)}, row["id"])
    return EventRecord(row["run_id"], row["at"], row["kind"], data, row["id"])
