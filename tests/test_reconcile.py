"""Never twice: creates and messages under every fault, counted by the simulator itself."""

import contextlib
import hashlib
import json
import logging
import threading
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim_devin
from sim_devin.calls.intents import Intent, Settle
from sim_devin.calls.invoke import Context
from sim_devin.calls.jobs.exactly_once import STRAYS_FOR, create
from sim_devin.calls.jobs.ledger import MemoryLedger
from sim_devin.clock import ManualClock
from sim_devin.devin.verdict import session_kind
from sim_devin.errors import (
    AmbiguousResult,
    BadRequest,
    Cancelled,
    Conflict,
    NothingSent,
    NotSent,
    OutOfQuota,
    PermissionDenied,
    SimDevinError,
    TimedOut,
    TransportError,
    UncertainResult,
    UnreadableResponse,
)
from sim_devin.simulated import SimulatedTransport
from sim_devin.simulator import Fault, Key, Simulator, Switches
from tests.durable.flows import block, devin, flow, wait
from tests.lanes import examples

KEY = "cog_test_key_000000"
ORG = "org-1"
GRACE = 300.0
SESSIONS = r"/sessions$"
MESSAGES = r"/messages$"


class World:
    """An app with reconciliation over a simulator in this process, both in one time."""

    def __init__(
        self, *faults, policy="hold", grace=GRACE, keys=None, wrap=lambda send: send, **switches
    ):
        self.clock = ManualClock()
        self.simulator = Simulator(
            clock=self.clock, switches=Switches(**switches), faults=faults, keys=keys, seed=7
        )
        self.transport = SimulatedTransport(self.clock, self.simulator)
        self.transport.send = wrap(self.transport.send)
        self.ledger = MemoryLedger()
        self.app = sim_devin.open_app(
            transport=self.transport,
            clock=self.clock,
            env={},
            discover=False,
            credentials={"apiKey": KEY, "orgId": ORG},
            ledger=self.ledger,
            settle=Settle(grace=grace, policy=policy),
        )

    def create(self, prompt="Fix the bug.", **params):
        return self.app.call("devin_create_session", {"prompt": prompt, **params}, reconcile=True)

    def send(self, session_id, message="Go on.", **options):
        return self.app.call(
            "devin_send_message",
            {"sessionId": session_id, "message": message},
            reconcile=True,
            **options,
        )

    @property
    def created(self):
        return self.simulator.counts["sessions_created"]

    @property
    def live(self):
        return [item for item in self.simulator.truth() if item["status"] != "exit"]

    @property
    def states(self):
        return [intent.state for intent in self.ledger.intents.values()]

    def requests(self, method, ending):
        return [
            entry
            for entry in self.simulator.log
            if entry.method == method and entry.path.endswith(ending)
        ]

    def messages(self, text="Go on."):
        (session,) = self.simulator.truth()
        return [item["message"] for item in session["messages"]].count(text)


def on_create(kind, **options):
    return Fault(kind, method="POST", path=SESSIONS, **options)


def on_list(kind, **options):
    return Fault(kind, method="GET", path=SESSIONS, **options)


def on_send(kind, **options):
    return Fault(kind, method="POST", path=MESSAGES, **options)


COMMITTED = {
    "reset after the commit": on_create("reset", commit=True),
    "silence after the commit": on_create("timeout", commit=True),
    "late commit": on_create("commit_delay", seconds=90),
    "commit late in the window": on_create("commit_delay", seconds=GRACE),
    "500 after the commit": on_create("status", status=500, commit=True),
    "504 after the commit": on_create("status", status=504, commit=True),
    "html 502 after the commit": on_create("html", commit=True),
    "half an answer": on_create("truncate"),
    "no json": on_create("bad_json"),
    "another shape": on_create("wrong_shape"),
    "empty answer": on_create("empty"),
    "too slow": on_create("slow", seconds=61),
    **{
        f"{status} after the commit": on_create(
            "status", status=status, retry_after=after, commit=True
        )
        for status in (408, 409, 425, 429, 503)
        for after in (None, 5)
    },
}
NOT_COMMITTED = {
    "reset before the commit": on_create("reset"),
    "silence before the commit": on_create("timeout"),
    "500 before the commit": on_create("status", status=500),
    "html 502 before the commit": on_create("html"),
}


@pytest.mark.parametrize("lag", [0, 45], ids=["", "lagging list"])
@pytest.mark.parametrize("policy", ["hold", "retry"])
@pytest.mark.parametrize("fault", COMMITTED.values(), ids=COMMITTED)
def test_what_was_created_is_adopted(fault, policy, lag):
    if lag and fault.seconds == GRACE:
        fault = replace(fault, seconds=GRACE - lag)
    world = World(fault, policy=policy, list_lag=lag)
    output = world.create(tags=["mine"])
    (session,) = world.simulator.truth()
    assert output["sessionId"] == session["session_id"]
    assert output["tags"] == session["tags"]
    assert session["tags"][0] == "mine"
    assert session["tags"][1].startswith("sim-")
    assert world.created == 1
    assert len(world.requests("POST", "/sessions")) == 1
    assert world.states == ["done"]


