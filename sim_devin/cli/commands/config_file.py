"""Read the config file, and set one credential in it while preserving everything else."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from sim_devin.errors import CallerError
from sim_devin.store.whole_file import PRIVATE, write_whole


def read(path: Path) -> dict[str, Any]:
    """Return the config file's content; empty if the file does not exist.

    Raises:
        CallerError: it cannot be read, or is not TOML.
    """
    return _parsed(_text(path), path)


def write_credential(path: Path, connection: str, field: str, value: str) -> None:
    """Set one field of a connection in the config file and make it readable by its owner alone.

    Everything else in the file stays, including comments.

    Raises:
        CallerError: the file is not TOML, or its layout cannot be edited automatically.
    """
    text = _text(path)
    wanted = _parsed(text, path)
    line = f"{field} = {json.dumps(value)}"
    changed = _with_line(text, f"credentials.{connection}", field, line)
    try:
        wanted.setdefault("credentials", {}).setdefault(connection, {})[field] = value
        fits = tomllib.loads(changed) == wanted
    except (AttributeError, TypeError, RecursionError, tomllib.TOMLDecodeError):
        fits = False
    if not fits:
        raise CallerError(
            f"{path} has a layout that cannot be edited automatically.",
            hint=f"Add the {field} under [credentials.{connection}] yourself.",
        )
    _replace(path, changed)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise CallerError(f"The config file {path} is not UTF-8 text.") from None
    except OSError as error:
        raise CallerError(f"The config file {path} cannot be read: {error.strerror}.") from None


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        # The error's own text may quote a key.
        raise CallerError(f"The config file {path} is not valid TOML.") from None


def _with_line(text: str, table: str, field: str, line: str) -> str:
    """Return `text` with `line` set in `table`, replacing an earlier line of that field."""
    lines = text.splitlines()
    header = re.compile(rf"\s*\[\s*{re.escape(table)}\s*\]\s*(#.*)?")
    start = next((at for at, item in enumerate(lines) if header.fullmatch(item)), None)
    if start is None:
        gap = [""] if lines else []
        return "\n".join([*lines, *gap, f"[{table}]", line, ""])
    older = re.compile(rf"\s*{re.escape(field)}\s*=")
    for at in range(start + 1, len(lines)):
        if lines[at].lstrip().startswith("["):
            break
        if older.match(lines[at]):
            return "\n".join([*lines[:at], line, *lines[at + 1 :], ""])
    return "\n".join([*lines[: start + 1], line, *lines[start + 1 :], ""])


def _replace(path: Path, text: str) -> None:
    """Write a file atomically, readable by its owner alone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, text.encode(), mode=PRIVATE)
    except OSError as error:
        raise CallerError(f"{path} cannot be written: {error.strerror}.") from None
