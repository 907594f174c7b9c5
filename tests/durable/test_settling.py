"""What comes back of a budget once it is known what a session really used."""

import json

import pytest

from sim_devin.devin.verdict import session_kind
from tests.durable.conftest import ENV
from tests.durable.flows import block, devin, flow, wait

OVER = 230.0  # seconds after which a session of the scenario `finish` is over; it uses 0.75 ACUs
COUNTED = 300.0  # seconds after its end by which the service is believed to have counted


def start(app, *blocks, edges=None, **options):
    return app.runs.start(flow(*blocks, edges=edges), env=ENV, **options)


def create(prompt="Fix it", cap="8", id="create"):
    return devin(id, "create_session", prompt=prompt, maxAcuLimit=cap)


@pytest.fixture
def app(open_app):
    """Return an app whose runs may spend 10 ACUs a day."""
    return open_app(env={**ENV, "SIM_DEVIN_MAX_ACU_DAY": "10"})


def settled(store):
    rows = store.database.read(
        "SELECT reserved, settled FROM spend WHERE ceiling = 'maxAcuLimit' ORDER BY run_id, step"
    )
    return [(row["reserved"], row["settled"]) for row in rows]


def later(app, simulator, seconds):
    simulator.clock.advance(seconds)
    app.runs.work(once=True)


@pytest.mark.parametrize("waits", [True, False], ids=["waited for", "left alone"])
def test_a_day_gets_back_what_a_session_did_not_use(app, store, simulator, waits):
    first = start(app, create(), *([wait()] if waits else []))
    app.runs.work(once=True)
    later(app, simulator, OVER)
    assert app.runs.show(first)["state"] == "done"
    assert settled(store) == [(8, None)]  # the service may not have counted everything yet
    refused = start(app, create())
    app.runs.work(once=True)
    assert "leaves 2, and this session could spend 8: 6 too many" in app.runs.show(refused)["error"]
    later(app, simulator, COUNTED - 1)
    assert settled(store) == [(8, None)]
    later(app, simulator, 60)
    assert settled(store) == [(8, 0.75)]
    third = start(app, create(cap="9"))
    app.runs.work(once=True)
    assert app.runs.show(third)["state"] == "done"


def test_what_a_settled_session_used_is_not_looked_at_again(app, simulator):
    start(app, create(), wait())
    app.runs.work(once=True)
    later(app, simulator, OVER)
    later(app, simulator, COUNTED)
    before = simulator.counts["requests"]
    later(app, simulator, 24 * 3600)
    assert simulator.counts["requests"] == before


@pytest.mark.parametrize("scenario", ["asks", "never-ends"])
def test_a_session_that_may_go_on_keeps_what_it_reserved(app, store, simulator, scenario):
    start(app, create(f"[scenario: {scenario}]"))
    app.runs.work(once=True)
    for _ in range(10):
        later(app, simulator, 600)
    assert settled(store) == [(8, None)]


def test_a_session_that_is_terminated_is_settled(app, store, simulator):
    end = devin("end", "terminate_session", sessionId="<create.sessionId>")
    start(app, create("[scenario: never-ends]"), end)
    app.runs.work(once=True)
    assert settled(store) == [(8, None)]
    later(app, simulator, COUNTED)
    assert settled(store) == [(8, 0)]


def test_a_session_of_a_plan_that_counts_no_acus_keeps_its_share(app, store, simulator):
    """0 is said there of every session, whatever it used."""
    simulator.switches = simulator.switches.changed({"billing": "quota"})
    start(app, create(), wait())
    app.runs.work(once=True)
    later(app, simulator, OVER)
    for _ in range(5):
        later(app, simulator, COUNTED)
    assert settled(store) == [(8, None)]
    refused = start(app, create())
    app.runs.work(once=True)
    assert "leaves 2" in app.runs.show(refused)["error"]


def test_a_message_lets_a_session_use_its_share_again(app, store, simulator):
    first = start(app, create(), wait())
    app.runs.work(once=True)
    later(app, simulator, OVER)
    later(app, simulator, COUNTED)
    assert settled(store) == [(8, 0.75)]
    session_id = app.runs.show(first)["blocks"][0]["output"]["sessionId"]
    start(app, devin("send", "send_message", sessionId=session_id, message="more"))
    app.runs.work(once=True)
    assert settled(store) == [(8, None)]


def caps(simulator):
    bodies = [json.loads(e.body) for e in simulator.log if e.path.endswith("/sessions") and e.body]
    return [body["max_acu_limit"] for body in bodies]


@pytest.mark.parametrize(("naps", "second"), [(1, 1), (2, 5)], ids=["too soon", "in time"])
def test_a_run_gets_back_what_its_session_did_not_use(open_app, simulator, naps, second):
    app = open_app()
    pauses = [block(f"nap{n}", "wait", timeValue="4", timeUnit="minutes") for n in range(naps)]
    more = create("More", "5", "more")
    run_id = start(app, create(cap="5"), wait(), *pauses, more, max_acu=6)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "done"
    assert caps(simulator) == [5, second]


@pytest.mark.parametrize("resumed", [True, False])
def test_a_run_gets_it_back_while_it_is_driven(open_app, store, simulator, resumed):
    """As if another process had looked at its session meanwhile; or a session went on again."""
    app = open_app()

    def hear(event):
        if event.kind == "block.finished" and event.log.block_id in ("create", "more"):
            (first,) = store.sessions_named(
                session_kind(), store.outcomes(run_id)[0].output["sessionId"]
            )
            going_on = resumed and event.log.block_id == "more"
            store.settle_share(first, None if going_on else 1.0)

    blocks = [create(cap="5"), create("More", "3", "more"), create("Last", "3", "last")]
    run_id = start(app, *blocks, max_acu=6)
    app.runs.follow(run_id, on_event=hear)
    assert caps(simulator) == ([5, 3] if resumed else [5, 3, 2])
    if resumed:
        assert "ceiling of 6 for maxAcuLimit is used up" in app.runs.show(run_id)["error"]
