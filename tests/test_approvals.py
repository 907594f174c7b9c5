"""One policy for every surface: what it refuses, what it holds, and who says yes."""

import json
import logging
import threading

import pytest

from sim_devin import Specs, hookimpl
from sim_devin.errors import CallerError, NotAllowed
from sim_devin.policy.rules import COSTS_MONEY, DESTRUCTIVE, Policy
from sim_devin.specs.models import BlockSpec, ToolSpec, Traits
from tests.durable.flows import block, devin, flow

ENV = {"DEVIN_API_KEY": "cog_test_key_000000"}
CREATE = devin("create", "create_session", prompt="Fix it")
TERMINATE = devin("end", "terminate_session", sessionId="<create.sessionId>")


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "config.toml"
        path.write_text(text)
        path.chmod(0o600)
        return path

    return write


def sessions(simulator):
    return simulator.truth()


def refuse(_needed):
    return False


# -- where it comes from ---------------------------------------------------------------------


def test_the_config_file_says_it_and_an_argument_tightens_it(open_app, config):
    file = config(
        "[settings]\nmax_acu_day = 90\n"
        '[policy]\nconfirm = "destructive"\ndeny = ["devin_archive_*"]\nallow = ["devin_*"]\n'
        "acu_per_call = 8\nacu_per_day = 50\n"
    )
    mine = Policy(confirm=(COSTS_MONEY,), deny=("x_*",), acu_per_call=20, acu_per_run=30)
    app = open_app(mine, config=file)
    assert app.policy == Policy(
        allow=("devin_*",),
        deny=("devin_archive_*", "x_*"),
        confirm=(DESTRUCTIVE, COSTS_MONEY),
        acu_per_call=8,
        acu_per_run=30,
        acu_per_day=50,
    )
    assert app.settings.max_acu_day == 50
    assert open_app(Policy(allow=("devin_get_*",)), config=file).policy.allow == ("devin_get_*",)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('confrim = ["destructive"]', "Did you mean 'confirm'"),
        ("read_only = 1", "true or false"),
        ('acu_per_call = "5"', "a number of ACUs"),
        ("acu_per_day = true", "a number of ACUs"),
        ("deny = [1]", "a list of patterns"),
        ("acu_per_run = 0", "at least 1"),
    ],
)
def test_what_is_wrong_in_the_file_is_said(open_app, config, table, words):
    with pytest.raises(CallerError, match=words):
        open_app(config=config(f"[policy]\n{table}\n"))


def test_a_policy_that_is_no_table(open_app, config):
    with pytest.raises(CallerError, match="a table"):
        open_app(config=config("policy = 3\n"))


def test_a_pattern_for_tools_that_are_not_here_is_warned_about(open_app, config, caplog):
    with caplog.at_level(logging.WARNING, "sim_devin"):
        open_app(config=config('[policy]\nconfirm = ["devin_*"]\ndeny = ["acme_nothing"]\n'))
    (record,) = caplog.records
    assert "deny has 'acme_nothing', which matches no tool" in record.getMessage()


@pytest.mark.parametrize("name", ["confirm", "deny"])
def test_a_misspelled_pattern_that_would_hold_nothing_back_is_refused(open_app, config, name):
    with pytest.raises(CallerError, match="Did you mean 'destructive'"):
        open_app(config=config(f'[policy]\n{name} = ["destructve"]\n'))


# -- functions -------------------------------------------------------------------------------


def test_functions_obey_the_apps_policy_without_a_gate(open_app, simulator):
    app = open_app(Policy(read_only=True))
    offered = {item["name"] for item in app.function_schemas("jsonschema")}
    assert "devin_get_session" in offered
    assert "devin_create_session" not in offered
    with pytest.raises(NotAllowed, match="read-only"):
        app.function_schemas("jsonschema", tools=["devin_create_session"])
    assert "read-only" in app.call_function("devin_create_session", {"prompt": "p"})
    assert sessions(simulator) == []


def test_what_is_called_directly_is_a_persons_own_act(open_app, simulator):
    app = open_app(Policy(read_only=True, deny=("*",), confirm=("*",), dry_run=True))
    app.call("devin_create_session", {"prompt": "p"})
    assert len(sessions(simulator)) == 1


