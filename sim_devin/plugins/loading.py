"""Find plugins and ask them for what they bring, each in isolation.

A plugin can fail in four places: when it is imported, when it is registered, when a hook is
called, and in a single spec. A failure is written into the plugin's report and everything
else continues, the plugin's own other specs included; strict mode (``SIM_DEVIN_STRICT=1``)
makes it fatal.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal, TypeVar

import pluggy

from sim_devin.errors import InvalidSpec, PluginError, SimDevinError
from sim_devin.plugins import hooks as hookspecs
from sim_devin.plugins.entry_points import entry_points, package_of
from sim_devin.plugins.jobs import with_jobs
from sim_devin.specs.files import Specs, read_folder
from sim_devin.specs.jobs import JobSpec
from sim_devin.specs.models import BlockSpec, Connection, SpecModel, ToolSpec
from sim_devin.specs.spec_problems import problems_of
from sim_devin.text import did_you_mean

log = logging.getLogger("sim_devin")

HANGS_AFTER = 5.0  # real seconds after which a plugin that keeps us waiting is named

State = Literal["ok", "broken", "disabled"]
T = TypeVar("T")
M = TypeVar("M", bound=SpecModel)


@dataclass
class Loaded:
    """One plugin and how it fared.

    Attributes:
        name: its name: the entry point's, the module's, or the folder.
        distribution: the installed package it came in, empty for built-ins and folders.
        version: that package's version.
        state: ``ok``, ``broken`` (something failed, see `failures`; the rest is in use) or
            ``disabled`` (not even imported).
        specs: what it brings.
        handlers: block type -> handler.
        failures: one line each, ``stage: reason``; the stage is ``name``, ``import``,
            ``register``, a hook's name, ``folder``, ``spec``, ``handler`` or ``clash``.
        details: the tracebacks, for ``sim-devin plugins doctor``.
        plugin: the module or object with the hooks; None for a folder.
    """

    name: str
    distribution: str = ""
    version: str = ""
    state: State = "ok"
    specs: Specs = field(default_factory=Specs)
    handlers: Mapping[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    plugin: object = field(default=None, repr=False)

    @property
    def origin(self) -> str:
        """The name with the package it came in, for messages that tell two apart."""
        package = f"{self.distribution} {self.version}".strip()
        return f"{self.name!r} ({package})" if package else repr(self.name)

    def fail(self, stage: str, error: BaseException, *, strict: bool) -> None:
        """Record that `stage` failed.

        Raises:
            PluginError: in strict mode.
        """
        self.state = "broken"
        line = f"{stage}: {_in_words(error)}"
        self.failures.append(line)
        self.details.append("".join(traceback.format_exception(error)))
        if strict:
            raise PluginError(
                f"The plugin {self.origin} failed at {line.rstrip('.')}.",
                hint="To continue without it, turn strict mode off, or disable the plugin with "
                f"SIM_DEVIN_DISABLE={self.name}.",
            ) from error
        log.warning("The plugin %s failed at %s", self.origin, line)

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


def _in_words(error: BaseException) -> str:
    """Return an error as text; a stranger's may not even have a working ``__str__``."""
    if isinstance(error, SimDevinError):
        return str(error)
    return traceback.format_exception_only(error)[-1].strip()


