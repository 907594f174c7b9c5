"""The API block: what it sends, how often, and what it makes of the answer."""

import email
import email.policy
import json

import pytest
from http_server import answer
from hypothesis import given
from hypothesis import strategies as st

import sim_devin
from sim_devin.blocks.api import build
from sim_devin.calls.response import Response
from sim_devin.clock import ManualClock
from sim_devin.errors import NotSent, TimedOut, TransportError
from tests.durable.flows import flow
from tests.workflow.fakes import block

OK = Response(200, {"content-type": "application/json"}, b'{"ok": true}')
BUSY = Response(503, {}, b"")


class Answers:
    """A transport with answers in order, the last one for good."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def send(self, request, *, timeout):
        self.requests.append(request)
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(said, Exception):
            raise said
        return said


def table(*pairs):
    return [{"id": str(n), "cells": {"Key": k, "Value": v}} for n, (k, v) in enumerate(pairs)]


def api(**values):
    values.setdefault("url", "https://x.test/")
    return flow(block("a", "api", "A", **values))


def run(answers, **values):
    clock = ManualClock()
    with sim_devin.open_app(transport=answers, clock=clock, env={}, discover=False) as app:
        started = clock.monotonic()
        result = app.run(api(**values))
        return result, clock.monotonic() - started


# -- addresses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "params", "sent"),
    [
        ("https://x.test", (), "https://x.test/"),
        ("HTTPS://x.test/a", (), "https://x.test/a"),
        ("'https://x.test/a'", (), "https://x.test/a"),
        ("https://x.test", [("a", "1")], "https://x.test/?a=1"),
        ("https://x.test?z=1", [("a", "1")], "https://x.test/?z=1&a=1"),
        ("https://x.test/p#top", [("a", "1")], "https://x.test/p?a=1"),
        ("https://x.test/a b/ü?q=x y'", (), "https://x.test/a%20b/%C3%BC?q=x%20y%27"),
        ("https://x.test/a%20b?c=%2F", (), "https://x.test/a%20b?c=%2F"),
        ("https://x.test/a\\b", (), "https://x.test/a/b"),
        ("https://x.test/\ta\n", (), "https://x.test/a"),
        (
            "https://x.test/",
            [("q", " a+b&c/ü "), ("k(!)*~'", "-._")],
            "https://x.test/?q=%20a%2Bb%26c%2F%C3%BC%20&k(!)*~'=-._",
        ),
        ("https://x.test/", [("a", "1"), ("b", "2"), ("a", "3")], "https://x.test/?a=3&b=2"),
        ("https://x.test/", [("a", None), ("b", ""), ("c", 0)], "https://x.test/?b=&c=0"),
    ],
)
def test_an_address_and_its_query(url, params, sent):
    assert build({"url": url, "params": table(*params)}).url == sent


@given(st.text(), st.text(min_size=1))
def test_whatever_stands_in_a_query_comes_back(value, key):
    from urllib.parse import parse_qsl, urlsplit

    url = build({"url": "https://x.test/", "params": table((key, value))}).url
    assert url.isascii()
    assert set('\t\n\r #<>"').isdisjoint(url)
    replaced = [part.encode("utf-8", "replace").decode() for part in (key, value)]
    (found,) = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    if "?" not in "".join(replaced):  # a lone surrogate becomes one, or the mark of one
        assert [part.replace("\ufffd", "?") for part in found] == [
            part.replace("\ufffd", "?") for part in replaced
        ]


def test_path_parameters_end_where_a_name_ends():
    params = {"id": "a/b c", "": "x", "8080": "y"}
    url = "https://x.test:8080/:idx/:id"
    assert build({"url": url, "pathParams": params}).url == "https://x.test:8080/:idx/a%2Fb%20c"


# -- headers and bodies ----------------------------------------------------------------------


def test_the_usual_headers_are_sent_and_give_way_to_the_blocks_own():
    usual = build({"url": "https://x.test/"}).headers
    assert (usual["Accept"], usual["Cache-Control"]) == ("*/*", "no-cache")
    assert usual["User-Agent"].startswith("sim-devin/")
    own = build({"url": "https://x.test/", "headers": table(("accept", "a/b"), ("X-N", 1))})
    assert own.headers["accept"] == "a/b"
    assert own.headers["X-N"] == "1"
    assert "Accept" not in own.headers


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "kind", "sent", "sent_kind"),
    [
        ({"a": 1}, None, b'{"a": 1}', "application/json"),
        ('{"a": 1}', None, b'{"a": 1}', "application/json"),
        (" [1, 2]", None, b"[1, 2]", "application/json"),
        ("{}", None, b"{}", "application/json"),
        ("plain words", None, b"plain words", "application/json"),
        ('"quoted"', None, b'"quoted"', "application/json"),
        ("12", None, b"12", "application/json"),
        ("{broken", None, b"{broken", "application/json"),
        ("plain words", "text/plain", b"plain words", "text/plain"),
        ("<a/>", "application/xml", b"<a/>", "application/xml"),
        (
            '{"a": 1}\n{"b": 2}',
            "application/x-ndjson",
            b'{"a": 1}\n{"b": 2}',
            "application/x-ndjson",
        ),
        ({"a": "b c", "d": [1, 2], "n": None, "t": True}, FORM, b"a=b+c&d=1%2C2&t=true", FORM),
        ('{"a": "ü&"}', FORM, b"a=%C3%BC%26", FORM),
        ("a=b&c=d", FORM, b"a=b&c=d", FORM),
        ({"a": 1}, "application/merge-patch+json", b'{"a": 1}', "application/merge-patch+json"),
        ("", None, None, None),
        (None, None, None, None),
    ],
)
def test_bodies(body, kind, sent, sent_kind):
    headers = table(("content-type", kind)) if kind else None
    values = {"url": "https://x.test/", "method": "PUT", "body": body, "headers": headers}
    request = build(values)
    assert request.body() == sent
    named = {name.lower(): value for name, value in request.headers.items()}
    assert named.get("content-type") == sent_kind


@pytest.mark.parametrize("method", ["GET", "HEAD", "get"])
def test_a_get_has_no_body(method):
    request = build({"url": "https://x.test/", "method": method, "body": {"a": 1}})
    assert request.body() is None
    assert "Content-Type" not in request.headers


def parts(request):
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + request.body(), policy=email.policy.HTTP)
    return {
        part.get_param("name", header="content-disposition"): (
            part.get_filename(),
            part.get_content_type(),
            part.get_payload(decode=True),
        )
        for part in message.iter_parts()
    }


FILE = {"name": "a.csv", "mimeType": "text/csv", "data": "YSxi", "size": 3}


@pytest.mark.parametrize(
    "values",
    [
        {"formData": table(("text", "a b"), ("file", FILE), ("n", 1), ("none", None))},
        {
            "body": {"text": "a b", "file": FILE, "n": 1, "none": None},
            "headers": table(("Content-Type", "multipart/form-data")),
        },
    ],
)
def test_form_data_is_sent_in_parts(values):
    request = build({"url": "https://x.test/", "method": "POST", **values})
    assert parts(request) == {
        "text": (None, "text/plain", b"a b"),
        "file": ("a.csv", "text/csv", b"a,b"),
        "n": (None, "text/plain", b"1"),
    }
    assert build({"url": "https://x.test/", "method": "POST", **values}) == request


@given(st.dictionaries(st.text('ab"\r\n-', min_size=1), st.text('ab"\n-'), min_size=1))
def test_no_field_can_forge_another(fields):
    request = build({"url": "https://x.test/", "method": "POST", "formData": fields})
    boundary = request.headers["Content-Type"].partition("boundary=")[2].encode()
    assert request.body().count(b"--" + boundary) == len(fields) + 1
    assert request.body().count(b"Content-Disposition:") == len(fields)


# -- tries -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "failure",
    [BUSY, Response(429, {}, b""), TimedOut("slow"), TransportError("broke"), NotSent("refused")],
)
def test_what_may_be_repeated_is_tried_as_often_as_the_block_says(method, failure):
    transport = Answers(failure, failure, OK)
    result, waited = run(transport, method=method, retries="2")
    assert result.output["data"] == {"ok": True}
    assert len(transport.requests) == 3
    assert 0.8 * 1.5 <= waited <= 1.2 * 1.5  # half a second, then one


@pytest.mark.parametrize(
    ("values", "times"),
    [
        ({}, 1),
        ({"retries": "0"}, 1),
        ({"retries": "soon"}, 1),
        ({"retries": -3}, 1),
        ({"retries": 99}, 11),
        ({"method": "POST", "retries": 3}, 1),
        ({"method": "PATCH", "retries": 3, "retryNonIdempotent": False}, 1),
        ({"method": "POST", "retries": 3, "retryNonIdempotent": True}, 4),
        ({"method": "POST", "retries": 3, "retryNonIdempotent": "true"}, 4),
    ],
)
def test_how_often_a_failing_request_is_sent(values, times):
    transport = Answers(BUSY)
    result, _ = run(transport, **values)
    assert not result.success
    assert len(transport.requests) == times


@pytest.mark.parametrize("status", [400, 404, 409, 600])
def test_what_would_not_change_is_not_tried_again(status):
    transport = Answers(Response(status, {}, b""))
    run(transport, retries=3)
    assert len(transport.requests) == 1


@pytest.mark.parametrize(
    ("asked", "times", "waited"), [("3", 2, 3), ("0", 2, 0.5), ("31", 1, 0), ("x", 2, None)]
)
def test_a_service_says_when_to_try_again_up_to_the_longest_delay(asked, times, waited):
    transport = Answers(Response(429, {"retry-after": asked}, b""), OK)
    _, took = run(transport, retries=1)
    assert len(transport.requests) == times
    assert waited is None or took == waited


def test_delays_double_up_to_the_longest():
    _, waited = run(Answers(BUSY), retries=4, retryDelayMs="1000", retryMaxDelayMs=2000)
    assert 0.8 * 7 <= waited <= 1.2 * 7


# -- answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body", "data"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("Application/JSON; charset=utf-8", b"[1]", [1]),
        ("application/json", b"\xef\xbb\xbf{}", {}),
        ("application/json", b"not json", "not json"),
        ("application/json", b"", ""),
        ("application/problem+json", b'{"a": 1}', '{"a": 1}'),
        ("text/plain", b'{"a": 1}', '{"a": 1}'),
        ("", "ü".encode(), "ü"),
    ],
)
def test_answers(kind, body, data):
    result, _ = run(Answers(Response(200, {"content-type": kind}, body)))
    assert result.output == {"data": data, "status": 200, "headers": {"content-type": kind}}


# -- on the wire -----------------------------------------------------------------------------


def fetch(**values):
    from sim_devin.calls.network import NetworkPolicy
    from sim_devin.calls.transport import HttpTransport

    transport = HttpTransport(network=NetworkPolicy(("127.0.0.1",)))
    with sim_devin.open_app(transport=transport, env={}, discover=False) as app:
        return app.run(api(**values))


def test_the_page_after_a_post_is_read_with_the_key_and_without_the_body(serve):
    def reply(head, body):
        if head.startswith(b"POST"):
            return answer(303, b"", Location="/made/1")
        return answer(body=b'{"id": 1}', **{"Content-Type": "application/json"})

    server = serve(reply)
    key = table(("Authorization", "Bearer made-up"))
    result = fetch(url=f"{server.url}/make", method="POST", body={"a": 1}, headers=key)
    assert result.output["data"] == {"id": 1}
    _, headers, body = server.requests[1]
    assert (headers["Authorization"], body) == ("Bearer made-up", b"")
    assert "Content-Type" not in headers


def test_a_download_from_another_origin_works_without_the_key(serve):
    store = serve(answer(body=b"the file", **{"Content-Type": "text/plain"}))
    server = serve(answer(302, b"", Location=f"{store.url}/signed?sig=1"))
    key = table(("Authorization", "Bearer made-up"), ("X-Api-Key", "made-up"))
    result = fetch(url=f"{server.url}/attachments/1", headers=key)
    assert result.output["data"] == "the file"
    assert b"made-up" not in store.requests[0][0]


def test_a_form_and_its_headers_on_the_wire(serve):
    server = serve()
    headers = table(("Content-Type", FORM), ("User-Agent", "mine/1"))
    assert fetch(url=server.url, method="POST", body={"a": "b c"}, headers=headers).success
    _, sent, body = server.requests[0]
    assert body == b"a=b+c"
    assert (sent["User-Agent"], sent["Content-Length"]) == ("mine/1", "5")


def test_a_request_goes_by_way_of_the_blocks_proxy(serve):
    proxy = serve(answer(body=b"by proxy"))
    result = fetch(url="http://x.invalid/a", proxyUrl=f"http://127.0.0.1:{proxy.port}")
    assert result.output["data"] == "by proxy"
    assert proxy.lines == ["GET http://x.invalid/a HTTP/1.1"]


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("http://127.0.0.2:8080", "127.0.0.2"),
        ("http://169.254.169.254", "169.254.169.254"),
        ("https://proxy.test", "http://host:port"),
        ("proxy.test:80", "http://host:port"),
    ],
)
def test_a_proxy_that_may_not_be_reached_is_refused(proxy, words):
    result = fetch(url="http://x.invalid/a", proxyUrl=proxy)
    assert not result.success
    assert words in f"{result.error} {result.hint}"


def test_the_simulated_service_reads_every_kind_of_body():
    with sim_devin.open_app(simulate=True, env={}, discover=False) as app:
        url = "https://api.devin.ai/v3/organizations/org-simulated/sessions"
        key = table(("Authorization", "Bearer cog_simulated_key"))
        made = app.run(api(url=url, method="POST", body=json.dumps({"prompt": "p"}), headers=key))
        form = app.run(api(url=url, method="POST", formData={"prompt": "p"}, headers=key))
    assert made.output["status"] == 200, made.error
    assert "Status: 4" in form.error


def test_what_is_not_simulated_is_said():
    with sim_devin.open_app(simulate=True, env={}, discover=False) as app:
        other = app.run(api(url="https://example.com/x"))
        ours = app.run(api(url="https://api.devin.ai/v3/organizations/org-simulated/nowhere"))
    assert "example.com is not simulated" in other.error
    assert other.hint == "Run the workflow without --simulate."
    assert "Status: 404" in ours.error


@pytest.mark.parametrize(("allowed", "times"), [(True, 3), (False, 1)])
def test_a_post_without_an_answer_is_repeated_only_where_the_block_allows_it(allowed, times):
    transport = Answers(TransportError("broke"), TimedOut("slow"), OK)
    result, _ = run(transport, method="POST", retries=3, retryNonIdempotent=allowed)
    assert len(transport.requests) == times
    assert result.success is allowed
