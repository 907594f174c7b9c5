"""Control from another process: look at a served simulator and steer it.

The endpoints are part of the served forms, not of `Simulator.handle`. They answer only to
this machine, and never to a web page.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re
from collections.abc import Mapping
from typing import Any

from sim_devin.simulator.answers import Answer, Problem, failure, success
from sim_devin.simulator.faults import Fault, FaultError
from sim_devin.simulator.scenario import ScenarioError, parse_scenarios
from sim_devin.simulator.simulator import Simulator
from sim_devin.simulator.switches import SwitchError

CONTROL = "/__simulator/"
_PORT = re.compile(r":\d*$")


def control(
    simulator: Simulator,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    peer: str | None,
) -> Answer:
    """Answer a request to a path below ``/__simulator/`` that came from the address `peer`."""
    try:
        _refuse_strangers({name.lower(): value for name, value in headers.items()}, peer)
        if method == "GET" and path == f"{CONTROL}state":
            return success(state(simulator))
        action = _ACTIONS.get(path.removeprefix(CONTROL))
        if method != "POST" or action is None:
            known = ", ".join(_ACTIONS)
            raise Problem(404, f"There is GET {CONTROL}state and POST {CONTROL}({known})")
        action(simulator, _data(body))
        return success(state(simulator, sessions=False))
    except Problem as problem:
        return failure(problem, path)


def state(simulator: Simulator, *, sessions: bool = True) -> dict[str, Any]:
    """Return what is going on in `simulator` as JSON data."""
    data: dict[str, Any] = {
        "time": simulator.clock.time(),
        "counts": dict(simulator.counts),
        "leaks": len(simulator.leaks),
        "faults": simulator.faults.pending(),
        "switches": dataclasses.asdict(simulator.switches),
        "scenarios": sorted(simulator.scenarios),
    }
    if sessions:
        data["sessions"] = simulator.truth()
    return data


def _refuse_strangers(headers: Mapping[str, str], peer: str | None) -> None:
    # A page in a browser on this machine is on loopback, too: it shows an Origin, or, after
    # rebinding a name, a Host that is not ours.
    host = _PORT.sub("", headers.get("host", "localhost")).strip("[]")
    if not _is_loopback(peer) or not _is_loopback(host) or "origin" in headers:
        raise Problem(403, "Only programs on this machine may control the simulator")


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _data(body: bytes) -> Any:
    try:
        return json.loads(body) if body else {}
    except ValueError as error:
        raise Problem(422, f"The body is not JSON: {error}") from error


def _advance(simulator: Simulator, data: Any) -> None:
    seconds = data.get("seconds") if isinstance(data, dict) else data
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise Problem(422, f'seconds: expected {{"seconds": 0 or more}}, got {data!r}')
    advance = getattr(simulator.clock, "advance", None)
    if advance is None:
        raise Problem(409, "The clock of this simulator cannot be moved")
    advance(seconds)


def _faults(simulator: Simulator, data: Any) -> None:
    items = data if isinstance(data, list) else [data]
    try:
        faults = [Fault.parse(item) for item in items]
    except FaultError as error:
        raise Problem(422, str(error)) from error
    simulator.faults.add(*faults)


def _clear_faults(simulator: Simulator, _: Any) -> None:
    simulator.faults.clear()


def _scenario(simulator: Simulator, data: Any) -> None:
    default = isinstance(data, dict) and data.pop("default", False) is True
    try:
        scenarios = parse_scenarios(data, source="scenario")
    except ScenarioError as error:
        raise Problem(422, str(error)) from error
    for scenario in scenarios:
        simulator.add_scenario(scenario, default=default)


def _switches(simulator: Simulator, data: Any) -> None:
    if not isinstance(data, dict):
        raise Problem(422, "expected an object of switches")
    try:
        simulator.switches = simulator.switches.changed(data)
    except SwitchError as error:
        raise Problem(422, str(error)) from error


def _reset(simulator: Simulator, _: Any) -> None:
    simulator.reset()


_ACTIONS = {
    "advance": _advance,
    "faults": _faults,
    "clear_faults": _clear_faults,
    "scenario": _scenario,
    "switches": _switches,
    "reset": _reset,
}
