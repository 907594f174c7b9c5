"""Runs that are looked for: by id, by the beginning of one, by state and age.

Each of these costs the same with a million runs in the store as with a hundred.
"""
# ruff: noqa: S608 - only fixed fragments are put into statements, never values

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from sim_devin.errors import UnknownName
from sim_devin.store.damage import DamagedRow
from sim_devin.store.records import Run, RunState
from sim_devin.store.rows import Rows, marks, run_of

SUGGESTED_FROM = 100  # newest runs among which a mistyped id is looked for
SHORTEST = 4  # characters of an id that are enough to find it by
_LAST = "\U0010ffff"  # comes after any character of an id
# Compared character by character, as PostgreSQL does not by itself.
_FROM = "id COLLATE BINARY >= ? AND id COLLATE BINARY < ?"
# Results may be large, and nothing of them is listed.
_LISTED = (
    "id, state, name, document, children, inputs, options, created, updated, started, ended, "
    "deadline, owner, fence, lease_until, cancelling, error, summary"
)


class FoundRuns(Rows):
    """The table of runs, as it is searched."""

    def run(self, run_id: str) -> Run:
        """Return a run, found by its id or by the beginning of it.

        Raises:
            UnknownName: there is no such run, or several begin like that.
            DamagedRow: what is recorded of it is damaged.
        """
        return run_of(self._row(run_id))

    def listed(self, run_id: str) -> Run:
        """Return a run as `runs` does: one that is damaged says so in its error.

        Raises:
            UnknownName: there is no such run, or several begin like that.
        """
        return _listed(self._row(run_id))

    def _row(self, run_id: str) -> Any:
        rows = self.database.read("SELECT * FROM runs WHERE id = ?", (run_id,))
        if not rows and len(run_id) >= SHORTEST:
            query = f"SELECT * FROM runs WHERE {_FROM} LIMIT 2"
            rows = self.database.read(query, (run_id, run_id + _LAST))
        if len(rows) != 1:
            raise UnknownName("run", run_id, self._newest())
        return rows[0]

    def is_run(self, run_id: str) -> bool:
        """Return whether there is a run of exactly that id."""
        return bool(self.database.read("SELECT 1 FROM runs WHERE id = ?", (run_id,)))

    def runs(
        self, states: Sequence[str] = (), *, limit: int = 100, before: str | None = None
    ) -> list[Run]:
        """Return runs in any of these states, newest first, without their results.

        One that is damaged says so in its error.

        `before` is the id of a run; only older ones are returned.

        Raises:
            UnknownName: there is no run `before`.
        """
        older, values = "", tuple[Any, ...]()
        if before is not None:
            last = self.run(before)
            older, values = "AND (created, id) < (?, ?)", (last.created, last.id)
        found: list[Any] = []
        for state in dict.fromkeys(states) or (None,):
            here, mine = ("1 = 1", ()) if state is None else ("state = ?", (state,))
            found += self.database.read(
                f"SELECT {_LISTED} FROM runs WHERE {here} {older} "
                "ORDER BY created DESC, id DESC LIMIT ?",
                (*mine, *values, limit),
            )
        runs = list(map(_listed, found))
        if len(states) > 1:
            runs.sort(key=lambda run: (run.created, run.id), reverse=True)
        return runs[:limit]

    def last_id(self, prefix: str, length: int, *, unended: bool = False) -> str | None:
        """Return the last id, in order, of a given length that has a digit after a prefix.

        None without one. With `unended` only of runs that have not ended.
        """
        more = "AND ended IS NULL" if unended else ""
        rows = self.database.read(
            f"SELECT id FROM runs WHERE {_FROM} AND length(id) = ? {more} "
            "ORDER BY id COLLATE BINARY DESC LIMIT 1",
            (f"{prefix}0", f"{prefix}:", length),
        )
        return rows[0]["id"] if rows else None

    def count(self, states: Sequence[str]) -> int:
        """Return how many runs are in one of these states."""
        query = f"SELECT count(*) AS n FROM runs WHERE state IN ({marks(states)})"
        return int(self.database.read(query, states)[0]["n"])

    def is_any(self, state: str) -> bool:
        """Return whether any run is in a state."""
        return bool(self.database.read("SELECT 1 FROM runs WHERE state = ? LIMIT 1", (state,)))

    def _newest(self) -> list[str]:
        rows = self.database.read(
            "SELECT id FROM runs ORDER BY created DESC, id DESC LIMIT ?", (SUGGESTED_FROM,)
        )
        return [row["id"] for row in rows]


def _listed(row: Any) -> Run:
    try:
        return run_of(row)
    except DamagedRow as error:
        times = {
            name: row[name]
            for name in ("created", "updated", "started", "ended")
            if isinstance(row[name], int | float)
        }
        state: RunState = row["state"] if row["state"] in get_args(RunState) else "held"
        return Run(str(row["id"]), state, "", str(row["name"]), error=str(error), **times)
