"""What cannot work is found before a run: it has spent nothing by then."""

import json
from itertools import pairwise

import pytest

import sim_devin
from sim_devin.engine.document import load_workflow
from sim_devin.engine.workflow_check import check
from sim_devin.errors import InvalidWorkflow, MissingDependency
from sim_devin.runs.services import AppServices
from workflow.fakes import block, document, edge

START = block("start", "start_trigger", "Start", inputFormat=[{"name": "task", "type": "string"}])


def devin(name, operation="create_session", **values):
    return block(name.lower(), "devin", name, operation=operation, **values)


def listing(**values):
    return devin("A", "list_sessions", **values)


def create(**values):
    return devin("A", prompt="p", **values)


def wait(**values):
    return block("a", "devin_wait", "A", **{"sessionId": "devin-1", **values})


@pytest.fixture
def app():
    with sim_devin.open_app(simulate=True, discover=False, store="memory", env={}) as opened:
        yield opened


def flow(*blocks):
    """Return a workflow in which a session is created before the blocks run one after another."""
    made = [START, devin("First", prompt="first"), *blocks]
    return document(made, [edge(a["id"], b["id"]) for a, b in pairwise(made)])


ERRORS = {
    "a cap that is no number": (create(maxAcuLimit="abc"), "A.maxAcuLimit", "whole number"),
    "a cap below 1": (create(maxAcuLimit="-3"), "A.maxAcuLimit", "-3"),
    "a cap that is true": (create(maxAcuLimit=True), "A.maxAcuLimit", "true"),
    "a schema that is not JSON": (
        create(structuredOutputSchema="{not json"),
        "A.structuredOutputSchema",
        "an object",
    ),
    "a time that is none": (wait(timeoutSeconds="soon"), "A.timeoutSeconds", "'soon'"),
    "an end that is unknown": (wait(until="always"), "A.until", "'always'"),
    "a page that is too large": (listing(limit="5000"), "A.limit", "5000"),
    "a URL of nothing": (block("a", "api", "A", url="ftp//x"), "A.url", "https://"),
    "a URL without a scheme": (block("a", "api", "A", url="acme.example/x"), "A.url", "https://"),
    "an operation that is unknown": (devin("A", "create_sesion"), "A.operation", "create_session"),
    "no operation": (devin("A", None, prompt="p"), "A.operation", "no operation is selected"),
    "no prompt": (devin("A"), "A.prompt", "has no value"),
    "no session": (devin("A", "get_session"), "A.sessionId", "has no value"),
    "no workflow": (block("a", "workflow", "A", workflowId=None), "A.workflowId", "No workflow"),
    "a wait that is none": (block("a", "wait", "A", timeValue="soon"), "A.timeValue", "positive"),
    "a wait that is too long": (block("a", "wait", "A", timeValue=301), "A.timeValue", "5 minutes"),
    "a temperature that is none": (
        block("a", "agent", "A", model="m", temperature="hot"),
        "A.temperature",
        "'hot'",
    ),
    "no tokens at all": (
        block("a", "agent", "A", model="m", maxTokens="0"),
        "A.maxTokens",
        "above 0",
    ),
    "an assignment of another type": (
        block(
            "a",
            "variables",
            "A",
            variables=[{"variableName": "v", "type": "number", "value": "many"}],
        ),
        "A.variables.v",
        "many",
    ),
    "a cap that is misspelt": (create(maxAcuLimitt="3"), "A.maxAcuLimitt", "maxAcuLimit"),
    "a cap in another case": (create(maxaculimit="3"), "A.maxaculimit", "maxAcuLimit"),
    "a filter that is misspelt": (listing(filterTag="x"), "A.filterTag", "filterTags"),
    "a filter in the field of another operation": (listing(tags="x"), "A.tags", "filterTags"),
    "a longest wait that is misspelt": (
        wait(timeoutSecond="60"),
        "A.timeoutSecond",
        "timeoutSeconds",
    ),
    "a switch that is misspelt": (block("a", "wait", "A", _enabeld=False), "A", "enabled"),
}


@pytest.mark.parametrize(("bad", "place", "told"), ERRORS.values(), ids=ERRORS)
def test_a_value_that_nobody_can_use_is_found_before_anything_is_spent(app, bad, place, told):
    problems = [p for p in check(flow(bad), AppServices(app), env={}) if p.level == "error"]
    assert {problem.place for problem in problems} == {place}
    assert told in f"{problems[0].text} {problems[0].hint}"
    assert all(problem.hint for problem in problems)
    with pytest.raises(InvalidWorkflow) as refused:
        app.runs.start(flow(bad), {"task": "x"})
    assert place in str(refused.value)
    assert app.call("devin_list_sessions")["sessions"] == []
    assert app.runs.list() == []


