"""How many sessions of an organization the runs of a store may have at once, and a minute."""

import threading
from collections import Counter
from contextlib import suppress

import pytest

from sim_devin.calls.intents import Settle
from sim_devin.devin.verdict import classify
from sim_devin.policy.rules import Policy
from sim_devin.simulator.faults import Fault
from sim_devin.store.sqlite_file import IN_MEMORY
from tests.durable.conftest import ENV, take_for_dead
from tests.durable.flows import block, devin, flow, wait
from tests.durable.test_crashes import Killed, Life, MortalFile, MortalTransport
from tests.lanes import examples

CREATE = devin("create", "create_session", prompt="Fix it")


def start(app, *blocks, edges=None, **options):
    return app.runs.start(flow(*blocks, edges=edges), env=ENV, **options)


def asked(app, run_id):
    return [item for item in app.runs.show(run_id)["waits"] if item["kind"] == "turn"]


def queue(app, runs):
    """Return those of some runs that wait for their turn, in order."""
    ahead = {run: turn["ahead"] for run in runs for turn in asked(app, run)}
    return sorted(ahead, key=ahead.get)


def created(simulator):
    return [session["messages"][0]["message"] for session in simulator.truth()]


def under_way(simulator):
    """Return how many sessions work now, by the simulator's own knowledge."""
    seen = [
        {"status": item["status"], "statusDetail": item.get("status_detail")}
        for item in simulator.truth()
    ]
    return sum(classify(item).state == "in_flight" for item in seen)


class Counted:
    """A transport that counts, after each create, the sessions that work then."""

    def __init__(self, transport):
        self.transport, self.most = transport, 0

    def send(self, request, *, timeout):
        answer = self.transport.send(request, timeout=timeout)
        if request.method == "POST" and request.url.endswith("/sessions"):
            self.most = max(self.most, under_way(self.transport.simulator))
        return answer


@pytest.fixture
def limited(open_app):
    """Return a function that opens an app with limits, as a new process would."""

    def open_one(sessions=None, per_minute=None, **options):
        limits = {
            "SIM_DEVIN_MAX_SESSIONS": str(sessions or ""),
            "SIM_DEVIN_MAX_CREATES_PER_MINUTE": str(per_minute or ""),
        }
        return open_app(env={**ENV, **limits}, **options)

    return open_one


def test_a_run_over_the_limit_waits_for_its_turn_and_says_why(limited, simulator):
    first, second = limited(1), limited(1)
    one = start(first, CREATE, wait())
    first.runs.work(once=True)
    two = start(second, CREATE, wait())
    second.runs.work(once=True)
    assert (first.runs.show(one)["state"], second.runs.show(two)["state"]) == ("waiting",) * 2
    (turn,) = asked(second, two)
    assert turn["message"] == ("1 session of this organization is in progress; the limit is 1.")
    assert (turn["ahead"], turn["blockName"]) == (0, "create")
    listed = {run["runId"]: run["waitsFor"] for run in second.runs.list()}
    assert listed == {one: ["session"], two: ["turn"]}
    assert len(created(simulator)) == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("run ")]
    second.runs.follow(two)
    assert second.runs.show(two)["state"] == "done"
    assert len(created(simulator)) == 2


def test_those_that_wait_longest_come_first(limited, simulator):
    app = limited(1)
    runs = []
    for number in range(4):
        prompt = devin("create", "create_session", prompt=f"number {number}")
        runs.append(start(app, prompt, wait()))
        app.runs.work(once=True)
    assert [len(asked(app, run)) for run in runs] == [0, 1, 1, 1]
    assert [asked(app, run)[0]["ahead"] for run in runs[1:]] == [0, 1, 2]
    until_over(app, simulator)
    assert created(simulator) == [f"number {number}" for number in range(4)]


def until_over(app, simulator, *, step=5.0, times=2000, under_way=under_way):
    """Work until no run is left, and return how many sessions were under way at most."""
    most = 0
    for _ in range(times):
        app.runs.work(once=True)
        most = max(most, under_way(simulator))
        if not app.runs.store.count(("ready", "running", "waiting")):
            return most
        simulator.clock.advance(step)
    raise AssertionError(app.runs.list(limit=3))


