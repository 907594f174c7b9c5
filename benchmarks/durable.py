"""What recording costs: a block of a durable run against a step of DBOS on the same database.

Both make the same tool call through a transport that answers at once, and both have its
outcome on the disk before they go on. DBOS is measured where it is installed (``pip install
'dbos>=3.4,<4'``); a bare transaction that inserts one row of the same size is the floor.

And how long it takes until a waiting worker goes on with a run whose process was killed (-9), under
locks against leases of 20 s over the same kind of file.

Run: python benchmarks/durable.py [--postgres ADDRESS] [--blocks 100] [--rounds 7] [--takeovers 3]
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from mcp_calls import ID, Constant
from rounds import interleave, report

import sim_devin
from sim_devin.calls.request import Request
from sim_devin.calls.response import Response
from sim_devin.clock import RealClock
from sim_devin.runs.leases import LeaseCarrier
from sim_devin.runs.runs import Runs
from sim_devin.store.sql_store import SqlStore, open_store

CREDENTIALS = {"apiKey": "cog_benchmark_000000", "orgId": "org-benchmark"}
GOAL = "at most 1.5 x a step of DBOS"


def document(blocks: int) -> dict[str, Any]:
    """Return a chain of blocks that each read a session."""
    names = ["start", *(f"b{number}" for number in range(blocks))]
    found = {}
    for name in names:
        values = {"operation": "get_session", "sessionId": ID, **CREDENTIALS}
        found[name] = {
            "id": name,
            "name": name,
            "type": "start_trigger" if name == "start" else "devin",
            "position": {"x": 0, "y": 0},
            "subBlocks": {
                key: {"id": key, "type": "short-input", "value": value}
                for key, value in values.items()
                if name != "start"
            },
        }
    edges = [
        {"id": f"{a}-{b}", "source": a, "target": b, "sourceHandle": "source"}
        for a, b in itertools.pairwise(names)
    ]
    return {"blocks": found, "edges": edges}


def ours(place: str, blocks: int) -> Callable[[], None]:
    """Return what drives a durable run."""
    app = sim_devin.open_app(
        transport=Constant(), store=open_store(place), credentials=CREDENTIALS, discover=False
    )
    workflow = document(blocks)

    def run() -> None:
        result = app.runs.follow(app.runs.start(workflow))
        assert result is not None
        assert result.success, result.error

    return run


def in_memory(blocks: int) -> Callable[[], None]:
    """Return what runs the same workflow unrecorded."""
    app = sim_devin.open_app(transport=Constant(), credentials=CREDENTIALS, discover=False)
    workflow = document(blocks)

    def run() -> None:
        assert app.run(workflow).success

    return run


def with_dbos(url: str, blocks: int) -> Callable[[], None]:
    """Return what runs as many steps of DBOS, each making the same call."""
    from dbos import DBOS, DBOSPortableJSONSerializer

    app = sim_devin.open_app(transport=Constant(), credentials=CREDENTIALS, discover=False)
    config: Any = {
        "name": "benchmark",
        "system_database_url": url,
        "log_level": "ERROR",
        "serializer": DBOSPortableJSONSerializer(),
    }
    DBOS(config=config)

    @DBOS.step()
    def step() -> dict[str, Any]:
        return app.call("devin_get_session", {"sessionId": ID})

    @DBOS.workflow()
    def chain() -> int:
        return sum(1 for _ in range(blocks) if step())

    DBOS.launch()
    return lambda: chain()


def bare(place: str, blocks: int) -> Callable[[], None]:
    """Return what inserts as many rows, each in a transaction of its own."""
    body = json.dumps(Constant.body.decode())
    connection: Any
    if "://" in place:
        import psycopg

        connection = psycopg.connect(place, autocommit=True)
        insert = "INSERT INTO bare VALUES (%s, %s)"
    else:
        connection = sqlite3.connect(place, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        insert = "INSERT INTO bare VALUES (?, ?)"
    connection.execute("CREATE TABLE bare (id TEXT PRIMARY KEY, body TEXT)")

    def run() -> None:
        for _ in range(blocks):
            connection.execute(insert, (str(uuid.uuid4()), body))

    return run


class Silent:
    """A transport that never answers."""

    def send(self, _request: Request, *, timeout: float) -> Response:  # noqa: ARG002
        """Wait for as long as the process lives."""
        threading.Event().wait()
        raise AssertionError


def worker(place: str, carrier: str) -> None:
    """Drive the runs of a store, and say when one begins."""
    store = open_store(place)
    app = sim_devin.open_app(
        transport=Silent(), store=store, credentials=CREDENTIALS, discover=False
    )
    runs = app.runs
    if carrier == "leases":
        with store.database.write() as connection:  # what refuses them
            connection.execute("DROP TRIGGER IF EXISTS no_more_leases")
        carry = partial(_leased, clock=RealClock())
        runs = Runs(app, store, carry=carry)
    print("idle", flush=True)
    runs.work(on_event=lambda event: print(event.kind, flush=True))


def _leased(store: SqlStore, owner: str, clock: RealClock) -> LeaseCarrier:
    return LeaseCarrier(store, owner, 20.0, clock)


def takeover(carrier: str) -> float:
    """Return after how many seconds a worker goes on with what a killed one drove."""
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "runs.sqlite")
        command = [sys.executable, __file__, "--worker", place, carrier]
        start = partial(subprocess.Popen, command, stdout=subprocess.PIPE, text=True)
        with start() as first, start() as second:
            try:
                app = sim_devin.open_app(
                    transport=Constant(),
                    store=open_store(place),
                    credentials=CREDENTIALS,
                    discover=False,
                )
                for process in (first, second):
                    assert process.stdout is not None
                    assert process.stdout.readline()
                run_id = app.runs.start(document(1))
                while not (owner := app.runs.store.run(run_id).owner):
                    time.sleep(0.05)
                driver, other = (first, second) if f":{first.pid}:" in owner else (second, first)
                time.sleep(2.0)  # some time before the next sign of life, and after the last
                driver.kill()
                began = time.perf_counter()
                assert other.stdout is not None
                assert other.stdout.readline()
                return time.perf_counter() - began
            finally:
                first.kill()
                second.kill()


def report_takeovers(rounds: int) -> None:
    """Measure takeovers and print a ratio."""
    baseline = "leases of 20 s"
    ways = {"locks": "locks", baseline: "leases"}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, carrier in ways.items():
            taken[name].append(takeover(carrier))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    report("takeover after kill -9, SQLite", medians, baseline, "at most 0.02 x")
    print("  " + ", ".join(f"{name}: {seconds:.2f} s" for name, seconds in medians.items()))


def main() -> None:
    """Measure and print ratios."""
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", metavar="ADDRESS", help="an empty database, not SQLite")
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--takeovers", type=int, default=3, help="rounds; 0 for none")
    options = parser.parse_args()
    if options.takeovers and not options.postgres:
        report_takeovers(options.takeovers)
    with tempfile.TemporaryDirectory() as folder:
        place = options.postgres or str(Path(folder) / "runs.sqlite")
        ways = {
            "a durable run": ours(place, options.blocks),
            "the same run in memory": in_memory(options.blocks),
            "bare transactions": bare(
                options.postgres or str(Path(folder) / "bare.sqlite"), options.blocks
            ),
        }
        baseline, goal = "bare transactions", ""
        if importlib.util.find_spec("dbos"):
            url = (options.postgres or f"sqlite:///{folder}/dbos.sqlite").replace(
                "postgresql://", "postgresql+psycopg://"
            )
            baseline, goal = "steps of DBOS", GOAL
            ways[baseline] = with_dbos(url, options.blocks)
        medians = interleave(ways, rounds=options.rounds, loops=1)
        kind = "PostgreSQL" if options.postgres else "SQLite"
        report(f"{options.blocks} calls, recorded in {kind}", medians, baseline, goal)
        if baseline == "steps of DBOS":
            from dbos import DBOS

            DBOS.destroy()


if __name__ == "__main__":
    main()
