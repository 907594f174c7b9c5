"""When a session is done, blocked, asleep, out of money or failed, and waiting for that."""

import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sim_devin
from sim_devin.calls.jobs import turn, wait
from sim_devin.clock import ManualClock
from sim_devin.devin.verdict import bare, classify, session_kind
from sim_devin.errors import (
    AuthenticationFailed,
    Cancelled,
    Conflict,
    InvalidParams,
    PermissionDenied,
    UnknownName,
    WaitTimedOut,
)
from sim_devin.simulated import SimulatedTransport
from sim_devin.simulator import Fault, Key, Simulator, Switches

KEY = "cog_test_key_000000"
ORG = "org-1"

OUTPUT = {"structuredOutput": {"outcome": "pr_opened"}}
PULL = {"pullRequests": [{"pr_url": "https://github.com/acme/app/pull/1", "pr_state": "open"}]}
FITS = {"type": "object", "required": ["outcome"]}
FITS_NOT = {"type": "object", "required": ["something_else"]}


def session(status, detail=None, **more):
    return {"sessionId": "0" * 32, "status": status, "statusDetail": detail, **more}


# -- the table ----------------------------------------------------------------------------------

TABLE = [
    # in flight
    ("new", None, {}, "in_flight", None),
    ("claimed", None, {}, "in_flight", None),
    ("resuming", None, {}, "in_flight", None),
    ("running", None, {}, "in_flight", None),
    ("running", "working", {}, "in_flight", None),
    ("running", "working", OUTPUT | PULL, "in_flight", None),
    # done, or somebody has to act
    ("running", "finished", {}, "done", None),
    ("running", "finished", {"isArchived": True}, "done", None),
    ("running", "waiting_for_user", {}, "blocked_on_user", None),
    ("running", "waiting_for_user", PULL, "blocked_on_user", None),
    ("running", "waiting_for_user", OUTPUT, "done", None),
    ("running", "waiting_for_approval", {}, "blocked_on_approval", None),
    ("running", "waiting_for_approval", OUTPUT, "blocked_on_approval", None),
    ("running", "error", {}, "failed", None),
    # asleep
    ("suspended", None, {}, "asleep", None),
    ("suspended", "inactivity", {}, "asleep", None),
    ("suspended", "inactivity", OUTPUT, "done", None),
    ("suspended", "inactivity", PULL, "done", None),
    ("suspended", "finished", {}, "done", None),
    ("suspended", "user_request", {}, "asleep", None),
    ("suspended", "user_request", OUTPUT | PULL, "asleep", None),
    ("suspended", "user_request", {"isArchived": True}, "ended", None),
    ("suspended", "user_request", {"isArchived": True} | OUTPUT, "done", None),
    ("suspended", "inactivity", {"isArchived": True}, "ended", None),
    ("suspended", "inactivity", {"isArchived": True} | PULL, "done", None),
    ("suspended", "error", {}, "failed", None),
    ("suspended", "error", OUTPUT, "failed", None),
    # money
    ("suspended", "usage_limit_exceeded", {}, "out_of_money", "session"),
    ("suspended", "usage_limit_exceeded", PULL, "out_of_money", "session"),
    ("suspended", "total_session_limit_exceeded", {}, "out_of_money", "unknown"),
    ("suspended", "user_usage_limit_exceeded", {}, "out_of_money", "user"),
    ("suspended", "org_usage_limit_exceeded", {}, "out_of_money", "organization"),
    ("suspended", "out_of_credits", {}, "out_of_money", "organization"),
    ("suspended", "out_of_quota", {}, "out_of_money", "organization"),
    ("suspended", "no_quota_allocation", {}, "out_of_money", "organization"),
    ("suspended", "payment_declined", {}, "out_of_money", "organization"),
    ("suspended", "contract_expired", {}, "out_of_money", "organization"),
    ("suspended", "out_of_credits", {"isArchived": True}, "out_of_money", "organization"),
    # over
    ("exit", None, {}, "ended", None),
    ("exit", None, OUTPUT, "done", None),
    ("exit", None, PULL, "done", None),
    ("exit", "finished", {}, "done", None),
    ("exit", "error", {}, "failed", None),
    ("exit", "error", PULL, "failed", None),
    ("exit", "user_request", {"isArchived": True}, "ended", None),
    ("error", None, {}, "failed", None),
    ("error", "error", OUTPUT, "failed", None),
    # unknown values
    ("hibernating", None, {}, "in_flight", None),
    ("hibernating", "finished", OUTPUT, "in_flight", None),
    ("running", "moon_phase", {}, "in_flight", None),
    ("suspended", "moon_phase", {}, "asleep", None),
    ("suspended", "moon_phase", OUTPUT, "done", None),
    ("exit", "moon_phase", {}, "ended", None),
    (None, None, {}, "in_flight", None),
]


