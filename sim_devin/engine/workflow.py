"""A workflow: its blocks, edges, containers and variables, as frozen models.

Nothing here runs anything; `graph` turns a workflow into something that can run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

CONTAINER_TYPES = ("loop", "parallel")
NOTE = "note"
DEFAULT_COUNT = 5  # what Sim's serializer puts where a container's count is absent or 0
MAX_BATCH = 20


@dataclass(frozen=True)
class Retry:
    """How often a block is tried in all, and the wait between two tries."""

    tries: int
    wait: float  # seconds


@dataclass(frozen=True)
class Block:
    """One block. `values` are the stored values of its sub-blocks, exactly as exported."""

    id: str
    type: str
    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True
    advanced_mode: bool = False
    trigger_mode: bool = False
    parent: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    retry: Retry | None = None

    @property
    def is_container(self) -> bool:
        """Whether this is a loop or a parallel."""
        return self.type in CONTAINER_TYPES


@dataclass(frozen=True)
class Edge:
    """A connection; `handle` is the port it leaves from, None where the export has none."""

    source: str
    target: str
    handle: str | None = None


@dataclass(frozen=True)
class Loop:
    """A loop's settings. `kind` is ``for``, ``forEach``, ``while`` or ``doWhile``."""

    id: str
    kind: str = "for"
    count: Any = DEFAULT_COUNT
    items: Any = ""
    while_condition: str = ""
    do_while_condition: str = ""


@dataclass(frozen=True)
class Parallel:
    """A parallel's settings. `kind` is ``count`` or ``collection``."""

    id: str
    kind: str = "count"
    count: Any = DEFAULT_COUNT
    items: Any = ""
    batch: int = MAX_BATCH


@dataclass(frozen=True)
class Variable:
    """A workflow variable as stored: `value` is often text, `type` says what it means."""

    id: str
    name: str
    type: str
    value: Any


@dataclass(frozen=True)
class Workflow:
    """A workflow document. The order of blocks and of edges is observable in a run."""

    blocks: Mapping[str, Block]
    edges: tuple[Edge, ...]
    containers: Mapping[str, Loop | Parallel]
    variables: Mapping[str, Variable] = field(default_factory=dict)
    name: str = ""
    description: str = ""
    document: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def children(self, container: str) -> list[Block]:
        """Return the blocks directly inside a container, in order."""
        return [block for block in self.blocks.values() if block.parent == container]

    def chain(self, block_id: str) -> tuple[str, ...]:
        """Return the containers around a block, outermost first."""
        chain: list[str] = []
        block = self.blocks.get(block_id)
        while block is not None and block.parent is not None and block.parent in self.containers:
            chain.append(block.parent)
            block = self.blocks.get(block.parent)
        return tuple(reversed(chain))

    def with_values(self, values: Mapping[str, Mapping[str, Any]]) -> Workflow:
        """Return a copy with sub-block values set: block id -> sub-block id -> value."""
        blocks = {
            key: replace(block, values={**block.values, **values[key]}) if key in values else block
            for key, block in self.blocks.items()
        }
        return replace(self, blocks=blocks)
