"""Change the code in small ways, one at a time, and see whether a test notices.

python scripts/mutate.py                     300 mutants of policy, runs, store and calls
python scripts/mutate.py --count 20 --seed 7 sim_devin/policy
python scripts/mutate.py --tests tests/test_policy.py sim_devin/policy

The mutants are those of Cosmic Ray's operators, drawn by a seed: at most one at each place, none
in annotations. Each is held against the tests that execute its line, those that execute least
first. Which these are is found by one run of the tests under coverage; it is kept in
``.mutate`` until a file of the package or a test changes. Works on copies of the tree.

Prints every mutant that survived, and exits with 1 if too many did.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import Queue
from typing import Any
from zlib import crc32

import coverage
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / ".mutate"
PLACES = ["policy", "runs", "store", "calls"]
# `is` in place of `==` (and the like) mostly cannot be told from it; a decorator is a declaration.
LEFT_OUT = ("_Is", "_IsNot", "RemoveDecorator")
PYTEST = ("-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-m", "not slow")


@dataclass(frozen=True)
class Mutant:
    """One change: which operator, and the how-manieth of its places in the file."""

    path: Path
    operator: str
    occurrence: int
    line: int

    def code(self) -> str:
        """Return the changed source of its file."""
        source = self.path.read_text(encoding="utf-8")
        changed: str = mutate_code(source, get_operator(self.operator)(), self.occurrence)
        return changed

    def is_code(self) -> bool:
        """Return whether Python can read the changed source; ``**options`` is no operator."""
        try:
            ast.parse(self.code())
        except SyntaxError:
            return False
        return True

    def __str__(self) -> str:
        before = self.path.read_text(encoding="utf-8").splitlines()
        lines = difflib.unified_diff(before, self.code().splitlines(), n=0, lineterm="")
        shown = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
        return "\n".join([f"{self.path.relative_to(ROOT)}:{self.line}", *shown])


def mutants(path: Path) -> Iterator[tuple[tuple[int, int], Mutant]]:
    """Yield the place and the change of every mutant of a file."""
    source = path.read_text(encoding="utf-8")
    annotated = set(_annotations(ast.parse(source)))
    nodes = list(ast_nodes(get_ast(source)))
    for name in sorted(operator_names()):
        if name.endswith(LEFT_OUT) or get_operator(name).arguments():
            continue
        operator = get_operator(name)()
        places = (start for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, (line, column) in enumerate(places):
            if (line, column) not in annotated:
                yield (line, column), Mutant(path, name, occurrence, line)


def _annotations(tree: ast.AST) -> Iterator[tuple[int, int]]:
    """Yield every place within an annotation, which is never executed."""
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            found = getattr(node, name, None)
            if found is None:
                continue
            for line in range(found.lineno, found.end_lineno + 1):
                begin = found.col_offset if line == found.lineno else 0
                end = found.end_col_offset if line == found.end_lineno else 200
                yield from ((line, column) for column in range(begin, end + 1))


def sample(paths: Iterable[Path], count: int, seed: int, covered: Covered) -> list[Mutant]:
    """Return mutants of lines that tests execute, at most one at each place."""
    at: dict[tuple[Path, int, int], list[Mutant]] = defaultdict(list)
    for path in paths:
        for place, mutant in mutants(path):
            if covered.tests(mutant):
                at[path, *place].append(mutant)
    chooser = random.Random(seed)
    places = chooser.sample(sorted(at), len(at))
    drawn = (chooser.choice(at[place]) for place in places)
    return list(islice(filter(Mutant.is_code, drawn), count))


class Covered:
    """Which tests execute which line, from one run of them under coverage."""

    def __init__(self, tests: list[str]) -> None:
        data = KEPT / f"coverage-{crc32(' '.join(tests).encode()):08x}"
        sources = [*(ROOT / "sim_devin").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
        fresh = data.exists() and data.stat().st_mtime > max(p.stat().st_mtime for p in sources)
        if not fresh:
            _run_under_coverage(data, tests)
        self._data = coverage.CoverageData(str(data))
        self._data.read()
        self._lines: dict[Path, dict[int, list[str]]] = {}
        self._size: dict[str, int] = defaultdict(int)
        for name in self._data.measured_files():
            by_line = self._data.contexts_by_lineno(name)
            self._lines[Path(name)] = by_line
            for contexts in by_line.values():
                for context in contexts:
                    self._size[context] += 1

    def tests(self, mutant: Mutant) -> list[str]:
        """Return the node ids of the tests that execute a mutant's line."""
        contexts = self._lines.get(mutant.path, {}).get(mutant.line, [])
        return sorted(filter(None, contexts), key=lambda context: self._size[context])