WARNINGS = {
    "a field that is unknown": (create(promt2="x"), "A.promt2", "prompt"),
    "a choice that is none": (
        block("a", "response", "A", dataMode="jsn", builderData=[]),
        "A.dataMode",
        "json",
    ),
    "a status that is none": (block("a", "response", "A", status="fine"), "A.status", "100"),
    "an agent's memory": (
        block("a", "agent", "A", model="m", memoryType="conversation"),
        "A.memoryType",
        "Remove it",
    ),
    "a notification": (
        block("a", "human_in_the_loop", "A", notification=[{"type": "slack"}]),
        "A.notification",
        "[reminders]",
    ),
    "a key of the block": (
        block("a", "wait", "A", _retris={"enabled": True, "maxTries": 2}),
        "A",
        "retry",
    ),
    "a key of the retry policy": (
        block("a", "wait", "A", _retry={"enabled": True, "maxTrys": 2}),
        "A.retry",
        "maxTries",
    ),
}


@pytest.mark.parametrize(("odd", "place", "told"), WARNINGS.values(), ids=WARNINGS)
def test_what_nobody_reads_is_named_with_what_is_near_it(app, odd, place, told):
    found = check(flow(odd), AppServices(app), env={})
    [problem] = [item for item in found if item.place == place]
    assert problem.level == "warning"
    assert told in f"{problem.text} {problem.hint}"
    assert [item for item in found if item.level == "error"] == []


FINE = {
    "leftovers of another operation": devin(
        "A", "get_session", sessionId="devin-1", prompt="old", tags="old", maxAcuLimit="5"
    ),
    "a reference": create(maxAcuLimit="<start.task>"),
    "text that is a number": create(maxAcuLimit="5", tags="a, b"),
    "a variable": create(maxAcuLimit="{{CAP}}"),
    "what Sim stores where nothing was chosen": block(
        "a", "agent", "A", model="m", memoryType="none", files=[], memory=None
    ),
    "a parameter by its own name": devin(
        "A", "terminate_session", sessionId="devin-1", archive=True
    ),
    "a URL that a run knows": block("a", "api", "A", url="<start.task>/x"),
    "a URL in quotes": block("a", "api", "A", url='"https://acme.example"'),
    "a child that a run knows": block("a", "workflow", "A", workflowId="<start.task>"),
    "a block that never runs": {**create(maxAcuLimit="abc"), "enabled": False},
}


@pytest.mark.parametrize("good", FINE.values(), ids=FINE)
def test_what_works_is_passed_without_a_word(app, good):
    assert check(flow(good), AppServices(app), env={"CAP": "5"}) == []


def test_a_variable_is_checked_where_it_is_known_and_never_shown(app):
    for level, value in (("5", None), ("many-secrets", "A.maxAcuLimit")):
        found = check(flow(create(maxAcuLimit="{{CAP}}")), AppServices(app), env={"CAP": level})
        assert [problem.place for problem in found] == ([value] if value else [])
        assert "many-secrets" not in str(found)


def test_a_parameter_by_its_own_name_counts_as_the_field(app):
    end = devin("A", "terminate_session", sessionId="<first.sessionId>", archive=True)
    result = app.run(flow(end), {"task": "x"})
    assert result.success
    assert result.block_outputs["a"]["isArchived"] is True


@pytest.mark.parametrize(
    "stored",
    [
        {"type": "long-input", "value": "p"},
        {"id": "", "type": "long-input", "value": "p"},
        {"id": "prompt", "value": "p"},
        {"id": "prompt", "type": "unknown", "value": "p"},
        {"value": "p"},
        "p",
    ],
    ids=json.dumps,
)
def test_a_sub_block_without_its_metadata_is_the_field_of_its_key(app, stored):
    made = flow(devin("A"))
    made["state"]["blocks"]["a"]["subBlocks"]["prompt"] = stored
    assert check(made, AppServices(app), env={}) == []
    assert app.run(made, {"task": "x"}).success


