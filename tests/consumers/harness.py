"""What a client of the MCP server, and the provider behind it, make of our schemas.

A model on loopback plays the provider: it keeps the schemas that reach it and calls the tool that
the conversation names, with every parameter that it is forced to send and with nothing else. The
MCP server beside it keeps the calls that arrive.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import uvicorn
from third_party import Plugin

import sim_devin
from sim_devin.listener import listen
from sim_devin.mcp import http as mcp_http
from sim_devin.mcp import server as mcp_server

TOOLS = ("devin_create_session", "devin_list_sessions", "acme_report")
# What the model wants to say; everything else it only sends where it has to.
WANTED = {"prompt": "Fix the login", "kind": "report", "who": {"name": "Ada"}}
WORDS = frozenset({"description", "title", "examples", "$schema"})
EMPTY = {"array": [], "object": {}, "string": "", "boolean": False}


def open_app():
    return sim_devin.open_app(simulate=True, env={}, discover=False, plugins=[Plugin()])


def served():
    """Return the schemas of the tools as the MCP server has them, without words for people."""
    with open_app() as app:
        exported = app.function_schemas("mcp", tools=TOOLS)
    return {
        item["name"]: {key: wordless(item[key]) for key in ("inputSchema", "outputSchema")}
        for item in exported
    }


def wordless(schema):
    """Return a schema without descriptions, which change without changing what it means."""
    if isinstance(schema, list):
        return [wordless(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for key, value in schema.items():
        if key == "properties":
            kept[key] = {name: wordless(item) for name, item in value.items()}
        elif key not in WORDS:
            kept[key] = wordless(value)
    return kept


def forced(schema):
    """Return the arguments of a model that sends what it wants to and what it has to."""
    said = {}
    for name, item in schema.get("properties", {}).items():
        if name in WANTED:
            said[name] = WANTED[name]
        elif name in schema.get("required", ()):
            said[name] = _least(item)
    return said


def _least(schema):
    branches = schema.get("anyOf", [schema])
    kinds = [kind for branch in branches for kind in _kinds(branch)]
    if "null" in kinds or any(branch.get("nullable") for branch in branches):
        return None
    return EMPTY.get(kinds[0] if kinds else "", 0)


def _kinds(schema):
    declared = schema.get("type", [])
    return [declared.lower()] if isinstance(declared, str) else declared


def record(command, consumer):
    """Run `command CONSUMER MCP-ADDRESS MODEL-ADDRESS TOOL…` and return what became of the tools.

    The last line that it prints is JSON: what the consumer itself can tell of each tool.
    """
    with _model() as (model_url, seen), _server() as (mcp_url, calls):
        arguments = [*command, consumer, mcp_url, model_url, *TOOLS]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=240)
        if done.returncode:
            raise RuntimeError(f"{arguments} failed:\n{done.stdout}{done.stderr}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    tools = {}
    for name in TOOLS:
        (sent,) = [arguments for called, arguments in calls if called == name]
        becomes = seen.get(name) or told["tools"][name]["becomes"]
        answer = told["tools"][name]["answer"]
        tools[name] = {
            "becomes": wordless(becomes),
            "sent": sent,
            "error": told["tools"][name]["error"],
            "answered": sorted(answer),
            "sessions": len(answer["sessions"]) if "sessions" in answer else None,
        }
    return {"versions": told["versions"], "tools": tools}


# -- the MCP server --------------------------------------------------------------------------


@contextmanager
def _server():
    """Serve MCP over HTTP; yield the address and the list of the calls that arrive."""
    calls = []
    with open_app() as app:
        server = mcp_server.build(app)
        listener = listen("127.0.0.1", 0)
        config = uvicorn.Config(
            _kept(mcp_http.http_app(server, token=None), calls),
            log_level="error",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        http = uvicorn.Server(config)
        thread = threading.Thread(target=http.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not http.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", calls
        finally:
            http.should_exit = True
            thread.join(timeout=10)
            listener.close()


def _kept(app, calls):
    """Return an ASGI app that keeps the tool calls among the requests of another."""

    async def keeping(scope, receive, send):
        body = b""

        async def received():
            nonlocal body
            message = await receive()
            body += message.get("body", b"")
            if message["type"] == "http.request" and not message.get("more_body"):
                _keep(body, calls)
            return message

        await app(scope, received if scope["type"] == "http" else receive, send)

    return keeping


def _keep(body, calls):
    message = json.loads(body) if body else {}
    if isinstance(message, dict) and message.get("method") == "tools/call":
        params = message["params"]
        calls.append((params["name"], params.get("arguments") or {}))


# -- the model -------------------------------------------------------------------------------


@contextmanager
def _model():
    """Serve a provider; yield the address and tool -> the schema that reached it."""
    seen = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = _gemini(body, seen) if "contents" in body else _openai(body, seen)
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


def _choose(text, tools, seen):
    """Return the tool that the conversation names and the model's arguments for it."""
    name = next(name for name in TOOLS if name in text)
    schema = tools[name]
    seen[name] = schema
    return name, forced(schema)


def _openai(body, seen):
    messages = body["messages"]
    tools = {item["function"]["name"]: item["function"]["parameters"] for item in body["tools"]}
    message = {"role": "assistant", "content": "done"}
    if messages[-1]["role"] != "tool":
        name, arguments = _choose(json.dumps(messages[-1]), tools, seen)
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"id": f"call-{name}", "type": "function", "function": function}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    about = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return {**about, "choices": [choice], "usage": usage}


def _gemini(body, seen):
    declared = body["tools"][0]
    declared = declared.get("functionDeclarations") or declared["function_declarations"]
    keys = ("parameters", "parametersJsonSchema")
    tools = {
        item["name"]: next((item[key] for key in keys if key in item), {}) for item in declared
    }
    last = body["contents"][-1]
    part = {"text": "done"}
    if not any("functionResponse" in item or "function_response" in item for item in last["parts"]):
        name, arguments = _choose(json.dumps(last), tools, seen)
        part = {"functionCall": {"name": name, "args": arguments}}
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
    content = {"role": "model", "parts": [part]}
    return {
        "candidates": [{"content": content, "finishReason": "STOP"}],
        "usageMetadata": usage,
    }
