"""Requests of workflows on the wire: where they connect to, and what redirects take along."""

import contextlib
import json
import socket

import pytest
import urllib3
from durable.flows import block, flow
from http_server import answer
from hypothesis import given
from hypothesis import strategies as st

import sim_devin
from sim_devin.calls.network import NetworkPolicy
from sim_devin.calls.redirects import followed
from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.calls.transport import REDIRECT_LIMIT, HttpTransport
from sim_devin.errors import AddressRefused, NotSent, SimDevinError
from sim_devin.llm.access import Access

SECRET = "canary-of-a-secret"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def names(monkeypatch):
    """Look names up in a dictionary: name -> addresses, or a list of answers to give in turn."""
    known, asked, look_up = {}, [], socket.getaddrinfo

    def found(host, port, *args, **kwargs):
        if host not in known:
            return look_up(host, port, *args, **kwargs)
        asked.append(host)
        addresses = known[host]
        if addresses and isinstance(addresses[0], list):
            addresses = addresses.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (item, port)) for item in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    found.known, found.asked = known, asked
    return found


@contextlib.contextmanager
def reaching(*allow):
    with contextlib.closing(HttpTransport(network=NetworkPolicy(allow))) as transport:
        yield transport


def untrusted(url, method="GET", body=None, **headers):
    return Request(method, url, headers, body, untrusted=True)


# -- connections ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "localhost", "a@127.0.0.1", "0.0.0.0"]
)
def test_nothing_is_sent_to_an_address_that_is_not_public(serve, host):
    server = serve()
    with reaching() as transport, pytest.raises(AddressRefused, match=r"\((loopback|unspec)"):
        transport.send(untrusted(f"http://{host}:{server.port}/"), timeout=5)
    assert server.connections == 0


def test_a_name_is_judged_by_the_address_it_leads_to(serve, names):
    server = serve()
    names.known["x.test"] = ["127.0.0.1"]
    with reaching() as transport, pytest.raises(AddressRefused, match=r"resolved from x\.test"):
        transport.send(untrusted(f"http://x.test:{server.port}/"), timeout=5)
    assert server.connections == 0


def test_a_name_is_judged_before_a_tls_connection_as_well(serve, names):
    server = serve()
    names.known["x.test"] = ["127.0.0.1"]
    with reaching() as transport, pytest.raises(AddressRefused, match=r"resolved from x\.test"):
        transport.send(untrusted(f"https://x.test:{server.port}/"), timeout=5)
    assert server.connections == 0


def test_what_was_judged_is_what_is_connected_to(serve, names):
    server = serve()
    names.known["x.test"] = [["127.0.0.1"], ["127.0.0.2"]]  # a second look-up would say otherwise
    with reaching("127.0.0.1") as transport:
        url = f"http://x.test:{server.port}/"
        assert transport.send(untrusted(url), timeout=5).status == 200
    assert (server.connections, names.asked) == (1, ["x.test"])
    assert server.requests[0][1]["Host"] == f"x.test:{server.port}"


def test_of_several_addresses_only_those_are_tried_that_may_be(serve, names, monkeypatch):
    server = serve()
    names.known["x.test"] = ["127.0.0.2", "127.0.0.1", "127.0.0.3"]
    tried, connect = [], socket.socket.connect

    def watched(self, address):
        tried.append(address[0])
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", watched)
    with reaching("127.0.0.1") as transport:
        transport.send(untrusted(f"http://x.test:{server.port}/"), timeout=5)
    assert tried == ["127.0.0.1"]


def test_the_next_address_is_tried_when_one_does_not_answer(serve, names):
    server = serve()
    names.known["x.test"] = ["127.0.0.2", "127.0.0.1"]
    with reaching("127.0.0.0/8") as transport:
        url = f"http://x.test:{server.port}/"
        assert transport.send(untrusted(url), timeout=5).status == 200


def test_a_name_that_leads_nowhere_means_not_sent():
    with reaching() as transport, pytest.raises(NotSent):
        transport.send(untrusted("http://nowhere.invalid/"), timeout=5)


def test_a_connection_of_the_operators_own_address_is_not_taken(serve):
    server = serve()
    with reaching() as transport:
        assert transport.send(Request("GET", server.url), timeout=5).status == 200
        with pytest.raises(AddressRefused):
            transport.send(untrusted(server.url), timeout=5)
    assert len(server.requests) == 1


