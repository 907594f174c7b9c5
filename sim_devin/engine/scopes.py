"""Where a block is while it runs: the passes through containers, and the ids that follow.

A scope is one pass through one body: the workflow itself, one iteration of a loop, one
branch of a parallel. Node ids follow Sim's: ``id₍n₎`` for a block directly in branch n of
a parallel, clones with ``__obranch-n`` for what lies deeper in any branch but the first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from sim_devin.engine.frontier import Frontier
from sim_devin.engine.graph import ContainerBody, Graph
from sim_devin.engine.references import MISSING
from sim_devin.engine.workflow import Loop, Parallel

BRANCH_OPEN, BRANCH_CLOSE = "\u208d", "\u208e"


class ContainerRun:
    """A loop or parallel being run.

    Attributes:
        node_id: the container's id in this pass.
        items: what it goes over, None when it only counts.
        total: how many passes there will be, None for while loops.
        results: one list of outputs for each pass that is over.
        open: passes in progress.
    """

    __slots__ = (
        "container",
        "index",
        "items",
        "next",
        "node_id",
        "open",
        "parent",
        "results",
        "started",
        "total",
    )

    def __init__(
        self,
        container: Loop | Parallel,
        parent: Scope,
        index: int,
        node_id: str,
        items: list[Any] | None,
        total: int | None,
    ) -> None:
        self.container = container
        self.parent = parent  # the scope in which the container is a node …
        self.index = index  # … and its index there
        self.node_id = node_id
        self.items = items
        self.total = total
        self.results: list[list[Any]] = []
        self.open: dict[int, Scope] = {}
        self.next = 0
        self.started = 0.0

    @property
    def is_loop(self) -> bool:
        """Whether this is a loop."""
        return isinstance(self.container, Loop)

    def item(self, index: int) -> Any:
        """Return the item of a pass, or `MISSING` when it only counts."""
        return MISSING if self.items is None else self.items[index]


class Scope:
    """One pass through a body."""

    __slots__ = (
        "body",
        "branches",
        "frontier",
        "graph",
        "ids",
        "index",
        "outputs",
        "owner",
        "running",
        "slot",
    )

    def __init__(
        self,
        graph: Graph,
        body: ContainerBody,
        owner: ContainerRun | None = None,
        index: int = 0,
        slot: int = 0,
    ) -> None:
        self.graph = graph
        self.body = body
        self.owner = owner
        self.index = index  # number of the iteration or branch
        self.slot = slot  # place of a branch within its batch
        self.frontier = Frontier(body)
        self.outputs: list[Any] = []  # of the blocks that ran, in order of completion
        self.running: dict[int, ContainerRun] = {}  # containers in progress, by their index here
        self.ids: dict[str, str] = {}
        # parallel id -> (branch, slot), of the parallels around this scope
        self.branches: Mapping[str, tuple[int, int]] = {}
        if owner is None:
            return
        outer = owner.parent
        if owner.is_loop:
            self.branches, self.ids = outer.branches, outer.ids
        else:
            self.branches = {**outer.branches, owner.container.id: (index, slot)}

    @property
    def parent(self) -> Scope | None:
        """The scope around this one."""
        return None if self.owner is None else self.owner.parent

    def node_id(self, block_id: str) -> str:
        """Return the id of a block as seen from here; of branch 0 for a parallel not entered."""
        found = self.ids.get(block_id)
        if found is None:
            found = self.ids[block_id] = node_id(self.graph, block_id, self.branches)
        return found

    def outside(self) -> Scope:
        """Return this place without its passes: outputs are found, ``<loop…>`` is not.

        Sim resolves the collection of an inner container like this.
        """
        bare = Scope(self.graph, self.body)
        bare.branches = self.branches
        return bare

    def enclosing(self, *, loop: bool, container_id: str | None = None) -> Scope | None:
        """Return the innermost pass of a loop (or parallel) around here, or of that container."""
        scope: Scope | None = self
        while scope is not None and scope.owner is not None:
            owner = scope.owner
            if owner.is_loop == loop and container_id in (None, owner.container.id):
                return scope
            scope = owner.parent
        return None

    def path(self) -> tuple[tuple[str, int], ...]:
        """Return (container id, number of the pass) for each container around, outermost first."""
        if self.owner is None:
            return ()
        return (*self.owner.parent.path(), (self.owner.container.id, self.index))

    def parent_iterations(self) -> list[dict[str, Any]] | None:
        """Return the passes around this one, outermost first, as logs show them; None if none."""
        scope = self.parent
        found: list[dict[str, Any]] = []
        while scope is not None and scope.owner is not None:
            owner = scope.owner
            entry: dict[str, Any] = {"iterationCurrent": scope.index}
            if owner.total is not None:
                entry["iterationTotal"] = owner.total
            entry["iterationType"] = "loop" if owner.is_loop else "parallel"
            entry["iterationContainerId"] = owner.node_id
            found.append(entry)
            scope = owner.parent
        return found[::-1] or None


def node_id(graph: Graph, block_id: str, branches: Mapping[str, tuple[int, int]]) -> str:
    """Return the node id of a block in the given branches of the parallels around it."""
    chain = graph.workflow.chain(block_id)
    containers = graph.workflow.containers
    for position, container_id in enumerate(chain):
        if not isinstance(containers[container_id], Parallel):
            continue
        if position == len(chain) - 1 and block_id not in containers:
            _, slot = branches.get(container_id, (0, 0))
            return f"{_cloned(graph, block_id, chain[:position], branches)}{mark(slot)}"
    return _cloned(graph, block_id, chain, branches)


def mark(branch: int) -> str:
    """Return the suffix of a block in a branch of a parallel."""
    return f"{BRANCH_OPEN}{branch}{BRANCH_CLOSE}"


_SUFFIXES = re.compile(
    rf"((__clone[0-9a-f]{{24}})?__obranch-\d+)*({BRANCH_OPEN}\d+{BRANCH_CLOSE})?$"
)
_SENTINEL = re.compile(r"(?:loop|parallel)-(.+)-sentinel-(?:start|end)")


def block_of(node_id: str) -> str:
    """Return the id of the block that a node id, or that of a container's end, belongs to."""
    sentinel = _SENTINEL.fullmatch(node_id)
    return _SUFFIXES.sub("", sentinel.group(1) if sentinel else node_id)


def branch_alias(graph: Graph, block_id: str, scope: Scope) -> str | None:
    """Return the id that keeps a branch's output apart across batches, if it is in a branch."""
    if scope.owner is None or scope.owner.is_loop:
        return None
    chain = graph.workflow.chain(block_id)
    return f"{_cloned(graph, block_id, chain[:-1], scope.branches)}__obranch-{scope.index}"


def _cloned(
    graph: Graph,
    block_id: str,
    chain: tuple[str, ...],
    branches: Mapping[str, tuple[int, int]],
) -> str:
    """Return the id of a block, or of its clone in branches other than the first."""
    containers = graph.workflow.containers
    name = block_id
    for position, container_id in enumerate(chain):
        if not isinstance(containers[container_id], Parallel):
            continue
        branch, _ = branches.get(container_id, (0, 0))
        if branch == 0:
            continue
        if block_id in containers:
            name = f"{name}__obranch-{branch}"
            continue
        full_chain = graph.workflow.chain(block_id)
        holder = full_chain[-1]
        holder_id = _cloned(graph, holder, chain[: position + 1], branches)
        digest = hashlib.sha256(f"{holder_id}:{name}:{branch}".encode()).hexdigest()[:24]
        name = f"{name}__clone{digest}__obranch-{branch}"
    return name
