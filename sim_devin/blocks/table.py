"""Table widgets: rows of ``{"cells": {"Key": …, "Value": …}}``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sim_devin.engine.references import parse_json


def table_pairs(table: Any) -> Iterator[tuple[str, Any]]:
    """Yield key and value of each row that has both; a plain mapping gives its items.

    A value may be null. Of several rows with the same key the last one counts, in the place of the
    first.
    """
    yield from dict(_pairs(table)).items()


def _pairs(table: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(table, str):
        table = parse_json(table)
    if isinstance(table, Mapping):
        yield from ((str(key), value) for key, value in table.items() if key)
        return
    for row in table if isinstance(table, list) else ():
        cells = row.get("cells") if isinstance(row, Mapping) else None
        if isinstance(cells, Mapping) and cells.get("Key") and "Value" in cells:
            yield str(cells["Key"]), cells["Value"]
