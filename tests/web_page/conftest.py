"""The canvas in a real browser: Debian's Chromium, driven by Playwright.

Skipped where the browser, Playwright or the built page is missing; with
SIM_DEVIN_REQUIRE_BROWSER=1, as in CI, that is a failure.
"""

import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from page_flows import stand_still

from sim_devin.listener import listen
from sim_devin.simulator import SimClock, Simulator
from sim_devin.testing import offline_app

ROOT = Path(__file__).parents[2]
SPEED = 300.0  # simulated seconds in a real one
TOKEN = "a-token-for-tests"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FLAGS = [
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def _lacking(reason):
    if os.environ.get("SIM_DEVIN_REQUIRE_BROWSER") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser():
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        _lacking("no chromium is installed: apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright

        from sim_devin.web.page import is_built
    except ImportError as error:
        _lacking(f"{error.name} is not installed")
    if not is_built():
        _lacking("the page is not built: make canvas")
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield opened
        opened.close()


@pytest.fixture
def axe():
    """The text of axe-core, which finds what is not accessible."""
    script = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        _lacking("axe-core is not installed: make canvas")
    return script.read_text()


@pytest.fixture
def violations(axe):
    """Return a function that tells what axe finds on a page."""

    def violations(page):
        # Settled first: colours that fade in have another contrast half way.
        page.wait_for_timeout(150)
        page.evaluate(axe)
        found = page.evaluate("tags => axe.run({runOnly: tags})", TAGS)
        return [(v["id"], v["nodes"][0]["html"][:200]) for v in found["violations"]]

    return violations


@pytest.fixture
def expect(browser):
    from playwright.sync_api import expect

    return expect


class Site:
    """A served canvas: its address, its folder, and what is behind it."""

    def __init__(self, folder, secrets, app, *, port=0, token=TOKEN):
        import uvicorn

        from sim_devin.web.api import Api, ApiContext, application
        from sim_devin.web.documents import Folder
        from sim_devin.web.secret_store import SecretStore
        from sim_devin.web.server import hosts

        self.folder, self.app, self.token = folder, app, token
        self.api = Api(
            app, Folder(folder), SecretStore(secrets), ApiContext(True, SPEED, ROOT / "examples")
        )
        listener = listen("127.0.0.1", port)
        self.port = listener.getsockname()[1]
        guarded = application(self.api, token=token, hosts=hosts(self.port))
        self._server = uvicorn.Server(
            uvicorn.Config(guarded, log_level="error", timeout_graceful_shutdown=1, ws="none")
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/#token={self.token}"

    def put(self, name, document):
        (self.folder / f"{name}.json").write_text(json.dumps(document, indent=2))

    def document(self, name):
        return json.loads((self.folder / f"{name}.json").read_text())["state"]

    def close(self):
        self._server.should_exit = True
        self._thread.join(10)


@pytest.fixture
def plugins():
    """What the app of the site has besides the built-in blocks: a test module may bring some."""
    return ()


@pytest.fixture
def policy():
    """What the runs of the site may do without a person: a test module may say less."""
    return


@pytest.fixture
def site(tmp_path, plugins, policy):
    folder = tmp_path / "flows"
    folder.mkdir()
    simulator = Simulator(clock=SimClock(speed=SPEED), seed=0)
    with offline_app(plugins=plugins, simulator=simulator, policy=policy) as app:
        served = Site(folder, tmp_path / "private" / "secrets.json", app)
        served.simulator = simulator
        yield served
        served.close()


@pytest.fixture
def open_page(browser, site):
    """Open the canvas in a context of its own; the test fails on anything the console says."""
    said, contexts = [], []

    def open_page(**options):
        options.setdefault("viewport", {"width": 1400, "height": 900})
        context = browser.new_context(**options)
        context.set_default_timeout(8000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: m.type in ("error", "warning") and said.append(m.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(site.url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    # The browser reports answers such as 412 as errors of its own; the page shows those itself.
    assert [text for text in said if not text.startswith("Failed to load resource")] == []


@pytest.fixture
def page(open_page):
    return open_page()


@pytest.fixture
def new_workflow(page):
    """Make an empty workflow on the page and return the page."""

    def new_workflow(name="Flow"):
        page.get_by_label("New workflow").fill(name)
        page.get_by_role("button", name="Create", exact=True).click()
        stand_still(page)
        return page

    return new_workflow
