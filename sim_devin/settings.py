"""Settings and credentials: from arguments, the environment, a config file, the keyring.

The config file is TOML; it must not be readable by others, since it may hold an API key::

    [credentials.devin]
    apiKey = "cog_…"
    orgId = "org-…"

    [settings]
    max_acu = 10

    [policy]
    confirm = ["destructive", "costs-money"]

    [network]
    allow = ["wiki.internal:8443", "10.1.0.0/16"]
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sim_devin.calls.intents import GRACE, Settle
from sim_devin.calls.network import SETTING as NETWORK_ALLOW
from sim_devin.calls.network import NetworkPolicy
from sim_devin.errors import CallerError
from sim_devin.policy.rules import Policy
from sim_devin.specs.models import Connection
from sim_devin.specs.schema import number
from sim_devin.text import did_you_mean, nearest

APP_NAME = "sim-devin"

# The sections of the config file, and those of them that set limits.
_SECTIONS = ("credentials", "settings", "policy", "network", "hooks", "schedules", "reminders")
_LIMITS = (
    *("max_acu", "max_acu_day", "max_sessions_run", "max_sessions_day", "max_minutes"),
    *("max_sessions", "max_creates_per_minute", "disable"),
)
_SETTINGS = (
    *_LIMITS,
    *("base_url", "retries", "grace", "ambiguous", "specs", "strict", "simulate", "otel"),
    *("model", "model_url", "model_api_key"),
)
_VARIABLES = (
    *("SIM_DEVIN_CONFIG", "SIM_DEVIN_STORE", "SIM_DEVIN_LEASE", "SIM_DEVIN_MCP_TOKEN"),
    *(NETWORK_ALLOW, "SIM_DEVIN_COMPLETE"),
)

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("", "0", "false", "no", "off")


@dataclass(frozen=True)
class Settings:
    """The settings of an app. The repr hides the credentials.

    Attributes:
        credentials: connection id -> field -> value, from the config file.
        env: the environment that was read.
        base_url: overrides the built-in connection's base URL; empty for none.
        max_acu: ceiling for the ACU limit of every session; None for none.
        max_acu_day: daily ACU limit (UTC) for the sum of the caps; the stricter of this and the
            policy's applies; None for none.
        max_sessions_run: maximum number of sessions created by one run; None for no limit.
        max_sessions_day: maximum number of sessions per day (UTC); None for no limit.
        max_minutes: minutes after its create at which an unfinished session is ended; None for
            never.
        max_sessions: maximum number of sessions of an organization in progress at once for the
            durable runs of a store; None for no limit.
        max_creates_per_minute: maximum number of sessions of an organization that they create
            within a minute; None for no limit.
        retries: attempts after the first; None for the default.
        settle: how an ambiguous create or message is settled.
        specs: folders of spec files to load as plugins.
        disabled: names of plugins not to load.
        strict: whether a broken plugin is fatal.
        simulate: whether to use the built-in simulator.
        otel: whether to create OpenTelemetry spans (extra ``otel``).
        hooks: the config file's ``[hooks]``, see `sim_devin.service.hooks`.
        schedules: the config file's ``[schedules]``, see `sim_devin.service.schedules`.
        reminders: the config file's ``[reminders]``, see `sim_devin.runs.reminders`.
        policy: the config file's ``[policy]``: what agents and workflows may do.
        network: the config file's ``[network]``: addresses that workflow requests may reach
            besides public ones.
        model: the language model for blocks that do not name one; empty for none.
        model_url: an OpenAI-compatible endpoint used instead of the providers.
        model_api_key: the endpoint's key.
        unread: messages about unknown entries in the config file or the environment.
    """

    credentials: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    base_url: str = ""
    max_acu: float | None = None
    max_acu_day: float | None = None
    max_sessions_run: int | None = None
    max_sessions_day: int | None = None
    max_minutes: int | None = None
    max_sessions: int | None = None
    max_creates_per_minute: int | None = None
    retries: int | None = None
    settle: Settle = field(default_factory=Settle)
    specs: tuple[Path, ...] = ()
    disabled: tuple[str, ...] = ()
    strict: bool = False
    simulate: bool = False
    otel: bool = False
    hooks: Mapping[str, Any] = field(default_factory=dict, repr=False)
    schedules: Mapping[str, Any] = field(default_factory=dict, repr=False)
    reminders: Mapping[str, Any] = field(default_factory=dict, repr=False)
    policy: Policy = field(default_factory=Policy)
    network: NetworkPolicy = field(default_factory=NetworkPolicy)
    model: str = ""
    model_url: str = ""
    model_api_key: str = field(default="", repr=False)
    unread: tuple[str, ...] = ()

    def ceilings(self) -> Policy:
        """Return the ceilings of the settings, as a policy with nothing else."""
        return Policy(
            acu_per_call=self.max_acu,
            acu_per_day=self.max_acu_day,
            sessions_per_run=self.max_sessions_run,
            sessions_per_day=self.max_sessions_day,
            minutes_per_session=self.max_minutes,
        )

    def credentials_for(self, connection: Connection) -> dict[str, str]:
        """Return the known fields of a connection: environment first, then file, then keyring."""
        found: dict[str, str] = {}
        stored = self.credentials.get(connection.id, {})
        for name, declared in connection.fields.items():
            value = self.env.get(declared.env, "").strip() or str(stored.get(name, "")).strip()
            value = value or _from_keyring(f"{connection.id}.{name}", wanted=declared.secret)
            if value:
                found[name] = value
        return found

    def base_url_for(self, connection: Connection, *, own: bool) -> str:
        """Return the base URL to use for a connection; `base_url` is that of the built-in one."""
        given = self.base_url if own else ""
        return given or self.env.get(connection.base_url_env, "") or connection.base_url


def config_path(env: Mapping[str, str]) -> Path:
    """Return the path of the config file: ``SIM_DEVIN_CONFIG`` or in the user's config folder."""
    named = env.get("SIM_DEVIN_CONFIG", "")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_config_path

    return user_config_path(APP_NAME) / "config.toml"


