"""A process that dies at any point at all, and what its successor makes of it."""

import itertools
import threading
from collections import Counter
from contextlib import contextmanager, suppress

import pytest

from sim_devin.calls.intents import Settle
from sim_devin.calls.response import Response
from sim_devin.errors import CallerError, NotSent, StoreError
from sim_devin.policy.rules import COSTS_MONEY, Policy
from sim_devin.runs.carrier import BEATS
from sim_devin.simulator.faults import Fault
from sim_devin.store.sql_store import SqlStore
from sim_devin.store.sqlite_file import IN_MEMORY
from tests.durable.conftest import ENV, take_for_dead
from tests.durable.flows import block, devin, flow, loop, wait


class Killed(BaseException):
    """The process is no more."""


class Life:
    """Ends after a number of writes and sent requests, each counted before and after."""

    def __init__(self, left):
        self.left = left
        self.over = False

    def step(self):
        if not self.over and self.left == 0:
            self.over = True
        self.left -= 1
        if self.over:
            raise Killed


class MortalFile:
    def __init__(self, file, life):
        self._file, self._life = file, life
        self.name, self.time, self.locks = file.name, file.time, file.locks

    def read(self, *query):
        if self._life.over:
            raise Killed
        return self._file.read(*query)

    @contextmanager
    def write(self):
        if self._file.inside:
            with self._file.write() as connection:
                yield connection
            return
        if threading.current_thread().name == BEATS:
            raise StoreError("no signs of life here")  # they would come at any moment
        self._life.step()
        with self._file.write() as connection:
            yield connection
        self._life.step()


class MortalTransport:
    def __init__(self, transport, life):
        self._transport, self._life = transport, life

    def send(self, request, *, timeout):
        self._life.step()
        answer = self._transport.send(request, timeout=timeout)
        self._life.step()
        return answer


CREATE = devin("create", "create_session", prompt="Fix it")
SEND = devin("send", "send_message", sessionId="<create.sessionId>", message="go on")
DOCUMENT = flow(
    CREATE,
    wait(timeoutSeconds="12"),
    SEND,
    devin("tag", "append_session_tags", sessionId="<create.sessionId>", tags="seen"),
)


@pytest.fixture
def die_at(store, open_app, transport):
    """Return a function that drives a run in a process that dies at a point of its life."""

    def die(point, run_id, **options):
        life = Life(point)
        mortal = SqlStore(MortalFile(store.database, life))
        app = open_app(store=mortal, transport=MortalTransport(transport, life), **options)
        with suppress(Killed):
            app.runs.follow(run_id)
        take_for_dead(store)
        return life.over

    return die


def counted(simulator):
    prompts = Counter(session["messages"][0]["message"] for session in simulator.truth())
    sent = Counter(
        message["message"]
        for session in simulator.truth()
        for message in session["messages"][1:]
        if message["source"] == "user"
    )
    return prompts, sent


pytestmark = pytest.mark.thorough

RETRY = Settle(grace=30.0, policy="retry")


@pytest.mark.parametrize("faults", [False, True])
def test_whenever_it_dies_each_thing_happens_once(open_app, store, simulator, die_at, faults):
    if faults:
        simulator.switches = simulator.switches.changed({"list_lag": 10})
        simulator.faults.add(
            Fault(
                "reset",
                method="POST",
                path="/sessions$",
                times=None,
                after=1,
                commit=True,
                probability=0.5,
            ),
        )
    points = 0
    every = 1 if store.database.name == IN_MEMORY and not faults else 5
    for point in itertools.count(0, every):
        simulator_before = len(simulator.truth())
        app = open_app(settle=RETRY)
        run_id = app.runs.start(DOCUMENT, env=ENV)
        died = die_at(point, run_id, settle=RETRY)
        open_app(settle=RETRY).runs.follow(run_id)
        assert app.runs.show(run_id)["state"] == "done", (point, app.runs.show(run_id))
        assert len(simulator.truth()) == simulator_before + 1, point
        newest = simulator.truth()[-1]
        sent = [m["message"] for m in newest["messages"][1:] if m["source"] == "user"]
        assert sent == ["go on"], point
        points = point
        if not died:
            break
    assert points > 20


