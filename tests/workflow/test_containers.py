import itertools

import pytest

from sim_devin.code import javascript
from sim_devin.engine import engine
from sim_devin.engine.contract import handler
from sim_devin.engine.scopes import block_of
from workflow.fakes import FakeServices, block, document, edge

needs_engine = pytest.mark.skipif(not javascript.available(), reason="needs the extra [js]")
START = block("start", "start_trigger", "Start")


@handler(inline=True)
def echo(context):
    return {"text": context.values.get("text")}


def run(blocks, edges, inputs=None, **options):
    services = FakeServices({"echo": echo, **options.pop("handlers", {})})
    made = document([START, *blocks], edges)
    return engine.run(made, inputs, services=services, env={}, **options)


def around(kind, text, inputs=None, **settings):
    """Run a container with one echo block inside."""
    return run(
        [
            block("c", kind, "Box", container=settings),
            block("i", "echo", "I", parent="c", text=text),
        ],
        [edge("start", "c"), edge("c", "i", f"{kind}-start-source")],
        inputs,
    )


def texts(result):
    return [[item["text"] for item in each] for each in result.block_outputs["c"]["results"]]


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"loopType": "for", "count": 2}, [["0"], ["1"]]),
        ({"loopType": "for", "count": "2"}, [["0"], ["1"]]),
        ({"loopType": "doWhile", "count": 2}, [["0"], ["1"]]),
        ({"loopType": "while"}, []),
    ],
)
def test_loops_that_count(settings, found):
    assert texts(around("loop", "<loop.index>", **settings)) == found


@pytest.mark.parametrize("kind", ["loop", "parallel"])
@pytest.mark.parametrize(
    ("collection", "found"),
    [
        (["a", {"k": 1}], [["a"], ['{"k":1}']]),
        ({"x": 1}, [['["x",1]']]),
        ('["a", "b"]', [["a"], ["b"]]),
        ("['a']", [["a"]]),
        ("<start.list>", [["p"], ["q"]]),
        ("<start.nothing>", []),
    ],
)
def test_collections(kind, collection, found):
    settings = {"loopType": "forEach", "parallelType": "collection", "collection": collection}
    inputs = {"list": ["p", "q"], "nothing": None}
    assert texts(around(kind, f"<{kind}.currentItem>", inputs, **settings)) == found


@pytest.mark.parametrize(
    ("collection", "message"),
    [
        ("", "is empty"),
        ("plain words", "did not resolve to an array or object"),
        ("<start.text>", "did not resolve to an array or object"),
        (" <start.list>", "did not resolve to an array or object"),
    ],
)
@pytest.mark.parametrize("kind", ["loop", "parallel"])
def test_what_is_no_collection_fails_the_run_at_the_container(kind, collection, message):
    settings = {"loopType": "forEach", "parallelType": "collection", "collection": collection}
    result = around(kind, "x", {"text": "words", "list": []}, **settings)
    assert not result.success
    assert message in result.error
    assert result.failed_block == "c"
    assert result.logs[-1].block_type == kind


@needs_engine
@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({"loopType": "while", "whileCondition": "<loop.index> < 3"}, 3),
        ({"loopType": "doWhile", "doWhileCondition": "<box.index> < 2"}, 2),
        ({"loopType": "doWhile", "doWhileCondition": "false"}, 1),
        ({"loopType": "while", "whileCondition": "<loop.index> <"}, 0),
        ({"loopType": "while", "whileCondition": "{{NAME}} < 3"}, 0),
        ({"loopType": "while", "whileCondition": "<start.go>  && <loop.index> < 1"}, 1),
    ],
)
def test_loops_that_ask(settings, passes):
    assert len(texts(around("loop", "x", {"go": "TRUE"}, **settings))) == passes


def test_branches_come_in_batches_and_keep_their_order():
    result = around("parallel", "<parallel.index>", parallelType="count", count=5, batchSize=2)
    assert texts(result) == [["0"], ["1"], ["2"], ["3"], ["4"]]
    ids = [log.block_id for log in result.logs if log.block_type == "echo"]
    assert ids == ["i₍0₎", "i₍1₎", "i₍0₎", "i₍1₎", "i₍0₎"]
    assert result.block_outputs["i__obranch-3"] == {"text": "3"}


