"""A simulated Devin: its API, its sessions and their time, with no account and no network.

It shares no code with the client it is used to test. `sim_devin.simulator.server` and
`sim_devin.simulator.asgi` put a `Simulator` on the network.
"""

from sim_devin.simulator.access import Key
from sim_devin.simulator.answers import Answer
from sim_devin.simulator.clock import SimClock
from sim_devin.simulator.faults import Fault, FaultError
from sim_devin.simulator.scenario import Scenario, ScenarioError, load_scenarios, parse_scenarios
from sim_devin.simulator.simulator import LogEntry, Simulator
from sim_devin.simulator.switches import SwitchError, Switches

__all__ = [
    "Answer",
    "Fault",
    "FaultError",
    "Key",
    "LogEntry",
    "Scenario",
    "ScenarioError",
    "SimClock",
    "Simulator",
    "SwitchError",
    "Switches",
    "load_scenarios",
    "parse_scenarios",
]
