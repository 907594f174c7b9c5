"""Rows that cannot be what this package wrote: named, so that the rest can be gone on with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from sim_devin.errors import StoreError

_HINT = "Restore a backup of the store, or abandon the run and start a new one."


class DamagedRow(StoreError):
    """A row of the store is damaged: edited by hand, or by a disk. Says which."""

    def __init__(self, table: str, row: Any, column: str, why: str) -> None:
        run_id = row["id" if table == "runs" else "run_id"]
        super().__init__(
            f"The run {run_id} is damaged in the store: {column!r} in the table {table!r} {why}.",
            hint=_HINT,
        )


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Turn what goes wrong while something is read from its row into an error that names it.

    Raises:
        StoreError: it is missing or damaged.
    """
    try:
        yield
    except IndexError:
        raise StoreError(f"{what} is missing from the store.", hint=_HINT) from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise StoreError(f"{what} is damaged in the store.", hint=_HINT) from None


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def require_sound(kind: type, table: str, row: Any, values: Mapping[str, Any]) -> None:
    """Refuse a record with a value that its class does not have there.

    Raises:
        DamagedRow: names the first of them.
    """
    hints = _hints(kind)
    for name, value in values.items():
        if not _fits(hints[name], value):
            raise DamagedRow(table, row, name, f"is {str(value)[:40]!r}")


def _fits(hint: Any, value: Any) -> bool:
    if hint is Any:
        return True
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(one, value) for one in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if hint is NoneType:
        return value is None
    if hint is float:
        return isinstance(value, int | float)
    return isinstance(value, Mapping if origin in (dict, Mapping) else origin or hint)
