"""What importing the package and starting the command line cost.

Run: python benchmarks/startup.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from rounds import interleave, report

BARE_CLICK = '''
import click

@click.group()
def main():
    """A program with as many commands that do nothing."""

for name in ("{names}").split():
    main.command(name, help=f"Do {{name}}.")(lambda: None)

main(["--help"])
'''


def run(*arguments: str) -> None:
    """Run Python in a process of its own and wait for it."""
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def main() -> None:
    """Measure imports and ``--help`` in fresh processes."""
    imports = {
        "python -c pass": lambda: run("-c", "pass"),
        "import pydantic": lambda: run("-c", "from pydantic import BaseModel"),
        "import sim_devin": lambda: run("-c", "import sim_devin"),
        "sim_devin.open_app()": lambda: run("-c", "import sim_devin; sim_devin.open_app()"),
    }
    report("Import", interleave(imports, rounds=9, loops=1), "python -c pass")

    listed = subprocess.run(
        [sys.executable, "-m", "sim_devin", "--help"], check=True, capture_output=True, text=True
    )
    _, _, commands = listed.stdout.partition("Commands:")
    names = " ".join(line.split()[0] for line in commands.splitlines() if line.startswith("  "))
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "bare.py"
        program.write_text(BARE_CLICK.format(names=names))
        helps = {
            "a click program that does nothing --help": lambda: run(str(program)),
            "sim-devin --help": lambda: run("-m", "sim_devin", "--help"),
        }
        medians = interleave(helps, rounds=15, loops=1)
    report("Help", medians, "a click program that does nothing --help", "< 1.5 x")


if __name__ == "__main__":
    main()
