"""No page, message, span, metric or cassette holds a secret that came back to a run."""

import json
import logging
import os
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

import sim_devin
from sim_devin.cli.main import cli
from sim_devin.simulated import SimulatedTransport
from sim_devin.simulator import SimClock, Simulator
from sim_devin.store.sql_store import open_store
from tests.durable.canaries import (
    CANARIES,
    ENV,
    KEY,
    LONG,
    SAID,
    SHORT,
    Echo,
    Talking,
    found,
    found_in,
)
from tests.durable.flows import block, devin, flow, wait

SCHEMA = json.dumps({"type": "object"})
FIELDS = [{"name": "x", "type": "string"}, {"name": "password", "type": "string"}]
SHOWN = [{"name": "said", "type": "string", "value": "<wait.title>"}]
GIVEN = {"x": SAID, "password": SHORT}


def document():
    """Return a workflow that creates a session, waits, asks a person, and puts everything out."""
    return flow(
        block("start", "start_trigger", "Start", inputFormat=FIELDS),
        devin("create", "create_session", prompt="Go", structuredOutputSchema=SCHEMA),
        wait(),
        block("ask", "human_in_the_loop", "Ask", inputFormat=FIELDS, builderData=SHOWN),
        devin("say", "send_message", sessionId="<create.sessionId>", message="<ask.x>"),
        block("end", "response", dataMode="json", data='{"all": <wait.structuredOutput>}'),
        start=False,
    )


@pytest.fixture
def transport():
    clock = SimClock(speed=0)
    return SimulatedTransport(clock, Simulator(clock=clock, seed=1))


@pytest.fixture
def open_one(tmp_path, transport):
    """Return a function that opens an app over a file and a service that repeats every secret."""
    stores = []

    def open_one(**options):
        stores.append(open_store(tmp_path / "runs.sqlite"))
        return sim_devin.open_app(
            store=stores[-1],
            transport=Echo(transport),
            clock=transport.clock,
            env=ENV,
            llm=Talking(),
            credentials={"apiKey": KEY, "orgId": "org-simulated"},
            discover=False,
            **options,
        )

    yield open_one
    for store in stores:
        store.close()


def drive(app):
    for _ in range(8):
        app.runs.work(once=True)
        app.clock.advance(60)


def ran(open_one):
    """Return an app, and a run of it that other processes drove to its question and its end."""
    runs = [open_one().runs.start(document(), GIVEN, env=ENV) for _ in range(2)]
    drive(open_one())
    open_one().runs.answer(runs[0], GIVEN)
    drive(open_one())
    app = open_one()
    assert [app.runs.show(run_id)["state"] for run_id in runs] == ["done", "asking"]
    return app, runs


def test_the_page_gets_no_secret(open_one, tmp_path):
    pytest.importorskip("starlette", reason="the canvas needs the extra [canvas]")
    from starlette.testclient import TestClient

    from sim_devin.web.api import Api, ApiContext, application
    from sim_devin.web.documents import Folder
    from sim_devin.web.secret_store import SecretStore

    app, runs = ran(open_one)
    secrets = SecretStore(tmp_path / "private" / "secrets.json")
    api = Api(app, Folder(tmp_path), secrets, ApiContext(True, 0, tmp_path))
    guarded = application(api, token="for-tests", hosts=["127.0.0.1:8765"])
    client = TestClient(
        guarded, base_url="http://127.0.0.1:8765", headers={"authorization": "Bearer for-tests"}
    )
    pages = {"runs": client.get("/api/runs").text}
    for run_id in runs:
        events = client.get(f"/api/runs/{run_id}/events").text
        pages[f"events of {run_id}"] = events
        pages[run_id] = client.get(f"/api/runs/{run_id}").text
        for order in range(1, 8):
            pages[f"log {order} of {run_id}"] = client.get(f"/api/runs/{run_id}/logs/{order}").text
        for path in ("messages", "sessions"):
            pages[path] = client.get(
                f"/api/runs/{run_id}/{path}",
                params={"block": "create", "session": session_of(app, run_id)},
            ).text
    session = session_of(app, runs[1])
    for number, (path, body) in enumerate(
        {
            f"runs/{runs[1]}/messages": {"block": "create", "session": session, "message": SAID},
            f"runs/{runs[1]}/answer": {"answer": GIVEN},
            "runs": {"document": document(), "inputs": GIVEN},
        }.items()
    ):
        answer = client.post(
            f"/api/{path}", json=body, headers={"idempotency-key": f"key-of-act-{number}"}
        )
        assert answer.status_code < 300, answer.text
        pages[f"POST {path}"] = answer.text
    for file in tmp_path.glob("runs.sqlite*"):
        assert found(file.read_bytes()) == [], file
    assert "***" in pages[f"events of {runs[0]}"]
    assert "***" in pages[f"log 2 of {runs[0]}"]
    assert "$sealed" not in str(pages)
    assert {page: names for page, text in pages.items() if (names := found(text))} == {}


def session_of(app, run_id):
    return app.runs.show(run_id)["blocks"][0]["output"]["sessionId"]


