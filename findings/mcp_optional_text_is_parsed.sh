#!/usr/bin/env bash
# mcp 2.3.0: an optional text argument is parsed as JSON first, a required one is not
#
# Guess: a tool's parameter `title: str | None = None` takes every text that `title: str` takes.
# Really: before validation the server parses the text of any parameter whose type is not plain
# `str`. The text "null" becomes None, and a text that is a JSON object or list is refused with
# "Input should be a valid string", although it is one and fits the published inputSchema.
# So: A tool that takes code, a prompt or JSON in an optional text parameter fails for some texts.
# Annotating it `str` with a default of "" avoids that.
# The output below the second EOF was seen with these versions; the script fails if it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'mcp==2.3.0'

"$work/venv/bin/python" - >"$work/seen" 2>/dev/null <<'EOF'
import asyncio

from mcp import Client
from mcp.server import MCPServer

server = MCPServer("tools")


@server.tool()
def required(title: str) -> str:
    return repr(title)


@server.tool()
def optional(title: str | None = None) -> str:
    return repr(title)


async def main():
    async with Client(server) as client:
        for title in ("Fix the build", "null", '{"fix": "build"}'):
            for tool in ("required", "optional"):
                result = await client.call_tool(tool, {"title": title})
                text = "refused" if result.is_error else result.content[0].text
                print(f"{tool} {title}: {text}")


asyncio.run(main())
EOF

diff - "$work/seen" <<'EOF'
required Fix the build: 'Fix the build'
optional Fix the build: 'Fix the build'
required null: 'null'
optional null: None
required {"fix": "build"}: '{"fix": "build"}'
optional {"fix": "build"}: refused
EOF
cat "$work/seen"
