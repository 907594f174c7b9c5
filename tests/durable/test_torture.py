"""A short torture: real processes, killed for good."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("store", [[], ["--postgres"]], ids=["sqlite", "postgres"])
def test_processes_that_are_killed_do_nothing_twice_and_lose_nothing(store, request):
    if store:
        request.getfixturevalue("postgres_server")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "torture.py", "--runs=4", "--seconds=6", *store],
        capture_output=True,
        text=True,
        timeout=100,
    )
    report = json.loads(done.stdout)
    assert report["wrong"] == [], (report, done.stderr)
    assert report["kills"] + report["freezes"] > 0
