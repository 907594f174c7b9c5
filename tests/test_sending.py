"""What is under way holds nobody up: not past its time, and not when the caller wants to stop."""

import contextvars
import threading

import pytest

import sim_devin
from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.calls.sending import send_within
from sim_devin.errors import AmbiguousResult, Cancelled, NotSent, TimedOut

REQUEST = Request("GET", "http://127.0.0.1:1/", {})
SESSION = {"session_id": "a", "status": "running"}


class Silent:
    """A transport that neither answers nor keeps its time until it is told to."""

    def __init__(self):
        self.begun = threading.Event()
        self.go = threading.Event()
        self.sent = []

    def send(self, request, *, timeout):
        self.sent.append(request.method)
        self.begun.set()
        assert self.go.wait(60)
        return Response(200, {}, b"{}")


@pytest.fixture
def silent():
    transport = Silent()
    yield transport
    transport.go.set()


def test_a_transport_that_does_not_keep_its_time_is_left_alone(silent):
    with pytest.raises(TimedOut, match=r"within 0\.1 s"):
        send_within(silent, REQUEST, timeout=0.1)
    assert silent.begun.is_set()


def test_a_wish_to_stop_ends_what_is_under_way(silent):
    cancel = threading.Event()
    threading.Thread(target=lambda: (silent.begun.wait(60), cancel.set())).start()
    with pytest.raises(Cancelled, match="in progress"):
        send_within(silent, REQUEST, timeout=3600, cancel=cancel)


def test_answers_and_errors_come_through_as_they_are():
    class Plain:
        def send(self, request, *, timeout):
            if request.method == "POST":
                raise NotSent("No connection.")
            return Response(204, {}, repr(timeout).encode())

    answer = send_within(Plain(), REQUEST, timeout=7, cancel=threading.Event())
    assert (answer.status, answer.body) == (204, b"7")
    with pytest.raises(NotSent, match="No connection"):
        send_within(Plain(), Request("POST", "http://127.0.0.1:1/", {}), timeout=7)


def test_a_transport_sees_the_context_of_its_caller():
    where = contextvars.ContextVar("where", default="nowhere")
    seen = []

    class Looking:
        def send(self, request, *, timeout):
            seen.append(where.get())
            return Response(200, {}, b"{}")

    where.set("here")
    send_within(Looking(), REQUEST, timeout=7)
    assert seen == ["here"]


def test_without_a_thread_to_spare_nothing_is_sent(monkeypatch, silent):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(NotSent, match="can't start new thread"):
        send_within(silent, REQUEST, timeout=7)
    assert silent.sent == []


def cancelled_call(silent, tool, **params):
    credentials = {"apiKey": "cog_test_key_000000", "orgId": "org-test"}
    app = sim_devin.open_app(transport=silent, credentials=credentials, env={}, discover=False)
    cancel = threading.Event()
    threading.Thread(target=lambda: (silent.begun.wait(60), cancel.set())).start()
    app.call(tool, params, cancel=cancel)


def test_a_read_that_is_given_up_is_cancelled(silent):
    with pytest.raises(Cancelled):
        cancelled_call(silent, "devin_get_session", sessionId="a")


@pytest.mark.parametrize(
    ("tool", "params"),
    [
        ("devin_create_session", {"prompt": "Fix it"}),
        ("devin_send_message", {"sessionId": "a", "message": "Go on"}),
    ],
)
def test_nobody_knows_what_came_of_a_create_or_message_that_is_given_up(silent, tool, params):
    with pytest.raises(AmbiguousResult, match="in progress") as caught:
        cancelled_call(silent, tool, **params)
    assert caught.value.means.uncertain
    assert silent.sent == ["POST"]


class Slow(Silent):
    """A transport that has a connection, and something to send, long after it was asked to."""

    def __init__(self):
        super().__init__()
        self.over = threading.Event()
        self.error = None

    def send(self, request, *, timeout):
        self.begun.set()
        assert self.go.wait(60)
        try:
            request.confirm()
        except TimedOut as error:
            self.error = error
            raise
        finally:
            self.over.set()
        return Response(200, {}, b"{}")


def test_what_was_given_up_is_not_sent_later():
    slow = Slow()
    request = Request("POST", "http://127.0.0.1:1/", {}, confirm=lambda: None)
    with pytest.raises(TimedOut):
        send_within(slow, request, timeout=0.1)
    slow.go.set()
    assert slow.over.wait(60)
    assert slow.error is not None
    assert slow.error.means.did_nothing


def test_an_answer_that_comes_after_it_was_given_up_is_told(silent):
    told, heard = [], threading.Event()

    def late(response):
        told.append(response.status)
        heard.set()

    with pytest.raises(TimedOut):
        send_within(silent, REQUEST, timeout=0.1, late=late)
    assert told == []
    silent.go.set()
    assert heard.wait(60)
    assert told == [200]
