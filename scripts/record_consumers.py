"""Record anew what clients, libraries and providers make of the schemas of the MCP server.

Usage: python scripts/record_consumers.py [--node NODE]. Each consumer runs with its pinned
version against the server and a model on loopback, and what became of the schemas and of a call is
written to tests/consumers/recorded.json. Needs npm's packages (`make mcp` installs them) and pip.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
RECORDED = TESTS / "consumers" / "recorded.json"
PYTHON_PACKAGES = ("litellm==1.110.2", "openai-agents==0.24.0", "mcp==2.3.0")
PYTHON = ("openai-agents (Python)", "LiteLLM to Gemini")
JAVASCRIPT = (
    "MCP SDK (TypeScript)",
    "zod",
    "openai-agents (JavaScript)",
    "AI SDK to OpenAI",
    "AI SDK to Gemini",
)


def main() -> None:
    """Record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--node", default="node", help="Node's command")
    node = parser.parse_args().node
    sys.path.insert(0, str(TESTS))
    from consumers import harness  # type: ignore[import-not-found]

    recorded: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *PYTHON_PACKAGES], check=True)
        for consumer in PYTHON:
            command = [python, str(TESTS / "consumers" / "consumers.py")]
            recorded[consumer] = harness.record(command, consumer)
    for consumer in JAVASCRIPT:
        command = [node, str(TESTS / "mcp_suite" / "consumers.mjs")]
        recorded[consumer] = harness.record(command, consumer)
    tables = (_table("served", harness.served()), _table("consumers", recorded))
    RECORDED.write_text(f"{{{', '.join(tables)}}}\n", encoding="utf-8")


def _table(name: str, rows: dict[str, Any]) -> str:
    """Return a member of the document with one line for each row."""
    lines = (f"{json.dumps(key)}: {json.dumps(rows[key], sort_keys=True)}" for key in sorted(rows))
    return f"{json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n}"


if __name__ == "__main__":
    main()