def _run_under_coverage(data: Path, tests: list[str]) -> None:
    KEPT.mkdir(exist_ok=True)
    under = ("-m", "coverage", "run", "--rcfile=/dev/null", "--source=sim_devin")
    print("running the tests once, to see which execute what", file=sys.stderr)
    chosen = ["-p", Path(__file__).stem, *(tests or ["--ignore=tests/web_page"])]
    command = [sys.executable, *under, f"--data-file={data}", *PYTEST, *chosen]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    if subprocess.run(command, cwd=ROOT, env=env, stdout=sys.stderr).returncode != 0:
        data.unlink(missing_ok=True)
        sys.exit("The tests fail without any change.")


def pytest_runtest_setup(item: Any) -> None:
    """Note which test executes what; pytest is given this module as a plugin."""
    measuring = coverage.Coverage.current()
    assert measuring is not None
    measuring.switch_context(item.nodeid)


class Copy:
    """A copy of the tree, in which one mutant at a time is tried."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tree"
        listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode()
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.root / name)

    def notices(self, mutant: Mutant, tests: list[str]) -> bool:
        """Return whether a test fails, or never ends, with the change."""
        file = self.root / mutant.path.relative_to(ROOT)
        file.write_text(mutant.code(), encoding="utf-8")
        try:
            return not self.passes(tests, "-x", "--timeout=90")
        finally:
            shutil.copy2(mutant.path, file)

    def passes(self, tests: list[str], *options: str) -> bool:
        """Return whether pytest has nothing against some tests."""
        listed = self.root.parent / "tests.txt"
        listed.write_text("\n".join(tests))
        env = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, *PYTEST, *options, f"@{listed}"]
        return subprocess.run(command, cwd=self.root, env=env, capture_output=True).returncode == 0


def main() -> int:
    """Try the mutants; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("places", nargs="*", type=Path, help="files or folders")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tests", action="append", default=[], help="hold against these alone")
    parser.add_argument("--at-least", type=float, default=90.0, help="per cent to be noticed")
    options = parser.parse_args()
    places = [ROOT / place for place in options.places] or [
        ROOT / "sim_devin" / place for place in PLACES
    ]
    paths = sorted(
        p for place in places for p in ([place] if place.is_file() else place.rglob("*.py"))
    )
    covered = Covered(options.tests)
    chosen = sample(paths, options.count, options.seed, covered)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        copies: Queue[Copy] = Queue()
        for number in range(options.jobs):
            copies.put(Copy(Path(folder, str(number))))

        every = sorted({test for mutant in chosen for test in covered.tests(mutant)})
        if not copies.queue[0].passes(every, "--collect-only"):
            sys.exit("The tests that were found for the mutants cannot be collected.")

        def survives(mutant: Mutant) -> Mutant | None:
            copy = copies.get()
            try:
                return None if copy.notices(mutant, covered.tests(mutant)) else mutant
            finally:
                copies.put(copy)

        survivors = []
        for number, mutant in enumerate(pool.map(survives, chosen), 1):
            if mutant is not None:
                survivors.append(mutant)
                print(f"survived:\n{mutant}\n", flush=True)
            print(f"{number} of {len(chosen)} tried", file=sys.stderr)
    noticed = 100 * (1 - len(survivors) / max(1, len(chosen)))
    print(f"{len(chosen)} mutants, {len(survivors)} survived: {noticed:.1f} % were noticed")
    return int(noticed < options.at_least)


if __name__ == "__main__":
    sys.exit(main())
