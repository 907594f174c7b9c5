"""Money or quota that is gone is money gone, wherever the service says so, and is never retried."""

import json

import pytest

import sim_devin
from sim_devin.calls.response import Response, api_error
from sim_devin.clock import ManualClock
from sim_devin.devin.verdict import classify
from sim_devin.errors import OutOfQuota, RateLimited
from sim_devin.simulated import SimulatedTransport
from sim_devin.simulator import SimClock, Simulator
from sim_devin.simulator.switches import Switches
from tests.durable.conftest import ENV
from tests.durable.flows import devin, flow

CREATE = "devin_create_session"


@pytest.mark.parametrize("status", ["suspended", "exit", "error", "running"])
@pytest.mark.parametrize(
    ("detail", "scope"),
    [
        ("out_of_quota", "organization"),
        ("out-of-quota", "organization"),
        ("OUT_OF_QUOTA", "organization"),
        ("OutOfQuota", "organization"),
        ("no_quota_allocation", "organization"),
        ("out_of_credits", "organization"),
        ("user_usage_limit_exceeded", "user"),
        ("usage_limit_exceeded", "session"),
    ],
)
def test_a_session_without_money_is_out_of_money_whatever_its_status(status, detail, scope):
    verdict = classify({"status": status, "statusDetail": detail})
    assert (verdict.state, verdict.scope) == ("out_of_money", scope)


BODIES = [
    {"detail": "out_of_quota"},
    {"detail": "The request was refused.", "error_code": "out_of_quota"},
    {"detail": {"code": "out-of-quota", "message": "No."}},
    {"detail": "No.", "errors": [{"code": "out_of_credits"}]},
    {"error": {"type": "OutOfQuota"}},
    {"title": "Payment declined", "detail": None},
]


@pytest.mark.parametrize("status", [400, 402, 403, 409, 422, 429])
@pytest.mark.parametrize("body", BODIES)
def test_a_refusal_that_names_it_is_money_gone(status, body):
    error = api_error(Response(status, {}, json.dumps(body).encode()))
    assert isinstance(error, OutOfQuota)
    assert (error.exit_code, error.status) == (5, status)
    assert error.means.did_nothing
    assert error.means.final
    assert not error.means.temporary


@pytest.mark.parametrize(
    "body", [{"detail": "Quota of requests per minute exceeded"}, {"instance": "/out_of_quota"}]
)
def test_a_limit_of_requests_is_not(body):
    assert isinstance(api_error(Response(429, {}, json.dumps(body).encode())), RateLimited)


# -- the whole way -----------------------------------------------------------------------------


def open_app(**switches):
    clock = SimClock(speed=0)
    simulator = Simulator(clock=clock, switches=Switches(**switches), seed=1)
    app = sim_devin.open_app(
        transport=SimulatedTransport(clock, simulator),
        clock=ManualClock(),
        discover=False,
        env=ENV,
        credentials={"apiKey": "cog_simulated_key", "orgId": "org-simulated"},
    )
    return app, simulator


def posts(simulator):
    return sum(entry.method == "POST" for entry in simulator.log)


@pytest.mark.parametrize("code", ["detail", "error_code"])
@pytest.mark.parametrize("status", [402, 403, 429])
@pytest.mark.parametrize("reconcile", [False, True])
def test_a_create_without_quota_is_sent_once(status, code, reconcile):
    app, simulator = open_app(out_of_quota=True, quota_status=status, quota_code=code)
    with pytest.raises(OutOfQuota):
        app.call(CREATE, {"prompt": "p"}, reconcile=reconcile)
    assert posts(simulator) == 1


@pytest.mark.parametrize("durable", [False, True])
def test_a_block_that_is_to_be_tried_again_is_not(durable):
    app, simulator = open_app(out_of_quota=True, quota_code="error_code")
    create = devin("create", "create_session", prompt="p")
    create["data"] = {"retry": {"enabled": True, "maxRetries": 3, "retryDelay": 0}}
    create["retry"] = {"enabled": True, "maxTries": 3, "waitBetweenTries": 0}
    if durable:
        run_id = app.runs.start(flow(create), env=ENV)
        app.runs.follow(run_id)
        assert app.runs.show(run_id)["state"] == "failed"
    else:
        assert not app.run(flow(create), env=ENV).success
    assert posts(simulator) == 1


# -- the simulator's plan ----------------------------------------------------------------------


def test_a_plan_billed_by_quota_counts_no_acus_and_ends():
    app, simulator = open_app(billing="quota", quota_sessions=2)
    first = app.call(CREATE, {"prompt": "p", "maxAcuLimit": 1})
    app.call(CREATE, {"prompt": "p"})
    simulator.clock.advance(3600)
    seen = app.call("devin_get_session", {"sessionId": first["sessionId"]})
    assert seen["acusConsumed"] == 0
    assert seen["statusDetail"] != "usage_limit_exceeded"
    with pytest.raises(OutOfQuota):
        app.call(CREATE, {"prompt": "p"})
    assert simulator.counts["sessions_created"] == 2
