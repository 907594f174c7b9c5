"""The workflow document: what Sim exports, read into a `Workflow`.

Accepts the export envelope, the same wrapped in an API answer's ``data``, and the bare state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim_devin.engine.workflow import (
    DEFAULT_COUNT,
    MAX_BATCH,
    Block,
    Edge,
    Loop,
    Parallel,
    Retry,
    Variable,
    Workflow,
)
from sim_devin.errors import InvalidWorkflow
from sim_devin.specs.json_input import NotJson, parse_json, problem_of

LOOP_KINDS = ("for", "forEach", "while", "doWhile")


def load_workflow(source: Workflow | Mapping[str, Any] | str | Path) -> Workflow:
    """Return the workflow in a file, a parsed document or, unchanged, a workflow.

    Raises:
        InvalidWorkflow: the file cannot be read, or is not a workflow; lists every problem.
    """
    if isinstance(source, Workflow):
        return source
    if isinstance(source, (str, Path)):
        try:
            text = Path(source).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise InvalidWorkflow([f"{source}: {reason}"]) from error
        return parse_text(text)
    return parse_workflow(source)


def parse_text(text: str) -> Workflow:
    """Return the workflow in a JSON text.

    Raises:
        InvalidWorkflow: it is not JSON, or not a workflow.
    """
    try:
        document = parse_json(text)
    except NotJson as error:
        raise InvalidWorkflow([f"the document {error}"]) from None
    return parse_workflow(document)


def parse_workflow(document: Any) -> Workflow:
    """Return the workflow in parsed JSON.

    Raises:
        InvalidWorkflow: lists everything that is wrong with its structure.
    """
    problem = problem_of(document)
    if problem:
        raise InvalidWorkflow([f"the document {problem}"])
    state, envelope = _unwrap(document)
    problems = _structure_problems(state)
    if problems:
        raise InvalidWorkflow(problems)
    members = {
        str(node): key
        for kind in ("loops", "parallels")
        for key, raw in _stored(state, kind)
        for node in _list(raw.get("nodes"))
        if key not in state["blocks"]
    }
    blocks = {key: _block(key, raw, members.get(key)) for key, raw in state["blocks"].items()}
    cycles = _parent_cycles(blocks)
    if cycles:
        raise InvalidWorkflow(cycles)
    return Workflow(
        blocks=blocks,
        edges=tuple(_edge(raw) for raw in state["edges"]),
        containers=_containers(state, blocks),
        variables=_variables(state.get("variables")),
        name=_name(state, envelope, "name"),
        description=_name(state, envelope, "description"),
        document=state,
    )


def _unwrap(document: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    if not isinstance(document, Mapping):
        raise InvalidWorkflow(["a workflow is a JSON object"])
    data = document.get("data")
    if isinstance(data, Mapping) and any(key in data for key in ("state", "version", "workflow")):
        document = data
    state = document.get("state")
    return (state, document) if isinstance(state, Mapping) else (document, document)


def _name(state: Mapping[str, Any], envelope: Mapping[str, Any], key: str) -> str:
    for holder in (state.get("metadata"), envelope.get("workflow"), envelope):
        value = holder.get(key) if isinstance(holder, Mapping) else None
        if isinstance(value, str) and value:
            return value
    return ""


def _structure_problems(state: Mapping[str, Any]) -> list[str]:
    problems: list[str] = []
    blocks, edges = state.get("blocks"), state.get("edges")
    if not isinstance(blocks, Mapping):
        problems.append("Missing or invalid field: blocks")
    else:
        for key, block in blocks.items():
            problems += _block_problems(key, block)
    if not isinstance(edges, list):
        problems.append("Missing or invalid field: edges (must be an array)")
    else:
        for index, edge in enumerate(edges):
            if not isinstance(edge, Mapping):
                problems.append(f"Edge at index {index} is not an object")
                continue
            problems += [
                f"Edge at index {index} missing required field: {name}"
                for name in ("id", "source", "target")
                if not edge.get(name) or not isinstance(edge[name], str)
            ]
    return problems


def _block_problems(key: str, block: Any) -> list[str]:
    if not isinstance(block, Mapping):
        return [f"Block {key} is not an object"]
    problems = [
        f"Block {key} missing required field: {name}"
        for name in ("id", "type")
        if not isinstance(block.get(name), str) or not block[name]
    ]
    position = block.get("position")
    if not isinstance(position, Mapping) or not all(
        _is_number(position.get(axis)) for axis in "xy"
    ):
        problems.append(f"Block {key} missing or invalid position")
    sub_blocks = block.get("subBlocks")
    if sub_blocks is not None and not isinstance(sub_blocks, Mapping):
        problems.append(f"Block {key}: subBlocks is not an object")
    if block.get("data") is not None and not isinstance(block["data"], Mapping):
        problems.append(f"Block {key}: data is not an object")
    return problems


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _block(key: str, raw: Mapping[str, Any], member_of: str | None) -> Block:
    data = raw.get("data") or {}
    parent = data.get("parentId") or member_of
    return Block(
        id=key,
        type=raw["type"],
        name=raw["name"] if isinstance(raw.get("name"), str) and raw["name"] else key,
        values=_values(raw.get("subBlocks") or {}),
        enabled=raw.get("enabled") is not False,
        advanced_mode=bool(raw.get("advancedMode")),
        trigger_mode=bool(raw.get("triggerMode")),
        parent=parent if isinstance(parent, str) and parent else None,
        data=data,
        retry=_retry(raw.get("retry")),
    )


def _values(sub_blocks: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sub-blocks' values by their keys; empty text becomes null.

    The key says which field it is. As in Sim, a sub-block that lacks its id or type, or is
    nothing but its value, is taken for the field of that key; ``undefined`` is none.
    """
    values = {
        key: sub_block.get("value") if isinstance(sub_block, Mapping) else sub_block
        for key, sub_block in sub_blocks.items()
        if key != "undefined"
    }
    return {key: None if value == "" else value for key, value in values.items()}


