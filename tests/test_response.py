"""Answers → outputs and errors, through `app.read_response` and `app.call`."""

import json
import os
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_devin import open_app
from sim_devin.calls.response import Response, retry_after
from sim_devin.clock import ManualClock
from sim_devin.errors import (
    ApiError,
    AuthenticationFailed,
    BadRequest,
    Conflict,
    CredentialsError,
    NotFound,
    OutOfQuota,
    PermissionDenied,
    RateLimited,
    ServerError,
    UnreadableResponse,
)

CLOCK = ManualClock()
APP = open_app(env={"SIM_DEVIN_CONFIG": os.devnull}, discover=False, clock=CLOCK)
SESSION = {
    "session_id": "devin-1",
    "url": "https://app.devin.ai/sessions/1",
    "status": "running",
    "status_detail": "working",
    "title": "Fix it",
    "created_at": 1755770000,
    "updated_at": 1755770500,
    "acus_consumed": 1.25,
    "tags": ["a"],
    "pull_requests": [{"pr_url": "https://example.com/1", "pr_state": "open", "more": 1}],
    "structured_output": {"result": None},
    "playbook_id": "pb",
    "is_archived": False,
    "org_id": "org-1",
}
OUTPUT = {
    "sessionId": "devin-1",
    "url": "https://app.devin.ai/sessions/1",
    "status": "running",
    "statusDetail": "working",
    "title": "Fix it",
    "createdAt": 1755770000,
    "updatedAt": 1755770500,
    "acusConsumed": 1.25,
    "tags": ["a"],
    "pullRequests": [{"pr_url": "https://example.com/1", "pr_state": "open", "more": 1}],
    "structuredOutput": {"result": None},
    "playbookId": "pb",
    "isArchived": False,
}
NOTHING = {**dict.fromkeys(OUTPUT), "tags": [], "pullRequests": [], "isArchived": False}
SESSION_TOOLS = [
    "devin_create_session",
    "devin_get_session",
    "devin_send_message",
    "devin_archive_session",
    "devin_terminate_session",
]


def read(tool, payload=None, status=200, **kwargs):
    return APP.read_response(f"devin_{tool}", status, payload=payload, **kwargs)


def error(status, payload=None, tool="get_session", **kwargs):
    with pytest.raises(ApiError) as caught:
        read(tool, payload, status, **kwargs)
    return caught.value


def unreadable(tool, payload=None, status=200, **kwargs):
    with pytest.raises(UnreadableResponse) as caught:
        read(tool, payload, status, **kwargs)
    return caught.value


# -- outputs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", SESSION_TOOLS)
@pytest.mark.parametrize("status", [200, 201, 202])
def test_sessions(tool, status):
    assert APP.read_response(tool, status, payload=SESSION) == OUTPUT


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "a_status_of_the_future"},
        {"acus_consumed": 0},
        {"title": ""},
        {"tags": "odd"},
        {"structured_output": ["odd"]},
        {"created_at": "2025-08-21"},
    ],
)
def test_odd_values_pass_through(changed):
    output = read("get_session", {**SESSION, **changed})
    (value,) = changed.values()
    assert value in output.values()


def test_what_is_missing_or_null_is_the_default():
    assert read("create_session", {"session_id": "devin-1"}) == {**NOTHING, "sessionId": "devin-1"}
    nulls = dict.fromkeys(SESSION) | {"session_id": "devin-1"}
    assert read("create_session", nulls) == {**NOTHING, "sessionId": "devin-1"}


def test_only_a_created_session_has_to_say_its_id():
    assert read("get_session", {"status": "running"}) == {**NOTHING, "status": "running"}
    failed = unreadable("create_session", {"status": "running"})
    assert failed.accepted
    assert "sessionId is missing" in str(failed)


def test_defaults_are_not_shared():
    read("get_session", {"status": "x"})["tags"].append("mine")
    assert read("get_session", {"status": "x"})["tags"] == []


def test_session_lists():
    item = {name: value for name, value in OUTPUT.items() if name != "structuredOutput"}
    page = {"items": [SESSION, {}], "end_cursor": "c", "has_next_page": True, "total": 2}
    empty = {name: value for name, value in NOTHING.items() if name != "structuredOutput"}
    assert read("list_sessions", page) == {
        "sessions": [item, empty],
        "endCursor": "c",
        "hasNextPage": True,
        "total": 2,
    }


def test_message_lists():
    message = {"event_id": "e", "source": "devin", "message": "hi", "created_at": 1, "x": 2}
    assert read("list_session_messages", {"items": [message]}) == {
        "messages": [{"eventId": "e", "source": "devin", "message": "hi", "createdAt": 1}],
        "endCursor": None,
        "hasNextPage": False,
        "total": None,
    }


