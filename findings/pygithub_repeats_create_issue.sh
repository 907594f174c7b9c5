#!/usr/bin/env bash
# PyGithub 2.10.0: create_issue is sent again after a 502, so one call can open two issues
#
# Guess: A client retries reads; a POST that creates something is sent once unless one asks for
# more.
# Really: The default `retry` of `Github()` counts POST among the methods that may be repeated on
# any 5xx. A gateway that answers 502 after the issue was stored leaves two of them, and the call
# returns the second as if nothing had happened.
# So: Pass `retry=None` to `Github()` wherever a create must not happen twice.
# The output below the second EOF was seen with these versions; the script fails if it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'PyGithub==2.10.0'

"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import logging

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

    def do_GET(self):
        self.answer(200, {"id": 1, "name": "web", "url": f"{address}/repos/acme/web"})

    def do_POST(self):
        received.append(self.body())
        self.answer(502 if len(received) == 1 else 201, {"number": len(received)})


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"

from github import Auth, Github

logging.disable(logging.CRITICAL)
github = Github(
    auth=Auth.Token("made-up"),
    base_url=address,
    seconds_between_requests=0,
    seconds_between_writes=0,
)
issue = github.get_repo("acme/web").create_issue("The build fails")
print("returned: issue", issue.number)
print("POSTs that the service took:", len(received))
EOF

diff - "$work/seen" <<'EOF'
returned: issue 2
POSTs that the service took: 2
EOF
cat "$work/seen"
