"""From a block's stored sub-blocks to its parameters, as Sim serializes them before a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sim_devin.engine.references import EnvName, split
from sim_devin.engine.workflow import Block
from sim_devin.specs.forms import FormField


def params(block: Block, fields: Iterable[FormField]) -> dict[str, Any]:
    """Return field id -> stored value of what a block's form hands on.

    Conditions look at the stored values, before defaults are filled in. Outside advanced
    mode an advanced field counts if it has a value, whatever the operation. A sub-block with the
    name of a tool's parameter is the field that sets it; others that the form does not know are
    left out.
    """
    fields = tuple(fields)
    values = _values(block, fields)
    chosen: dict[str, Any] = {}
    for item in fields:
        if not _included(block, item, values):
            continue
        value = values.get(item.id)
        chosen[item.id] = item.default if value is None else value
    return chosen


def _values(block: Block, fields: Iterable[FormField]) -> Mapping[str, Any]:
    """Return the stored values by the ids of their fields."""
    ids = {item.id for item in fields}
    renamed = {
        item.id: block.values[item.param]
        for item in fields
        if item.param is not None
        and item.param not in ids
        and _has_value(block.values.get(item.param))
        and not _has_value(block.values.get(item.id))
    }
    return {**block.values, **renamed} if renamed else block.values


def _included(block: Block, item: FormField, values: Mapping[str, Any]) -> bool:
    if item.advanced and not block.advanced_mode:
        return _has_value(values.get(item.id))
    if item.id not in values and item.default is None:
        return False
    return item.shown(values)


def _has_value(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and value not in ([], {})


def missing_fields(
    block: Block,
    fields: Iterable[FormField],
    credentials: Mapping[str, str],
    provided: Iterable[str] = (),
) -> list[FormField]:
    """Return the required fields without a value that must be there before anything runs.

    Those are credentials and fields of blocks without tools; a tool says itself what else
    it needs when it is called. `provided` names credentials that are set elsewhere.
    """
    have = set(provided)
    return [
        item
        for item in fields
        if (item.param is None or item.id in credentials)
        and item.required(block.values)
        and item.id not in have
        and item.default is None
        and block.values.get(item.id) in (None, "")
    ]


def unset_credentials(
    block: Block, credentials: Mapping[str, str], env: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return (field, variable name) of credentials that name an environment variable not set."""
    found: list[tuple[str, str]] = []
    for name in credentials:
        value = block.values.get(name)
        if not isinstance(value, str):
            continue
        for segment in split(value):
            if isinstance(segment, EnvName) and segment.name not in env:
                found.append((name, segment.name))
    return found