def test_a_newcomer_does_not_overtake(limited, simulator):
    """A slot is free, its run has been called, and another one comes in between."""
    app = limited(1)
    start(app, CREATE, wait())
    app.runs.work(once=True)
    patient = start(app, devin("create", "create_session", prompt="patient"), wait())
    app.runs.work(once=True)
    simulator.clock.advance(600)
    app.runs.worker.look_after()
    assert app.runs.show(patient)["state"] == "ready"
    eager = start(app, devin("create", "create_session", prompt="eager"), wait())
    app.runs.worker.drive(app.runs.worker.claim(eager), None, None)
    (turn,) = asked(app, eager)
    assert turn["message"].endswith("the limit is 1; 1 ahead.")
    until_over(app, simulator)
    assert created(simulator) == ["Fix it", "patient", "eager"]


def test_a_cancelled_run_gives_up_its_place(limited, simulator):
    app = limited(1)
    runs = [start(app, CREATE, wait()) for _ in range(3)]
    app.runs.work(once=True)
    second, third = queue(app, runs)
    assert asked(app, third)[0]["ahead"] == 1
    app.runs.cancel(second)
    assert asked(app, third)[0]["ahead"] == 0
    until_over(app, simulator)
    assert app.runs.show(third)["state"] == "done"
    assert len(created(simulator)) == 2


def test_a_run_that_cannot_be_driven_here_does_not_keep_the_others(limited, simulator, store):
    app = limited(1)
    runs = [start(app, CREATE, wait()) for _ in range(3)]
    app.runs.work(once=True)
    second, third = queue(app, runs)
    with store.database.write() as connection:
        connection.execute("UPDATE runs SET state = 'held' WHERE id = ?", (second,))
    assert asked(app, third)[0]["ahead"] == 0
    for _ in range(4):
        simulator.clock.advance(300)
        app.runs.work(once=True)
    assert app.runs.show(third)["state"] == "done"
    app.runs.resume(second)
    until_over(app, simulator)
    assert app.runs.show(second)["state"] == "done"


def test_a_run_that_nobody_drives_is_passed_over_after_a_minute(limited, simulator):
    app = limited(1)
    runs = [start(app, CREATE, wait()) for _ in range(3)]
    app.runs.work(once=True)
    abandoned, followed = queue(app, runs)
    began = simulator.clock.time()
    app.runs.follow(followed)
    assert app.runs.show(followed)["state"] == "done"
    assert simulator.clock.time() - began > 60
    assert app.runs.show(abandoned)["state"] == "ready"
    until_over(app, simulator)
    assert app.runs.show(abandoned)["state"] == "done"


def test_a_deadline_counts_in_the_queue(limited, simulator):
    app = limited(1)
    start(app, devin("create", "create_session", prompt="[scenario: never-ends]"))
    app.runs.work(once=True)
    late = start(app, CREATE, deadline=60)
    app.runs.work(once=True)
    simulator.clock.advance(61)
    app.runs.work(once=True)
    assert app.runs.show(late)["state"] == "cancelled"


def test_a_session_that_nobody_waits_for_holds_its_slot_until_it_is_over(limited, simulator):
    app = limited(1)
    start(app, CREATE)
    app.runs.work(once=True)
    second = start(app, CREATE)
    simulator.clock.advance(130)
    app.runs.work(once=True)
    assert len(asked(app, second)) == 1
    before = simulator.counts["requests"]
    app.runs.follow(second)
    assert app.runs.show(second)["state"] == "done"
    assert simulator.counts["requests"] - before < 8  # it is looked at once a minute


def test_nobody_looks_any_more_when_nobody_waits_for_a_turn(limited, simulator):
    app = limited(2)
    endless = devin("create", "create_session", prompt="[scenario: never-ends]")
    start(app, endless)
    start(app, CREATE)
    app.runs.work(once=True)
    third = start(app, CREATE)
    app.runs.follow(third)
    assert app.runs.show(third)["state"] == "done"
    before = simulator.counts["requests"]
    simulator.clock.advance(3600)
    app.runs.work(once=True)
    assert simulator.counts["requests"] == before


def test_a_session_that_a_run_waits_for_is_not_looked_at_twice(limited, simulator):
    app = limited(1)
    start(app, devin("create", "create_session", prompt="[scenario: never-ends]"), wait())
    app.runs.work(once=True)
    for _ in range(20):
        simulator.clock.advance(30)
        app.runs.work(once=True)
    assert not [e for e in simulator.log if e.method == "GET" and e.path.endswith("/sessions")]