@pytest.mark.parametrize("wrapped", [True, False])
def test_attachment_lists_bare_and_wrapped(wrapped):
    files = [{"attachment_id": "a", "name": "n", "url": "u", "source": "s", "content_type": "t"}]
    expected = {"attachmentId": "a", "name": "n", "url": "u", "source": "s", "contentType": "t"}
    payload = {"items": files} if wrapped else files
    assert read("list_session_attachments", payload) == {"attachments": [expected]}


@pytest.mark.parametrize(
    "tool", ["get_session_tags", "append_session_tags", "replace_session_tags"]
)
def test_tags(tool):
    assert read(tool, {"tags": ["a", "b"]}) == {"tags": ["a", "b"]}
    assert read(tool, {"tags": None}) == {"tags": []}


@pytest.mark.parametrize(
    ("body", "title"),
    [
        ('\ufeff{"title": "x"}'.encode(), "x"),
        (b'{"title": "\xff\xfe"}', "\ufffd\ufffd"),
        (b'{"title": "a", "title": "b"}', "b"),
        (b'{"title": "\\ud83d\\ude80"}', "\U0001f680"),
        (b'{"title": "cut \\uD83D"}', "cut \ud83d"),
        (b'{"title": "C:\\\\ud83d"}', "C:\\ud83d"),
        (b' \r\n{"title": 1e2}\n', 100),
        (b'{"title": 1e999}', None),
    ],
)
def test_bytes_are_read_as_browsers_read_them(body, title):
    assert read("get_session", body=body)["title"] == title


# -- successes that are none -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "payload", "why"),
    [
        ("get_session", None, "expected a JSON object, got null"),
        ("get_session", [], "expected a JSON object, got a list"),
        ("get_session", "ok", "expected a JSON object, got text"),
        ("get_session", True, "expected a JSON object, got a boolean"),
        ("get_session", 5, "expected a JSON object, got a number"),
        ("get_session", {}, "none of acus_consumed, created_at, "),
        ("get_session", {"detail": "no"}, "none of acus_consumed, created_at, "),
        ("list_sessions", {"items": "x"}, "sessions is text, not a list"),
        ("list_sessions", {"items": {}}, "sessions is an object, not a list"),
        ("list_sessions", {"items": [{}, None]}, "sessions[1] is null, not an object"),
        ("list_session_messages", {}, "none of end_cursor, has_next_page, items, total"),
        ("list_session_attachments", [1], "attachments[0] is a number, not an object"),
        ("get_session_tags", ["a"], "expected a JSON object, got a list"),
    ],
)
def test_answers_of_another_shape(tool, payload, why):
    failed = unreadable(tool, payload)
    assert why in str(failed)
    assert not failed.accepted
    assert "safe to retry" in failed.hint
    assert failed.exit_code == 5


@pytest.mark.parametrize(
    "body", [b"not json", b"{", b"{}{}", b"{'a': 1}", b'{"a": NaN}', b'{"a": "x\ny"}', b"<html>"]
)
def test_answers_that_are_not_json(body):
    failed = unreadable("send_message", body=body, headers={"Content-Type": "text/html"})
    assert "the response is not JSON (text/html: " in str(failed)
    assert failed.accepted
    assert "do not repeat it" in failed.hint


@pytest.mark.parametrize("body", [b"", b"  \n"])
@pytest.mark.parametrize("status", [200, 202, 204])
@pytest.mark.parametrize("tool", list(APP.registry.blocks["devin"].operations))
def test_empty_successes(tool, status, body):
    spec = APP.registry.tools[f"devin_{tool}"]
    if spec.traits.read_only or tool == "create_session":
        failed = unreadable(tool, status=status, body=body)
        assert failed.accepted is not spec.traits.read_only
    else:
        output = read(tool, status=status, body=body)
        assert list(output) == list(spec.answer["properties"])
        assert set(output.values()) == {None}


class Answering:
    def __init__(self, *answers):
        self.answers = list(answers)

    def send(self, request, *, timeout):
        return self.answers.pop(0)


def call(tool, params, answer):
    credentials = {"apiKey": "cog_test_key_000000", "orgId": "org-1"}
    env = {"SIM_DEVIN_CONFIG": os.devnull}
    app = open_app(
        transport=Answering(answer), env=env, discover=False, credentials=credentials, retries=0
    )
    return app.call(f"devin_{tool}", params)


