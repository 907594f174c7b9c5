"""How much longer the store takes for what is done all the time when it keeps many more runs.

Two stores in files are filled with finished runs and all that belongs to them. Each operation is
timed in both; a ratio near 1 says that it does not depend on how many runs there are.

Run: python benchmarks/store_scale.py [--few 100] [--many 100000]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from sim_devin.errors import UnknownName
from sim_devin.store.records import BlockRecord, EventRecord, Run, Wait
from sim_devin.store.rows import Term
from sim_devin.store.sql_store import SqlStore, open_store

NOW = 2_000_000_000.0
BEGAN = 1_000_000_000.0
TABLES = ("runs", "blocks", "steps", "waits", "events")


def fill(store: SqlStore, count: int) -> None:
    """Put runs that ended into the store: one through its functions, the others as copies."""
    document = store.put_document({"blocks": {}})
    for run_id in ("done-0", "waits-0"):
        store.add_run(Run(run_id, "ready", document, "benchmark", created=BEGAN, updated=BEGAN))
        run = store.begin_run(run_id, "benchmark", Term(NOW, NOW + 60.0, 60.0), BEGAN)
        assert run is not None
        store.record(run, [BlockRecord("a", 1, "a", output={"text": "x" * 500})])
        store.record_step(run, "a#1/1", "devin_create_session", {"output": {}})
        store.put_file(run_id, "/workflows/a.json", BEGAN)
        store.add_wait(run, Wait(run_id, "a#1", "session", place="place", next_look=NOW))
        if run_id == "waits-0":
            store.park(run, BEGAN)
        else:
            store.end_run(run, "done", BEGAN, result={"output": "x" * 500})
    with store.database.write() as connection:
        for table in TABLES:
            columns = [row["name"] for row in store.database.read(f"PRAGMA table_info({table})")]
            key = "id" if table == "runs" else "run_id"
            kept = "".join(f', "{name}"' for name in columns if name not in ("id", "run_id"))
            taken = kept.replace('"created"', "created + n").replace('"ended"', "ended + n")
            connection.execute(
                "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers "
                f"WHERE n < ?) INSERT INTO {table} ({key}{kept}) "
                f"SELECT 'done-' || n{taken} FROM {table}, numbers WHERE {key} = 'done-0'",
                (count - 1,),
            )


def mistyped(store: SqlStore) -> None:
    """Look for a run that there is not."""
    with suppress(UnknownName):
        store.run("dnoe-7")


OPERATIONS: dict[str, Callable[[SqlStore], Any]] = {
    "is a hook's delivery known": lambda store: store.is_run("hook-deploy-0000"),
    "a run by its id": lambda store: store.run("done-50"),
    "a run by the beginning of its id": lambda store: store.run("wait"),
    "a mistyped id": mistyped,
    "the newest 50 runs": lambda store: store.runs(limit=50),
    "the next 50 runs": lambda store: store.runs(limit=50, before="done-90"),
    "the newest 50 in three states": lambda store: store.runs(("done", "failed", "waiting")),
    "the files of 50 runs": lambda store: store.files([f"done-{n}" for n in range(50)]),
    "the last run of a schedule": lambda store: store.last_id("schedule-nightly-", 31),
    "claim a run where none is ready": lambda store: list(store.offered(Term(NOW, NOW, 1.0))),
    "the next moment": lambda store: store.next_moment(),
    "sessions to look at": lambda store: store.groups(NOW),
    "moments and deadlines": lambda store: (store.finish_due(NOW), store.wake_overdue(NOW)),
    "record an event": lambda store: store.add_event(EventRecord("done-1", NOW, "x", {})),
}


def seconds_of(act: Callable[[], Any], rounds: int) -> float:
    """Return the shortest of some times that an act takes."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        times.append(time.perf_counter() - began)
    return min(times)


def longest_step(store: SqlStore) -> tuple[int, float]:
    """Forget all finished runs; return how many, and the seconds of the longest step."""
    forgotten, longest, began = 0, 0.0, time.perf_counter()
    for count in store.prune(NOW, "2000-01-01"):
        forgotten += count
        longest = max(longest, time.perf_counter() - began)
        began = time.perf_counter()
    return forgotten, longest


def main() -> int:
    """Measure, print one line of JSON an operation, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stores = [open_store(Path(folder) / f"{n}.sqlite") for n in (options.few, options.many)]
        for store, count in zip(stores, (options.few, options.many), strict=True):
            fill(store, count)
        for name, operation in OPERATIONS.items():
            few, many = (seconds_of(partial(operation, one), options.rounds) for one in stores)
            report = {"operation": name, "few_ms": 1000 * few, "many_ms": 1000 * many}
            sys.stdout.write(json.dumps({**report, "ratio": round(many / few, 2)}) + "\n")
        forgotten, longest = longest_step(stores[1])
        report = {"operation": "forget all finished runs", "runs": forgotten}
        sys.stdout.write(json.dumps({**report, "longest_step_ms": 1000 * longest}) + "\n")
        for store in stores:
            store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