def test_what_waits_for_its_turn_reserves_nothing_meanwhile(limited, simulator):
    app = limited(1)
    first = devin("first", "create_session", prompt="1 [scenario: never-ends]", maxAcuLimit="1")
    other = devin("other", "create_session", prompt="2", maxAcuLimit="4")
    third = devin("third", "create_session", prompt="3", maxAcuLimit="4")
    edges = [("start", "first"), ("first", "other"), ("first", "nap"), ("nap", "third")]
    nap = block("nap", "wait", timeValue="1", timeUnit="seconds")
    run_id = start(app, first, other, nap, third, edges=edges, max_acu=5)
    app.runs.work(once=True)
    assert [turn["blockName"] for turn in asked(app, run_id)] == ["other", "third"]


def test_no_session_is_looked_at_where_nothing_depends_on_it(open_app, simulator):
    app = open_app()
    start(app, CREATE)
    app.runs.work(once=True)
    before = simulator.counts["requests"]
    simulator.clock.advance(3600)
    app.runs.work(once=True)
    assert simulator.counts["requests"] == before


@pytest.mark.parametrize(
    ("tool", "freed"),
    [("terminate_session", True), ("archive_session", True), ("get_session", False)],
)
def test_a_session_that_is_ended_by_a_run_frees_its_slot(limited, simulator, tool, freed):
    app = limited(1)
    endless = devin("create", "create_session", prompt="[scenario: never-ends]")
    start(app, endless, devin("end", tool, sessionId="<create.sessionId>"))
    app.runs.work(once=True)
    second = start(app, CREATE)
    app.runs.work(once=True)
    assert app.runs.show(second)["state"] == ("done" if freed else "waiting")


def test_a_session_that_asks_holds_no_slot_until_it_is_answered(limited, simulator):
    app = limited(1)
    asks = devin("create", "create_session", prompt="[scenario: asks]")
    first = start(app, asks, wait(), on_question="hold")
    app.runs.work(once=True)
    simulator.clock.advance(120)
    app.runs.work(once=True)
    assert app.runs.show(first)["state"] == "asking"
    second = start(app, devin("create", "create_session", prompt="[scenario: asks]"))
    app.runs.work(once=True)
    assert app.runs.show(second)["state"] == "done"
    app.runs.answer(first, "main")
    third = start(app, CREATE)
    app.runs.work(once=True)
    assert "2 sessions" in asked(app, third)[0]["message"]  # the answer set it going again


def test_the_service_does_not_know_a_session_any_more(limited, simulator, store):
    app = limited(1)
    run_id = start(app, CREATE)
    app.runs.work(once=True)
    with store.database.write() as connection:
        gone = "devin-" + "0" * 32
        connection.execute("UPDATE sessions SET session_id = ? WHERE run_id = ?", (gone, run_id))
    second = start(app, CREATE)
    simulator.clock.advance(60)
    app.runs.work(once=True)
    assert len(asked(app, second)) == 1
    simulator.clock.advance(60)
    app.runs.work(once=True)
    assert app.runs.show(second)["state"] == "done"


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429, "retry_after": 300}])
def test_a_look_that_fails_is_taken_again_later(limited, simulator, fault):
    app = limited(1, retries=0)
    start(app, CREATE)
    app.runs.work(once=True)
    second = start(app, CREATE)
    simulator.clock.advance(300)
    simulator.faults.add(Fault("status", method="GET", path="/sessions$", **fault))
    app.runs.work(once=True)
    assert len(asked(app, second)) == 1
    simulator.clock.advance(299 if "retry_after" in fault else 59)
    app.runs.work(once=True)
    assert len(asked(app, second)) == 1
    simulator.clock.advance(1)
    app.runs.work(once=True)
    assert app.runs.show(second)["state"] == "done"


def test_a_session_counts_for_a_day_at_most(limited, simulator):
    app = limited(1)
    start(app, devin("create", "create_session", prompt="[scenario: never-ends]"))
    app.runs.work(once=True)
    second = start(app, CREATE)
    simulator.clock.advance(24 * 3600 - 1)
    app.runs.work(once=True)
    assert app.runs.show(second)["state"] == "waiting"
    simulator.clock.advance(2)
    app.runs.work(once=True)
    assert app.runs.show(second)["state"] == "done"


