"""Which nodes of one body are ready, and which will never run. Pure and deterministic.

Every edge ends up fired or dead. A node is ready once all its sources are settled and at
least one edge into it fired; once all are dead it dies, and its own edges with it. This
settles joins behind a pruned branch however far upstream the pruning happened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from sim_devin.engine.graph import (
    ALWAYS,
    CONDITION,
    ERROR,
    NEVER,
    ROUTER,
    SOURCE,
    ContainerBody,
    Port,
)

CONTAINER_ROUTES = frozenset({"loop_exit", "loop_continue", "parallel_exit", "parallel_continue"})


class Frontier:
    """The state of one pass through a body: `left` nodes are neither run nor dead yet."""

    __slots__ = ("body", "fired", "left", "waiting")

    def __init__(self, body: ContainerBody) -> None:
        self.body = body
        self.waiting = body.waiting.copy()
        self.fired = bytearray(len(body.nodes))
        self.left = len(body.nodes)

    def settle(self, index: int, output: Mapping[str, Any]) -> list[int]:
        """Record that a node finished with `output`; return the nodes that are ready now."""
        self.left -= 1
        node = self.body.nodes[index]
        waiting, fired = self.waiting, self.fired
        ready: list[int] = []
        if (
            node.plain is not None
            and not output.get("error")
            and (output.get("selectedRoute") not in CONTAINER_ROUTES)
        ):
            for target in node.plain:
                fired[target] = 1
                waiting[target] -= 1
                if not waiting[target]:
                    ready.append(target)
            return ready
        dead: list[int] = []
        for target, ports in node.out:
            if any(fires(port, output) for port in ports):
                fired[target] = 1
                waiting[target] -= 1
                if not waiting[target]:
                    ready.append(target)
            else:
                dead.append(target)
        if dead:
            self._prune(dead, ready)
        return ready

    def leave(self, index: int) -> list[int]:
        """Record that a container finished: all its edges fire. Return what is ready now."""
        self.left -= 1
        ready: list[int] = []
        for target, _ in self.body.nodes[index].out:
            self.fired[target] = 1
            self.waiting[target] -= 1
            if not self.waiting[target]:
                ready.append(target)
        return ready

    def _prune(self, dead: list[int], ready: list[int]) -> None:
        queue = deque(dead)
        while queue:
            target = queue.popleft()
            self.waiting[target] -= 1
            if self.waiting[target]:
                continue
            if self.fired[target]:
                ready.append(target)
            else:
                self.left -= 1
                queue.extend(index for index, _ in self.body.nodes[target].out)

    def restrict(self, indices: set[int], first: int) -> None:
        """Keep only `indices`, to be run from `first` on: all other sources count as settled."""
        self.left = len(indices)
        for node in self.body.nodes:
            self.waiting[node.index] = sum(source in indices for source in node.sources)
        self.waiting[first] = 0

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON data."""
        return {"waiting": self.waiting, "fired": list(self.fired), "left": self.left}

    @classmethod
    def from_json(cls, body: ContainerBody, state: Mapping[str, Any]) -> Frontier:
        """Return the frontier that `to_json` described."""
        frontier = cls(body)
        frontier.waiting = list(state["waiting"])
        frontier.fired = bytearray(state["fired"])
        frontier.left = state["left"]
        return frontier


def fires(port: Port, output: Mapping[str, Any]) -> bool:
    """Return whether an edge with this port fires, given the output of the block it leaves."""
    route = output.get("selectedRoute")
    kind = port.kind
    if kind == NEVER or route in CONTAINER_ROUTES:
        return False
    if kind == ALWAYS:
        return True
    failed = bool(output.get("error"))
    if kind == SOURCE:
        return not failed
    if kind == ERROR:
        return failed
    if kind == CONDITION:
        return bool(output.get("selectedOption") == port.option)
    return bool(kind == ROUTER and route == port.option)
