import json
from pathlib import Path

import pytest

import sim_devin
from sim_devin.code import javascript
from sim_devin.engine.workflow_check import check
from workflow.fakes import AppServices, block, document, edge

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
START = block("start", "start_trigger", "Start", inputFormat=[{"name": "n", "type": "number"}])
DEVIN = {"operation": "get_session", "apiKey": "{{DEVIN_API_KEY}}", "orgId": "org-x"}


@pytest.fixture(scope="module")
def services():
    return AppServices(sim_devin.open_app(discover=False, env={}))


def found(services, blocks, edges, **options):
    made = document([START, *blocks], edges, variables=options.pop("variables", None))
    return {(item.level, item.place, str(item)) for item in check(made, services, **options)}


def get(block_id, name, session="s1", **values):
    return block(block_id, "devin", name, **{**DEVIN, "sessionId": session, **values})


def row(value):
    return json.dumps([{"id": "c-if", "title": "if", "value": value}])


CASES = {
    "unknown block type": (
        [block("x", "slack", "Tell")],
        [edge("start", "x")],
        ("error", "Tell", "unknown block type 'slack'"),
    ),
    "edge to nowhere": (
        [get("a", "A")],
        [edge("start", "a"), edge("a", "ghost")],
        ("warning", "A", "missing block: ghost"),
    ),
    "edge through a wall": (
        [get("a", "A"), block("l", "loop", "L"), get("i", "I", parent="l")],
        [
            edge("start", "l"),
            edge("l", "i", "loop-start-source"),
            edge("start", "a"),
            edge("a", "i"),
        ],
        ("warning", "A", "crosses the boundary"),
    ),
    "branch that is not there": (
        [block("c", "condition", "C", conditions=row("true")), get("a", "A")],
        [edge("start", "c"), edge("c", "a", "condition-other")],
        ("error", "C", "'other', which the block does not have"),
    ),
    "two blocks of one name": (
        [get("a", "My A"), get("b", "my a")],
        [edge("start", "a"), edge("a", "b")],
        ("warning", "my a", "'My A' has the same name"),
    ),
    "reserved name": (
        [get("a", "Loop")],
        [edge("start", "a")],
        ("warning", "Loop", "the name is reserved"),
    ),
    "missing credential": (
        [get("a", "A", apiKey=None)],
        [edge("start", "a")],
        ("error", "A.apiKey", "has no value"),
    ),
    "missing parameter": (
        [get("a", "A", session=None)],
        [edge("start", "a")],
        ("error", "A.sessionId", "has no value"),
    ),
    "unknown operation": (
        [get("a", "A", operation="get_sesion")],
        [edge("start", "a")],
        ("error", "A.operation", "get_sesion"),
    ),
    "unreachable block": ([get("a", "A")], [], ("warning", "A", "never runs")),
    "empty container": (
        [block("l", "loop", "L")],
        [edge("start", "l")],
        ("error", "L", "the container is empty"),
    ),
    "circle": (
        [get("a", "A"), get("b", "B")],
        [edge("start", "a"), edge("a", "b"), edge("b", "a")],
        ("error", "A", "waits for itself"),
    ),
    "reference to no block": (
        [get("a", "A", "<gost.x>")],
        [edge("start", "a")],
        ("warning", "A.sessionId", "unknown block"),
    ),
    "reference to nothing put out": (
        [get("a", "A"), get("b", "B", "<a.statsu>")],
        [edge("start", "a"), edge("a", "b")],
        ("error", "B.sessionId", "is not an output"),
    ),
    "reference to a later block": (
        [get("a", "A", "<b.url>"), get("b", "B")],
        [edge("start", "a"), edge("a", "b")],
        ("warning", "A.sessionId", "cannot have run before"),
    ),
    "reference to itself": (
        [get("a", "A", "<a.url>")],
        [edge("start", "a")],
        ("warning", "A.sessionId", "the block itself"),
    ),
    "loop outside of a loop": (
        [get("a", "A", "<loop.index>")],
        [edge("start", "a")],
        ("warning", "A.sessionId", "outside of any loop"),
    ),
    "item in a loop that counts": (
        [block("l", "loop", "L"), get("i", "I", "<loop.currentItem>", parent="l")],
        [edge("start", "l"), edge("l", "i", "loop-start-source")],
        ("warning", "I.sessionId", "only counts"),
    ),
    "unknown variable": (
        [get("a", "A", "<variable.nope>")],
        [edge("start", "a")],
        ("warning", "A.sessionId", "unknown variable"),
    ),
    "blanks in an environment name": (
        [get("a", "A", "{{ NAME }}")],
        [edge("start", "a")],
        ("warning", "A.sessionId", "because of the spaces"),
    ),
}
NEEDS_ENGINE = {
    "function that does not parse": (
        [block("f", "function", "F", code="const a =\nreturn <start.n> +")],
        [edge("start", "f")],
        ("error", "F.code", "does not parse, line"),
    ),
    "condition that does not parse": (
        [block("c", "condition", "C", conditions=row("<start.n> >"))],
        [edge("start", "c")],
        ("error", "C.conditions.if", "does not parse"),
    ),
    "while condition that does not parse": (
        [
            block("l", "loop", "L", container={"loopType": "while", "whileCondition": "(("}),
            get("i", "I", parent="l"),
        ],
        [edge("start", "l"), edge("l", "i", "loop-start-source")],
        ("warning", "L.whileCondition", "does not parse"),
    ),
}


@pytest.mark.parametrize("name", [*CASES, *NEEDS_ENGINE])
def test_each_mistake_is_found_with_its_place(services, name):
    if name in NEEDS_ENGINE and not javascript.available():
        pytest.skip("needs the extra [js]")
    blocks, edges, (level, place, text) = {**CASES, **NEEDS_ENGINE}[name]
    problems = found(services, blocks, edges)
    assert any(item[0] == level and item[1] == place and text in item[2] for item in problems), (
        problems
    )
    assert all(
        item.hint or name == "edge through a wall"
        for item in check(document([START, *blocks], edges), services)
    )


def test_a_sound_workflow_has_no_problems(services):
    blocks = [get("a", "A"), get("b", "B", "<a.sessionId>")]
    assert found(services, blocks, [edge("start", "a"), edge("a", "b")]) == set()


def test_an_earlier_pass_of_a_loop_may_be_referred_to(services):
    blocks = [
        block("l", "loop", "L"),
        get("i", "I", "<j.sessionId>", parent="l"),
        get("j", "J", parent="l"),
        get("z", "Z", "<i.sessionId>"),
    ]
    edges = [
        edge("start", "l"),
        edge("l", "i", "loop-start-source"),
        edge("i", "j"),
        edge("l", "z", "loop-end-source"),
    ]
    assert found(services, blocks, edges) == set()


def test_variables_of_the_environment_are_looked_for_when_it_is_given(services):
    blocks = [get("a", "A", "{{SESSION}}")]
    levels = {item[:2] for item in found(services, blocks, [edge("start", "a")], env={})}
    assert levels == {("error", "A.apiKey"), ("warning", "A.sessionId"), ("warning", "A.apiKey")}


def test_what_is_no_workflow_is_said_so(services):
    [problem] = check({"blocks": {}, "edges": 1}, services)
    assert problem.level == "error"
    assert json.dumps(problem.to_json())


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.name)
def test_the_examples_are_sound(services, path):
    assert check(path, services) == []
