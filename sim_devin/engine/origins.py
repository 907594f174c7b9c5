"""Which environment variables may be in what a reference reads: the origins of a value.

Found on the document alone, so they are the same after a resume, in another process and in a
fork. A block holds a variable *directly* if it only computes with what it is given (a Function,
the Variables block, a child run …); what a service or a model answered is an *echo*: only values
too long to be there by chance are taken for the variable's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sim_devin.engine.document import load_workflow
from sim_devin.engine.javascript_text import EVERY, variables_read
from sim_devin.engine.references import EnvName, Reference, parse_json, split
from sim_devin.errors import SimDevinError

if TYPE_CHECKING:
    from sim_devin.engine.program import Program

# Blocks that ask nobody: what they output is made of what they were given.
COMPUTING = frozenset(
    {
        *("condition", "function", "human_in_the_loop", "response", "variables", "wait"),
        *("workflow", "workflow_input"),
    }
)
CHILD_TYPES = ("workflow", "workflow_input")
OWN = ""  # in place of a name: the app's own credentials

Origins = Mapping[str, bool]  # name -> whether it is held directly
Node = tuple[str, str]  # what kind of thing, and its id
FindChild = Callable[[str], Any]  # workflow id -> document or path of a child, or None

NOTHING: Origins = {}


class Provenance:
    """The origins in one run of a workflow.

    Args:
        program: the compiled workflow.
        child: finds the documents of child runs.
        given: origins of the run's inputs; those of a run that a person starts have none.
    """

    def __init__(
        self,
        program: Program,
        child: FindChild,
        given: Origins = NOTHING,
    ) -> None:
        self._program = program
        self._child = child
        self._given = given
        self._earlier: Mapping[str, Origins] = {}
        self._own: dict[Node, tuple[Origins, frozenset[Node]]] = {}
        self._found: dict[frozenset[Node], Origins] = {}

    def by_block(self) -> dict[str, Origins]:
        """Return block id -> the origins of what it outputs, for a snapshot."""
        nodes = ((key, frozenset({("block", key)})) for key in self._program.graph.place)
        return {key: found for key, node in nodes if (found := self._all(node))}

    def goes_on(self, earlier: Mapping[str, Origins]) -> None:
        """Take over outputs of an earlier run, by whose document they have these origins."""
        self._earlier = earlier

    def of_reference(self, block_id: str, reference: Reference) -> Origins:
        """Return the origins of what a reference reads in a block."""
        return self._all(frozenset(self._targets(block_id, reference)))

    def of_inputs(self, block_id: str) -> Origins:
        """Return the origins of what the fields of a block hold, what models read left out."""
        names, sources = self._fields(block_id)
        return merged(names, self._all(frozenset(sources)))

    def has_given(self) -> bool:
        """Return whether something else than a person may have filled in the run's inputs."""
        return bool(self._given)

    # -- walking back ----------------------------------------------------------------------------

    def _all(self, nodes: frozenset[Node]) -> Origins:
        found = self._found.get(nodes)
        if found is None:
            found = self._found[nodes] = self._walk(nodes)
        return found

    def _walk(self, nodes: frozenset[Node]) -> Origins:
        found: dict[str, bool] = {}
        seen: dict[Node, bool] = {}
        waiting = [(node, True) for node in nodes]
        while waiting:
            node, direct = waiting.pop()
            if node in seen and (seen[node] or not direct):
                continue
            seen[node] = direct
            names, sources = self._of_node(node)
            direct = direct and self._computes(node)
            for name, held in names.items():
                found[name] = found.get(name, False) or (direct and held)
            waiting += [(source, direct) for source in sources]
        return found

    def _computes(self, node: Node) -> bool:
        kind, key = node
        if kind != "block":
            return True
        block = self._program.workflow.blocks[key]
        return block.type in COMPUTING or block.is_container or key == self._program.start.id

    def _of_node(self, node: Node) -> tuple[Origins, frozenset[Node]]:
        known = self._own.get(node)
        if known is None:
            kind, key = node
            read = {"block": self._block, "variable": self._variable, "items": self._items}[kind]
            known = self._own[node] = read(key)
        return known

    # -- what things hold by themselves -----------------------------------------------------------

    def _block(self, block_id: str) -> tuple[Origins, frozenset[Node]]:
        program = self._program
        block = program.workflow.blocks[block_id]
        if block.is_container:
            inside = program.workflow.blocks.values()
            chain = program.workflow.chain
            members = {("block", item.id) for item in inside if block_id in chain(item.id)}
            return {}, frozenset({*members, ("items", block_id)})
        names, sources = self._fields(block_id)
        if block_id == program.start.id:
            names = merged(names, self._given)
        if block.type in CHILD_TYPES:
            names = merged(names, self._in_child(block.values))
        return merged(names, self._earlier.get(block_id, NOTHING)), sources

    def _fields(self, block_id: str) -> tuple[Origins, frozenset[Node]]:
        program = self._program
        block, step = program.workflow.blocks[block_id], program.steps.get(block_id)
        values = block.values if step is None else step.stored
        read_by_models = () if step is None else step.read_by_models
        told = [value for field, value in values.items() if field not in read_by_models]
        names, sources = self._in_texts(block_id, told)
        if step is not None and step.source:
            sources |= {("block", step.source)}
        services = program.services
        secret = {item.id for item in program.form(block.type) if item.secret}
        credentials = services.credentials(block.type)
        held = {env: True for field, env in credentials.items() if field in secret}
        calls_tools = bool(held) or (step is not None and bool(step.also_for_model))
        return merged(names, held | ({OWN: True} if calls_tools else {})), frozenset(sources)

    def _variable(self, variable_id: str) -> tuple[Origins, frozenset[Node]]:
        names: Origins = {}
        sources: set[Node] = set()
        variable = self._program.workflow.variables[variable_id]
        for block in self._program.workflow.blocks.values():
            if block.type != "variables":
                continue
            told = _assigned(block.values.get("variables"), variable_id, variable.name)
            found, read = self._in_texts(block.id, told)
            names = merged(merged(names, found), self._earlier.get(block.id, NOTHING))
            sources |= read
        return names, frozenset(sources)

    def _items(self, container_id: str) -> tuple[Origins, frozenset[Node]]:
        items = self._program.workflow.containers[container_id].items
        references = (part for text in texts(items) for part in split(text))
        sources = {
            node
            for part in references
            if isinstance(part, Reference)
            for node in self._targets(container_id, part)
        }
        return {}, frozenset(sources)

    def _in_texts(self, block_id: str, values: Any) -> tuple[Origins, set[Node]]:
        names: dict[str, bool] = {}
        sources: set[Node] = set()
        for text in texts(values):
            if self._program.workflow.blocks[block_id].type == "function":
                names |= dict.fromkeys(variables_read(text), True)
            for part in split(text):
                if isinstance(part, EnvName):
                    names[part.name] = True
                elif isinstance(part, Reference):
                    sources |= set(self._targets(block_id, part))
        return names, sources

    def _targets(self, block_id: str, reference: Reference) -> Iterator[Node]:
        kind, key = self._program.names.target(reference)
        chain = self._program.workflow.chain(block_id)
        if kind == "pass":
            yield from (("items", container) for container in chain)
        elif kind == "container":
            yield ("items", key) if key in (*chain, block_id) else ("block", key)
        elif kind:
            yield kind, key

    def _in_child(self, values: Mapping[str, Any], seen: tuple[str, ...] = ()) -> Origins:
        workflow_id = values.get("workflowId") or values.get("manualWorkflowId")
        if not isinstance(workflow_id, str) or not workflow_id:
            return {}
        if workflow_id in seen:
            return {}
        if any(not isinstance(part, str) for part in split(workflow_id)):
            return {EVERY: True}
        try:
            source = self._child(workflow_id)
            document = None if source is None else load_workflow(source)
        except (SimDevinError, OSError):
            return {}  # it cannot run either
        names: Origins = {}
        for block in document.blocks.values() if document is not None else ():
            direct = block.type in COMPUTING
            if block.type == "function":
                code = (name for text in texts(block.values) for name in variables_read(text))
                names = merged(names, dict.fromkeys(code, True))
            parts = (part for text in texts(block.values) for part in split(text))
            names = merged(names, {p.name: direct for p in parts if isinstance(p, EnvName)})
            if block.type in CHILD_TYPES:
                names = merged(names, self._in_child(block.values, (*seen, workflow_id)))
            elif self._program.services.credentials(block.type):
                names = merged(names, {OWN: False})
        return names


def texts(value: Any) -> Iterator[str]:
    """Yield every text in JSON data, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts(item)


def merged(*parts: Origins) -> Origins:
    """Return several origins as one; what any of them holds directly is held directly."""
    found: dict[str, bool] = {}
    for part in parts:
        for name, direct in part.items():
            found[name] = found.get(name, False) or direct
    return found


def _assigned(rows: Any, variable_id: str, name: str) -> list[Any]:
    """Return what a Variables block assigns to one variable; all of it where that is not plain."""
    parsed = parse_json(rows) if isinstance(rows, str) else rows
    if not isinstance(parsed, list) or not all(isinstance(row, Mapping) for row in parsed):
        return [rows]
    return [
        row.get("value")
        for row in parsed
        if row.get("variableId") == variable_id or row.get("variableName") == name
    ]