@pytest.mark.parametrize("fault", NOT_COMMITTED.values(), ids=NOT_COMMITTED)
def test_holding_leaves_what_is_not_there_to_a_human(fault):
    world = World(fault)
    started = world.clock.time()
    with pytest.raises(UncertainResult) as caught:
        world.create()
    (tag,) = world.ledger.intents
    assert tag in caught.value.hint
    assert "devin_list_sessions" in caught.value.hint
    assert world.clock.time() - started >= GRACE
    assert (world.created, world.states) == (0, ["uncertain"])


@pytest.mark.parametrize("fault", NOT_COMMITTED.values(), ids=NOT_COMMITTED)
def test_retrying_sends_what_is_not_there_once_more(fault):
    world = World(fault, policy="retry")
    output = world.create()
    assert output["sessionId"] == world.simulator.truth()[0]["session_id"]
    assert (world.created, world.states) == (1, ["missing", "done"])
    first, second = world.requests("POST", "/sessions")
    assert second.time - first.time >= GRACE


def test_retrying_is_not_repeated():
    world = World(on_create("reset", times=None), policy="retry")
    with pytest.raises(UncertainResult):
        world.create()
    assert len(world.requests("POST", "/sessions")) == 2
    assert world.states == ["uncertain", "uncertain"]


def test_a_create_that_was_not_sent_is_simply_repeated():
    failures = [NotSent("No connection."), NotSent("No connection.")]

    def wrap(send):
        def flaky(request, *, timeout):
            if failures:
                raise failures.pop()
            return send(request, timeout=timeout)

        return flaky

    world = World(wrap=wrap)
    world.create()
    assert (world.created, world.states) == (1, ["done"])
    assert world.requests("GET", "/sessions") == []


@pytest.mark.parametrize("status", [429, 503])
def test_a_create_that_was_turned_away_is_simply_repeated(status):
    world = World(on_create("status", status=status, retry_after=5, times=3))
    world.create()
    assert (world.created, world.states) == (1, ["done"])


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("lag", [0, GRACE - 60], ids=["", "lagging list"])
def test_a_service_that_says_later_after_it_has_created_creates_one(status, lag):
    fault = on_create("status", status=status, retry_after=1, commit=True, times=5)
    world = World(fault, list_lag=lag)
    output = world.create()
    assert world.created == 1
    assert len(world.requests("POST", "/sessions")) == 1
    assert output["sessionId"] == world.simulator.truth()[0]["session_id"]


@pytest.mark.parametrize("status", [429, 503])
def test_what_was_turned_away_is_only_sent_again_after_the_window(status):
    world = World(on_create("status", status=status, retry_after=GRACE + 100))
    world.create()
    first, second = world.requests("POST", "/sessions")
    assert second.time - first.time >= GRACE + 100
    tags = [json.loads(entry.body)["tags"] for entry in (first, second)]
    assert tags[0] == tags[1]


def test_a_service_that_always_says_later_is_left_to_a_human():
    world = World(on_create("status", status=429, retry_after=5, times=None))
    with pytest.raises(UncertainResult):
        world.create()
    assert (world.created, world.states) == (0, ["uncertain"])


def test_a_double_with_one_and_the_same_tag_is_ended_and_reported(caplog):
    late = on_create("status", status=429, retry_after=5, commit=True)
    world = World(late, list_lag=GRACE + 60)
    kept = world.create()["sessionId"]
    assert world.created == 2
    world.clock.advance(2 * GRACE)
    with caplog.at_level(logging.WARNING, logger="sim_devin"):
        other = world.create("Another one.")["sessionId"]
    assert {item["session_id"] for item in world.live} == {kept, other}
    assert "ended the duplicate session" in caplog.text
    assert len(world.ledger.reports) == 1


LATER_IN_THE_RUN = {
    "another create": [wait(), devin("other", "create_session", prompt="Another one.")],
    "nothing more": [wait()],
    "a pause": [wait(), block("ask", "human_in_the_loop")],
    "a failure": [wait(), devin("fails", "get_session", sessionId="nobody")],
}