def test_a_policy_to_hold_never_sends_what_may_have_been_sent(open_app, simulator, die_at):
    ended = Counter()
    for point in itertools.count():
        before = len(simulator.truth())
        app = open_app()
        run_id = app.runs.start(flow(CREATE), env=ENV)
        died = die_at(point, run_id)
        open_app().runs.follow(run_id)
        state = app.runs.show(run_id)["state"]
        made = len(simulator.truth()) - before
        ended[state] += 1
        assert (state, made) in {("done", 1), ("uncertain", 0)}, point
        if not died:
            break
    assert ended["done"] > ended["uncertain"] >= 1


def uncertain(open_app, simulator):
    """Return a run whose create is lost on the way, and nobody knows."""
    app = open_app()
    run_id = app.runs.start(flow(CREATE), env=ENV)
    simulator.faults.add(Fault("reset", method="POST", path="/sessions$", commit=False))
    app.runs.follow(run_id)
    run = app.runs.show(run_id)
    assert run["state"] == "uncertain"
    assert "repeat" in run["waits"][0]["resolve"]
    return app, run_id


def test_what_is_uncertain_is_done_again_if_a_person_says_so(open_app, simulator):
    app, run_id = uncertain(open_app, simulator)
    app.runs.answer(run_id, {"repeat": True})
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "done"
    assert len(simulator.truth()) == 1


def test_what_is_uncertain_may_be_a_session_that_a_person_found(open_app, simulator):
    app, run_id = uncertain(open_app, simulator)
    session_id = simulator.add_session("org-simulated", "by hand")
    app.runs.answer(run_id, {"sessionId": session_id})
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["blocks"][0]["output"]["sessionId"] == session_id
    assert len(simulator.truth()) == 1


def test_what_is_uncertain_may_be_given_up(open_app, simulator):
    app, run_id = uncertain(open_app, simulator)
    with pytest.raises(CallerError, match="say whether it happened"):
        app.runs.answer(run_id, "perhaps")
    app.runs.answer(run_id, {"fail": True})
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "failed"
    assert simulator.truth() == []


def test_resuming_what_is_uncertain_looks_once_more_and_never_repeats(open_app, simulator):
    app, run_id = uncertain(open_app, simulator)
    app.runs.resume(run_id)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "uncertain"
    assert simulator.truth() == []


def test_a_create_that_became_real_too_late_is_found_by_a_resume(open_app, simulator):
    app = open_app()
    run_id = app.runs.start(flow(CREATE), env=ENV)
    simulator.faults.add(Fault("commit_delay", method="POST", path="/sessions$", seconds=600))
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "uncertain"
    simulator.clock.advance(600)
    app.runs.resume(run_id)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "done"
    assert len([item for item in simulator.truth() if item["committed"]]) == 1


def test_a_refused_tag_leaves_a_crash_uncertain_and_never_creates_twice(
    open_app, simulator, die_at
):
    simulator.switches = simulator.switches.changed({"allowed_tags": ("other",)})
    for point in itertools.count():
        before = len(simulator.truth())
        app = open_app(settle=RETRY)
        run_id = app.runs.start(flow(CREATE), env=ENV)
        died = die_at(point, run_id, settle=RETRY)
        open_app(settle=RETRY).runs.follow(run_id)
        assert app.runs.show(run_id)["state"] in ("done", "uncertain"), point
        assert len(simulator.truth()) - before <= 1, point
        if not died:
            break


def test_every_pass_of_a_loop_survives(open_app, simulator, die_at):
    inside = devin("create", "create_session", prompt="<loop.index>")
    document = flow(
        loop("rounds", 2, inside),
        inside,
        edges=[("start", "rounds"), ("rounds", "create", "loop-start-source")],
    )
    for point in range(0, 30, 3):
        before = len(simulator.truth())
        app = open_app(settle=RETRY)
        run_id = app.runs.start(document, env=ENV)
        die_at(point, run_id, settle=RETRY)
        open_app(settle=RETRY).runs.follow(run_id)
        assert app.runs.show(run_id)["state"] == "done"
        assert len(simulator.truth()) == before + 2, point


class Web:
    """A server that takes posts; the process dies after the first one has arrived."""

    def __init__(self, life):
        self.life = life
        self.taken = []

    def send(self, request, *, timeout):
        self.taken.append(request.url)
        if self.life is not None and not self.life.over:
            self.life.over = True
            raise Killed
        return Response(200, {"content-type": "application/json"}, b"{}")


