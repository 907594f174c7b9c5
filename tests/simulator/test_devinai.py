"""A client nobody here wrote, generated from the vendor's API description, gets along.

PyPI `devinai` 0.1.0, imported as `devin_sdk`. Its paths include ``/v3``, so its base URL is
the bare host. Its own retries are off, and its validation of answers is strict. It joins
arrays in a query with commas, which is its guess: no array filter is tested with it.
"""

import contextlib

import devin_sdk
import pytest

from sim_devin.simulator import Fault, Key, SimClock, Simulator
from sim_devin.simulator.server import serve

ORG = "org-test"
SCHEMA = {"type": "object", "properties": {"outcome": {"enum": ["pr_opened"]}}}


@contextlib.contextmanager
def connected(simulator, key):
    with serve(simulator) as url:
        client = devin_sdk.DevinSDK(
            api_key=key,
            base_url=url.removesuffix("/v3"),
            max_retries=0,
            timeout=20,
            _strict_response_validation=True,
        )
        with client:
            yield client


@pytest.fixture
def simulator():
    keys = {"cog_test": Key(ORG), "cog_viewer": Key(ORG, role="viewer")}
    return Simulator(clock=SimClock(1_800_000_000, speed=0), keys=keys)


@pytest.fixture
def sdk(simulator):
    with connected(simulator, "cog_test") as client:
        yield client


@pytest.fixture
def sessions(sdk):
    return sdk.organizations.sessions


def test_create(sessions, simulator):
    session = sessions.create(
        ORG,
        prompt="Bump lodash",
        title="Bump",
        tags=["a", "b"],
        repos=["acme/web"],
        max_acu_limit=5,
        knowledge_ids=[],
        secret_ids=[],
        session_secrets=[{"key": "TOKEN", "value": "made-up"}],
        attachment_urls=["https://app.devin.ai/attachments/x/y.txt"],
        structured_output_schema=SCHEMA,
        bypass_approval=True,
        create_as_user_id="user-1",
    )
    assert (session.status, session.title, session.tags) == ("new", "Bump", ["a", "b"])
    assert session.user_id == "user-1"
    assert simulator.counts["sessions_created"] == 1


def test_get(sessions, simulator):
    created = sessions.create(ORG, prompt="x", structured_output_schema=SCHEMA)
    simulator.clock.advance(300)
    session = sessions.retrieve(created.session_id, org_id=ORG)
    assert (session.status, session.status_detail) == ("running", "finished")
    assert session.structured_output == {"outcome": "pr_opened"}
    assert session.pull_requests[0].pr_state == "open"
    assert session.acus_consumed == 0.75


def test_list(sessions):
    ids = [sessions.create(ORG, prompt="x", playbook_id="p").session_id for _ in range(3)]
    first = sessions.list(ORG, first=2, playbook_id="p", created_after=1_700_000_000)
    assert (first.total, first.has_next_page) == (3, True)
    rest = sessions.list(ORG, first=2, playbook_id="p", after=first.end_cursor)
    assert [item.session_id for item in [*first.items, *rest.items]] == ids[::-1]
    assert rest.end_cursor is None


def test_send_message(sessions):
    session_id = sessions.create(ORG, prompt="x").session_id
    answer = sessions.messages.send(
        session_id, org_id=ORG, message="hi", message_as_user_id="user-2"
    )
    assert answer.session_id == session_id


def test_list_messages(sessions, simulator):
    session_id = sessions.create(ORG, prompt="x").session_id
    simulator.clock.advance(10)
    page = sessions.messages.list(f"devin-{session_id}", org_id=ORG, first=1)
    page = sessions.messages.list(session_id, org_id=ORG, after=page.end_cursor)
    assert [(item.source, item.message) for item in page.items] == [("devin", "I'll take a look.")]


def test_list_attachments(sessions, simulator):
    session_id = sessions.create(ORG, prompt="x").session_id
    simulator.clock.advance(300)
    listed = sessions.list_attachments(session_id, org_id=ORG)
    assert [(item.name, item.source) for item in listed] == [("report.md", "devin")]


def test_tags(sessions):
    session_id = sessions.create(ORG, prompt="x", tags=["a"]).session_id
    assert sessions.tags.append(session_id, org_id=ORG, tags=["b"]).tags == ["a", "b"]
    assert sessions.tags.replace(session_id, org_id=ORG, tags=["c"]).tags == ["c"]
    assert sessions.tags.retrieve(session_id, org_id=ORG).tags == ["c"]


def test_archive(sessions):
    session_id = sessions.create(ORG, prompt="x").session_id
    assert sessions.archive(session_id, org_id=ORG).is_archived is True


@pytest.mark.parametrize("archive", [False, True])
def test_terminate(sessions, archive):
    session_id = sessions.create(ORG, prompt="x").session_id
    answer = sessions.terminate(session_id, org_id=ORG, archive=archive)
    assert (answer.status, answer.is_archived) == ("exit", archive)


def test_upload_and_download(sdk, simulator):
    attachments = sdk.organizations.attachments
    sent = attachments.upload(ORG, file=("notes.json", b'{"a": 1}', "application/json"))
    fetched = attachments.download("notes.json", org_id=ORG, uuid=sent.attachment_id)
    assert fetched == {"a": 1}
    assert simulator.leaks == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status", status=429), devin_sdk.RateLimitError),
        (Fault("status", status=503), devin_sdk.InternalServerError),
        (Fault("reset"), devin_sdk.APIConnectionError),
        (Fault("truncate"), devin_sdk.APIConnectionError),
    ],
)
def test_faults_arrive(sessions, simulator, fault, error):
    simulator.faults.add(fault)
    with pytest.raises(error):
        sessions.retrieve("x", org_id=ORG)


def test_errors_arrive(sessions):
    with pytest.raises(devin_sdk.NotFoundError) as caught:
        sessions.retrieve("nobody", org_id=ORG)
    assert caught.value.body["title"] == "Not Found"
    with pytest.raises(devin_sdk.UnprocessableEntityError):
        sessions.create(ORG, prompt=3)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("cog_viewer", devin_sdk.PermissionDeniedError),
        ("cog_wrong", devin_sdk.AuthenticationError),
    ],
)
def test_refusals_arrive(simulator, key, error):
    with connected(simulator, key) as client, pytest.raises(error):
        client.organizations.sessions.create(ORG, prompt="x")
