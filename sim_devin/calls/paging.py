"""Lists that come in pages: followed to their end, and never in circles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from sim_devin.errors import UnreadableResponse

LONGEST = 1000  # pages of one list; 200,000 items at the service's largest page

Page = Mapping[str, Any]
P = TypeVar("P")


def pages(
    fetch: Callable[[str | None], P],
    *,
    of: Callable[[P], Page] = lambda page: page,  # type: ignore[assignment, return-value]
    longest: int = LONGEST,
) -> Iterator[P]:
    """Yield the pages of a list until the last.

    Args:
        fetch: returns the page after a cursor; None stands for the first.
        of: the page as the list tools output it, with ``hasNextPage`` and ``endCursor``.
        longest: the most pages to ask for.

    Raises:
        UnreadableResponse: the service's pages have no end: a cursor came again, one is
            missing, or there are more than `longest`. What was yielded until then is only
            a part of the list.
    """
    seen: set[str] = set()
    after: str | None = None
    for _ in range(longest):
        page = fetch(after)
        yield page
        told = of(page)
        if not told.get("hasNextPage"):
            return
        cursor = told.get("endCursor")
        if not isinstance(cursor, str) or not cursor:
            raise _endless("announces another page without a cursor for it")
        if cursor in seen:
            raise _endless("repeats a page, so it never ends")
        seen.add(cursor)
        after = cursor
    raise _endless(f"has no end: {longest} pages were read")


def items(fetch: Callable[[str | None], Page], name: str) -> list[Mapping[str, Any]]:
    """Return all items of a list, found under `name` in each page.

    Raises:
        UnreadableResponse: the list has no end, see `pages`.
    """
    return [item for page in pages(fetch) for item in page[name]]


def _endless(why: str) -> UnreadableResponse:
    return UnreadableResponse(
        f"The service's list {why}.",
        status=200,
        hint="The incomplete result was discarded. Try again later, or narrow the list.",
    )
