"""Take the pictures of the canvas, in both themes, from the real page over the simulator.

Needs the built page (make canvas), Playwright and a Chromium. Writes docs/pictures/*.png;
with ``--all FOLDER`` also every other state, to be looked at.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

import uvicorn
from playwright.sync_api import Page, sync_playwright

from sim_devin.listener import listen
from sim_devin.simulator import SimClock, Simulator
from sim_devin.testing import offline_app
from sim_devin.web.api import Api, ApiContext, application
from sim_devin.web.documents import Folder
from sim_devin.web.secret_store import SecretStore
from sim_devin.web.server import hosts

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
SPEED = 60.0
SIZE = {"width": 1360, "height": 820}


def main() -> None:
    """Serve a canvas, walk through a run and take a picture at each stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER")
    everything: Path | None = parser.parse_args().all
    PICTURES.mkdir(exist_ok=True)
    simulator = Simulator(clock=SimClock(speed=SPEED), seed=0)
    with tempfile.TemporaryDirectory() as folder, offline_app(simulator=simulator) as app:
        nested = ROOT / "tests" / "web_page" / "nested.json"
        (Path(folder) / "Nested.json").write_bytes(nested.read_bytes())
        api = Api(
            app, Folder(Path(folder)), SecretStore(), ApiContext(True, SPEED, ROOT / "examples")
        )
        listener = listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        guarded = application(api, token="pictures", hosts=hosts(port))
        server = uvicorn.Server(uvicorn.Config(guarded, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        with sync_playwright() as playwright:
            flags = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=flags
            )
            for theme in ("light", "dark"):
                page = browser.new_page(viewport=SIZE, color_scheme=theme)
                page.goto(f"http://127.0.0.1:{port}/#token=pictures")
                _walk(page, theme, everything)
            browser.close()
        server.should_exit = True
        thread.join()


def _walk(page: Page, theme: str, everything: Path | None) -> None:
    def take(name: str, *, shown: bool = False) -> None:
        page.wait_for_timeout(250)
        folder = PICTURES if shown else everything
        if folder is not None:
            folder.mkdir(exist_ok=True)
            page.screenshot(path=folder / f"{name}-{theme}.png")

    page.get_by_role("dialog").wait_for()
    take("open")
    page.get_by_role("button", name="Nested", exact=True).click()
    page.locator(".react-flow__node").first.wait_for()
    page.locator(".react-flow__node-container .card-head").first.click()
    take("nested")
    page.get_by_role("button", name="Workflows").click()
    page.get_by_role("dialog").get_by_role("button").filter(has_text="Hand a task").click()
    page.locator(".card-name", has_text="Create Session").wait_for()
    page.wait_for_timeout(300)
    page.locator(".card-name", has_text="Create Session").click()
    take("canvas", shown=True)
    page.keyboard.press("Control+k")
    page.keyboard.type("session")
    take("add")
    page.keyboard.press("Escape")
    page.locator(".toolbar").get_by_role("button", name="Run").click()
    take("inputs")
    page.get_by_role("button", name="Start the run").click()
    page.get_by_text("Waiting: running").first.wait_for()
    page.locator(".card-name", has_text="Wait for Devin").click()
    take("waiting", shown=True)
    page.get_by_test_id("run-status").get_by_text("Finished").wait_for()
    page.locator(".card-name", has_text="Get Session").click()
    take("result", shown=True)
    for tab in ("Log", "Timeline", "History"):
        page.get_by_role("tab", name=tab).click()
        take(tab.lower())
    page.locator("[data-field=sessionId] input").fill("<sta")
    take("offers")
    page.set_viewport_size({"width": 860, "height": 700})
    take("narrow")


if __name__ == "__main__":
    main()