@pytest.mark.parametrize("blocks", LATER_IN_THE_RUN.values(), ids=LATER_IN_THE_RUN)
def test_a_run_tells_in_its_outcome_of_doubles_of_its_creates(blocks):
    late = on_create("status", status=429, retry_after=5, commit=True)
    world = World(late, list_lag=GRACE + 60, keys={"cog_of_the_document": Key("org-simulated")})
    create = devin("create", "create_session", prompt="p [scenario: finish]")
    run = {"env": {"DEVIN_API_KEY": "cog_of_the_document"}, "reconcile": True}
    result = world.app.run(flow(create, *blocks), **run)
    if result.status == "paused":
        world.app.run(flow(devin("more", "create_session", prompt="Of another run.")), **run)
        result = world.app.resume(result, {}, reconcile=True)
    double = min(world.simulator.truth(), key=lambda item: item["created_at"])
    assert result.warnings == [f"The duplicate session {double['session_id']} was ended."]
    assert double["status"] == "exit"
    assert result.to_json()["warnings"] == result.warnings


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_looked_for(status):
    world = World(on_create("status", status=status, times=2))
    with pytest.raises(SimDevinError):
        world.create()
    assert world.requests("GET", "/sessions") == []
    assert set(world.states) == {"rejected"}


@pytest.mark.parametrize(("status", "error"), [(409, Conflict), (408, UncertainResult)])
def test_a_doubtful_refusal_of_what_was_not_created_is_looked_for(status, error):
    world = World(on_create("status", status=status))
    with pytest.raises(error):
        world.create()
    assert world.created == 0
    assert len(world.requests("POST", "/sessions")) == 1
    assert world.requests("GET", "/sessions")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
@pytest.mark.parametrize("tool", ["devin_create_session", "devin_send_message"])
def test_a_bare_call_is_not_repeated_after_an_answer_that_proves_nothing(tool, status):
    world, session_id = world_with_session()
    fault = Fault("status", status=status, method="POST", retry_after=1, commit=True, times=9)
    world.simulator.faults.add(fault)
    before = world.simulator.counts["requests"]
    params = {"prompt": "x"} if tool == "devin_create_session" else {"message": "x"}
    if "message" in params:
        params["sessionId"] = session_id
    with pytest.raises(AmbiguousResult) as caught:
        world.app.call(tool, params)
    assert caught.value.status == status
    assert world.simulator.counts["requests"] == before + 1


def test_a_storm_of_errors_does_not_make_two():
    storm = Fault("status", status=502, times=25)
    world = World(on_create("reset", commit=True), storm, policy="retry")
    output = world.create()
    assert (world.created, world.states) == (1, ["done"])
    assert output["sessionId"] == world.simulator.truth()[0]["session_id"]


@pytest.mark.parametrize("kind", ["status", "html", "reset", "bad_json", "wrong_shape", "empty"])
def test_a_failed_look_says_nothing(kind):
    world = World(on_create("reset", commit=True), on_list(kind, times=9), policy="retry")
    world.create()
    assert (world.created, world.states) == (1, ["done"])


def test_a_service_that_stays_away_leaves_it_uncertain():
    world = World(on_create("reset", commit=True), on_list("reset", times=None), policy="retry")
    started = world.clock.time()
    with pytest.raises(UncertainResult, match="the last look-up failed"):
        world.create()
    assert 2 * GRACE <= world.clock.time() - started < 3 * GRACE
    assert (world.created, world.states) == (1, ["uncertain"])


def test_a_key_that_may_not_look_leaves_it_uncertain_at_once():
    keys = {KEY: Key(ORG, permissions=frozenset({"UseDevinSessions"}))}
    world = World(on_create("reset", commit=True), keys=keys, policy="retry")
    started = world.clock.time()
    with pytest.raises(UncertainResult, match="ViewOrgSessions"):
        world.create()
    assert world.clock.time() == started
    assert (world.created, world.states) == (1, ["uncertain"])


def test_a_refused_create_is_an_error_and_nothing_more():
    world = World(out_of_quota=True)
    with pytest.raises(OutOfQuota):
        world.create()
    assert (world.created, world.states) == (0, ["rejected"])
    assert world.requests("GET", "/sessions") == []


def test_a_bare_call_carries_no_tag_and_does_not_guess():
    world = World(on_create("reset", commit=True))
    with pytest.raises(AmbiguousResult) as caught:
        world.app.call("devin_create_session", {"prompt": "x"})
    assert type(caught.value) is AmbiguousResult
    assert json.loads(world.simulator.log[0].body) == {"prompt": "x"}
    assert world.ledger.intents == {}


def test_a_session_archived_meanwhile_is_found():
    def wrap(send):
        def archiving(request, *, timeout):
            try:
                return send(request, timeout=timeout)
            except TransportError:
                (session,) = world.simulator.truth()
                path = f"/v3/organizations/{ORG}/sessions/{session['session_id']}/archive"
                world.simulator.handle("POST", path, (), {"Authorization": f"Bearer {KEY}"})
                raise

        return archiving

    world = World(on_create("reset", commit=True), wrap=wrap)
    assert world.create()["isArchived"]
    assert world.created == 1


