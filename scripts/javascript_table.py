"""Run the expressions of tests/golden/javascript.json here, and write where we differ from V8.

python scripts/javascript_table.py            write the table in docs/javascript.md
python scripts/javascript_table.py --check    exit with 1 if it is not up to date

What V8 gives is recorded by ``node scripts/record_javascript.mjs``.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from sim_devin.code import javascript

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden" / "javascript.json"
PAGE = ROOT / "docs" / "javascript.md"
START, END = "<!-- differences -->\n", "<!-- /differences -->\n"
_LONGEST = 90


def differences(recorded: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Return the cases in which we give something else than V8, each with what we give."""
    found = []
    for case in recorded["cases"]:
        body = recorded["probe"].replace("EXPRESSION", case["code"])
        try:
            gives = javascript.run(body, {}).value
        except javascript.JavaScriptError as error:
            gives = error.message
        if gives != case["gives"]:
            found.append((case, gives))
    return found


def table(recorded: dict[str, Any]) -> str:
    """Return the part of the page that is derived."""
    found = differences(recorded)
    groups = Counter(case["group"] for case in recorded["cases"])
    differing = Counter(case["group"] for case, _ in found)
    count = len(recorded["cases"])
    lines = [
        f"Of {count} expressions, recorded with Node {recorded['node']} (V8 {recorded['v8']}, ICU "
        f"{recorded['icu']}), {count - len(found)} give the same here.",
        "",
        "| expressions of | the same |",
        "| --- | --- |",
        *(f"| {name} | {total - differing[name]} of {total} |" for name, total in groups.items()),
        "",
        "| expression | V8 | here |",
        "| --- | --- | --- |",
        *(f"| {_cell(c['code'])} | {_cell(c['gives'])} | {_cell(ours)} |" for c, ours in found),
    ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    text = text.removeprefix("(() => { ").removesuffix(" })()")
    short = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    shown = short.replace("|", "\\|").replace("\n", " ")
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`"


def page(written: str) -> str:
    """Return the page with its derived part written anew."""
    before, _, rest = written.partition(START)
    _, _, after = rest.partition(END)
    recorded = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return f"{before}{START}\n{table(recorded)}\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Write the table, or compare it; return the exit code."""
    written = PAGE.read_text(encoding="utf-8")
    fresh = page(written)
    if fresh == written:
        return 0
    if arguments == ["--check"]:
        print(f"{PAGE.relative_to(ROOT)} is not up to date: run scripts/javascript_table.py")
        return 1
    PAGE.write_text(fresh, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
