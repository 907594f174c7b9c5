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
        try:
            program.services.check_url(_written(url.strip().strip("\"'")))
        except AddressRefused as error:
            yield Problem(
                error.message, place=f"{block.name}.url", block_id=block.id, hint=error.hint
            )


def _written(url: str) -> str:
    """Return a URL as far as a run would not change its host; nothing if it could."""
    first, *further = split(url) or ("",)
    if not isinstance(first, str) or (further and not _COMPLETE.match(first)):
        return ""
    return first