def test_membership_is_checked_here_too():
    def wrap(send):
        def deaf(request, *, timeout):  # a list that ignores its filters
            url = request.url.partition("?")[0] if request.method == "GET" else request.url
            return send(replace(request, url=url), timeout=timeout)

        return deaf

    world = World(on_create("reset", after=3), wrap=wrap)
    for _ in range(3):
        world.create()
    with pytest.raises(UncertainResult):
        world.create()
    assert world.created == 3


def test_a_request_carried_out_twice_on_its_way_leaves_one_session(caplog):
    def wrap(send):
        def doubling(request, *, timeout):
            if request.method != "POST" or world.created:
                return send(request, timeout=timeout)
            send(request, timeout=timeout)
            world.clock.advance(2)
            send(request, timeout=timeout)
            raise TransportError("It broke.")

        return doubling

    world = World(wrap=wrap)
    with caplog.at_level(logging.WARNING, logger="sim_devin"):
        output = world.create()
    assert world.created == 2
    assert [item["session_id"] for item in world.live] == [output["sessionId"]]
    assert world.simulator.truth()[0]["session_id"] == output["sessionId"]
    assert "duplicate" in caplog.text


# -- beyond the window --------------------------------------------------------------------------


def test_a_commit_beyond_the_window_is_uncertain_when_holding():
    world = World(on_create("commit_delay", seconds=3 * GRACE))
    with pytest.raises(UncertainResult):
        world.create()
    world.clock.advance(5 * GRACE)
    world.create("Another one.")
    assert len(world.live) == 2  # what a human decides about is not touched


def test_a_duplicate_that_shows_up_later_is_ended_and_reported(caplog):
    world = World(on_create("commit_delay", seconds=2 * GRACE), policy="retry")
    kept = world.create()["sessionId"]
    assert world.states == ["missing", "done"]
    world.clock.advance(5 * GRACE)
    assert len(world.live) == 2
    with caplog.at_level(logging.WARNING, logger="sim_devin"):
        other = world.create("Another one.")["sessionId"]
    assert {item["session_id"] for item in world.live} == {kept, other}
    assert world.states == ["stray", "done", "done"]
    (late,) = (item for item in world.simulator.truth() if item["status"] == "exit")
    (record,) = (item for item in caplog.records if "duplicate" in item.message)
    assert record.session == late["session_id"]


def test_a_duplicate_that_cannot_be_ended_yet_is_ended_later(caplog):
    world = World(on_create("commit_delay", seconds=2 * GRACE), policy="retry")
    world.create()
    world.clock.advance(5 * GRACE)
    world.simulator.faults.add(Fault("status", status=500, method="DELETE", times=5))
    with caplog.at_level(logging.WARNING, logger="sim_devin"):
        world.create("Another one.")
    assert "could not end the duplicate" in caplog.text
    assert len(world.live) == 3
    world.create("A third one.")
    assert len(world.live) == 3
    assert world.states[0] == "stray"


def test_what_was_given_up_is_not_watched_for_ever():
    world = World(on_create("reset"), policy="retry")
    world.create()
    world.create("Another one.")
    looks = len(world.requests("GET", "/sessions"))
    world.clock.advance(STRAYS_FOR + 1)
    world.create("A third one.")
    assert len(world.requests("GET", "/sessions")) == looks


def test_the_first_one_is_adopted_when_the_second_is_lost():
    faults = [on_create("commit_delay", seconds=GRACE + 150), on_create("reset")]
    world = World(*faults, policy="retry")
    output = world.create()
    assert world.created == 1
    assert output["sessionId"] == world.simulator.truth()[0]["session_id"]
    assert world.states == ["done", "missing"]


# -- where no tag can go out --------------------------------------------------------------------


@pytest.mark.parametrize("status", [422, 400, 403])
def test_a_tag_that_is_refused_is_left_out(status):
    world = World(allowed_tags=("mine",), disallowed_tag_status=status)
    output = world.create(tags=["mine"])
    assert output["tags"] == ["mine"]
    assert (world.created, world.states) == (1, ["rejected", "done"])


def test_a_tag_of_the_callers_that_is_refused_is_the_callers_error():
    world = World(allowed_tags=("mine",))
    with pytest.raises(BadRequest, match="yours") as caught:
        world.create(tags=["yours"])
    assert "sim-" not in str(caught.value)
    assert (world.created, world.states) == (0, ["rejected", "rejected"])


def test_a_missing_permission_is_not_taken_for_a_refused_tag():
    world = World(keys={KEY: Key(ORG, role="viewer")})
    with pytest.raises(PermissionDenied):
        world.create()
    assert len(world.requests("POST", "/sessions")) == 1