# -- runs in memory ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Policy(read_only=True), "read-only"),
        (Policy(deny=("devin_create_*",)), "is denied by the policy"),
        (Policy(allow=("devin_get_*",)), "not among the allowed tools"),
        (Policy(confirm=(COSTS_MONEY,)), "requires approval"),
    ],
)
def test_a_workflow_obeys_it(open_app, policy, words, simulator):
    result = open_app(policy).run(flow(CREATE))
    assert words in result.error
    assert sessions(simulator) == []


def test_nobody_to_ask_says_how_somebody_can_be(open_app):
    result = open_app(Policy(confirm=(COSTS_MONEY,))).run(flow(CREATE))
    assert "app.runs.start" in result.hint


def test_a_held_call_goes_out_after_a_yes(open_app):
    asked = []

    def approve(needed):
        asked.append(needed)
        return True

    app = open_app(Policy(confirm=(DESTRUCTIVE,)))
    result = app.run(flow(CREATE, TERMINATE), approve=approve)
    assert result.success, result.error
    (needed,) = asked
    session = result.block_outputs["create"]["sessionId"]
    assert (needed.tool, needed.why) == ("devin_terminate_session", "cannot be undone")
    assert needed.parameters == {"sessionId": session}
    assert "cog_" not in needed.question


def test_a_no_fails_the_block_and_sends_nothing(open_app, simulator):
    app = open_app(Policy(confirm=(COSTS_MONEY,)))
    result = app.run(flow(CREATE), approve=refuse)
    assert "a person declined" in result.error
    assert sessions(simulator) == []
    handled = flow(
        CREATE,
        block("after", "variables"),
        edges=[("start", "create"), ("create", "after", "error")],
    )
    assert app.run(handled, approve=refuse).success


def test_a_no_is_not_asked_again(open_app):
    asked = []
    held = devin("create", "create_session", prompt="Fix it")
    held["retry"] = {"enabled": True, "maxTries": 3, "waitBetweenTriesMs": 1}

    def approve(needed):
        asked.append(needed.tool)
        return False

    open_app(Policy(confirm=(COSTS_MONEY,))).run(flow(held), approve=approve)
    assert asked == ["devin_create_session"]


class Press:
    """A plugin whose tool does something that no request shows."""

    __name__ = "press"

    def __init__(self):
        self.printed = []

    @hookimpl
    def sim_devin_specs(self):
        tool = ToolSpec(
            id="press_print",
            title="Print",
            description="Print it.",
            params={"type": "object", "properties": {}, "additionalProperties": False},
            output={"type": "object", "properties": {"pages": {"type": "integer"}}},
            traits=Traits(costsMoney=True),
            run=lambda _params, _context: self.printed.append(1) or {"pages": 1},
        )
        operations = {"print": "press_print"}
        spec = BlockSpec(type="press", title="Press", fields=(), operations=operations)
        return Specs(tools=(tool,), blocks=(spec,))


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_yes_after_the_run_was_cancelled_does_nothing(open_app, cancelled):
    cancel, press = threading.Event(), Press()

    def approve(_needed):
        if cancelled:
            cancel.set()
            threading.Event().wait(0.2)  # until the run has noticed
        return True

    app = open_app(Policy(confirm=(COSTS_MONEY,)), plugins=[press])
    result = app.run(flow(block("p", "press", operation="print")), approve=approve, cancel=cancel)
    assert result.status == ("cancelled" if cancelled else None), result.error
    assert press.printed == [1] * (not cancelled)


def test_a_yes_after_the_run_was_cancelled_sends_nothing(open_app, simulator):
    cancel = threading.Event()

    def approve(_needed):
        cancel.set()
        threading.Event().wait(0.2)  # until the run has noticed
        return True

    app = open_app(Policy(confirm=(COSTS_MONEY,)))
    result = app.run(flow(CREATE), approve=approve, cancel=cancel)
    assert result.status == "cancelled"
    assert sessions(simulator) == []


def test_a_dry_run_of_a_workflow_puts_out_what_would_be_sent(open_app, simulator):
    output = open_app(Policy(dry_run=True)).run(flow(CREATE)).output
    assert output["dryRun"] is True
    assert output["request"]["json"]["prompt"] == "Fix it"
    assert sessions(simulator) == []


def caps(simulator):
    sent = [entry for entry in simulator.log if entry.method == "POST"]
    return [json.loads(entry.body)["max_acu_limit"] for entry in sent]


