"""Everything that is wrong, or likely a mistake, in a workflow, before anything runs."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

from sim_devin.engine.address_check import address_problems
from sim_devin.engine.code_check import code_problems, require_extras
from sim_devin.engine.containers import written_collection
from sim_devin.engine.document import load_workflow
from sim_devin.engine.field_check import field_problems, is_open
from sim_devin.engine.graph import Graph, option_rows, reachable, surely_run
from sim_devin.engine.model_input_check import model_input_problems
from sim_devin.engine.origins import CHILD_TYPES
from sim_devin.engine.problem import Problem
from sim_devin.engine.program import UNKNOWN_TYPE_HINT, Program, needs_plugin
from sim_devin.engine.reference_check import reference_problems
from sim_devin.engine.references import Reference, normalize, split
from sim_devin.engine.schema_check import schema_problems
from sim_devin.engine.services import Services
from sim_devin.engine.start import is_start, start_block
from sim_devin.engine.unread_check import document_problems, unread_problems
from sim_devin.engine.workflow import NOTE, Block, Workflow
from sim_devin.errors import InvalidWorkflow
from sim_devin.specs.schema import shorten
from sim_devin.text import did_you_mean

logger = logging.getLogger("sim_devin")

RESERVED_NAMES = ("loop", "parallel", "variable")
SOURCES = ("manual", "external", "api", "chat")  # all are tried when none is given


def check(
    source: Any,
    services: Services,
    *,
    env: Mapping[str, str] | None = None,
    kind: str | None = None,
) -> list[Problem]:
    """Return what is wrong with a workflow, errors first.

    Args:
        source: a document, a path or a `Workflow`.
        services: what there is to run it with.
        env: what ``{{NAME}}`` stands for; names are not looked at when it is left out.
        kind: how it will be started; what it can be started with unless given.
    """
    try:
        workflow = load_workflow(source)
    except InvalidWorkflow as error:
        return [Problem(text, hint=error.hint) for text in error.problems]
    unknown = [
        Problem(
            f"unknown block type {block.type!r}",
            place=block.name,
            block_id=block.id,
            hint=UNKNOWN_TYPE_HINT,
        )
        for block in workflow.blocks.values()
        if needs_plugin(block, services)
    ]
    programs, found = _programs(workflow, services, kind, unknown)
    found = [*unknown, *found, *([] if programs else _document_problems(workflow))]
    for program in programs:
        found += program_problems(program, env)
    return _sorted(found)


def program_problems(
    program: Program, env: Mapping[str, str] | None = None, *, starting: bool = False
) -> list[Problem]:
    """Return what is wrong with a compiled workflow, errors first; `env` as for `check`.

    `starting` says that a run is about to begin: what it is allowed is known.
    """
    fields = list(field_problems(program, env))
    told = {problem.place for problem in fields if problem.level == "error"}
    return _sorted(
        [
            *_document_problems(program.workflow),
            *fields,
            *unread_problems(program),
            *_graph_problems(program),
            *reference_problems(program, env),
            *model_input_problems(program),
            *(problem for problem in schema_problems(program) if problem.place not in told),
            *code_problems(program, env, starting=starting),
            *address_problems(program),
        ]
    )


def require(
    program: Program,
    env: Mapping[str, str],
    blocks: Container[str] | None = None,
    *,
    children: Iterable[str] | None = None,
    named: str = "",
) -> None:
    """Check, before anything runs, that nothing would fail or be left out that is known by then.

    Args:
        program: the compiled workflow.
        env: what ``{{NAME}}`` stands for.
        blocks: ids of those that will run; all unless given.
        children: ids of the workflows that its Workflow blocks can run; None if not known.
        named: what to put before each problem, to tell one workflow from another.

    Raises:
        MissingDependency: something is not installed; says what to install.
        InvalidWorkflow: names everything that is wrong, where, and what to do.
    """
    require_extras(program)
    errors = [
        problem
        for problem in (
            *program_problems(program, env, starting=True),
            *_child_problems(program, children),
        )
        if problem.level == "error"
        and (blocks is None or problem.block_id is None or problem.block_id in blocks)
    ]
    for problem in (*document_problems(program.workflow), *unread_problems(program)):
        if problem.level == "warning":
            logger.warning("%s%s. %s", named, problem, problem.hint)
    if errors:
        raise InvalidWorkflow(
            [
                f"{named}{str(problem).rstrip('.')}. {problem.hint}".rstrip(". ")
                for problem in errors
            ]
        )


def _child_problems(program: Program, children: Iterable[str] | None) -> Iterator[Problem]:
    """Yield the Workflow blocks that every run comes to and whose workflow it was not given."""
    known = None if children is None else list(children)
    for block_id in surely_run(program.graph) if known is not None else ():
        block, node = program.workflow.blocks[block_id], program.graph.node(block_id)
        chosen = block.values.get("workflowId") or block.values.get("manualWorkflowId")
        if block.type not in CHILD_TYPES or not isinstance(chosen, str) or is_open(chosen):
            continue
        if chosen in (known or ()) or (node is not None and node.has_error_port):
            continue
        if program.services.workflow(chosen) is None:
            yield Problem(
                f"there is no workflow {chosen!r}",
                place=f"{block.name}.workflowId",
                block_id=block.id,
                hint=did_you_mean(chosen, known or ()) or f"Give it: --child {chosen}=FILE.",
            )


def _sorted(found: Iterable[Problem]) -> list[Problem]:
    return sorted(dict.fromkeys(found), key=lambda problem: problem.level != "error")


def _document_problems(workflow: Workflow) -> Iterator[Problem]:
    yield from document_problems(workflow)
    yield from _edge_problems(workflow)
    yield from _name_problems(workflow)


def _programs(
    workflow: Workflow, services: Services, kind: str | None, unknown: list[Problem]
) -> tuple[list[Program], list[Problem]]:
    """Return the workflow compiled without its unknown blocks, for each start that it has."""
    left_out = {problem.block_id for problem in unknown}
    known = {key: block for key, block in workflow.blocks.items() if key not in left_out}
    runnable = Workflow(
        blocks=known,
        edges=workflow.edges,
        containers=workflow.containers,
        variables=workflow.variables,
        name=workflow.name,
        document=workflow.document,
    )
    programs: dict[str, Program] = {}
    problems: list[Problem] = []
    for attempt in (kind,) if kind else SOURCES:
        try:
            start = start_block(runnable, attempt, lambda name: _is_trigger(services, name))
            if start.id not in programs:
                programs[start.id] = Program(runnable, services, kind=attempt)
        except InvalidWorkflow as error:
            problems = problems or [Problem(text, hint=error.hint) for text in error.problems]
    return list(programs.values()), [] if programs else problems


def _is_trigger(services: Services, block_type: str) -> bool:
    spec = services.block(block_type)
    return spec is not None and spec.category == "triggers"


# -- edges and names -----------------------------------------------------------------------------


def _edge_problems(workflow: Workflow) -> Iterator[Problem]:
    for edge in workflow.edges:
        source, target = workflow.blocks.get(edge.source), workflow.blocks.get(edge.target)
        if source is None or target is None:
            missing = edge.source if source is None else edge.target
            known = source or target
            yield Problem(
                f"an edge leads {'from' if source is None else 'to'} a missing block: {missing}",
                place=known.name if known else f"edge {edge.source} → {edge.target}",
                hint="Remove the edge.",
                level="warning",
            )
            continue
        if NOTE in (source.type, target.type):
            yield Problem("an edge touches a note", place=source.name, level="warning")
        elif not _same_room(source, target):
            yield Problem(
                f"the edge to {target.name!r} crosses the boundary of a container and is ignored",
                place=source.name,
                block_id=source.id,
                hint="Connect blocks of one container, or the container itself.",
                level="warning",
            )
        if source.is_container and edge.handle == "error":
            yield Problem(
                "an error edge from a container is an ordinary exit: it does not catch failures "
                "inside",
                place=source.name,
                block_id=source.id,
                hint="Draw it from the block inside that may fail.",
                level="warning",
            )
        yield from _option_problems(source, edge.handle)


def _same_room(source: Block, target: Block) -> bool:
    return (
        source.parent == target.parent or target.parent == source.id or source.parent == target.id
    )


def _option_problems(source: Block, handle: str | None) -> Iterator[Problem]:
    kinds = {"condition": ("condition-", "conditions"), "router_v2": ("router-", "routes")}
    if handle is None or source.type not in kinds:
        return
    prefix, field = kinds[source.type]
    ids = [str(row.get("id")) for row in option_rows(source.values.get(field))]
    if handle.startswith(prefix) and handle.removeprefix(prefix) not in ids:
        yield Problem(
            f"an edge is for the branch {handle.removeprefix(prefix)!r}, which the block does "
            "not have",
            place=source.name,
            block_id=source.id,
            hint=did_you_mean(handle.removeprefix(prefix), ids) or "Draw the edge again.",
            level="error" if ids else "warning",
        )


def _name_problems(workflow: Workflow) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for block in workflow.blocks.values():
        if block.type == NOTE:
            continue
        name = normalize(block.name)
        if name in RESERVED_NAMES:
            yield Problem(
                f"a block called {name!r} cannot be referenced: the name is reserved",
                place=block.name,
                block_id=block.id,
                hint="Rename it.",
                level="warning",
            )
        elif name in seen:
            yield Problem(
                f"{seen[name]!r} has the same name for references; only one can be referenced",
                place=block.name,
                block_id=block.id,
                hint="Rename one of them.",
                level="warning",
            )
        seen.setdefault(name, block.name)


# -- graph ---------------------------------------------------------------------------------------


def _graph_problems(program: Program) -> Iterator[Problem]:
    workflow, graph = program.workflow, program.graph
    starts = [
        block.id
        for block in workflow.blocks.values()
        if block.enabled and is_start(block, program.is_trigger)
    ]
    reached = {found for start in starts for found in reachable(workflow, start)}
    for block in workflow.blocks.values():
        if block.type != NOTE and block.enabled and block.id not in reached:
            yield Problem(
                "no path from a start block leads to this block: it never runs",
                place=block.name,
                block_id=block.id,
                hint="Connect it, disable it or remove it.",
                level="warning",
            )
    surely = surely_run(graph)
    for key, body in graph.bodies.items():
        container = workflow.blocks.get(key)
        if container is not None and key in graph.place and not body.nodes:
            yield Problem(
                "the container is empty: the run fails here",
                place=container.name,
                block_id=key,
                hint="Connect the container's start to the first block inside it.",
                level="error" if key in surely else "warning",
            )
        over = graph.workflow.containers[key]
        if container is not None and key in graph.place and over.kind in ("forEach", "collection"):
            yield from _collection_problems(container, over.items)
    for block in _stuck(graph):
        yield Problem(
            "it waits for itself in a cycle: it never runs",
            place=block.name,
            block_id=block.id,
            hint="Use a loop block to repeat something.",
        )


def _collection_problems(container: Block, items: Any) -> Iterator[Problem]:
    """Yield that what a container goes over is not there, or is no collection."""
    problem, value = "", items
    if isinstance(items, str):
        parts = split(items)
        if len(parts) == 1 and isinstance(parts[0], Reference):
            return  # references in a longer text are not looked at
        value = written_collection(items)
    if items in ("", None) or (isinstance(items, str) and not items.strip()):
        problem = "there is nothing to go over: the run fails here"
    elif not isinstance(value, (list, Mapping)):
        problem = f"{shorten(items)} is no list and no object: the run fails here"
    if problem:
        yield Problem(
            problem,
            place=f"{container.name}.collection",
            block_id=container.id,
            hint="Write a JSON list, or a reference to one such as <list.sessions>.",
        )


def _stuck(graph: Graph) -> Iterator[Block]:
    """Yield the blocks that no order of running reaches, because of a cycle."""
    for body in (graph.root, *graph.bodies.values()):
        waiting = list(body.waiting)
        queue = deque(node.index for node in body.nodes if not waiting[node.index])
        seen = set(queue)
        while queue:
            for target, _ in body.nodes[queue.popleft()].out:
                waiting[target] -= 1
                if not waiting[target] and target not in seen:
                    seen.add(target)
                    queue.append(target)
        yield from (node.block for node in body.nodes if node.index not in seen)
