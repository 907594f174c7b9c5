"""Forgetting runs that are over, a few at a time, so that nobody has to wait for it."""
# ruff: noqa: S608 - only fixed fragments are put into statements, never values

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sim_devin.calls.ceilings import CAP
from sim_devin.store.database import DatabaseConnection
from sim_devin.store.records import ENDED
from sim_devin.store.rows import Rows, marks

AT_A_TIME = 50  # runs that are looked at, and most that are forgotten, in one transaction
ROWS = 2000  # about the most rows that one transaction removes


class Pruning(Rows):
    """What removes runs and documents from the store."""

    def prune(self, before: float, today: str) -> Iterator[int]:
        """Forget runs that ended before a moment, and all that belongs to them.

        Yields how many were forgotten in each of many small transactions; to stop after any of
        them loses nothing. Runs stay that have taken something off what may be spent `today`.
        """
        last = (float("-inf"), "")
        while True:
            rows = self.database.read(
                "SELECT id, ended FROM runs WHERE ended IS NOT NULL AND ended < ? "
                f"AND (ended, id) > (?, ?) AND state IN ({marks(ENDED)}) "
                "AND NOT EXISTS (SELECT 1 FROM spend WHERE run_id = runs.id AND day >= ? "
                "AND ceiling = ?) ORDER BY ended, id LIMIT ?",
                (before, *last, *ENDED, today, CAP, AT_A_TIME),
            )
            if not rows:
                break
            last = (rows[-1]["ended"], rows[-1]["id"])
            for batch in self._batches(rows):
                yield self._forget(batch)
        with self.database.write() as connection:
            connection.execute("DELETE FROM leases WHERE until < ?", (before,))
        self._forget_spending(today)
        yield from self._forget_documents()

    def forget_run(self, run_id: str) -> None:
        """Forget a run that has ended, what it drew, and the documents that it alone uses."""
        query = "SELECT document FROM runs WHERE id = ? UNION SELECT document FROM children "
        rows = self.database.read(f"{query} WHERE run_id = ?", (run_id, run_id))
        with self.database.write() as connection:
            if self._forget([run_id]):
                connection.execute("DELETE FROM spend WHERE run_id = ?", (run_id,))
                self._forget_unused(connection, [row["document"] for row in rows])

    def _batches(self, rows: list[Any]) -> Iterator[list[str]]:
        """Yield the ids in groups with about as many rows as one transaction may remove."""
        batch: list[str] = []
        size = 0
        for row in rows:
            events = self._events_of(row["id"])
            if batch and size + events > ROWS:
                yield batch
                batch, size = [], 0
            if events > ROWS:
                self._thin(row["id"])
            batch.append(row["id"])
            size += min(events, ROWS)
        if batch:
            yield batch

    def _events_of(self, run_id: str) -> int:
        (row,) = self.database.read(
            "SELECT count(*) AS n FROM (SELECT 1 FROM events WHERE run_id = ? LIMIT ?) AS few",
            (run_id, ROWS + 1),
        )
        return int(row["n"])

    def _thin(self, run_id: str) -> None:
        """Remove the events of a run that has very many, the oldest first, until few are left."""
        while self._events_of(run_id) > ROWS:
            with self.database.write() as connection:
                connection.execute(
                    "DELETE FROM events WHERE id IN "
                    "(SELECT id FROM events WHERE run_id = ? ORDER BY id LIMIT ?)",
                    (run_id, ROWS),
                )

    def _forget(self, run_ids: list[str]) -> int:
        with self.database.write() as connection:
            # Someone may have made one of them continue meanwhile.
            return connection.execute(
                f"DELETE FROM runs WHERE id IN ({marks(run_ids)}) AND state IN ({marks(ENDED)})",
                (*run_ids, *ENDED),
            ).rowcount

    def _forget_spending(self, today: str) -> None:
        """Remove what runs that are gone, and calls outside of runs, drew on days gone by."""
        gone = "day < ? AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = spend.run_id)"
        while True:
            query = f"SELECT DISTINCT run_id, day FROM spend WHERE {gone} LIMIT ?"
            rows = self.database.read(query, (today, AT_A_TIME))
            if not rows:
                return
            with self.database.write() as connection:
                for row in rows:
                    connection.execute(
                        "DELETE FROM spend WHERE run_id = ? AND day = ?",
                        (row["run_id"], row["day"]),
                    )

    def _forget_documents(self) -> Iterator[int]:
        """Remove the documents that no run uses, neither for itself nor for a child."""
        last = ""
        while True:
            rows = self.database.read(
                "SELECT id FROM documents WHERE id > ? ORDER BY id LIMIT ?", (last, AT_A_TIME)
            )
            if not rows:
                return
            ids = [row["id"] for row in rows]
            last = ids[-1]
            with self.database.write() as connection:
                self._forget_unused(connection, ids)
            yield 0

    @staticmethod
    def _forget_unused(connection: DatabaseConnection, documents: Sequence[str]) -> None:
        connection.execute(
            f"DELETE FROM documents WHERE id IN ({marks(documents)}) "
            "AND NOT EXISTS (SELECT 1 FROM runs WHERE document = documents.id) "
            "AND NOT EXISTS (SELECT 1 FROM children WHERE document = documents.id)",
            documents,
        )
