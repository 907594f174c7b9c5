import json

import pytest

from sim_devin.simulator import SimClock, Simulator, Switches

START = 1_800_000_000.0
ORG = "org-test"
KEY = "cog_test_key_000000"


class Client:
    """Calls `Simulator.handle` the way a client would, without any network."""

    def __init__(self, simulator, key=KEY, org=ORG):
        self.simulator = simulator
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.base = f"{simulator.prefix}/organizations/{org}"

    def call(self, method, path, *, query=(), body=None, headers=None, data=None):
        pairs = [
            (name, str(each))
            for name, value in (query.items() if isinstance(query, dict) else query)
            for each in (value if isinstance(value, list) else [value])
        ]
        sent = {**self.headers, **({} if body is None else {"Content-Type": "application/json"})}
        content = data if data is not None else b"" if body is None else json.dumps(body).encode()
        where = path if path.startswith(self.simulator.prefix) else self.base + path
        return self.simulator.handle(method, where, pairs, {**sent, **(headers or {})}, content)

    def ok(self, method, path, **options):
        answer = self.call(method, path, **options)
        assert answer.status == 200, answer.body
        return answer.json()

    def create(self, prompt="Fix the login", **fields):
        return self.ok("POST", "/sessions", body={"prompt": prompt, **fields})["session_id"]

    def get(self, session_id):
        return self.ok("GET", f"/sessions/{session_id}")

    def state(self, session_id):
        session = self.get(session_id)
        return session["status"], session["status_detail"]

    def list(self, **query):
        return self.ok("GET", "/sessions", query=query)

    def ids(self, **query):
        return [item["session_id"] for item in self.list(**query)["items"]]

    def say(self, session_id, message="Go on", **fields):
        body = {"message": message, **fields}
        return self.call("POST", f"/sessions/{session_id}/messages", body=body)

    def messages(self, session_id, **query):
        return self.ok("GET", f"/sessions/{session_id}/messages", query=query)

    def texts(self, session_id):
        return [(item["source"], item["message"]) for item in self.messages(session_id)["items"]]


@pytest.fixture
def clock():
    return SimClock(START, speed=0)


@pytest.fixture
def make(clock):
    """Make a client of a fresh simulator; keywords that are switches become switches."""
    names = {name for name, *_ in Switches.describe()}

    def make(key=KEY, org=ORG, **options):
        switches = {name: options.pop(name) for name in list(options) if name in names}
        simulator = Simulator(clock=clock, switches=Switches(**switches), seed=1, **options)
        return Client(simulator, key, org)

    return make


@pytest.fixture
def client(make):
    return make()


@pytest.fixture
def simulator(client):
    return client.simulator
