"""The wire, against small real servers on this machine."""

import contextlib
import gzip
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from http_server import answer

import sim_devin
from sim_devin.calls.request import Request
from sim_devin.calls.transport import BODY_LIMIT, REDIRECT_LIMIT, HttpTransport, check_base_url
from sim_devin.errors import (
    CallerError,
    NotSent,
    SimDevinError,
    TimedOut,
    TransportError,
    UnreadableResponse,
)

KEY = "cog_test_key_000000"
PROXY_VARIABLES = [
    name + suffix
    for suffix in ("_proxy", "_PROXY")
    for name in ("http", "https", "all", "no", "HTTP", "HTTPS", "ALL", "NO")
]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in (*PROXY_VARIABLES, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def transport():
    with contextlib.closing(HttpTransport()) as transport:
        yield transport


def get(url, **headers):
    return Request("GET", url, {"Authorization": f"Bearer {KEY}", **headers})


def post(url, data):
    return Request("POST", url, {"Content-Type": "application/json"}, data)


# -- connections --------------------------------------------------------------------------------


def test_calls_one_after_the_other_share_a_connection(serve, transport):
    server = serve(answer(body=b'{"a": 1}', X_Thing="yes"))
    for _ in range(3):
        response = transport.send(get(server.url + "/x"), timeout=5)
    assert (response.status, response.body, response.headers["x-thing"]) == (
        200,
        b'{"a": 1}',
        "yes",
    )
    assert len(server.requests) == 3
    assert server.connections == 1


def test_many_threads_share_a_transport(serve, transport):
    server = serve(lambda head, body: answer(body=body))

    def call(number):
        return json.loads(transport.send(post(server.url, {"n": number}), timeout=20).body)["n"]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(call, range(200))) == list(range(200))
    assert server.connections <= 16


def test_a_closed_transport_connects_anew(serve, transport):
    server = serve()
    transport.send(get(server.url), timeout=5)
    transport.close()
    transport.send(get(server.url), timeout=5)
    assert server.connections == 2


def test_an_app_closes_its_transport():
    class Closing:
        closed = 0

        def send(self, request, *, timeout):
            raise AssertionError("nothing is sent here")

        def close(self):
            self.closed += 1

    transport = Closing()
    with sim_devin.open_app(transport=transport, env={}, discover=False):
        pass
    assert transport.closed == 1


# -- failures: what was sent, and what was not --------------------------------------------------


def unused_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.parametrize("where", ["refused", "no such name"])
def test_no_connection_is_not_sent(transport, where):
    url = f"http://127.0.0.1:{unused_port()}" if where == "refused" else "https://nowhere.invalid"
    with pytest.raises(NotSent, match="No connection") as caught:
        transport.send(post(url, {}), timeout=2)
    assert "proxy" in caught.value.hint


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


BROKEN = {
    "hung up": None,
    "reset": reset,
    "not http": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "half a status": lambda connection: connection.sendall(b"HTTP/1.1 2"),
    "half a body": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 99\r\n\r\n{",
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "not gzip": answer(body=b"plain", Content_Encoding="gzip"),
}


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN)
def test_a_connection_that_breaks_after_the_sending_may_have_been_processed(
    serve, transport, reply
):
    server = serve(lambda head, body: reply)
    with pytest.raises(TransportError) as caught:
        transport.send(post(server.url, {"a": 1}), timeout=5)
    assert type(caught.value) is TransportError
    assert len(server.requests) == 1


class Lost(Exception):
    """Another process has taken over."""


@pytest.mark.parametrize("fresh", [True, False], ids=["new connection", "kept connection"])
def test_it_is_asked_whether_it_may_be_sent_when_it_is_connected_and_not_before(
    serve, transport, fresh
):
    server = serve()
    if not fresh:
        transport.send(get(server.url), timeout=5)
    before, connections = len(server.requests), []

    def confirm():
        connections.append(len(transport._trusted.poolmanager.pools) > 0)
        raise Lost

    with pytest.raises(Lost):
        transport.send(replace(post(server.url, {"a": 1}), confirm=confirm), timeout=5)
    assert connections == [True]
    transport.send(get(server.url), timeout=5)
    assert len(server.requests) == before + 1


def test_what_may_be_sent_is_sent(serve, transport):
    server, asked = serve(), []
    request = replace(post(server.url, {"a": 1}), confirm=lambda: asked.append(True))
    transport.send(request, timeout=5)
    assert (len(server.requests), asked) == (1, [True])


def test_no_answer_in_time(serve, transport):
    released = threading.Event()

    def silence(connection):
        released.wait(5)

    server = serve(lambda head, body: silence)
    with pytest.raises(TimedOut, match=r"within 0\.2 s"):
        transport.send(get(server.url), timeout=0.2)
    released.set()


