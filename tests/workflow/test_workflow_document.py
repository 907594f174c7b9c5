import json
from pathlib import Path

import pytest

from sim_devin.engine import dag, graph
from sim_devin.engine.document import load_workflow, parse_text, parse_workflow
from sim_devin.engine.program import Program, needs_plugin
from sim_devin.engine.workflow import Loop, Parallel
from sim_devin.errors import CallerError, InvalidWorkflow
from workflow.fakes import FakeServices, block, document, edge

START = block("start", "start_trigger", "Start")
PLAIN = document([START, block("f", "function", "F")], [edge("start", "f")])


@pytest.mark.parametrize(
    "wrapped",
    [
        PLAIN,
        PLAIN["state"],
        {"data": PLAIN},
        {"data": {**PLAIN, "workflow": {"name": "Other"}}},
        {**PLAIN, "version": "99.0"},
    ],
    ids=["export", "bare state", "api answer", "api answer with workflow", "unknown version"],
)
def test_all_forms_of_the_export_are_read(wrapped):
    workflow = parse_workflow(wrapped)
    assert list(workflow.blocks) == ["start", "f"]
    assert workflow.edges[0].handle == "source"
    assert workflow.name == "Test"


def test_a_file_is_read_and_a_broken_one_named(tmp_path):
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(PLAIN), encoding="utf-8-sig")
    assert load_workflow(path) == load_workflow(str(path)) == parse_workflow(PLAIN)
    with pytest.raises(InvalidWorkflow, match=r"missing\.json"):
        load_workflow(tmp_path / "missing.json")
    with pytest.raises(InvalidWorkflow, match="not JSON"):
        parse_text("{")


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        ({"blocks": []}, ["Missing or invalid field: blocks"]),
        ({"edges": {}}, ["Missing or invalid field: edges (must be an array)"]),
        (
            {"blocks": {"a": {"id": "a"}}, "edges": [{"id": "e", "source": "a"}]},
            [
                "Block a missing required field: type",
                "Block a missing or invalid position",
                "Edge at index 0 missing required field: target",
            ],
        ),
        ({"blocks": {"a": 1}}, ["Block a is not an object"]),
        ({"edges": [1]}, ["Edge at index 0 is not an object"]),
        ({"blocks": {"a": {**START, "subBlocks": []}}}, ["Block a: subBlocks is not an object"]),
    ],
)
def test_every_structural_problem_is_listed(change, problems):
    with pytest.raises(InvalidWorkflow) as caught:
        parse_workflow({**PLAIN["state"], **change})
    assert caught.value.problems == problems


def test_containers_that_contain_each_other_are_refused():
    blocks = [block("a", "loop", parent="b"), block("b", "loop", parent="a")]
    with pytest.raises(InvalidWorkflow, match="contain each other"):
        parse_workflow(document(blocks, []))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, Loop("x", "for", 5)),
        ({"loopType": "odd", "count": 0}, Loop("x", "for", 5)),
        (
            {"loopType": "forEach", "collection": [1]},
            Loop("x", "forEach", 5, items=[1]),
        ),
        (
            {"loopType": "doWhile", "doWhileCondition": "true"},
            Loop("x", "doWhile", 5, do_while_condition="true"),
        ),
    ],
)
def test_a_loop_is_rebuilt_from_its_block(settings, expected):
    found = parse_workflow(document([block("x", "loop", container=settings)], []))
    assert found.containers["x"] == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, Parallel("x", "count", 5, batch=20)),
        ({"parallelType": "odd", "batchSize": 0}, Parallel("x", "collection", 5, batch=1)),
        ({"count": 2, "batchSize": 99}, Parallel("x", "count", 2, batch=20)),
        ({"batchSize": "3"}, Parallel("x", "count", 5, batch=3)),
    ],
)
def test_a_parallel_is_rebuilt_from_its_block(settings, expected):
    found = parse_workflow(document([block("x", "parallel", container=settings)], []))
    assert found.containers["x"] == expected


def test_stored_containers_count_only_where_no_block_is():
    stored = {"old": {"id": "old", "nodes": ["f"], "loopType": "for", "iterations": 2}}
    found = parse_workflow({**PLAIN["state"], "loops": stored})
    assert found.containers["old"].count == 2
    assert found.blocks["f"].parent == "old"
    blocks = [START, block("x", "loop", container={"count": 7})]
    mixed = parse_workflow({**document(blocks, [])["state"], "loops": stored})
    assert list(mixed.containers) == ["x"]


@pytest.mark.parametrize(
    ("stored", "tries", "wait"),
    [
        ({"enabled": True}, 3, 1.0),
        ({"enabled": True, "maxTries": 99, "waitBetweenTriesMs": 1e9}, 5, 5.0),
        ({"enabled": True, "maxTries": 0, "waitBetweenTriesMs": -1}, 2, 0.0),
        ({"enabled": True, "maxTries": "4.7"}, 4, 1.0),
    ],
)
def test_a_retry_policy_is_clamped(stored, tries, wait):
    found = parse_workflow(document([block("a", "function", _retry=stored)], [])).blocks["a"].retry
    assert (found.tries, found.wait) == (tries, wait)