@pytest.mark.parametrize("policy", ["hold", "retry"])
@pytest.mark.parametrize("why", ["refused", "full"])
def test_an_unknown_end_without_a_tag_stays_uncertain(why, policy):
    if why == "refused":
        tags = ["mine"]
        world = World(
            on_create("reset", commit=True, after=3), policy=policy, allowed_tags=("mine",)
        )
    else:
        tags = [f"tag-{number}" for number in range(50)]
        world = World(on_create("reset", commit=True, after=2), policy=policy)
    for prompt in ("Something else.", "And another thing.")[: 1 if why == "refused" else 2]:
        world.create(prompt, tags=tags)
    before = world.created
    with pytest.raises(UncertainResult, match="no tag to look for") as caught:
        world.create("Fix the bug.", tags=tags)
    assert world.created == before + 1
    hint = caught.value.hint
    *others, mine = (item["session_id"] for item in world.simulator.truth())
    assert mine in hint
    assert not any(other in hint for other in others)
    assert "createdAfter" in hint
    assert world.states[-1] == "uncertain"


def test_fifty_tags_are_all_sent():
    tags = [f"tag-{number}" for number in range(50)]
    assert World().create(tags=tags)["tags"] == tags


# -- stopping -----------------------------------------------------------------------------------


def test_cancel_while_looking_leaves_the_intent_open():
    world = World(on_create("reset"))
    cancel = threading.Event()
    wait = world.clock.wait
    waits = []

    def stop(event, timeout):
        waits.append(timeout)
        if len(waits) == 3:
            cancel.set()
        return wait(event, timeout)

    world.clock.wait = stop
    with pytest.raises(Cancelled):
        world.app.call("devin_create_session", {"prompt": "x"}, reconcile=True, cancel=cancel)
    assert world.states == ["open"]


def test_a_deadline_ends_the_looking():
    world = World(on_create("reset"))
    started = world.clock.time()
    with pytest.raises(UncertainResult, match="unknown"):
        world.app.call("devin_create_session", {"prompt": "x"}, reconcile=True, deadline=30)
    assert world.clock.time() - started <= 30
    assert world.states == ["uncertain"]


def test_only_the_first_claim_may_send():
    ledger = MemoryLedger()
    claims = []
    start = threading.Barrier(8)

    def claim():
        start.wait()
        claims.append(ledger.claim(Intent("sim-1", "devin_create_session", 0.0)))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert claims.count(True) == 1


def test_who_may_not_send_looks_instead():
    class Taken(MemoryLedger):
        def claim(self, intent):
            super().claim(intent)
            return False

    world = World()
    world.app._ledger = Taken()
    with pytest.raises(UncertainResult):
        world.create()
    assert world.requests("POST", "/sessions") == []


# -- messages -----------------------------------------------------------------------------------

MESSAGE_STORED = {
    "reset after": on_send("reset", commit=True),
    "silence after": on_send("timeout", commit=True),
    "500 after": on_send("status", status=500, commit=True),
    "html 502 after": on_send("html", commit=True),
    "half an answer": on_send("truncate"),
    "no json": on_send("bad_json"),
    "another shape": on_send("wrong_shape"),
    "too slow": on_send("slow", seconds=61),
    "429 after": on_send("status", status=429, retry_after=5, commit=True, times=5),
    "503 after": on_send("status", status=503, retry_after=5, commit=True, times=5),
    "409 after": on_send("status", status=409, commit=True),
}
MESSAGE_LOST = {
    "reset before": on_send("reset"),
    "silence before": on_send("timeout"),
    "500 before": on_send("status", status=500),
}


def world_with_session(*faults, earlier=0, **options):
    world = World(**options)
    session_id = world.create()["sessionId"]
    for _ in range(earlier):
        world.send(session_id)
    world.simulator.faults.add(*faults)
    world.ledger.intents.clear()
    return world, session_id


@pytest.mark.parametrize("earlier", [0, 2], ids=["", "same text before"])
@pytest.mark.parametrize("policy", ["hold", "retry"])
@pytest.mark.parametrize("fault", MESSAGE_STORED.values(), ids=MESSAGE_STORED)
def test_a_message_that_arrived_is_not_sent_again(fault, policy, earlier):
    world, session_id = world_with_session(fault, policy=policy, earlier=earlier)
    output = world.send(session_id)
    assert output["sessionId"] == session_id
    assert world.messages() == earlier + 1
    assert world.states == ["done"]


@pytest.mark.parametrize("earlier", [0, 2], ids=["", "same text before"])
@pytest.mark.parametrize("policy", ["hold", "retry"])
@pytest.mark.parametrize("fault", MESSAGE_LOST.values(), ids=MESSAGE_LOST)
def test_a_message_that_did_not_arrive(fault, policy, earlier):
    world, session_id = world_with_session(fault, policy=policy, earlier=earlier)
    if policy == "hold":
        with pytest.raises(UncertainResult) as caught:
            world.send(session_id)
        assert "devin_list_session_messages" in caught.value.hint
        assert (world.messages(), world.states) == (earlier, ["missing"])
    else:
        assert world.send(session_id)["sessionId"] == session_id
        assert world.messages() == earlier + 1