def test_every_start_of_a_workflow_is_checked(app):
    blocks = [
        START,
        block("hook", "webhook", "Hook"),
        create(maxAcuLimit="abc"),
        devin("B", prompt="p", maxAcuLimit="xyz"),
    ]
    made = document(blocks, [edge("start", "a"), edge("hook", "b")])
    found = check(made, AppServices(app), env={})
    assert [item.place for item in found] == ["A.maxAcuLimit", "B.maxAcuLimit"]


def test_a_run_from_a_block_is_not_refused_for_the_blocks_before(app):
    made = flow(create(maxAcuLimit="abc"), devin("B", prompt="p"))
    run_id = app.runs.start(made, {"task": "x"}, from_block="b", snapshot=None)
    assert app.runs.show(run_id)["state"] == "ready"


# -- agents ----------------------------------------------------------------------------------------


def agent(*tools, **values):
    return block("a", "agent", "A", **{"model": "m", "tools": list(tools), **values})


DEVIN_TOOL = {"type": "devin", "title": "Devin", "operation": "create_session"}
TOOLS = {
    "a block that is unknown": ({"type": "slak", "title": "Tell"}, "A.tools.Tell", "slak"),
    "a block without operations": (
        {"type": "response", "title": "Answer"},
        "A.tools.Answer",
        "calls no tool",
    ),
    "an operation that is unknown": (
        {**DEVIN_TOOL, "operation": "create_sesion"},
        "A.tools.Devin",
        "create_session",
    ),
    "a tool that is unknown": (
        {"type": "tool", "toolId": "devin_get_sesion"},
        "A.tools.devin_get_sesion",
        "devin_get_session",
    ),
    "a kind that is not there": (
        {"type": "custom-tool", "title": "Mine", "code": "return 1"},
        "A.tools.Mine",
        "cannot be used",
    ),
    "a value that is refused": (
        {**DEVIN_TOOL, "params": {"maxAcuLimit": "abc"}},
        "A.tools.Devin.maxAcuLimit",
        "whole number",
    ),
}


@pytest.mark.parametrize(("tool", "place", "told"), TOOLS.values(), ids=TOOLS)
def test_the_tools_of_an_agent_are_looked_into(app, tool, place, told):
    [problem] = check(flow(agent(tool)), AppServices(app), env={})
    assert (problem.level, problem.place) == ("error", place)
    assert told in f"{problem.text} {problem.hint}"
    assert problem.hint
    with pytest.raises(InvalidWorkflow):
        app.runs.start(flow(agent(tool)), {"task": "x"})


def test_tools_that_an_agent_can_use_are_passed(app):
    tools = (
        {**DEVIN_TOOL, "params": {"maxAcuLimit": "5", "prompt": "<start.task>"}},
        {"type": "devin", "operation": "<start.task>"},
        {"type": "tool", "toolId": "devin_get_session"},
        {"type": "slak", "usageControl": "none"},
    )
    assert check(flow(agent(*tools)), AppServices(app), env={}) == []


def test_a_model_without_a_key_is_found_before_a_run():
    with sim_devin.open_app(
        discover=False, store="memory", env={}, credentials={"apiKey": "k", "orgId": "o"}
    ) as app:
        for model, told in (("gpt-4o", "OPENAI_API_KEY"), ("what-is-this", "provider:name")):
            [problem] = check(flow(agent(model=model)), AppServices(app), env={})
            assert problem.place == "A.model"
            assert told in problem.hint
        keyed = agent(model="gpt-4o", apiKey="{{MINE}}")
        assert check(flow(keyed), AppServices(app), env={"MINE": "k"}) == []


def test_a_child_that_was_not_given_is_found_before_a_run(app):
    child = flow()
    made = flow(block("a", "workflow", "A", workflowId="nightly"))
    with pytest.raises(InvalidWorkflow, match=r"A.workflowId: there is no workflow 'nightly'"):
        app.runs.start(made, {"task": "x"}, children={"nightli": child})
    assert app.runs.start(made, {"task": "x"}, children={"nightly": child})
    assert check(made, AppServices(app), env={}) == []  # a run may be given it


def test_what_is_wrong_in_a_child_names_the_child(app):
    made = flow(block("a", "workflow", "A", workflowId="nightly"))
    bad = flow(create(maxAcuLimit="abc"))
    with pytest.raises(InvalidWorkflow, match=r"workflow 'nightly', A\.maxAcuLimit"):
        app.runs.start(made, {"task": "x"}, children={"nightly": bad})


