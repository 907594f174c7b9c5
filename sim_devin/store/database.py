"""What the store needs of a database: the SQL that SQLite and PostgreSQL both understand.

Statements are written once, with ``?`` for values. A write is a transaction that nobody else
writes during, in this process or another: what is read inside it stays true until it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Cursor(Protocol):
    """The outcome of a statement; rows are read by the names of their columns."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        ...

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        ...


class Connection(Protocol):
    """Executes statements inside one transaction."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Cursor:
        """Execute a statement."""
        ...


class Database(Protocol):
    """A database that threads and processes share.

    Attributes:
        name: how it is called in messages; holds no password.
    """

    name: str

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query.

        Raises:
            StoreError: the database cannot be read.
        """
        ...

    def write(self) -> AbstractContextManager[Connection]:
        """Return a transaction; one inside another is a part of it.

        Raises:
            StoreError: the database cannot be written; nothing of the transaction is kept.
        """
        ...

    def time(self) -> float:
        """Return the time by which leases are given, the same for all processes."""
        ...

    def close(self) -> None:
        """Close the connection; the object cannot be used any more."""
        ...