def test_an_empty_success_is_accepted():
    world, session_id = world_with_session(on_send("empty"))
    assert world.send(session_id)["sessionId"] == session_id
    assert world.messages() == 1


def test_what_devin_says_is_not_taken_for_the_message():
    world, session_id = world_with_session(on_send("reset"))
    with pytest.raises(UncertainResult):
        world.send(session_id, "I'll take a look.")  # as Devin says five seconds in


def test_a_message_on_a_later_page_is_found():
    world, session_id = world_with_session()
    path = f"/v3/organizations/{ORG}/sessions/{session_id}/messages"
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    for number in range(230):
        body = json.dumps({"message": f"number {number}"}).encode()
        world.simulator.handle("POST", path, (), headers, body)
    world.simulator.faults.add(on_send("reset", commit=True))
    world.send(session_id)
    assert world.messages() == 1


KEPT_AS = {
    "trimmed": (str.strip, "  Go on.\n"),
    "other line ends": (lambda text: text.replace("\r\n", "\n"), "Go on.\r\n- and on"),
    "composed": (lambda text: unicodedata.normalize("NFC", text), "Go on, Andre\u0301."),
}


@pytest.mark.parametrize(("kept", "text"), KEPT_AS.values(), ids=KEPT_AS)
def test_a_message_is_found_however_the_service_keeps_its_text(kept, text):
    world, session_id = world_with_session(on_send("reset", commit=True), policy="retry")
    handle = world.simulator.handle

    def tidy(method, path, query, headers, body, **options):
        if method == "POST" and path.endswith("/messages"):
            body = json.dumps({"message": kept(json.loads(body)["message"])}).encode()
        return handle(method, path, query, headers, body, **options)

    world.simulator.handle = tidy
    world.send(session_id, text)
    assert (world.messages(kept(text)), world.states) == (1, ["done"])


def test_a_refused_message_is_an_error_and_nothing_more():
    world, session_id = world_with_session(ended_message_status=409)
    world.app.call("devin_terminate_session", {"sessionId": session_id})
    with pytest.raises(sim_devin.errors.Conflict):
        world.send(session_id)
    assert world.states == ["rejected"]


def test_nothing_is_sent_when_the_position_cannot_be_read():
    fault = Fault("status", status=500, method="GET", path=MESSAGES, times=None)
    world, session_id = world_with_session(fault)
    with pytest.raises(NothingSent, match="500"):
        world.send(session_id)
    assert (world.messages(), world.states) == (0, [])


def test_a_message_that_arrived_is_never_reported_as_a_plain_failure():
    gone = Fault("status", status=500, method="GET", path=r"/sessions/[^/]+$", times=None)
    world, session_id = world_with_session(on_send("reset", commit=True), gone)
    with pytest.raises(UnreadableResponse, match="reached") as caught:
        world.send(session_id)
    assert caught.value.accepted
    assert world.messages() == 1


READ_ERRORS = {"method": "GET", "path": r"/sessions/[^/]+$", "times": 12}
FOR_EVER = {"times": None}


def test_what_is_known_to_be_created_is_not_lost_to_errors_that_pass():
    class Known(MemoryLedger):
        def claim(self, intent):
            super().claim(intent)
            intent.state, intent.session_id = "done", session_id
            return False

    world, session_id = world_with_session(
        Fault("status", status=503, **READ_ERRORS),
        Fault("status", status=404, **READ_ERRORS | {"times": 4}),
    )
    world.app._ledger = Known()
    assert world.create()["sessionId"] == session_id
    assert world.created == 1


def test_what_is_known_to_be_created_and_cannot_be_read_is_never_a_plain_failure():
    class Known(MemoryLedger):
        def claim(self, intent):
            super().claim(intent)
            intent.state, intent.session_id = "done", session_id
            return False

    world, session_id = world_with_session(Fault("status", status=503, **READ_ERRORS | FOR_EVER))
    world.app._ledger = Known()
    with pytest.raises(UnreadableResponse, match="was created") as caught:
        world.create()
    assert caught.value.accepted


def test_a_message_that_arrived_is_not_lost_to_errors_that_pass():
    faults = on_send("reset", commit=True), Fault("reset", **READ_ERRORS)
    world, session_id = world_with_session(*faults)
    assert world.send(session_id)["sessionId"] == session_id
    assert world.messages() == 1