@pytest.mark.parametrize("host", ["metadata.google.internal", "db.invalid:5432"])
def test_what_is_refused_as_it_is_written_is_not_looked_up(names, host):
    names.known |= {"metadata.google.internal": [], "db.invalid": []}
    with reaching() as transport, pytest.raises(AddressRefused):
        transport.send(untrusted(f"http://{host}/"), timeout=5)
    assert names.asked == []


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.0/8", "127.0.0.1:{port}"])
def test_the_setting_lets_a_request_through(serve, entry):
    server = serve()
    with reaching(entry.format(port=server.port)) as transport:
        assert transport.send(untrusted(server.url), timeout=5).status == 200


# -- proxies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_behind_a_proxy_the_target_is_judged_and_the_proxy_is_not(
    serve, names, monkeypatch, variable
):
    proxy = serve()
    monkeypatch.setenv(variable, proxy.url)
    names.known["inside.test"] = ["8.8.8.8", "10.0.0.1"]
    names.known["outside.test"] = ["8.8.8.8"]
    with reaching() as transport:
        inside = ("169.254.169.254", "2852039166", "localhost", "inside.test")
        for host in (*inside, "metadata.google.internal", "db.test:6379"):
            with pytest.raises(AddressRefused):
                transport.send(untrusted(f"http://{host}/latest"), timeout=5)
        assert proxy.connections == 0
        for host in ("outside.test", "only-the-proxy-knows.test"):
            assert transport.send(untrusted(f"http://{host}/"), timeout=5).status == 200
    assert proxy.lines == [
        "GET http://outside.test/ HTTP/1.1",
        "GET http://only-the-proxy-knows.test/ HTTP/1.1",
    ]


def test_what_a_proxy_is_not_asked_for_is_judged_when_it_is_connected_to(serve, names, monkeypatch):
    proxy, server = serve(), serve()
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "x.test")
    names.known["x.test"] = ["127.0.0.1"]
    with reaching() as transport, pytest.raises(AddressRefused):
        transport.send(untrusted(f"http://x.test:{server.port}/"), timeout=5)
    assert (proxy.connections, server.connections) == (0, 0)


# -- redirects -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "localhost", "[::ffff:127.0.0.1]"])
def test_a_redirect_is_judged_too(serve, status, host):
    inside = serve()
    server = serve(answer(status, b"", Location=f"http://{host}:{inside.port}/secret"))
    with reaching(f"127.0.0.1:{server.port}") as transport, pytest.raises(AddressRefused):
        transport.send(untrusted(server.url), timeout=5)
    assert inside.connections == 0


def test_nothing_that_could_be_a_credential_goes_to_another_origin(serve):
    last = serve(answer(body=b"there"))
    back = serve(answer(302, b"", Location=last.url))
    first = serve(answer(302, b"", Location=back.url))
    sent = {"Authorization": SECRET, "Cookie": SECRET, "X-Api-Key": SECRET, "X-Mine": SECRET}
    sent |= {"User-Agent": SECRET, "Proxy-Authorization": SECRET, "accept": "text/plain"}
    with reaching("127.0.0.1") as transport:
        assert transport.send(untrusted(first.url, **sent), timeout=5).body == b"there"
    assert SECRET.encode() in first.requests[0][0]
    for server in (back, last):
        head, headers, _ = server.requests[0]
        assert SECRET.encode() not in head
        assert headers["accept"] == "text/plain"


def test_what_was_left_behind_does_not_come_back(serve):
    def reply(head, body):
        return answer() if b"/end" in head else answer(302, b"", Location=other.url)

    server = serve(reply)
    other = serve(lambda head, body: answer(302, b"", Location=f"{server.url}/end"))
    with reaching("127.0.0.1") as transport:
        transport.send(untrusted(server.url, Authorization=SECRET), timeout=5)
    assert "Authorization" not in server.requests[1][1]


def test_credentials_stay_within_an_origin(serve):
    server = serve(
        lambda head, body: answer() if b"/b" in head else answer(302, b"", Location="/b")
    )
    with reaching("127.0.0.1") as transport:
        transport.send(untrusted(f"{server.url}/a", Authorization=SECRET), timeout=5)
    assert server.requests[1][1]["Authorization"] == SECRET


@pytest.mark.parametrize("status", [307, 308])
def test_a_body_does_not_leave_its_origin(serve, status):
    other = serve()
    server = serve(answer(status, b"", Location=other.url))
    with reaching("127.0.0.1") as transport:
        sent = untrusted(server.url, "POST", {"secret": SECRET})
        assert transport.send(sent, timeout=5).status == status
    assert other.connections == 0