def test_variables_may_be_a_list():
    variables = [{"name": "n", "type": "number", "value": "3"}, "junk"]
    found = parse_workflow({**PLAIN["state"], "variables": variables})
    assert found.variables["n"].value == "3"


# -- graph ---------------------------------------------------------------------------------------


def rows(blocks, edges):
    return dag.rows(graph.build(parse_workflow(document([START, *blocks], edges)), "start"))


def test_only_what_enabled_blocks_lead_to_is_in_the_graph():
    found = rows(
        [
            block("a", "function"),
            block("off", "function", enabled=False),
            block("behind", "function"),
            block("orphan", "function"),
            block("n", "note"),
        ],
        [
            edge("start", "a"),
            edge("start", "off"),
            edge("off", "behind"),
            edge("orphan", "a"),
            edge("a", "n"),
            edge("a", "ghost"),
        ],
    )
    assert [row[0] for row in found] == ["start", "a"]
    assert found[1] == ("a", ["start"], [])


def test_edges_through_a_containers_wall_are_no_wiring():
    found = {
        row[0]: row[1:]
        for row in rows(
            [
                block("l", "loop"),
                block("i", "function", parent="l"),
                block("z", "function"),
            ],
            [edge("start", "l"), edge("l", "i", "loop-start-source"), edge("i", "z")],
        )
    }
    assert found["z"] == ([], [])
    assert found["i"] == (["loop-l-sentinel-start"], [("loop-l-sentinel-end", None)])


# The structure of eleven exports that are shipped with Sim: ids shortened, texts left out.
REAL = json.loads((Path(__file__).parent / "data" / "real_exports.json").read_text("utf-8"))
OURS = {"agent", "function", "note", "loop", "parallel", "schedule", "start_trigger", "api"}


@pytest.mark.parametrize("name", REAL)
def test_real_exports_have_the_graph_that_sim_builds_and_name_what_needs_a_plugin(name):
    real = REAL[name]
    blocks = [
        block(block_id, kind, parent=parent, enabled=enabled, _triggerMode=trigger)
        for block_id, kind, parent, enabled, trigger in real["blocks"]
    ]
    workflow = parse_workflow(document(blocks, [edge(*item) for item in real["edges"]]))
    ours = {row[0]: row[1:] for row in dag.rows(graph.build(workflow, real["start"]))}
    assert ours == {
        node: (sorted(before), sorted((tuple(item) for item in after), key=str))
        for node, before, after in real["graph"]
    }
    services = FakeServices()
    needing = {item.type for item in workflow.blocks.values() if needs_plugin(item, services)}
    assert needing == {
        kind for _, kind, _, _, trigger in real["blocks"] if kind not in OURS and not trigger
    }


def test_a_trigger_of_any_product_can_start_a_run():
    trigger = block("g", "gmail_v2", "Mail", _triggerMode=True)
    workflow = parse_workflow(document([trigger, block("f", "function")], [edge("g", "f")]))
    assert Program(workflow, FakeServices(), kind="webhook").start.id == "g"


# -- bindings ------------------------------------------------------------------------------------


def test_bindings_reach_blocks_by_name_as_references_spell_it_or_by_id():
    from sim_devin.engine.bindings import bind

    workflow = parse_workflow(document([block("b1", "api", "My API.1")], []))
    bound = bind(workflow, {"my api1.url": "https://x", "b1.method": "POST"})
    assert bound.blocks["b1"].values == {"url": "https://x", "method": "POST"}
    assert workflow.blocks["b1"].values == {}


def test_a_binding_to_nothing_is_refused_with_the_nearest_name():
    from sim_devin.engine.bindings import bind

    workflow = parse_workflow(document([block("b1", "api", "Fetch")], []))
    with pytest.raises(CallerError, match="Did you mean 'Fetch'"):
        bind(workflow, {"Fetsh.url": "x"})


def test_what_is_missing_is_listed_with_the_variable_that_would_do():
    from sim_devin.engine import bindings

    services = FakeServices({"secretive": lambda context: {}})
    workflow = parse_workflow(
        document([START, block("s", "secretive", "S", apiKey=None)], [edge("start", "s")])
    )
    missing = bindings.missing(workflow, services, {})
    assert [(item.key, item.variable) for item in missing] == [("S.apiKey", "TEST_API_KEY")]
    found = {"s.apiKey": "{{TEST_API_KEY}}"}
    assert bindings.missing(bindings.bind(workflow, found), services, {"TEST_API_KEY": "x"}) == []
