"""What agents may do, and what they may spend."""

import threading

import pytest

import sim_devin
from sim_devin.clock import ManualClock, RealClock
from sim_devin.errors import (
    AmbiguousResult,
    BadRequest,
    CallerError,
    Declined,
    InvalidParams,
    NotAllowed,
    NotSent,
    ServerError,
    StoreError,
)
from sim_devin.policy.gate import Gate
from sim_devin.policy.rules import (
    COSTS_MONEY,
    DESTRUCTIVE,
    Allowed,
    NeedsApproval,
    Policy,
    Refused,
    Spent,
)
from sim_devin.policy.spending import MemorySpending
from sim_devin.store.account import StoreSpending
from sim_devin.store.sql_store import open_store

TOOLS = sim_devin.open_app(env={}, discover=False).registry.tools
CREATE, GET = TOOLS["devin_create_session"], TOOLS["devin_get_session"]
TERMINATE, SEND = TOOLS["devin_terminate_session"], TOOLS["devin_send_message"]


@pytest.mark.parametrize(
    ("policy", "spec", "kind"),
    [
        (Policy(), TERMINATE, Allowed),
        (Policy(read_only=True), GET, Allowed),
        (Policy(read_only=True), CREATE, Refused),
        (Policy(allow=("devin_get_*",)), GET, Allowed),
        (Policy(allow=("devin_get_*",)), CREATE, Refused),
        (Policy(deny=("*_terminate_*",)), TERMINATE, Refused),
        (Policy(allow=("*",), deny=("devin_get_session",)), GET, Refused),
        (Policy(confirm=(DESTRUCTIVE,)), TERMINATE, NeedsApproval),
        (Policy(confirm=(DESTRUCTIVE,)), CREATE, Allowed),
        (Policy(confirm=(COSTS_MONEY,)), CREATE, NeedsApproval),
        (Policy(confirm=(COSTS_MONEY,)), SEND, NeedsApproval),
        (Policy(confirm=("devin_get_*",)), GET, NeedsApproval),
        (Policy(confirm=(DESTRUCTIVE,), deny=("*",)), TERMINATE, Refused),
    ],
)
def test_which_tools(policy, spec, kind):
    assert isinstance(policy.check(spec, {}), kind)
    assert policy.offers(spec) is (kind is not Refused)


@pytest.mark.parametrize(
    ("policy", "asked", "spent", "cap"),
    [
        (Policy(), {"maxAcuLimit": 8}, Spent(), None),
        (Policy(acu_per_call=5), {}, Spent(), 5),
        (Policy(acu_per_call=5), {"maxAcuLimit": 3}, Spent(), 3),
        (Policy(acu_per_call=5), {"maxAcuLimit": "3"}, Spent(), 3),
        (Policy(acu_per_call=5), {"maxAcuLimit": 50}, Spent(), 5),
        (Policy(acu_per_call=5), {"maxAcuLimit": "junk"}, Spent(), 5),
        (Policy(acu_per_run=10), {"maxAcuLimit": 8}, Spent(run=6), 4),
        (Policy(acu_per_day=10, acu_per_run=100), {"maxAcuLimit": 8}, Spent(run=90, day=7), 3),
        (Policy(acu_per_day=10), {}, Spent(day=8.5), 1),
    ],
)
def test_ceilings_lower_a_cap_or_set_one(policy, asked, spent, cap):
    verdict = policy.check(CREATE, asked, spent)
    assert verdict.ceilings.get("maxAcuLimit") == cap
    assert verdict.reserve == (cap or 0)


@pytest.mark.parametrize(
    ("policy", "spent", "words"),
    [
        (Policy(acu_per_run=10), Spent(run=10), "of this run"),
        (Policy(acu_per_day=10), Spent(day=9.5), "of this day"),
        (Policy(sessions_per_run=2), Spent(run_sessions=2), "2 sessions of this run"),
        (Policy(sessions_per_day=2), Spent(day_sessions=3), "2 sessions of this day"),
    ],
)
def test_a_used_up_ceiling_refuses(policy, spent, words):
    assert words in policy.check(CREATE, {}, spent).reason
    assert isinstance(policy.check(SEND, {}, spent), Allowed)  # within the session's own cap


