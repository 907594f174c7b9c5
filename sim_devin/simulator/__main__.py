"""``python -m sim_devin.simulator``: serve a simulated Devin on this machine.

Options: ``--port N`` (8787), ``--speed X`` (60, simulated seconds in a real one), ``--scenario
FILE`` (repeatable; the last one becomes the default), ``--switch NAME=VALUE`` (repeatable).
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence

from sim_devin.simulator.clock import SimClock
from sim_devin.simulator.scenario import ScenarioError, load_scenarios
from sim_devin.simulator.server import serve
from sim_devin.simulator.simulator import Simulator
from sim_devin.simulator.switches import SwitchError, Switches


def main(arguments: Sequence[str] | None = None, stop: threading.Event | None = None) -> int:
    """Serve until interrupted or until `stop` is set; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m sim_devin.simulator",
        description="Serve a simulated Devin on this machine.",
    )
    parser.add_argument("--port", type=int, default=8787, help="0 takes a free one")
    parser.add_argument("--speed", type=float, default=60.0, help="simulated seconds in a second")
    parser.add_argument("--scenario", action="append", default=[], metavar="FILE")
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args(arguments)
    try:
        pairs = dict(item.partition("=")[::2] for item in options.switch)
        scenarios = [scenario for path in options.scenario for scenario in load_scenarios(path)]
        simulator = Simulator(
            clock=SimClock(speed=options.speed),
            switches=Switches.parse(pairs),
            scenarios=scenarios,
            default_scenario=scenarios[-1].name if scenarios else "finish",
        )
        with serve(simulator, port=options.port) as url:
            sys.stdout.write(
                f"DEVIN_BASE_URL={url} DEVIN_API_KEY=cog_simulated DEVIN_ORG_ID=org-simulated\n"
            )
            sys.stdout.flush()
            (stop or threading.Event()).wait()
    except (ScenarioError, SwitchError, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
