"""The hooks of a plugin. They return values, and are never removed or changed.

A plugin is a module (or object) named in the entry-point group ``sim_devin.plugins``. It
implements the hooks it needs with `hookimpl`; pluggy passes a hook only the arguments it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pluggy

from sim_devin.specs.files import Specs

PROJECT = "sim_devin"
ENTRY_POINTS = "sim_devin.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def sim_devin_specs() -> Specs:  # type: ignore[empty-body]
    """Return the plugin's tools, blocks and connections, usually ``load_specs(folder)``."""


@hookspec
def sim_devin_handlers() -> Mapping[str, Any]:  # type: ignore[empty-body]
    """Return the plugin's block handlers: block type -> handler (`sim_devin.engine.contract`)."""
