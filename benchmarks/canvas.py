"""What 500 blocks cost on the canvas, against an empty one, in one browser in one run.

Drives the built page (make canvas) in Chromium: loading the page and a workflow, then panning the
canvas and dragging a block by hand while the page counts its frames. Prints, for each, ratios of
the median and of the 95th percentile to the canvas with a start block alone.

Run: python benchmarks/canvas.py [--blocks 500] [--rounds 5]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Page, sync_playwright

from sim_devin.listener import listen
from sim_devin.testing import offline_app
from sim_devin.web.api import Api, ApiContext, application
from sim_devin.web.documents import Folder
from sim_devin.web.secret_store import SecretStore
from sim_devin.web.server import hosts

ROOT = Path(__file__).parents[1]
COLUMNS = 25
COUNT_FRAMES = """() => {
  window.frames_ = []; let last = performance.now(); window.counting = true;
  const tick = now => { window.frames_.push(now - last); last = now;
                        if (window.counting) requestAnimationFrame(tick); };
  requestAnimationFrame(tick);
}"""
# What the prototype this page was made from came to, in the same ratios: it loaded in at most
# 3.6 times what an empty page took, and its frames took at most so many times 1/60 s.
GOALS = {"loading": (3.6, None), "panning": (2.0, 7.0), "dragging a block": (1.0, 4.0)}
STOP = "() => { window.counting = false; return window.frames_.slice(1); }"


def document(blocks: int) -> dict[str, Any]:
    """Return a chain of Devin blocks in rows."""
    names = ["start", *(f"b{number}" for number in range(1, blocks))]
    found = {
        name: {
            "id": name,
            "name": name,
            "type": "devin" if number else "start_trigger",
            "position": {"x": 340 * (number % COLUMNS), "y": 220 * (number // COLUMNS)},
            "subBlocks": {
                "operation": {"id": "operation", "type": "dropdown", "value": "create_session"},
                "prompt": {"id": "prompt", "type": "long-input", "value": f"Task {number}"},
            }
            if number
            else {},
        }
        for number, name in enumerate(names)
    }
    edges = [
        {"id": f"{a}-{b}", "source": a, "target": b, "sourceHandle": "source"}
        for a, b in itertools.pairwise(names)
    ]
    return {"blocks": found, "edges": edges, "loops": {}, "parallels": {}}


def opened(page: Page, address: str, name: str) -> float:
    """Load the page and a workflow; return the milliseconds until its first card stands there."""
    page.goto("about:blank")
    started = time.perf_counter()
    page.goto(address)
    page.get_by_role("dialog").wait_for()
    page.get_by_role("button", name=name, exact=True).click()
    page.locator(".react-flow__node").first.wait_for()
    return (time.perf_counter() - started) * 1000


def frames(page: Page, move: Callable[[], None]) -> list[float]:
    """Return the milliseconds between frames while something moves."""
    page.evaluate(COUNT_FRAMES)
    move()
    found: list[float] = page.evaluate(STOP)
    return found


def drag(page: Page, x: float, y: float) -> None:
    """Drag with the mouse from a place, there and back."""
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 31):
        page.mouse.move(x + 6 * min(step, 30 - step), y + 3 * min(step, 30 - step))
    page.mouse.up()


def measure(page: Page, address: str, name: str, rounds: int) -> dict[str, list[float]]:
    """Return what was measured on one workflow."""
    found: dict[str, list[float]] = {"loading": [], "panning": [], "dragging a block": []}
    for _ in range(rounds):
        found["loading"].append(opened(page, address, name))
        page.wait_for_timeout(300)
        card = page.locator(".react-flow__node .card-head").first.bounding_box()
        canvas = page.locator(".react-flow__pane").first.bounding_box()
        assert card is not None
        assert canvas is not None
        empty = (canvas["x"] + canvas["width"] - 60, canvas["y"] + 60)
        found["panning"] += frames(page, lambda at=empty: drag(page, *at))  # type: ignore[misc]
        grip = (card["x"] + card["width"] / 2, card["y"] + card["height"] / 2)
        found["dragging a block"] += frames(page, lambda at=grip: drag(page, *at))  # type: ignore[misc]
    return found


def main() -> None:
    """Serve the page, measure both canvases and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, offline_app() as app:
        (Path(folder) / "Empty.json").write_text(json.dumps(document(1)))
        (Path(folder) / "Big.json").write_text(json.dumps(document(options.blocks)))
        surroundings = ApiContext(True, 1.0, ROOT / "examples")
        api = Api(app, Folder(Path(folder)), SecretStore(), surroundings)
        listener = listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        guarded = application(api, token="benchmark", hosts=hosts(port))
        server = uvicorn.Server(uvicorn.Config(guarded, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        address = f"http://127.0.0.1:{port}/#token=benchmark"
        with sync_playwright() as playwright:
            flags = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=flags
            )
            page = browser.new_page(viewport={"width": 1360, "height": 820})
            empty = measure(page, address, "Empty", options.rounds)
            big = measure(page, address, "Big", options.rounds)
            browser.close()
        server.should_exit = True
        thread.join()
    print(f"\n{options.blocks} blocks against none, ratios of the median and the 95th percentile")
    for name, of_empty in empty.items():
        middle = statistics.median(big[name]) / statistics.median(of_empty)
        slow = statistics.quantiles(big[name], n=20)[-1] / statistics.quantiles(of_empty, n=20)[-1]
        goals = " and ".join(f"{goal} x" for goal in GOALS[name] if goal is not None)
        print(f"  {name:<20} {middle:5.2f} x {slow:5.2f} x  (goal: at most {goals})")


if __name__ == "__main__":
    main()
