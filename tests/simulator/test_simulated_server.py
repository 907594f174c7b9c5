"""The simulator behind real sockets: the standard library's server, and ASGI under uvicorn."""

import asyncio
import contextlib
import json
import socket
import threading
import time

import pytest
import requests
import uvicorn

from sim_devin.listener import listen
from sim_devin.simulator import Fault, SimClock, Simulator
from sim_devin.simulator.asgi import app
from sim_devin.simulator.server import serve

HEADERS = {"Authorization": "Bearer cog_test_key_000000"}


@contextlib.contextmanager
def serve_with_uvicorn(simulator):
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(app(simulator), log_config=None, lifespan="on", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{simulator.prefix}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module", params=[serve, serve_with_uvicorn], ids=["threads", "asgi"])
def served(request):
    simulator = Simulator(clock=SimClock(1_800_000_000, speed=0), prefix="/api/v3")
    with request.param(simulator) as url:
        yield simulator, url


@pytest.fixture
def url(served):
    served[0].reset()
    return served[1]


@pytest.fixture
def simulator(served):
    return served[0]


@pytest.fixture
def http():
    with requests.Session() as session:
        session.headers.update(HEADERS)
        session.trust_env = False
        yield session


@pytest.fixture
def sessions(url):
    return f"{url}/organizations/org-a/sessions"


def control(url):
    return url.removesuffix("/api/v3") + "/__simulator/"


def test_a_session_from_create_to_end(http, sessions, simulator):
    created = http.post(sessions, json={"prompt": "x", "tags": ["a b", "ü"]})
    assert created.status_code == 200
    session_id = created.json()["session_id"]
    simulator.clock.advance(300)
    assert http.get(f"{sessions}/devin-{session_id}").json()["status_detail"] == "finished"
    listed = http.get(sessions, params={"tags": ["ü", "z"], "first": 1}).json()
    assert [item["session_id"] for item in listed["items"]] == [session_id]
    ended = http.delete(f"{sessions}/{session_id}", params={"archive": "true"})
    assert ended.json()["is_archived"] is True


def test_paths_arrive_as_they_were_sent(http, sessions, simulator):
    assert http.get(f"{sessions}/a%2Fb%20c").status_code == 404
    assert simulator.log[-1].path.endswith("/sessions/a%2Fb%20c")


def test_one_connection_serves_many_requests(http, sessions, simulator):
    ports = set()
    for _ in range(3):
        with http.get(sessions, stream=True) as answer:
            ports.add(answer.raw.connection.sock.getsockname()[1])
            assert answer.json()["total"] == 0
    assert len(ports) == 1


def test_errors_are_problems(http, sessions):
    answer = http.post(sessions, json={})
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["instance"] == "/api/v3/organizations/org-a/sessions"


def test_a_file_up_and_down(http, url, simulator):
    content = bytes(range(256))
    organization = f"{url}/organizations/org-a"
    sent = http.post(f"{organization}/attachments", files={"file": ("a b.bin", content)}).json()
    answer = http.get(f"{organization}/attachments/{sent['attachment_id']}/a%20b.bin")
    assert answer.content == content
    assert answer.history[0].status_code == 307
    assert simulator.leaks == []


def test_a_client_that_sends_its_key_along_is_caught(http, url, simulator):
    organization = f"{url}/organizations/org-a"
    sent = http.post(f"{organization}/attachments", files={"file": ("a.txt", b"x")}).json()
    path = f"{organization}/attachments/{sent['attachment_id']}/a.txt"
    location = http.get(path, allow_redirects=False).headers["Location"]
    assert http.get(location).content == b"x"
    assert len(simulator.leaks) == 1


class TestBrokenConnections:
    @pytest.mark.parametrize("commit", [False, True])
    def test_reset(self, http, sessions, simulator, commit):
        simulator.faults.add(Fault("reset", commit=commit))
        with pytest.raises(requests.ConnectionError):
            http.post(sessions, json={"prompt": "x"})
        assert simulator.counts["sessions_created"] == commit
        assert http.get(sessions).status_code == 200

    def test_truncate(self, http, sessions, simulator):
        simulator.faults.add(Fault("truncate"))
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            http.post(sessions, json={"prompt": "x"})
        assert http.get(sessions).json()["total"] == 1

    def test_silence_lasts_until_the_client_gives_up(self, http, sessions, simulator):
        simulator.faults.add(Fault("timeout", commit=True))
        began = time.monotonic()
        with pytest.raises(requests.ReadTimeout):
            http.post(sessions, json={"prompt": "x"}, timeout=0.05)
        assert time.monotonic() - began < 20
        assert http.get(sessions).json()["total"] == 1

    def test_silence_ends(self, http, sessions, simulator):
        simulator.faults.add(Fault("timeout", seconds=0.02))
        with pytest.raises(requests.ConnectionError):
            http.get(sessions, timeout=20)

    def test_slow(self, http, sessions, simulator):
        simulator.faults.add(Fault("slow", seconds=0.05))
        began = time.monotonic()
        assert http.get(sessions).status_code == 200
        assert time.monotonic() - began >= 0.05

    @pytest.mark.parametrize("kind", ["empty", "html", "bad_json"])
    def test_strange_bodies(self, http, sessions, simulator, kind):
        simulator.faults.add(Fault(kind))
        with pytest.raises(requests.exceptions.JSONDecodeError):
            http.get(sessions).json()


class TestControl:
    def test_state(self, http, url, sessions):
        http.post(sessions, json={"prompt": "x"})
        state = http.get(control(url) + "state").json()
        assert state["counts"]["sessions_created"] == 1
        assert state["sessions"][0]["status"] == "new"
        assert "finish" in state["scenarios"]
        assert state["switches"]["list_lag"] == 0

    def test_advance(self, http, url, simulator):
        before = simulator.clock.time()
        answer = http.post(control(url) + "advance", json={"seconds": 5})
        assert answer.json()["time"] == simulator.clock.time() == before + 5

    def test_faults(self, http, url, sessions):
        data = [{"kind": "status", "status": 500}, {"kind": "reset", "times": 9}]
        assert len(http.post(control(url) + "faults", json=data).json()["faults"]) == 2
        assert http.get(sessions).status_code == 500
        assert http.post(control(url) + "clear_faults").json()["faults"] == []

    @pytest.mark.parametrize(("default", "prompt"), [(True, "x"), (False, "[scenario: mine]")])
    def test_scenario(self, http, default, prompt):
        with serve(Simulator(prefix="/api/v3")) as url:
            data = {"name": "mine", "default": default, "steps": [{"status": "error"}]}
            assert "mine" in http.post(control(url) + "scenario", json=data).json()["scenarios"]
            sessions = f"{url}/organizations/org-a/sessions"
            session_id = http.post(sessions, json={"prompt": prompt}).json()["session_id"]
            assert http.get(f"{sessions}/{session_id}").json()["status"] == "error"

    def test_switches(self, http, url, sessions):
        http.post(control(url) + "switches", json={"out_of_quota": True})
        assert http.post(sessions, json={"prompt": "x"}).status_code == 403
        http.post(control(url) + "switches", json={"out_of_quota": False})

    def test_reset(self, http, url, sessions, simulator):
        http.post(sessions, json={"prompt": "x"})
        http.post(control(url) + "reset")
        assert simulator.truth() == []

    @pytest.mark.parametrize(
        ("path", "data", "told"),
        [
            ("advance", {"seconds": -1}, "seconds"),
            ("advance", {"seconds": "1"}, "seconds"),
            ("advance", [], "seconds"),
            ("faults", {"kind": "flood"}, "flood"),
            ("faults", [3], "3"),
            ("scenario", {"steps": [{"at": "x"}]}, "steps[0].at"),
            ("switches", {"nope": 1}, "nope"),
            ("switches", [], "object"),
        ],
    )
    def test_nonsense_is_422(self, http, url, path, data, told):
        answer = http.post(control(url) + path, json=data)
        assert answer.status_code == 422
        assert told in answer.json()["detail"]

    def test_what_is_not_json_is_422(self, http, url):
        assert http.post(control(url) + "advance", data=b"{").status_code == 422

    @pytest.mark.parametrize(
        ("method", "path"), [("GET", "advance"), ("POST", "state"), ("GET", "")]
    )
    def test_nothing_else_is_there(self, http, url, method, path):
        assert http.request(method, control(url) + path).status_code == 404

    @pytest.mark.parametrize(
        "header", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}]
    )
    def test_web_pages_are_kept_out(self, http, url, header):
        assert http.get(control(url) + "state", headers=header).status_code == 403

    def test_it_can_be_left_out(self, http, simulator):
        with serve(simulator, control=False) as url:
            assert http.get(control(url) + "state").status_code == 404

    def test_handle_has_no_control(self, simulator):
        assert simulator.handle("GET", "/__simulator/state", [], HEADERS).status == 404

    def test_a_clock_without_hands(self, http):
        class Noon:
            def time(self):
                return 43_200.0

        with serve(Simulator(clock=Noon(), prefix="/api/v3")) as url:
            assert http.post(control(url) + "advance", json={"seconds": 1}).status_code == 409


