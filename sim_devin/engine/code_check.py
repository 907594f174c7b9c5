"""JavaScript of a workflow, tried before a run: does it parse, and what do references become?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sim_devin.code import javascript
from sim_devin.engine.code_templates import code_text
from sim_devin.engine.graph import option_rows
from sim_devin.engine.javascript_check import differences
from sim_devin.engine.javascript_text import Scanner
from sim_devin.engine.problem import Problem
from sim_devin.engine.program import Program
from sim_devin.engine.reference_check import stays_as_text
from sim_devin.engine.references import Reference, normalize, split
from sim_devin.engine.workflow import Block, Loop
from sim_devin.errors import MissingDependency
from sim_devin.specs.schema import shorten
from sim_devin.text import did_you_mean

MODEL_BLOCKS = ("agent", "evaluator", "router", "router_v2")


@dataclass(frozen=True)
class _Piece:
    """One piece of JavaScript.

    Attributes:
        matters: whether the run fails where it does not parse: a later row of a condition may
            never be reached, and a condition of a loop that fails ends the loop.
    """

    block: Block
    field: str
    source: str
    kind: javascript.SourceKind
    matters: bool = True


def require_extras(program: Program) -> None:
    """Check, before anything runs, that what the blocks need is installed.

    Raises:
        MissingDependency: says what to install.
    """
    if not javascript.available() and next(_code(program), None) is not None:
        raise MissingDependency("JavaScript in a workflow", "js")
    require = getattr(program.services.llm, "require_installed", None)
    types = {step.node.block.type for step in program.steps.values()}
    if require is not None and types.intersection(MODEL_BLOCKS):
        require()


def code_problems(
    program: Program, env: Mapping[str, str] | None, *, starting: bool
) -> Iterator[Problem]:
    """Yield what does not parse, and references between quotes.

    Args:
        program: the compiled workflow.
        env: what ``{{NAME}}`` stands for; None if that is not known.
        starting: whether a run is about to begin, so that what it is allowed is known.
    """
    yield from _python(program, starting=starting)
    pieces = list(_code(program))
    for piece in pieces:
        yield from _reference_problems(program, piece)
    if not pieces:
        return
    if not javascript.available():
        yield Problem(
            "JavaScript is not checked and cannot run: the extra [js] is not installed",
            place=", ".join(dict.fromkeys(piece.block.name for piece in pieces)),
            hint="pip install 'sim-devin[js]'",
        )
        return
    for piece in pieces:
        try:
            source = _standing_in(program, piece, env)
            wrong = javascript.syntax_problem(source, kind=piece.kind)
        except MissingDependency:
            return
        if wrong is not None:
            line, reason = wrong
            yield Problem(
                f"the JavaScript does not parse, line {line}: {reason}",
                place=f"{piece.block.name}.{piece.field}",
                block_id=piece.block.id,
                hint=_line(piece.source, line),
                level="error" if piece.matters else "warning",
            )
            continue
        for line, what in differences(piece.source):
            yield Problem(
                f"the JavaScript, line {line}: {what}",
                place=f"{piece.block.name}.{piece.field}",
                block_id=piece.block.id,
                hint=_line(piece.source, line),
                level="warning",
            )


def _python(program: Program, *, starting: bool) -> Iterator[Problem]:
    for step in program.steps.values():
        language = step.stored.get("language") or "javascript"
        if step.node.block.type != "function" or language == "javascript":
            continue
        if language == "python" and program.services.allows_python:
            continue
        known = language == "python"
        yield Problem(
            f"{'Python' if known else shorten(language)} is not allowed in Function blocks here",
            place=f"{step.name}.language",
            block_id=step.node.id,
            hint="Use JavaScript, or run workflows that you trust with --allow-python.",
            level="error" if starting or not known else "warning",
        )


def _code(program: Program) -> Iterator[_Piece]:
    """Yield the JavaScript of the blocks that may run."""
    for block_id in program.graph.place:
        block = program.workflow.blocks[block_id]
        if block.type == "function" and block.values.get("language") in (None, "javascript"):
            source = code_text(block.values.get("code") or "")
            yield _Piece(block, "code", source, "function")
        elif block.type == "condition":
            rows = option_rows(block.values.get("conditions"))
            for number, row in enumerate(rows):
                title = str(row.get("title") or "").strip()
                if title.lower() == "else":
                    break
                source = str(row.get("value") or "")
                if source.strip():
                    field = f"conditions.{title}"
                    yield _Piece(block, field, source, "expression", matters=number == 0)
        container = program.workflow.containers.get(block_id)
        if isinstance(container, Loop):
            for kind, field, source in (
                ("while", "whileCondition", container.while_condition),
                ("doWhile", "doWhileCondition", container.do_while_condition),
            ):
                if container.kind == kind and source.strip():
                    yield _Piece(block, field, source, "expression", matters=False)


def _reference_problems(program: Program, piece: _Piece) -> Iterator[Problem]:
    """Yield references between quotes, where a text would get quotes of its own."""
    scanner, names = Scanner(), program.names
    for part in split(piece.source):
        if isinstance(part, str):
            scanner.feed(part)
            continue
        place = scanner.place
        known = isinstance(part, Reference) and not stays_as_text(program, piece.block, part)
        if isinstance(part, Reference) and part.head == "variable" and piece.kind == "function":
            name = normalize(str(part.path[0])) if part.path else ""
            if name and name not in names.variables:
                yield Problem(
                    f"{part.text} names an unknown variable: the code fails here",
                    place=f"{piece.block.name}.{piece.field}",
                    block_id=piece.block.id,
                    hint=did_you_mean(name, names.variables) or "Add it to the workflow.",
                )
        if known and place in ("single", "double", "template"):
            within = part.text if place != "template" else f"${{{part.text}}}"
            yield Problem(
                f"{part.text} is inside quotes, but text is inserted with its own quotes: the "
                "result is a different text",
                place=f"{piece.block.name}.{piece.field}",
                block_id=piece.block.id,
                hint=f"Write {within} without the quotes"
                + (" around it." if place != "template" else ", or in braces."),
                level="warning",
            )
        if known or not isinstance(part, Reference):
            scanner.value()
        else:
            scanner.feed(part.text)


def _standing_in(program: Program, piece: _Piece, env: Mapping[str, str] | None) -> str:
    """Return the source with a name in the place of what a run puts a value in for."""
    is_loop = piece.block.is_container  # whose condition looks at no variables
    parts: list[str] = []
    for segment in split(piece.source):
        if isinstance(segment, str):
            parts.append(segment)
        elif isinstance(segment, Reference):
            stays = stays_as_text(program, piece.block, segment)
            told = segment.head == "variable" and piece.kind == "function"  # in words of its own
            parts.append(segment.text if stays and not told else "__ref")
        else:
            known = not is_loop and (env is None or segment.name in env)
            parts.append("__env" if known else segment.text)
    return "".join(parts)


def _line(source: str, line: int) -> str:
    lines = source.splitlines()
    written = lines[line - 1].strip()[:120] if 0 < line <= len(lines) else ""
    return f"Correct it: {written}" if written else "Correct the code."
