"""Use Devin, the autonomous software engineer, in automated work.

`open_app` provides the tools, blocks and workflows; `Devin` is a typed client of the API.
Names are loaded on first use, so importing the package is cheap.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim_devin.app import App, open_app
    from sim_devin.calls.request import Request
    from sim_devin.calls.response import Response
    from sim_devin.client import Devin
    from sim_devin.engine.contract import BlockContext, BlockError, Pause, Sleep
    from sim_devin.errors import SimDevinError
    from sim_devin.llm.language_model import PydanticAiModel
    from sim_devin.plugins.hooks import hookimpl
    from sim_devin.policy.rules import COSTS_MONEY, DESTRUCTIVE, Policy
    from sim_devin.specs.files import Specs, load_specs
    from sim_devin.specs.models import BlockField, BlockSpec, ToolSpec


_HOME = {
    "App": "app",
    "BlockContext": "engine.contract",
    "BlockError": "engine.contract",
    "BlockField": "specs.models",
    "BlockSpec": "specs.models",
    "COSTS_MONEY": "policy.rules",
    "DESTRUCTIVE": "policy.rules",
    "Devin": "client",
    "Pause": "engine.contract",
    "Policy": "policy.rules",
    "PydanticAiModel": "llm.language_model",
    "Request": "calls.request",
    "Response": "calls.response",
    "SimDevinError": "errors",
    "Sleep": "engine.contract",
    "Specs": "specs.files",
    "ToolSpec": "specs.models",
    "hookimpl": "plugins.hooks",
    "load_specs": "specs.files",
    "open_app": "app",
}

__all__ = [
    "COSTS_MONEY",
    "DESTRUCTIVE",
    "App",
    "BlockContext",
    "BlockError",
    "BlockField",
    "BlockSpec",
    "Devin",
    "Pause",
    "Policy",
    "PydanticAiModel",
    "Request",
    "Response",
    "SimDevinError",
    "Sleep",
    "Specs",
    "ToolSpec",
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
    return getattr(import_module(f"sim_devin.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


_NOW = {
    "sim_devin.handler": "sim_devin.engine.contract",
    "sim_devin.language_model": "sim_devin.llm.language_model",
    "sim_devin.spec": "sim_devin.specs.models",
}


class _OldNames:
    """Imports the modules that version 0.1.0 documented under another name, with a warning."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        return ModuleSpec(name, self) if name in _NOW else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Let the import make an empty module."""

    def exec_module(self, module: ModuleType) -> None:
        import warnings

        now = _NOW[module.__name__]
        warnings.warn(
            f"{module.__name__} is {now} since 0.2; import its public names from sim_devin",
            DeprecationWarning,
            stacklevel=2,
        )
        for name, value in vars(import_module(now)).items():
            module.__dict__.setdefault(name, value)


sys.meta_path.append(_OldNames())