def test_what_may_be_repeated_is_looked_for_until_a_look_succeeds():
    class Breaks(MemoryLedger):
        def claim(self, intent):
            mine = super().claim(intent)
            if intent.sends == 2:  # the look before it is sent again
                world.simulator.faults.add(on_list("status", status=503, times=12))
            return mine

    world = World(on_create("status", status=429, retry_after=1))
    world.app._ledger = world.ledger = Breaks()
    world.create()
    assert (world.created, world.states) == (1, ["done"])


def test_an_answer_that_comes_late_to_a_create_without_a_tag_is_not_swallowed():
    ledger = MemoryLedger()
    answers = []

    def call(tool_id, params, *, late=None, **options):
        if tool_id == "devin_create_session":
            answers.append(late)
            raise AmbiguousResult("No answer came within 60 s.")
        return {"sessions": []}

    context = Context(call=call, clock=ManualClock(), ledger=ledger, settle=Settle())
    with pytest.raises(UncertainResult):
        create(session_kind(), {"prompt": "p", "tags": [f"t{n}" for n in range(50)]}, context)
    answers[0]({"sessionId": "late"})
    (intent,) = ledger.intents.values()
    assert (intent.state, intent.session_id) == ("done", "late")


# -- whatever happens ---------------------------------------------------------------------------

create_faults = st.one_of(
    st.builds(
        on_create,
        st.sampled_from(["reset", "timeout", "html", "status"]),
        commit=st.booleans(),
        status=st.sampled_from([500, 502, 503, 504]),
        retry_after_form=st.just("none"),
    ),
    st.builds(on_create, st.sampled_from(["truncate", "bad_json", "wrong_shape", "empty"])),
    st.builds(on_create, st.just("commit_delay"), seconds=st.floats(0, 900)),
    st.builds(on_create, st.just("slow"), seconds=st.floats(0, 120)),
    st.builds(on_create, st.just("status"), status=st.just(429), retry_after=st.floats(0, 60)),
)
list_faults = st.builds(
    on_list,
    st.sampled_from(["reset", "timeout", "html", "bad_json", "wrong_shape", "empty", "status"]),
    status=st.sampled_from([429, 500, 503]),
    times=st.integers(1, 12),
    after=st.integers(0, 4),
)


@settings(max_examples=examples(150), deadline=None)
@given(
    on_creates=st.lists(create_faults, max_size=3),
    on_lists=st.lists(list_faults, max_size=3),
    policy=st.sampled_from(["hold", "retry"]),
    lag=st.floats(0, 240),
)
def test_no_sequence_of_faults_makes_two(on_creates, on_lists, policy, lag):
    world = World(*on_creates, *on_lists, policy=policy, list_lag=lag)
    output = None
    with contextlib.suppress(UncertainResult):
        output = world.create()
    within = all(
        fault.kind != "commit_delay" or fault.seconds + lag < GRACE - 1 for fault in on_creates
    )
    if within or policy == "hold":
        assert world.created <= 1
    if output is not None:
        world.clock.advance(2_000)
        world.simulator.faults.clear()
        world.create("One more, so that late ones are looked for.")
        same = [item for item in world.live if "One more" not in item["messages"][0]["message"]]
        assert [item["session_id"] for item in same] == [output["sessionId"]]
    else:
        assert "uncertain" in world.states


message_faults = st.one_of(
    st.builds(
        on_send,
        st.sampled_from(["reset", "timeout", "html", "status"]),
        commit=st.booleans(),
        status=st.sampled_from([500, 502, 504]),
    ),
    st.builds(on_send, st.sampled_from(["truncate", "bad_json", "wrong_shape", "empty"])),
    st.builds(on_send, st.just("status"), status=st.just(429), retry_after=st.floats(0, 60)),
)
look_faults = st.builds(
    Fault,
    st.sampled_from(["reset", "html", "bad_json", "status"]),
    method=st.just("GET"),
    status=st.sampled_from([429, 500, 503]),
    times=st.integers(1, 12),
    after=st.integers(1, 5),
)


@settings(max_examples=examples(100), deadline=None)
@given(
    on_sends=st.lists(message_faults, max_size=3),
    on_looks=st.lists(look_faults, max_size=3),
    policy=st.sampled_from(["hold", "retry"]),
    earlier=st.integers(0, 2),
)
def test_no_sequence_of_faults_sends_a_message_twice(on_sends, on_looks, policy, earlier):
    world, session_id = world_with_session(*on_sends, *on_looks, policy=policy, earlier=earlier)
    ended = None
    try:
        world.send(session_id)
    except SimDevinError as error:
        ended = error
    added = world.messages() - earlier
    if isinstance(ended, UncertainResult):
        assert added <= 1
    elif ended is None or getattr(ended, "accepted", False):
        assert added == 1
    else:
        assert added == 0  # the position could not even be read