@pytest.mark.parametrize(("status", "detail", "more", "state", "scope"), TABLE)
def test_the_table(status, detail, more, state, scope):
    verdict = classify(session(status, detail, **more))
    assert (verdict.state, verdict.scope) == (state, scope)
    assert verdict.settled == (state != "in_flight")
    assert verdict.reason


STATUSES = ["new", "claimed", "running", "exit", "error", "suspended", "resuming"]
DETAILS = [
    *("working", "waiting_for_user", "waiting_for_approval", "finished", "inactivity"),
    *("user_request", "usage_limit_exceeded", "out_of_credits", "out_of_quota"),
    *("no_quota_allocation", "payment_declined", "org_usage_limit_exceeded"),
    *("user_usage_limit_exceeded", "total_session_limit_exceeded", "error", "contract_expired"),
]


def test_the_table_has_every_documented_value():
    assert {row[0] for row in TABLE} >= set(STATUSES)
    assert {row[1] for row in TABLE} >= set(DETAILS)


@pytest.mark.parametrize(
    ("status", "detail", "state_without"),
    [
        ("running", "waiting_for_user", "blocked_on_user"),
        ("suspended", "inactivity", "asleep"),
        ("exit", None, "ended"),
    ],
)
def test_only_an_output_that_fits_the_schema_is_a_result(status, detail, state_without):
    found = session(status, detail, **OUTPUT)
    assert classify(found, schema=FITS).state == "done"
    assert classify(found, schema=FITS_NOT).state == state_without


values = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5))


@given(
    st.dictionaries(
        st.sampled_from(
            ["status", "statusDetail", "isArchived", "structuredOutput", "pullRequests"]
        ),
        st.one_of(values, st.sampled_from(STATUSES + DETAILS), st.lists(values, max_size=2)),
    )
)
def test_anything_has_a_verdict(found):
    verdict = classify(found)
    assert verdict.state in wait.JobState.__args__
    assert (verdict.scope is not None) == (verdict.state == "out_of_money")


# -- waiting over the simulator -----------------------------------------------------------------


class World:
    """An app over a simulator in this process, both in one time that only waits move."""

    def __init__(self, *faults, keys=None, **switches):
        self.clock = ManualClock()
        self.simulator = Simulator(
            clock=self.clock, switches=Switches(**switches), faults=faults, keys=keys, seed=3
        )
        transport = SimulatedTransport(self.clock, self.simulator)
        self.app = sim_devin.open_app(
            transport=transport,
            clock=self.clock,
            env={},
            discover=False,
            credentials={"apiKey": KEY, "orgId": ORG},
        )

    def session(self, scenario="finish", **fields):
        return self.simulator.add_session(ORG, f"Play {scenario}.", scenario=scenario, **fields)

    def wait(self, *ids, **options):
        options.setdefault("deadline", 3600)
        return self.app.wait(ids, **options)

    @property
    def lists(self):
        return [entry for entry in self.simulator.log if entry.path.endswith("/sessions")]

    @property
    def gets(self):
        return [entry for entry in self.simulator.log if not entry.path.endswith("/sessions")]


SCENARIOS = {
    "finish": ("done", None),
    "asks": ("blocked_on_user", None),
    "waits-when-done": ("done", None),
    "approval": ("blocked_on_approval", None),
    "sleeps": ("asleep", None),
    "usage_limit_exceeded": ("out_of_money", "session"),
    "total_session_limit_exceeded": ("out_of_money", "unknown"),
    "user_usage_limit_exceeded": ("out_of_money", "user"),
    "org_usage_limit_exceeded": ("out_of_money", "organization"),
    "out_of_credits": ("out_of_money", "organization"),
    "out_of_quota": ("out_of_money", "organization"),
    "no_quota_allocation": ("out_of_money", "organization"),
    "payment_declined": ("out_of_money", "organization"),
    "contract_expired": ("out_of_money", "organization"),
    "new-detail": ("out_of_money", "organization"),
    "user_request": ("asleep", None),
    "error": ("failed", None),
    "fails": ("failed", None),
    "exits": ("done", None),
    "unknown-status": ("done", None),
    "never-ends": ("in_flight", None),
}


