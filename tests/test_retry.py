"""What is sent again, when, and what an end without an answer comes to."""

import logging
import threading
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sim_devin
from sim_devin.calls import retry
from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.calls.retry import RetryPolicy
from sim_devin.clock import ManualClock
from sim_devin.errors import (
    AmbiguousResult,
    BadRequest,
    Cancelled,
    Conflict,
    NotFound,
    NotSent,
    OutOfQuota,
    RateLimited,
    ServerError,
    TimedOut,
    TransportError,
    UnreadableResponse,
)

KEY = "cog_test_key_000000"
SESSION_ID = "devin-" + "0" * 32
SESSION = b'{"session_id": "%s", "status": "running"}' % (b"0" * 32)
START = 1_800_000_000.0

PARAMS = {
    "devin_create_session": {"prompt": "x"},
    "devin_get_session": {"sessionId": SESSION_ID},
    "devin_list_sessions": {},
    "devin_send_message": {"sessionId": SESSION_ID, "message": "x"},
    "devin_list_session_messages": {"sessionId": SESSION_ID},
    "devin_list_session_attachments": {"sessionId": SESSION_ID},
    "devin_get_session_tags": {"sessionId": SESSION_ID},
    "devin_append_session_tags": {"sessionId": SESSION_ID, "tags": ["a"]},
    "devin_replace_session_tags": {"sessionId": SESSION_ID, "tags": ["a"]},
    "devin_archive_session": {"sessionId": SESSION_ID},
    "devin_terminate_session": {"sessionId": SESSION_ID},
}
ANSWERS = dict.fromkeys(PARAMS, SESSION) | {
    "devin_list_sessions": b'{"items": []}',
    "devin_list_session_messages": b'{"items": []}',
    "devin_list_session_attachments": b"[]",
    "devin_get_session_tags": b'{"tags": []}',
    "devin_append_session_tags": b'{"tags": ["a"]}',
    "devin_replace_session_tags": b'{"tags": ["a"]}',
}
ONCE_ONLY = ["devin_create_session", "devin_send_message"]
REPEATABLE = [tool for tool in PARAMS if tool not in ONCE_ONLY]


def status(code, **headers):
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return Response(code, named, b'{"title": "T", "status": %d}' % code)


class Scripted:
    """A transport that answers, or fails, as it is told, one call after the other."""

    def __init__(self, *outcomes, clock=None, takes=0.0):
        self.outcomes = list(outcomes)
        self.clock = clock
        self.takes = takes
        self.requests = []
        self.timeouts = []

    def send(self, request, *, timeout):
        self.requests.append(request)
        self.timeouts.append(timeout)
        if self.clock:
            self.clock.advance(min(self.takes, timeout))
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Pauses(ManualClock):
    """A clock that notes every wait."""

    def __init__(self):
        super().__init__(START)
        self.waits = []

    def wait(self, event, timeout):
        self.waits.append(timeout)
        return super().wait(event, timeout)


def app_over(transport, clock=None, **options):
    return sim_devin.open_app(
        transport=transport,
        clock=clock or ManualClock(START),
        env={},
        discover=False,
        credentials={"apiKey": KEY, "orgId": "org-1"},
        **options,
    )


