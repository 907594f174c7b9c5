"""Files that are written whole or not at all, through links."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

PRIVATE = 0o600  # for its owner only


def behind_links(path: Path) -> Path:
    """Return the file that a path leads to, which need not exist unless a link leads there.

    Raises:
        OSError: links lead in a circle, or to no file.
    """
    if not path.is_symlink():
        return path
    try:
        return Path(os.path.realpath(path, strict=True))
    except FileNotFoundError:
        target = Path(path).readlink()
        raise FileNotFoundError(
            errno.ENOENT, f"it is a link to {target}, which does not exist"
        ) from None


def write_whole(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Put `data` into a file at once: a reader sees the old content or the new.

    A link stays one, and the file that it leads to is written.

    Args:
        path: the file; its folder must exist.
        data: the content.
        mode: permissions of the file; unless given, those it has, and `PRIVATE` for a new one.

    Raises:
        OSError: it cannot be written; what was there is unchanged.
    """
    file = behind_links(path)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if mode is None:
            mode = stat.S_IMODE(file.stat().st_mode) & 0o777 if file.exists() else PRIVATE
        Path(temporary).chmod(mode)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
