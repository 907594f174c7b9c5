"""A canvas over the simulator, asked without a network."""

import json
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the canvas needs the extra [canvas]")

from starlette.testclient import TestClient

from sim_devin.app import App
from sim_devin.store.sql_store import open_store
from sim_devin.testing import offline_app
from sim_devin.web.api import Api, ApiContext, application
from sim_devin.web.documents import Folder
from sim_devin.web.secret_store import SecretStore

TOKEN = "a-token-for-tests"
HOST = "127.0.0.1:8765"
EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass
class Canvas:
    """A client of the canvas with the right headers, and what is behind it."""

    client: TestClient
    api: Api
    folder: Path
    app: App

    def get(self, path, **options):
        return self.client.get(f"/api/{path}", **options)

    def send(self, method, path, body=None, *, key="", **headers):
        """Send a request with an idempotency key: a new one unless given, none if it is None."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            names["idempotency-key"] = key or str(uuid.uuid4())
        content = json.dumps({} if body is None else body)
        return self.client.request(
            method,
            f"/api/{path}",
            content=content,
            headers={"content-type": "application/json", **names},
        )

    def load(self, name):
        return json.loads((EXAMPLES / f"{name}.json").read_text())

    def events(self, run_id, after=0):
        """Return the events of a run up to its end or pause."""
        answer = self.get(f"runs/{run_id}/events", params={"after": after})
        lines = answer.text.splitlines()
        return [json.loads(line.removeprefix("data: ")) for line in lines if line[:5] == "data:"]

    def until(self, run_id, state):
        """Return a run of the store once it is in a state."""
        deadline = time.monotonic() + 10
        while (run := self.app.runs.show(run_id))["state"] != state:
            assert time.monotonic() < deadline, run
            time.sleep(0.005)  # the server's own thread gets there
        return run


@pytest.fixture
def serve(tmp_path):
    """Return a function that serves a canvas over an app, as a new server would."""
    folder = tmp_path / "flows"
    folder.mkdir()

    @contextmanager
    def serve(app):
        secrets = SecretStore(tmp_path / "private" / "secrets.json")
        api = Api(app, Folder(folder), secrets, ApiContext(True, 0, EXAMPLES))
        guarded = application(api, token=TOKEN, hosts=[HOST])
        headers = {"authorization": f"Bearer {TOKEN}"}
        with TestClient(guarded, base_url=f"http://{HOST}", headers=headers) as client:
            yield Canvas(client, api, folder, app)

    return serve


@pytest.fixture
def store(tmp_path):
    made = open_store(tmp_path / "runs.sqlite")
    yield made
    made.close()


@pytest.fixture
def open_app(store, simulator):
    """Return a function that opens an app over the store, as a new process would."""
    return lambda **options: offline_app(simulator=simulator, store=store, **options)


@pytest.fixture
def canvas(serve):
    with offline_app() as app, serve(app) as served:
        yield served