def test_a_run_that_starts_tells_of_what_nothing_reads(app, caplog):
    app.runs.start(flow(create(promt2="x")), {"task": "x"})
    [record] = [item for item in caplog.records if "promt2" in item.getMessage()]
    assert record.levelname == "WARNING"


# -- what is installed -----------------------------------------------------------------------------


def condition(expression, **more):
    rows = [{"id": "a-if", "title": "if", "value": expression}]
    return block("a", "condition", "A", conditions=json.dumps(rows), **more)


def test_a_missing_extra_is_found_before_the_first_request(app, monkeypatch):
    monkeypatch.setattr("sim_devin.code.javascript.available", lambda: False)
    for start in (app.run, app.runs.start):
        with pytest.raises(MissingDependency, match=r"JavaScript") as refused:
            start(flow(condition("true")), {"task": "x"})
        assert "pip install 'sim-devin[js]'" in refused.value.hint
        assert start(flow(), {"task": "x"})


def test_the_library_of_models_is_missed_before_the_first_request(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with sim_devin.open_app(
        discover=False,
        store="memory",
        env={"OPENAI_API_KEY": "k"},
        credentials={"apiKey": "k", "orgId": "o"},
        transport=object(),
    ) as app:
        for start in (app.run, app.runs.start):
            with pytest.raises(MissingDependency) as refused:
                start(flow(agent(model="gpt-4o")), {"task": "x"})
            assert "pip install 'sim-devin[agent]'" in refused.value.hint


def test_a_worker_that_lacks_an_extra_holds_the_run_and_says_so(app, monkeypatch):
    run_id = app.runs.start(flow(condition("true")), {"task": "x"})
    monkeypatch.setattr("sim_devin.code.javascript.available", lambda: False)
    app.runs.follow(run_id)
    run = app.runs.show(run_id)
    assert run["state"] == "held"
    assert "sim-devin[js]" in run["error"]
    assert app.call("devin_list_sessions")["sessions"] == []


def test_python_is_refused_where_it_is_not_allowed(app):
    made = flow(block("a", "function", "A", language="python", code="return 1"))
    [problem] = check(made, AppServices(app), env={})
    assert (problem.level, problem.place) == ("warning", "A.language")
    with pytest.raises(InvalidWorkflow, match="--allow-python"):
        app.runs.start(made, {"task": "x"})
    assert app.runs.start(made, {"task": "x"}, allow_python=True)


# -- code ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "mend"),
    [
        (condition("\"<start.task>\" === 'yes'"), "Write <start.task> without the quotes"),
        (condition("'<start.task>' === 'yes'"), "Write <start.task> without the quotes"),
        (
            block("a", "function", "A", code="return '<first.sessionId>' + 1"),
            "Write <first.sessionId> without",
        ),
        (
            block("a", "function", "A", code="return `to <start.task>`"),
            "Write ${<start.task>}",
        ),
    ],
)
def test_a_reference_between_quotes_is_named_with_the_mend(app, made, mend):
    [problem] = check(flow(made), AppServices(app), env={})
    assert problem.level == "warning"
    assert mend in problem.hint


@pytest.mark.parametrize(
    ("made", "place"),
    [
        (condition("{{NOPE}} === 1"), "A.conditions.if"),
        (condition("<loop.index> === 1"), "A.conditions.if"),
        (block("a", "function", "A", code="return <nobody.x>"), "A.code"),
        (block("a", "function", "A", code="return <variable.nope>"), "A.code"),
    ],
)
def test_code_is_tried_as_a_run_would_have_it(app, made, place):
    errors = [p for p in check(flow(made), AppServices(app), env={}) if p.level == "error"]
    assert [item.place for item in errors] == [place]
    assert all(item.hint for item in errors)


def test_what_may_never_be_reached_is_a_warning(app):
    rows = [
        {"id": "a-if", "title": "if", "value": "true"},
        {"id": "a-elif", "title": "else if", "value": "this is not js"},
    ]
    made = block("a", "condition", "A", conditions=json.dumps(rows))
    [problem] = check(flow(made), AppServices(app), env={})
    assert (problem.level, problem.place) == ("warning", "A.conditions.else if")


def handled(*edges):
    blocks = [
        START,
        devin("A", "get_session", sessionId="devin-1"),
        devin("B", "get_session", sessionId="devin-2"),
        block("h", "response", "H", dataMode="json", data='{"why": "<a.error>"}'),
    ]
    return document(blocks, [edge("start", "a"), *edges])


