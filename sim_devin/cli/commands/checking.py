"""Find problems in spec files and workflows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim_devin.errors import CallerError, InvalidSpec
from sim_devin.specs.json_input import parse_json
from sim_devin.text import did_you_mean

if TYPE_CHECKING:
    from sim_devin.app import App
    from sim_devin.specs.files import Specs

SPEC_ENDINGS = (".tool.json", ".block.json", ".connection.json", ".job.json")
SHAPES = "shapes.json"


@dataclass(frozen=True)
class Finding:
    """One problem. `level` is ``error`` or ``warning``."""

    file: str
    problem: str
    place: str = ""
    hint: str = ""
    level: str = "error"

    def text(self) -> str:
        """Return the problem as one line, followed by a line with the hint."""
        place = f"{self.file}: {self.place}" if self.place else self.file
        level = "warning: " if self.level == "warning" else ""
        hint = f"\n    {self.hint}" if self.hint else ""
        return f"{place}: {level}{self.problem}{hint}"

    def to_json(self) -> dict[str, Any]:
        """Return the finding as JSON data."""
        return {
            "file": self.file,
            "place": self.place,
            "problem": self.problem,
            "hint": self.hint,
            "level": self.level,
        }


def files(path: Path) -> list[Path]:
    """Return the files to check: the file itself, or the JSON files in a folder.

    Raises:
        CallerError: there is nothing to check.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise CallerError(f"No such file or folder: {path}.")
    found = sorted(item for item in path.glob("*.json") if not item.name.endswith(".schema.json"))
    if not found:
        raise CallerError(f"The folder {path} contains no spec files or workflows.")
    return found


def check(listed: Sequence[Path], app: App) -> Iterator[Finding]:
    """Yield the problems in the files of one folder."""
    specs = [file for file in listed if is_spec(file)]
    if specs:
        yield from _check_specs(specs[0].parent, specs, app)
    for file in listed:
        if not is_spec(file):
            yield from _check_workflow(file, app)


def is_spec(file: Path) -> bool:
    """Return whether a file is a spec file, by its name."""
    return file.name == SHAPES or file.name.endswith(SPEC_ENDINGS)


def _check_specs(folder: Path, wanted: Sequence[Path], app: App) -> Iterator[Finding]:
    """Check spec files together with their folder, whose shapes and connections they use."""
    from sim_devin.specs.files import read_folder

    names = {file.name for file in wanted}
    specs = read_folder(folder)
    for error in specs.problems:
        if error.place in names:
            yield from _findings(folder / error.place, error)
    owners: dict[tuple[str, str], Path] = {}
    for file in wanted:
        key = _identity(file)
        if owners.setdefault(key, file) != file:
            other = owners[key].name
            yield Finding(str(file), f"{other} also defines {key[1]!r}", place="id")
    for key, problem in _contradictions(specs, app):
        if key in owners:
            yield _finding(owners[key], problem)


def _identity(file: Path) -> tuple[str, str]:
    """Return what a spec file defines: its kind and id, or its file name if it cannot be read."""
    ending = next((item for item in SPEC_ENDINGS if file.name.endswith(item)), SHAPES)
    try:
        document = parse_json(file.read_bytes())
        return ending, str(document["type" if ending == ".block.json" else "id"])
    except (OSError, ValueError, KeyError, TypeError):
        return ending, f"the file {file.name}"


def _contradictions(specs: Specs, app: App) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield (identity, problem) for conflicts between valid files, or with what is installed."""
    from sim_devin.specs.spec_problems import connection_problems

    registry = app.registry
    connections = {**registry.connections, **{item.id: item for item in specs.connections}}
    tools = {**registry.tools, **{item.id: item for item in specs.tools}}
    for tool in specs.tools:
        for problem in connection_problems(tool, connections.values()):
            yield (".tool.json", tool.id), problem
    for block in specs.blocks:
        for operation, tool_id in block.operations.items():
            if tool_id not in tools:
                suggestion = did_you_mean(tool_id, tools)
                yield (
                    (".block.json", block.type),
                    f"operations.{operation}: unknown tool {tool_id!r}. {suggestion}".rstrip(),
                )


def _findings(file: Path, error: InvalidSpec) -> Iterator[Finding]:
    for problem in error.problems:
        yield _finding(file, problem)


def _finding(file: Path, problem: str) -> Finding:
    place, separator, text = problem.partition(": ")
    return Finding(str(file), text, place) if separator else Finding(str(file), problem)


def _check_workflow(file: Path, app: App) -> Iterator[Finding]:
    from sim_devin.engine.workflow_check import check as check_workflow
    from sim_devin.runs.services import AppServices

    for problem in check_workflow(file, AppServices(app)):
        yield Finding(str(file), problem.text, problem.place, problem.hint, problem.level)
