"""``sim-devin simulate``: a simulated Devin for other programs."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sim_devin.cli.commands.arguments import named_texts
from sim_devin.cli.commands.options import SPEED, Finite
from sim_devin.cli.commands.output import echo_table
from sim_devin.cli.commands.serving import serve_until_interrupted
from sim_devin.cli.commands.verbosity import verbose_option
from sim_devin.errors import CallerError, Cancelled

if TYPE_CHECKING:
    from sim_devin.simulator import Simulator

KEY = "cog_simulated"
ORG = "org-simulated"


@click.command("simulate")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8787,
    show_default=True,
    help="Port to listen on; 0 selects a free one.",
)
@click.option(
    "--speed",
    type=Finite(min=0),
    default=SPEED,
    show_default=True,
    help="Simulated seconds per real second; 0 stops the clock.",
)
@click.option(
    "--scenario",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Load scenarios (JSON or YAML); the last one becomes the default. Repeatable.",
)
@click.option(
    "--switch",
    "switches",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change the behavior of the service; see --list. Repeatable.",
)
@click.option("--list", "show", is_flag=True, help="List the scenarios and switches.")
@click.option(
    "--allow-remote",
    is_flag=True,
    help="Allow a --host that other machines can reach. Anyone there can use the simulator.",
)
@verbose_option
def command(
    host: str,
    port: int,
    speed: float,
    files: tuple[Path, ...],
    switches: tuple[str, ...],
    show: bool,
    allow_remote: bool,
) -> None:
    """Run a simulated Devin API on this machine until Ctrl-C.

    Prints the variables to set in another terminal; any client of Devin's v3 API can then use it.
    A prompt with [scenario: NAME] selects the scenario of its session.
    """
    simulator = _simulator(speed, files, switches)
    if show:
        _list(simulator)
        return
    if not is_loopback(host) and not allow_remote:
        raise CallerError(
            f"{host} can be reached from other machines.",
            hint="Add --allow-remote if this is intended.",
        )
    try:
        serve_until_interrupted(simulator, host, port, lambda url: _announce(url, speed))
    except KeyboardInterrupt:
        click.get_current_context().exit(Cancelled.exit_code)


def _announce(url: str, speed: float) -> None:
    pace = f"its clock runs at {speed:g} times real time" if speed else "its clock is stopped"
    click.echo(f"A simulated Devin is listening on {url}; {pace}.")
    click.echo("Paste this into another terminal:\n")
    for name, value in (("DEVIN_BASE_URL", url), ("DEVIN_API_KEY", KEY), ("DEVIN_ORG_ID", ORG)):
        click.echo(f"export {name}={value}")
    click.echo("\nCtrl-C stops it.")


def _simulator(speed: float, files: tuple[Path, ...], switches: tuple[str, ...]) -> Simulator:
    from sim_devin.simulator import (
        ScenarioError,
        SimClock,
        Simulator,
        SwitchError,
        Switches,
        load_scenarios,
    )

    try:
        scenarios = [scenario for file in files for scenario in load_scenarios(file)]
        return Simulator(
            clock=SimClock(speed=speed),
            switches=Switches.parse(named_texts(switches)),
            scenarios=scenarios,
            default_scenario=scenarios[-1].name if scenarios else "finish",
        )
    except (ScenarioError, SwitchError) as error:
        raise CallerError(str(error)) from None


def _list(simulator: Simulator) -> None:
    echo_table(
        ("SCENARIO", "WHAT HAPPENS"),
        ((item.name, item.description) for item in simulator.scenarios.values()),
    )
    click.echo("")
    echo_table(
        ("SWITCH", "DEFAULT", "MEANING"),
        (
            (
                name,
                _value(default),
                f"{about} [{', '.join(map(str, allowed))}]" if allowed else about,
            )
            for name, default, allowed, about in type(simulator.switches).describe()
        ),
    )


def _value(default: object) -> str:
    return ",".join(default) if isinstance(default, tuple) else str(default)


def is_loopback(host: str) -> bool:
    """Return whether an address is local to this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
