"""The service's own words survive where nobody knows what came of a create or a message."""

import json

import pytest

import sim_devin
from sim_devin.calls.intents import Settle
from sim_devin.calls.response import Response
from sim_devin.clock import ManualClock
from sim_devin.errors import AmbiguousResult, UncertainResult

KEY = "made_up_key_of_a_test_000000"
CALLS = [
    ("devin_create_session", {"prompt": "Fix it"}),
    ("devin_send_message", {"sessionId": "a", "message": "Go on"}),
]
BODIES = [
    {"detail": "The pool is empty"},
    {"details": ["The pool is empty"]},
    {"message": ["x", "The pool is empty"]},
    {"errors": [{"title": "The pool is empty"}]},
    {"error": {"message": "The pool is empty"}},
]


class Failing:
    """A transport whose POSTs fail with one body, and whose lists are empty."""

    def __init__(self, status, body):
        self.status = status
        self.body = json.dumps(body).encode()

    def send(self, request, *, timeout):
        if request.method == "POST":
            return Response(self.status, {}, self.body)
        return Response(200, {}, b'{"items": [], "has_next_page": false, "end_cursor": null}')


def app_over(transport):
    return sim_devin.open_app(
        transport=transport,
        clock=ManualClock(),
        credentials={"apiKey": KEY, "orgId": "org-test"},
        settle=Settle(grace=10),
        env={},
        discover=False,
    )


@pytest.mark.parametrize("body", BODIES, ids=json.dumps)
@pytest.mark.parametrize(("tool", "params"), CALLS)
@pytest.mark.parametrize("status", [500, 502, 429])
def test_they_are_in_the_error_of_a_plain_call(tool, params, body, status):
    with pytest.raises(AmbiguousResult, match="The pool is empty"):
        app_over(Failing(status, body)).call(tool, params)


@pytest.mark.parametrize("body", BODIES, ids=json.dumps)
@pytest.mark.parametrize(("tool", "params"), CALLS)
def test_they_are_in_the_error_after_the_looking(tool, params, body):
    with pytest.raises(UncertainResult, match="The pool is empty") as caught:
        app_over(Failing(500, body)).call(tool, params, reconcile=True)
    assert caught.value.status == 500


def test_a_key_in_them_is_masked():
    body = {"details": [f"bad key {KEY}"]}
    with pytest.raises(AmbiguousResult, match="bad key") as caught:
        app_over(Failing(500, body)).call("devin_create_session", {"prompt": "Fix it"})
    assert KEY not in str(caught.value)
