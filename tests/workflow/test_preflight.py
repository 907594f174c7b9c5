"""What cannot work is found before a run: it has spent nothing by then."""

import json
from itertools import pairwise

import pytest

import sim_devin
from sim_devin.engine.workflow_check import check
from sim_devin.errors import InvalidWorkflow
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
    "no operation": (devin("A", None, prompt="p"), "A.operation", "no operation is chosen"),
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
