#!/usr/bin/env bash
# pydantic-ai 2.68.0: a free-form object in a tool's schema reaches OpenAI closed, so it can only be empty
#
# Guess: `{"type": "object"}` allows any properties, and stays so while strict mode is off.
# Really: The OpenAI profile adds `additionalProperties: false` and empty `properties` to each
# object that does not say otherwise, strict or not. Only an explicit `additionalProperties: true`
# survives.
# So: Spell `additionalProperties: true` out in the schema of every parameter that takes free-form
# data.
# The output below the second EOF was seen with these versions; the script fails if it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'pydantic-ai-slim[openai]==2.68.0'

"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import http.server
import json
import threading

received = []


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def log_message(self, *args):
        pass

    def do_POST(self):
        received.append(json.loads(self.body()))
        message = {"role": "assistant", "content": "done"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        self.answer(
            200,
            {
                "id": "1",
                "object": "chat.completion",
                "created": 1,
                "model": "m",
                "choices": [choice],
                "usage": usage,
            },
        )


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"

from pydantic_ai import Agent, Tool
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

properties = {
    "metadata": {"type": "object"},
    "labels": {"type": "object", "additionalProperties": True},
}
tool = Tool.from_schema(
    lambda **arguments: "ok",
    name="create_session",
    description="Create a session.",
    json_schema={"type": "object", "properties": properties},
)
model = OpenAIChatModel(
    "gpt-4o", provider=OpenAIProvider(base_url=f"{address}/v1", api_key="made-up")
)
Agent(model, tools=[tool]).run_sync("Create one.")
function = received[0]["tools"][0]["function"]
print("strict:", function.get("strict"))
for name, schema in function["parameters"]["properties"].items():
    print(name, json.dumps(properties[name]), "->", json.dumps(schema))
EOF

diff - "$work/seen" <<'EOF'
strict: None
metadata {"type": "object"} -> {"type": "object", "properties": {}, "additionalProperties": false}
labels {"type": "object", "additionalProperties": true} -> {"type": "object", "additionalProperties": true, "properties": {}}
EOF
cat "$work/seen"
