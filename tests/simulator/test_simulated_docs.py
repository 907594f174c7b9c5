"""The page about the simulator says what is so, and its examples work."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import yaml

from sim_devin.simulator import Fault, Switches, parse_scenarios
from sim_devin.simulator.builtin_scenarios import BUILTINS
from sim_devin.simulator.faults import KINDS
from sim_devin.simulator.scenario import Step

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()


def cell(value):
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, float):
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value)


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("switch", Switches.describe(), ids=lambda switch: switch[0])
def test_every_switch_has_its_row(switch):
    name, default, allowed, about = switch
    choices = ", ".join(map(cell, allowed))
    row = f"| `{name}` | {cell(default)} | {choices} | {about} |".replace("|  |", "| |")
    assert row in PAGE


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_has_its_row(kind):
    assert f"| `{kind}` | {KINDS[kind]} |" in PAGE


@pytest.mark.parametrize(
    "name",
    [
        *BUILTINS,
        *(field.name for field in dataclasses.fields(Step)),
        *(field.name for field in dataclasses.fields(Fault)),
    ],
)
def test_every_scenario_and_field_is_named(name):
    assert f"`{name}`" in PAGE


def test_the_scenario_example_can_be_played(make, clock):
    (example,) = blocks("yaml")
    client = make(scenarios=parse_scenarios(yaml.safe_load(example)))
    session_id = client.create("Release it", tags=["team:core"], repos=["acme/web"])
    for _ in range(2):
        clock.advance(60)
        assert client.state(session_id) == ("running", "waiting_for_user")
        client.say(session_id, "main")
    assert ("devin", "Who reviews acme/web?") in client.texts(session_id)
    clock.advance(120)
    assert client.state(session_id) == ("running", "finished")
    client.say(session_id, "Thanks")
    clock.advance(20)
    assert client.texts(session_id)[-1] == ("devin", "You said: Thanks")
    client.say(session_id, "stop it")
    assert client.state(session_id) == ("exit", None)


def test_the_python_examples_run():
    exec("\n".join(blocks("python")), {})