# A plugin that was found, and the function of `(report, strict)` that fills its report in.
_Candidate = tuple[Loaded, Callable[[Loaded, bool], None]]


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

    Args:
        builtin: name -> our own plugins, whose specs our own tests check.
        extra: modules or objects with hook implementations.
        folders: folders of spec files; they need no Python.
        discover: whether to look for installed plugins.
        disabled: names of plugins, or of their distributions; these are not imported.
        strict: whether a failure is fatal.

    Raises:
        PluginError: a plugin failed and `strict` is set.
    """
    blocked = set(disabled)
    candidates: list[_Candidate] = [
        *((Loaded(name, plugin=own), _ask_ours) for name, own in builtin.items()),
        *(_installed() if discover else ()),
        *_handed_in(extra),
        *((Loaded(str(folder)), partial(_read, folder)) for folder in _distinct(folders)),
    ]
    loaded: dict[str, Loaded] = {}
    reports: list[Loaded] = []
    for report, fill in candidates:
        if report.plugin is not None and any(
            other.plugin is report.plugin for other in loaded.values()
        ):
            continue  # passed in, and installed too
        reports.append(report)
        if {report.name, report.distribution} & blocked:
            report.state = "disabled"
        elif loaded.setdefault(report.name, report) is not report:
            report.fail("name", _same_name(report, loaded[report.name]), strict=strict)
        else:
            fill(report, strict)
    return reports


def _same_name(report: Loaded, first: Loaded) -> PluginError:
    return PluginError(
        f"duplicate name: {first.origin} was loaded, {report.origin} was not.",
        hint=f"Disable one by its distribution: SIM_DEVIN_DISABLE={report.distribution}."
        if report.distribution
        else "",
    )


# -- where plugins come from -----------------------------------------------------------------


def _installed() -> list[_Candidate]:
    """Return the plugins of the entry points, sorted by name."""
    found = [(Loaded(entry.name, *package_of(entry.dist)), entry) for entry in entry_points()]
    found.sort(key=lambda item: (item[0].name, item[0].distribution, item[1].value))
    return [(report, partial(_import, entry)) for report, entry in found]


def _handed_in(plugins: Iterable[object]) -> Iterator[_Candidate]:
    """Yield plugins given as objects; those of one class are told apart by a number."""
    counts: Counter[str] = Counter()
    for plugin in plugins:
        name = str(getattr(plugin, "__name__", type(plugin).__name__))
        counts[name] += 1
        label = name if counts[name] == 1 else f"{name}#{counts[name]}"
        yield Loaded(label, plugin=plugin), _ask


def _distinct(folders: Iterable[Path]) -> Iterator[Path]:
    """Yield each folder once: the environment and an argument may name the same one."""
    seen: set[Path] = set()
    for folder in folders:
        place = folder.resolve()
        if place not in seen:
            seen.add(place)
            yield folder


# -- asking them -----------------------------------------------------------------------------


@contextmanager
def _isolated(report: Loaded, stage: str, strict: bool) -> Iterator[None]:
    """Record whatever is raised inside, ``SystemExit`` included; only Ctrl-C passes."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        report.fail(stage, error, strict=strict)


@contextmanager
def _watched(report: Loaded, doing: str) -> Iterator[None]:
    """Keep a plugin's prints out of standard output, and name one that does not come to an end.

    Standard output is what a command prints, JSON or the messages of MCP.
    """

    def tell() -> None:
        log.warning(
            "The plugin %s has been %s for %g seconds. Leave it out with SIM_DEVIN_DISABLE=%s.",
            report.origin,
            doing,
            HANGS_AFTER,
            report.name,
        )

    timer = threading.Timer(HANGS_AFTER, tell)
    timer.daemon = True
    timer.start()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        timer.cancel()
        timer.join()


def _import(entry: EntryPoint, report: Loaded, strict: bool) -> None:
    with _isolated(report, "import", strict), _watched(report, "importing"):
        report.plugin = entry.load()
    if report.state == "ok":
        _ask(report, strict)


def _read(folder: Path, report: Loaded, strict: bool) -> None:
    found = Specs()
    with _isolated(report, "folder", strict):
        found = read_folder(folder)
    _take_specs(report, found, strict)
    _drop_idle_blocks(report, strict)


def _ask_ours(report: Loaded, strict: bool) -> None:
    _ask(report, strict, thorough=False)  # our own tests check our own specs


