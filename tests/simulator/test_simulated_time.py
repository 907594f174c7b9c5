"""The state machine: what time and messages make of a session."""

import threading

import pytest

from sim_devin.simulator import SimClock, Simulator
from sim_devin.simulator.builtin_scenarios import BUILTINS

SCHEMA = {"properties": {"outcome": {"enum": ["pr_opened"]}}, "required": ["outcome"]}
SUSPENSIONS = (
    "usage_limit_exceeded", "total_session_limit_exceeded", "out_of_credits", "out_of_quota",
    "no_quota_allocation", "payment_declined", "org_usage_limit_exceeded",
    "user_usage_limit_exceeded", "contract_expired", "user_request", "error",
)  # fmt: skip


def course(client, clock, session_id, until, step=1):
    """Return the states a session goes through, each once in a row."""
    states = [client.state(session_id)]
    for _ in range(int(until / step)):
        clock.advance(step)
        if client.state(session_id) != states[-1]:
            states.append(client.state(session_id))
    return states


START = [("new", None), ("claimed", None), ("running", "working")]


def test_finish_goes_all_the_way_within_five_minutes(client, clock):
    session_id = client.create(structured_output_schema=SCHEMA, repos=["acme/web"])
    assert course(client, clock, session_id, 300) == [*START, ("running", "finished")]
    session = client.get(session_id)
    assert session["structured_output"] == {"outcome": "pr_opened"}
    assert session["pull_requests"] == [
        {"pr_url": "https://github.com/acme/web/pull/1", "pr_state": "open"}
    ]
    assert session["acus_consumed"] == 0.75
    assert session["title"] == "Fix the login"
    assert session["category"] == "bug_fixing"
    assert client.texts(session_id)[-1] == ("devin", "Done. The tests pass.")
    assert [a["name"] for a in client.ok("GET", f"/sessions/{session_id}/attachments")] == [
        "report.md"
    ]


def test_pull_request_and_output_come_before_the_end(client, clock):
    session_id = client.create(structured_output_schema=SCHEMA)
    clock.advance(215)
    session = client.get(session_id)
    assert session["status_detail"] == "working"
    assert session["structured_output"] == {"outcome": "pr_opened"}
    assert len(session["pull_requests"]) == 1


def test_one_big_step_is_the_same_as_many_small_ones(make, clock):
    one, many = make(), make()
    first, second = one.create("Do it"), many.create("Do it")
    for _ in range(2_500):
        clock.advance(1)
        many.get(second)
    assert one.get(first) == many.get(second)
    assert one.messages(first) == many.messages(second)


def test_asks_and_goes_on_with_the_answer(client, clock):
    session_id = client.create("[scenario: asks] Do it", structured_output_schema=SCHEMA)
    states = course(client, clock, session_id, 200)
    assert states == [*START, ("running", "waiting_for_user")]
    assert client.texts(session_id)[-1] == ("devin", "Which branch should I target?")
    client.say(session_id, "main, please")
    assert client.state(session_id) == ("running", "working")
    assert course(client, clock, session_id, 200)[-1] == ("running", "finished")
    assert ("devin", "Thanks, going on with: main, please") in client.texts(session_id)
    assert client.get(session_id)["structured_output"] == {"outcome": "pr_opened"}


def test_waits_when_done_has_everything_and_waits(client, clock):
    session_id = client.create("[scenario: waits-when-done]", structured_output_schema=SCHEMA)
    assert course(client, clock, session_id, 400)[-1] == ("running", "waiting_for_user")
    session = client.get(session_id)
    assert session["structured_output"] == {"outcome": "pr_opened"}
    assert session["pull_requests"]


def test_approval_takes_any_message(client, clock):
    session_id = client.create("[scenario: approval]")
    assert course(client, clock, session_id, 100)[-1] == ("running", "waiting_for_approval")
    client.say(session_id, "approve")
    assert course(client, clock, session_id, 200)[-1] == ("running", "finished")


def test_sleeps_and_wakes(client, clock):
    session_id = client.create("[scenario: sleeps]")
    assert course(client, clock, session_id, 100)[-1] == ("suspended", "inactivity")
    assert client.say(session_id).json()["status"] == "resuming"
    assert course(client, clock, session_id, 200) == [
        ("resuming", None),
        ("running", "working"),
        ("running", "finished"),
    ]


@pytest.mark.parametrize("detail", SUSPENSIONS)
def test_every_suspension(client, clock, detail):
    session_id = client.create(f"[scenario: {detail}]")
    assert course(client, clock, session_id, 5_000, step=20)[-1] == ("suspended", detail)


def test_the_suspensions_are_all_there():
    assert set(SUSPENSIONS) < set(BUILTINS)


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("fails", ("error", "error")),
        ("exits", ("exit", None)),
        ("new-detail", ("suspended", "contract_expired")),
        ("unknown-status", ("running", "finished")),
        ("never-ends", ("running", "working")),
    ],
)
def test_other_endings(client, clock, name, last):
    session_id = client.create(f"[scenario: {name}]")
    assert course(client, clock, session_id, 400)[-1] == last


def test_a_status_nobody_knows(client, clock):
    session_id = client.create("[scenario: unknown-status]")
    clock.advance(70)
    assert client.state(session_id) == ("hibernating", "moon_phase")


