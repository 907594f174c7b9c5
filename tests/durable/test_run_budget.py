"""What one run may spend: over child runs, loops, agents, restarts and forks."""

import json

import pytest

from sim_devin.errors import CallerError
from sim_devin.policy.rules import Policy
from sim_devin.simulator.faults import Fault
from tests.durable.conftest import ENV
from tests.durable.flows import block, devin, flow


def create(id="create", **values):
    return devin(id, "create_session", prompt="p", **values)


def run(app, *blocks, edges=None, **options):
    run_id = app.runs.start(flow(*blocks, edges=edges), env=ENV, **options)
    app.runs.follow(run_id)
    return run_id


def created(simulator):
    return simulator.counts["sessions_created"]


def caps(simulator):
    bodies = [json.loads(e.body) for e in simulator.log if e.path.endswith("/sessions") and e.body]
    return [body.get("max_acu_limit") for body in bodies]


class Calls:
    """A model that goes on calling its tool."""

    def complete(self, messages, *, model, tools, response_format):
        if sum(message["role"] == "tool" for message in messages) == 3:
            return {"content": "done"}
        call = {"name": "devin_create_session", "arguments": {"prompt": "p"}}
        return {"content": "", "toolCalls": [call]}


def agent(id="agent"):
    tools = [{"type": "devin", "operation": "create_session", "params": {}}]
    return block(id, "agent", model="m", tools=tools)


@pytest.mark.parametrize("kind", ["blocks", "agent", "child"])
@pytest.mark.parametrize("durable", [False, True])
def test_sessions_of_a_run_are_counted_wherever_they_come_from(open_app, simulator, kind, durable):
    app = open_app(policy=Policy(sessions_per_run=2), llm=Calls())
    child = {"child": flow(create("x"), create("y"))}
    blocks = {
        "blocks": [create(f"c{n}") for n in range(4)],
        "agent": [agent("a"), agent("b")],
        "child": [create(), block("call", "workflow", workflowId="child"), create("more")],
    }[kind]
    if durable:
        run(app, *blocks, children=child)
    else:
        app.run(flow(*blocks), env=ENV, children=child)
    assert created(simulator) == 2
    run(app, create())  # another run has its own
    assert created(simulator) == 3


@pytest.mark.parametrize("durable", [False, True])
def test_a_run_can_have_a_lower_ceiling_of_its_own(open_app, simulator, durable):
    app = open_app(policy=Policy(sessions_per_run=3))
    blocks = [create(f"c{n}") for n in range(4)]
    for most in (1, 9):
        if durable:
            run(app, *blocks, max_sessions=most)
        else:
            app.run(flow(*blocks), env=ENV, max_sessions=most)
    assert created(simulator) == 1 + 3
    for wrong in (0, 1.5, "2", True):
        with pytest.raises(CallerError):
            app.runs.start(flow(create()), env=ENV, max_sessions=wrong)


def test_a_resumed_run_goes_on_counting_and_a_fork_begins_anew(open_app, simulator):
    app = open_app(policy=Policy(sessions_per_run=2))
    run_id = run(app, create("a"), create("b"), create("c"))
    assert app.runs.show(run_id)["state"] == "failed"
    again = open_app(policy=Policy(sessions_per_run=2))
    again.runs.follow(again.runs.resume(run_id))
    assert created(simulator) == 2
    again.runs.follow(again.runs.fork(run_id, "b"))
    assert created(simulator) == 4


def test_a_session_that_was_refused_is_not_counted(open_app, simulator):
    app = open_app(policy=Policy(sessions_per_run=1))
    simulator.faults.add(Fault("status", status=404, method="POST", times=1))
    run_id = run(app, create())
    app.runs.follow(app.runs.resume(run_id))
    assert app.runs.show(run_id)["state"] == "done"
    assert created(simulator) == 1


@pytest.mark.parametrize("policy", [Policy(acu_per_run=10), Policy(sessions_per_run=1)])
def test_what_an_uncertain_create_took_no_other_block_gets_after_a_restart(
    open_app, simulator, policy
):
    """Its session may well be there: the run must not spend its share a second time."""
    app = open_app(policy=policy)
    simulator.faults.add(Fault("timeout", method="POST", times=1))
    simulator.faults.add(Fault("status", status=500, method="GET", times=1000))
    form = block("form", "human_in_the_loop")
    edges = [("start", "first"), ("start", "form"), ("form", "second")]
    first, second = create("first", maxAcuLimit="8"), create("second", maxAcuLimit="8")
    run_id = app.runs.start(flow(first, form, second, edges=edges), env=ENV)
    for _ in range(20):
        app.runs.work(once=True)
        simulator.clock.advance(60)
    kinds = {wait["kind"] for wait in app.runs.show(run_id)["waits"]}
    assert kinds == {"human", "uncertain"}
    simulator.faults.clear()
    again = open_app(policy=policy)
    (form_wait,) = [w for w in again.store.waits(run_id, only_open=True) if w.kind == "human"]
    again.runs.answer(run_id, {}, context_id=form_wait.context_id)
    again.runs.work(once=True)
    assert sum(cap or 0 for cap in caps(simulator)) <= 10
    if policy.sessions_per_run:
        assert len(caps(simulator)) == 1
