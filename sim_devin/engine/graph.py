"""A workflow as a tree of bodies: what is connected to what, once a start block is known.

The body of the workflow holds containers as single nodes; each container has a body of
its own. Edges across a container's wall are not part of any body, so a body knows only
sources and targets inside itself. Pure; the run walks it through `frontier`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sim_devin.engine.references import normalize
from sim_devin.engine.workflow import NOTE, Block, Loop, Parallel, Workflow
from sim_devin.specs.json_input import NotJson, parse_json

SIDE_HANDLES = {"source-top", "source-right", "source-bottom", "source-left"}

# What a handle asks of the output of the block it leaves (`fires` in frontier).
ALWAYS, SOURCE, ERROR, CONDITION, ROUTER, NEVER = range(6)


@dataclass(frozen=True)
class Port:
    """What must hold for an edge to fire: its kind, and the option or route it waits for.

    For other kinds `option` is the handle as drawn.
    """

    kind: int
    option: str = ""


@dataclass(eq=False)
class Node:
    """One block in a body. `out` lists (index of the target, ports of the edges to it)."""

    index: int
    block: Block
    out: list[tuple[int, tuple[Port, ...]]] = field(default_factory=list)
    targets: dict[str, str] = field(default_factory=dict)  # drawn handle -> its first target's id
    sources: list[int] = field(default_factory=list)
    has_error_port: bool = False
    plain: tuple[int, ...] | None = None  # all targets, if every edge is an ordinary one

    @property
    def id(self) -> str:
        """The block's id."""
        return self.block.id


@dataclass(eq=False)
class ContainerBody:
    """The nodes inside one container, or of the workflow itself (`container` None)."""

    container: Loop | Parallel | None
    chain: tuple[str, ...]
    nodes: list[Node] = field(default_factory=list)
    entries: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)  # number of sources of each node


@dataclass(eq=False)
class Graph:
    """Everything reachable from the start block."""

    workflow: Workflow
    start: str
    root: ContainerBody
    bodies: dict[str, ContainerBody]
    place: dict[str, tuple[ContainerBody, int]]

    def node(self, block_id: str) -> Node | None:
        """Return the node of a block, or None if it is not reachable."""
        found = self.place.get(block_id)
        return None if found is None else found[0].nodes[found[1]]


def build(workflow: Workflow, start: str, *, everything: bool = False) -> Graph:
    """Return the graph of what `start` reaches; of all enabled blocks with `everything`."""
    kept = _enabled(workflow) if everything else reachable(workflow, start)
    root = ContainerBody(None, ())
    bodies = {
        key: ContainerBody(container, (*workflow.chain(key), key))
        for key, container in workflow.containers.items()
    }
    place: dict[str, tuple[ContainerBody, int]] = {}
    for block in workflow.blocks.values():
        if block.id not in kept or block.type == NOTE:
            continue
        body = bodies.get(block.parent or "", root)
        place[block.id] = (body, len(body.nodes))
        body.nodes.append(Node(len(body.nodes), block))
    _connect(workflow, place)
    for body in (root, *bodies.values()):
        _finish(body)
    return Graph(workflow, start, root, bodies, place)


def _enabled(workflow: Workflow) -> set[str]:
    return {block.id for block in workflow.blocks.values() if block.enabled}


def reachable(workflow: Workflow, start: str) -> set[str]:
    """Return the blocks that edges between enabled blocks lead to from `start`."""
    enabled = _enabled(workflow)
    onward: dict[str, list[str]] = {}
    for edge in workflow.edges:
        if edge.source in enabled and edge.target in enabled:
            onward.setdefault(edge.source, []).append(edge.target)
    found, queue = {start}, deque([start])
    while queue:
        for target in onward.get(queue.popleft(), ()):
            if target not in found:
                found.add(target)
                queue.append(target)
    return found


def _connect(workflow: Workflow, place: Mapping[str, tuple[ContainerBody, int]]) -> None:
    """Wire the nodes of each body; edges to elsewhere only count as what a handle points at."""
    seen: set[tuple[str, str, str | None]] = set()
    joined: dict[tuple[str, str], list[Port]] = {}
    guessed = _guessed_handles(workflow)
    for number, edge in enumerate(workflow.edges):
        source, target = place.get(edge.source), place.get(edge.target)
        if source is None:
            continue
        node = source[0].nodes[source[1]]
        handle = guessed.get(number, edge.handle)
        if edge.target in workflow.blocks and (edge.handle or node.block.type == "router"):
            node.targets.setdefault(handle or "", edge.target)
        if target is None or source[0] is not target[0]:
            continue
        if node.block.is_container:
            handle = None  # whatever was drawn: the way out of a container
        if (edge.source, edge.target, handle) in seen:
            continue
        seen.add((edge.source, edge.target, handle))
        port = _port(handle)
        node.has_error_port |= port.kind == ERROR
        joined.setdefault((edge.source, edge.target), []).append(port)
    for (source_id, target_id), ports in joined.items():
        body, index = place[source_id]
        target_index = place[target_id][1]
        body.nodes[index].out.append((target_index, tuple(ports)))
        body.nodes[target_index].sources.append(index)