def test_every_built_in_scenario_has_its_outcome_here():
    assert set(SCENARIOS) == set(Simulator().scenarios)


@pytest.mark.parametrize("together", [False, True], ids=["alone", "in a list"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_how_a_scenario_ends(scenario, together):
    world = World()
    schema = {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}
    ids = [world.session(scenario, structured_output_schema=schema)]
    if together:
        ids.append(world.session("fails"))
    outcome = world.wait(*ids, schema=schema)[0]
    assert (outcome.state, outcome.scope) == SCENARIOS[scenario]
    assert outcome.timed_out == (scenario == "never-ends")
    assert outcome.session["sessionId"] == outcome.session_id == ids[0]
    assert outcome.waited <= 3600
    if outcome.state == "done" and scenario != "unknown-status":
        assert "ok" in outcome.session["structuredOutput"]
        assert outcome.session["pullRequests"]


@pytest.mark.parametrize("flavour", ["finished", "waiting_for_user", "exit"])
def test_every_flavour_of_completion_is_done(flavour):
    world = World(completion=flavour)
    (outcome,) = world.wait(world.session(structured_output_schema={"type": "object"}))
    assert outcome.state == "done"


@pytest.mark.parametrize(
    ("schema", "state"), [(None, "done"), (FITS, "done"), (FITS_NOT, "blocked_on_user")]
)
def test_a_structured_output_has_to_fit(schema, state):
    world = World()
    ids = [
        world.session("waits-when-done", structured_output_schema=FITS),
        world.session("waits-when-done", structured_output_schema=FITS),
    ]
    assert {outcome.state for outcome in world.wait(*ids, schema=schema)} == {state}


@pytest.mark.parametrize("schema", [{"type": 5}, {"properties": 1}, {"$ref": "https://x.invalid/"}])
def test_a_schema_that_cannot_be_used(schema):
    world = World()
    ids = [world.session("waits-when-done", structured_output_schema={"type": "object"})]
    with pytest.raises(InvalidParams, match="schema"):
        world.wait(*ids, schema=schema)


# -- how often it asks --------------------------------------------------------------------------


def test_a_thousand_sessions_take_seven_lists_a_look():
    world = World()
    ids = [world.session("never-ends") for _ in range(1000)]
    looks = []

    def note(progress):
        looks.append(world.clock.time())

    outcomes = world.wait(*ids, deadline=120, on_progress=note)
    assert {outcome.state for outcome in outcomes} == {"in_flight"}
    assert len(world.lists) == 7 * len(set(looks[: -len(ids)]) | {looks[-1]})
    assert world.gets == []
    sizes = [len([1 for name, _ in entry.query if name == "session_ids"]) for entry in world.lists]
    assert sizes[:7] == [150] * 6 + [100]
    longest = max(
        len("&".join(f"{name}={value}" for name, value in entry.query)) for entry in world.lists
    )
    assert longest < 8000


def test_the_sessions_of_a_list_are_asked_for_in_full_once_they_settle():
    world = World()
    ids = [world.session("finish", structured_output_schema={"type": "object"}) for _ in range(40)]
    outcomes = world.wait(*ids)
    assert all("structuredOutput" in outcome.session for outcome in outcomes)
    assert len(world.gets) == 40


def test_looks_become_rarer_and_no_rarer_than_a_minute():
    world = World()
    (outcome,) = world.wait(world.session("never-ends"), deadline=890)
    times = [entry.time for entry in world.simulator.log]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses[0] == wait.FIRST_PAUSE
    assert max(pauses) == wait.LONGEST_PAUSE
    assert outcome.timed_out
    assert len(times) < 40


def test_nobody_to_wait_for():
    world = World()
    assert world.wait() == []
    assert not world.simulator.log


# -- ids ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", ["bare", "prefixed"])
def test_ids_with_and_without_the_prefix(shown):
    world = World(session_id=shown)
    one, two = world.session("fails"), world.session("exits")
    given_ids = [f"devin-{one}", two, one, f"devin-{two}", one]
    outcomes = world.wait(*given_ids)
    assert [bare(outcome.session_id) for outcome in outcomes] == [one, two, one, two, one]
    assert [outcome.state for outcome in outcomes][:2] == ["failed", "done"]
    first = world.lists[0]
    assert len([1 for name, _ in first.query if name == "session_ids"]) == 2


def test_a_session_that_is_not_known_yet():
    world = World(get_lag=60, list_lag=60)
    outcomes = world.wait(world.session("finish"), world.session("fails"))
    assert [outcome.state for outcome in outcomes] == ["done", "failed"]


def test_a_session_that_is_never_known():
    world = World()
    seen = []
    outcomes = world.wait("f" * 32, world.session("never-ends"), on_progress=seen.append)
    missing, other = outcomes
    assert (missing.state, missing.session) == ("failed", {})
    assert "does not know" in missing.reason
    assert wait.MISSING_FOR <= missing.waited < wait.MISSING_FOR + wait.LONGEST_PAUSE
    assert other.state == "in_flight"
    assert [one.next_look for one in seen if one.session_id == "f" * 32][-1] == 0
    assert {entry.method for entry in world.simulator.log} == {"GET"}


def test_a_list_that_leaves_sessions_out():
    world = World(list_lag=5_000)
    outcomes = world.wait(world.session("finish"), world.session("fails"))
    assert [outcome.state for outcome in outcomes] == ["done", "failed"]


def test_a_list_with_the_pages_least_fields():
    world = World(page_fields="minimal", optional_fields="absent")
    outcomes = world.wait(world.session("finish"), world.session("fails"))
    assert [outcome.state for outcome in outcomes] == ["done", "failed"]


# -- trouble ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["status", "html", "reset", "bad_json", "wrong_shape", "empty"])
@pytest.mark.parametrize("together", [False, True], ids=["alone", "in a list"])
def test_failing_looks_are_tried_again(kind, together):
    world = World(Fault(kind, times=30))
    ids = [world.session("finish") for _ in range(1 + together)]
    assert {outcome.state for outcome in world.wait(*ids)} == {"done"}


def test_one_sessions_trouble_is_not_the_others():
    world = World()
    broken, *others = [world.session("exits") for _ in range(4)]
    world.simulator.faults.add(Fault("status", status=500, method="GET", path=broken, times=None))
    outcomes = world.wait(broken, *others, deadline=1000)
    assert [outcome.timed_out for outcome in outcomes] == [True, False, False, False]


def test_a_rate_limit_is_waited_out():
    limit = Fault("status", status=429, retry_after=170, times=6)
    world = World(limit)
    ids = [world.session("finish") for _ in range(160)]
    outcomes = world.wait(*ids)
    assert {outcome.state for outcome in outcomes} == {"done"}
    times = [entry.time for entry in world.simulator.log][:7]
    assert all(later - earlier >= 170 for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"cog_another_key": Key(ORG)}, AuthenticationFailed),
        ({KEY: Key(ORG, permissions=frozenset())}, PermissionDenied),
        ({KEY: Key("org-2")}, PermissionDenied),
    ],
)
def test_what_waiting_cannot_mend_is_raised_at_once(keys, error):
    world = World(keys=keys)
    started = world.clock.time()
    with pytest.raises(error):
        world.wait(world.session(), world.session())
    assert world.clock.time() == started