def load_settings(env: Mapping[str, str] | None = None, config: Path | None = None) -> Settings:
    """Return the settings from the environment and the config file; the environment wins.

    Raises:
        CallerError: a value is invalid, or the config file is readable by others.
    """
    env = os.environ if env is None else env
    document = _read_config(config or config_path(env), named=config is not None)
    table = document.get("settings", {})
    if not isinstance(table, Mapping):
        raise CallerError("[settings] must be a table.")

    def value(name: str, default: Any = None) -> Any:
        return env.get(f"SIM_DEVIN_{name.upper()}", table.get(name, default))

    def at_least(least: int, name: str) -> int | None:
        # A variable set to an empty string does not remove a ceiling of the file.
        given = env.get(f"SIM_DEVIN_{name.upper()}", "").strip() or table.get(name)
        return None if given is None else _integer(name, given, least)

    return Settings(
        credentials=_credentials(document.get("credentials", {})),
        env=env,
        base_url=str(value("base_url", "")),
        max_acu=at_least(1, "max_acu"),
        max_acu_day=at_least(1, "max_acu_day"),
        max_sessions_run=at_least(1, "max_sessions_run"),
        max_sessions_day=at_least(1, "max_sessions_day"),
        max_minutes=at_least(1, "max_minutes"),
        max_sessions=at_least(1, "max_sessions"),
        max_creates_per_minute=at_least(1, "max_creates_per_minute"),
        retries=at_least(0, "retries"),
        settle=Settle(
            grace=_seconds("grace", value("grace", GRACE)),
            policy=_one_of("ambiguous", value("ambiguous", "hold"), ("hold", "retry")),
        ),
        specs=tuple(Path(item) for item in _many(value("specs", "")) if item),
        disabled=tuple(item.strip() for item in _many(value("disable", ""), ",") if item.strip()),
        strict=_flag("strict", value("strict", "")),
        simulate=_flag("simulate", value("simulate", "")),
        otel=_flag("otel", value("otel", "")),
        hooks=document.get("hooks", {}),
        schedules=document.get("schedules", {}),
        reminders=document.get("reminders", {}),
        policy=_policy(document.get("policy", {})),
        network=_network(document.get("network", {}), env.get(NETWORK_ALLOW)),
        model=str(value("model", "")).strip(),
        model_url=str(value("model_url", "")).strip(),
        model_api_key=str(value("model_api_key", "")).strip(),
        unread=tuple(_unread(document, table, env)),
    )


def _credentials(table: Any) -> Mapping[str, Mapping[str, str]]:
    if not isinstance(table, Mapping):
        raise CallerError("[credentials] must be a table of tables.")
    for name, stored in table.items():
        if not isinstance(stored, Mapping):
            raise CallerError(
                f"[credentials] {name[:60]} must be a table.", hint=f"Write [credentials.{name}]."
            )
    return table


def _unread(
    document: Mapping[str, Any], table: Mapping[str, Any], env: Mapping[str, str]
) -> Iterator[str]:
    """Yield a message for each unknown entry, with the nearest known name.

    Raises:
        CallerError: the entry looks like a limit, or a section of limits, which would not be
            enforced.
    """
    prefix = "SIM_DEVIN_"
    variables = [f"{prefix}{name.upper()}" for name in _SETTINGS] + list(_VARIABLES)
    asked = [name for name in env if name.startswith(prefix)]
    for place, found, known, limits in (
        ("The config file has the unknown section", document, _SECTIONS, ("policy", "settings")),
        ("[settings] has the unknown key", table, _SETTINGS, _LIMITS),
        (
            "The environment has the unknown variable",
            asked,
            variables,
            [f"{prefix}{name.upper()}" for name in _LIMITS],
        ),
    ):
        for name in found:
            if name in known:
                continue
            by_word = {item.lower().removeprefix("sim_devin_"): item for item in known}
            word = name.lower().removeprefix("sim_devin_")
            close = [by_word[item] for item in nearest(word, by_word, limit=1, cutoff=0.75)]
            said = f"{place} {name[:60]!r}."
            hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
            if close and close[0] in limits:
                raise CallerError(
                    f"{said} It looks like a limit, which would not be enforced.", hint=hint
                )
            if close or found is not asked:  # variables with that prefix may belong to others
                yield f"{said} {hint}"


