"""What our MCP server costs over a bare one on the same SDK, both over HTTP on loopback.

The bare server is the SDK's own with as many tools, each a function that answers with a
constant. Ours reads the arguments, checks them, obeys a policy, makes the call through a
transport that answers with the same constant, reads the answer and checks it.

Run: python benchmarks/mcp_calls.py
"""

from __future__ import annotations

import json
import multiprocessing
import socket
from contextlib import AsyncExitStack
from typing import Any

import anyio.from_thread
import uvicorn
from mcp import Client
from mcp.server import MCPServer
from rounds import interleave, report

import sim_devin
from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.listener import listen
from sim_devin.mcp import http as mcp_http
from sim_devin.mcp import server as mcp_server
from sim_devin.policy.rules import Policy

ID = "devin-4f1c9a7e2b6d4c0f9e8a1d3b5c7f2a90"
WIRE = {
    "session_id": ID,
    "url": f"https://app.devin.ai/sessions/{ID}",
    "status": "running",
    "status_detail": "working",
    "title": "Bump lodash in web/",
    "tags": ["svc:dep-bot"],
    "created_at": 1795392000,
    "updated_at": 1795392840,
    "acus_consumed": 2.75,
    "pull_requests": [{"pr_url": "https://github.com/acme/web/pull/418", "pr_state": "open"}],
    "structured_output": {"outcome": "pr_opened"},
    "is_archived": False,
}


class Constant:
    """A transport that answers at once."""

    body = json.dumps(WIRE).encode()

    def send(self, _request: Request, *, timeout: float) -> Response:  # noqa: ARG002
        """Return the same answer to everything."""
        return Response(200, {"content-type": "application/json"}, self.body)


def open_app() -> sim_devin.App:
    """Return the app both servers take their tools from."""
    return sim_devin.open_app(
        transport=Constant(),
        env={},
        discover=False,
        credentials={"apiKey": "cog_benchmark_key", "orgId": "org-benchmark"},
    )


def serve_ours(listener: socket.socket) -> None:
    """Serve every tool of the registry."""
    server = mcp_server.build(open_app(), policy=Policy(acu_per_call=10))
    config = uvicorn.Config(mcp_http.http_app(server, token=None), log_level="error", ws="none")
    uvicorn.Server(config).run(sockets=[listener])


def serve_bare(listener: socket.socket) -> None:
    """Serve as many functions, each with one parameter and a constant answer."""
    server = MCPServer("bare", log_level="ERROR")
    app = open_app()
    answer = app.read_response("devin_get_session", 200, payload=WIRE)

    def tool(sessionId: str) -> dict[str, Any]:  # noqa: ARG001
        return answer

    for spec in app.registry.tools.values():
        server.add_tool(tool, name=spec.id, title=spec.title, description=spec.description)
    config = uvicorn.Config(server.streamable_http_app(), log_level="error", ws="none")
    uvicorn.Server(config).run(sockets=[listener])


def main() -> None:
    """Measure tools/list and a call in both eras of the protocol."""
    processes, urls = [], {}
    context = multiprocessing.get_context("fork")
    for name, target in (("bare", serve_bare), ("ours", serve_ours)):
        listener = listen("127.0.0.1", 0)
        urls[name] = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        process = context.Process(target=target, args=(listener,), daemon=True)
        process.start()
        processes.append(process)
        listener.close()
    try:
        for era in ("legacy", "auto"):
            measure(era, urls)
    finally:
        for process in processes:
            process.terminate()


def measure(era: str, urls: dict[str, str]) -> None:
    """Print the ratios of one era."""
    with anyio.from_thread.start_blocking_portal() as portal:
        stack = AsyncExitStack()
        clients: dict[str, Client] = {}

        async def connect() -> None:
            for name, url in urls.items():
                clients[name] = await stack.enter_async_context(Client(url, mode=era))
                await clients[name].list_tools()

        async def call(client: Client) -> None:
            result = await client.call_tool("devin_get_session", {"sessionId": ID})
            assert not result.is_error, result.content

        async def run() -> None:
            # One task enters and leaves the clients, as their task groups want it.
            async with stack:
                await connect()
                await anyio.to_thread.run_sync(rounds)

        def rounds() -> None:
            sizes = {
                name: len(portal.call(client.session.list_tools).model_dump_json())
                for name, client in clients.items()
            }
            print(f"\nera {era}: tools/list is {sizes['ours'] / sizes['bare']:.1f} x as long")
            lists = {
                f"{name} server": (lambda c=client: portal.call(c.session.list_tools))
                for name, client in clients.items()
            }
            calls = {
                f"{name} server": (lambda c=client: portal.call(call, c))
                for name, client in clients.items()
            }
            report(f"tools/list, {era}", interleave(lists, rounds=9, loops=10), "bare server")
            report(f"a call, {era}", interleave(calls, rounds=9, loops=10), "bare server")

        portal.call(run)


if __name__ == "__main__":
    main()
