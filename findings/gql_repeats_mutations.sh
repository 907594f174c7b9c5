#!/usr/bin/env bash
# gql 4.4.0: with `retries`, a mutation is sent again after a 429
#
# Guess: `retries` repeats queries; a GraphQL mutation changes something and is left alone.
# Really: The requests transport retries by HTTP status and allows every method, and all of
# GraphQL is POST. A mutation that is answered 429 is sent again, whatever the service did with
# the first.
# So: Leave `retries` at 0 for a client that sends mutations, and decide on a repeat where it is
# known what was sent.
# The output below the second EOF was seen with these versions; the script fails if it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'gql[requests]==4.4.0'

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
        received.append(json.loads(self.body())["query"])
        self.answer(429 if len(received) == 1 else 200, {"data": {"issueCreate": {"success": True}}})


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"

from gql import Client, gql
from gql.transport.requests import RequestsHTTPTransport

transport = RequestsHTTPTransport(address, retries=3, retry_backoff_factor=0)
client = Client(transport=transport)
print(client.execute(gql('mutation { issueCreate(title: "The build fails") { success } }')))
print("mutations that the service took:", len(received))
EOF

diff - "$work/seen" <<'EOF'
{'issueCreate': {'success': True}}
mutations that the service took: 2
EOF
cat "$work/seen"