@pytest.mark.parametrize(
    ("edges", "level"),
    [
        ([edge("a", "b"), edge("a", "h", "error")], None),
        ([edge("a", "b"), edge("a", "h", "error"), edge("b", "h", "error")], "warning"),
        ([edge("a", "b"), edge("b", "h", "error")], "error"),
        ([edge("a", "h")], "error"),
    ],
    ids=["its own", "shared", "another's", "none"],
)
def test_the_error_of_a_block_that_succeeded_is_told(app, edges, level):
    found = [p for p in check(handled(*edges), AppServices(app), env={}) if p.place == "H.data"]
    assert [item.level for item in found] == ([level] if level else [])


# -- what Sim does ---------------------------------------------------------------------------------


def test_the_results_of_a_loop_that_did_not_run_are_undefined(app):
    blocks = [
        START,
        condition("false"),
        block("l", "loop", "Loop 1", container={"loopType": "for", "count": 1}),
        block("i", "function", "I", code="return 1", parent="l"),
        block("f", "function", "F", code="return typeof <loop1.results>"),
        block(
            "c",
            "condition",
            "C",
            conditions=[{"id": "c-if", "title": "if", "value": "<loop1.results> === undefined"}],
        ),
    ]
    edges = [
        edge("start", "a"),
        edge("a", "l", "condition-a-if"),
        edge("l", "i", "loop-start-source"),
        edge("start", "f"),
        edge("f", "c"),
    ]
    result = app.run(document(blocks, edges), {"task": "x"})
    assert result.success
    assert result.block_outputs["f"]["result"] == "undefined"
    assert result.block_outputs["c"]["selectedOption"] == "c-if"


def test_function_code_reads_the_variables_as_sim_calls_them(app):
    code = """
        const { REGION } = environmentVariables
        return [environmentVariables.LIMIT, environmentVariables['LIMIT'], REGION,
                environmentVariables?.NOPE === undefined]
    """
    env = {"LIMIT": "3", "REGION": "eu-west", "OTHER": "x"}
    result = app.run(flow(block("a", "function", "A", code=code)), {"task": "x"}, env=env)
    assert result.block_outputs["a"]["result"] == ["3", "3", "eu-west", True]
    keys = "return Object.keys(environmentVariables)"
    for text, expected in ((f"{keys} // environmentVariables.LIMIT", [*env]), ("return 1", 1)):
        made = flow(block("a", "function", "A", code=text))
        assert app.run(made, {"task": "x"}, env=env).block_outputs["a"]["result"] == expected


def test_no_model_reads_a_variable_that_code_read(app):
    code = "return 'it is ' + environmentVariables.NOTE"
    made = flow(block("a", "function", "A", code=code), devin("B", prompt="say: <a.result>"))
    result = app.run(made, {"task": "x"}, env={"NOTE": "a-long-and-private-note"})
    assert result.success
    [_, asked] = app.transport.simulator.truth()
    assert "a-long-and-private-note" not in json.dumps(asked)
    warned = check(made, AppServices(app), env={"NOTE": "a-long-and-private-note"})
    assert [(item.level, item.place) for item in warned] == [("warning", "B.prompt")]


def test_several_pauses_are_told_as_their_responses(app):
    blocks = [START, *(block(name, "human_in_the_loop", name) for name in "ab")]
    result = app.run(document(blocks, [edge("start", "a"), edge("start", "b")]), {"task": "x"})
    assert result.output["pauseCount"] == 2
    for paused in result.output["pausedBlocks"]:
        assert paused.keys() == {"data", "status", "headers"}


def test_the_error_port_tells_the_child_that_could_not_be_run(app):
    blocks = [
        START,
        block("a", "workflow", "A", workflowId="nobody"),
        block("h", "response", "H", dataMode="json", data='{"who": "<a.childWorkflowName>"}'),
    ]
    made = document(blocks, [edge("start", "a"), edge("a", "h", "error")])
    assert app.run(made, {"task": "x"}).output["data"] == {"who": "nobody"}


@pytest.mark.parametrize(
    ("tries", "expected"),
    [("", 2), (None, 3), ("4", 4), ("many", 3), (0, 2), (9, 5)],
)
def test_retry_counts_are_read_as_javascript_reads_numbers(tries, expected):
    retry = {"enabled": True, "maxTries": tries}
    made = load_workflow(document([block("a", "function", _retry=retry)], []))
    assert made.blocks["a"].retry.tries == expected
