#!/usr/bin/env bash
# LiteLLM 1.110.2: on the way to Gemini `const` becomes an object and enums of numbers are dropped
#
# Guess: A tool's JSON Schema reaches the provider with the same meaning, or the call is refused.
# Really: `const: "bug"` arrives as a property of type object, an enum of integers loses its
# values, `oneOf` disappears, and an enum that allows null arrives as an object. No warning.
# So: Send Gemini single-value string enums instead of `const`, `anyOf` instead of `oneOf`, and
# check the arguments that come back.
# The output below the second EOF was seen with these versions; the script fails if it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'litellm==1.110.2'

"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import logging
import os

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
        part = {"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP"}
        usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        self.answer(200, {"candidates": [part], "usageMetadata": usage})


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
logging.disable(logging.CRITICAL)
import litellm

properties = {
    "kind": {"const": "bug"},
    "level": {"type": "integer", "enum": [1, 2, 3]},
    "target": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
    "state": {"enum": ["open", "closed", None]},
}
function = {
    "name": "file_issue",
    "description": "File an issue.",
    "parameters": {"type": "object", "properties": properties, "required": ["kind"]},
}
litellm.completion(
    model="gemini/gemini-2.5-flash",
    api_key="made-up",
    api_base=address,
    messages=[{"role": "user", "content": "File it."}],
    tools=[{"type": "function", "function": function}],
)
(declared,) = received[0]["tools"][0]["function_declarations"]
for name, schema in declared["parameters"]["properties"].items():
    print(name, json.dumps(properties[name]), "->", json.dumps(schema))
EOF

diff - "$work/seen" <<'EOF'
kind {"const": "bug"} -> {"type": "object"}
level {"type": "integer", "enum": [1, 2, 3]} -> {"type": "integer"}
target {"oneOf": [{"type": "string"}, {"type": "integer"}]} -> {}
state {"enum": ["open", "closed", null]} -> {"type": "object"}
EOF
cat "$work/seen"
