"""One SQLite file that several processes share: opened, migrated, and its errors in our words."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sim_devin.calls.local_faults import cannot_grow, remedy
from sim_devin.clock import boottime
from sim_devin.errors import StoreError, StoreUnavailable
from sim_devin.store.database import Result, storable
from sim_devin.store.lock_file import LockFile, Locks, MemoryLocks
from sim_devin.store.one_machine import require_local
from sim_devin.store.schema import Migration

BUSY = 30.0  # seconds to wait for another process that writes
SLICE = 0.5  # seconds that SQLite itself waits at a time, deaf to signals
PAUSE = 0.01  # seconds before another try when SQLite would not wait at all
IN_MEMORY = ":memory:"
CLOSED = "The app was closed."

# Nothing is wrong with the file: it can be used as soon as this has passed.
_TEMPORARY = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
    )
)
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class SqliteFile:
    """A connection that threads take turns with (`database.Database`).

    Every write is a transaction that is on the disk when it returns: what a run is about to
    do must be known even after a power cut. A file that must not be written can be read.

    Args:
        path: the file, created readable for its owner only; ``":memory:"`` for none.
        migrations: see `schema.MIGRATIONS`, the first for an empty file; ``user_version``
            counts them.

    Raises:
        StoreUnavailable: the file cannot be used now; says why.
        StoreError: the file cannot be used; says why.
    """

    _connection: sqlite3.Connection

    def __init__(self, path: str | Path, migrations: Sequence[Migration]) -> None:
        self.name = self.path = str(path)
        self._migrations = migrations
        self._lock = threading.RLock()
        self._closed = False
        self._read_only: StoreUnavailable | None = None  # why it can only be read
        self.locks: Locks = MemoryLocks() if self.path == IN_MEMORY else LockFile(self.path)
        try:
            self._open_somehow()
        except BaseException:
            self.locks.close()
            raise

    def __repr__(self) -> str:
        return f"SqliteFile({self.path!r})"

    def close(self) -> None:
        """Close the connection; the object cannot be used any more."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._connection.close()
                self.locks.close()

    def read(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Return the rows of a query.

        Raises:
            StoreUnavailable: the file cannot be read now.
            StoreError: the file cannot be read.
        """
        with self._lock:
            return self._patiently(query, values).rows

    @contextmanager
    def write(self) -> Iterator[SqliteFile]:
        """Yield what executes statements, inside a transaction that nobody else writes during.

        Raises:
            StoreUnavailable: the file cannot be written now; nothing of the transaction is kept.
            StoreError: the file cannot be written; nothing of the transaction is kept.
        """
        with self._lock:
            if self._closed:
                raise StoreError(f"The run store {self.path} was closed.", hint=CLOSED)
            if self.inside:  # part of a larger one
                yield self
                return
            if self._read_only is not None:
                self._open_again()
            self.locks.confirm()
            with self._transaction():
                yield self

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Result:
        """Execute a statement of a transaction and fetch everything it returns."""
        cursor = self._connection.execute(statement, storable(values))
        try:
            rows = cursor.fetchall()
            return Result(rows, cursor.rowcount)
        finally:
            cursor.close()

    @property
    def inside(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    def time(self) -> float:
        """Return the time since this machine started, which all processes over a file share.

        Setting the machine's clock does not change it.
        """
        return boottime()

    def offset(self) -> None:
        """Return None: all processes over a file go by the clock of one machine."""
        return

    # -- inside ----------------------------------------------------------------------------

    def _patiently(self, statement: str, values: Sequence[Any] = ()) -> Result:
        """Execute a statement, for as long as `BUSY` says again if another process is in the way.

        SQLite does not wait where waiting could not help by itself, as during a recovery of the
        file or while another process changes its mode.
        """
        began = time.monotonic()
        while True:
            try:
                return self.execute(statement, values)
            except sqlite3.Error as error:
                waited = time.monotonic() - began
                if _code(error) not in _LOCKED or waited >= BUSY:
                    raise self._failed(error, waited) from error
            time.sleep(PAUSE)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._patiently("BEGIN IMMEDIATE")
        try:
            yield
            self._patiently("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise self._failed(error) from error
        except BaseException:
            self._roll_back()
            raise

    def _open_somehow(self) -> None:
        try:
            self._open()
        except StoreUnavailable as error:
            if not self._open_read_only():
                raise
            self._read_only = error

    def _open(self) -> None:
        if isinstance(self.locks, LockFile):
            require_local(self.path)
            _create_private(Path(self.path))
            self.locks.open()
        self._connect(self.path)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._patiently(f"PRAGMA {pragma}")
        self._migrate()

    def _connect(self, address: str) -> None:
        try:
            self._connection = sqlite3.connect(
                address,
                timeout=min(BUSY, SLICE),
                isolation_level=None,
                check_same_thread=False,
                uri=address.startswith("file:"),
            )
        except sqlite3.Error as error:
            raise self._failed(error) from error
        self._connection.row_factory = sqlite3.Row

    def _open_read_only(self) -> bool:
        """Open a file that exists and must not be written; return whether that could be done."""
        path = Path(self.path)
        if self.path == IN_MEMORY or not path.is_file():
            return False
        ways = ["mode=ro"]
        log = Path(f"{path}-wal")
        if not log.exists() or not log.stat().st_size:
            # Where even the files beside it cannot be made, and nothing is in them.
            ways.append("mode=ro&immutable=1")
        for way in ways:
            with suppress(StoreUnavailable):
                self._connect(f"file:{quote(str(path.resolve()))}?{way}")
                if self._version() < len(self._migrations):
                    self._read_copy()
                return True
        return False

    def _read_copy(self) -> None:
        """Go on with a copy in memory, brought up to date, of a file that cannot be."""
        old = self._connection
        self._connect(IN_MEMORY)
        old.backup(self._connection)
        old.close()
        self._migrate()

    def _open_again(self) -> None:
        """Open a file that could only be read so that it can be written, now that it may be.

        Raises:
            StoreUnavailable: it still must not be written.
        """
        old = self._connection
        try:
            self._open()
        except StoreError as error:
            self._connection = old
            raise error from None
        self._read_only = None
        old.close()

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _version(self) -> int:
        return int(self._patiently("PRAGMA user_version").rows[0][0])

    def _migrate(self) -> None:
        if self._version() == len(self._migrations):
            return  # without a write, for which others would have to wait
        with self._transaction():
            version = self._version()
            if version > len(self._migrations):
                raise StoreError(
                    f"The run store {self.path} was written by a newer version of sim-devin.",
                    hint="Upgrade sim-devin, or choose another file with SIM_DEVIN_STORE.",
                )
            for script in self._migrations[version:]:
                if callable(script):
                    script(self)
                    continue
                for statement in script.split(";"):
                    if statement.strip():
                        self.execute(statement)
            self.execute(f"PRAGMA user_version = {len(self._migrations)}")

    def _failed(self, error: sqlite3.Error, waited: float = 0.0) -> StoreError:
        code, kind = _code(error), StoreError
        folder = Path(self.path).parent
        if self._closed:
            hint = CLOSED
        elif code in _DAMAGED:
            hint = "The file is damaged: restore a backup, or choose another with SIM_DEVIN_STORE."
        elif code in _TEMPORARY:
            kind = StoreUnavailable
            if code in _LOCKED:
                hint = f"Another process kept it locked for the entire {waited:.1f} s of waiting."
            elif code == sqlite3.SQLITE_FULL:
                hint = f"Free some space on the disk of {folder}; existing records are safe."
            elif code == sqlite3.SQLITE_NOMEM:
                hint = "This machine is out of memory."
            else:
                hint = self._probed()
        else:
            hint = ""
        return kind(f"The run store {self.path} cannot be used: {error}.", hint=hint)

    def _probed(self) -> str:
        """Return what to do about a file that cannot be opened or written, after trying to."""
        path = Path(self.path)
        try:
            os.close(os.open(path, os.O_RDWR))
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            return remedy(error, path)
        if any(cannot_grow(file) for file in (path, Path(f"{path}-wal"))):
            return remedy(OSError(errno.EFBIG, ""))
        return f"The disk of {path.parent} may be failing or over a quota."


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code of an error; 0 if it is none of SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _create_private(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives the files beside it the permissions of this one.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreUnavailable(
            f"The run store {path} cannot be opened: {error.strerror}.",
            hint=f"{remedy(error, path)} Or choose another file with SIM_DEVIN_STORE.".strip(),
        ) from None
