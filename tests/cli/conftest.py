"""The command line in a clean environment, in this process and in another one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sim_devin.cli.main import cli
from sim_devin.simulator import Key, SimClock, Simulator
from sim_devin.simulator.server import serve

KEY = "cog_test_canary_0001"
ORG = "org-test"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("DEVIN_", "SIM_DEVIN_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SIM_DEVIN_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("SIM_DEVIN_STORE", str(tmp_path / "runs.sqlite"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setitem(sys.modules, "keyring", None)  # as if it were not installed
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def invoke() -> Callable[..., Result]:
    """Run a command in this process: ``invoke("call", "devin_get_session", input="…")``."""

    def run(*args: object, input: str | bytes | None = None) -> Result:
        runner = CliRunner()
        return runner.invoke(cli, [str(arg) for arg in args], input=input, prog_name="sim-devin")

    return run


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command in another process; it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def run(*args: object, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "sim_devin", *map(str, args)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
            **options,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def simulator() -> Simulator:
    """A simulated Devin whose time stands still; it knows one key."""
    return Simulator(clock=SimClock(speed=0), keys={KEY: Key(ORG)}, seed=1)


@pytest.fixture
def devin(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """The simulator on a port of this machine, and the environment that leads there."""
    with serve(simulator) as url:
        monkeypatch.setenv("DEVIN_BASE_URL", url)
        monkeypatch.setenv("DEVIN_API_KEY", KEY)
        monkeypatch.setenv("DEVIN_ORG_ID", ORG)
        yield simulator


def _block(key: str, kind: str, name: str, **values: Any) -> dict[str, Any]:
    return {
        "id": key,
        "type": kind,
        "name": name,
        "enabled": True,
        "position": {"x": 0, "y": 0},
        "subBlocks": {
            field: {"id": field, "type": "short-input", "value": value}
            for field, value in values.items()
        },
        "outputs": {},
    }


@pytest.fixture
def block() -> Callable[..., dict[str, Any]]:
    """Make a block of an exported workflow: ``block(id, type, name, field=value)``."""
    return _block


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., Path]:
    """Write a chain of blocks as an exported workflow and return its path."""

    def write(*blocks: dict[str, Any], name: str = "workflow.json") -> Path:
        edges = [
            {"id": f"e{at}", "source": first["id"], "target": second["id"]}
            for at, (first, second) in enumerate(pairwise(blocks))
        ]
        state = {
            "blocks": {item["id"]: item for item in blocks},
            "edges": edges,
            "loops": {},
            "parallels": {},
        }
        path = tmp_path / name
        path.write_text(json.dumps({"version": "1.0", "state": state}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def main_job(export: Callable[..., Path]) -> Path:
    """The main job: create a session, wait for it, look at it, respond."""
    return export(
        _block("s", "start_trigger", "Start", inputFormat=[{"name": "repo", "type": "string"}]),
        _block(
            "c",
            "devin",
            "Ask Devin",
            operation="create_session",
            prompt="Fix the build of <start.repo>",
            apiKey="{{DEVIN_API_KEY}}",
        ),
        _block("w", "devin_wait", "Wait For It", sessionId="<askdevin.sessionId>"),
        _block("g", "devin", "Look", operation="get_session", sessionId="<askdevin.sessionId>"),
        _block(
            "r",
            "response",
            "Answer",
            dataMode="json",
            data='{"pulls": <look.pullRequests>, "outcome": "<waitforit.outcome>"}',
            status="200",
        ),
    )
