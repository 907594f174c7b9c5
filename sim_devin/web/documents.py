"""Workflow files in a folder: listed, read, and written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from sim_devin.engine.document import parse_workflow
from sim_devin.errors import CallerError, UnknownName
from sim_devin.specs.json_input import read_json
from sim_devin.store.whole_file import behind_links, write_whole
from sim_devin.web.json_text import rewrite

ENDING = ".json"
# No separators, no leading dot: a name stays directly in the folder on every system.
_NAME = re.compile(r"[\w][\w .()\[\]-]{0,119}")
_LONGEST = 255  # bytes that file systems take for a name, with its ending


class Changed(CallerError):
    """The file is not what the caller has seen. `etag` is of what it is now; "" if gone."""

    def __init__(self, name: str, etag: str) -> None:
        super().__init__(
            f"The workflow {name!r} was changed elsewhere.",
            hint="Reload it, or save yours under another name.",
        )
        self.etag = etag


@dataclass(frozen=True)
class Document:
    """A workflow file as it was read."""

    name: str
    text: str
    content: Any
    etag: str


class Folder:
    """The workflows of one folder, by file name without ``.json``.

    A link to a file elsewhere is one of them, is read and written through, and stays a link.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()

    def names(self) -> list[str]:
        """Return the names of the workflow files, sorted as people sort."""
        found = [
            item.name.removesuffix(ENDING)
            for item in self.path.glob(f"*{ENDING}")
            if _NAME.fullmatch(item.name.removesuffix(ENDING)) and item.is_file()
        ]
        return sorted((name for name in found if self._holds_workflow(name)), key=str.casefold)

    def read(self, name: str) -> Document:
        """Return a workflow file.

        Raises:
            UnknownName: there is none of that name.
            CallerError: it cannot be read, or is not JSON.
        """
        lost = ""
        with _saying(f"{name}{ENDING} cannot be read"):
            try:
                data = self._bytes(name)
            except FileNotFoundError as error:  # a link that leads to no file
                data, lost = None, f"{name}{ENDING}: {error.strerror}."
        if data is None:
            raise UnknownName("workflow", name, () if lost else self.names(), hint=lost)
        content = read_json(data, f"{name}{ENDING}")
        return Document(name, data.decode("utf-8-sig"), content, _etag(data))

    def write(self, name: str, content: Any, *, etag: str | None) -> str:
        """Write a workflow and return its new etag.

        What is equal in the file keeps its bytes. `etag` is that of the version the caller
        has seen; None for a file that must not exist yet.

        Raises:
            Changed: the file is another.
            InvalidWorkflow: it is not a workflow.
            CallerError: it cannot be written.
        """
        parse_workflow(content)
        file = self._file(name)
        with self._lock, _saying(f"{name}{ENDING} cannot be written"):
            before = self._bytes(name)
            if (None if before is None else _etag(before)) != etag:
                raise Changed(name, "" if before is None else _etag(before))
            old = "" if before is None else before.decode("utf-8-sig")
            data = rewrite(old, content).encode()
            if data != before:
                write_whole(file, data)
            return _etag(data)

    def delete(self, name: str, *, etag: str) -> None:
        """Delete a workflow file.

        Raises:
            UnknownName: there is none of that name.
            Changed: it is not the version the caller has seen.
            CallerError: it cannot be deleted.
        """
        with self._lock, _saying(f"{name}{ENDING} cannot be deleted"):
            found = self.read(name)
            if found.etag != etag:
                raise Changed(name, found.etag)
            self._file(name).unlink()

    def rename(self, name: str, to: str, *, etag: str) -> None:
        """Give a workflow file another name; its bytes stay, and no file is written over.

        Raises:
            UnknownName: there is none of that name.
            Changed: it is not the version the caller has seen.
            CallerError: the new name is taken, or cannot be one.
        """
        with self._lock, _saying(f"{name}{ENDING} cannot be renamed"):
            found = self.read(name)
            if found.etag != etag:
                raise Changed(name, found.etag)
            file, target = self._file(name), self._file(to)
            try:
                target.hardlink_to(file)  # unlike a rename, it fails where there is a file
            except FileExistsError:
                raise CallerError(f"The file {to}{ENDING} already exists.") from None
            file.unlink()

    def _bytes(self, name: str) -> bytes | None:
        """Return what is in a file, also behind a link; None if there is no such file.

        Raises:
            OSError: it is no file that can be read whole, or a link to nowhere.
        """
        file = behind_links(self._file(name))
        if not file.exists() or file.is_dir():
            return None
        if not file.is_file():  # a device or a pipe may have no end
            raise OSError(errno.EINVAL, "it is not a regular file")
        return file.read_bytes()

    def _file(self, name: str) -> Path:
        is_long = len(f"{name}{ENDING}".encode(errors="replace")) > _LONGEST
        if is_long or not _NAME.fullmatch(name) or name != name.strip():
            raise CallerError(
                f"Invalid workflow name {name[:60]!r}.",
                hint="Use letters, digits, spaces and - _ . ( ), up to 120.",
            )
        return self.path / f"{name}{ENDING}"

    def _holds_workflow(self, name: str) -> bool:
        try:
            content = self.read(name).content
        except CallerError:
            return False
        state = content.get("state", content) if isinstance(content, dict) else None
        return isinstance(state, dict) and {"blocks", "edges"} <= state.keys()


@contextmanager
def _saying(what: str) -> Iterator[None]:
    """Turn what the file system refuses into an error that says what was tried and why not."""
    try:
        yield
    except OSError as error:
        raise CallerError(f"{what}: {error.strerror or error}.") from None


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
