"""``doctor``: what a working installation needs, and how to mend the rest."""

from __future__ import annotations

import email.utils
import json
import time
from importlib import metadata

import pytest

from sim_devin.calls.network import SETTING as NETWORK_ALLOW
from tests.cli.conftest import KEY, ORG
from tests.http_server import Server


@pytest.fixture
def diagnose(invoke):
    """Run the command; return the checks by name and the exit code."""

    def run(*args):
        result = invoke("doctor", "--json", *args)
        report = json.loads(result.stdout)
        assert report["ok"] is (result.exit_code == 0)
        assert KEY not in result.output
        return {check["name"]: check for check in report["checks"]}, result.exit_code

    return run


@pytest.fixture
def service(monkeypatch):
    """A service whose clock is some seconds off, in place of Devin: ``service(seconds)``."""
    servers = []

    def start(seconds):
        date = email.utils.formatdate(time.time() + seconds, usegmt=True).encode()
        body = b'{"items": [], "has_next_page": false}'
        head = b"HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Length: %d\r\n\r\n" % (date, len(body))
        servers.append(Server(lambda _head, _body: head + body))
        monkeypatch.setenv("DEVIN_BASE_URL", f"{servers[-1].url}/v3")
        monkeypatch.setenv("DEVIN_API_KEY", KEY)
        monkeypatch.setenv("DEVIN_ORG_ID", ORG)
        monkeypatch.setenv(NETWORK_ALLOW, "127.0.0.1")
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_all_is_well(diagnose, devin):
    checks, code = diagnose()
    assert code == 0
    page = checks.pop("canvas page")
    assert page["state"] in ("ok", "note")  # a checkout need not have built it
    assert {check["state"] for check in checks.values()} == {"ok"}
    assert "answers, and accepts the key" in checks["service devin"]["found"]
    assert devin.counts["sessions_created"] == 0


def test_without_a_key_it_says_what_to_set(diagnose):
    checks, code = diagnose()
    assert code == 0
    assert checks["connection devin"]["state"] == "warning"
    assert "DEVIN_API_KEY and DEVIN_ORG_ID" in checks["connection devin"]["mend"]
    assert "service devin" not in checks


def test_a_wrong_key_is_a_failure(diagnose, devin, monkeypatch):
    monkeypatch.setenv("DEVIN_API_KEY", "cog_wrong_canary")
    checks, code = diagnose()
    assert code == 1
    assert checks["service devin"]["state"] == "failed"
    assert checks["service devin"]["mend"]
    assert "cog_wrong_canary" not in json.dumps(checks)


def test_a_service_that_is_away_is_a_failure_unless_it_is_not_asked(diagnose, monkeypatch):
    monkeypatch.setenv("DEVIN_BASE_URL", "http://127.0.0.1:9/v3")
    monkeypatch.setenv("DEVIN_API_KEY", KEY)
    monkeypatch.setenv("DEVIN_ORG_ID", ORG)
    checks, code = diagnose()
    assert (code, checks["service devin"]["state"]) == (1, "failed")
    checks, code = diagnose("--offline")
    assert code == 0
    assert "service devin" not in checks


@pytest.mark.parametrize(
    ("seconds", "state", "words"),
    [(0, "ok", "agrees"), (7200, "warning", "behind"), (-7200, "warning", "ahead of")],
)
def test_a_clock_that_is_off_is_noticed(diagnose, service, seconds, state, words):
    service(seconds)
    checks, _ = diagnose()
    assert checks["clock"]["state"] == state
    assert words in checks["clock"]["found"]


def test_an_extra_that_is_not_installed_comes_with_the_pip_line(diagnose, monkeypatch):
    version = metadata.version

    def without(name):
        if name == "quickjs-ng":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without)
    checks, code = diagnose()
    assert code == 0
    assert checks["extra js"]["state"] == "note"
    assert "pip install 'sim-devin[js]'" in checks["extra js"]["mend"]


def test_settings_that_cannot_be_used_end_the_rest(diagnose, monkeypatch):
    monkeypatch.setenv("SIM_DEVIN_RETRIES", "many")
    checks, code = diagnose()
    assert code == 1
    assert checks["settings"]["state"] == "failed"
    assert "retries" in checks["settings"]["found"].lower()
    assert "store" not in checks


def test_a_broken_plugin_is_named(diagnose, tmp_path):
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "acme.tool.json").write_text("{")
    checks, code = diagnose("--specs", specs)
    assert code == 1
    broken = [check for check in checks.values() if check["state"] == "failed"]
    assert [check["mend"] for check in broken] == ["Run: sim-devin plugins doctor"]


def test_the_store_is_opened_where_there_is_one_and_not_made(diagnose, tmp_path):
    path = tmp_path / "runs.sqlite"
    checks, _ = diagnose()
    assert str(path) in checks["store"]["found"]
    assert not path.exists()
    path.write_bytes(b"this is no database" * 100)
    checks, code = diagnose()
    assert (code, checks["store"]["state"]) == (1, "failed")
    assert str(path) in checks["store"]["found"]


def test_for_people_each_problem_is_followed_by_its_remedy(invoke, monkeypatch):
    monkeypatch.setenv("SIM_DEVIN_STORE", "/dev/null/runs.sqlite")
    result = invoke("doctor", "--offline")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    place = next(at for at, line in enumerate(lines) if line.startswith("failed"))
    assert "store" in lines[place]
    assert "SIM_DEVIN_STORE" in lines[place + 1]
    assert lines[-1] == "1 problem, 1 warning."
