"""Secrets that stand in a document: they stay on this side of the page.

A secret field whose value is anything but references is sent as a mark. What comes back
with the mark gets the stored value again; a mark that nothing is stored for becomes null,
as in an export.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sim_devin.engine.references import split
from sim_devin.secret_names import is_secret_name

MARK = {"$secret": "stored"}

Fields = Callable[[str], frozenset[str] | None]  # block type -> ids of its secret fields


def masked(document: Any, fields: Fields) -> Any:
    """Return a copy of a document in which literal secrets are marks."""
    return _with(document, fields, lambda _block, _field, value: MARK if value != MARK else value)


def restored(document: Any, stored: Any, fields: Fields) -> Any:
    """Return a copy of a document in which marks are the values of `stored` again."""
    known = dict(_literals(stored, fields))
    return _with(
        document,
        fields,
        lambda block, field, value: known.get((block, field)) if value == MARK else value,
    )


def values(document: Any, fields: Fields) -> list[str]:
    """Return the literal secrets of a document."""
    return [value for _, value in _literals(document, fields) if isinstance(value, str)]


def _literals(document: Any, fields: Fields) -> Iterator[tuple[tuple[str, str], Any]]:
    for block_id, block in _blocks(document).items():
        for name, sub_block in _sub_blocks(block, fields):
            value = sub_block.get("value")
            if _is_literal(value) and value != MARK:
                yield (block_id, name), value


def _with(document: Any, fields: Fields, change: Callable[[str, str, Any], Any]) -> Any:
    blocks = {}
    for block_id, block in _blocks(document).items():
        changed = {
            name: {**sub_block, "value": change(block_id, name, sub_block.get("value"))}
            for name, sub_block in _sub_blocks(block, fields)
            if _is_literal(sub_block.get("value"))
        }
        if changed:
            block = {**block, "subBlocks": {**block["subBlocks"], **changed}}
        blocks[block_id] = block
    if not blocks:
        return document
    if isinstance(document.get("state"), Mapping):
        return {**document, "state": {**document["state"], "blocks": blocks}}
    return {**document, "blocks": blocks}


def _blocks(document: Any) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        return {}
    state = document.get("state")
    blocks = (state if isinstance(state, Mapping) else document).get("blocks")
    return blocks if isinstance(blocks, Mapping) else {}


def _sub_blocks(block: Any, fields: Fields) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(block, Mapping) or not isinstance(block.get("subBlocks"), Mapping):
        return
    secret = fields(str(block.get("type")))
    for name, sub_block in block["subBlocks"].items():
        wanted = is_secret_name(name) if secret is None else name in secret
        if wanted and isinstance(sub_block, Mapping):
            yield name, sub_block


def _is_literal(value: Any) -> bool:
    """Return whether a value holds anything that is not a reference."""
    if value in (None, "", [], {}):
        return False
    if not isinstance(value, str):
        return True
    return any(isinstance(segment, str) and segment.strip() for segment in split(value))
