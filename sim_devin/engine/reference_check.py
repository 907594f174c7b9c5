"""References that lead nowhere, or to a block that cannot have run yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sim_devin.engine.code_templates import code_text
from sim_devin.engine.graph import ALWAYS, ERROR, ContainerBody, Graph, option_rows
from sim_devin.engine.names import is_declared
from sim_devin.engine.problem import Problem
from sim_devin.engine.program import Program
from sim_devin.engine.references import EnvName, Reference, normalize, split
from sim_devin.engine.serializer import params
from sim_devin.engine.start import is_start
from sim_devin.engine.workflow import Block, Loop
from sim_devin.text import did_you_mean

_OF_ITEMS = ("currentItem", "item", "items")
IN_LOOP = ("index", "iteration", "currentItem", "item", "items")


def reference_problems(program: Program, env: Mapping[str, str] | None) -> Iterator[Problem]:
    """Yield a problem for each reference of a block that will run."""
    ancestors = _Ancestors(program.graph)
    for block_id in program.graph.place:
        block = program.workflow.blocks[block_id]
        step = program.steps.get(block_id)
        read_by_models = () if step is None else step.read_by_models
        for field, text in _texts(program, block):
            for segment in split(text):
                if isinstance(segment, Reference):
                    yield from _reference(program, ancestors, block, field, segment)
                elif isinstance(segment, EnvName) and field not in read_by_models:
                    yield from _environment(block, field, segment, env)


def reads_input(program: Program, *, everything: bool) -> Callable[[str], bool]:
    """Return what tells whether a workflow reads an input of a name that it does not declare.

    With `everything`, all are taken for read.
    """
    heads = ("input", "conversationId", "files")
    names: set[str] = set()
    for block_id in program.graph.place:
        block = program.workflow.blocks[block_id]
        for _, text in _texts(program, block):
            # A condition has the output of the block before as `context`.
            everything |= block.type == "condition" and "context" in text
            for part in split(text):
                if not isinstance(part, Reference):
                    continue
                if program.names.blocks.get(normalize(part.head)) == program.start.id:
                    everything |= not part.path
                    names.update(str(piece) for piece in part.path[:1])
    return lambda name: everything or name in heads or name in names


def _texts(program: Program, block: Block) -> Iterator[tuple[str, str]]:
    container = program.workflow.containers.get(block.id)
    if container is not None:
        if isinstance(container.items, str):
            yield "collection", container.items
        if isinstance(container, Loop):
            yield "whileCondition", container.while_condition
            yield "doWhileCondition", container.do_while_condition
        return
    fields = program.form(block.type)
    stored = params(block, fields) if fields else dict(block.values)
    for field, value in stored.items():
        if block.type == "condition" and field == "conditions":
            value = [row.get("value") for row in option_rows(value)]
        elif block.type == "function" and field == "code":
            value = code_text(value) if value is not None else None
        for text in _strings(value):
            yield field, text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _environment(
    block: Block, field: str, segment: EnvName, env: Mapping[str, str] | None
) -> Iterator[Problem]:
    name = segment.name
    if name != name.strip():
        yield Problem(
            f"{segment.text} is not replaced because of the spaces",
            place=f"{block.name}.{field}",
            block_id=block.id,
            hint=f"Write {{{{{name.strip()}}}}}.",
            level="warning",
        )
    elif env is not None and name not in env:
        yield Problem(
            f"the variable {name} is not set; {segment.text} would be left as it is",
            place=f"{block.name}.{field}",
            block_id=block.id,
            hint=f"Set {name}. {did_you_mean(name, env)}".rstrip(),
            level="warning",
        )


def _reference(
    program: Program, ancestors: _Ancestors, block: Block, field: str, reference: Reference
) -> Iterator[Problem]:
    def problem(text: str, hint: str, *, error: bool = False) -> Problem:
        return Problem(
            f"{reference.text} {text}",
            place=f"{block.name}.{field}",
            block_id=block.id,
            hint=hint,
            level="error" if error else "warning",
        )

    head, workflow = reference.head, program.workflow
    if head == "variable":
        name = normalize(str(reference.path[0])) if reference.path else ""
        if name not in program.names.variables:
            known = [item.name for item in workflow.variables.values()]
            hint = did_you_mean(name, known) or "Add the variable to the workflow."
            yield problem("names an unknown variable and is left as text", hint)
        return
    container_id = program.names.containers.get(head)
    if head in ("loop", "parallel") or (
        container_id is not None and reference.path and reference.path[0] in IN_LOOP
    ):
        yield from _pass_reference(program, block, field, reference, container_id, problem)
        return
    target_id = container_id or program.names.blocks.get(normalize(head))
    if target_id is None:
        known = [item.name for item in workflow.blocks.values()]
        hint = did_you_mean(head, known) or "If it is meant as text, ignore this."
        yield problem("names an unknown block and is left as text", hint)
        return
    target = workflow.blocks[target_id]
    if target_id == block.id:
        yield problem(
            "refers to the block itself, which has no output yet", "Refer to another block."
        )
    elif target_id not in program.graph.place:
        yield problem("refers to a block that never runs: it is empty", f"Connect {target.name!r}.")
    elif not ancestors.may_have_run(target_id, block.id):
        yield problem(
            "refers to a block that cannot have run before: it is empty",
            f"Connect {target.name!r} before {block.name!r}.",
        )
    declared = program.declared_outputs(target_id) if not target.is_container else None
    if declared and reference.path[:1] == ("error",) and not is_declared(declared, reference.path):
        yield from _error_of(program, block, target, problem)
    elif declared and reference.path and not is_declared(declared, reference.path):
        hint = did_you_mean(str(reference.path[0]), declared)
        hint = hint or f"Available: {', '.join(declared)}."
        open_ended = is_start(target, program.is_trigger)  # takes inputs it does not declare
        yield problem("is not an output of the block", hint, error=not open_ended)


def stays_as_text(program: Program, block: Block, reference: Reference) -> bool:
    """Return whether a run leaves a reference as it is written, since it means nothing there."""
    workflow, names = program.workflow, program.names
    container_id = names.containers.get(reference.head)
    is_pass = container_id is not None and reference.path and reference.path[0] in IN_LOOP
    if reference.head not in ("loop", "parallel") and not is_pass:
        return not names.knows(reference)
    chain = [*workflow.chain(block.id), *([block.id] if block.is_container else [])]
    if container_id is None:
        wanted = reference.head == "loop"
        around = [key for key in chain if isinstance(workflow.containers[key], Loop) == wanted]
        if not around:
            return True
        container_id = around[-1]
    counts = workflow.containers[container_id].kind in ("for", "count", "while", "doWhile")
    return counts and bool(reference.path) and reference.path[0] in _OF_ITEMS


def _error_of(program: Program, block: Block, target: Block, problem: Any) -> Iterator[Problem]:
    """Check ``<a.error>``, which is there only where block a failed and its error port led on."""
    graph = program.graph
    if target.id not in graph.place:
        return
    body, at = graph.place[target.id]
    around = (graph.place[key] for key in (block.id, *program.workflow.chain(block.id)))
    here = next((index for found, index in around if found is body), None)
    if here is None:
        return  # it stands in a container of its own
    kinds = (ERROR, ALWAYS) if body.nodes[at].has_error_port else ()  # else a failure ends the run
    failed = [to for to, ports in body.nodes[at].out if any(p.kind in kinds for p in ports)]
    without = {at: [to for to, ports in body.nodes[at].out if any(p.kind != ERROR for p in ports)]}
    if here not in _led_to(body, failed):
        yield problem(
            "is not an output of the block when it succeeds, as it has where this block runs",
            f"Connect the error port of {target.name!r} to the block that reads its error.",
            error=here in _led_to(body, without[at]),
        )
    elif here in _led_to(body, body.entries, without):
        yield problem(
            "is also read on paths where the block has succeeded, and there this block fails",
            f"Give {target.name!r} its own error handler, or read the error in a Function.",
        )


def _led_to(
    body: ContainerBody, starts: Iterable[int], instead: Mapping[int, list[int]] | None = None
) -> set[int]:
    """Return the nodes of a body that others lead to; `instead` has other targets for some."""
    found = set(starts)
    queue = deque(found)
    while queue:
        index = queue.popleft()
        targets = [to for to, _ in body.nodes[index].out]
        for to in (instead or {}).get(index, targets):
            if to not in found:
                found.add(to)
                queue.append(to)
    return found


def _pass_reference(
    program: Program,
    block: Block,
    field: str,
    reference: Reference,
    container_id: str | None,
    problem: Any,
) -> Iterator[Problem]:
    """Check ``<loop…>``, ``<parallel…>`` and a container's name with a property of its passes."""
    containers = program.workflow.containers
    chain = list(program.workflow.chain(block.id))
    if block.is_container and field == "collection":
        yield problem(
            "cannot be read by an inner collection",
            "Add a Function block before the container that returns it, and refer to that.",
            error=True,
        )
        return
    if block.is_container and field != "collection":
        chain.append(block.id)
    if container_id is None:
        wanted = Loop if reference.head == "loop" else None
        around = [key for key in chain if isinstance(containers[key], Loop) == (wanted is Loop)]
        if not around:
            yield problem(
                f"is outside of any {reference.head} and is left as text",
                f"Move the block into the {reference.head}, or refer to it by name.",
            )
            return
        container_id = around[-1]
    elif container_id not in chain:
        yield problem(
            "is only available inside that container",
            "Outside of it, use its results.",
            error=True,
        )
        return
    counts = containers[container_id].kind in ("for", "count", "while", "doWhile")
    if counts and reference.path and reference.path[0] in _OF_ITEMS:
        yield problem(
            "has no meaning in a container that only counts, and is left as text",
            "Use its index, or let it iterate over a collection.",
        )


class _Ancestors:
    """Which blocks come before which, across containers."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def may_have_run(self, first: str, then: str) -> bool:
        """Return whether `first` can have run when `then` starts."""
        workflow = self._graph.workflow
        first_chain = [*workflow.chain(first), first]
        then_chain = [*workflow.chain(then), then]
        depth = 0
        while first_chain[depth] == then_chain[depth]:
            if isinstance(workflow.containers.get(first_chain[depth]), Loop):
                return True  # it may have run in an earlier iteration
            depth += 1
            if depth in (len(first_chain), len(then_chain)):
                return True
        return self._before(first_chain[depth], then_chain[depth])

    def _before(self, first: str, then: str) -> bool:
        body, index = self._graph.place[then]
        wanted = self._graph.place[first][1]
        found = set(body.nodes[index].sources)
        queue = deque(found)
        while queue:
            source = queue.popleft()  # nearest first: references mostly lead a few blocks back
            if source == wanted:
                return True
            for earlier in body.nodes[source].sources:
                if earlier not in found:
                    found.add(earlier)
                    queue.append(earlier)
        return False
