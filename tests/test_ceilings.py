"""Ceilings: whoever merges them, the lowest holds."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sim_devin
from sim_devin.calls.ceilings import CAP, amount, lowered, lowest
from sim_devin.clock import ManualClock
from sim_devin.engine.budget import Budget
from sim_devin.errors import CallerError, SimDevinError
from sim_devin.policy.gate import Gate
from sim_devin.policy.rules import COSTS_MONEY, Policy
from tests.durable.conftest import ENV
from tests.durable.flows import block, devin, flow

CREATE = "devin_create_session"


def caps(simulator):
    sent = [entry for entry in simulator.log if entry.path.endswith("/sessions") and entry.body]
    return [json.loads(entry.body).get("max_acu_limit") for entry in sent]


# -- the one place -----------------------------------------------------------------------------

limits = st.dictionaries(st.sampled_from("abc"), st.integers(1, 100) | st.floats(1, 100))


@given(st.lists(limits, max_size=4))
def test_the_lowest_is_at_most_each_of_them_in_any_order(given):
    merged = lowest(*given)
    assert merged == lowest(*reversed(given))
    for ceilings in given:
        assert all(merged[name] <= limit for name, limit in ceilings.items())


@given(
    st.none() | st.integers() | st.floats() | st.text() | st.booleans(),
    st.floats(1, 1e6),
)
def test_a_lowered_parameter_never_asks_for_more_than_its_ceiling(value, ceiling):
    result = lowered({CAP: value}, {CAP: ceiling})[CAP]
    wanted = amount(result)
    assert wanted is None or wanted <= ceiling
    assert wanted is None or amount(value) is None or wanted <= amount(value)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("5.0", 5),
        ("1e3", 1000),
        (" 7 ", 7),
        (2.5, 2.5),
        *((value, None) for value in (0, -1, True, math.nan, math.inf, "nan", "1e400", "", "x")),
        *((value, None) for value in (None, [], {}, "1_000", "٥")),
    ],
)
def test_what_counts_as_an_amount(value, wanted):
    assert amount(value) == wanted


WRONG = [0, -1, 0.5, True, math.nan, math.inf, "5"]


@pytest.mark.parametrize("value", WRONG)
def test_a_ceiling_that_is_none_is_refused_by_everything_that_takes_one(open_app, value):
    app = open_app()
    for attempt in (
        lambda: Policy(acu_per_call=value),
        lambda: Policy(minutes_per_session=value),
        lambda: open_app(max_acu=value),
        lambda: app.run(flow(), max_acu=value),
        lambda: app.runs.start(flow(), max_acu=value),
        lambda: app.call(CREATE, {"prompt": "p"}, ceilings={CAP: value}),
        lambda: app.call_function(CREATE, {"prompt": "p"}, ceilings={CAP: value}),
    ):
        with pytest.raises(CallerError):
            attempt()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_cap_that_is_no_number_does_not_take_the_ceiling_with_it(value):
    budget = Budget({CAP: 5})
    shares = budget.reserve({CAP: {}}, {CAP: value})
    assert shares == {CAP: 5}
    with pytest.raises(Exception, match="used up"):
        budget.reserve({CAP: {}}, {})
    gate = Gate(Policy(acu_per_run=5, acu_per_day=5), clock=ManualClock())
    spec = sim_devin.open_app(env={}, discover=False).registry.tools[CREATE]
    assert gate.admit(spec, {CAP: value}).reserve == 5
    with pytest.raises(SimDevinError, match="used up"):
        gate.admit(spec, {})


# -- every place where they meet ---------------------------------------------------------------


def test_a_policy_never_raises_what_the_caller_of_a_function_gave(open_app, simulator):
    app = open_app(Policy(acu_per_call=10, acu_per_run=12))
    for params in ({}, {CAP: 8}, {CAP: "9"}):
        answer = app.call_function(CREATE, {"prompt": "p", **params}, ceilings={CAP: 2})
        assert not answer.is_error
    assert caps(simulator) == [2, 2, 2]
    # What went out is also what was reserved: six are left.
    assert not app.call_function(CREATE, {"prompt": "p"}).is_error
    assert caps(simulator)[3:] == [6]


def test_a_dry_run_shows_the_callers_lower_ceiling(open_app):
    app = open_app(Policy(acu_per_call=10, dry_run=True))
    answer = app.call_function(CREATE, {"prompt": "p"}, ceilings={CAP: 2})
    assert answer.output["request"]["json"]["max_acu_limit"] == 2


@pytest.mark.parametrize("options", [{"max_acu": 2}, {"env": {**ENV, "SIM_DEVIN_MAX_ACU": "2"}}])
def test_a_question_names_the_cap_that_goes_out(open_app, simulator, options):
    asked = []

    def approve(needed):
        asked.append(needed.parameters[CAP])
        return True

    app = open_app(Policy(acu_per_call=10, confirm=(COSTS_MONEY,)), **options)
    assert not app.call_function(CREATE, {"prompt": "p", CAP: 8}, approve=approve).is_error
    plain = open_app(Policy(acu_per_call=10, confirm=(COSTS_MONEY,)))
    plain.call_function(CREATE, {"prompt": "p", CAP: 8}, approve=approve, ceilings={CAP: 3})
    result = plain.run(flow(devin("a", "create_session", prompt="p")), approve=approve, max_acu=4)
    assert result.success
    assert asked == caps(simulator) == [2, 3, 4]


def test_a_caller_can_only_lower_the_apps_own_ceiling(open_app, simulator):
    app = open_app(max_acu=4)
    app.call(CREATE, {"prompt": "p"}, ceilings={CAP: 9})
    app.call(CREATE, {"prompt": "p", CAP: 8}, ceilings={CAP: 2.5})
    assert caps(simulator) == [4, 2]


class Asks:
    """A model that asks for a cap of its own."""

    def complete(self, messages, *, model, tools, response_format):
        if any(message["role"] == "tool" for message in messages):
            return {"content": "done"}
        arguments = {"prompt": "p", "maxAcuLimit": 50}
        return {"content": "", "toolCalls": [{"name": CREATE, "arguments": arguments}]}


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize(("fixed", "policy", "sent"), [("3", 10, 3), ("20", 10, 10), ("", 10, 10)])
def test_an_agent_stays_below_the_authors_cap_and_the_policys(
    open_app, simulator, durable, fixed, policy, sent
):
    app = open_app(Policy(acu_per_call=policy), llm=Asks())
    tool = {"type": "devin", "operation": "create_session", "params": {"maxAcuLimit": fixed}}
    document = flow(block("agent", "agent", model="m", tools=[tool]))
    if durable:
        app.runs.follow(app.runs.start(document, env=ENV))
    else:
        app.run(document, env=ENV)
    assert caps(simulator) == [sent]


def test_a_child_and_a_fork_stay_below_the_runs_ceiling(open_app, simulator):
    app = open_app(Policy(acu_per_call=20))
    child = flow(devin("inner", "create_session", prompt="c"))
    call = block("call", "workflow", workflowId="child")
    run_id = app.runs.start(
        flow(devin("first", "create_session", prompt="p", maxAcuLimit="3"), call),
        env=ENV,
        children={"child": child},
        max_acu=7,
    )
    app.runs.follow(run_id)
    assert app.runs.show(run_id)["state"] == "done"
    assert caps(simulator) == [3, 4]
    app.runs.follow(app.runs.fork(run_id, "call"))
    assert caps(simulator)[2:] == [7]  # a run of its own, with the same ceiling


def test_a_paused_run_that_another_process_resumes_gets_no_more_than_it_had_left(
    open_app, simulator
):
    store = Kept()
    form = block("form", "human_in_the_loop")
    first = devin("a", "create_session", prompt="p", maxAcuLimit="3")
    rest = [devin(name, "create_session", prompt="p") for name in ("b", "c")]
    app = open_app(Policy(acu_per_call=20), store=store)
    paused = app.run(flow(first, form, *rest), env=ENV, max_acu=5, max_sessions=2)
    assert paused.status == "paused"
    other = open_app(Policy(acu_per_call=20, acu_per_run=100), store=store)
    result = other.resume(paused.run_id, {}, env=ENV)
    assert "used up" in result.error
    assert caps(simulator) == [3, 2]


class Kept:
    """A store of runs that is not the process's own."""

    def __init__(self):
        self.records = {}

    def save(self, run_id, record):
        self.records[run_id] = json.loads(json.dumps(record))

    def load(self, run_id):
        return self.records[run_id]
