"""Addresses of API blocks that no run could reach, found before one."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sim_devin.engine.problem import Problem
from sim_devin.engine.program import Program
from sim_devin.engine.references import split
from sim_devin.errors import AddressRefused

_COMPLETE = re.compile(r"https?://[^/?#]+[/?#]")


def address_problems(program: Program) -> Iterator[Problem]:
    """Yield the URLs that a run would refuse by what is written in them."""
    for block in program.workflow.blocks.values():
        url = block.values.get("url")
        if block.type != "api" or not block.enabled or not isinstance(url, str):
            continue
        start = split(url.strip().strip("\"'")) or ("",)
        if isinstance(start[0], str) and not _is_web(start[0], complete=len(start) == 1):
            yield Problem(
                f"{url.strip()[:80]!r} is not a web address",
                place=f"{block.name}.url",
                block_id=block.id,
                hint="It must start with https:// or http:// and name a host.",
            )
            continue
        try:
            program.services.check_url(_written(url.strip().strip("\"'")))
        except AddressRefused as error:
            yield Problem(
                error.message, place=f"{block.name}.url", block_id=block.id, hint=error.hint
            )


def _is_web(start: str, *, complete: bool) -> bool:
    """Return whether a URL begins as one of the web does, as far as it is written."""
    if not start.strip():
        return True  # a blank one sends nothing
    scheme, mark, rest = start.partition("://")
    if not mark and not complete:
        return any(known.startswith(start) for known in ("https://", "http://"))
    return f"{scheme}://" in ("https://", "http://") and bool(rest or not complete)


def _written(url: str) -> str:
    """Return a URL as far as a run would not change its host; nothing if it could."""
    first, *further = split(url) or ("",)
    if not isinstance(first, str) or (further and not _COMPLETE.match(first)):
        return ""
    return first