@pytest.mark.parametrize(
    ("policy", "spent"),
    [
        (Policy(acu_per_run=10), Spent(run=9)),
        (Policy(acu_per_day=10), Spent(day=9)),
        (Policy(sessions_per_run=2), Spent(run_sessions=1)),
        (Policy(sessions_per_day=2), Spent(day_sessions=1)),
    ],
)
def test_what_is_left_of_a_ceiling_may_be_used(policy, spent):
    assert isinstance(policy.check(CREATE, {}, spent), Allowed)


@pytest.mark.parametrize("ceiling", [0, -1, float("inf"), float("nan")])
def test_a_ceiling_that_is_none_is_the_callers_mistake(ceiling):
    with pytest.raises(CallerError, match="acu_per_day"):
        Policy(acu_per_day=ceiling)


@pytest.mark.parametrize("field", ["allow", "deny", "confirm"])
def test_a_text_is_no_list_of_patterns(field):
    with pytest.raises(CallerError, match=rf"{field} is a string.*\('devin_\*',\)"):
        Policy(**{field: "devin_*"})


def test_the_question_says_what_and_hides_the_users_values():
    params = {"prompt": "fix it", "sessionSecrets": [{"key": "K", "value": "hidden"}]}
    verdict = Policy(confirm=(COSTS_MONEY,), acu_per_call=4).check(CREATE, params)
    assert "devin_create_session" in verdict.question
    assert "prompt: 'fix it'" in verdict.question
    assert "maxAcuLimit: 4" in verdict.question
    assert "hidden" not in verdict.question


def test_a_question_cannot_be_written_by_the_model():
    """No value passes for another, steers a terminal, or hides how much of it is not shown."""
    params = {"prompt": "a', maxAcuLimit: 1\n\x1b[2K\u202e", "title": "t" * 5000}
    question = Policy(confirm=(COSTS_MONEY,)).check(CREATE, params).question
    assert question.isprintable()
    assert "prompt: \"a', maxAcuLimit: 1\\n" in question
    assert question.endswith("… (4002 more characters)")


def test_a_gate_reserves_and_gives_back_what_surely_was_not_spent():
    gate = Gate(Policy(acu_per_run=10))
    first = gate.admit(CREATE, {"maxAcuLimit": 6})
    assert gate.admit(CREATE, {}).ceilings == {"maxAcuLimit": 4}
    with pytest.raises(NotAllowed, match="used up"):
        gate.admit(CREATE, {})
    gate.settle(first, BadRequest("no", status=422))
    assert gate.admit(CREATE, {}).ceilings == {"maxAcuLimit": 6}


@pytest.mark.parametrize(
    ("error", "back"),
    [
        (InvalidParams("x", ["y"]), True),
        (NotSent("x"), True),
        (BadRequest("x"), True),
        (ServerError("x"), False),
        (AmbiguousResult("x"), False),
    ],
)
def test_only_a_sure_nothing_gives_back(error, back):
    gate = Gate(Policy(acu_per_run=5))
    gate.settle(gate.admit(CREATE, {}), error)
    if back:
        assert gate.admit(CREATE, {}).reserve == 5
    else:
        with pytest.raises(NotAllowed):
            gate.admit(CREATE, {})


def test_approval_reserves_once():
    gate = Gate(Policy(acu_per_run=5, confirm=(COSTS_MONEY,)))
    assert isinstance(gate.admit(CREATE, {}), NeedsApproval)
    assert isinstance(gate.admit(CREATE, {}), NeedsApproval)  # asking costs nothing
    assert gate.admit(CREATE, {}, approved=True).reserve == 5
    with pytest.raises(NotAllowed):
        gate.admit(CREATE, {}, approved=True)


def test_a_yes_is_to_the_ceilings_that_were_asked_about():
    gate = Gate(Policy(acu_per_run=10, confirm=(COSTS_MONEY,)))
    other = gate.admit(CREATE, {"maxAcuLimit": 7}, approved=True)

    def approve(needed):
        gate.settle(other, NotSent("x"))  # meanwhile there is more
        return needed.parameters["maxAcuLimit"] == 3

    with gate.admitted(CREATE, {"maxAcuLimit": 9}, approve) as allowed:
        assert (allowed.ceilings, allowed.reserve) == ({"maxAcuLimit": 3}, 3)


