"""Find plugins and ask them for what they bring, each in isolation.

A plugin can fail in four places: when it is imported, when it is registered, when a hook is
called, and in a single spec. A failure is written into the plugin's report and the others
go on; ``SIM_DEVIN_STRICT=1`` makes it fatal.
"""

from __future__ import annotations

import importlib.metadata
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pluggy

from sim_devin import hookspecs
from sim_devin.errors import PluginError
from sim_devin.spec_files import Specs, read_folder

State = Literal["ok", "broken", "disabled"]


@dataclass
class Loaded:
    """One plugin and how it fared.

    Attributes:
        name: its name: the entry point's, or the module's.
        distribution: the installed package it came in, empty for built-ins and folders.
        version: that package's version.
        state: ``ok``, ``broken`` (see `failures`) or ``disabled``.
        specs: what it brings.
        handlers: block type -> handler.
        failures: one line each: where it failed and why.
        details: the tracebacks, for ``sim-devin plugins doctor``.
    """

    name: str
    distribution: str = ""
    version: str = ""
    state: State = "ok"
    specs: Specs = field(default_factory=Specs)
    handlers: Mapping[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)

    def fail(self, stage: str, error: BaseException, *, strict: bool) -> None:
        """Record that `stage` failed.

        Raises:
            PluginError: in strict mode.
        """
        self.state = "broken"
        line = f"{stage}: {type(error).__name__}: {error}"
        self.failures.append(line)
        self.details.append("".join(traceback.format_exception(error)))
        if strict:
            raise PluginError(
                f"The plugin {self.name!r} failed at {line}.",
                hint="Unset SIM_DEVIN_STRICT to go on without it.",
            ) from error

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "state": self.state,
            "tools": [tool.id for tool in self.specs.tools],
            "blocks": [block.type for block in self.specs.blocks],
            "connections": [connection.id for connection in self.specs.connections],
            "handlers": sorted(self.handlers),
            "failures": self.failures,
        }


def load(
    builtin: Mapping[str, object],
    extra: Iterable[object] = (),
    *,
    folders: Iterable[Path] = (),
    discover: bool = True,
    disabled: Iterable[str] = (),
    strict: bool = False,
) -> list[Loaded]:
    """Return every plugin in a fixed order: built-ins, installed (by name), `extra`, folders.

    `extra` are modules or objects with hook implementations; `folders` hold spec files and
    need no Python. A plugin named in `disabled` is not imported.

    Raises:
        PluginError: a plugin failed and `strict` is set.
    """
    blocked = set(disabled)
    loaded = [_asked(Loaded(name), plugin, strict) for name, plugin in builtin.items()]
    if discover:
        loaded += _installed(blocked, strict)
    loaded += [_asked(Loaded(_name(plugin)), plugin, strict) for plugin in extra]
    loaded += [_folder(Path(folder), strict) for folder in folders]
    return loaded


def _installed(blocked: set[str], strict: bool) -> list[Loaded]:
    found = importlib.metadata.entry_points(group=hookspecs.ENTRY_POINTS)
    result: list[Loaded] = []
    for entry in sorted(found, key=lambda e: (e.name, e.value)):
        report = Loaded(entry.name)
        if entry.dist is not None:
            report.distribution, report.version = entry.dist.name, entry.dist.version
        result.append(report)
        if entry.name in blocked:
            report.state = "disabled"
            continue
        try:
            plugin = entry.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            report.fail("import", error, strict=strict)
            continue
        _asked(report, plugin, strict)
    return result


def _folder(folder: Path, strict: bool) -> Loaded:
    report = Loaded(str(folder))
    report.specs = read_folder(folder)
    for problem in report.specs.problems:
        report.fail("spec", problem, strict=strict)
    return report


def _asked(report: Loaded, plugin: object, strict: bool) -> Loaded:
    """Register one plugin in a manager of its own and call its hooks."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin, report.name)
        manager.check_pending()  # a misspelt hook would be silently ignored
    except Exception as error:
        report.fail("register", error, strict=strict)
        return report
    for spec in _call(report, manager.hook.sim_devin_specs, strict):
        if not isinstance(spec, Specs):
            wrong = TypeError(f"must return Specs, returned {type(spec).__name__}")
            report.fail("sim_devin_specs", wrong, strict=strict)
            continue
        report.specs = spec
        for problem in spec.problems:
            report.fail("spec", problem, strict=strict)
    for handlers in _call(report, manager.hook.sim_devin_handlers, strict):
        if not isinstance(handlers, Mapping):
            wrong = TypeError(f"must return a mapping, returned {type(handlers).__name__}")
            report.fail("sim_devin_handlers", wrong, strict=strict)
            continue
        report.handlers = dict(handlers)
    return report


def _call(report: Loaded, hook: Any, strict: bool) -> list[Any]:
    try:
        return list(hook())
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        report.fail(hook.name, error, strict=strict)
        return []


def _name(plugin: object) -> str:
    return str(getattr(plugin, "__name__", type(plugin).__name__))
