"""How much a run costs beside its blocks: ratios in one process, medians of interleaved rounds.

    python benchmarks/engine.py [--blocks 1000] [--rounds 15] [--json]

No-op blocks with resolved parameters, chained and fanned out, events on, against
`graphlib.TopologicalSorter` over the same functions; against LangGraph and Haystack where
they are installed; cost a block from 1,000 to 50,000 blocks; memory over 10,000 iterations.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import itertools
import json
import operator
import statistics
import sys
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, TypedDict

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from workflow.fakes import FakeServices, block, document, edge

from sim_devin.engine.budget import Budget
from sim_devin.engine.contract import BlockContext, handler
from sim_devin.engine.document import parse_workflow
from sim_devin.engine.engine import Bound, run_program
from sim_devin.engine.program import Program

GOALS = {"topological sorter": 6.0, "langgraph": 0.1, "haystack": 0.01}


def work(value: Any) -> dict[str, Any]:
    """Return what every no-op block puts out."""
    return {"value": value}


@handler(inline=True)
def noop(context: BlockContext) -> dict[str, Any]:
    """Run a no-op block."""
    return work(context.values["text"])


def chain(count: int) -> dict[str, Any]:
    """Return start → b0 → b1 → …, each block reading the one before."""
    blocks = [block("start", "start_trigger", "Start")]
    blocks += [
        block(f"b{n}", "noop", f"B{n}", text=f"<b{n - 1}.value>" if n else "<start.value>")
        for n in range(count)
    ]
    ids = [item["id"] for item in blocks]
    return document(blocks, [edge(a, b) for a, b in itertools.pairwise(ids)])


def fan(count: int) -> dict[str, Any]:
    """Return start → count blocks → one that joins them."""
    blocks = [block("start", "start_trigger", "Start")]
    blocks += [block(f"b{n}", "noop", f"B{n}", text="<start.value>") for n in range(count)]
    blocks.append(block("join", "noop", "Join", text="<b0.value>"))
    edges = [edge("start", f"b{n}") for n in range(count)]
    edges += [edge(f"b{n}", "join") for n in range(count)]
    return document(blocks, edges)


def predecessors(workflow: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return node -> the nodes before it."""
    before: dict[str, list[str]] = {name: [] for name in workflow["state"]["blocks"]}
    for item in workflow["state"]["edges"]:
        before[item["target"]].append(item["source"])
    return before


def sorter(workflow: Mapping[str, Any]) -> Callable[[], None]:
    """Return a run of the same functions over graphlib."""
    before = predecessors(workflow)

    def go() -> None:
        order: TopologicalSorter[str] = TopologicalSorter(before)
        order.prepare()
        outputs: dict[str, Any] = {}
        while order.is_active():
            for node in order.get_ready():
                sources = before[node]
                outputs[node] = work(outputs[sources[0]]["value"] if sources else "x")
                order.done(node)

    return go


def ours(workflow: Mapping[str, Any]) -> Callable[[], None]:
    """Return a run of a compiled workflow with a listener."""
    program = Program(parse_workflow(workflow), FakeServices(handlers={"noop": noop}))
    bound = Bound(env={}, bindings={}, budget=Budget({}))
    seen: deque[object] = deque(maxlen=100)

    def go() -> None:
        result = run_program(
            program, {"value": "x"}, bound=bound, on_event=seen.append, max_logs=10**6
        )
        assert result.success, result.error

    return go


class State(TypedDict):
    """The state of the LangGraph contender."""

    values: Annotated[dict[str, Any], operator.or_]


def langgraph(workflow: Mapping[str, Any]) -> Callable[[], None]:
    """Return a run of the same functions over LangGraph."""
    from langgraph.graph import END, START, StateGraph

    before = predecessors(workflow)
    graph = StateGraph(State)

    def node(name: str) -> Callable[[State], State]:
        source = before[name][0] if before[name] else None
        return lambda state: {
            "values": {name: work(state["values"][source]["value"] if source else "x")}
        }

    followed = {source for sources in before.values() for source in sources}
    for name in before:
        graph.add_node(name, node(name))
    for name, sources in before.items():
        if not sources:
            graph.add_edge(START, name)
        elif len(sources) == 1:
            graph.add_edge(sources[0], name)
        else:
            graph.add_edge(sources, name)
        if name not in followed:
            graph.add_edge(name, END)
    compiled = graph.compile()
    limit = len(before) + 10
    return lambda: compiled.invoke({"values": {}}, {"recursion_limit": limit}) and None


