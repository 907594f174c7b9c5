"""The app: settings and credentials, ceilings, waiting, running and resuming."""

import json
import threading
from pathlib import Path

import pytest

import sim_devin
from sim_devin.calls.response import Response
from sim_devin.clock import ManualClock
from sim_devin.errors import (
    CallerError,
    Cancelled,
    InvalidParams,
    MissingCredentials,
    UnknownName,
    WaitTimedOut,
)

KEY, ORG = "cog_test_key_000000", "org-test"
FIRST_RUN = Path(__file__).parent.parent / "examples" / "first_run.json"


class Recorder:
    """A transport that answers every request with the same session and keeps the requests."""

    def __init__(self, status=200, body=None, headers=None):
        self.requests = []
        self.answer = Response(
            status, headers or {}, json.dumps(body or {"session_id": "s"}).encode()
        )
        self.closed = False

    def send(self, request, *, timeout):
        self.requests.append(request)
        return self.answer

    def close(self):
        self.closed = True


def open_app(**options):
    options.setdefault("transport", Recorder())
    options.setdefault("env", {})
    options.setdefault("clock", ManualClock())
    return sim_devin.open_app(discover=False, **options)


# -- credentials and addresses -------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "call", "expected"),
    [
        ({"env": {"DEVIN_API_KEY": "from-env-1", "DEVIN_ORG_ID": "org-env"}}, {}, "from-env-1"),
        (
            {
                "env": {"DEVIN_API_KEY": "from-env-1", "DEVIN_ORG_ID": "org-env"},
                "credentials": {"apiKey": "from-argument"},
            },
            {},
            "from-argument",
        ),
        (
            {"credentials": {"apiKey": "from-argument", "orgId": ORG}},
            {"apiKey": "from-the-call"},
            "from-the-call",
        ),
        ({"env": {"DEVIN_API_KEY": " spaced \n", "DEVIN_ORG_ID": ORG}}, {}, "spaced"),
    ],
)
def test_the_nearest_credential_wins(options, call, expected):
    app = open_app(**options)
    app.call("devin_get_session", {"sessionId": "s"}, credentials=call)
    assert app.transport.requests[0].headers["Authorization"] == f"Bearer {expected}"


def test_credentials_among_the_parameters_win_over_everything():
    app = open_app(credentials={"apiKey": KEY, "orgId": ORG})
    app.call("devin_get_session", {"sessionId": "s", "apiKey": "from-the-block", "orgId": "org-b"})
    request = app.transport.requests[0]
    assert request.headers["Authorization"] == "Bearer from-the-block"
    assert "/organizations/org-b/" in request.url


def test_missing_credentials_name_the_variables_and_nothing_is_sent():
    app = open_app()
    with pytest.raises(MissingCredentials, match="DEVIN_API_KEY and DEVIN_ORG_ID"):
        app.call("devin_get_session", {"sessionId": "s"})
    assert app.transport.requests == []


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "https://api.devin.ai/v3/"),
        (
            {"base_url": "https://acme.devinenterprise.com/api/v3/"},
            "https://acme.devinenterprise.com/api/v3/",
        ),
        ({"env": {"DEVIN_BASE_URL": "http://127.0.0.1:9/v3"}}, "http://127.0.0.1:9/v3/"),
        (
            {"env": {"DEVIN_BASE_URL": "https://a.example/v3"}, "base_url": "https://b.example/v3"},
            "https://b.example/v3/",
        ),
    ],
)
def test_the_whole_prefix_of_the_address_can_be_set(options, url):
    app = open_app(credentials={"apiKey": KEY, "orgId": ORG}, **options)
    assert app.build_request("devin_list_sessions").url.startswith(url + "organizations/")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.devin.ai/v3",
        "ftp://api.devin.ai",
        "api.devin.ai/v3",
        "https://user:pw@api.devin.ai/v3",
        "https://api.devin.ai/v3?x=1",
    ],
)
def test_an_address_that_would_expose_the_key_is_refused(url):
    with pytest.raises(CallerError, match="base URL"):
        open_app(
            env={"DEVIN_BASE_URL": url or "x"}, credentials={"apiKey": KEY, "orgId": ORG}
        ).call("devin_list_sessions")


# -- ceilings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("app_limit", "call_limit", "asked", "sent"),
    [
        (None, None, None, None),
        (None, None, 7, 7),
        (10, None, None, 10),
        (10, None, 7, 7),
        (10, None, 70, 10),
        (10, None, "70", 10),
        (10, 5, 7, 5),
        (5, 10, 7, 5),
        (None, 4, None, 4),
    ],
)
def test_a_ceiling_can_only_lower_a_cap(app_limit, call_limit, asked, sent):
    app = open_app(credentials={"apiKey": KEY, "orgId": ORG}, max_acu=app_limit)
    params = {"prompt": "p"} if asked is None else {"prompt": "p", "maxAcuLimit": asked}
    ceilings = None if call_limit is None else {"maxAcuLimit": call_limit}
    app.call("devin_create_session", params, ceilings=ceilings)
    assert app.transport.requests[0].json.get("max_acu_limit") == sent


def test_a_ceiling_does_not_hide_a_wrong_cap():
    app = open_app(credentials={"apiKey": KEY, "orgId": ORG}, max_acu=10)
    with pytest.raises(InvalidParams, match="maxAcuLimit"):
        app.call("devin_create_session", {"prompt": "p", "maxAcuLimit": "lots"})


