"""``sim-devin config``: the settings, their sources, and storing a key."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sim_devin.calls.network import SETTING as NETWORK_ALLOW
from sim_devin.cli.commands.config_file import read, write_credential
from sim_devin.cli.commands.options import AppOptions, app_options, json_option
from sim_devin.cli.commands.output import echo_json, echo_table
from sim_devin.errors import CallerError, UnknownName

if TYPE_CHECKING:
    from sim_devin.app import App
    from sim_devin.policy.rules import Policy
    from sim_devin.specs.models import Connection

MASK = "***"


@click.group("config")
def command() -> None:
    """Show the settings and their sources; store a key.

    Options override the environment, which overrides the config file. Secrets are also read from
    the operating system's keyring, if the keyring library is installed.
    """


@command.command("path")
@app_options(talks=False)
def path(options: AppOptions) -> None:
    """Print the path of the config file, whether or not it exists."""
    click.echo(str(_path(options)))


@command.command("show")
@json_option()
@app_options(talks=False)
def show(as_json: bool, options: AppOptions) -> None:
    """Show every setting and credential with its source; secrets are masked."""
    with options.open(strict=False) as app:
        rows = [*_credentials(app), *_settings(app, _path(options))]
    if as_json:
        echo_json(
            [
                {"name": name, "value": value, "source": source, "environment": variable}
                for name, value, source, variable in rows
            ]
        )
        return
    echo_table(("SETTING", "VALUE", "FROM", "ENVIRONMENT VARIABLE"), rows)
    click.echo(f"\nConfig file: {_path(options)}")


@command.command("set-key")
@click.option(
    "--connection", default="devin", show_default=True, help="The service that the key is for."
)
@click.option("--org", metavar="ID", help="Also store this organization.")
@click.option(
    "--store",
    type=click.Choice(["auto", "keyring", "file"]),
    default="auto",
    show_default=True,
    help="Where to store the key; auto uses the keyring if available.",
)
@app_options(talks=False)
def set_key(connection: str, org: str | None, store: str, options: AppOptions) -> None:
    """Store an API key, read from a prompt or from standard input.

    The key is stored in the operating system's keyring, or else in the config file, which is then
    readable by you alone. It cannot be passed on the command line.
    """
    with options.open(strict=False) as app:
        registry = app.registry
    if connection not in registry.connections:
        raise UnknownName("connection", connection, registry.connections)
    target = registry.connections[connection]
    field = next((name for name, item in target.fields.items() if item.secret), None)
    if field is None:
        raise CallerError(f"The connection {connection!r} has no secret.")
    if org is not None and "orgId" not in target.fields:
        raise CallerError(f"The connection {connection!r} has no organization.")
    path = _path(options)
    key = _read_key(target.fields[field].title)
    _store(key, target, field, store, path)
    if org is not None:
        write_credential(path, connection, "orgId", org)
        click.echo(f"Stored the organization in {path}.", err=True)
    variable = target.fields[field].env
    if os.environ.get(variable):
        click.echo(f"warning: {variable} is set in the environment and takes precedence.", err=True)


def _path(options: AppOptions) -> Path:
    from sim_devin.settings import config_path

    return options.config or config_path(os.environ)


Row = tuple[str, str, str, str]  # name, displayed value, source, variable


def _credentials(app: App) -> Iterator[Row]:
    for connection in app.registry.connections.values():
        found = app.settings.credentials_for(connection)
        stored = app.settings.credentials.get(connection.id, {})
        for name, field in connection.fields.items():
            value = found.get(name, "")
            if os.environ.get(field.env, "").strip():
                source = "environment"
            elif str(stored.get(name, "")).strip():
                source = "config file"
            else:
                source = "keyring" if value else "not set"
            shown = MASK if value and field.secret else value
            yield f"{connection.id}.{name}", shown, source, field.env


def _settings(app: App, path: Path) -> Iterator[Row]:
    settings = app.settings
    values: dict[str, Any] = {
        "base_url": settings.base_url,
        "max_acu": settings.max_acu,
        "max_acu_day": settings.max_acu_day,
        "max_sessions_run": settings.max_sessions_run,
        "max_sessions_day": settings.max_sessions_day,
        "max_minutes": settings.max_minutes,
        "max_sessions": settings.max_sessions,
        "max_creates_per_minute": settings.max_creates_per_minute,
        "retries": settings.retries,
        "grace": settings.settle.grace,
        "ambiguous": settings.settle.policy,
        "specs": os.pathsep.join(map(str, settings.specs)),
        "disable": ",".join(settings.disabled),
        "strict": settings.strict,
        "simulate": settings.simulate,
        "model": settings.model,
        "model_url": settings.model_url,
        "model_api_key": MASK if settings.model_api_key else "",
    }
    written = read(path).get("settings", {})
    for name, value in values.items():
        variable = f"SIM_DEVIN_{name.upper()}"
        given = os.environ.get(variable)
        # A limit set to an empty value counts as not set.
        if given is not None and (given.strip() or value in (None, "", False)):
            source = "environment"
        else:
            source = "config file" if name in written else "default"
        yield name, "" if value is None else str(value), source, variable
    yield from _policy(settings.policy, read(path).get("policy", {}))
    written = read(path).get("network", {})
    source = "config file" if "allow" in written else "default"
    source = "environment" if NETWORK_ALLOW in os.environ else source
    yield "network.allow", ",".join(settings.network.allow), source, NETWORK_ALLOW
    for connection in app.registry.connections.values():
        if connection.base_url_env:
            own = connection.id == app.registry.own_connection
            given = settings.base_url if own else ""
            named = not given and os.environ.get(connection.base_url_env)
            source = "environment" if named else "base_url" if given else "default"
            url = settings.base_url_for(connection, own=own)
            yield f"{connection.id}.base_url", url, source, connection.base_url_env


def _policy(policy: Policy, written: Mapping[str, Any]) -> Iterator[Row]:
    from sim_devin.policy.rules import Policy

    for name, value in asdict(policy).items():
        shown = ",".join(value) if isinstance(value, tuple) else "" if value is None else str(value)
        if name in written and (not isinstance(value, (int, float)) or value == written[name]):
            source = "config file"
        else:
            source = "default" if value == getattr(Policy(), name) else "settings"
        yield f"policy.{name}", shown, source, ""


def _read_key(title: str) -> str:
    if sys.stdin.isatty():
        key: str = click.prompt(title, hide_input=True, err=True)
    else:
        key = sys.stdin.readline()
    key = key.strip()
    if not key:
        raise CallerError(
            "No key was entered.", hint="Type it at the prompt, or pipe it to standard input."
        )
    return key


def _store(key: str, connection: Connection, field: str, store: str, path: Path) -> None:
    if store != "file":
        problem = _to_keyring(f"{connection.id}.{field}", key)
        if problem is None:
            click.echo("Stored the key in the keyring.", err=True)
            if field in read(path).get("credentials", {}).get(connection.id, {}):
                click.echo(
                    f"warning: {path} contains another key, which takes precedence.", err=True
                )
            return
        if store == "keyring":
            raise CallerError(f"The keyring is not available: {problem}.", hint="Use --store file.")
    write_credential(path, connection.id, field, key)
    click.echo(f"Stored the key in {path}, readable by you alone.", err=True)


def _to_keyring(name: str, key: str) -> str | None:
    """Store a secret in the operating system's keyring; return the problem, or None."""
    from sim_devin.settings import APP_NAME

    try:
        import keyring
        import keyring.errors
    except ImportError:
        return "the keyring library is not installed (pip install 'sim-devin[keyring]')"
    try:
        keyring.set_password(APP_NAME, name, key)
    except keyring.errors.KeyringError as error:
        return str(error) or type(error).__name__
    return None
