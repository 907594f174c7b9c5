"""A PostgreSQL database that the processes of several machines share.

Speaks the SQL that is written for SQLite. Writers take turns, as they do there, by one lock
of the database, so that the same statements are safe for the same reason.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sim_devin.errors import MissingDependency, StoreError, StoreUnavailable
from sim_devin.store.database import Result, storable
from sim_devin.store.schema import Migration, OneMachine

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.rows import dict_row
except ImportError:
    raise MissingDependency("Keeping runs in PostgreSQL", "postgres") from None

_T = TypeVar("_T")

BUSY = 30  # seconds to wait for another process that writes
TURN = 0x51DE71  # the number of the lock that writers take turns by
# A machine that vanishes in the middle of a write must not keep the others from theirs.
SETTINGS = (
    f"-c lock_timeout={BUSY}s -c idle_in_transaction_session_timeout={BUSY}s "
    "-c synchronous_commit=on"
)
# Nothing is wrong with what is stored: it can be used as soon as this has passed.
_TEMPORARY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.ReadOnlySqlTransaction,
)
# What the two call by different names.
_DIALECT = (
    (re.compile(r"INTEGER PRIMARY KEY( AUTOINCREMENT)?"), "BIGSERIAL PRIMARY KEY"),
    (re.compile(r"\bINTEGER\b"), "BIGINT"),
    (re.compile(r"\bREAL\b"), "DOUBLE PRECISION"),
    (re.compile(r"\) WITHOUT ROWID"), ")"),
    (re.compile(r"json_each\((\w+\.\w+)\)"), r"json_each_text(\1::json)"),
    (re.compile(r"json_extract\((\w+), '\$\.(\w+)'\)"), r"(\1::json ->> '\2')"),
)


class PostgresDatabase:
    """A connection that threads take turns with (`database.Database`).

    Args:
        address: ``postgresql://user@host/name``. A password in it is shown nowhere.
        migrations: see `schema.MIGRATIONS`, the first for an empty database; a table
            counts them.

    Raises:
        StoreError: the database cannot be used; says why.
    """

    locks = None

    def __init__(self, address: str, migrations: Sequence[Migration]) -> None:
        self._address = address
        self._lock = threading.RLock()
        self._closed = False
        self._began = 0.0  # when the last write began to wait for its turn
        self.inside = False
        try:
            parts = conninfo_to_dict(address)
        except psycopg.Error:
            # The library's message quotes the address, password included.
            raise StoreError(
                "The address of the run store is not a PostgreSQL URL.",
                hint="Write postgresql://user@host/name in SIM_DEVIN_STORE.",
            ) from None
        self.name = f"postgresql://{parts.get('host', '')}/{parts.get('dbname', '')}"
        self._password = str(parts.get("password") or "")
        self._options = f"{SETTINGS} {parts.get('options') or ''}"
        try:
            self._connection = self._connect()
        except psycopg.Error as error:
            raise self._failed(error) from None
        try:
            self._migrate(migrations)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"PostgresDatabase({self.name!r})"

    def close(self) -> None:
        """Close the connection; the object cannot be used any more."""
        with self._lock:
            self._closed = True
            self._connection.close()

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query.

        Raises:
            StoreUnavailable: the database cannot be read now.
            StoreError: the database cannot be read.
        """
        with self._lock:
            try:
                return self._connected(lambda: self._execute(query, values).fetchall())
            except psycopg.Error as error:
                raise self._failed(error) from None

    @contextmanager
    def write(self) -> Iterator[Any]:
        """Yield something that executes statements, in a transaction that nobody writes during.

        Raises:
            StoreUnavailable: the database cannot be written now; nothing of the transaction is
                kept, or, if the connection broke at its very end, nobody knows.
            StoreError: the database cannot be written; nothing of the transaction is kept.
        """
        with self._lock:
            if self.inside:  # part of a larger one
                yield self
                return
            self._began = time.monotonic()
            try:
                self._connected(self._take_turn)
                self.inside = True
                try:
                    yield self
                except BaseException:
                    self._roll_back()
                    raise
                self._connection.execute("COMMIT")
            except psycopg.Error as error:
                self._roll_back()
                raise self._failed(error) from None
            finally:
                self.inside = False

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Result:
        """Execute a statement of a transaction and fetch everything it returns."""
        cursor = self._execute(statement, values)
        return Result(cursor.fetchall() if cursor.description else [], cursor.rowcount)

    def time(self) -> float:
        """Return the server's time: the clocks of several machines never agree."""
        (row,) = self.read("SELECT extract(epoch FROM clock_timestamp())::float8 AS now")
        now: float = row["now"]
        return now

    def offset(self) -> float:
        """Return how far the server's time of day is ahead of this machine's, in seconds."""
        before = time.time()
        theirs = self.time()
        return theirs - (before + time.time()) / 2

    # -- inside ----------------------------------------------------------------------------

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            self._address,
            autocommit=True,
            row_factory=dict_row,
            options=self._options,
            application_name="sim-devin",
            connect_timeout=10,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )

    def _execute(self, statement: str, values: Sequence[Any]) -> psycopg.Cursor[Any]:
        # A text in PostgreSQL cannot hold the character 0.
        safe = [
            item.replace("\0", "\ufffd") if isinstance(item, str) else item
            for item in storable(values)
        ]
        return self._connection.execute(_translated(statement), safe)

    def _connected(self, act: Callable[[], _T]) -> _T:
        """Do what may be done again, once more if the connection was lost meanwhile."""
        try:
            return act()
        except psycopg.OperationalError:
            if self.inside or self._closed or not self._connection.closed:
                raise
        self._connection = self._connect()
        return act()

    def _take_turn(self) -> None:
        self._connection.execute("BEGIN")
        self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (TURN,))

    def _roll_back(self) -> None:
        with suppress(psycopg.Error):
            self._connection.execute("ROLLBACK")

    def _migrate(self, migrations: Sequence[Migration]) -> None:
        with self.write() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"
            )
            row = connection.execute("SELECT version FROM schema_version").fetchone()
            version = 0 if row is None else row["version"]
            if version > len(migrations):
                raise StoreError(
                    f"The run store {self.name} was written by a newer version of sim-devin.",
                    hint="Upgrade sim-devin, or choose another database with SIM_DEVIN_STORE.",
                )
            for script in migrations[version:]:
                if isinstance(script, OneMachine):
                    continue
                if callable(script):
                    script(connection)
                    continue
                for pattern, instead in _DIALECT:
                    script = pattern.sub(instead, script)
                for statement in script.split(";"):
                    if statement.strip():
                        connection.execute(statement)
            if version < len(migrations):
                connection.execute("DELETE FROM schema_version")
                connection.execute("INSERT INTO schema_version VALUES (?)", (len(migrations),))

    def _failed(self, error: psycopg.Error) -> StoreError:
        text = " ".join(str(error).split())
        if self._password:
            text = text.replace(self._password, "***")
        if self._closed:
            hint = "The app was closed."
        elif isinstance(error, psycopg.errors.LockNotAvailable):
            waited = time.monotonic() - self._began
            hint = f"Another process kept it locked for the entire {waited:.1f} s of waiting."
        elif isinstance(error, psycopg.errors.DiskFull):
            hint = "Free some space on the server's disk; existing records are safe."
        elif isinstance(error, psycopg.errors.InsufficientPrivilege):
            hint = "The user needs the right to create tables in the database's schema."
        elif isinstance(error, psycopg.OperationalError):
            hint = (
                "Check that the server is running, and the user, password and name of the database."
            )
        elif isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
            hint = "The server is read-only; it may be a standby."
        else:
            hint = ""
        kind = (
            StoreUnavailable if isinstance(error, _TEMPORARY) and not self._closed else StoreError
        )
        return kind(f"The run store {self.name} cannot be used: {text}.", hint=hint)


def _translated(statement: str) -> str:
    """Return a statement with the place holders of psycopg."""
    plain = statement.replace("COLLATE BINARY", 'COLLATE "C"')
    return plain.replace("%", "%%").replace("?", "%s")
