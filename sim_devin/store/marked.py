"""Stores in which a secret stood as a mark in a text, ``⟦env:TOKEN⟧``, brought up to date.

A mark counts only where this program wrote it; there, an opening bracket of the data was
``⟦:⟧``. What services said was stored as it came, and is text and nothing else.
"""
# ruff: noqa: S608 - only fixed fragments are put into statements, never values

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sim_devin.store.database import DatabaseConnection
from sim_devin.store.rows import json_text
from sim_devin.store.sealing import KEY, OWN, Hidden, Secret, names, to_json, to_text

_MARK = re.compile("⟦([^⟦⟧]*)⟧")
_BRACKET = ":"  # the mark of an opening bracket
_KINDS = ("env:", "app:", OWN)
_LOOKS_LIKE_IT = ("⟦", r"\u27e6", KEY)

# Table -> its key, and its columns.
_TABLES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "documents": (("id",), ("body",)),
    "runs": (("id",), ("name", "inputs", "options", "result", "error")),
    "blocks": (
        ("run_id", "key", "attempt"),
        ("output", "variables", "log", "error", "hint"),
    ),
    "steps": (("run_id", "step"), ("body",)),
    "answers": (("run_id", "step", "number"), ("body",)),
    "waits": (
        ("id",),
        ("point", "output", "about", "credentials", "seen", "answer", "error"),
    ),
    "events": (("id",), ("data",)),
    "sessions": (("run_id", "step"), ("credentials",)),
}
_TEXTS = ("name", "error", "hint")
_AS_IT_CAME = (("runs", "name"), ("events", "data"), ("waits", "seen"))
_BY_SESSIONS = ("session", "question", "sending")  # kinds of waits that services have a say in
_SAID = ("question", "reason", "url", "note")  # what they say of what a wait shows
_CLOSED_OPTIONS = ("snapshot", "defaultAnswer")


def give_marks_up(connection: DatabaseConnection) -> None:
    """Write the rows with marks, and those that look like `sealing` wrote them, again."""
    used: dict[str, set[str]] = {}  # by run, and by document
    for table, (key, columns) in _TABLES.items():
        where = " OR ".join(
            f"\"{name}\" LIKE '%{text}%'" for name in columns for text in _LOOKS_LIKE_IT
        )
        for row in connection.execute(f"SELECT * FROM {table} WHERE {where}").fetchall():
            values: dict[str, str] = {}
            for name in columns:
                if row[name] is not None:
                    value = _read(table, name, row)
                    values[name] = to_text(value) if name in _TEXTS else json_text(to_json(value))
                    owner = row["id" if table in ("documents", "runs") else "run_id"]
                    used.setdefault(owner, set()).update(names(value))
            settings = ", ".join(f'"{name}" = ?' for name in values)
            same = " AND ".join(f'"{name}" = ?' for name in key)
            connection.execute(
                f"UPDATE {table} SET {settings} WHERE {same}",
                (*values.values(), *(row[name] for name in key)),
            )
    for row in connection.execute("SELECT id, document, children, options FROM runs").fetchall():
        owners = (row["id"], row["document"], *json.loads(row["children"]).values())
        secrets = set().union(*(used.get(owner, ()) for owner in owners))
        secrets |= {f"env:{name}" for name in json.loads(row["options"]).get("secretNames") or ()}
        if secrets:
            connection.execute(
                "UPDATE runs SET secrets = ? WHERE id = ?", (json.dumps(sorted(secrets)), row["id"])
            )


def _read(table: str, name: str, row: Any) -> Any:
    value = row[name] if name in _TEXTS else json.loads(row[name])
    if (table, name) in _AS_IT_CAME:
        return value
    if name == "options":
        return _closed_where(value, lambda option: option in _CLOSED_OPTIONS)
    if table == "waits" and row["kind"] in _BY_SESSIONS:
        if name == "error" or (name == "answer" and row["kind"] == "session"):
            return value
        if name == "point":
            return _closed_where(value, lambda part: part not in _SAID)
    return from_marks(value)


def _closed_where(value: Mapping[str, Any], is_ours: Callable[[str], bool]) -> dict[str, Any]:
    return {key: from_marks(item) if is_ours(key) else item for key, item in value.items()}


def from_marks(value: Any) -> Any:
    """Return the closed data that data with marks stands for."""
    if isinstance(value, str):
        return _unmarked(value)
    if isinstance(value, dict):
        return {_unmarked(key): from_marks(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_marks(item) for item in value]
    return value


def _unmarked(text: str) -> str:
    pieces = _MARK.split(text)  # every second one is what a mark says
    if len(pieces) == 1:
        return text
    parts: list[str | Secret] = []
    for number, piece in enumerate(pieces):
        if number % 2 and piece.startswith(_KINDS):
            name, _, spelling = piece.partition("|")
            parts.append(Secret(name, spelling))
        elif number % 2:
            parts.append("⟦" if piece == _BRACKET else f"⟦{piece}⟧")
        elif piece:
            parts.append(piece)
    if all(isinstance(part, str) for part in parts):
        return "".join(map(str, parts))
    return Hidden(parts)
