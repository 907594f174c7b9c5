#!/usr/bin/env bash
# pydantic-ai 2.68.0: a response format with a choice or a reference at its root reaches OpenAI as one that nothing fits
#
# Guess: A schema with `anyOf` or `$ref` at the root is sent as it is, or refused.
# Really: The root gets empty `properties` and `additionalProperties: false` beside the `anyOf`, so
# that no object of either branch fits it; a reference at the root becomes a reference to the root
# itself. No warning, strict or not.
# So: Write the properties of a response format into its root.
# The output below the second EOF was seen with these versions; the script fails if it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'pydantic-ai-slim[openai]==2.68.0' 'jsonschema==4.26.0'

"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import asyncio
import http.server
import json
import threading

received = []


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        received.append(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0)))))
        message = {"role": "assistant", "content": "{}"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        about = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
        data = json.dumps({**about, "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()

from jsonschema import Draft202012Validator
from pydantic_ai.direct import model_request
from pydantic_ai.messages import ModelRequest
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.providers.openai import OpenAIProvider

address = f"http://127.0.0.1:{server.server_port}/v1"
model = OpenAIChatModel("gpt-4o", provider=OpenAIProvider(base_url=address, api_key="made-up"))
done = {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}
failed = {"type": "object", "properties": {"why": {"type": "string"}}, "required": ["why"]}
formats = {
    "choice": {"type": "object", "anyOf": [done, failed]},
    "reference": {"type": "object", "$ref": "#/$defs/done", "$defs": {"done": done}},
}
for name, schema in formats.items():
    wanted = OutputObjectDefinition(json_schema=schema, name="answer")
    parameters = ModelRequestParameters(output_mode="native", output_object=wanted)
    message = ModelRequest.user_text_prompt("Go.")
    asyncio.run(model_request(model, [message], model_request_parameters=parameters))
    sent = received[-1]["response_format"]["json_schema"]["schema"]
    root = {key: value for key, value in sent.items() if key not in ("$defs", "required")}
    print(name, json.dumps(root))
    if name == "choice":
        value = {"url": "https://example.com"}
        before, after = (Draft202012Validator(item).is_valid(value) for item in (schema, sent))
        print("an answer fits before:", before, "and on the wire:", after)
EOF

diff - "$work/seen" <<'EOF'
choice {"type": "object", "anyOf": [{"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"], "additionalProperties": false}, {"type": "object", "properties": {"why": {"type": "string"}}, "required": ["why"], "additionalProperties": false}], "properties": {}, "additionalProperties": false}
an answer fits before: True and on the wire: False
reference {"type": "object", "anyOf": [{"$ref": "#"}], "properties": {"url": {"type": "string"}}, "additionalProperties": false}
EOF
cat "$work/seen"