def _ask(report: Loaded, strict: bool, *, thorough: bool = True) -> None:
    """Register one plugin in a manager of its own and call its hooks."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    with _isolated(report, "register", strict):
        manager.register(report.plugin, report.name)
    if report.state == "broken":
        return
    with _isolated(report, "register", strict):
        _check_hooks(manager, report.plugin)
    found = _answer(report, manager.hook.sim_devin_specs, Specs, strict)
    if found is not None:
        _take_specs(report, found, strict)
    handlers = _answer(report, manager.hook.sim_devin_handlers, Mapping, strict)
    if handlers is not None:
        _take_handlers(report, handlers, strict)
    if thorough:
        _drop_unsound(report, strict)
        _drop_idle_blocks(report, strict)


def _check_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    """Refuse what pluggy passes over in silence: misspelled hooks, and a plugin without any."""
    callers = manager.get_hookcallers(plugin) or []
    if not callers:
        raise PluginError("it has no hooks.", hint="Mark its functions with @sim_devin.hookimpl.")
    known = [name for name in vars(hookspecs) if name.startswith(f"{hookspecs.PROJECT}_")]
    for caller in callers:
        optional = all(implementation.optionalhook for implementation in caller.get_hookimpls())
        if not caller.has_spec() and not optional:
            hint = did_you_mean(caller.name, known) or f"The hooks are {' and '.join(known)}."
            raise PluginError(f"{caller.name!r} is not a hook.", hint=hint)


def _answer(report: Loaded, hook: pluggy.HookCaller, kind: type, strict: bool) -> Any:
    """Return what the plugin answers to a hook; None if it has no such hook, or failed."""
    if not hook.get_hookimpls():
        return None
    with _isolated(report, hook.name, strict):
        with _watched(report, f"answering {hook.name}"):
            results = hook()
        answer = results[0] if results else None  # pluggy drops None
        if isinstance(answer, kind):
            return answer
        raise TypeError(f"must return {kind.__name__}, returned {type(answer).__name__}")
    return None


def _take_specs(report: Loaded, found: Specs, strict: bool) -> None:
    for problem in _of_kind(report, found.problems, InvalidSpec, strict):
        report.fail("spec", problem, strict=strict)
    specs = Specs(
        _of_kind(report, found.tools, ToolSpec, strict),
        _of_kind(report, found.blocks, BlockSpec, strict),
        _of_kind(report, found.connections, Connection, strict),
        jobs=_of_kind(report, found.jobs, JobSpec, strict),
    )
    report.specs = with_jobs(specs, lambda error: report.fail("spec", error, strict=strict))


def _of_kind(report: Loaded, items: Any, kind: type[T], strict: bool) -> tuple[T, ...]:
    kept: list[T] = []
    with _isolated(report, "spec", strict):
        items = tuple(items)
        wrong = sorted({type(item).__name__ for item in items if not isinstance(item, kind)})
        kept = [item for item in items if isinstance(item, kind)]
        if wrong:
            raise TypeError(f"Specs contains a {', a '.join(wrong)} instead of a {kind.__name__}")
    return tuple(kept)


def _take_handlers(report: Loaded, handlers: Mapping[Any, Any], strict: bool) -> None:
    kept: dict[str, Any] = {}
    items: list[tuple[Any, Any]] = []
    with _isolated(report, "sim_devin_handlers", strict):
        items = list(handlers.items())
    for block_type, handler in items:
        with _isolated(report, "handler", strict):
            if not isinstance(block_type, str):
                raise TypeError(f"a block type must be a string, got a {type(block_type).__name__}")
            if not callable(handler):
                raise TypeError(f"{block_type!r} is a {type(handler).__name__}, not a function")
            kept[block_type] = handler
    report.handlers = kept


def _drop_unsound(report: Loaded, strict: bool) -> None:
    """Leave out what was made in Python and is not what reading a file would have let pass."""
    report.specs = replace(
        report.specs,
        tools=_sound(report, report.specs.tools, strict),
        connections=_sound(report, report.specs.connections, strict),
    )


def _sound(report: Loaded, items: Iterable[M], strict: bool) -> tuple[M, ...]:
    kept: list[M] = []
    for item in items:
        with _isolated(report, "spec", strict):
            problems = list(problems_of(item))
            if problems:
                kind = "tool" if isinstance(item, ToolSpec) else "connection"
                raise InvalidSpec(f"{kind} {getattr(item, 'id', '')}", problems)
            kept.append(item)
    return tuple(kept)


def _drop_idle_blocks(report: Loaded, strict: bool) -> None:
    """Leave out blocks that nothing could run: neither a tool nor a handler."""
    kept: list[BlockSpec] = []
    for block in report.specs.blocks:
        with _isolated(report, "spec", strict):
            if not block.operations and block.type not in report.handlers:
                problem = (
                    "operations: there are none, and the plugin provides no handler for the block"
                )
                hint = did_you_mean(block.type, report.handlers)
                raise InvalidSpec(f"block {block.type}", [problem], hint=hint)
            kept.append(block)
    report.specs = replace(report.specs, blocks=tuple(kept))