def test_a_create_that_nobody_knows_of_frees_its_slot(limited, simulator):
    app = limited(1)
    simulator.faults.add(Fault("reset", method="POST", path="/sessions$", commit=False))
    first = start(app, CREATE)
    app.runs.work(once=True)
    assert app.runs.show(first)["state"] == "uncertain"
    second = start(app, CREATE)
    app.runs.work(once=True)
    assert app.runs.show(second)["state"] == "done"
    session = simulator.add_session("org-simulated", "by hand")
    app.runs.answer(first, {"sessionId": session})
    simulator.clock.advance(59)
    third = start(app, CREATE)
    app.runs.work(once=True)
    assert "2 sessions" in asked(app, third)[0]["message"]


def test_a_refused_create_holds_no_slot(limited, simulator):
    app = limited(1)
    simulator.faults.add(Fault("status", method="POST", path="/sessions$", status=403))
    first = start(app, CREATE)
    app.runs.work(once=True)
    assert app.runs.show(first)["state"] == "failed"
    second = start(app, CREATE)
    app.runs.work(once=True)
    assert app.runs.show(second)["state"] == "done"


def test_sessions_of_one_run_are_limited_too(limited, simulator):
    app = limited(2)
    creates = [devin(f"c{n}", "create_session", prompt=f"{n}") for n in range(6)]
    waits = [wait(f"w{n}", f"c{n}") for n in range(6)]
    edges = [("start", f"c{n}") for n in range(6)] + [(f"c{n}", f"w{n}") for n in range(6)]
    run_id = start(app, *creates, *waits, edges=edges)
    most = until_over(app, simulator)
    assert app.runs.show(run_id)["state"] == "done"
    assert most == 2
    assert sorted(created(simulator)) == [str(n) for n in range(6)]


def test_a_block_that_fails_in_the_queue_leaves_it(limited, simulator, store):
    """Its run goes on elsewhere, and nobody waits behind a block that is over."""
    app = limited(1)
    start(app, devin("create", "create_session", prompt="[scenario: never-ends]"))
    app.runs.work(once=True)
    edges = [("start", "create"), ("create", "nap", "error")]
    nap = block("nap", "wait", timeValue="4", timeUnit="minutes")
    run_id = start(app, CREATE, nap, edges=edges, max_acu=5)
    app.runs.work(once=True)
    assert len(asked(app, run_id)) == 1
    with store.database.write() as connection:
        connection.execute(
            "INSERT INTO spend VALUES (?, 'other#1/1', 'maxAcuLimit', '2026-01-01', 5, NULL)",
            (run_id,),
        )
        connection.execute("INSERT INTO steps VALUES (?, 'other#1/1', 'x', '{}')", (run_id,))
        connection.execute("UPDATE runs SET state = 'ready' WHERE id = ?", (run_id,))
    app.runs.work(once=True)
    assert app.runs.show(run_id)["waits"][0]["kind"] == "time"
    assert store.queues() == []


def test_who_follows_a_run_is_told_why_it_waits(limited, simulator):
    app, told = limited(1), []
    start(app, CREATE)
    app.runs.work(once=True)

    def hear(event):
        if event.kind == "block.waiting":
            told.append(event.data["reason"])

    app.runs.follow(start(app, CREATE), on_event=hear)
    reason = "1 session of this organization is in progress; the limit is 1."
    assert set(told) == {f"in the queue: {reason}"}


def test_a_call_that_was_approved_waits_for_its_turn_and_is_not_asked_for_again(limited, simulator):
    start(limited(1), CREATE)
    limited(1).runs.work(once=True)
    app = limited(1, policy=Policy(confirm=("costs-money",)))
    run_id = start(app, CREATE)
    app.runs.work(once=True)
    assert app.runs.show(run_id)["state"] == "asking"
    app.runs.answer(run_id, {"approved": True})
    app.runs.work(once=True)
    assert len(asked(app, run_id)) == 1
    until_over(app, simulator, step=30)
    assert app.runs.show(run_id)["state"] == "done"
    assert len(created(simulator)) == 2


# -- a minute's rate ------------------------------------------------------------------------------