@pytest.mark.parametrize(
    ("method", "status", "then"),
    [
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("PUT", 303, "GET"),
        ("HEAD", 303, "HEAD"),
        ("PUT", 302, "PUT"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
        ("DELETE", 301, "DELETE"),
    ],
)
def test_the_method_becomes_what_it_becomes_in_a_browser(method, status, then):
    sent = untrusted("https://x.test/a", method, {"a": 1}, **{"Content-Type": "application/json"})
    target = followed(sent, Response(status, {"location": "b"}, b""))
    kept = then == method and method != "HEAD"
    assert (target.method, target.url) == (then, "https://x.test/b")
    assert target.json == ({"a": 1} if then == method else None)
    assert ("Content-Type" in target.headers) == (kept or method == "HEAD")


def test_redirects_come_to_an_end(serve):
    server = serve(answer(302, b"", Location="/again"))
    with reaching("127.0.0.1") as transport:
        assert transport.send(untrusted(server.url), timeout=5).status == 302
    assert len(server.requests) == REDIRECT_LIMIT + 1


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://x.test/", "javascript:1", "//["])
def test_a_redirect_leads_to_http_alone(location):
    sent = untrusted("https://x.test/")
    assert followed(sent, Response(302, {"location": location}, b"")) is None


BASE = "https://api.test/v3/organizations/org-a"
ELSEWHERE = [
    "/v3/organizations/org-b/sessions",
    "/v3/organizations/org-a/../org-b/sessions",
    "/v3/organizations/org-a%2f..%2forg-b/sessions",
    "/v3/organizations/org-a/%2e%2e/org-b",
    "/v3/organizations/org-a/%252e%252e/org-b",
    "/v3/organizations/org-a/..%5Corg-b",
    "/v3/organizations//org-b",
    "/v3/%6frganizations/org-b",
    "/v3/Organizations/org-b",
    "/v3/organizations",
    "/v3/self",
    "../org-b",
    "https://api.test/v3/organizations/org-b",
    "https://api.test:444/v3/organizations/org-a",
    "http://api.test/v3/organizations/org-a",
    "https://evil.test\\@api.test/v3/organizations/org-a",
    "https://evil.test\t@api.test/v3/organizations/org-a",
    "https://user@api.test/v3/organizations/org-a",
    "https://api.test./v3/organizations/org-a",
]


@pytest.mark.parametrize("location", ELSEWHERE)
def test_a_key_is_not_taken_to_another_organization_or_origin(location):
    answered = Response(307, {"location": location}, b"")
    call = Request("GET", f"{BASE}/sessions", {"Authorization": SECRET})
    assert followed(call, answered) is None
    moved = followed(untrusted(f"{BASE}/sessions", Authorization=SECRET), answered)
    assert moved is None or "Authorization" not in moved.headers


@pytest.mark.parametrize(
    "location",
    [
        "/v3/organizations/org-a/sessions/s",
        "sessions?x=1",
        "https://API.test:443/v3/organizations/org-a",
    ],
)
def test_a_call_follows_within_its_organization(location):
    call = Request("POST", f"{BASE}/sessions", {"Authorization": SECRET}, {"a": 1})
    target = followed(call, Response(307, {"location": location}, b""))
    assert target.headers == {"Authorization": SECRET}
    assert target.json == {"a": 1}


_PARTS = st.sampled_from(
    [*"/\\@:?#.%[] \t", "//", "https:", "http:", "evil.test", "api.test", "443", "%2e", "é", "。"]
)


@given(st.lists(_PARTS, max_size=9).map("".join))
def test_a_key_only_goes_where_the_wire_sees_the_same_host(location):
    call = Request("GET", f"{BASE}/sessions", {"Authorization": SECRET})
    target = followed(call, Response(307, {"location": location}, b""))
    if target is not None:
        seen = urllib3.util.parse_url(target.url)
        assert (seen.scheme, seen.host, seen.port or 443) == ("https", "api.test", 443)


@pytest.mark.parametrize("provider", ["", "openai", "anthropic", "google"])
def test_the_key_of_a_model_follows_no_redirect(serve, provider):
    request = pytest.importorskip("sim_devin.llm.model_request")
    other = serve()
    server = serve(answer(307, b"", Location=f"{other.url}/elsewhere"))
    access = Access(provider, "a-model", server.url, SECRET)
    with pytest.raises(SimDevinError):
        request.complete(
            request.connect(access),
            access,
            [{"role": "user", "content": "hello"}],
            tools=[],
            response_format=None,
            settings={},
            retries=0,
        )
    assert len(server.requests) == 1
    assert other.connections == 0


# -- workflows -----------------------------------------------------------------------------------


def api(url, **values):
    return flow(block("a", "api", "Fetch", url=url, **values))


def opened(**env):
    return sim_devin.open_app(env=env, discover=False, store="memory")


def test_a_block_that_is_refused_says_what_would_allow_it(serve):
    server = serve()
    with opened() as app:
        result = app.run(api(server.url + "/x"))
    assert result.error.startswith("Fetch: HTTP Request failed: URL: http://127.0.0.1:")
    assert "may not reach 127.0.0.1 (loopback)" in result.error
    assert f"add 127.0.0.1:{server.port} to allow under [network]" in result.hint
    assert server.connections == 0


def test_a_block_that_is_refused_is_not_tried_again(names):
    names.known["x.test"] = ["10.0.0.1"]
    document = api("http://x.test/")
    document["blocks"]["a"]["retry"] = {"enabled": True, "maxTries": 3, "waitBetweenTriesMs": 0}
    with opened() as app:
        assert "10.0.0.1 (private, resolved from x.test)" in app.run(document).error
    assert names.asked == ["x.test"]


def test_the_setting_lets_a_block_through(serve):
    server = serve(answer(body=b'{"a": 1}', Content_Type="application/json"))
    with opened(SIM_DEVIN_NETWORK_ALLOW=f"127.0.0.1:{server.port}") as app:
        result = app.run(api(f"http://2130706433:{server.port}/"))
    assert (result.error, result.output["data"]) == (None, {"a": 1})


def test_a_transport_that_was_handed_in_judges_as_well(serve):
    server = serve()
    with sim_devin.open_app(transport=HttpTransport(), env={}, discover=False) as app:
        assert "loopback" in app.run(api(server.url)).error
    assert server.connections == 0


def test_a_tool_reaches_the_address_its_operator_gave(serve):
    server = serve(answer(body=b'{"items": []}', Content_Type="application/json"))
    with opened(DEVIN_BASE_URL=server.url, DEVIN_API_KEY="made-up", DEVIN_ORG_ID="org-a") as app:
        app.call("devin_list_sessions")
    assert len(server.requests) == 1


def test_a_tool_s_key_is_not_sent_to_another_organization(serve):
    server = serve(answer(307, b"", Location="/organizations/org-b/sessions"))
    env = {"DEVIN_BASE_URL": server.url, "DEVIN_API_KEY": "made-up", "DEVIN_ORG_ID": "org-a"}
    with opened(**env) as app, pytest.raises(SimDevinError):
        app.call("devin_list_sessions")
    assert [line.split()[1].partition("?")[0] for line in server.lines] == [
        "/organizations/org-a/sessions"
    ]


def test_a_post_that_was_refused_is_settled_and_not_left_to_a_person(serve):
    server = serve()
    with opened() as app:
        document = api("<start.url>", method="POST", body="{}")  # no check knows it beforehand
        run_id = app.runs.start(document, {"url": server.url})
        app.runs.follow(run_id)
        assert app.runs.show(run_id)["state"] == "failed"
        with app.runs.store.database.write() as connection:
            rows = connection.execute("SELECT state FROM intents").fetchall()
    assert [row["state"] for row in rows] == ["rejected"]
    assert server.connections == 0


def test_a_block_says_that_a_redirect_was_not_followed(serve):
    other = serve()
    server = serve(answer(307, b"", Location=f"{other.url}/there?token=x"))
    with opened(SIM_DEVIN_NETWORK_ALLOW="127.0.0.1") as app:
        result = app.run(api(server.url, method="POST", body=json.dumps({"a": 1})))
    assert f"a redirect to {other.url}/there was not followed" in result.error
    assert other.connections == 0


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://127.0.0.1:3000/x", True),
        ("'http://0x7f.1/'", True),
        ("http://localhost/<start.input>", True),
        ("http://localhost?<start.input>", True),
        ("https://8.8.8.8:6379/{{PATH}}", True),
        ("http://localhost<start.input>/x", False),
        ("http://<start.input>/127.0.0.1", False),
        ("{{BASE}}/x", False),
        ("https://example.com/127.0.0.1", False),
    ],
)
def test_check_refuses_an_address_that_no_run_could_reach(tmp_path, url, found):
    from sim_devin.cli.commands.checking import check

    file = tmp_path / "flow.json"
    file.write_text(json.dumps({"version": "1.0", "state": api(url)}))
    with opened() as app:
        problems = [item for item in check([file], app) if item.place == "Fetch.url"]
    assert [item.level for item in problems] == (["error"] if found else [])
    assert all("SIM_DEVIN_NETWORK_ALLOW" in item.hint for item in problems)
    with opened(SIM_DEVIN_NETWORK_ALLOW="127.0.0.1,::1,8.8.8.8:6379") as app:
        assert not [item for item in check([file], app) if item.place == "Fetch.url"]
