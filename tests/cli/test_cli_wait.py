"""``wait`` and ``simulate``."""

from __future__ import annotations

import json
import re
import signal
import sys
import threading

import pytest

from sim_devin.cli.commands import serving, simulate
from sim_devin.cli.commands.output import duration
from sim_devin.errors import CallerError
from sim_devin.simulator import SimClock, Simulator

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")


def create(invoke, prompt="Fix it"):
    result = invoke("call", "devin_create_session", f"prompt={prompt}")
    return json.loads(result.stdout)["sessionId"]


def test_all_done(devin, invoke):
    ids = [create(invoke), create(invoke)]
    devin.clock.advance(3600)
    result = invoke("wait", *ids, ids[0])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["SESSION", "OUTCOME", "WAITED", "ACUS", "SEE", "REASON"]
    assert [line.split()[0] for line in lines[1:]] == ids
    assert "https://github.com/" in lines[1]
    assert result.stderr.count("done") == 2


def test_one_outcome_a_line_as_json(devin, invoke):
    ids = [create(invoke), create(invoke, "[scenario: fails]")]
    devin.clock.advance(3600)
    result = invoke("wait", *ids, "--json", "-q")
    assert result.exit_code == 1
    outcomes = [json.loads(line) for line in result.stdout.splitlines()]
    assert [outcome["sessionId"] for outcome in outcomes] == ids
    assert [outcome["outcome"] for outcome in outcomes] == ["done", "failed"]
    assert result.stderr == ""


def test_somebody_is_needed(devin, invoke):
    session_id = create(invoke, "[scenario: asks]")
    devin.clock.advance(3600)
    result = invoke("wait", session_id)
    assert result.exit_code == 1
    assert "blocked on user" in result.stdout or "asleep" in result.stdout


def test_timeout_is_an_outcome(devin, invoke):
    session_id = create(invoke)
    result = invoke("wait", session_id, "--timeout", "0.2", "--until", "over")
    assert result.exit_code == 1
    assert "in flight" in result.stdout
    assert "timeout" in result.stdout
    assert f"{session_id}  in flight" in result.stderr


def test_on_a_terminal_progress_is_live(devin, invoke, monkeypatch):
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True)
    monkeypatch.setenv("TERM", "xterm")
    ids = [create(invoke) for _ in range(25)]
    result = invoke("wait", *ids, "--timeout", "0.2")
    assert "in flight" in result.stderr
    assert "… and 5 more" in result.stderr
    assert "25" not in result.stderr.splitlines()[-1]


def test_no_ids(invoke):
    assert invoke("wait").exit_code == 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.26, "0.3s"), (42.4, "42s"), (185, "3m 5s"), (7800, "2h 10m"), (100_000, "27h 46m")],
)
def test_lengths_of_time(seconds, text):
    assert duration(seconds) == text


# -- simulate ----------------------------------------------------------------------------------


@posix
def test_serves_until_interrupted(start, invoke, monkeypatch):
    process = start("simulate", "--port", "0", "--switch", "session_id=prefixed")
    exports = {}
    for line in process.stdout:
        found = re.fullmatch(r"export (\w+)=(\S+)\n", line)
        if found:
            exports[found[1]] = found[2]
        if "Ctrl-C" in line:
            break
    assert set(exports) == {"DEVIN_BASE_URL", "DEVIN_API_KEY", "DEVIN_ORG_ID"}
    for name, value in exports.items():
        monkeypatch.setenv(name, value)
    session_id = create(invoke)
    assert session_id.startswith("devin-")
    assert invoke("call", "devin_get_session", f"sessionId={session_id}").exit_code == 0
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert process.returncode == 130
    assert err == ""


@pytest.mark.parametrize("threads", [False, True])
def test_a_port_in_use(invoke, monkeypatch, threads):
    if threads:
        monkeypatch.setitem(sys.modules, "uvicorn", None)
    with serving.listening("127.0.0.1", 0) as taken:
        result = invoke("simulate", "--port", taken.getsockname()[1])
    assert result.exit_code == 2
    assert "--port 0" in result.stderr


def test_without_uvicorn_threads_serve(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    urls = []

    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(serving.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        serving.serve_until_interrupted(
            Simulator(clock=SimClock(speed=0)), "127.0.0.1", 0, urls.append
        )
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v3", urls[0])
    assert threading.active_count() < 50


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::"])
def test_other_machines_need_a_word_more(invoke, host):
    result = invoke("simulate", "--host", host)
    assert result.exit_code == 2
    assert "--allow-remote" in result.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_loopback(host):
    assert simulate.is_loopback(host)


def test_list(invoke):
    text = invoke("simulate", "--list").stdout
    assert "finish " in text
    assert "list_lag" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--switch", "lag=1"],
        ["--switch", "list_lag=soon"],
        ["--switch", "list_lag"],
        ["--scenario", "missing.json"],
        ["--speed", "-1"],
        ["--port", "70000"],
    ],
)
def test_mistakes(invoke, arguments):
    assert invoke("simulate", *arguments).exit_code == 2


def test_unreadable_address_is_ours_to_explain():
    with pytest.raises(CallerError):
        serving.listening("192.0.2.1", 1)