class TestThreadedServer:
    def test_open_connections_do_not_keep_it_from_stopping(self, http):
        with serve(Simulator()) as url:
            http.get(f"{url}/organizations/org-a/sessions")
            silent = socket.create_connection(("127.0.0.1", int(url.split(":")[2].split("/")[0])))
        with silent, contextlib.suppress(ConnectionResetError):
            assert silent.recv(1) == b""

    def test_a_reset_is_a_real_one(self):
        simulator = Simulator(faults=[Fault("reset")])
        with serve(simulator) as url:
            port = int(url.split(":")[2].split("/")[0])
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                with pytest.raises(ConnectionResetError):
                    connection.recv(1)

    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (b"Content-Length: 999999999", b"413"),
            (b"Content-Length: x", b"400"),
            (b"Transfer-Encoding: chunked", b"411"),
        ],
    )
    def test_bodies_it_does_not_take(self, head, status):
        with serve(Simulator()) as url:
            port = int(url.split(":")[2].split("/")[0])
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
                answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 " + status)

    def test_head_has_no_body(self, http):
        with serve(Simulator()) as url:
            answer = http.head(f"{url}/self")
        assert (answer.status_code, answer.content) == (405, b"")

    def test_a_taken_port_is_an_error(self):
        with serve(Simulator()) as url:
            port = int(url.split(":")[2].split("/")[0])
            with pytest.raises(OSError, match="in use"), serve(Simulator(), port=port):
                pass


