"""The wiring: arguments, environment, config file and plugins → an `App`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sim_devin.app import App
from sim_devin.calls.ceilings import checked, least
from sim_devin.calls.intents import Ledger, Settle
from sim_devin.calls.retry import RetryPolicy
from sim_devin.calls.transport import Transport, check_base_url
from sim_devin.clock import Clock, RealClock
from sim_devin.devin.intents import MemoryLedger
from sim_devin.engine.services import Model
from sim_devin.llm.language_model import PydanticAiModel
from sim_devin.plugins import loading as plugins
from sim_devin.plugins import registry
from sim_devin.plugins.registry import Registry
from sim_devin.policy.rules import Policy
from sim_devin.settings import Settings, load_settings
from sim_devin.store.memory import MemoryStore, RunStore
from sim_devin.text import did_you_mean

SIMULATED_CREDENTIALS = {"apiKey": "cog_simulated_key", "orgId": "org-simulated"}

logger = logging.getLogger("sim_devin")


def open_app(
    *,
    transport: Transport | None = None,
    llm: Any = None,
    store: RunStore | str | Path | None = None,
    plugins: Iterable[object] = (),
    base_url: str | None = None,
    clock: Clock | None = None,
    credentials: Mapping[str, str] | None = None,
    specs: Iterable[Path | str] = (),
    discover: bool = True,
    simulate: bool | None = None,
    retries: int | None = None,
    max_acu: int | None = None,
    policy: Policy | None = None,
    ledger: Ledger | None = None,
    settle: Settle | None = None,
    strict: bool | None = None,
    env: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> App:
    """Return an app. Arguments win over the environment, which wins over the config file.

    Args:
        transport: carries requests; `HttpTransport` unless given.
        llm: the model of agent, router and evaluator blocks, see `engine.services.Model`;
            any provider through pydantic-ai (extra ``agent``) unless given, or a simulated
            one with `simulate`.
        store: keeps runs: an object, or the place of durable runs as `SIM_DEVIN_STORE` has it:
            a file, a ``postgresql://`` address, ``memory``. With a simulator, ``memory`` unless
            given. Paused runs that are not durable are kept in memory unless an object is given.
        plugins: further plugins, as modules or objects with hook implementations.
        base_url: the API's address up to and including ``/v3``.
        clock: the time.
        credentials: connection fields, such as ``{"apiKey": …, "orgId": …}``.
        specs: folders of spec files to load as plugins.
        discover: whether to load installed plugins.
        simulate: talk to the built-in simulator of Devin, and to a simulated language model:
            no account, no key, no network.
        retries: tries after the first one; 0 turns retrying off.
        max_acu: ceiling for the ACU limit of every session; it can only lower one.
        policy: what agents and workflows may do. It goes over the config file's ``[policy]``,
            which it can only tighten, see `Policy.tightened`.
        ledger: where intents of creates and messages are recorded; in memory unless given.
        settle: how an ambiguous create or message is settled.
        strict: whether a broken plugin is fatal.
        env: the environment to read; the process's unless given.
        config: the config file; the user's unless given.

    Raises:
        CallerError: a setting cannot be used.
        PluginError: in strict mode, when a plugin is broken.
    """
    settings = load_settings(env, config)
    written = settings.policy
    settings = _under(settings, policy or Policy(), max_acu)
    strict = settings.strict if strict is None else strict
    loaded = _load(settings, plugins, specs, discover=discover, strict=strict)
    simulate = settings.simulate if simulate is None else simulate
    if simulate and transport is None:
        from sim_devin.simulated import SimulatedTransport

        simulated = SimulatedTransport(clock)
        transport, clock = simulated, simulated.clock
    if not isinstance(store, (str, Path)) and hasattr(transport, "simulator"):
        # Its sessions end with this process, and no worker may go on with such a run for real.
        store = store or "memory"
    if isinstance(store, (str, Path)):
        settings = replace(settings, env={**settings.env, "SIM_DEVIN_STORE": str(store)})
        store = None
    built = registry.build(loaded, strict=strict)
    for slip in (*written.slips(built.tools), *(policy or Policy()).slips(built.tools)):
        logger.warning("policy: %s", slip)
    for slip in (*settings.unread, *_unread_credentials(settings, built)):
        logger.warning("%s", slip)
    clock = clock or RealClock()
    return App(
        registry=built,
        settings=settings,
        transport=transport,
        clock=clock,
        llm=_model(settings, retries, simulate=simulate) if llm is None else llm,
        store=store or MemoryStore(),
        base_url=check_base_url(base_url) if base_url else "",
        credentials={**(SIMULATED_CREDENTIALS if simulate else {}), **(credentials or {})},
        retry_policy=_retry_policy(settings.retries if retries is None else retries),
        ledger=ledger or MemoryLedger(),
        settle=settle or settings.settle,
    )


def _unread_credentials(settings: Settings, built: Registry) -> Iterator[str]:
    """Yield what stands below ``[credentials]`` and no connection has."""
    for name, stored in settings.credentials.items():
        connection = built.connections.get(name)
        if connection is None:
            hint = did_you_mean(name, built.connections) or "No loaded plugin provides it."
            yield f"Unknown connection {name[:60]!r} in [credentials]. {hint}"
            continue
        for field in stored:
            if field not in connection.fields:
                hint = did_you_mean(field, connection.fields)
                hint = hint or f"Known: {', '.join(connection.fields)}."
                yield f"Unknown key {field[:60]!r} in [credentials.{name}]. {hint}"


def _load(
    settings: Settings,
    extra: Iterable[object],
    folders: Iterable[Path | str],
    *,
    discover: bool,
    strict: bool,
) -> list[plugins.Loaded]:
    from sim_devin import blocks as handlers
    from sim_devin.devin import plugin as devin

    return plugins.load(
        {"devin": devin, "workflow": handlers},
        extra,
        folders=[*settings.specs, *map(Path, folders)],
        discover=discover,
        disabled=settings.disabled,
        strict=strict,
    )


def _model(settings: Settings, retries: int | None, *, simulate: bool) -> Model:
    if simulate:
        from sim_devin.simulated import SimulatedModel

        return SimulatedModel()
    return PydanticAiModel(
        settings.env,
        default=settings.model,
        url=settings.model_url,
        key=settings.model_api_key,
        retries=settings.retries if retries is None else retries,
    )


def _under(settings: Settings, policy: Policy, max_acu: int | None) -> Settings:
    """Return the settings with the policy that holds: the file's, under all that tightens it."""
    most = least(checked("max_acu", max_acu), settings.max_acu)
    both = settings.policy.tightened(policy).tightened(settings.ceilings())
    both = both.tightened(Policy(acu_per_call=most))
    return replace(settings, policy=both, max_acu=most, max_acu_day=both.acu_per_day)


def _retry_policy(retries: int | None) -> RetryPolicy:
    return RetryPolicy() if retries is None else RetryPolicy(retries=retries)
