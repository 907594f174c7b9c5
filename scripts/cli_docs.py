"""Write docs/cli.md from the real help of every command.

python scripts/cli_docs.py            write the page
python scripts/cli_docs.py --check    exit with 1 if it is not up to date
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from sim_devin.cli.main import cli

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"

HEAD = """\
# The command line

<!-- Written by scripts/cli_docs.py from the commands' own help. Change that instead. -->

`sim-devin COMMAND --help` shows the same. Results go to standard output, progress, notes and
errors to standard error. `--json` makes both machine-readable.

## Credentials

They come from the environment (`DEVIN_API_KEY`, `DEVIN_ORG_ID`), from the config file or, the
key, from the operating system's keyring. `sim-devin config set-key` stores a key;
`sim-devin config show` says what is found where. There is no option for a key: a command line
stays in the shell's history.
"""


def page() -> str:
    """Return the page."""
    root = cli.make_context("sim-devin", [], resilient_parsing=True, terminal_width=100)
    return "\n".join([HEAD, *_sections(cli, root)])


def _sections(command: click.Command, ctx: click.Context) -> Iterator[str]:
    yield f"## `{ctx.command_path}`\n\n```text\n{command.get_help(ctx).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            child = command.get_command(ctx, name)
            assert child is not None
            context = child.make_context(name, [], parent=ctx, resilient_parsing=True)
            yield from _sections(child, context)


def main() -> int:
    """Write or check the page; return the exit code."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE.name} is out of date: run python scripts/cli_docs.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())