def test_creates_are_spread_over_the_minutes(limited, simulator):
    app = limited(per_minute=3)
    for number in range(8):
        start(app, devin("create", "create_session", prompt=f"{number}"))
    app.runs.work(once=True)
    waiting = [run for run in app.runs.list() if run["state"] == "waiting"]
    assert len(waiting) == 5
    assert (
        "3 sessions of this organization were created within a minute"
        in (asked(app, waiting[0]["runId"])[0]["message"])
    )
    until_over(app, simulator, step=10)
    posts = [e.time for e in simulator.log if e.method == "POST"]
    assert len(posts) == 8
    assert all(later - earlier >= 60 for earlier, later in zip(posts, posts[3:], strict=False))


def test_a_run_that_is_followed_waits_for_the_minute(limited, simulator):
    app = limited(per_minute=1)
    one, two = start(app, CREATE), start(app, CREATE)
    app.runs.follow(one)
    began = simulator.clock.time()
    app.runs.follow(two)
    assert app.runs.show(two)["state"] == "done"
    assert 55 <= simulator.clock.time() - began <= 65


def test_a_create_that_is_tried_again_counts_once(limited, simulator):
    app = limited(1, 2, settle=Settle(grace=10, policy="retry"))
    simulator.faults.add(Fault("reset", method="POST", path="/sessions$", commit=False))
    first = start(app, CREATE, wait())
    app.runs.work(once=True)
    assert len([e for e in simulator.log if e.method == "POST"]) == 2
    assert app.runs.show(first)["state"] == "waiting"
    second = start(app, CREATE)
    app.runs.work(once=True)
    assert asked(app, second)[0]["message"].startswith("1 session ")


# -- over processes -------------------------------------------------------------------------------


@pytest.mark.thorough
def test_a_process_that_dies_anywhere_leaves_the_count_right(limited, store, transport, simulator):
    retry = Settle(grace=30.0, policy="retry")
    every = 1 if store.database.name == IN_MEMORY else 5
    for made, point in enumerate(range(0, 40, every), 1):
        app = limited(1, settle=retry)
        first = start(app, CREATE, wait())
        second = start(app, CREATE, wait())
        life = Life(point)
        mortal = limited(
            1,
            settle=retry,
            store=type(store)(MortalFile(store.database, life)),
            transport=MortalTransport(transport, life),
        )
        with suppress(Killed):
            mortal.runs.follow(first)
        take_for_dead(store)
        assert until_over(limited(1, settle=retry), simulator, step=20) <= 1, point
        assert [app.runs.show(run)["state"] for run in (first, second)] == ["done"] * 2
        assert len(created(simulator)) == 2 * made, point
        place = app.build_request("devin_list_sessions", {}).url.partition("?")[0]
        assert store.slots_used(place, simulator.clock.time()) == 0, point
        if not life.over:
            break
    assert point > 20


@pytest.mark.parametrize("store", ["file", "postgres"], indirect=True)
def test_two_workers_at_once_keep_the_limit(limited, simulator, store):
    runs = [start(limited(2), CREATE, wait()) for _ in range(12)]
    most, stop = Counter(), threading.Event()

    def work(app):
        while not stop.is_set():
            app.runs.work(once=True, concurrency=3)
            most["sessions"] = max(most["sessions"], under_way(simulator))
            if not app.runs.store.count(("ready", "running", "waiting")):
                return
            simulator.clock.advance(2)

    threads = [threading.Thread(target=work, args=(limited(2),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    stop.set()
    app = limited(2)
    assert {app.runs.show(run)["state"] for run in runs} == {"done"}
    assert most["sessions"] == 2
    assert len(created(simulator)) == 12


@pytest.mark.parametrize("store", ["memory"], indirect=True)
@pytest.mark.thorough
def test_many_runs_all_end_with_three_sessions_at_a_time(limited, transport, simulator):
    runs = examples(60)
    counted = Counted(transport)
    app = limited(3, transport=counted)
    for number in range(runs):
        prompt = str(number)
        start(app, devin("create", "create_session", prompt=prompt), wait())
    until_over(app, simulator, step=30, under_way=lambda _: 0)
    assert app.runs.store.count(("done",)) == runs
    prompts = Counter(created(simulator))
    assert len(prompts) == runs
    assert set(prompts.values()) == {1}
    assert counted.most == 3


def test_the_limits_are_settings(limited):
    app = limited(3, 10)
    assert (app.settings.max_sessions, app.settings.max_creates_per_minute) == (3, 10)