def test_the_command_line_shows_no_secret(open_one, tmp_path, monkeypatch):
    app, runs = ran(open_one)
    app.close()
    for name in ("SIM_DEVIN_CONFIG", "SIM_DEVIN_STORE", *ENV):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SIM_DEVIN_STORE", str(tmp_path / "runs.sqlite"))
    monkeypatch.setenv("SIM_DEVIN_CONFIG", os.devnull)
    shown = {}
    for arguments in (
        ["list"],
        *(["show", run] for run in runs),
        *(["events", run] for run in runs),
    ):
        for output in ([], ["--json"]):
            result = CliRunner().invoke(cli, ["runs", *arguments, *output])
            shown[" ".join([*arguments, *output])] = result.output
    assert "***" in shown[f"show {runs[0]} --json"]
    assert "$sealed" not in str(shown)
    assert {name: names for name, text in shown.items() if (names := found(text))} == {}


def test_spans_and_metrics_hold_no_secret(open_one):
    pytest.importorskip("opentelemetry.sdk")
    pytest.importorskip("prometheus_client")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from sim_devin.runs.telemetry import Telemetry
    from sim_devin.service.metrics import CountedTransport, Metrics

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = open_one()
    app.telemetry = Telemetry(provider.get_tracer("test"))
    metrics = Metrics(app)
    counted = CountedTransport(app.transport, metrics)
    app.sender = replace(app.sender, transport=counted)
    run_id = app.runs.start(document(), GIVEN, env=ENV)
    bad = app.runs.start(flow(devin("get", "get_session", sessionId="<start.x>")), GIVEN, env=ENV)
    for _ in range(8):
        app.runs.work(once=True, on_event=metrics.hear)
        app.clock.advance(60)
    app.runs.answer(run_id, GIVEN)
    app.runs.work(once=True, on_event=metrics.hear)
    assert app.runs.show(run_id)["state"] == "done"
    assert app.runs.show(bad)["state"] == "failed"
    spans = [span.to_json() for span in exporter.get_finished_spans()]
    assert len(spans) > 5
    assert found_in(spans) == []
    assert found(metrics.text()) == []


def test_a_hook_that_brings_secrets_leaves_none(open_one, tmp_path, caplog):
    pytest.importorskip("starlette", reason="worker --http needs the extra [metrics]")
    from starlette.testclient import TestClient

    from sim_devin.calls.signature import timestamped
    from sim_devin.service import server
    from sim_devin.service.hooks import read_hooks
    from sim_devin.service.metrics import Metrics

    caplog.set_level(logging.DEBUG)
    workflow = tmp_path / "flow.json"
    workflow.write_text(json.dumps(document()))
    app = open_one()
    hooks = read_hooks({"go": {"workflow": str(workflow), "secret": "made-up-for-tests"}}, {})
    client = TestClient(server.application(app, hooks, Metrics(app)))
    body = json.dumps(GIVEN).encode()
    signature = timestamped("made-up-for-tests", int(app.clock.time()), "d-1", body)
    headers = {"X-Sim-Devin-Signature": signature, "X-Delivery-Id": "d-1"}
    answer = client.post("/hooks/go", content=body, headers=headers)
    assert answer.status_code == 202, answer.text
    run_id = answer.json()["runId"]
    drive(open_one())
    shown = open_one().runs.show(run_id)
    assert shown["state"] == "asking"
    stored = tmp_path.glob("runs.sqlite*")
    assert {file.name: names for file in stored if (names := found(file.read_bytes()))} == {}
    assert found_in(shown) == []
    assert found(caplog.text) == []


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.anyio
async def test_a_model_gets_no_secret_over_mcp(open_one, tmp_path):
    pytest.importorskip("mcp")
    from mcp import Client

    from sim_devin.mcp import server
    from sim_devin.mcp.workflows import RESULT_TOOL

    file = tmp_path / "flow.json"
    file.write_text(json.dumps({**document(), "metadata": {"name": "Fix", "description": ""}}))
    app = open_one()
    said = []
    async with Client(server.build(app, workflows=[file]), mode="auto") as client:

        async def call(tool, **given):
            result = await client.call_tool(tool, given)
            said.append(result.model_dump_json())
            return result

        paused = await call("run_fix", **GIVEN)
        assert paused.structured_content["status"] == "paused", said
        run_id = paused.structured_content["runId"]
        await call(RESULT_TOOL, runId=run_id)
        open_one().runs.answer(run_id, GIVEN)
        drive(open_one())
        over = await call(RESULT_TOOL, runId=run_id)
        assert over.structured_content["status"] == "completed"
        await call("devin_get_session", sessionId=session_of(app, run_id))
        await call("devin_list_session_messages", sessionId=session_of(app, run_id))
        await call("devin_get_session", sessionId=SAID)
    assert "$sealed" not in str(said)
    assert [names for text in said if (names := found(text))] == []


def test_a_cassette_holds_no_secret(tmp_path):
    pytest.importorskip("vcr")
    sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
    tapes = import_module("cassette_tapes")
    from sim_devin.simulator.server import serve

    names = {value: f"secret-{number}" for number, value in enumerate(CANARIES.values())}
    with serve(Simulator(clock=SimClock(speed=0))) as url:
        recording = tapes.Tapes(tmp_path, base_url=url, names=names)
        credentials = {"apiKey": KEY, "orgId": "org-simulated"}
        options = {"env": {}, "base_url": url, "discover": False, "credentials": credentials}
        with recording.record("one.yaml"), sim_devin.open_app(**options) as app:
            made = app.call("devin_create_session", {"prompt": " ".join(LONG)})
            app.call("devin_send_message", {"sessionId": made["sessionId"], "message": SAID})
    assert "prompt" in (tmp_path / "one.yaml").read_text()
    assert found((tmp_path / "one.yaml").read_bytes()) == []