def test_the_environments_ceiling_and_the_arguments_are_both_obeyed():
    app = open_app(
        credentials={"apiKey": KEY, "orgId": ORG}, env={"SIM_DEVIN_MAX_ACU": "6"}, max_acu=9
    )
    app.call("devin_create_session", {"prompt": "p", "maxAcuLimit": 8})
    assert app.transport.requests[0].json["max_acu_limit"] == 6


def test_a_tool_without_the_parameter_is_not_touched_by_a_ceiling():
    app = open_app(credentials={"apiKey": KEY, "orgId": ORG}, max_acu=10)
    app.call("devin_send_message", {"sessionId": "s", "message": "m"})
    assert app.transport.requests[0].json == {"message": "m"}


# -- names ---------------------------------------------------------------------------------


def test_unknown_names_suggest_the_nearest():
    app = open_app()
    with pytest.raises(UnknownName, match="devin_get_session"):
        app.call("devin_get_sesion")
    with pytest.raises(UnknownName, match="create_session"):
        app.plan_block("devin", {"operation": "creat_session"})
    with pytest.raises(UnknownName, match="devin_wait"):
        app.plan_block("devin_wat", {})


def test_tools_stand_in_the_order_of_the_block():
    app = open_app()
    operations = app.registry.blocks["devin"].operations
    assert list(app.registry.tools)[: len(operations)] == list(operations.values())


# -- waiting -------------------------------------------------------------------------------


def test_waiting_gives_outcomes_in_the_order_asked_for():
    with sim_devin.open_app(simulate=True, env={}, discover=False) as app:
        ids = [
            app.call("devin_create_session", {"prompt": f"Task {name} [scenario: {name}]"})[
                "sessionId"
            ]
            for name in ("asks", "finish", "fails")
        ]
        outcomes = app.wait(ids)
    assert [o.session_id for o in outcomes] == ids
    assert [o.state for o in outcomes] == ["blocked_on_user", "done", "failed"]


def test_an_unknown_way_to_wait_is_named():
    app = open_app(simulate=True, transport=None)
    with pytest.raises(UnknownName, match="settled"):
        app.wait(["s"], until="setled")


def test_a_wait_for_an_unreachable_service_ends_at_its_deadline():
    app = open_app(
        credentials={"apiKey": KEY, "orgId": ORG}, transport=Recorder(503, {"title": "down"})
    )
    with pytest.raises(WaitTimedOut, match="HTTP 503"):
        app.wait(["s"], deadline=600)


def test_a_cancelled_wait_says_that_the_sessions_go_on():
    app = open_app(simulate=True, transport=None)
    session = app.call("devin_create_session", {"prompt": "p"})["sessionId"]
    cancel = threading.Event()
    with pytest.raises(Cancelled, match="the sessions continue"):
        app.wait([session], cancel=cancel, on_progress=lambda progress: cancel.set())


# -- workflows -----------------------------------------------------------------------------


def test_the_first_example_runs_to_its_response():
    with sim_devin.open_app(simulate=True, env={}, discover=False) as app:
        result = app.run(FIRST_RUN)
    assert result.success
    answer = result.output["data"]
    assert answer["outcome"] == "done"
    assert answer["pullRequests"][0]["pr_state"] == "open"
    assert answer["result"] == {"outcome": "pr_opened", "tests_passed": True}


def test_the_apps_credentials_stand_for_their_variables_in_a_workflow():
    app = open_app(credentials={"apiKey": KEY, "orgId": ORG})
    app.run(FIRST_RUN, stop_after=next(iter(_ids("Create Session"))))
    assert app.transport.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert f"/organizations/{ORG}/" in app.transport.requests[0].url


def _ids(name):
    blocks = json.loads(FIRST_RUN.read_text(encoding="utf-8"))["state"]["blocks"]
    return [key for key, block in blocks.items() if block["name"] == name]


def test_a_run_wide_ceiling_caps_the_sessions_of_a_workflow():
    app = open_app(credentials={"apiKey": KEY, "orgId": ORG})
    app.run(FIRST_RUN, max_acu=3, stop_after=next(iter(_ids("Create Session"))))
    assert app.transport.requests[0].json["max_acu_limit"] == 3


def test_a_finished_run_is_in_the_store_without_the_key():
    app = open_app(credentials={"apiKey": KEY, "orgId": ORG})
    result = app.run(FIRST_RUN, stop_after=next(iter(_ids("Create Session"))))
    record = app.store.load(result.run_id)
    assert record["result"]["success"]
    assert KEY not in json.dumps(record)
    with pytest.raises(UnknownName):
        app.store.load("no-such-run")


# -- the rest ------------------------------------------------------------------------------


def test_closing_the_app_closes_its_transport():
    with open_app() as app:
        transport = app.transport
    assert transport.closed


def test_a_deadline_is_in_seconds_from_now():
    app = open_app(
        credentials={"apiKey": KEY, "orgId": ORG}, transport=Recorder(503, {"title": "down"})
    )
    started = app.clock.monotonic()
    with pytest.raises(sim_devin.SimDevinError):
        app.call("devin_get_session", {"sessionId": "s"}, deadline=2.0)
    assert app.clock.monotonic() - started <= 2.0


def test_retries_can_be_turned_off():
    app = open_app(
        credentials={"apiKey": KEY, "orgId": ORG},
        transport=Recorder(503, {"title": "down"}),
        retries=0,
    )
    with pytest.raises(sim_devin.SimDevinError):
        app.call("devin_get_session", {"sessionId": "s"})
    assert len(app.transport.requests) == 1