def test_never_ends_means_it(client, clock):
    session_id = client.create("[scenario: never-ends]")
    clock.advance(29 * 86_400)
    assert client.state(session_id) == ("running", "working")
    assert client.get(session_id)["acus_consumed"] == 96


@pytest.mark.parametrize("name", ["finish", "asks", "waits-when-done", "approval"])
def test_what_idles_falls_asleep_and_wakes_on_a_message(client, clock, name):
    session_id = client.create(f"[scenario: {name}]")
    clock.advance(230)
    assert client.state(session_id)[0] == "running"
    clock.advance(1_800)
    assert client.state(session_id) == ("suspended", "inactivity")
    assert client.say(session_id).json()["status"] == "resuming"
    clock.advance(5)
    assert client.state(session_id) == ("running", "working")
    clock.advance(140)
    assert client.state(session_id) == ("running", "finished")


def test_a_message_puts_idling_off(client, clock):
    session_id = client.create()
    clock.advance(300)
    client.say(session_id, "One more thing")
    clock.advance(1_790)
    assert client.state(session_id) == ("running", "finished")
    assert client.texts(session_id)[-1] == ("devin", "Done: One more thing")


def test_a_message_while_at_work_changes_nothing(client, clock):
    session_id = client.create()
    clock.advance(50)
    assert client.say(session_id).json()["status"] == "running"
    assert course(client, clock, session_id, 200) == [
        ("running", "working"),
        ("running", "finished"),
    ]


def test_a_message_to_a_new_session_leaves_it_new(client):
    session_id = client.create()
    assert client.say(session_id).json()["status"] == "new"


def test_two_messages_while_waking(client, clock):
    session_id = client.create("[scenario: sleeps]")
    clock.advance(60)
    client.say(session_id, "one")
    clock.advance(2)
    client.say(session_id, "two")
    clock.advance(3)
    assert client.state(session_id) == ("running", "working")
    clock.advance(130)
    assert client.state(session_id) == ("running", "finished")


def test_archive_stops_the_script_where_it_is(client, clock):
    session_id = client.create()
    clock.advance(100)
    client.ok("POST", f"/sessions/{session_id}/archive")
    clock.advance(10_000)
    assert client.state(session_id) == ("suspended", "user_request")
    assert client.get(session_id)["pull_requests"] == []
    client.ok("POST", f"/sessions/{session_id}/unarchive")
    client.say(session_id)
    clock.advance(5 + 49)
    assert client.get(session_id)["pull_requests"] == []
    clock.advance(1)
    assert client.get(session_id)["pull_requests"]
    clock.advance(70)
    assert client.state(session_id) == ("running", "finished")


def test_an_archived_question_can_still_be_answered_after_unarchiving(client, clock):
    session_id = client.create("[scenario: asks]")
    clock.advance(100)
    client.ok("POST", f"/sessions/{session_id}/archive")
    client.ok("POST", f"/sessions/{session_id}/unarchive")
    client.say(session_id, "main")
    clock.advance(11)
    assert client.texts(session_id)[-1] == ("devin", "Thanks, going on with: main")


def test_a_cap_suspends(client, clock):
    session_id = client.create("[scenario: never-ends]", max_acu_limit=2)
    clock.advance(3_600)
    assert client.state(session_id) == ("suspended", "usage_limit_exceeded")
    assert client.get(session_id)["acus_consumed"] == 2


def test_a_huge_cap_is_none(client, clock):
    session_id = client.create(max_acu_limit=10**400)
    clock.advance(300)
    assert client.state(session_id) == ("running", "finished")


def test_nothing_happens_to_what_is_not_looked_at_too_early(client, clock):
    """Changes carry the time they happened, not the time somebody looked."""
    session_id = client.create()
    clock.advance(10_000)
    assert client.get(session_id)["updated_at"] == 1_800_000_000 + 220 + 1_800


def test_times_never_go_back(client, clock):
    session_id = client.create()
    last = 0
    for _ in range(100):
        clock.advance(37)
        client.say(session_id)
        updated = client.get(session_id)["updated_at"]
        assert updated >= last
        last = updated


class TestClock:
    def test_speed(self):
        now = [0.0]
        clock = SimClock(1_000, speed=60, real=lambda: now[0])
        now[0] = 2.0
        assert clock.time() == clock.monotonic() == 1_120

    def test_advance(self):
        clock = SimClock(1_000, speed=0)
        clock.advance(5)
        assert clock.time() == 1_005
        with pytest.raises(ValueError, match="forward"):
            clock.advance(-1)

    def test_starts_now(self):
        assert SimClock(speed=0).time() > 1_700_000_000

    def test_a_negative_speed_is_refused(self):
        with pytest.raises(ValueError, match="speed"):
            SimClock(speed=-1)

    def test_waiting_moves_a_clock_that_stands(self):
        clock = SimClock(0, speed=0)
        event = threading.Event()
        assert clock.wait(event, 30) is False
        event.set()
        assert clock.wait(event, 30) is True
        assert clock.time() == 30

    def test_waiting_is_short_on_a_fast_clock(self):
        assert SimClock(speed=1e6).wait(threading.Event(), 1_000) is False

    def test_any_clock_will_do(self):
        class Noon:
            def time(self):
                return 43_200.0

        simulator = Simulator(clock=Noon())
        simulator.add_session("org-a", "x")
        assert simulator.truth()[0]["created_at"] == 43_200
