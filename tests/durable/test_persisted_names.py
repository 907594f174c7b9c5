"""Names that stores keep and that others rely on. An upgrade that changes one loses what it named:
a tag that is no longer found is a session that is created twice.
"""

import json

import pytest

from sim_devin.clock import ManualClock
from sim_devin.store.records import Run
from sim_devin.store.step_ledger import StepLedger
from tests import pinned_names

GOLDEN = json.loads(pinned_names.GOLDEN.read_text(encoding="utf-8"))
HOW_TO_CHANGE = """
Stores, config files, scripts and plugins of earlier versions have the old name. To change it on
purpose: keep reading the old one (an alias, or a migration at the end of store/schema.py), test
that against what an earlier version wrote, name it in CHANGELOG.md, and write the new list with
    make pin
"""
HOW_TO_ADD = "\nFrom now on these names are kept. Write the list anew with: make pin\n"


@pytest.mark.parametrize("section", pinned_names.SECTIONS)
def test_no_name_that_others_know_changes_by_accident(section):
    now = json.loads(json.dumps(pinned_names.SECTIONS[section]()))
    before, after = _paths(GOLDEN[section], section), _paths(now, section)
    gone = [f"gone: {name}" for name in sorted(before - after)]
    new = [f"new:  {name}" for name in sorted(after - before)]
    assert gone + new == [], "\n".join([*gone, *new, HOW_TO_CHANGE if gone else HOW_TO_ADD])


def test_every_section_of_the_list_is_compared():
    assert set(GOLDEN) == set(pinned_names.SECTIONS)
    assert all(GOLDEN.values())


def _paths(value, place):
    """Return every name of a section with the place it stands in."""
    if isinstance(value, dict):
        return {f"{place} > {key}" for key in value}.union(
            *(_paths(item, f"{place} > {key}") for key, item in value.items())
        )
    if isinstance(value, list):
        return set().union(*(_paths(item, place) for item in value))
    return {f"{place} > {value}"}


def test_a_tag_is_the_same_for_ever(store):
    run = Run("7d4f2a3e-1111-4222-8333-444455556666", "ready", "document")
    ledger = StepLedger(store, run, "rounds.0/create#1/1", ManualClock())
    assert ledger.tag("0") == "sim-31d0f9170c1b4cc752699559"
    assert ledger.tag("1") == "sim-6fbecf783df81a36b73df017"
    assert ledger.tag("untagged") == "sim-f2415f21cf2261d8de068679"


def test_each_store_has_the_tables_and_columns_of_the_list(store):
    columns = set()
    for change in (change for version in GOLDEN["store"].values() for change in version):
        sign, _, name = change.partition(" ")
        (columns.add if sign == "+" else columns.discard)(name)
    tables = {}
    for name in columns:
        if not name.startswith("index "):
            table, _, column = name.partition(".")
            tables.setdefault(table, []).append(f'"{column}"')
    for table, names in tables.items():
        store.database.read(f"SELECT {', '.join(names)} FROM {table}")
