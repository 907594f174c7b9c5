"""A graph written out as Sim's executor builds it, with both ends of every container as nodes."""

from __future__ import annotations

from sim_devin.engine.graph import CONDITION, ROUTER, ContainerBody, Graph, Port
from sim_devin.engine.scopes import mark
from sim_devin.engine.workflow import Loop

Row = tuple[str, list[str], list[tuple[str, str | None]]]

_PREFIXES = {CONDITION: "condition-", ROUTER: "router-"}


def rows(graph: Graph) -> list[Row]:
    """Return (id, ids before it, (id after it, handle)…) of every node, in no special order."""
    edges: list[tuple[str, str, str | None, bool]] = []
    nodes: dict[str, None] = {}
    for body in (graph.root, *graph.bodies.values()):
        for node in body.nodes:
            nodes[_first(graph, body, node.id)] = None
            nodes[_last(graph, body, node.id)] = None
            for target, ports in node.out:
                target_id = _first(graph, body, body.nodes[target].id)
                for port in ports:
                    handle = _exit(graph, node.id) or _handle(port)
                    edges.append((_last(graph, body, node.id), target_id, handle, True))
    for key, body in graph.bodies.items():
        if key not in graph.place:
            continue
        start, end = _ends(graph, key)
        kind = _exit(graph, key)
        edges.append((start, end, kind, False))
        if not body.nodes:
            continue
        edges.append((end, start, (kind or "").replace("exit", "continue"), False))
        for node in body.nodes:
            if not node.sources:
                edges.append((start, _first(graph, body, node.id), None, True))
            if not node.out:
                edges.append((_last(graph, body, node.id), end, _exit(graph, node.id), True))
    return [
        (
            node,
            sorted({source for source, target, _, counts in edges if target == node and counts}),
            sorted(
                ((target, handle) for source, target, handle, _ in edges if source == node),
                key=str,
            ),
        )
        for node in nodes
    ]


def _handle(port: Port) -> str | None:
    return f"{_PREFIXES.get(port.kind, '')}{port.option}" or None


def _ends(graph: Graph, container_id: str) -> tuple[str, str]:
    is_loop = isinstance(graph.workflow.containers[container_id], Loop)
    base = f"{'loop' if is_loop else 'parallel'}-{container_id}-sentinel"
    return f"{base}-start", f"{base}-end"


def _exit(graph: Graph, node_id: str) -> str | None:
    container = graph.workflow.containers.get(node_id)
    if container is None:
        return None
    return "loop_exit" if isinstance(container, Loop) else "parallel_exit"


def _first(graph: Graph, body: ContainerBody, node_id: str) -> str:
    return _ends(graph, node_id)[0] if node_id in graph.bodies else _plain(body, node_id)


def _last(graph: Graph, body: ContainerBody, node_id: str) -> str:
    return _ends(graph, node_id)[1] if node_id in graph.bodies else _plain(body, node_id)


def _plain(body: ContainerBody, node_id: str) -> str:
    in_parallel = body.container is not None and not isinstance(body.container, Loop)
    return f"{node_id}{mark(0)}" if in_parallel else node_id
