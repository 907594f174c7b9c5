"""``python -m sim_devin.simulator``."""

import io
import json
import threading

import pytest
import requests

from sim_devin.simulator.__main__ import main


class Tap(io.StringIO):
    """Standard output that tells when its first line is there."""

    def __init__(self):
        super().__init__()
        self.told = threading.Event()

    def flush(self):
        self.told.set()


@pytest.fixture
def run(monkeypatch):
    """Serve with some options, hand over what the printed line says, and stop."""
    stop = threading.Event()
    tap = Tap()
    threads = []

    def run(*options):
        monkeypatch.setattr("sys.stdout", tap)
        thread = threading.Thread(target=main, args=(["--port", "0", *options], stop))
        threads.append(thread)
        thread.start()
        assert tap.told.wait(20)
        return dict(item.split("=", 1) for item in tap.getvalue().split())

    yield run
    stop.set()
    for thread in threads:
        thread.join()


def test_one_line_says_all_a_client_needs(run, tmp_path):
    scenario = tmp_path / "s.json"
    scenario.write_text(json.dumps({"steps": [{"status": "error"}]}))
    told = run("--speed", "0", "--scenario", str(scenario), "--switch", "session_id=prefixed")
    sessions = f"{told['DEVIN_BASE_URL']}/organizations/{told['DEVIN_ORG_ID']}/sessions"
    headers = {"Authorization": f"Bearer {told['DEVIN_API_KEY']}"}
    created = requests.post(sessions, json={"prompt": "x"}, headers=headers, timeout=20).json()
    assert created["session_id"].startswith("devin-")
    got = requests.get(f"{sessions}/{created['session_id']}", headers=headers, timeout=20).json()
    assert got["status"] == "error"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--switch", "nope=1"], "nope"),
        (["--scenario", "/nowhere.json"], "cannot be read"),
        (["--speed", "-1"], "speed"),
    ],
)
def test_mistakes_are_told_in_a_line(capsys, options, told):
    assert main(["--port", "0", *options]) == 2
    assert told in capsys.readouterr().err