# -- stopping -----------------------------------------------------------------------------------


def test_a_deadline_gives_what_is_known():
    world = World()
    running, over = world.wait(world.session("never-ends"), world.session("fails"), deadline=300)
    assert (running.state, running.timed_out, running.waited) == ("in_flight", True, 300)
    assert running.session["status"] == "running"
    assert (over.state, over.timed_out) == ("failed", False)


def test_a_deadline_of_nothing_looks_once():
    world = World()
    world.clock.advance(10)
    (outcome,) = world.wait(world.session("fails"), deadline=0)
    assert outcome.timed_out
    assert len(world.simulator.log) == 1


def test_the_moment_of_the_deadline_still_counts():
    world = World()
    ids = [world.session("fails")]
    (outcome,) = world.wait(*ids, deadline=61.0)
    assert (outcome.state, outcome.timed_out) == ("failed", False)


def test_a_storm_does_not_outlast_the_deadline():
    world = World(Fault("status", status=503, retry_after=100, times=None))
    started = world.clock.time()
    with pytest.raises(WaitTimedOut, match="HTTP 503") as caught:
        world.wait(world.session(), deadline=60)
    assert world.clock.time() - started <= 60 + wait.LAST_LOOK
    assert "wait again" in caught.value.hint


def test_a_session_nothing_was_heard_of_is_told_from_the_others():
    world = World()
    unheard, over = world.wait("f" * 32, world.session("fails"), deadline=100)
    assert (unheard.state, unheard.timed_out, unheard.session) == ("in_flight", True, {})
    assert "could not be read" in unheard.reason
    assert over.state == "failed"