def test_a_body_that_stalls_does_not_outlast_the_timeout(serve, transport):
    released = threading.Event()

    def stall(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
        released.wait(5)

    server = serve(lambda head, body: stall)
    started = time.monotonic()
    with pytest.raises(TimedOut):
        transport.send(get(server.url), timeout=0.3)
    assert time.monotonic() - started < 3
    released.set()


def test_a_trickle_does_not_outlast_the_timeout(serve, transport):
    stop = threading.Event()

    def trickle(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not stop.wait(0.02):
            connection.sendall(b" ")

    server = serve(lambda head, body: trickle)
    with pytest.raises(TimedOut):
        transport.send(get(server.url), timeout=0.3)
    stop.set()


@pytest.mark.parametrize("line", [b"X: ", b""])
def test_a_head_that_trickles_does_not_outlast_the_timeout(serve, transport, line):
    stop = threading.Event()

    def trickle(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + line)
        while not stop.wait(0.02):
            connection.sendall(b"x" if line else b"X: y\r\n")

    server = serve(lambda head, body: trickle)
    with pytest.raises(TimedOut):
        transport.send(get(server.url), timeout=0.3)
    stop.set()


def test_time_that_ran_out_before(transport):
    with pytest.raises(TimedOut, match="before the request was sent"):
        transport.send(get("http://127.0.0.1:1"), timeout=0)


def test_an_answer_may_not_be_larger_than_the_limit(serve, transport):
    piece = b" " * 65536

    def flood(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(2 * BODY_LIMIT // len(piece)):
            connection.sendall(piece)

    server = serve(lambda head, body: flood)
    with pytest.raises(UnreadableResponse, match="10 MiB") as caught:
        transport.send(get(server.url), timeout=20)
    assert caught.value.accepted


def test_a_packed_flood_meets_the_same_limit(serve, transport):
    server = serve(answer(body=gzip.compress(b" " * (4 * BODY_LIMIT)), Content_Encoding="gzip"))
    tracemalloc.start()
    with pytest.raises(UnreadableResponse, match="10 MiB"):
        transport.send(get(server.url), timeout=20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * BODY_LIMIT


def test_a_packed_answer_is_unpacked(serve, transport):
    server = serve(answer(body=gzip.compress(b'{"a": 1}'), Content_Encoding="gzip"))
    assert transport.send(get(server.url), timeout=5).body == b'{"a": 1}'


def test_a_chunked_answer(serve, transport):
    body = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    server = serve(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    for _ in range(2):
        assert transport.send(get(server.url), timeout=5).body == b"abcde"
    assert server.connections == 1


# -- redirects and cookies ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_get_follows_within_its_origin(serve, transport, status):
    def reply(head, body):
        if head.startswith(b"GET /old "):
            return answer(status, b"", Location="/new?x=%2E")
        return answer(body=b"there")

    server = serve(reply)
    assert transport.send(get(server.url + "/old"), timeout=5).body == b"there"
    assert server.lines == ["GET /old HTTP/1.1", "GET /new?x=%2E HTTP/1.1"]
    assert server.requests[1][1]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_redirect_leaves_the_origin(serve, transport, method):
    other = serve()
    server = serve(lambda head, body: answer(307, b"", Location=other.url + "/steal"))
    request = Request(method, server.url, {"Authorization": f"Bearer {KEY}"})
    assert transport.send(request, timeout=5).status == 307
    assert other.requests == []


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:{port}/",
        "https://127.0.0.1:{port}/",
        "//127.0.0.1:1/",
        "http://127.0.0.1:{port}@evil.invalid/",
        "http://[::1",
        "http://127.0.0.1:99999999/",
        "file:///etc/passwd",
        "javascript:alert(1)",
    ],
)
def test_where_a_redirect_does_not_lead(serve, transport, location):
    server = serve(lambda head, body: answer(302, b"", Location=location.format(port=server.port)))
    assert transport.send(get(server.url), timeout=5).status == 302
    assert len(server.requests) == 1


@pytest.mark.parametrize(("status", "times"), [(301, 1), (302, 1), (303, 1), (307, 2), (308, 2)])
def test_a_post_is_only_repeated_where_the_status_says_it_was_not_processed(
    serve, transport, status, times
):
    def reply(head, body):
        return answer(status, b"", Location="/new") if b" /old " in head else answer(body=body)

    server = serve(reply)
    transport.send(post(server.url + "/old", {"a": 1}), timeout=5)
    assert [body for _, _, body in server.requests] == [b'{"a": 1}'] * times


def test_a_circle_of_redirects_ends(serve, transport):
    server = serve(answer(302, b"", Location="/again"))
    assert transport.send(get(server.url), timeout=5).status == 302
    assert len(server.requests) == REDIRECT_LIMIT + 1


def test_a_transport_can_follow_no_redirect_at_all(serve):
    server = serve(answer(307, b"", Location="/new"))
    with contextlib.closing(HttpTransport(redirects=0)) as transport:
        assert transport.send(post(server.url + "/old", {}), timeout=5).status == 307
    assert len(server.requests) == 1


def test_a_body_that_is_written_already_goes_out_as_it_is(serve, transport):
    server = serve()
    transport.send(post(server.url, b'{"a":  "\xc3\xa4"}'), timeout=5)
    assert server.requests[0][2] == b'{"a":  "\xc3\xa4"}'


def test_cookies_are_not_kept(serve, transport):
    server = serve(answer(Set_Cookie="session=abc; Path=/"))
    for _ in range(2):
        transport.send(get(server.url), timeout=5)
    assert "Cookie" not in server.requests[1][1]


def test_netrc_is_not_used(serve, transport, tmp_path, monkeypatch):
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    server = serve()
    transport.send(Request("GET", server.url), timeout=5)
    assert "Authorization" not in server.requests[0][1]


# -- proxies and certificates -------------------------------------------------------------------


def test_an_https_proxy_is_asked_for_a_tunnel(serve, monkeypatch):
    proxy = serve(answer(407, b""))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    transport = HttpTransport()
    with contextlib.closing(transport), pytest.raises(NotSent):
        transport.send(get("https://api.devin.ai/v3"), timeout=5)
    assert [line.rpartition(" ")[0] for line in proxy.lines] == ["CONNECT api.devin.ai:443"]
    assert KEY.encode() not in proxy.requests[0][0]


def test_a_proxy_that_is_not_there_means_not_sent(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{unused_port()}")
    with contextlib.closing(HttpTransport()) as transport, pytest.raises(NotSent):
        transport.send(get("https://api.devin.ai/v3"), timeout=5)


def test_an_unusable_proxy_setting_is_the_callers_mistake(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    with contextlib.closing(HttpTransport()) as transport, pytest.raises(CallerError):
        transport.send(get("https://api.devin.ai/v3"), timeout=5)


def test_no_proxy_is_honoured(serve, monkeypatch):
    proxy, server = serve(answer(502)), serve()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with contextlib.closing(HttpTransport()) as transport:
        assert transport.send(get(server.url), timeout=5).status == 200
    assert proxy.requests == []


def test_the_environment_is_looked_up_once_for_each_host(serve, monkeypatch):
    proxy, server = serve(answer(204, b"")), serve()
    monkeypatch.setenv("http_proxy", proxy.url)
    with contextlib.closing(HttpTransport()) as transport:
        assert transport.send(get(server.url), timeout=5).status == 204
        monkeypatch.delenv("http_proxy")
        assert transport.send(get(server.url), timeout=5).status == 204
    with contextlib.closing(HttpTransport()) as transport:
        assert transport.send(get(server.url), timeout=5).status == 200
    assert (len(proxy.requests), proxy.connections, len(server.requests)) == (2, 1, 1)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2"),
        *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
    ]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return folder


@pytest.fixture
def tls_server(serve, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return serve(context=context)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_own_certificates_are_honoured(tls_server, certificate, monkeypatch, variable):
    monkeypatch.setenv(variable, str(certificate / "cert.pem"))
    with contextlib.closing(HttpTransport()) as transport:
        assert transport.send(get(tls_server.url), timeout=5).status == 200


def test_a_certificate_nobody_vouches_for_means_not_sent(tls_server, transport):
    with pytest.raises(NotSent, match="SSLCertVerificationError"):
        transport.send(get(tls_server.url), timeout=5)
    assert tls_server.requests == []


def test_certificates_that_are_not_there(tls_server, monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    transport = HttpTransport()
    with contextlib.closing(transport), pytest.raises(CallerError, match="certif") as caught:
        transport.send(get(tls_server.url), timeout=5)
    assert "REQUESTS_CA_BUNDLE" in caught.value.hint


def test_a_tls_connection_that_breaks_after_the_sending(serve, certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    def garble(connection):
        # Bytes that are no TLS record, where the answer should be.
        os.write(connection.fileno(), b"HTTP/1.1 500 Internal Server Error\r\n\r\n")

    server = serve(lambda head, body: garble, context=context)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate / "cert.pem"))
    transport = HttpTransport()
    with contextlib.closing(transport), pytest.raises(TransportError) as caught:
        transport.send(post(server.url, {}), timeout=5)
    assert not isinstance(caught.value, NotSent)
    assert len(server.requests) == 1


# -- what goes over the wire --------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        {"prompt": "Grüße, 世界 🎉"},
        {"prompt": "a lone \ud800 surrogate"},
        {"a": [1, 2.5, True, None], "b": {}},
        [],
        "text",
    ],
)
def test_json_arrives_as_it_was(serve, transport, data):
    server = serve()
    transport.send(post(server.url, data), timeout=5)
    _, headers, body = server.requests[0]
    assert json.loads(body) == data
    assert headers["Content-Length"] == str(len(body))
    assert headers["Content-Type"] == "application/json"


def test_headers_are_sent_as_they_are_written_and_nothing_else(serve, transport):
    server = serve()
    app = sim_devin.open_app(env={}, discover=False, credentials={"apiKey": KEY, "orgId": "org-1"})
    request = app.build_request("devin_list_sessions", {})
    moved = Request(request.method, server.url, request.headers)
    transport.send(moved, timeout=5)
    sent = server.requests[0][1]
    assert {name: sent.pop(name) for name in request.headers} == dict(request.headers)
    assert set(sent) == {"Host", "Accept-Encoding"}


def deep():
    value = []
    for _ in range(sys.getrecursionlimit() * 60):
        value = [value]
    return value


@pytest.mark.parametrize(
    "request_",
    [
        Request("POST", "http://127.0.0.1:1/", {}, {"a": float("nan")}),
        Request("POST", "http://127.0.0.1:1/", {}, {"a": object()}),
        Request("GET", "http://127.0.0.1:1/", {"X": "€"}),
        Request("GET", "http://127.0.0.1:1/", {"X": "a\r\nY: b"}),
        Request("GET", "http://127.0.0.1:1/", {"X": " a"}),
        Request("GET", "http://:80/"),
        Request("GET", "no address"),
        Request("GET", "http://exa mple/"),
        Request("GET", "http://[::1"),
        Request("GET", "http://127.0.0.1:99999999/"),
        Request("GET", "ftp://127.0.0.1/"),
    ],
    ids=repr,
)
def test_what_cannot_be_sent_is_the_callers_mistake(transport, request_):
    with pytest.raises(CallerError):
        transport.send(request_, timeout=5)


def test_a_body_nested_too_deeply(transport):
    with pytest.raises(SimDevinError):
        transport.send(post("http://127.0.0.1:1/", deep()), timeout=5)


ODD_IDS = ["..%2F..", "%2E%2E", "../x", "a~b", "a*b", "a b", "ü/ö", "a?b#c", "100%", "'()!;=,"]


@pytest.mark.parametrize("odd", ODD_IDS)
def test_the_path_on_the_wire_is_the_one_that_was_built(serve, transport, odd):
    server = serve(answer(404))
    with sim_devin.open_app(
        transport=transport,
        env={},
        discover=False,
        base_url=server.url + "/v3",
        credentials={"apiKey": KEY, "orgId": "org-~*é"},
        retries=0,
    ) as app:
        with pytest.raises(SimDevinError):
            app.call("devin_get_session", {"sessionId": odd})
        built = app.build_request("devin_get_session", {"sessionId": odd}).url
    assert server.url + server.lines[0].split(" ")[1] == built


def test_the_query_on_the_wire_is_the_one_that_was_built(serve, transport):
    server = serve(answer(body=b'{"items": []}'))
    params = {"tags": ["a~b", "a*b", "a b+c", "é&=%2E", "'"], "after": "eyJ=="}
    credentials = {"apiKey": KEY, "orgId": "org-1"}
    with sim_devin.open_app(
        transport=transport,
        env={},
        discover=False,
        base_url=server.url + "/v3",
        credentials=credentials,
    ) as app:
        app.call("devin_list_sessions", params)
        built = app.build_request("devin_list_sessions", params).url
    assert server.url + server.lines[0].split(" ")[1] == built
    assert "a%7Eb" in built


# -- base URLs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "settled"),
    [
        ("https://api.devin.ai/v3", "https://api.devin.ai/v3"),
        ("https://api.acme.devinenterprise.com/v3/", "https://api.acme.devinenterprise.com/v3"),
        ("https://acme.devinenterprise.com/api/v3", "https://acme.devinenterprise.com/api/v3"),
        ("http://127.0.0.1:8787/v3", "http://127.0.0.1:8787/v3"),
        ("http://[::1]:8787/v3", "http://[::1]:8787/v3"),
        ("http://localhost/v3", "http://localhost/v3"),
    ],
)
def test_base_urls_that_are_taken(url, settled):
    assert check_base_url(url) == settled


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.devin.ai/v3",
        "ftp://api.devin.ai/v3",
        "http://api.devin.ai/v3",
        "http://127.0.0.1.evil.invalid/v3",
        "https://user:word@api.devin.ai/v3",
        "https://api.devin.ai/v3?x=1",
        "https://api.devin.ai/v3#x",
        "https:///v3",
        "https://[::1/v3",
        "https://api.devin.ai:port/v3",
    ],
)
def test_base_urls_that_are_refused(url):
    with pytest.raises(CallerError) as caught:
        check_base_url(url)
    assert "word" not in str(caught.value)
