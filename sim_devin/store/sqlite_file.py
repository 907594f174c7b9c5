"""One SQLite file that several processes share: opened, migrated, and its errors in our words."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sim_devin.errors import StoreError

BUSY = 30.0  # seconds to wait for another process that writes
IN_MEMORY = ":memory:"


class SqliteFile:
    """A connection that threads take turns with (`database.Database`).

    Every write is a transaction that is on the disk when it returns: what a run is about to
    do must be known even after a power cut.

    Args:
        path: the file, created readable for its owner only; ``":memory:"`` for none.
        migrations: scripts, the first for an empty file; ``user_version`` counts them.

    Raises:
        StoreError: the file cannot be used; says why.
    """

    def __init__(self, path: str | Path, migrations: Sequence[str]) -> None:
        self.name = self.path = str(path)
        self._lock = threading.RLock()
        self._closed = False
        if self.path != IN_MEMORY:
            _create_private(Path(self.path))
        try:
            self._connection = sqlite3.connect(
                self.path, timeout=BUSY, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._migrate(migrations)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def __repr__(self) -> str:
        return f"SqliteFile({self.path!r})"

    def close(self) -> None:
        """Close the connection; the object cannot be used any more."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._connection.close()

    def read(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Return the rows of a query.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise self._failed(error) from error

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection inside a transaction that nobody else can write during.

        Raises:
            StoreError: the file cannot be written; nothing of the transaction is kept.
        """
        with self._lock:
            if self.inside:  # part of a larger one
                yield self._connection
                return
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                except BaseException:
                    self._roll_back()
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise self._failed(error) from error

    @property
    def inside(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    def time(self) -> float:
        """Return the time of this machine, which all processes over a file share."""
        return time.time()

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _migrate(self, migrations: Sequence[str]) -> None:
        with self.write() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(migrations):
                raise StoreError(
                    f"The run store {self.path} was written by a newer version of sim-devin.",
                    hint="Upgrade sim-devin, or choose another file with SIM_DEVIN_STORE.",
                )
            for script in migrations[version:]:
                for statement in script.split(";"):
                    if statement.strip():
                        connection.execute(statement)
            if version < len(migrations):
                connection.execute(f"PRAGMA user_version = {len(migrations)}")

    def _failed(self, error: sqlite3.Error) -> StoreError:
        text = str(error)
        if self._closed:
            hint = "The app was closed."
        elif "full" in text:
            hint = "Free some space on the disk; what was recorded before is safe."
        elif "malformed" in text or "not a database" in text:
            hint = "The file is damaged: restore a backup, or choose another with SIM_DEVIN_STORE."
        elif "locked" in text or "busy" in text:
            hint = f"Another process has kept it locked for more than {BUSY:g} s."
        elif "readonly" in text or "unable to open" in text:
            hint = "Check the permissions of the file and of its folder."
        else:
            hint = ""
        return StoreError(f"The run store {self.path} cannot be used: {text}.", hint=hint)


def _create_private(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives the files beside it the permissions of this one.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(
            f"The run store {path} cannot be opened: {error.strerror}.",
            hint="Choose another file with SIM_DEVIN_STORE.",
        ) from None