def haystack(workflow: Mapping[str, Any]) -> Callable[[], None]:
    """Return a run of the same functions over Haystack."""
    from haystack import Pipeline, component

    @component
    class Noop:
        @component.output_types(value=str)
        def run(self, value: str) -> dict[str, Any]:
            return work(value)

    before = predecessors(workflow)
    pipeline = Pipeline()
    for name in before:
        pipeline.add_component(name, Noop())
    for name, sources in before.items():
        if sources:
            pipeline.connect(f"{sources[0]}.value", f"{name}.value")
    first = next(name for name, sources in before.items() if not sources)
    return lambda: pipeline.run({first: {"value": "x"}}) and None


def medians(contenders: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Return seconds a run of each, the median of interleaved rounds."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for go in contenders.values():
        go()
    for _ in range(rounds):
        for name, go in contenders.items():
            gc.collect()
            started = time.perf_counter()
            go()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in times.items()}


def compare(name: str, workflow: Mapping[str, Any], rounds: int) -> list[dict[str, Any]]:
    """Return one row for each contender on one graph."""
    count = len(workflow["state"]["blocks"])
    found = medians({"ours": ours(workflow), "topological sorter": sorter(workflow)}, rounds)
    slow: dict[str, Callable[[], None]] = {}
    for package, build in (("langgraph", langgraph), ("haystack", haystack)):
        if importlib.util.find_spec(package) is None:
            print(f"  {package} is not installed: its row is left out", file=sys.stderr)
        elif package != "haystack" or name == "chain":
            slow[package] = build(workflow)
    found |= medians({"ours": ours(workflow), **slow}, 3) if slow else {}
    return [
        {
            "graph": name,
            "contender": other,
            "microseconds a block": round(seconds / count * 1e6, 2),
            "ours / theirs": round(found["ours"] / seconds, 4),
            "goal": GOALS.get(other),
        }
        for other, seconds in found.items()
    ]


def growth(rounds: int) -> list[dict[str, Any]]:
    """Return the cost a block of chains of growing length."""
    rows = []
    for count in (1_000, 10_000, 50_000):
        go = ours(chain(count))
        seconds = medians({"ours": go}, max(3, rounds // 3))["ours"]
        rows.append({"blocks": count, "microseconds a block": round(seconds / count * 1e6, 2)})
    return rows


def memory() -> dict[str, Any]:
    """Return the memory held during a loop, beside the recorded results."""
    held: list[int] = []

    @handler(inline=True)
    def watched(context: BlockContext) -> dict[str, Any]:
        if context.scope.index % 1_000 == 999:
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
        return {"n": context.scope.index}

    blocks = [
        block("start", "start_trigger", "Start"),
        block("loop", "loop", "Loop", container={"loopType": "for", "count": 10_000}),
        block("b", "noop", "B", parent="loop", text="<loop.index>"),
    ]
    edges = [edge("start", "loop"), edge("loop", "b", "loop-start-source")]
    services = FakeServices(handlers={"noop": watched})
    program = Program(parse_workflow(document(blocks, edges)), services)
    tracemalloc.start()
    run_program(program, bound=Bound(env={}, bindings={}, budget=Budget({})), max_logs=500)
    tracemalloc.stop()
    results = sys.getsizeof({"n": 1}) + sys.getsizeof([1]) + 8 + sys.getsizeof(1_000)
    return {
        "iterations": 10_000,
        "bytes an iteration, second half": round((held[-1] - held[4]) / 5_000),
        "of which recorded results": results,
    }


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = {
        "compared": [
            *compare("chain", chain(options.blocks), options.rounds),
            *compare("fan", fan(options.blocks), options.rounds),
        ],
        "growth": growth(options.rounds),
        "memory": memory(),
    }
    if options.json:
        print(json.dumps(report, indent=2))
        return
    for row in report["compared"]:
        goal = "" if row["goal"] is None else f"   (goal: at most {row['goal']:g})"
        print(
            f"{row['graph']:6} {row['contender']:20} {row['microseconds a block']:10.2f} µs a block"
            f"   ours is {row['ours / theirs']:.3f} × {goal}"
        )
    for row in report["growth"]:
        print(f"chain of {row['blocks']:6,}: {row['microseconds a block']:.2f} µs a block")
    print(report["memory"])


if __name__ == "__main__":
    main()