def test_ceilings_of_a_call_and_of_a_run(open_app, simulator):
    more = [devin(name, "create_session", prompt="p") for name in ("b", "c", "d")]
    app = open_app(Policy(acu_per_call=5, acu_per_run=12))
    result = app.run(flow(CREATE, *more))
    assert "used up" in result.error
    assert caps(simulator) == [5, 5, 2]
    assert app.run(flow(CREATE), max_acu=3).success  # another run has its own
    assert caps(simulator)[3:] == [3]


def test_the_day_is_one_for_functions_and_runs(open_app, simulator):
    app = open_app(Policy(acu_per_day=10))
    assert not app.call_function("devin_create_session", {"prompt": "p", "maxAcuLimit": 6}).is_error
    assert app.run(flow(CREATE)).success
    assert "used up" in app.run(flow(CREATE)).error
    assert caps(simulator) == [6, 4]


def test_the_stricter_ceiling_of_a_day_binds_functions_too(open_app, simulator):
    env = {"SIM_DEVIN_MAX_ACU_DAY": "3"}
    app = open_app(Policy(acu_per_day=10), env=env)
    assert app.policy.acu_per_day == app.settings.max_acu_day == 3
    app.call_function("devin_create_session", {"prompt": "p", "maxAcuLimit": 6})
    assert caps(simulator) == [3]


def test_a_resumed_run_is_bound_as_well(open_app):
    form = block("form", "human_in_the_loop")
    app = open_app(Policy(confirm=(COSTS_MONEY,)))
    paused = app.run(flow(form, CREATE))
    assert paused.status == "paused"
    assert "no way to ask" in app.resume(paused, {}).error
    again = app.run(flow(form, CREATE))
    assert app.resume(again, {}, approve=lambda _needed: True).success


# -- an agent that is led astray ---------------------------------------------------------------


class Astray:
    """A model that does what the text in front of it says, and remembers what it was told."""

    def __init__(self, *calls):
        self.calls = list(calls)
        self.told = []
        self.rounds = 0

    def complete(self, messages, *, model, tools, response_format):
        self.rounds += 1
        self.told = [item["content"] for item in messages if item["role"] == "tool"]
        if len(self.told) < len(self.calls):
            return {"content": "", "toolCalls": [self.calls[len(self.told)]]}
        return {"content": "done"}


def agent(*operations):
    tools = [
        {
            "type": "devin",
            "operation": operation,
            "usageControl": "auto",
            "params": {"apiKey": "{{DEVIN_API_KEY}}", "orgId": "org-simulated"},
        }
        for operation in operations
    ]
    return block("agent", "agent", tools=tools, userPrompt="Look at it", model="m")


def led_to(session):
    return (
        {"id": "1", "name": "devin_get_session", "arguments": {"sessionId": session}},
        {"id": "2", "name": "devin_terminate_session", "arguments": {"sessionId": session}},
    )


@pytest.fixture
def session(open_app):
    made = open_app().call("devin_create_session", {"prompt": "p"})
    return made["sessionId"]


def status(open_app, session):
    return open_app().call("devin_get_session", {"sessionId": session})["status"]


def test_a_led_agent_needs_a_yes(open_app, session):
    workflow = flow(agent("get_session", "terminate_session"))
    asked = []

    def approve(needed):
        asked.append(needed.tool)
        return False

    for ask in (None, approve):
        model = Astray(*led_to(session))
        app = open_app(Policy(confirm=(DESTRUCTIVE,)), llm=model)
        result = app.run(workflow, approve=ask)
        assert "requires approval" in result.error
        assert len(model.told) == 1  # the model cannot argue with a no
    assert asked == ["devin_terminate_session"]
    assert status(open_app, session) != "exit"


def test_a_led_agent_is_told_what_is_denied(open_app, session):
    model = Astray(*led_to(session))
    app = open_app(Policy(deny=("devin_terminate_*",)), llm=model)
    result = app.run(flow(agent("get_session", "terminate_session")))
    assert result.success
    assert "denied by the policy" in model.told[-1]
    assert status(open_app, session) != "exit"


def test_no_tool_answers_approvals(open_app):
    app = open_app()
    names = json.dumps(app.function_schemas("jsonschema"))
    assert "runs_answer" not in names
    assert not [name for name in app.registry.tools if "approv" in name or "answer" in name]