def _read_config(path: Path, *, named: bool) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if named:
            raise CallerError(f"The config file {path} does not exist.") from None
        return {}
    except OSError as error:
        raise CallerError(f"The config file {path} cannot be read: {error.strerror}.") from None
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        # A syntax error's text can quote the line, and with it the key.
        known = isinstance(error, tomllib.TOMLDecodeError)
        place = f" ({_position(error)})" if known else ""
        raise CallerError(f"The config file {path} is not valid TOML{place}.") from None
    secret = document.get("credentials") or document.get("settings", {}).get("model_api_key")
    secret = secret or document.get("hooks") or "url" in document.get("reminders", {})
    if secret and os.name == "posix":
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise CallerError(
                f"The config file {path} contains credentials but is readable by others.",
                hint=f"Run: chmod 600 {path}",
            )
    return document


def _policy(table: Mapping[str, Any]) -> Policy:
    """Return the policy defined by a config file's table. A list may be a single string."""
    if not isinstance(table, Mapping):
        raise CallerError("[policy] must be a table.")
    known = {item.name: item.default for item in fields(Policy)}
    given: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            raise CallerError(f"Unknown key {name!r} in [policy].", hint=did_you_mean(name, known))
        if isinstance(known[name], bool):
            fits, wanted = isinstance(value, bool), "true or false"
        elif known[name] is None:
            fits = isinstance(value, (int, float)) and not isinstance(value, bool)
            what = name.partition("_")[0]
            wanted = f"a number of {'ACUs' if what == 'acu' else what}"
        else:
            value = [value] if isinstance(value, str) else value
            fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
            wanted = "a list of patterns"
        if not fits:
            raise CallerError(f"[policy] {name} is {str(value)[:60]!r}; it must be {wanted}.")
        given[name] = tuple(value) if isinstance(value, list) else value
    return Policy(**given)


def _network(table: Any, variable: str | None) -> NetworkPolicy:
    """Return the addresses allowed by a config file's table, or by the environment's variable."""
    if not isinstance(table, Mapping):
        raise CallerError("[network] must be a table.")
    for name in table:
        if name != "allow":
            raise CallerError(
                f"Unknown key {name!r} in [network].",
                hint=did_you_mean(name, ["allow"]),
            )
    entries = table.get("allow", [])
    entries = [entries] if isinstance(entries, str) else entries
    if not isinstance(entries, list) or not all(isinstance(item, str) for item in entries):
        raise CallerError("[network] allow must be a list of strings.")
    place = "[network] allow" if variable is None else NETWORK_ALLOW
    try:
        return NetworkPolicy(entries if variable is None else variable.split(","))
    except ValueError as error:
        raise CallerError(
            f"{place} has an invalid entry: {error}.",
            hint="An entry is a host, host:port or a network such as 10.0.0.0/8.",
        ) from None


def _position(error: Exception) -> str:
    _, found, place = str(error).rpartition("(at ")
    return place.rstrip(")") if found else "see the file"


def _from_keyring(name: str, *, wanted: bool) -> str:
    """Return a secret kept by the operating system, if the keyring library is installed."""
    if not wanted:
        return ""
    try:
        import keyring
        import keyring.errors
    except ImportError:
        return ""
    try:
        return keyring.get_password(APP_NAME, name) or ""
    except keyring.errors.KeyringError:
        return ""


def _many(value: Any, separator: str = os.pathsep) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else str(value).split(separator)


def _integer(name: str, value: Any, least: int) -> int:
    found = number(value) if isinstance(value, str) else value
    real = isinstance(found, (int, float)) and not isinstance(found, bool)
    if found is None or not real or not found >= least or found % 1:
        raise _wrong(name, value, f"a whole number of at least {least}")
    return int(found)


def _seconds(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < 1e9:
        raise _wrong(name, value, "a number of seconds")
    return number


def _flag(name: str, value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in (*_TRUE, *_FALSE):
        raise _wrong(name, value, "1 or 0")
    return text in _TRUE


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> Any:
    if value not in allowed:
        raise _wrong(name, value, " or ".join(allowed))
    return value


def _wrong(name: str, value: Any, wanted: str) -> CallerError:
    variable = f"SIM_DEVIN_{name.upper()}"
    return CallerError(
        f"The setting {name} ({variable}) is {str(value)[:60]!r}; it must be {wanted}."
    )