def test_cancel():
    world = World()
    cancel = threading.Event()
    looks = []

    def stop(progress):
        looks.append(progress)
        if len(looks) == 3:
            cancel.set()

    with pytest.raises(Cancelled, match="continue"):
        world.wait(world.session("never-ends"), cancel=cancel, on_progress=stop)
    assert len(looks) == 3


def test_progress_tells_every_look():
    world = World()
    ids = [world.session("asks"), world.session("fails")]
    seen = []
    world.wait(*ids, on_progress=seen.append)
    for session_id in ids:
        own = [progress for progress in seen if progress.session_id == session_id]
        assert [progress.next_look > 0 for progress in own] == [True] * (len(own) - 1) + [False]
        assert [progress.waited for progress in own] == sorted(progress.waited for progress in own)
        assert own[-1].verdict.settled
        assert own[-1].to_json()["outcome"] == own[-1].verdict.state


# -- until --------------------------------------------------------------------------------------


def test_until_over_waits_for_somebody_elses_answer():
    world = World()
    session_id = world.session("asks")

    def answer(progress):
        if progress.verdict.state == "blocked_on_user":
            world.app.call("devin_send_message", {"sessionId": session_id, "message": "main"})

    (outcome,) = world.wait(session_id, until="over", on_progress=answer)
    assert outcome.state == "done"


def test_until_may_be_a_function():
    world = World()
    (outcome,) = world.wait(
        world.session("never-ends"), until=lambda verdict: "running" in verdict.reason
    )
    assert outcome.session["status"] == "running"
    assert not outcome.timed_out


def test_until_of_an_unknown_name():
    with pytest.raises(UnknownName, match="setled") as caught:
        World().wait("x", until="setled")
    assert "settled" in str(caught.value)


# -- the tool -----------------------------------------------------------------------------------


def call_tool(world, session_id, **params):
    return world.app.call("devin_wait_for_session", {"sessionId": session_id, **params})


def test_the_tool_returns_the_session_with_its_outcome():
    world = World()
    schema = {"type": "object"}
    output = call_tool(
        world, world.session(structured_output_schema=schema), structuredOutputSchema=schema
    )
    assert set(output) == set(
        world.app.registry.tool("devin_wait_for_session").output["properties"]
    )
    assert (output["outcome"], output["status"], output["timedOut"]) == ("done", "running", False)
    assert output["structuredOutput"] == {}
    assert output["pullRequests"]
    assert output["waitedSeconds"] > 200


def test_the_tool_gives_up_after_an_hour():
    world = World()
    output = call_tool(world, world.session("never-ends"))
    assert (output["outcome"], output["timedOut"], output["waitedSeconds"]) == (
        "in_flight",
        True,
        3600,
    )


def test_the_tool_stays_within_the_calls_deadline():
    world = World()
    output = world.app.call(
        "devin_wait_for_session",
        {"sessionId": world.session("never-ends"), "timeoutSeconds": "600"},
        deadline=50,
    )
    assert (output["timedOut"], output["waitedSeconds"]) == (True, 50)


def test_the_tool_asks_for_its_one_session():
    world = World()
    output = call_tool(world, "devin-" + world.session("fails"), timeoutSeconds=600)
    assert (output["outcome"], output["scope"]) == ("failed", None)
    assert not world.lists


@pytest.mark.parametrize(
    "params", [{"timeoutSeconds": 0}, {"timeoutSeconds": "soon"}, {"until": "never"}, {"nope": 1}]
)
def test_the_tool_checks_what_it_is_given(params):
    world = World()
    with pytest.raises(InvalidParams):
        call_tool(world, "x", **params)
    assert not world.simulator.log


