"""The store of durable runs, in one SQLite file or in a PostgreSQL database.

JSON only. Secrets are replaced by their names on the way in (`rows.Rows`, `sealing`).
"""

from __future__ import annotations

from pathlib import Path

from sim_devin.clock import Clock
from sim_devin.store.act_rows import ActRows
from sim_devin.store.block_rows import BlockRows
from sim_devin.store.run_rows import RunRows
from sim_devin.store.schema import MIGRATIONS
from sim_devin.store.sealing import Seals
from sim_devin.store.session_rows import SessionRows
from sim_devin.store.sqlite_file import IN_MEMORY, SqliteFile
from sim_devin.store.wait_rows import WaitRows


class SqlStore(RunRows, BlockRows, WaitRows, SessionRows, ActRows):
    """The store. Safe for many threads, many processes, and with PostgreSQL many machines."""

    def __repr__(self) -> str:
        return f"SqlStore({self.database.name!r})"

    def now(self, clock: Clock) -> float:
        """Return the time that all processes over the store share: the database's.

        A simulated clock (`Clock` with ``simulated``) is the time of everything instead.
        """
        return clock.time() if getattr(clock, "simulated", False) else self.database.time()

    def sealed(self, seals: Seals) -> SqlStore:
        """Return the same store, seen by someone who knows the secrets of runs."""
        return SqlStore(self.database, seals)

    def close(self) -> None:
        """Close the connection."""
        self.database.close()


def open_store(place: str | Path = IN_MEMORY) -> SqlStore:
    """Return the store of a place: a file, ``:memory:``, or a ``postgresql://`` address.

    Raises:
        StoreError: it cannot be used; says why.
        MissingDependency: it is in PostgreSQL, and the extra for that is not installed.
    """
    if str(place).startswith(("postgresql://", "postgres://")):
        from sim_devin.store.postgres import PostgresDatabase

        return SqlStore(PostgresDatabase(str(place), MIGRATIONS))
    return SqlStore(SqliteFile(place, MIGRATIONS))
