"""Put Devin, the autonomous software engineer, into automated work.

`open_app` gives the tools, blocks and workflows; `Devin` is a typed client of the API.
Names are loaded when they are first used, so that importing the package costs little.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim_devin.app import App
    from sim_devin.client import Devin
    from sim_devin.errors import SimDevinError
    from sim_devin.hookspecs import hookimpl
    from sim_devin.request import Request
    from sim_devin.response import Response
    from sim_devin.spec_files import Specs, load_specs
    from sim_devin.wiring import open_app

_HOME = {
    "App": "sim_devin.app",
    "Devin": "sim_devin.client",
    "Request": "sim_devin.request",
    "Response": "sim_devin.response",
    "SimDevinError": "sim_devin.errors",
    "Specs": "sim_devin.spec_files",
    "hookimpl": "sim_devin.hookspecs",
    "load_specs": "sim_devin.spec_files",
    "open_app": "sim_devin.wiring",
}

__all__ = [
    "App",
    "Devin",
    "Request",
    "Response",
    "SimDevinError",
    "Specs",
    "hookimpl",
    "load_specs",
    "open_app",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("sim-devin")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
