"""The endpoint of a worker, end to end: delivered, recorded once, driven, counted."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

pytest.importorskip("starlette", reason="worker --http needs the extra [metrics]")

from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

import sim_devin
from sim_devin.calls.signature import sign, timestamped
from sim_devin.cli.main import cli
from sim_devin.service import server, starts
from sim_devin.service.hooks import read_hooks
from sim_devin.service.http_server import listening, serving
from sim_devin.service.metrics import CountedTransport, Metrics
from sim_devin.simulated import SimulatedTransport
from sim_devin.simulator import SimClock, Simulator
from sim_devin.store.sql_store import open_store
from tests.durable.flows import devin, flow
from tests.test_json_input import BAD

SECRET = "made-up-secret-for-tests"
CREATE = devin("create", "create_session", prompt="Mend <start.ref>")


@pytest.fixture
def transport():
    clock = SimClock(speed=0)
    return SimulatedTransport(clock, Simulator(clock=clock, seed=1))


class Worker:
    """One process: an app over the shared file, and a client of its endpoint."""

    def __init__(self, transport, folder):
        self.store = open_store(folder / "runs.sqlite")
        self.app = sim_devin.open_app(
            transport=transport,
            clock=transport.clock,
            store=self.store,
            credentials={"apiKey": "cog_simulated_key", "orgId": "org-simulated"},
            discover=False,
            env={},
        )
        workflow = folder / "flow.json"
        workflow.write_text(json.dumps(flow(CREATE)))
        declared = {"workflow": str(workflow), "secret": SECRET}
        hooks = read_hooks({"deploy": declared, "push": {**declared, "style": "github"}}, {})
        self.metrics = Metrics(self.app)
        counted = CountedTransport(self.app.transport, self.metrics)
        self.app.sender = replace(self.app.sender, transport=counted)
        self.asgi = server.application(self.app, hooks, self.metrics)
        self.client = TestClient(self.asgi)

    def deliver(self, body=b'{"ref": "main"}', *, name="deploy", secret=SECRET, id="d-1"):
        moment = int(self.app.clock.time())
        signature = timestamped(secret, moment, id, body)
        headers = {"X-Sim-Devin-Signature": signature, "X-Delivery-Id": id}
        return self.client.post(f"/hooks/{name}", content=body, headers=headers)

    def read(self):
        text = self.client.get("/metrics").text
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
def open_worker(transport, tmp_path):
    workers = []

    def open_one():
        workers.append(Worker(transport, tmp_path))
        return workers[-1]

    yield open_one
    for worker in workers:
        worker.app.close()
        worker.store.close()


@pytest.fixture
def worker(open_worker):
    return open_worker()


def test_a_delivery_is_answered_at_once_and_driven_by_a_worker(worker, transport):
    answer = worker.deliver()
    assert answer.status_code == 202
    run_id = answer.json()["runId"]
    assert worker.app.runs.show(run_id)["state"] == "ready"
    worker.app.runs.work(once=True)
    run = worker.app.runs.show(run_id)
    assert run["state"] == "done", run["error"]
    (session,) = worker.app.call("devin_list_sessions", {})["sessions"]
    assert session["sessionId"]


def test_a_delivery_starts_one_run_across_workers_and_restarts(open_worker):
    one, other = open_worker(), open_worker()
    first, second = one.deliver(), other.deliver()
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json() == second.json()
    one.app.runs.work(once=True)
    third = open_worker().deliver()
    assert third.status_code == 200
    assert len(one.app.runs.list()) == 1
    assert one.deliver(id="d-2").status_code == 202


def test_two_workers_at_the_same_moment_start_one_run(open_worker, monkeypatch):
    one, other = open_worker(), open_worker()
    one.deliver()
    looks = iter([False, True])
    monkeypatch.setattr(starts, "is_known", lambda app, run_id: next(looks))
    assert other.deliver().status_code == 200
    assert len(one.app.runs.list()) == 1


def test_a_github_delivery_and_its_ping(worker):
    body = b'{"zen": "x"}'
    headers = {
        "X-Hub-Signature-256": "sha256=" + sign(SECRET, body),
        "X-GitHub-Delivery": "g-1",
        "X-GitHub-Event": "ping",
    }
    assert worker.client.post("/hooks/push", content=body, headers=headers).status_code == 200
    assert worker.app.runs.list() == []
    headers["X-GitHub-Event"] = "push"
    assert worker.client.post("/hooks/push", content=body, headers=headers).status_code == 202


def test_what_is_refused_starts_nothing_and_tells_nothing(worker):
    wrong = worker.deliver(secret="another-secret-altogether")
    assert (wrong.status_code, wrong.json()) == (401, {"error": "Not accepted."})
    assert worker.client.post("/hooks/deploy", content=b"{}").json() == wrong.json()
    assert worker.deliver(name="none").status_code == 404
    assert worker.deliver(b"not json").status_code == 400
    assert worker.deliver(b"x" * (server.LARGEST_BODY + 1)).status_code == 413
    assert worker.client.get("/hooks/deploy").status_code == 405
    assert worker.app.runs.list() == []


def test_metrics_are_prometheus_text_and_count(worker):
    worker.deliver()
    assert worker.read()["sim_devin_runs", "ready"] == 1
    worker.app.runs.work(once=True, on_event=worker.metrics.hear)
    found = worker.read()
    assert found["sim_devin_runs", "ready"] == 0
    assert found["sim_devin_runs", "done"] == 1
    assert found["sim_devin_drives_total", "finished"] == 1
    assert found["sim_devin_calls_total", "200"] >= 1
    assert found[("sim_devin_uptime_seconds",)] >= 0


def test_runs_that_ended_are_counted_less_often_where_that_takes_long(worker, monkeypatch):
    now, asked, count = [0.0], [], worker.store.count

    def slow(states):
        asked.append(states)
        now[0] += 10 if states == ("done",) else 0
        return count(states)

    monkeypatch.setattr(worker.app.runs.store, "count", slow)
    worker.metrics = Metrics(worker.app, timer=lambda: now[0])
    for _ in range(3):
        worker.metrics.text()
    worker.deliver()
    worker.app.runs.work(once=True)
    assert asked.count(("done",)) == 1
    assert asked.count(("ready",)) == 3
    now[0] += 1000
    assert b'sim_devin_runs{state="done"} 1.0' in worker.metrics.text()
    assert asked.count(("done",)) == 2


def test_health(worker):
    assert worker.client.get("/healthz").json() == {"ok": True}


def test_it_serves_on_a_socket_and_stops(worker):
    listener = listening("127.0.0.1", 0)
    port = listener.getsockname()[1]
    with (
        serving(worker.asgi, listener),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer,
    ):
        assert json.load(answer) == {"ok": True}
    with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as the system words it
        socket.create_connection(("127.0.0.1", port), timeout=1)


@pytest.fixture
def config(tmp_path, monkeypatch):
    workflow = tmp_path / "flow.json"
    workflow.write_text(json.dumps(flow(CREATE)))
    file = tmp_path / "config.toml"
    file.write_text(f'[hooks.deploy]\nworkflow = "{workflow.as_posix()}"\nsecret_env = "HOOK"\n')
    file.chmod(0o600)
    monkeypatch.setenv("HOOK", SECRET)
    return file


def run(*arguments):
    return CliRunner().invoke(cli, ["worker", "--simulate", "--once", *arguments])


def test_the_command_serves_while_it_works(config):
    result = run("--http", "0", "--json", "--config", str(config))
    assert result.exit_code == 0, result.output
    assert "Serving http://127.0.0.1:" in result.stderr


@pytest.mark.parametrize("address", ["", "x:y", ":", "70000", "127.0.0.1:"])
def test_an_address_that_is_none(address):
    assert run("--http", address).exit_code == 2


@pytest.mark.skipif(os.name != "posix", reason="signals and permissions of files")
def test_a_config_file_with_hooks_is_its_owner_s_alone(config):
    config.chmod(0o644)
    result = run("--http", "0", "--config", str(config))
    assert isinstance(result.exception, SystemExit) or result.exit_code
    assert "chmod 600" in str(getattr(result.exception, "hint", "")) + result.output


@pytest.mark.skipif(os.name != "posix", reason="signals and permissions of files")
def test_sigterm_stops_the_endpoint_and_the_worker(config):
    command = [sys.executable, "-m", "sim_devin", "worker", "--simulate", "--http", "0"]
    with subprocess.Popen(
        [*command, "--config", str(config)], stderr=subprocess.PIPE, text=True
    ) as process:
        url = process.stderr.readline().split()[-1]
        body, moment = b'{"ref": "main"}', int(time.time())
        request = urllib.request.Request(f"{url}/hooks/none", body)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)
        refused.value.close()
        assert refused.value.code == 404
        headers = {"X-Sim-Devin-Signature": timestamped(SECRET, moment, "", body)}
        request = urllib.request.Request(f"{url}/hooks/deploy", body, headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 202
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told
    assert "Releasing the runs" in told


ENDPOINT = [sys.executable, "-m", "sim_devin", "mcp", "--simulate", "--http", "--port", "0"]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_sigterm_closes_what_a_server_of_mcp_has_open(tmp_path):
    env = {**os.environ, "SIM_DEVIN_STORE": str(tmp_path / "runs.sqlite")}
    with subprocess.Popen(ENDPOINT, stderr=subprocess.PIPE, text=True, env=env) as process:
        url = process.stderr.readline().split()[-1]
        with pytest.raises(urllib.error.HTTPError) as refused:  # but it answers
            urllib.request.urlopen(url, timeout=30)
        refused.value.close()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM  # by way of Python's end, not on the spot


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_a_payload_that_is_no_json_starts_nothing(worker, text):
    for number, body in enumerate((text, f'{{"ref": {text}}}')):
        answer = worker.deliver(body.encode(), id=f"d-{number}")
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"].startswith("The body ")
    assert worker.app.runs.list() == []


def test_a_payload_with_half_a_character_starts_a_run_that_ends(worker):
    answer = worker.deliver(b'{"ref": "main \\ud83d"}')
    assert answer.status_code == 202, answer.text
    worker.app.runs.follow(answer.json()["runId"])
    assert worker.app.runs.list()[0]["state"] == "done"
