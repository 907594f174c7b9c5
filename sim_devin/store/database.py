"""What the store needs of a database: the SQL that SQLite and PostgreSQL both understand.

Statements are written once, with ``?`` for values. A write is a transaction that nobody else
writes during, in this process or another: what is read inside it stays true until it ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from sim_devin.store.lock_file import Locks


@dataclass(frozen=True)
class Result:
    """What a statement came to. Nothing of it is left in the database to be fetched.

    A cursor that outlives its transaction would keep the connection reading an old state.

    Attributes:
        rows: all rows, read by the names of their columns.
        rowcount: how many rows were changed.
    """

    rows: list[Any]
    rowcount: int

    def fetchone(self) -> Any:
        """Return the first row, or None."""
        return self.rows[0] if self.rows else None

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        return self.rows


_HALF = re.compile("[\ud800-\udfff]")


def storable(values: Sequence[Any]) -> list[Any]:
    """Return values with what UTF-8 has no bytes for, half of a character, replaced."""
    return [_HALF.sub("\ufffd", item) if isinstance(item, str) else item for item in values]


class DatabaseConnection(Protocol):
    """Executes statements inside one transaction."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Result:
        """Execute a statement and fetch everything it returns."""
        ...


class Database(Protocol):
    """A database that threads and processes share.

    Attributes:
        name: how it is called in messages; holds no password.
    """

    name: str

    @property
    def locks(self) -> Locks | None:
        """The locks of the one machine whose processes use it; None if machines may share it."""
        ...

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query.

        Raises:
            StoreUnavailable: the database cannot be read now.
            StoreError: it can never be read as it is.
        """
        ...

    def write(self) -> AbstractContextManager[DatabaseConnection]:
        """Return a transaction; one inside another is a part of it.

        Raises:
            StoreUnavailable: the database cannot be written now; nothing of the transaction
                is kept.
            StoreError: it can never be written as it is; the same.
        """
        ...

    def time(self) -> float:
        """Return the time by which leases are given, the same for all processes; no time of day."""
        ...

    def offset(self) -> float | None:
        """Return how far the database's time of day is ahead of this machine's, in seconds.

        None where they are the same clock.
        """
        ...

    def close(self) -> None:
        """Close the connection; the object cannot be used any more."""
        ...