def _retry(raw: Any) -> Retry | None:
    if not isinstance(raw, Mapping) or not raw.get("enabled"):
        return None
    tries, wait = _finite(raw.get("maxTries")), _finite(raw.get("waitBetweenTriesMs"))
    return Retry(
        tries=3 if tries is None else min(5, max(2, math.floor(tries))),
        wait=1.0 if wait is None else min(5000.0, max(0.0, wait)) / 1000,
    )


def _finite(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value) if value.strip() else 0.0  # Number("") is 0
        except ValueError:
            return None
    if _is_number(value) and math.isfinite(value):
        return float(value)
    return None


def _edge(raw: Mapping[str, Any]) -> Edge:
    handle = raw.get("sourceHandle")
    return Edge(
        source=raw["source"],
        target=raw["target"],
        handle=handle if isinstance(handle, str) and handle else None,
    )


def _parent_cycles(blocks: Mapping[str, Block]) -> list[str]:
    problems: list[str] = []
    for block in blocks.values():
        seen, at = {block.id}, block.parent
        while at is not None and at in blocks:
            if at in seen:
                problems.append(f"Block {block.id}: its containers contain each other")
                break
            seen.add(at)
            at = blocks[at].parent
    return problems


# -- containers: rebuilt from their blocks, as Sim does on import and before a run --------------


def _containers(
    state: Mapping[str, Any], blocks: Mapping[str, Block]
) -> dict[str, Loop | Parallel]:
    containers: dict[str, Loop | Parallel] = {}
    for block in blocks.values():
        if block.type == "loop":
            containers[block.id] = _loop(block)
        elif block.type == "parallel":
            containers[block.id] = _parallel(block)
    # The stored maps count only where the graph holds no container block of that kind.
    if not any(block.type == "loop" for block in blocks.values()):
        for key, raw in _stored(state, "loops"):
            containers[key] = Loop(
                id=key,
                kind=_one_of(raw.get("loopType"), LOOP_KINDS),
                count=raw.get("iterations") or DEFAULT_COUNT,
                items=_or_blank(raw.get("forEachItems")),
                while_condition=_text(raw.get("whileCondition")),
                do_while_condition=_text(raw.get("doWhileCondition")),
            )
    if not any(block.type == "parallel" for block in blocks.values()):
        for key, raw in _stored(state, "parallels"):
            containers[key] = Parallel(
                id=key,
                kind="count" if raw.get("parallelType", "count") == "count" else "collection",
                count=raw.get("count") or DEFAULT_COUNT,
                items=_or_blank(raw.get("distribution")),
                batch=_batch(raw.get("batchSize")),
            )
    return containers


def _loop(block: Block) -> Loop:
    data = block.data
    return Loop(
        id=block.id,
        kind=_one_of(data.get("loopType"), LOOP_KINDS),
        count=data.get("count") or DEFAULT_COUNT,
        items=_or_blank(data.get("collection")),
        while_condition=_text(data.get("whileCondition")),
        do_while_condition=_text(data.get("doWhileCondition")),
    )


def _parallel(block: Block) -> Parallel:
    data = block.data
    kind = data.get("parallelType") or "count"
    return Parallel(
        id=block.id,
        kind="count" if kind == "count" else "collection",
        count=data.get("count") or DEFAULT_COUNT,
        items=_or_blank(data.get("collection")),
        batch=_batch(data.get("batchSize")),
    )


def _stored(state: Mapping[str, Any], key: str) -> list[tuple[str, Mapping[str, Any]]]:
    stored = state.get(key)
    items = stored.items() if isinstance(stored, Mapping) else ()
    return [(name, raw) for name, raw in items if isinstance(raw, Mapping)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _one_of(value: Any, kinds: tuple[str, ...]) -> str:
    return value if isinstance(value, str) and value in kinds else kinds[0]


def _batch(value: Any) -> int:
    size = _finite(value)
    return MAX_BATCH if size is None else min(MAX_BATCH, max(1, math.floor(size)))


def _or_blank(value: Any) -> Any:
    return "" if value is None else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _variables(raw: Any) -> dict[str, Variable]:
    items = raw.values() if isinstance(raw, Mapping) else raw if isinstance(raw, list) else ()
    variables: dict[str, Variable] = {}
    for item in items:
        if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
            continue
        key = str(item.get("id") or item["name"])
        kind = item.get("type")
        variables[key] = Variable(
            id=key,
            name=item["name"],
            type=kind if isinstance(kind, str) else "string",
            value=item.get("value"),
        )
    return variables