FAILURES = {
    "not sent": lambda: NotSent("No connection."),
    "reset": lambda: TransportError("It broke."),
    "timed out": lambda: TimedOut("Nothing came."),
    "429": lambda: status(429),
    "429 seconds": lambda: status(429, Retry_After="3"),
    "429 date": lambda: status(429, Retry_After=formatdate(START + 3, usegmt=True)),
    "500": lambda: status(500),
    "502": lambda: status(502),
    "503": lambda: status(503),
    "503 seconds": lambda: status(503, Retry_After="3"),
    "504": lambda: status(504),
}
NOT_PROCESSED = {"not sent"}
RAISED = {
    "not sent": NotSent,
    "reset": TransportError,
    "timed out": TimedOut,
    "429": RateLimited,
    "429 seconds": RateLimited,
    "429 date": RateLimited,
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("tool", PARAMS)
def test_what_is_sent_again_after_one_failure(tool, failure):
    transport = Scripted(FAILURES[failure](), Response(200, {}, ANSWERS[tool]))
    app = app_over(transport)
    if tool in REPEATABLE or failure in NOT_PROCESSED:
        app.call(tool, PARAMS[tool])
        first, second = transport.requests
        assert first == second
    else:
        with pytest.raises(AmbiguousResult, match="unknown outcome") as caught:
            app.call(tool, PARAMS[tool])
        assert "Do not repeat it" in caught.value.hint
        assert len(transport.requests) == 1


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("tool", PARAMS)
@pytest.mark.parametrize("retries", [0, 2])
def test_a_failure_that_stays(tool, failure, retries):
    transport = Scripted(FAILURES[failure]())
    app = app_over(transport, retries=retries)
    repeated = tool in REPEATABLE or failure in NOT_PROCESSED
    expected = RAISED.get(failure, ServerError) if repeated else AmbiguousResult
    with pytest.raises(expected) as caught:
        app.call(tool, PARAMS[tool])
    assert type(caught.value) is expected
    assert len(transport.requests) == (1 + retries if repeated else 1)


@pytest.mark.parametrize(
    ("code", "error"),
    [(400, BadRequest), (402, OutOfQuota), (404, NotFound), (409, Conflict), (422, BadRequest)],
)
@pytest.mark.parametrize("tool", PARAMS)
def test_a_refusal_is_final(tool, code, error):
    transport = Scripted(status(code))
    with pytest.raises(error):
        app_over(transport).call(tool, PARAMS[tool])
    assert len(transport.requests) == 1


def test_a_create_may_turn_ambiguous_on_a_later_try():
    transport = Scripted(NotSent("No."), NotSent("No."), TimedOut("Nothing."))
    with pytest.raises(AmbiguousResult):
        app_over(transport).call("devin_create_session", {"prompt": "x"})
    assert len(transport.requests) == 3


@pytest.mark.parametrize("tool", PARAMS)
def test_an_answer_that_is_too_large_is_not_asked_for_again(tool):
    transport = Scripted(UnreadableResponse("Too large.", status=200, accepted=True))
    with pytest.raises(UnreadableResponse) as caught:
        app_over(transport).call(tool, PARAMS[tool])
    assert caught.value.accepted
    assert len(transport.requests) == 1


# -- pauses -------------------------------------------------------------------------------------


def pauses_of(transport, **options):
    clock = Pauses()
    options.setdefault("rng", lambda: 1.0)
    spec = app_over(transport).registry.tool("devin_get_session")
    request = Request("GET", "https://api.devin.ai/v3/x")
    outcome = retry.send(spec, request, transport, clock, **options)
    return clock.waits, outcome


def test_pauses_double_up_to_a_ceiling():
    waits, response = pauses_of(Scripted(status(500)), policy=RetryPolicy(retries=7))
    assert waits == [0.5, 1, 2, 4, 8, 8, 8]
    assert response.status == 500


@given(
    draws=st.lists(st.floats(0, 1, exclude_max=True), min_size=6, max_size=6),
    first=st.floats(0.01, 5),
    ceiling=st.floats(0.01, 30),
)
def test_jitter_is_full(draws, first, ceiling):
    policy = RetryPolicy(retries=6, first=first, ceiling=ceiling, total=1e9)
    left = iter(draws)
    waits, _ = pauses_of(Scripted(status(500)), policy=policy, rng=lambda: next(left))
    bounds = [min(ceiling, first * 2**number) for number in range(6)]
    assert waits == [draw * bound for draw, bound in zip(draws, bounds, strict=True)]


@pytest.mark.parametrize("value", ["12", "12.0", formatdate(START + 12, usegmt=True)])
@pytest.mark.parametrize("code", [429, 503, 500])
def test_retry_after_is_the_least_pause(code, value):
    ok = Response(200, {}, SESSION)
    waits, response = pauses_of(Scripted(status(code, Retry_After=value), ok))
    assert waits == [12]
    assert response is ok


@pytest.mark.parametrize("value", ["0", "-3", "soon", "", formatdate(START - 60, usegmt=True)])
def test_a_retry_after_that_asks_for_nothing_leaves_the_backoff(value):
    waits, _ = pauses_of(Scripted(status(429, Retry_After=value), Response(200, {}, SESSION)))
    assert waits == [0.5]


@pytest.mark.parametrize(
    "value", ["500", formatdate(START + 500, usegmt=True)], ids=["seconds", "date"]
)
@pytest.mark.parametrize("tool", PARAMS)
def test_a_retry_after_beyond_the_budget_fails_now_and_says_so(tool, value):
    clock = Pauses()
    transport = Scripted(status(429, Retry_After=value))
    with pytest.raises(AmbiguousResult if tool in ONCE_ONLY else RateLimited) as caught:
        app_over(transport, clock).call(tool, PARAMS[tool])
    assert (caught.value.status, caught.value.retry_after) == (429, 500)
    assert clock.waits == []
    assert len(transport.requests) == 1


# -- limits -------------------------------------------------------------------------------------


def test_all_tries_together_stay_within_the_total():
    clock = ManualClock(START)
    transport = Scripted(TimedOut("Nothing."), clock=clock, takes=60)
    with pytest.raises(TimedOut):
        app_over(transport, clock).call("devin_get_session", {"sessionId": SESSION_ID})
    assert clock.time() - START <= 180
    assert len(transport.requests) == 3
    assert transport.timeouts[0] == 60
    assert transport.timeouts[-1] < 60


def test_a_deadline_lowers_the_total():
    clock = ManualClock(START)
    transport = Scripted(TimedOut("Nothing."), clock=clock, takes=60)
    with pytest.raises(TimedOut):
        app_over(transport, clock).call("devin_get_session", {"sessionId": SESSION_ID}, deadline=20)
    assert clock.time() - START <= 20
    assert transport.timeouts == [20]


def test_a_deadline_that_has_passed_sends_nothing():
    transport = Scripted(status(500))
    with pytest.raises(TimedOut, match="before devin_create_session was sent"):
        app_over(transport).call("devin_create_session", {"prompt": "x"}, deadline=0)
    assert transport.requests == []


def test_cancel_before_the_first_try():
    cancel = threading.Event()
    cancel.set()
    transport = Scripted(status(500))
    with pytest.raises(Cancelled):
        app_over(transport).call("devin_list_sessions", cancel=cancel)
    assert transport.requests == []


def test_cancel_during_a_pause():
    cancel = threading.Event()

    class Stop(ManualClock):
        def wait(self, event, timeout):
            event.set()
            return super().wait(event, timeout)

    transport = Scripted(status(500))
    with pytest.raises(Cancelled):
        app_over(transport, Stop()).call("devin_list_sessions", cancel=cancel)
    assert len(transport.requests) == 1


def test_a_real_cancel_ends_a_real_pause():
    cancel = threading.Event()
    transport = Scripted(status(429, Retry_After="100"))
    timer = threading.Timer(0.1, cancel.set)
    timer.start()
    app = sim_devin.open_app(
        transport=transport,
        env={},
        discover=False,
        credentials={"apiKey": KEY, "orgId": "org-1"},
    )
    with pytest.raises(Cancelled):
        app.call("devin_list_sessions", cancel=cancel)
    timer.join()


# -- terminate ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [400, 409])
@pytest.mark.parametrize(
    "body",
    [
        b'{"title": "Bad Request", "status": 400, "detail": "Devin session already exited"}',
        b'{"detail": "Session ALREADY EXITED."}',
    ],
)
def test_terminating_what_has_ended_is_success(code, body):
    transport = Scripted(TransportError("It broke."), Response(code, {}, body))
    output = app_over(transport).call("devin_terminate_session", {"sessionId": SESSION_ID})
    assert output["sessionId"] == SESSION_ID


@pytest.mark.parametrize("tool", ["devin_archive_session", "devin_send_message"])
def test_already_exited_is_a_failure_elsewhere(tool):
    body = b'{"title": "Bad Request", "status": 400, "detail": "Devin session already exited"}'
    with pytest.raises(BadRequest, match="already exited"):
        app_over(Scripted(Response(400, {}, body))).call(tool, PARAMS[tool])


# -- the log ------------------------------------------------------------------------------------


def test_every_try_is_one_structured_record(caplog):
    transport = Scripted(
        TransportError(f"It broke near Bearer {KEY}."), status(503), Response(200, {}, SESSION)
    )
    with caplog.at_level(logging.DEBUG, logger="sim_devin"):
        app_over(transport).call("devin_get_session", {"sessionId": SESSION_ID})
    records = [record for record in caplog.records if hasattr(record, "attempt")]
    assert [(record.attempt, record.outcome) for record in records] == [
        (1, "TransportError"),
        (2, 503),
        (3, 200),
    ]
    for record in records:
        assert (record.tool, record.method) == ("devin_get_session", "GET")
        assert record.path == f"/v3/organizations/org-1/sessions/{SESSION_ID}"
        assert record.seconds >= 0
        assert KEY not in str(record.__dict__)


def test_a_secret_in_a_failure_is_masked():
    transport = Scripted(TransportError(f"It broke near Bearer {KEY}."))
    for tool in ("devin_get_session", "devin_create_session"):
        with pytest.raises(TransportError) as caught:
            app_over(transport).call(tool, PARAMS[tool])
        assert KEY not in str(caught.value) + repr(caught.value)


def test_nothing_is_logged_above_debug(caplog):
    with caplog.at_level(logging.INFO, logger="sim_devin"), pytest.raises(ServerError):
        app_over(Scripted(status(500))).call("devin_list_sessions")
    assert caplog.records == []