def test_an_empty_success_of_a_call_knows_the_id():
    output = call("archive_session", {"sessionId": "devin-1"}, Response(204))
    assert output["sessionId"] == "devin-1"
    assert output["status"] is None


@pytest.mark.parametrize("status", [400, 409])
def test_ending_an_ended_session_is_fine(status):
    answer = Response(status, {}, b'{"detail": "Session has ALREADY EXITED"}')
    assert call("terminate_session", {"sessionId": "devin-1"}, answer)["sessionId"] == "devin-1"
    with pytest.raises(ApiError):
        call("archive_session", {"sessionId": "devin-1"}, answer)
    with pytest.raises(ApiError):
        call("terminate_session", {"sessionId": "devin-1"}, Response(status, {}, b"other"))


# -- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, BadRequest, 5),
        (422, BadRequest, 5),
        (401, AuthenticationFailed, 3),
        (402, OutOfQuota, 5),
        (403, PermissionDenied, 3),
        (404, NotFound, 5),
        (409, Conflict, 5),
        (429, RateLimited, 5),
        (500, ServerError, 5),
        (502, ServerError, 5),
        (599, ServerError, 5),
        (302, ApiError, 5),
        (418, ApiError, 5),
        (100, ApiError, 5),
    ],
)
def test_kinds_of_errors(status, kind, code):
    failed = error(status, {"detail": "why"})
    assert type(failed) is kind
    assert (failed.status, failed.detail, failed.exit_code) == (status, "why", code)
    assert str(failed).startswith(f"HTTP {status}: why.")
    assert isinstance(failed, CredentialsError) is (status in (401, 403))


@pytest.mark.parametrize(
    ("payload", "detail", "listed"),
    [
        ({"type": "about:blank", "title": "Bad", "detail": "Why."}, "Why.", []),
        ({"title": "Bad"}, "Bad", []),
        ({"detail": {"message": "deep", "code": "c"}}, "deep", []),
        ({"detail": {"code": "c"}}, "c", []),
        ({"message": " m "}, "m", []),
        ({"error": "e"}, "e", []),
        ({"error": {"message": "em"}}, "em", []),
        ({"error": "invalid", "error_description": "more"}, "invalid: more", []),
        ({"error_description": "alone"}, "alone", []),
        ({"details": "plain"}, "plain", []),
        ({"detail": None, "message": "beside null"}, "beside null", []),
        ({"details": {"reason": "deep"}}, "deep", []),
        ({"error": {"details": [{"message": "one"}, {"message": "two"}]}}, "", ["one", "two"]),
        ({"message": ["a", "b"]}, "", ["a", "b"]),
        ({"messages": [{"text": "odd"}]}, "", ['{"text": "odd"}']),
        ({"errors": [{"title": "No", "source": {"pointer": "/tags"}}]}, "", ["/tags: No"]),
        ({"errors": [{"title": "No", "detail": "Too many"}]}, "", ["Too many"]),
        ({"errors": {"tags": ["too many", "too long"]}}, "", ["tags: too many, too long"]),
        ({"errors": [{"field": "title", "message": "is blank"}]}, "", ["title: is blank"]),
        ({"error": {"error": {"message": "nested"}}}, "nested", []),
        ({"fault": {"faultstring": "gone"}}, "gone", []),
        ({"verdict": "no", "why": 7}, '{"verdict": "no", "why": 7}', []),
        ([{"message": "one"}, "two"], "", ["one", "two"]),
        (
            {"detail": [{"loc": ["query", "first"], "msg": "must be <= 200"}]},
            "",
            ["query.first: must be <= 200"],
        ),
        (
            {"detail": [{"loc": ["body", "tags", 0], "msg": "no"}, {"msg": "x"}, "y"]},
            "",
            ["tags.0: no", "x", "y"],
        ),
        ({"detail": "d", "errors": [{"detail": "first"}, {}]}, "d", ["first", "invalid"]),
        ("just text", "just text", []),
        ({"detail": ""}, "", []),
        ({}, "", []),
        (["odd"], "", ["odd"]),
        (5, "", []),
        ({"detail": "x" * 900}, "x" * 500, []),
    ],
)
def test_explanations(payload, detail, listed):
    failed = error(400, payload)
    assert failed.detail == detail
    assert failed.problems == listed
    assert all(problem in str(failed) for problem in listed)