def test_a_look_that_began_within_the_window_is_not_the_last_word():
    """The commit falls into the time that a slow look near the end of the window takes."""

    def wrap(send):
        def slow(request, *, timeout):
            answer = send(request, timeout=timeout)
            if request.method == "GET":
                world.clock.advance(25)
            return answer

        return slow

    world = World(on_create("commit_delay", seconds=GRACE + 60 - 1), wrap=wrap, policy="retry")
    output = world.create()
    assert world.created == 1
    assert output["sessionId"] == world.simulator.truth()[0]["session_id"]


# -- the same text twice ------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["hold", "retry"])
@pytest.mark.parametrize("lost_first", [True, False])
def test_a_message_that_vanished_does_not_take_another_for_its_own(policy, lost_first):
    """Two branches send the same text to one session, and the post of one vanishes."""
    world, session_id = world_with_session(policy=policy)
    send, inner = world.transport.send, []

    def crossing(request, *, timeout):
        if request.method != "POST" or inner:
            return send(request, timeout=timeout)
        inner.append("now the other branch sends, while this one is under way")
        if lost_first:
            world.send(session_id)
            raise TransportError("It vanished.")
        with contextlib.suppress(UncertainResult):
            world.simulator.faults.add(on_send("reset"))
            world.send(session_id)
        return send(request, timeout=timeout)

    world.transport.send = crossing
    if policy == "hold" and lost_first:
        with pytest.raises(UncertainResult):
            world.send(session_id)
    else:
        world.send(session_id)
    arrived = world.messages()
    done = [intent.state for intent in world.ledger.intents.values()].count("done")
    assert arrived == done <= 2
    assert arrived == 1 or policy == "retry"


def test_two_threads_that_lose_one_message_do_not_both_report_success():
    world, session_id = world_with_session(on_send("reset"))
    ends = []

    def send():
        try:
            ends.append(world.send(session_id)["sessionId"])
        except UncertainResult:
            ends.append(None)

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(end is not None for end in ends) <= world.messages() == 1


def test_both_messages_that_lost_their_answers_are_found_when_both_are_there():
    world, session_id = world_with_session()
    send, posts = world.transport.send, []

    def crossing(request, *, timeout):
        if request.method != "POST":
            return send(request, timeout=timeout)
        posts.append(request)
        if len(posts) == 1:
            world.send(session_id)
        else:  # both are under way, and both are taken
            for post in posts:
                send(post, timeout=timeout)
        raise TransportError("It broke.")

    world.transport.send = crossing
    world.send(session_id)
    assert world.messages() == 2
    assert world.states == ["done", "done"]


def test_what_a_person_wrote_before_is_not_taken_for_a_message():
    world, session_id = world_with_session(on_send("reset"), earlier=1)
    by_hand = {"sessionId": session_id, "message": "Go on."}
    world.simulator.faults.clear()
    world.app.call("devin_send_message", by_hand)
    world.simulator.faults.add(on_send("reset"))
    with pytest.raises(UncertainResult):
        world.send(session_id)
    assert world.messages() == 2


def test_a_copy_that_a_person_writes_counts_for_one_lost_message_and_not_for_two():
    """One of ours is confirmed, two are lost, and a person writes the same."""
    world, session_id = world_with_session()
    send, inner = world.transport.send, []

    def crossing(request, *, timeout):
        if request.method != "POST" or inner:
            return send(request, timeout=timeout)
        inner.append(True)
        world.send(session_id)  # another branch
        world.ledger.claim(
            Intent("other", "devin_send_message", 0.0, session_id=session_id, text=text)
        )  # and a third one is under way
        world.app.call("devin_send_message", {"sessionId": session_id, "message": "Go on."})
        raise TransportError("It vanished.")

    text = hashlib.sha256(b"Go on.").hexdigest()
    world.transport.send = crossing
    world.send(session_id)
    assert world.messages() == 2
    assert sorted(world.states) == ["done", "done", "missing"]


@pytest.mark.parametrize("how", ["archive", "terminate"])
def test_a_message_to_a_session_that_is_over_is_refused_at_once(how):
    world, session_id = world_with_session()
    world.app.call(f"devin_{how}_session", {"sessionId": session_id})
    started = world.clock.time()
    with pytest.raises(Conflict):
        world.send(session_id)
    assert world.clock.time() - started < 10
    assert world.states == ["rejected"]


def test_a_process_that_stood_still_before_it_sent_sends_when_it_goes_on():
    world = World()
    claim, stood = world.ledger.claim, []

    def standing_still(intent):
        mine = claim(intent)
        if not stood:
            stood.append(True)
            confirm = world.ledger.confirm

            def late(intent, **options):
                world.ledger.confirm = confirm
                world.clock.advance(10 * GRACE)
                raise TimedOut("It was held up.", sent=False)

            world.ledger.confirm = late
        return mine

    world.ledger.claim = standing_still
    world.create()
    assert (world.created, world.states) == (1, ["done"])
