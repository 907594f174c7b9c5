"""Options that many commands share, and the app they configure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sim_devin.cli.commands.failures import JSON_ERRORS, REDACTOR, SIMULATED
from sim_devin.cli.commands.verbosity import verbose_option

if TYPE_CHECKING:
    from sim_devin.app import App
    from sim_devin.policy.rules import Policy

Function = Callable[..., Any]

SPEED = 60.0  # simulated seconds per real second


@dataclass(frozen=True)
class AppOptions:
    """The options that determine which app to open."""

    simulate: bool = False
    base_url: str | None = None
    org: str | None = None
    config: Path | None = None
    specs: tuple[Path, ...] = ()

    def open(
        self,
        *,
        speed: float = SPEED,
        strict: bool | None = None,
        store: str | None = None,
        policy: Policy | None = None,
    ) -> App:
        """Return the app; `speed` is the pace of the simulator's clock, if it is used.

        `store` overrides where durable runs are kept; `policy` is combined with that of the config
        file.

        Raises:
            SimDevinError: a setting is invalid.
        """
        from sim_devin.app import SIMULATED_CREDENTIALS, open_app
        from sim_devin.settings import load_settings
        from sim_devin.simulator import SimClock

        simulate = self.simulate or load_settings(config=self.config).simulate
        if simulate and self.base_url:
            raise click.UsageError("--simulate uses its own address; omit --base-url.")
        credentials = dict(SIMULATED_CREDENTIALS) if simulate else {}
        if self.org:
            credentials["orgId"] = self.org
        app = open_app(
            simulate=simulate,
            clock=SimClock(speed=speed) if simulate else None,
            base_url=self.base_url,
            credentials=credentials,
            config=self.config,
            specs=self.specs,
            strict=strict,
            store=store,
            policy=policy,
        )
        meta = click.get_current_context().meta
        meta[SIMULATED] = simulate
        meta[REDACTOR] = app.redactor
        return app


def app_options(*, talks: bool = True) -> Callable[[Function], Function]:
    """Return a decorator that adds the options of an app; the command gets them as `options`.

    With ``talks=False``, only the options that matter without contacting the service.
    """
    specs = click.option(
        "--specs",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FOLDER",
        help="Load a folder of spec files as a plugin. Repeatable.",
    )
    config = click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Use this config file instead of the default one.",
    )
    org = click.option("--org", metavar="ID", help="Devin organization; default: DEVIN_ORG_ID.")
    base_url = click.option("--base-url", metavar="URL", help="Base URL of the API, including /v3.")
    simulate = click.option(
        "--simulate", is_flag=True, help="Use the built-in simulator: no account, no network."
    )
    chosen = [verbose_option, specs, config, *([org, base_url, simulate] if talks else [])]
    names = ("specs", "config", *(("org", "base_url", "simulate") if talks else ()))

    def decorate(function: Function) -> Function:
        @wraps(function)
        def command(**values: Any) -> Any:
            given = {name: values.pop(name) for name in names if name in values}
            return function(options=AppOptions(**given), **values)

        for option in chosen:
            command = option(command)
        return command

    return decorate


def _wants_json(ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
    if value:
        ctx.meta[JSON_ERRORS] = True
    return value


def json_option(
    help: str = "Print JSON; errors are JSON on standard error too.",
) -> Callable[[Function], Function]:
    """Return a decorator that adds ``--json``; the command gets it as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, callback=_wants_json, help=help)


def json_input_option(help: str) -> Callable[[Function], Function]:
    """Return a decorator that adds a ``--json`` that reads input, as `json_input`."""
    return click.option(
        "--json", "json_input", metavar="-|FILE|TEXT", callback=_wants_json, help=help
    )


def quiet_option(function: Function) -> Function:
    """Add ``-q``/``--quiet`` to a command, which gets it as `quiet`."""
    return click.option("-q", "--quiet", is_flag=True, help="Hide progress.")(function)


class Finite(click.FloatRange):
    """A number in a range, excluding NaN and infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number.

        Raises:
            click.BadParameter: it is not a number, or out of range.
        """
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


def seconds(text: str) -> float:
    """Return a duration such as ``90``, ``90s``, ``15m``, ``2h`` or ``1d`` in seconds.

    Raises:
        click.BadParameter: it is not a positive duration.
    """
    from sim_devin.clock import parse_duration

    try:
        return parse_duration(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a positive duration such as 90, 15m or 2h."
        ) from None


def complete_tool(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    """Return the tools whose ids start with the typed text, for shell completion."""
    from click.shell_completion import CompletionItem

    from sim_devin.app import open_app
    from sim_devin.errors import SimDevinError

    try:
        tools = open_app().registry.tools
    except SimDevinError:
        return []
    return [
        CompletionItem(tool.id, help=tool.title)
        for tool in tools.values()
        if tool.id.startswith(incomplete)
    ]


def speed_option(function: Function) -> Function:
    """Add ``--speed`` to a command, which gets it as `speed`."""
    return click.option(
        "--speed",
        type=Finite(min=0),
        default=SPEED,
        show_default=True,
        help="With --simulate: simulated seconds per real second; 0 does not wait at all.",
    )(function)


def refuse_detached_simulation(ctx: click.Context) -> None:
    """Refuse to leave a run to a worker if this command has its own simulator.

    Raises:
        click.UsageError: it has.
    """
    if ctx.meta.get(SIMULATED):
        raise click.UsageError(
            "A simulated run ends with its process and cannot be left to a worker.", ctx
        )