class TestAsgi:
    """Without a server: the application as the protocol has it."""

    def run(self, simulator, scope, messages=({"type": "http.request", "body": b""},)):
        sent = []
        waiting = list(messages)

        async def receive():
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        asyncio.run(app(simulator)(scope, receive, send))
        return sent

    def scope(self, **rest):
        headers = [(b"authorization", b"Bearer cog_x")]
        return {"type": "http", "method": "GET", "headers": headers, "query_string": b"", **rest}

    def test_lifespan(self):
        messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
        sent = self.run(Simulator(), {"type": "lifespan"}, messages)
        assert [message["type"] for message in sent] == [
            "lifespan.startup.complete",
            "lifespan.shutdown.complete",
        ]

    def test_a_path_without_its_raw_form(self):
        start, body = self.run(Simulator(), self.scope(path="/v3/self"))
        assert start["status"] == 200
        assert json.loads(body["body"])["principal_type"] == "service_user"

    def test_a_body_in_pieces(self):
        messages = [
            {"type": "http.request", "body": b'{"prompt"', "more_body": True},
            {"type": "http.request", "body": b': "x"}'},
        ]
        scope = self.scope(method="POST", path="/v3/organizations/org-a/sessions")
        assert self.run(Simulator(), scope, messages)[0]["status"] == 200

    def test_too_large_a_body(self):
        piece = {"type": "http.request", "body": b"x" * 9_000_000, "more_body": True}
        scope = self.scope(method="POST", path="/v3/organizations/org-a/sessions")
        messages = [piece, piece, {"type": "http.request"}]
        assert self.run(Simulator(), scope, messages)[0]["status"] == 413

    @pytest.mark.parametrize("kind", ["reset", "timeout"])
    def test_a_server_that_cannot_reset_gets_an_answer_that_ends_too_early(self, kind):
        simulator = Simulator(faults=[Fault(kind, seconds=0)])
        start, body = self.run(simulator, self.scope(path="/v3/self"))
        assert int(dict(start["headers"])[b"content-length"]) > len(body["body"])
        assert body["more_body"] is True
