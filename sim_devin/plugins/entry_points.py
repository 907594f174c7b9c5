"""Which plugins are installed: the entry points of packages, some of which may be damaged."""

from __future__ import annotations

import importlib.metadata
import logging
import re
from importlib.metadata import Distribution, EntryPoint

from sim_devin.plugins.hooks import ENTRY_POINTS

log = logging.getLogger("sim_devin")


def entry_points() -> list[EntryPoint]:
    """Return the entry points of all installed plugins, whatever else is damaged."""
    try:
        return list(importlib.metadata.entry_points(group=ENTRY_POINTS))
    except Exception:
        # One malformed entry_points.txt, of any package at all, spoils the quick way.
        return _one_by_one()


def _one_by_one() -> list[EntryPoint]:
    found: dict[str, list[EntryPoint]] = {}
    for distribution in importlib.metadata.distributions():
        name = package_of(distribution)[0]
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue  # hidden by one earlier on sys.path
        try:
            found[key] = list(distribution.entry_points.select(group=ENTRY_POINTS))
        except Exception:
            found[key] = []
            log.warning("The entry_points.txt of %s is malformed.", name or "a package")
    return [entry for entries in found.values() for entry in entries]


def package_of(distribution: Distribution | None) -> tuple[str, str]:
    """Return name and version of a distribution, empty where its metadata is damaged."""
    if distribution is None:
        return "", ""
    try:
        return str(distribution.metadata["Name"] or ""), str(distribution.version or "")
    except Exception:
        return "", ""
