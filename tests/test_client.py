"""The typed client over the simulator."""

import contextlib
import inspect
import json

import pytest
from pydantic.alias_generators import to_camel

import sim_devin
from sim_devin.calls.jobs.wait import LAST_LOOK
from sim_devin.calls.response import Response
from sim_devin.client import MessagePage, Session, SessionPage
from sim_devin.errors import InvalidParams, TransportError, UnreadableResponse, WaitTimedOut
from sim_devin.simulated import SimulatedTransport
from sim_devin.simulator import Fault, SimClock, Simulator

METHODS = {
    "devin_create_session": "create_session",
    "devin_get_session": "get_session",
    "devin_list_sessions": "list_sessions",
    "devin_send_message": "send_message",
    "devin_list_session_messages": "list_session_messages",
    "devin_list_session_attachments": "list_session_attachments",
    "devin_get_session_tags": "get_session_tags",
    "devin_append_session_tags": "append_session_tags",
    "devin_replace_session_tags": "replace_session_tags",
    "devin_archive_session": "archive_session",
    "devin_terminate_session": "terminate_session",
}


@pytest.fixture
def devin():
    with sim_devin.Devin(simulate=True, env={}, discover=False) as client:
        yield client


class Scripted:
    """A transport that gives prepared answers and keeps the requests."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []

    def send(self, request, *, timeout):
        self.requests.append(request)
        return Response(200, {}, json.dumps(self.answers.pop(0)).encode())


def client_over(*answers):
    transport = Scripted(*answers)
    client = sim_devin.Devin(
        "cog_test_key_000000", "org-test", transport=transport, env={}, discover=False
    )
    return client, transport


@pytest.mark.parametrize(("tool", "method"), METHODS.items())
def test_a_method_takes_exactly_what_its_tool_takes(devin, tool, method):
    arguments = inspect.signature(getattr(sim_devin.Devin, method)).parameters
    spec = devin.app.registry.tools[tool]
    assert [to_camel(name) for name in arguments if name != "self"] == list(spec.properties)
    required = [to_camel(n) for n, a in arguments.items() if a.default is a.empty and n != "self"]
    assert required == list(spec.required)


@pytest.mark.parametrize(
    ("model", "shape", "inner"),
    [(Session, "session", None), (SessionPage, "sessions", None), (MessagePage, "messages", None)],
)
def test_the_models_have_the_fields_of_the_shapes(devin, model, shape, inner):
    shapes = devin.app.registry.tools["devin_get_session"].shapes
    declared = {field.alias for field in model.model_fields.values()}
    assert declared == set(shapes[shape]["properties"])


def test_a_session_runs_to_its_end_and_everything_is_collected(devin):
    schema = {
        "type": "object",
        "properties": {"outcome": {"type": "string"}},
        "required": ["outcome"],
    }
    run = devin.run_session("Fix the build", max_acu_limit=5, structured_output_schema=schema)
    assert run.outcome == "done"
    assert run.session.pull_requests[0].pr_url.startswith("https://")
    assert set(run.session.structured_output) == {"outcome"}
    assert run.messages[0].message == "Fix the build"
    assert run.attachments
    assert not run.timed_out


def test_a_session_that_asks_is_reported_and_goes_on_after_an_answer(devin):
    run = devin.run_session("Choose a color [scenario: asks]")
    assert run.outcome == "blocked_on_user"
    devin.send_message(run.session.session_id, "Blue.")
    (outcome,) = devin.wait([run.session.session_id])
    assert outcome.state == "done"


def test_a_deadline_ends_the_wait_but_not_the_session(devin):
    run = devin.run_session("Never ends [scenario: never-ends]", deadline=120)
    assert (run.outcome, run.timed_out) == ("in_flight", True)
    assert devin.get_session(run.session.session_id).status == "running"


@pytest.mark.parametrize("path", ["/sessions$", "/sessions/[^/]+$", "/messages$", "/attachments$"])
@pytest.mark.parametrize("kind", ["timeout", "status", "circle"])
def test_a_deadline_holds_for_all_of_a_run_whatever_the_service_does(kind, path):
    faults = [
        Fault(kind, method="GET", path=path, times=None),
        Fault(kind, method="POST", path=path, times=None, after=1),
    ]
    clock = SimClock(speed=0)
    simulator = Simulator(clock=clock, faults=faults)
    transport = SimulatedTransport(clock, simulator)
    begun = clock.time()
    run = None
    client = sim_devin.Devin(
        "cog_test_key_000000", "org-test", transport=transport, clock=clock, env={}, discover=False
    )
    with contextlib.suppress(TransportError, WaitTimedOut, UnreadableResponse):
        run = client.run_session("Never ends [scenario: never-ends]", deadline=100)
    assert run is None or run.timed_out
    assert clock.time() - begun <= 100 + 2 * LAST_LOOK


def test_tags_are_read_added_and_replaced(devin):
    session = devin.create_session("Tag me", tags=["a"])
    assert "a" in devin.get_session_tags(session.session_id)
    assert "b" in devin.append_session_tags(session.session_id, ["b"])
    assert devin.replace_session_tags(session.session_id, ["c"]) == ["c"]
    assert devin.replace_session_tags(session.session_id, []) == []


def test_sessions_are_archived_and_terminated(devin):
    archived = devin.create_session("Put me away").session_id
    assert devin.archive_session(archived).session_id
    assert devin.get_session(archived).is_archived
    ended = devin.create_session("End me").session_id
    assert devin.terminate_session(ended, archive=True).status == "exit"


def test_pages_are_followed_to_the_last(devin):
    made = {devin.create_session(f"Task {number}").session_id for number in range(5)}
    listed = list(devin.iter_sessions(limit=2))
    assert {session.session_id for session in listed} == made
    assert len(listed) == 5


def test_messages_are_followed_to_the_last(devin):
    session = devin.create_session("Talk").session_id
    for number in range(4):
        devin.send_message(session, f"Note {number}")
    messages = [message.message for message in devin.iter_messages(session, limit=2)]
    assert [text for text in messages if text.startswith("Note")] == [
        f"Note {number}" for number in range(4)
    ]


@pytest.mark.parametrize("cursors", ["AA", "ABA", "ABCB"])
def test_pages_that_go_round_in_circles_are_an_error_and_no_end(cursors):
    pages = [
        {"items": [{"session_id": "a"}], "end_cursor": cursor, "has_next_page": True}
        for cursor in cursors
    ]
    client, transport = client_over(*pages)
    with pytest.raises(UnreadableResponse, match="repeats a page"):
        list(client.iter_sessions())
    assert len(transport.requests) == len(cursors)


def test_an_answer_that_does_not_fit_the_model_says_that_the_call_succeeded():
    client, _ = client_over({"session_id": "a", "created_at": "yesterday"})
    with pytest.raises(UnreadableResponse, match="createdAt") as caught:
        client.get_session("a")
    assert caught.value.accepted


def test_unknown_fields_and_values_of_an_answer_are_kept():
    client, _ = client_over({"session_id": "a", "status": "dreaming", "status_detail": "deeply"})
    session = client.get_session("a")
    assert (session.status, session.status_detail) == ("dreaming", "deeply")


def test_wrong_arguments_are_reported_before_anything_is_sent():
    client, transport = client_over()
    with pytest.raises(InvalidParams, match="maxAcuLimit"):
        client.create_session("Fix it", max_acu_limit=0)
    assert transport.requests == []


def test_the_key_is_not_in_the_clients_repr():
    client, _ = client_over()
    assert "cog_test_key_000000" not in repr(client) + repr(vars(client)) + repr(vars(client.app))