PAIRS = list(itertools.product(["loop", "parallel"], repeat=2))
THROUGH = [
    edge("start", "c"),
    edge("c", "i", "loop-start-source"),
    edge("c", "z", "loop-end-source"),
]


def nested(outer, inner, text):
    """Return a container in a container, both over two passes."""
    settings = {"loopType": "for", "parallelType": "count", "count": 2}
    return (
        [
            block("o", outer, "Outer", container=settings),
            block("n", inner, "Inner", parent="o", container=settings),
            block("i", "echo", "I", parent="n", text=text),
            block("z", "echo", "Z", text="<i.text>"),
        ],
        [
            edge("start", "o"),
            edge("o", "n", f"{outer}-start-source"),
            edge("n", "i", f"{inner}-start-source"),
            edge("o", "z", f"{outer}-end-source"),
        ],
    )


@pytest.mark.parametrize(
    ("outer", "inner"), list(itertools.product(["loop", "parallel"], repeat=2))
)
def test_containers_nest(outer, inner):
    result = run(*nested(outer, inner, "<outer.index><inner.index>"))
    found = result.block_outputs["o"]["results"]
    assert [[item["text"] for each in box["results"] for item in each] for [box] in found] == [
        ["00", "01"],
        ["10", "11"],
    ]
    # From outside a parallel shows its first branch, a loop its last iteration.
    last = {"loop": "1", "parallel": "0"}
    assert result.output["text"] == last[outer] + last[inner]


def test_blocks_deeper_in_a_branch_are_clones_with_ids_of_their_own():
    result = run(*nested("parallel", "loop", "x"))
    ids = {log.block_id for log in result.logs if log.block_type == "echo" and log.loop_id}
    assert len(ids) == 2
    assert "i" in ids
    assert {block_of(node_id) for node_id in result.block_outputs} == {"start", "o", "n", "i", "z"}
    branch = next(log for log in result.logs if log.loop_id == "n__obranch-1")
    assert branch.parent_iterations == [
        {
            "iterationCurrent": 1,
            "iterationTotal": 2,
            "iterationType": "parallel",
            "iterationContainerId": "o",
        }
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<loop.index>", "<loop.index>"),
        ("<parallel.currentItem>", "<parallel.currentItem>"),
        ("<box.results>", '[[{"text":"0"}]]'),
        ("<box.result[0][0].text>", "0"),
    ],
)
def test_references_to_a_container_from_outside(text, shown):
    result = run(
        [
            block("c", "loop", "Box", container={"count": 1}),
            block("i", "echo", "I", parent="c", text="<loop.index>"),
            block("z", "echo", "Z", text=text),
        ],
        [
            edge("start", "c"),
            edge("c", "i", "loop-start-source"),
            edge("c", "z", "loop-end-source"),
        ],
    )
    assert result.output["text"] == shown


@pytest.mark.parametrize("text", ["<box.index>", "<box.currentItem>"])
def test_properties_of_a_pass_are_unknown_outside(text):
    result = run(
        [
            block("c", "loop", "Box", container={"count": 1}),
            block("i", "echo", "I", parent="c"),
            block("z", "echo", "Z", text=text),
        ],
        [
            edge("start", "c"),
            edge("c", "i", "loop-start-source"),
            edge("c", "z", "loop-end-source"),
        ],
    )
    assert "Available fields: results" in result.error


def test_an_unknown_property_of_a_pass_names_the_known_ones():
    result = around("loop", "<loop.idx>", loopType="forEach", collection=[1])
    assert "Available fields: index, currentItem, items" in result.error


def test_a_container_with_nothing_inside_fails_the_run():
    result = run([block("c", "loop", "Box")], [edge("start", "c")])
    assert result.error.startswith("Loop has no executable blocks inside")


def test_a_failure_inside_names_the_block_of_the_branch():
    def fails(context):
        raise ValueError("no")

    result = run(
        [
            block("c", "parallel", "Box", container={"count": 2}),
            block("i", "fails", "I", parent="c"),
        ],
        [edge("start", "c"), edge("c", "i", "parallel-start-source")],
        handlers={"fails": fails},
    )
    assert result.error == "I: no"
    assert result.failed_block in ("i₍0₎", "i₍1₎")


def test_a_loop_of_ten_thousand_passes_does_not_recurse():
    result = around("loop", "x", loopType="for", count=10_000)
    assert len(texts(result)) == 10_000
