"""``sim-devin doctor``: check what a working installation needs, and say how to fix the rest."""

from __future__ import annotations

import email.utils
import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

from sim_devin.cli.commands.options import AppOptions, app_options, json_option
from sim_devin.cli.commands.output import echo_json, harmless
from sim_devin.errors import SimDevinError

if TYPE_CHECKING:
    from sim_devin.app import App
    from sim_devin.specs.models import Connection, ToolSpec

State = Literal["ok", "note", "warning", "failed"]

TIMEOUT = 10.0  # seconds for the service's answer
SKEW = 60.0  # seconds by which the clock may differ from the service's
LEAST_SPACE = 100 * 1024 * 1024  # bytes free where runs are recorded
PACKAGE = "sim-devin"

_REQUIREMENT = re.compile(r"([\w.-]+).*?;.*extra == ['\"]([\w-]+)['\"]")
_COLORS = {"ok": "green", "note": None, "warning": "yellow", "failed": "red"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what it is.
        state: ``ok``; ``note`` where something optional is absent; ``warning`` where something may
            surprise; ``failed`` where something does not work.
        found: what was found.
        fix: what to do about it; empty if there is nothing to do.
    """

    name: str
    state: State
    found: str
    mend: str = ""


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Contact no service.")
@json_option()
@app_options()
def command(offline: bool, as_json: bool, options: AppOptions) -> None:
    """Check the installation: extras, settings, keys, service, clock, store, plugins, page.

    Each problem comes with its remedy. Keys are never shown. The service is asked for a list that
    changes nothing; --offline contacts none. Exit code 1 if a check failed. Please attach the
    output of `sim-devin doctor --json` to bug reports.
    """
    checks: list[Check] = []
    for check in _checks(options, offline=offline):
        checks.append(check)
        if not as_json:
            _show(check)
    failed = sum(check.state == "failed" for check in checks)
    if as_json:
        echo_json({"ok": not failed, "checks": [asdict(check) for check in checks]})
    else:
        warnings = sum(check.state == "warning" for check in checks)
        click.echo(f"\n{_count(failed, 'problem')}, {_count(warnings, 'warning')}.")
    click.get_current_context().exit(1 if failed else 0)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _show(check: Check) -> None:
    state = click.style(f"{check.state:8}", fg=_COLORS[check.state])
    click.echo(f"{state} {check.name}: {harmless(check.found)}")
    if check.mend:
        click.echo(f"{'':8}   {harmless(check.mend)}")


def _checks(options: AppOptions, *, offline: bool) -> Iterator[Check]:
    yield Check("version", "ok", f"sim-devin {metadata.version(PACKAGE)}")
    yield Check("Python", "ok", f"{platform.python_version()}, {platform.platform(terse=True)}")
    yield from _extras()
    yield _page()
    try:
        app = options.open(strict=False)
    except SimDevinError as error:
        yield _failed("settings", error)
        return
    with app:
        yield from _settings(app, options)
        yield from _plugins(app)
        for connection in app.registry.connections.values():
            yield from _connection(app, connection, offline=offline)
        yield _store(app)


def _failed(name: str, error: SimDevinError) -> Check:
    return Check(name, "failed", error.message, error.hint)


def _extras() -> Iterator[Check]:
    needed: dict[str, set[str]] = {}
    for requirement in metadata.requires(PACKAGE) or ():
        if (found := _REQUIREMENT.match(requirement)) is not None:
            needed.setdefault(found[2], set()).add(found[1])
    for extra, distributions in sorted(needed.items()):
        absent = sorted(name for name in distributions if not _is_installed(name))
        if absent:
            mend = f"If you need it: pip install '{PACKAGE}[{extra}]'"
            yield Check(f"extra {extra}", "note", f"not installed ({', '.join(absent)})", mend)
        else:
            versions = (f"{name} {metadata.version(name)}" for name in sorted(distributions))
            yield Check(f"extra {extra}", "ok", ", ".join(versions))


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _page() -> Check:
    import sim_devin

    folder = Path(sim_devin.__file__).parent / "web" / "page"
    if (folder / "index.html").is_file():
        return Check("canvas page", "ok", "built")
    return Check(
        "canvas page", "note", "not built", "For `sim-devin serve` in a checkout: make canvas"
    )


def _settings(app: App, options: AppOptions) -> Iterator[Check]:
    from sim_devin.settings import config_path

    path = options.config or config_path(os.environ)
    yield Check("config file", "ok", str(path) if path.exists() else f"none; it would be {path}")
    for unread in app.settings.unread:
        yield Check("settings", "warning", unread)


def _plugins(app: App) -> Iterator[Check]:
    for plugin in app.registry.report:
        name = f"plugin {plugin.name}"
        if plugin.failures:
            found = "; ".join(plugin.failures)
            yield Check(name, "failed", found, "Run: sim-devin plugins doctor")
        else:
            origin = (
                f"{plugin.distribution} {plugin.version}" if plugin.distribution else "built in"
            )
            yield Check(name, "ok", f"{plugin.state}, {origin}")


def _connection(app: App, connection: Connection, *, offline: bool) -> Iterator[Check]:
    name = f"connection {connection.id}"
    known = app.credentials_of(connection.id)
    absent = [field.env for key, field in connection.fields.items() if not known.get(key)]
    if absent:
        mend = f"Set {' and '.join(absent)}, or run: sim-devin config set-key"
        mend += f" --connection {connection.id}" if connection.id != "devin" else ""
        yield Check(name, "warning", f"no {' and no '.join(absent)}", mend)
        return
    yield Check(name, "ok", "credentials found")
    probe = _probe(app, connection)
    if offline or probe is None:
        return
    address = app.build_request(probe.id, {}).url.split("?")[0]
    try:
        app.call(probe.id, {}, deadline=TIMEOUT)
    except SimDevinError as error:
        yield _failed(f"service {connection.id}", error)
        return
    yield Check(f"service {connection.id}", "ok", f"{address} answers, and accepts the key")
    yield from _clock(app, probe)


def _probe(app: App, connection: Connection) -> ToolSpec | None:
    """Return a tool that changes nothing and needs no parameter."""
    return next(
        (
            spec
            for spec in app.registry.tools.values()
            if spec.connection == connection.id
            and spec.traits.read_only
            and spec.request is not None
            and not spec.params.get("required")
        ),
        None,
    )


def _clock(app: App, probe: ToolSpec) -> Iterator[Check]:
    try:
        answer = app.transport.send(app.build_request(probe.id, {}), timeout=TIMEOUT)
        theirs = email.utils.parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (SimDevinError, ValueError):
        return  # the service does not say what time it is
    ahead = app.clock.time() - theirs
    if abs(ahead) > SKEW:
        way = "ahead of" if ahead > 0 else "behind"
        mend = "Set the clock, for example with NTP."
        yield Check("clock", "warning", f"{abs(ahead):.0f} s {way} the service's", mend)
    else:
        yield Check("clock", "ok", "agrees with the service's")


def _store(app: App) -> Check:
    from sim_devin.runs.opening import store_place
    from sim_devin.store.records import ENDED, RunState
    from sim_devin.store.sqlite_file import IN_MEMORY

    place = store_place(app)
    is_file = "://" not in place and place != IN_MEMORY
    if is_file and not Path(place).exists():
        return _new_store(Path(place))
    try:
        store = app.runs.store
        unended = store.count([state for state in get_args(RunState) if state not in ENDED])
    except SimDevinError as error:
        return _failed("store", error)
    found = f"{store.database.name}, {_count(unended, 'unfinished run')}"
    if is_file and shutil.disk_usage(place).free < LEAST_SPACE:
        return Check("store", "warning", f"{found}; the disk is almost full", "Free some space.")
    return Check("store", "ok", found)


def _new_store(path: Path) -> Check:
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if folder.is_dir() and os.access(folder, os.W_OK):
        return Check("store", "ok", f"none yet; it would be {path}")
    mend = "Set another location with SIM_DEVIN_STORE."
    return Check(
        "store", "failed", f"{path} cannot be created: {folder} is not a writable folder", mend
    )
