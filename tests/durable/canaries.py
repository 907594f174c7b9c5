"""Made-up secrets, a service that repeats them everywhere, and a scan for every spelling."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

from sim_devin.calls.response import Response

KEY = "cog_test_canary_1"
ODD = "ca\"na\nry\\ %41/é<&>' ü"
SHORT = 'ü"%\nq'
CANARIES = {
    "DEVIN_API_KEY": KEY,
    "MY_TOKEN": "canary-token-1f3a",
    "ODD_PASSWORD": ODD,
    "DB_PASSWORD": SHORT,
    "PIN_SECRET": "9021073155",
    "of the document": "cog_test_canary_2",
    "of the session": 'ses"sion-canary ß',
}
ENV = {name: value for name, value in CANARIES.items() if name.isupper()}
LONG = [value for value in ENV.values() if value != SHORT]
SAID = " | ".join(LONG)


def written(text):
    """Return a text as JSON, addresses and HTML spell it."""
    ways = (json.dumps(text), json.dumps(text, ensure_ascii=False), quote(text), html.escape(text))
    return " ".join(ways)


def data_of(values):
    """Return JSON data with values in every place of it."""
    said = " | ".join(values)
    return {
        "said": said,
        "written": [written(said), json.dumps({"deep": said}), int(CANARIES["PIN_SECRET"])],
        "password": SHORT,
        **{value: {"value": value} for value in values},
    }


DATA = data_of(LONG)


def spellings(value):
    """Yield the ways in which a secret can be written."""
    for text in (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        yield from (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    percent = quote(value, safe="")
    yield from (percent, percent.lower(), quote(value), quote_plus(value), quote(value, "!'()*"))
    yield from (html.escape(value), repr(value)[1:-1], repr([value])[2:-2])
    yield base64.b64encode(value.encode()).decode()


SPELLED = {text: name for name, value in CANARIES.items() for text in spellings(value)}


def found(text):
    """Return the names of the canaries that stand in a text or in bytes."""
    if isinstance(text, bytes):
        return sorted({name for spelled, name in SPELLED.items() if spelled.encode() in text})
    return sorted({name for spelled, name in SPELLED.items() if spelled in text})


def found_in(data):
    """Return the names of the canaries that stand in JSON data."""
    return found(json.dumps(data, ensure_ascii=False, default=str))


class Echo:
    """A transport that has the simulated service repeat every secret wherever it can."""

    def __init__(self, transport, *, structured=True, also=()):
        self.transport, self.simulator = transport, transport.simulator
        self.structured, self.values = structured, [*LONG, *also]
        self.said = " | ".join(self.values)
        self.answers = DATA  # of another service

    def send(self, request, *, timeout):
        if "echo.example" in request.url:
            return Response(
                200, {"content-type": "application/json"}, json.dumps(self.answers).encode()
            )
        answer = self.transport.send(request, timeout=timeout)
        try:
            body = json.loads(answer.body)
        except ValueError:
            return answer
        if answer.status >= 400:
            body = {"detail": self.said}
        self._repeat(body)
        return Response(answer.status, answer.headers, json.dumps(body).encode())

    def _repeat(self, body):
        if isinstance(body, list):
            for item in body:
                self._repeat(item)
        elif isinstance(body, dict):
            if "session_id" in body and "status" in body:
                body["title"] = self.said
                body["tags"] = [*body.get("tags", ()), LONG[0]]
                body["pull_requests"] = [{"pr_url": f"https://x.test/?q={quote(self.said)}"}]
                if self.structured:
                    body["structured_output"] = data_of(self.values)
            if "message" in body and body.get("source") == "devin":
                body["message"] = f"{self.said}\n{written(self.said)}"
            for name in ("items", "messages", "sessions"):
                self._repeat(body.get(name))


class Talking:
    """A model that repeats every secret, and calls a tool with them before."""

    def __init__(self):
        self.rounds = 0

    def complete(self, messages, *, model, tools, response_format):
        self.rounds += 1
        if self.rounds == 1 and tools:
            arguments = json.dumps({"prompt": f"[scenario: finish] {SAID}"})
            return {
                "toolCalls": [{"id": "1", "name": "devin_create_session", "arguments": arguments}]
            }
        return {"content": f"{SAID} {written(SAID)}"}
