"""Write what is derived from the specs and their models.

python scripts/generate.py            write tool_specs/*.schema.json and docs/tools.md
python scripts/generate.py --check    exit with 1 if one of them is not up to date
"""

from __future__ import annotations

import sys
from pathlib import Path

import spec_schemas
import tool_docs

ROOT = Path(__file__).parent.parent


def main(arguments: list[str]) -> int:
    """Write the files, or compare them; return the exit code."""
    files = {**spec_schemas.schemas(), tool_docs.PAGE: tool_docs.page()}
    stale = [
        path
        for path, content in files.items()
        if not path.exists() or path.read_text(encoding="utf-8") != content
    ]
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not up to date: run scripts/generate.py")
        return 1 if stale else 0
    for path in stale:
        path.write_text(files[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
