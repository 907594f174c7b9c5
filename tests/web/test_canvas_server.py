"""``sim-devin serve`` as a process: its address, its token, its end; and a run of many blocks."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest


@pytest.fixture
def served(tmp_path):
    command = [sys.executable, "-m", "sim_devin", "serve", "--simulate", "--port", "0", "--no-open"]
    env = {**os.environ, "SIM_DEVIN_CONFIG": str(tmp_path / "config.toml"), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*command, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    address = re.search(r"(http://127\.0\.0\.1:\d+)/#token=(\S+)", process.stdout.readline())
    yield process, *address.groups()
    process.kill()
    process.communicate()


def ask(url, token):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_it_serves_whoever_has_the_token_until_it_is_interrupted(served):
    process, url, token = served
    assert ask(f"{url}/api/info", token)["simulated"] is True
    with pytest.raises(urllib.error.HTTPError, match="401") as refused:
        ask(f"{url}/api/info", "wrong")
    refused.value.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    command = [sys.executable, "-m", "sim_devin", "serve", str(tmp_path / "none"), "--no-open"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "no such folder" in ended.stderr.lower()


def test_a_run_of_500_blocks_streams_without_loss(canvas):
    blocks = {}
    for number in range(500):
        blocks[f"b{number}"] = {
            "id": f"b{number}",
            "type": "variables" if number else "start_trigger",
            "name": f"Block {number}",
            "position": {"x": number * 300, "y": 0},
            "subBlocks": {},
            "outputs": {},
            "enabled": True,
        }
    edges = [{"id": f"e{n}", "source": f"b{n}", "target": f"b{n + 1}"} for n in range(499)]
    document = {"version": "1.0", "state": {"blocks": blocks, "edges": edges}}
    run = canvas.send("POST", "runs", {"document": document}).json()["id"]
    seen = [e["block"] for e in canvas.events(run) if e["event"] == "block.finished"]
    assert seen == list(blocks)
