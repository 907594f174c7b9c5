#!/usr/bin/env bash
# openai-agents 0.24.0: with strict schemas an optional parameter of an MCP tool has to be filled in
#
# Guess: A parameter that the tool's inputSchema does not require can still be left out by the
# model when the SDK converts the schema to a strict one.
# Really: Every parameter becomes required with the type it had. A model can only make a value up
# (0, "", false, []), and the server cannot tell that from a filter that somebody wants. A parameter
# that may be null keeps that way out.
# So: Let optional parameters of MCP tools be null, and take null for absent.
# The output below the second EOF was seen with these versions; the script fails if it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'openai-agents==0.24.0' 'mcp==2.3.0'

cat >"$work/server.py" <<'EOF'
import anyio
import mcp_types as types
from mcp.server import Server
from mcp.server.stdio import stdio_server

properties = {
    "query": {"type": "string"},
    "created_before": {"type": "integer"},
    "is_archived": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
}
schema = {"type": "object", "properties": properties, "required": ["query"]}


async def list_tools(_context, _params):
    schemas = {**schema, "additionalProperties": False}
    return types.ListToolsResult(tools=[types.Tool(name="search", input_schema=schemas)])


async def main():
    server = Server("search", on_list_tools=list_tools)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


anyio.run(main)
EOF

"$work/venv/bin/python" - "$work/server.py" >"$work/seen" <<'EOF'
import asyncio
import json
import sys

from agents import Agent
from agents.mcp import MCPServerStdio
from agents.run_context import RunContextWrapper


async def main():
    command = {"command": sys.executable, "args": [sys.argv[1]]}
    async with MCPServerStdio(params=command, client_session_timeout_seconds=60) as server:
        agent = Agent("agent", mcp_servers=[server], mcp_config={"convert_schemas_to_strict": True})
        (tool,) = await agent.get_mcp_tools(RunContextWrapper(None))
    print("strict:", tool.strict_json_schema)
    print("required:", tool.params_json_schema["required"])
    for name in ("created_before", "is_archived"):
        print(name, json.dumps(tool.params_json_schema["properties"][name]))


asyncio.run(main())
EOF

diff - "$work/seen" <<'EOF'
strict: True
required: ['query', 'created_before', 'is_archived']
created_before {"type": "integer"}
is_archived {"anyOf": [{"type": "boolean"}, {"type": "null"}]}
EOF
cat "$work/seen"
