"""Locks on bytes of a file, given up by the operating system when their process ends.

A process that is killed gives its locks up at once, one that stands still keeps them, and clocks
have no part in it. On Linux they are those of an open file description; elsewhere they belong to
the process and are gone as soon as it closes the file anywhere, and on Windows they are those of
the C runtime. So a process opens each file once, whoever uses it, and keeps a list of what its
own threads hold: no system tells those apart.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sim_devin.calls.local_faults import remedy
from sim_devin.errors import StoreUnavailable
from sim_devin.store.one_machine import Mark

OFFSET = 1 << 20  # of the first byte that is locked; what stands in the file stands before
SUFFIX = ".locks"
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


class Locks(Protocol):
    """Locks by number, each held by one at a time."""

    def take(self, number: int) -> Hold | None:
        """Take a lock; None while another process, or another user in this one, holds it."""
        ...

    def confirm(self) -> None:
        """Say, before a write, that this machine uses what they are for."""
        ...

    def close(self) -> None:
        """Give up using them."""
        ...


@dataclass(frozen=True)
class Hold:
    """A lock that is held.

    Attributes:
        is_valid: returns whether it is held still, where others look.
        release: gives it up.
    """

    is_valid: Callable[[], bool]
    release: Callable[[], None]


class MemoryLocks:
    """The locks of a store that no other process sees."""

    def __init__(self) -> None:
        self._held: set[int] = set()
        self._guard = threading.Lock()

    def take(self, number: int) -> Hold | None:
        """Take a lock; None while another user holds it."""
        held = self._held
        with self._guard:
            if number in held:
                return None
            held.add(number)
        return Hold(
            lambda: number in self._held and held is self._held, lambda: held.discard(number)
        )

    def confirm(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


@dataclass
class _File:
    """A file of locks as this process has it open.

    Attributes:
        key: tells it from others, whatever it is called.
        mark: says in the file which machine uses it.
        held: the numbers of the locks that are held here.
        users: how many `LockFile` objects share it.
    """

    descriptor: int
    key: tuple[int, int]
    mark: Mark
    held: set[int] = field(default_factory=set)
    users: int = 0

    def close(self) -> None:
        """Close it, and with it give up all locks."""
        self.held.clear()
        os.close(self.descriptor)


class LockFile:
    """The locks beside a file, in one that is named after it, ``<file>.locks``.

    Where that is removed or replaced, all that was held in it counts for nothing.

    Args:
        path: the file that is used under the locks, with links resolved: a store that is opened
            by two names has one file of locks.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path) + SUFFIX
        self._file: _File | None = None

    def open(self) -> None:
        """Create or open the file.

        Raises:
            StoreUnavailable: that cannot be done.
            StoreError: the processes of another machine use it.
        """
        with _guard:
            self._current()

    def confirm(self) -> None:
        """Say, before a write, that this machine uses the file.

        Raises:
            StoreUnavailable: the file cannot be used now.
            StoreError: another machine uses it now.
        """
        with _guard:
            self._current().mark.renew()

    def take(self, number: int) -> Hold | None:
        """Take a lock; None while another process, or another user in this one, holds it.

        Raises:
            StoreUnavailable: no lock can be taken now.
            StoreError: another machine uses the file.
        """
        with _guard:
            file = self._current()
            if number in file.held:
                return None
            try:
                if not SET_LOCK(file.descriptor, OFFSET + number, True):
                    return None
            except OSError as error:
                raise self._failed(error) from error
            file.held.add(number)
        return Hold(
            lambda: number in file.held and file.key == self._key(),
            lambda: self._release(file, number),
        )

    def close(self) -> None:
        """Give up using the file. It is closed when nothing in this process uses it any more."""
        with _guard:
            self._leave()

    # -- inside ----------------------------------------------------------------------------

    def _release(self, file: _File, number: int) -> None:
        with _guard:
            if number in file.held:
                file.held.discard(number)
                SET_LOCK(file.descriptor, OFFSET + number, False)

    def _current(self) -> _File:
        """Return the file as it is there now."""
        key = self._key()
        if self._file is not None and self._file.key == key and _files.get(key) is self._file:
            return self._file
        self._leave()
        self._file = (key and _files.get(key)) or self._opened()
        self._file.users += 1
        return self._file

    def _opened(self) -> _File:
        try:
            flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
            descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise self._failed(error) from None
        try:
            mark = Mark(descriptor, self.path.removesuffix(SUFFIX))
            mark.put()
        except BaseException:
            os.close(descriptor)
            raise
        found = os.fstat(descriptor)
        file = _File(descriptor, (found.st_dev, found.st_ino), mark)
        _files[file.key] = file
        return file

    def _leave(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        file.users -= 1
        if file.users == 0 and _files.get(file.key) is file:
            del _files[file.key]
            file.close()

    def _key(self) -> tuple[int, int] | None:
        try:
            found = Path(self.path).stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from None
        return found.st_dev, found.st_ino

    def _failed(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(
            f"The file {self.path} cannot be used: {error.strerror}.",
            hint=remedy(error, self.path)
            or "The locks of the run store are in it: is it on a local disk?",
        )


_guard = threading.Lock()
_files: dict[tuple[int, int], _File] = {}


def _forget() -> None:
    """Let go, in a forked child, of what its parent holds: it would outlive the parent."""
    global _guard
    _guard = threading.Lock()
    for file in _files.values():
        file.close()
    _files.clear()


# -- the systems -------------------------------------------------------------------------------


def by_description(descriptor: int, offset: int, take: bool) -> bool:
    """Take or give up a lock of the open file description (Linux); return whether it is so.

    Where the kernel has no such locks, one of the process: the two exclude each other.
    """
    import fcntl

    kind = fcntl.F_WRLCK if take else fcntl.F_UNLCK
    flock = struct.pack("hhqqi0q", kind, os.SEEK_SET, offset, 1, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, flock)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return by_process(descriptor, offset, take)
        if error.errno in _HELD:
            return False
        raise
    return True


def by_process(descriptor: int, offset: int, take: bool) -> bool:
    """Take or give up a lock of the process (POSIX); return whether it is so."""
    import fcntl

    command = fcntl.LOCK_EX | fcntl.LOCK_NB if take else fcntl.LOCK_UN
    try:
        fcntl.lockf(descriptor, command, 1, offset, os.SEEK_SET)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True


def by_runtime(descriptor: int, offset: int, take: bool) -> bool:
    """Take or give up a lock of the C runtime (Windows); return whether it is so."""
    import msvcrt

    os.lseek(descriptor, offset, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK if take else msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True


SET_LOCK: Callable[[int, int, bool], bool] = (
    by_runtime
    if sys.platform == "win32"
    else by_description
    if sys.platform == "linux"
    else by_process
)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
