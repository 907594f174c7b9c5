"""What this machine refuses a process: descriptors, threads, space, permissions; and the remedy.

None of it is the fault of a run: it passes, or is fixed from outside, and then the same step
works.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
_SPACE = (errno.ENOSPC, errno.EDQUOT)
_RIGHTS = (errno.EACCES, errno.EPERM)
_SHORT = "This process is out of descriptors, memory or threads: raise `ulimit -n` and `-u`."
_LOOKUP = tuple(getattr(socket, name, None) for name in ("EAI_SYSTEM", "EAI_MEMORY"))
_ALMOST = 64 * 1024  # bytes below a limit at which the next write may pass it


def remedy(error: OSError, path: str | Path | None = None) -> str:
    """Return what to do about an error of the operating system; empty if nobody knows.

    `path` is the file that was being used.
    """
    code = error.errno
    if code == errno.EMFILE:
        limit = _most_descriptors()
        return f"This process cannot open more files and connections{limit}: raise `ulimit -n`."
    if code == errno.ENFILE:
        return "This machine cannot open more files: raise `sysctl fs.file-max`."
    if code in _SPACE:
        return f"Free some disk space{_folder_of(path)}."
    if code == errno.EFBIG:
        return "The file cannot grow any further: raise `ulimit -f`."
    if code == errno.EROFS:
        return f"The file system{_folder_of(path)} is mounted read-only."
    if code in _RIGHTS:
        return f"Check the permissions of the file and of its folder{_folder_of(path)}."
    if code in (errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN):
        return "This machine is out of memory or processes: end some, or raise `ulimit -u`."
    return ""


def local_fault(error: BaseException) -> tuple[str, str] | None:
    """Return why an attempt failed on this machine, and the remedy; None if it did not.

    An attempt that failed like this sent nothing: there was nothing yet to send it on. Looks
    through what `error` was raised from, since libraries wrap such errors.
    """
    for one in _chain(error):
        # Only what happens before there is a connection: no memory may be left in mid-request.
        if isinstance(one, OSError) and one.errno in _DESCRIPTORS:
            return one.strerror or str(one), remedy(one)
        if isinstance(one, socket.gaierror):
            # The system's resolver says all kinds of things when it cannot open a file.
            if one.errno in _LOOKUP:
                return one.strerror or str(one), _SHORT
            if (short := _without_descriptors()) is not None:
                return short.strerror or str(short), remedy(short)
        if isinstance(one, RuntimeError) and "can't start new thread" in str(one):
            return str(one), _SHORT
    return None


def _without_descriptors() -> OSError | None:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error if error.errno in _DESCRIPTORS else None
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from or carries, each once."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        # Not __context__: that may be of an attempt before this one.
        inner: list[object] = [one.__cause__, getattr(one, "reason", None), *one.args]
        waiting += [item for item in inner if isinstance(item, BaseException)]


def cannot_grow(path: Path) -> bool:
    """Return whether a file is as large as this process may make one."""
    if sys.platform == "win32" or not path.exists():  # no such limits
        return False
    import resource

    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return most != resource.RLIM_INFINITY and path.stat().st_size + _ALMOST > most


def _most_descriptors() -> str:
    if sys.platform == "win32":
        return ""
    import resource

    return f" than {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}"


def _folder_of(path: str | Path | None) -> str:
    return f" of {Path(path).parent}" if path else ""
