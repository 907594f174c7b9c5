"""What was spent on a day, in a file that all processes of a machine share."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sim_devin.errors import CallerError, StoreError
from sim_devin.policy import Spent


class FileSpending:
    """Keeps the day's total in SQLite, so that a restart does not start the day anew.

    Args:
        path: the file; it and its folder are made if they are missing.

    Raises:
        CallerError: the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run = 0.0
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as database:
                database.execute(
                    "CREATE TABLE IF NOT EXISTS spent (day TEXT PRIMARY KEY, acus REAL NOT NULL)"
                )
        except (OSError, sqlite3.Error) as error:
            raise CallerError(f"{path} cannot keep what was spent: {error}.") from None

    def reserve(self, day: str, decide: Callable[[Spent], float]) -> None:
        """Call ``decide(spent) -> amount`` and add the amount to the run and to `day`.

        Raises:
            StoreError: the file cannot be read or written any more.
        """
        with self._alone() as database:
            row = database.execute("SELECT acus FROM spent WHERE day = ?", (day,)).fetchone()
            amount = decide(Spent(self._run, row[0] if row else 0.0))
            self._add(database, day, amount)

    def give_back(self, day: str, amount: float) -> None:
        """Take an amount off again."""
        with self._alone() as database:
            self._add(database, day, -amount)

    @contextmanager
    def _alone(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one step; no other thread or process decides meanwhile.

        Raises:
            StoreError: the file cannot be read or written any more.
        """
        try:
            with self._lock, closing(self._connect()) as database:
                database.execute("BEGIN IMMEDIATE")
                yield database
        except sqlite3.Error as error:
            raise StoreError(
                f"{self._path} cannot keep what was spent: {error}.",
                hint="Nothing is spent without a record of it. Mend the file, or remove it.",
            ) from None

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=30, isolation_level=None)

    def _add(self, database: sqlite3.Connection, day: str, amount: float) -> None:
        if amount:
            database.execute(
                "INSERT INTO spent VALUES (?, ?) "
                "ON CONFLICT (day) DO UPDATE SET acus = acus + excluded.acus",
                (day, amount),
            )
        database.execute("COMMIT")
        self._run += amount
