"""Spans of runs, blocks and calls: their tree, their errors, and what never stands in them."""

import builtins

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import sim_devin
from sim_devin.errors import MissingDependency, SimDevinError
from sim_devin.runs import telemetry
from sim_devin.simulated import SimulatedTransport
from sim_devin.simulator import SimClock, Simulator
from sim_devin.store.sql_store import open_store
from tests.durable.flows import devin, flow, wait

KEY = "cog_simulated_key"
PROMPT = "Mend the very private login page"


@pytest.fixture
def transport():
    clock = SimClock(speed=0)
    return SimulatedTransport(clock, Simulator(clock=clock, seed=1))


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def app(transport, exporter):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    app = sim_devin.open_app(
        transport=transport,
        clock=transport.clock,
        credentials={"apiKey": KEY, "orgId": "org-simulated"},
        discover=False,
        env={},
        store=open_store(),
    )
    app.telemetry = telemetry.Telemetry(provider.get_tracer("test"), app.registry)
    with app:
        yield app
    app.store.close()


@pytest.fixture
def spans(exporter):
    return exporter.get_finished_spans


def named(spans, start):
    return [span for span in spans if span.name.startswith(start)]


def test_a_run_is_a_tree_of_its_blocks_and_their_calls(app, spans):
    result = app.run(flow(devin("create", "create_session", prompt=PROMPT), wait()), run_id="r1")
    assert result.success, result.error
    found = spans()
    (run,) = named(found, "run")
    (create,) = named(found, "block devin")[:1]
    blocks = named(found, "block ")
    (post,) = named(found, "POST")
    assert run.parent is None
    assert run.attributes["sim_devin.run.id"] == "r1"
    assert run.attributes["sim_devin.outcome"] == "finished"
    assert {span.parent.span_id for span in blocks} == {run.context.span_id}
    assert [span.attributes["sim_devin.block.id"] for span in blocks] == ["start", "create", "wait"]
    assert create.attributes["sim_devin.session.id"]
    assert post.parent.span_id == create.context.span_id
    looks = named(found, "GET")
    assert looks
    assert {span.parent.span_id for span in looks} == {blocks[2].context.span_id}
    assert {span.context.trace_id for span in found} == {run.context.trace_id}


def test_a_call_has_the_attributes_of_the_conventions(app, spans):
    app.call("devin_get_session", {"sessionId": _session(app)})
    get = spans()[-1]
    assert get.kind is SpanKind.CLIENT
    assert get.attributes["http.request.method"] == "GET"
    assert get.attributes["http.response.status_code"] == 200
    assert get.attributes["server.address"] == "api.devin.ai"
    assert "{sessionId}" in get.attributes["url.template"]
    assert "http.request.resend_count" not in get.attributes


def _session(app):
    return app.call("devin_create_session", {"prompt": PROMPT})["sessionId"]


def test_every_try_is_a_span_and_says_which(app, spans, transport):
    session = _session(app)
    send, failures = transport.send, iter([503, None])

    def flaky(request, *, timeout):
        status = next(failures)
        if status is None:
            return send(request, timeout=timeout)
        return sim_devin.calls.response.Response(status, {}, b"")

    transport.send = flaky
    app.call("devin_get_session", {"sessionId": session})
    first, second = spans()[-2:]
    assert first.status.status_code is StatusCode.ERROR
    assert first.attributes["error.type"] == "503"
    assert second.status.status_code is StatusCode.UNSET
    assert second.attributes["http.request.resend_count"] == 1


def test_what_fails_says_so_on_the_block_the_run_and_the_call(app, spans):
    app.run(flow(devin("look", "get_session", sessionId="devin-none")))
    for start in ("GET", "block devin", "run"):
        (span,) = named(spans(), start)
        assert span.status.status_code is StatusCode.ERROR, start
        assert span.status.description


def test_no_secret_prompt_or_output_is_in_any_span(app, spans):
    with pytest.raises(SimDevinError):
        app.call("devin_get_session", {"sessionId": "devin-none"}, credentials={"apiKey": "wrong!"})
    app.run(flow(devin("create", "create_session", prompt=PROMPT), wait()))
    app.run(flow(devin("look", "get_session", sessionId=f"devin-{KEY}")))
    text = "\n".join(span.to_json() for span in spans())
    for secret in (KEY, PROMPT, "wrong!", "Authorization"):
        assert secret not in text


def test_a_durable_run_has_spans_in_the_process_that_drives_it(app, spans):
    run_id = app.runs.start(flow(devin("create", "create_session", prompt=PROMPT), wait()))
    app.runs.follow(run_id, on_event=app.telemetry.listener(None))
    assert app.runs.show(run_id)["state"] == "done"
    outcomes = {span.attributes["sim_devin.outcome"] for span in named(spans(), "run")}
    assert "finished" in outcomes
    (create,) = [s for s in spans() if s.attributes.get("sim_devin.block.id") == "create"]
    assert named(spans(), "POST")[0].parent.span_id == create.context.span_id


def test_off_there_is_no_listener_and_the_sender_is_plain():
    app = sim_devin.open_app(simulate=True, discover=False, env={})
    assert app.telemetry.listener(None) is None
    assert type(app.sender) is sim_devin.calls.invoke.RetryingSender


def test_on_without_the_extra_is_an_error_that_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest, **more):
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingDependency) as caught:
        sim_devin.open_app(simulate=True, discover=False, env={"SIM_DEVIN_OTEL": "1"})
    assert "pip install 'sim-devin[otel]'" in caught.value.hint
