"""Pages and their cursors, which stay right while new items arrive."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from sim_devin.simulator.answers import Problem
from sim_devin.simulator.switches import Switches


def cursor(kind: str, position: int) -> str:
    """Return the opaque cursor of the item with number `position` in a list of `kind`."""
    return base64.urlsafe_b64encode(json.dumps([kind, position]).encode()).decode()


def position(kind: str, text: str | None, switches: Switches) -> int | None:
    """Return the item number in a cursor made for `kind`, None for the beginning.

    Anything the service did not issue for this list raises a `Problem`.
    """
    if not text:
        return None
    try:
        found, number = json.loads(base64.urlsafe_b64decode(text.encode("ascii")))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        found, number = None, None
    if found != kind or type(number) is not int:
        error = {"loc": ["query", "after"], "msg": "Invalid cursor", "type": "value_error"}
        status = switches.bad_cursor_status
        raise Problem(status, "Invalid cursor", [error] if status == 422 else None)
    return number


def envelope(
    items: Sequence[dict[str, Any]],
    *,
    last_cursor: str | None,
    more: bool,
    total: int,
    switches: Switches,
) -> dict[str, Any]:
    """Return a page of `items`; `last_cursor` belongs to the last of them."""
    keep = more or switches.last_page_cursor == "cursor"
    end_cursor = last_cursor if keep else None
    data: dict[str, Any] = {"items": list(items)}
    if switches.page_fields == "full":
        return data | {"end_cursor": end_cursor, "has_next_page": more, "total": total}
    if end_cursor is not None:
        data["end_cursor"] = end_cursor
    if more:
        data["has_next_page"] = True
    return data
