"""Random graphs against a few lines that say what must run; random JSON against the parser."""

import json
import threading
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sim_devin.engine import engine
from sim_devin.engine.contract import Pause, handler
from sim_devin.engine.document import parse_workflow
from sim_devin.engine.workflow import Workflow
from sim_devin.errors import InvalidWorkflow
from tests.lanes import examples
from workflow.fakes import FakeServices, block, document, edge

OPTIONS = ("a", "b", None)
THOROUGH = settings(
    max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@dataclass
class Piece:
    """A node of a random body: a block, or a container with a body of its own."""

    id: str
    kind: str
    offset: int = 0
    count: int = 1
    batch: int = 1
    body: list = field(default_factory=list)
    edges: list = field(default_factory=list)  # (index of the source, handle) into this node


def handles(kind):
    if kind == "choice":
        return st.sampled_from(["condition-a", "condition-b"])
    if kind in ("loop", "parallel"):
        return st.just("loop-end-source")
    return st.sampled_from(["source", "error", "", "source", "somewhere"])


@st.composite
def bodies(draw, depth=2, prefix="n", kinds=("task", "io", "fail", "choice")):
    pieces = []
    for number in range(draw(st.integers(1, 6))):
        offered = kinds if depth == 0 else (*kinds, "loop", "parallel")
        kind = draw(st.sampled_from(offered)) if pieces or depth < 2 else "task"
        piece = Piece(f"{prefix}{number}", kind, draw(st.integers(0, 2)))
        if kind in ("loop", "parallel"):
            piece.count, piece.batch = draw(st.integers(1, 3)), draw(st.integers(1, 2))
            piece.body = draw(bodies(depth - 1, f"{piece.id}x", kinds))
        for source in range(number):
            if draw(st.booleans()):
                piece.edges.append((source, draw(handles(pieces[source].kind))))
        pieces.append(piece)
    return pieces


def written(pieces, parent=None):
    """Return the blocks and edges of a random body."""
    blocks, edges = [], []
    for piece in pieces:
        if piece.body:
            data = {"loopType": "for", "parallelType": "count"}
            data |= {"count": piece.count, "batchSize": piece.batch}
            blocks.append(block(piece.id, piece.kind, parent=parent, container=data))
            inner_blocks, inner_edges = written(piece.body, piece.id)
            blocks += inner_blocks
            edges += inner_edges
            edges += [
                edge(piece.id, inner.id, "loop-start-source")
                for inner in piece.body
                if not inner.edges
            ]
        else:
            blocks.append(block(piece.id, piece.kind, parent=parent, offset=piece.offset))
        edges += [edge(pieces[source].id, piece.id, handle) for source, handle in piece.edges]
    return blocks, edges


def workflow(pieces):
    blocks, edges = written(pieces)
    blocks.insert(0, block("start", "start_trigger", "Start"))
    return document(blocks, [edge("start", pieces[0].id), *edges])


class Oracle:
    """What must run: a node runs once in each pass in which an edge into it fires."""

    def __init__(self, pieces):
        self.runs = Counter()
        self.uncaught = set()
        self.walk(pieces, 0, {0})

    def walk(self, pieces, index, entries):
        outcome = {}
        out_handles = {number: set() for number in range(len(pieces))}
        for piece in pieces:
            for source, handle in piece.edges:
                out_handles[source].add(handle)
        for number, piece in enumerate(pieces):
            fired = any(
                source in outcome and fires(handle, outcome[source])
                for source, handle in piece.edges
            )
            if not (fired or number in entries):
                continue
            self.runs[piece.id] += 1
            outcome[number] = "ok"
            if piece.body:
                inner = {at for at, item in enumerate(piece.body) if not item.edges}
                for each in range(piece.count):
                    self.walk(piece.body, each, inner)
            elif piece.kind == "choice":
                outcome[number] = OPTIONS[(index + piece.offset) % 3]
            elif piece.kind == "fail":
                outcome[number] = "failed"
                if "error" not in out_handles[number]:
                    self.uncaught.add(piece.id)


def fires(handle, outcome):
    if handle in ("", "somewhere", "loop-end-source"):
        return True
    if handle.startswith("condition-"):
        return outcome == handle[-1]
    return (handle == "error") == (outcome == "failed")


class Recorder:
    """Handlers that remember each running, by block and pass."""

    def __init__(self):
        self.seen = Counter()
        self.lock = threading.Lock()

    def note(self, context):
        with self.lock:
            self.seen[context.block.id, context.scope.path()] += 1

    def services(self):
        @handler(inline=True)
        def task(context):
            self.note(context)
            return {"value": 1}

        def io(context):
            self.note(context)
            return {"value": 1}

        def fail(context):
            self.note(context)
            raise RuntimeError("it failed")

        @handler(inline=True)
        def choice(context):
            self.note(context)
            owner = context.scope.owner
            index = 0 if owner is None else context.scope.index
            return {"selectedOption": OPTIONS[(index + context.values["offset"]) % 3]}

        @handler(inline=True)
        def pause(context):
            self.note(context)
            return Pause({"value": 1}, {"asked": context.block.id})

        handlers = {"task": task, "io": io, "fail": fail, "choice": choice, "pause": pause}
        return FakeServices(handlers)

    def blocks(self):
        counted = Counter()
        for (block_id, _), times in self.seen.items():
            counted[block_id] += times
        return counted


def leaves(runs, pieces):
    """Return how often each block that is no container must run."""
    containers = set()

    def collect(items):
        for item in items:
            if item.body:
                containers.add(item.id)
                collect(item.body)

    collect(pieces)
    return Counter({key: times for key, times in runs.items() if key not in containers})


@THOROUGH
@given(bodies())
def test_every_block_that_must_run_runs_once_in_each_pass(pieces):
    recorder, oracle = Recorder(), Oracle(pieces)
    threads = threading.active_count()
    result = engine.run(workflow(pieces), services=recorder.services(), env={})
    assert max(recorder.seen.values(), default=0) <= 1
    assert threading.active_count() <= threads
    expected = leaves(oracle.runs, pieces)
    if oracle.uncaught:
        assert not result.success
        assert recorder.blocks() <= expected
    else:
        assert result.success, result.error
        assert recorder.blocks() == expected


@THOROUGH
@given(bodies(), st.integers(0, 30))
def test_a_cancelled_run_ends_and_repeats_nothing(pieces, after):
    recorder, cancel, heard = Recorder(), threading.Event(), []

    def listen(event):
        heard.append(event)
        if len(heard) > after:
            cancel.set()

    threads = threading.active_count()
    result = engine.run(
        workflow(pieces), services=recorder.services(), env={}, cancel=cancel, on_event=listen
    )
    assert threading.active_count() <= threads
    assert max(recorder.seen.values(), default=0) <= 1
    assert recorder.blocks() <= leaves(Oracle(pieces).runs, pieces)
    assert result.status in ("cancelled", None)
    assert heard[-1].kind.startswith("run.")
    assert all(log.ended is not None for log in result.logs)


@THOROUGH
@given(bodies(kinds=("task", "io", "choice", "pause")))
def test_a_paused_run_goes_on_from_its_snapshot_as_if_it_had_never_stopped(pieces):
    recorder, oracle = Recorder(), Oracle(pieces)
    services = recorder.services()
    result = engine.run(workflow(pieces), services=services, env={})
    for _ in range(500):
        if result.status != "paused":
            break
        stored = json.loads(json.dumps(result.snapshot))
        result = engine.resume(stored, {"answer": 1}, services=services, env={})
    assert result.success, result.error
    assert result.status is None
    assert max(recorder.seen.values(), default=0) <= 1
    assert recorder.blocks() == leaves(oracle.runs, pieces)


@THOROUGH
@given(bodies(kinds=("task", "choice")))
def test_running_again_gives_the_same_outputs(pieces):
    def outcome():
        result = engine.run(workflow(pieces), services=Recorder().services(), env={})
        return result.block_outputs

    assert outcome() == outcome()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
KEYS = st.sampled_from(["id", "type", "name", "position", "subBlocks", "data", "retry", "enabled"])
BLOCKISH = st.dictionaries(KEYS, JSON) | st.just(block("a", "function")) | JSON
DOCUMENTISH = st.fixed_dictionaries(
    {},
    optional={
        "blocks": st.dictionaries(st.text(max_size=4), BLOCKISH, max_size=4) | JSON,
        "edges": st.lists(st.just(edge("a", "b")) | JSON, max_size=4) | JSON,
        "loops": st.dictionaries(st.text(max_size=4), JSON) | JSON,
        "parallels": JSON,
        "variables": JSON,
        "metadata": JSON,
        "state": JSON,
        "data": JSON,
    },
)


@THOROUGH
@given(JSON | DOCUMENTISH | st.fixed_dictionaries({"state": DOCUMENTISH}))
def test_any_json_is_a_workflow_or_a_precise_error(value):
    found = parsed_or_refused(value)
    if isinstance(found, InvalidWorkflow):
        assert found.problems
        assert all(problem.strip() for problem in found.problems)
    else:
        assert isinstance(found, Workflow)


def parsed_or_refused(value):
    try:
        return parse_workflow(value)
    except InvalidWorkflow as error:
        return error