# -- waits that follow a message --------------------------------------------------------------


def follow_up(world, session, text="More, please.", **options):
    world.app.call("devin_send_message", {"sessionId": session, "message": text})
    began = world.clock.time()
    (outcome,) = world.wait(session, **options)
    return outcome, began


@pytest.mark.parametrize("lag", [0, 4, 14, 29])
@pytest.mark.parametrize("scenario", ["finish", "waits-when-done", "sleeps", "asks"])
def test_a_wait_after_a_message_is_not_ended_by_the_turn_before_it(scenario, lag):
    world = World(status_lag=lag)
    session = world.session(scenario)
    world.wait(session)
    outcome, began = follow_up(world, session)
    assert outcome.state in ("done", "blocked_on_user")
    assert outcome.session["updatedAt"] >= began + 20  # the reply takes that long


def test_another_process_sees_by_the_messages_that_the_turn_is_not_over():
    world = World(status_lag=14)
    session = world.session("finish")
    world.wait(session)
    world.app.call("devin_send_message", {"sessionId": session, "message": "More, please."})
    began = world.clock.time()
    other = sim_devin.open_app(
        transport=SimulatedTransport(world.clock, world.simulator),
        clock=world.clock,
        env={},
        discover=False,
        credentials={"apiKey": KEY, "orgId": ORG},
    )
    (outcome,) = other.wait([session], deadline=600)
    assert outcome.session["updatedAt"] >= began + 20


def test_a_session_that_shows_nothing_new_is_believed_after_the_settling_time():
    world = World(status_lag=100_000, idle_seconds=200_000)
    session = world.session("finish")
    world.wait(session)
    world.simulator.faults.add(Fault("status", method="GET", path="/messages$", times=None))
    outcome, began = follow_up(world, session)
    assert outcome.state == "done"
    assert turn.SETTLING <= world.clock.time() - began <= 2 * turn.SETTLING


def test_a_deadline_before_that_says_that_nothing_new_was_seen():
    world = World(status_lag=100)
    session = world.session("finish")
    world.wait(session)
    outcome, _ = follow_up(world, session, deadline=9)
    assert (outcome.state, outcome.timed_out) == ("in_flight", True)
    assert "nothing newer" in outcome.reason


def test_a_message_that_was_refused_is_not_waited_past():
    world = World()
    session = world.session("fails")
    world.wait(session)
    before = world.clock.time()
    with pytest.raises(Conflict):
        world.app.call("devin_send_message", {"sessionId": session, "message": "More"})
    (outcome,) = world.wait(session)
    assert outcome.state == "failed"
    assert world.clock.time() == before


def test_a_workflow_in_memory_waits_past_its_message():
    world = World(status_lag=14)
    session = world.session("finish")
    world.wait(session)
    began = world.clock.time()
    world.app.call("devin_send_message", {"sessionId": session, "message": "More, please."})
    found = world.app.call("devin_wait_for_session", {"sessionId": session})
    assert found["updatedAt"] >= began + 20


MOMENTS = st.one_of(st.none(), st.integers(0, 4), st.floats(0, 4), st.integers(10**12, 10**12 + 4))


@given(
    st.lists(st.tuples(st.sampled_from(["user", "devin", None]), MOMENTS), max_size=5),
    MOMENTS,
    st.one_of(st.none(), st.floats(0, 4)),
    st.one_of(st.none(), st.integers(0, 5)),
)
def test_whatever_a_service_shows_is_believed_within_the_settling_time(
    said, updated, worked, position
):
    messages = [{"source": who, "createdAt": at, "message": "x"} for who, at in said]
    sent = None if position is None else turn.Sent(position=position)
    session = {"updatedAt": updated, "createdAt": 0}
    needed = turn.settling(session_kind(), session, messages, sent=sent, worked=worked, now=5)
    assert needed in (0.0, turn.EARLY, turn.SETTLING)
    if sent is None and not any(who == "user" for who, _ in said):
        assert needed == 0.0


def test_one_id_is_no_sequence_of_letters():
    world = World()
    session = world.session()
    (outcome,) = world.app.wait(session, deadline=3600)
    assert (outcome.session_id, outcome.state) == (session, "done")