def _guessed_handles(workflow: Workflow) -> dict[int, str]:
    """Return edge number -> handle, where old exports left the branch of an edge unsaid."""
    guessed: dict[int, str] = {}
    position: dict[str, int] = {}
    for number, edge in enumerate(workflow.edges):
        block = workflow.blocks.get(edge.source)
        if block is None:
            continue
        if block.type == "router" and edge.handle != "error":
            guessed[number] = f"router-{edge.target}"
        if block.type not in ("condition", "router_v2"):
            continue
        nth = position.get(block.id, 0)
        position[block.id] = nth + 1
        prefix, field_id = (
            ("condition", "conditions") if block.type == "condition" else ("router", "routes")
        )
        rows = option_rows(block.values.get(field_id))
        if edge.handle is None and nth < len(rows):
            guessed[number] = f"{prefix}-{rows[nth].get('id')}"
    return guessed


def option_rows(value: Any) -> list[Mapping[str, Any]]:
    """Return the rows of a condition or router: JSON text or a list; [] if it is neither."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except NotJson:
            return []
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _port(handle: str | None) -> Port:
    if not handle:
        return Port(ALWAYS)
    if handle == "source" or handle in SIDE_HANDLES:
        return Port(SOURCE, handle)
    if handle == "error":
        return Port(ERROR, handle)
    if handle.startswith("condition-"):
        return Port(CONDITION, handle.removeprefix("condition-"))
    if handle.startswith("router-"):
        return Port(ROUTER, handle.removeprefix("router-"))
    if handle in ("loop_exit", "loop_continue", "parallel_exit", "parallel_continue"):
        return Port(NEVER, handle)
    return Port(ALWAYS, handle)


def _finish(body: ContainerBody) -> None:
    body.waiting = [len(node.sources) for node in body.nodes]
    body.entries = [node.index for node in body.nodes if not node.sources]
    for node in body.nodes:
        ports = [port for _, edges in node.out for port in edges]
        if all(port.kind in (ALWAYS, SOURCE) for port in ports):
            node.plain = tuple(target for target, _ in node.out)


def downstream(graph: Graph, block_id: str) -> set[int]:
    """Return the indices, in the workflow's own body, of a node and all that follows it."""
    body, index = graph.place[block_id]
    found, queue = {index}, deque([index])
    while queue:
        for target, _ in body.nodes[queue.popleft()].out:
            if target not in found:
                found.add(target)
                queue.append(target)
    return found


def surely_run(graph: Graph) -> set[str]:
    """Return the blocks that every run comes to, unless one before them fails.

    Others are behind a branch, an error port or a Response, which ends the run, or in a container
    that may be empty.
    """
    found: set[str] = set()
    bodies: list[tuple[ContainerBody, list[int]]] = [(graph.root, list(graph.root.entries))]
    while bodies:
        body, queue = bodies.pop()
        seen = set(queue)
        while queue:
            node = body.nodes[queue.pop()]
            found.add(node.id)
            inner = graph.bodies.get(node.id)
            if inner is not None and inner.container is not None and _has_passes(inner.container):
                bodies.append((inner, list(inner.entries)))
            for target, ports in () if node.block.type == "response" else node.out:
                if target not in seen and any(port.kind in (ALWAYS, SOURCE) for port in ports):
                    seen.add(target)
                    queue.append(target)
    return found


def _has_passes(container: Loop | Parallel) -> bool:
    """Return whether a container has a pass at least, by what is written."""
    if container.kind in ("for", "count", "doWhile"):
        return True
    return isinstance(container.items, list) and bool(container.items)


def names(blocks: Iterable[Block]) -> dict[str, str]:
    """Return normalized name -> block id.

    The first block of a name wins, except that a name without dots takes over from one
    with dots.
    """
    found: dict[str, str] = {}
    dotted: dict[str, bool] = {}
    for block in blocks:
        name, has_dot = normalize(block.name), "." in block.name
        if name not in found or (dotted[name] and not has_dot):
            found[name] = block.id
            dotted[name] = has_dot
    return found
