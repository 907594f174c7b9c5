"""What a tool call costs over the same call written by hand with requests.

Run: python benchmarks/call.py
"""

from __future__ import annotations

import json
import multiprocessing
import socket
from typing import Any

import requests
from rounds import interleave, report

import sim_devin

KEY, ORG, ID = "cog_benchmark_key", "org-benchmark", "devin-4f1c9a7e2b6d4c0f9e8a1d3b5c7f2a90"
SESSION = {
    "session_id": "4f1c9a7e2b6d4c0f9e8a1d3b5c7f2a90",
    "url": "https://app.devin.ai/sessions/4f1c9a7e2b6d4c0f9e8a1d3b5c7f2a90",
    "status": "running",
    "status_detail": "working",
    "title": "Bump lodash in web/",
    "tags": ["svc:dep-bot", "run:0193f2"],
    "org_id": ORG,
    "created_at": 1795392000,
    "updated_at": 1795392840,
    "acus_consumed": 2.75,
    "pull_requests": [{"pr_url": "https://github.com/acme/web/pull/418", "pr_state": "open"}],
    "structured_output": {"outcome": "pr_opened"},
    "is_archived": False,
}
FIELDS = {
    "sessionId": "session_id",
    "url": "url",
    "status": "status",
    "statusDetail": "status_detail",
    "title": "title",
    "createdAt": "created_at",
    "updatedAt": "updated_at",
    "acusConsumed": "acus_consumed",
    "tags": "tags",
    "pullRequests": "pull_requests",
    "structuredOutput": "structured_output",
    "playbookId": "playbook_id",
    "isArchived": "is_archived",
}


def serve(listener: socket.socket) -> None:
    """Answer every request of every connection with the same session, as fast as possible."""
    import asyncio

    body = json.dumps(SESSION).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    answer = head.encode() + body

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.pending = b""

        def data_received(self, data: bytes) -> None:
            self.pending += data
            while b"\r\n\r\n" in self.pending:
                head, _, rest = self.pending.partition(b"\r\n\r\n")
                length = 0
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                if len(rest) < length:
                    return
                self.pending = rest[length:]
                self.transport.write(answer)

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Answering, sock=listener)
        await server.serve_forever()

    asyncio.run(run())


def main() -> None:
    """Measure GET and POST, and the pure parts of a call."""
    listener = socket.create_server(("127.0.0.1", 0))
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v3"
    process = multiprocessing.Process(target=serve, args=(listener,), daemon=True)
    process.start()
    listener.close()
    app = sim_devin.open_app(
        base_url=base_url, credentials={"apiKey": KEY, "orgId": ORG}, env={}, discover=False
    )
    session = requests.Session()
    headers = {"Authorization": f"Bearer {KEY}", "Accept": "application/json"}
    prompt = "Bump lodash to 4.17.21 in web/ and open a PR."

    def picked(response: requests.Response) -> dict[str, Any]:
        response.raise_for_status()
        data = response.json()
        return {name: data.get(wire) for name, wire in FIELDS.items()}

    def get_by_hand() -> object:
        url = f"{base_url}/organizations/{ORG}/sessions/{ID}"
        return picked(session.get(url, headers=headers, timeout=(5, 60)))

    def post_by_hand() -> object:
        url = f"{base_url}/organizations/{ORG}/sessions"
        body = {"prompt": prompt, "tags": ["a", "b"], "max_acu_limit": 8}
        return picked(session.post(url, json=body, headers=headers, timeout=(5, 60)))

    create = {"prompt": prompt, "tags": "a, b", "maxAcuLimit": 8}
    get = {
        "requests.Session.get by hand": get_by_hand,
        "app.call devin_get_session": lambda: app.call("devin_get_session", {"sessionId": ID}),
    }
    post = {
        "requests.Session.post by hand": post_by_hand,
        "app.call devin_create_session": lambda: app.call("devin_create_session", create),
    }
    report("GET over loopback", interleave(get), "requests.Session.get by hand", "<= 1.1 x")
    report("POST over loopback", interleave(post), "requests.Session.post by hand", "<= 1.1 x")

    body = json.dumps(SESSION).encode()
    pure = {
        "json.loads of the same answer": lambda: json.loads(body),
        "app.read_response": lambda: app.read_response("devin_get_session", 200, body=body),
        "app.build_request (get)": lambda: app.build_request(
            "devin_get_session", {"sessionId": ID}
        ),
        "app.build_request (create)": lambda: app.build_request("devin_create_session", create),
    }
    medians = interleave(pure, loops=500)
    report("Without the network", medians, "json.loads of the same answer")
    process.terminate()


if __name__ == "__main__":
    main()