@pytest.mark.parametrize(
    ("body", "headers", "detail"),
    [
        (b"Slow down\n", {"Content-Type": "text/plain"}, "Slow down"),
        (b"Slow down", {}, "Slow down"),
        (b"<html>big</html>", {}, "big"),
        (b"<HTML><title>\n 502  Bad &amp; Gone</TITLE><h1>x</h1></HTML>", {}, "502 Bad & Gone"),
        (b"<body><script>var a</script><p>Try\nlater</p></body>", {}, "Try later"),
        (b"<Error><Code>Busy</Code><Message>Slow</Message></Error>", {}, "Busy Slow"),
        (b"big", {"content-type": "text/html; charset=utf-8"}, "big"),
        (b"\xff\xfe", {}, "\ufffd\ufffd"),
        (b"", {}, ""),
        (b"{broken", {}, "{broken"),
    ],
)
def test_explanations_that_are_not_json(body, headers, detail):
    failed = error(502, body=body, headers=headers)
    assert failed.detail == detail
    assert "html" not in str(failed)


@pytest.mark.parametrize("value", ["", "  ", "\n", None, 7, 0, True, [], ["a"], {}, {"id": "a"}])
def test_a_created_session_without_a_usable_id_is_refused_and_may_have_been_created(value):
    for payload in ({"session_id": value, "url": "u"}, {"url": "u"}):
        failed = unreadable("create_session", payload)
        assert failed.accepted
        assert failed.means.uncertain
        assert "sessionId" in str(failed)


@pytest.mark.parametrize("value", ["", " ", 7, [], {"id": "a"}])
def test_a_session_that_answers_with_an_id_that_is_none_is_refused(value):
    failed = unreadable("get_session", {"session_id": value, "status": "running"})
    assert not failed.accepted
    assert failed.means.temporary


WORDS = st.text(min_size=1, max_size=20).filter(lambda text: text.strip())
BODIES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["detail", "details", "message", "errors", "error", "title", "odd"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=12,
)


@given(BODIES, st.sampled_from([400, 403, 404, 409, 429, 500, 503]))
def test_any_body_of_an_error_is_told_in_a_sane_length(body, status):
    failed = error(status, body)
    assert failed.status == status
    assert len(failed.message) < 2500


def test_an_ellipsis_stays_whole():
    assert str(error(409, {"detail": "wait..."})).startswith("HTTP 409: wait... The")


@pytest.mark.parametrize(
    "payload",
    [
        {"detail": "out_of_quota"},
        {"detail": "The organization is out of quota"},
        {"type": "https://example.com/out_of_credits", "detail": "no"},
        {"code": "payment_declined"},
        {"title": "no_quota_allocation"},
    ],
)
def test_a_forbidden_for_money_is_not_one_for_rights(payload):
    failed = error(403, payload)
    assert type(failed) is OutOfQuota
    assert "billing" in failed.hint
    assert not isinstance(failed, CredentialsError)


@pytest.mark.parametrize(
    ("tool", "permission"),
    [
        ("get_session", "ViewOrgSessions"),
        ("send_message", "ManageOrgSessions"),
        ("create_session", "UseDevinSessions"),
    ],
)
def test_a_forbidden_names_the_permission(tool, permission):
    failed = error(403, {"detail": "Forbidden"}, tool=tool)
    assert type(failed) is PermissionDenied
    assert permission in failed.hint


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 30 ", 30.0),
        ("1.5", 1.5),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("9" * 400, None),
        ("soon", None),
        ("", None),
        ("Tue, 99 Foo 2025 00:00:00 GMT", None),
    ],
)
def test_retry_after_in_seconds_or_useless(value, seconds):
    assert error(429, {}, headers={"Retry-After": value}).retry_after == seconds


@pytest.mark.parametrize(("ahead", "seconds"), [(90, 90.0), (0, 0.0), (-90, 0.0)])
def test_retry_after_as_a_date(ahead, seconds):
    date = format_datetime(datetime.fromtimestamp(CLOCK.time() + ahead, UTC), usegmt=True)
    assert error(429, {}, headers={"retry-after": date}).retry_after == seconds
    naive = date.replace("GMT", "-0000")
    assert retry_after({"retry-after": naive}, now=CLOCK.time()) == seconds


def test_retry_after_without_a_clock():
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        ({"X-Request-Id": "r1", "CF-Ray": "r2"}, "r1"),
        ({"cf-ray": "r2"}, "r2"),
        ({"Request-ID": "r3"}, "r3"),
        ({}, None),
    ],
)
def test_request_ids(headers, request_id):
    assert error(500, {}, headers=headers).request_id == request_id


def test_a_response_tells_only_its_size():
    assert repr(Response(200, {"x": "secret"}, b"secret")) == "Response(200, 6 bytes)"


def test_payload_and_body_are_the_same_answer():
    assert read("get_session", SESSION) == read("get_session", body=json.dumps(SESSION).encode())