@pytest.mark.parametrize("answer", ["n", "no", 1, None])
def test_only_true_is_a_yes(answer):
    gate = Gate(Policy(confirm=(DESTRUCTIVE,)))
    with pytest.raises(Declined), gate.admitted(TERMINATE, {}, lambda _needed: answer):
        pytest.fail("it went on")


def test_approval_opens_nothing_that_is_denied():
    gate = Gate(Policy(deny=("devin_terminate_session",)))
    with pytest.raises(NotAllowed, match="denied"):
        gate.admit(TERMINATE, {}, approved=True)


def test_a_new_day_is_a_new_budget():
    clock = ManualClock()
    gate = Gate(Policy(acu_per_day=5), clock=clock)
    allowed = gate.admit(CREATE, {})
    clock.advance(24 * 3600)
    assert gate.admit(CREATE, {"maxAcuLimit": 2}).reserve == 2
    gate.settle(allowed, NotSent("x"))  # belongs to the day before
    assert gate.admit(CREATE, {}).reserve == 3


def account(file):
    store = open_store(file)
    return StoreSpending(lambda: store, RealClock())


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_many_threads_never_get_more_than_the_ceiling(kind, tmp_path):
    spending = MemorySpending() if kind == "memory" else account(tmp_path / "runs.sqlite")
    gate = Gate(Policy(acu_per_day=20), spending)
    granted = []

    def ask():
        for _ in range(5):
            try:
                granted.append(gate.admit(CREATE, {"maxAcuLimit": 3}).reserve)
            except NotAllowed:
                return

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 20


def test_a_day_survives_a_restart(tmp_path):
    file = tmp_path / "state" / "runs.sqlite"
    policy = Policy(acu_per_day=10, acu_per_run=8)
    assert Gate(policy, account(file)).admit(CREATE, {"maxAcuLimit": 7}).reserve == 7
    again = Gate(policy, account(file))
    allowed = again.admit(CREATE, {})
    assert allowed.reserve == 3
    again.settle(allowed, NotSent("x"))
    assert Gate(policy, account(file)).admit(CREATE, {}).reserve == 3


def test_an_account_that_breaks_later_spends_nothing(tmp_path):
    store = open_store(tmp_path / "runs.sqlite")
    with sim_devin.open_app(
        simulate=True, env={}, discover=False, policy=Policy(acu_per_day=5), store=store
    ) as app:
        with store.database.write() as connection:
            connection.execute("DROP TABLE spend")
        answer = app.call_function("devin_create_session", {"prompt": "p"})
        assert isinstance(answer.error, StoreError)
        with pytest.raises(StoreError):
            app.call("devin_create_session", {"prompt": "p"})
        assert app.call("devin_list_sessions")["sessions"] == []


@pytest.fixture
def app():
    with sim_devin.open_app(simulate=True, env={}, discover=False) as app:
        yield app


def test_a_dry_run_shows_and_sends_nothing(app):
    gate = Gate(Policy(dry_run=True))
    answer = app.call_function("devin_create_session", {"prompt": "p"}, gate=gate)
    assert answer.output["request"]["json"] == {"prompt": "p"}
    assert "cog_" not in answer
    listed = app.call_function("devin_list_sessions", {}, gate=gate)
    assert listed.output["sessions"] == []


def test_a_dry_run_shows_the_cap_that_would_go_out(app):
    gate = Gate(Policy(dry_run=True, acu_per_call=10, acu_per_run=10))
    for asked, shown in (({}, 10), ({"maxAcuLimit": 100}, 10), ({"maxAcuLimit": 3}, 3)):
        answer = app.call_function("devin_create_session", {"prompt": "p", **asked}, gate=gate)
        assert answer.output["request"]["json"]["max_acu_limit"] == shown


def test_under_a_gate_the_cap_goes_out(app):
    gate = Gate(Policy(acu_per_call=5, acu_per_run=8))
    dry = Gate(Policy(dry_run=True))
    for expected in (5, 3):
        answer = app.call_function("devin_create_session", {"prompt": "p"}, gate=gate)
        assert not answer.is_error, expected
    assert "used up" in app.call_function("devin_create_session", {"prompt": "p"}, gate=gate)
    assert dry.admit(CREATE, {}).dry_run
