"""What a parked run costs the process that looks after it: memory, and list calls a look.

A store is filled with runs that wait for sessions. A fresh process then looks at all of them,
once while they work and once when all have finished; its peak of memory is compared with that of
the same process over 150 runs, one list call's worth, measured in the same run.

Run: python benchmarks/parked.py [--runs 5000]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import sim_devin
from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.clock import ManualClock
from sim_devin.store.sql_store import open_store

CREDENTIALS = {"apiKey": "cog_benchmark_000000", "orgId": "org-benchmark"}
FEW = 150
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in a unit of ru_maxrss


class Sessions:
    """A service whose sessions are all in one state."""

    def __init__(self) -> None:
        self.finished = False
        self.calls = {"list": 0, "get": 0}

    def send(self, request: Request, *, timeout: float) -> Response:  # noqa: ARG002
        """Return the session or sessions that were asked for."""
        parts = urlsplit(request.url)
        one = not parts.path.endswith("/sessions")
        self.calls["get" if one else "list"] += 1
        asked = [value for name, value in parse_qsl(parts.query) if "ids" in name]
        if one:
            asked = [parts.path.rpartition("/")[2]]
        detail = "finished" if self.finished else "working"
        items = [
            {
                "session_id": name,
                "status": "running",
                "status_detail": detail,
                "url": f"https://app.devin.ai/sessions/{name}",
                "structured_output": {"ok": True} if self.finished else None,
            }
            for name in asked
        ]
        page = {"items": items, "has_next_page": False, "end_cursor": None}
        body = json.dumps(items[0] if one else page)
        return Response(200, {"content-type": "application/json"}, body.encode())


def open_app(place: Path) -> tuple[sim_devin.App, Sessions, ManualClock]:
    """Return an app over a store, its service and its clock."""
    service, clock = Sessions(), ManualClock()
    app = sim_devin.open_app(
        transport=service,
        store=open_store(place),
        credentials=CREDENTIALS,
        clock=clock,
        discover=False,
    )
    return app, service, clock


def document() -> dict[str, Any]:
    """Return a workflow that waits for a session."""
    values = {"sessionId": uuid.uuid4().hex, "timeoutSeconds": "2000000", **CREDENTIALS}
    fields = {key: {"id": key, "type": "short-input", "value": v} for key, v in values.items()}
    place = {"position": {"x": 0, "y": 0}}
    start = {"id": "start", "name": "start", "type": "start_trigger", "subBlocks": {}, **place}
    wait = {"id": "wait", "name": "wait", "type": "devin_wait", "subBlocks": fields, **place}
    edge = {"id": "e", "source": "start", "target": "wait", "sourceHandle": "source"}
    return {"blocks": {"start": start, "wait": wait}, "edges": [edge]}


def fill(place: Path, runs: int) -> None:
    """Let runs start and park."""
    app, _, _ = open_app(place)
    for _ in range(runs):
        app.runs.start(document())
    app.runs.work(once=True)
    assert app.runs.store.count(("waiting",)) == runs
    app.close()


def look(place: Path) -> None:
    """Look at what is parked, as a fresh process, and print what it took."""
    app, service, clock = open_app(place)
    waiting = app.runs.store.count(("waiting",))
    clock.advance(60)
    app.runs.worker.look_after()
    calls, service.finished = dict(service.calls), True
    clock.advance(120)
    app.runs.worker.look_after()
    woken = waiting - app.runs.store.count(("waiting",))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
    print(json.dumps({"waiting": waiting, "calls": calls, "woken": woken, "peak": peak}))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--fill", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--look", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fill is not None:
        fill(given.fill, given.runs)
        return
    if given.look is not None:
        look(given.look)
        return
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for runs in (FEW, given.runs):
            # Both in processes of their own: a child's peak starts from its parent's size.
            place = str(Path(folder) / f"{runs}.sqlite")
            command = [sys.executable, __file__]
            subprocess.run([*command, "--fill", place, "--runs", str(runs)], check=True)
            printed = subprocess.run(
                [*command, "--look", place], stdout=subprocess.PIPE, check=True
            )
            found[runs] = json.loads(printed.stdout)
    few, all_of_them = found[FEW], found[given.runs]
    each = (all_of_them["peak"] - few["peak"]) / (given.runs - FEW)
    print(f"\n{given.runs:,} parked runs in a fresh process  (baseline: with {FEW})")
    print(f"  memory {all_of_them['peak'] / few['peak']:.2f} x, {each:,.0f} bytes for each run")
    calls = " and ".join(f"{number} {kind}" for kind, number in all_of_them["calls"].items())
    print(f"  {calls} calls a look, {all_of_them['woken']:,} woken by the first")
    print("  (goal: less than 1,024 bytes for each, at most 35 calls, all of them woken)")


if __name__ == "__main__":
    main()