def test_a_post_that_was_under_way_is_left_to_a_person(open_app, store):
    document = flow(block("post", "api", url="https://example.test/x", method="POST", body="{}"))
    life = Life(10**6)
    web = Web(life)
    mortal = SqlStore(MortalFile(store.database, life))
    app = open_app(store=mortal, transport=web)
    run_id = app.runs.start(document, env=ENV)
    with pytest.raises(Killed):
        app.runs.follow(run_id)
    take_for_dead(store)
    after = Web(None)
    app = open_app(transport=after)
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "uncertain"
    assert after.taken == []
    app.runs.answer(run_id, {"output": {"data": {"seen": True}}})
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["blocks"][-1]["output"] == {"data": {"seen": True}}


class Model:
    """Answers with a tool call, then with a text."""

    def __init__(self):
        self.asked = 0

    def complete(self, messages, *, model, tools, response_format):
        self.asked += 1
        if messages[-1]["role"] == "tool":
            return {"content": "done"}
        call = {"id": "1", "name": "devin_create_session", "arguments": {"prompt": "by model"}}
        return {"content": "", "toolCalls": [call]}


def test_an_agent_goes_on_where_it_was(open_app, simulator, die_at):
    tool = {
        "type": "devin",
        "operation": "create_session",
        "usageControl": "auto",
        "params": {"apiKey": "{{DEVIN_API_KEY}}", "orgId": "org-simulated"},
    }
    document = flow(block("agent", "agent", tools=[tool], userPrompt="Do it", model="m"))
    for point in itertools.count():
        before = len(simulator.truth())
        app = open_app(settle=RETRY, llm=Model())
        run_id = app.runs.start(document, env=ENV)
        died = die_at(point, run_id, settle=RETRY, llm=Model())
        open_app(settle=RETRY, llm=Model()).runs.follow(run_id)
        assert app.runs.show(run_id)["state"] == "done", app.runs.show(run_id)
        assert len(simulator.truth()) == before + 1, point
        if not died:
            break


@pytest.mark.parametrize("dies", ["before the answer", "after the answer"])
def test_a_held_call_is_asked_about_once_and_done_once(open_app, simulator, die_at, dies):
    options = {"settle": RETRY, "policy": Policy(confirm=(COSTS_MONEY,))}
    for point in itertools.count():
        before, died = len(simulator.truth()), False
        app = open_app(**options)
        run_id = app.runs.start(flow(CREATE), env=ENV)
        if dies == "before the answer":
            died = die_at(point, run_id, **options)
        app.runs.follow(run_id)
        assert len(simulator.truth()) == before
        app.runs.answer(run_id, {"approved": True})
        if dies == "after the answer":
            died = die_at(point, run_id, **options)
        app.runs.follow(run_id)
        assert app.runs.show(run_id)["state"] == "done", (point, app.runs.show(run_id))
        assert len(simulator.truth()) == before + 1, point
        asked = [event.data.get("reason") for event in app.runs.events(run_id)]
        assert asked.count("approval") == 1, point
        if not died:
            break


def test_two_processes_never_drive_one_run(open_app, simulator, store):
    first, second = open_app(), open_app()
    run_id = first.runs.start(flow(CREATE), env=ENV)
    assert first.runs.worker.claim(run_id) is not None
    assert second.runs.worker.claim(run_id) is None
    assert second.runs.work(once=True) == 0
    assert simulator.truth() == []


def test_a_process_that_lost_its_run_records_and_sends_nothing_more(open_app, simulator, store):
    first, second = open_app(), open_app()
    run_id = first.runs.start(flow(CREATE), env=ENV)
    stale = first.runs.worker.claim(run_id)
    take_for_dead(store)
    second.runs.follow(run_id)
    assert first.runs.worker.drive(stale, None, None) is None
    assert second.runs.show(run_id)["state"] == "done"
    assert len(simulator.truth()) == 1


def test_a_stopped_worker_gives_its_run_back(open_app, simulator, transport):
    stop = threading.Event()

    class Stopping:
        def send(self, request, *, timeout):
            stop.set()
            raise NotSent("not now")

    app = open_app(transport=Stopping())
    run_id = app.runs.start(flow(CREATE), env=ENV)
    app.runs.work(cancel=stop)
    state = app.runs.show(run_id)
    assert state["state"] in ("ready", "failed")
    assert state["owner"] is None
