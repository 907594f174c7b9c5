"""Kill the processes of durable runs at random moments, and count what Devin really got.

    python scripts/torture.py [--runs 40] [--seconds 60] [--workers 2] [--no-faults] [--postgres]
                              [--max-sessions N]

Serves the simulator in a process of its own, starts runs that create a session, wait for it,
send it a message and wait again, and kills the workers (-9) at random points until all runs
are over. Then it counts in the simulator's own record: one session for each create, one
message for each send, no run lost, none stuck. Exits 1 if any of that does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SPEED = 100.0  # simulated seconds in a real one; the workers live in the simulated time, too
GRACE = 200.0  # simulated seconds; beyond anything the service needs to show what it has taken
LEASE = 1.0
HOPELESS = 30.0  # seconds without any progress after which runs count as stuck

FAULTS: list[dict[str, Any]] = [
    {"kind": "reset", "method": "POST", "commit": True, "times": None, "probability": 0.15},
    {"kind": "reset", "method": "POST", "commit": False, "times": None, "probability": 0.1},
    {"kind": "status", "status": 503, "method": "GET", "times": None, "probability": 0.1},
    {"kind": "status", "status": 500, "method": "POST", "times": None, "probability": 0.05},
    {"kind": "slow", "seconds": 0.2, "method": "POST", "times": None, "probability": 0.3},
]


def block(name: str, kind: str, **values: Any) -> dict[str, Any]:
    """Return one block of a workflow document."""
    sub_blocks = {
        key: {"id": key, "type": "short-input", "value": value} for key, value in values.items()
    }
    position = {"x": 0, "y": 0}
    return {"id": name, "type": kind, "name": name, "position": position, "subBlocks": sub_blocks}


def workflow(number: int) -> dict[str, Any]:
    """Return a workflow that creates two sessions side by side and talks to one."""
    key = {"apiKey": "{{DEVIN_API_KEY}}", "orgId": "org-torture"}
    session = {"sessionId": "<create.sessionId>", **key}
    blocks = [
        block("start", "start_trigger"),
        block(
            "create",
            "devin",
            operation="create_session",
            prompt=f"first {number} [scenario: asks]",
            **key,
        ),
        block("second", "devin", operation="create_session", prompt=f"second {number}", **key),
        block("wait", "devin_wait", **session),
        block("send", "devin", operation="send_message", message=f"go on {number}", **session),
        block("again", "devin_wait", **session),
    ]
    pairs = [
        ("start", "create"),
        ("start", "second"),
        ("create", "wait"),
        ("wait", "send"),
        ("send", "again"),
    ]
    edges = [
        {"id": f"{a}-{b}", "source": a, "target": b, "sourceHandle": "source"} for a, b in pairs
    ]
    return {"blocks": {item["id"]: item for item in blocks}, "edges": edges}


class Service:
    """The simulator in a process of its own."""

    def __init__(self, switches: Mapping[str, str]) -> None:
        options = [f"--switch={name}={value}" for name, value in switches.items()]
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "sim_devin.simulator",
                "--port=0",
                f"--speed={SPEED:g}",
                *options,
            ],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.url = line.split()[0].partition("=")[2]
        self.control = f"{self.url.removesuffix('/v3')}/__simulator/"

    def post(self, action: str, data: Any) -> None:
        """Steer the simulator."""
        request = urllib.request.Request(
            f"{self.control}{action}", json.dumps(data).encode(), method="POST"
        )
        urllib.request.urlopen(request, timeout=10).read()

    def sessions(self) -> list[dict[str, Any]]:
        """Return every session as it really is."""
        with urllib.request.urlopen(f"{self.control}state", timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["sessions"]
        return found

    def close(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait()


class Torture:
    """Workers over one store, killed again and again."""

    def __init__(self, folder: Path, store: str, service: Service, policy: str, seed: int) -> None:
        self.service = service
        self.most = 0
        self.random = random.Random(seed)
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PYTHONPATH": str(ROOT),
            "DEVIN_BASE_URL": service.url,
            "DEVIN_API_KEY": "cog_torture_000000",
            "DEVIN_ORG_ID": "org-torture",
            "SIM_DEVIN_STORE": store,
            "SIM_DEVIN_LEASE": f"{LEASE:g}",
            "SIM_DEVIN_GRACE": f"{GRACE:g}",
            "SIM_DEVIN_AMBIGUOUS": policy,
            "TORTURE_BEGAN": f"{time.time()}",
            "SIM_DEVIN_CONFIG": str(folder / "config.toml"),
        }
        (folder / "config.toml").write_text("")
        self.kills = 0

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker process."""
        return subprocess.Popen(
            [sys.executable, __file__, "--worker"],
            env=self.environment,
            cwd=ROOT,
        )

    def until_over(self, runs: Any, count: int, seconds: float) -> None:
        """Kill and restart workers for `seconds`, then let them end what is left."""
        workers = [self.worker() for _ in range(count)]
        end = time.monotonic() + seconds
        progress, last = -1, time.monotonic()
        try:
            while True:
                time.sleep(self.random.uniform(0.1, 1.2))
                self.most = max(self.most, working(self.service.sessions()))
                left = [run for run in runs.list(limit=100_000) if not over(run)]
                done = sum(len(runs.events(run["runId"])) for run in left) - 10_000 * len(left)
                if done != progress:
                    progress, last = done, time.monotonic()
                if not left or time.monotonic() - last > HOPELESS:
                    return
                if time.monotonic() < end:
                    number = self.random.randrange(count)
                    workers[number].send_signal(signal.SIGKILL)
                    workers[number].wait()
                    self.kills += 1
                    workers[number] = self.worker()
        finally:
            for worker in workers:
                worker.send_signal(signal.SIGKILL)
                worker.wait()


def open_app(environment: Mapping[str, str]) -> Any:
    """Return an app over the common store, in a simulated time that all processes share."""
    import sim_devin
    from sim_devin.simulator import SimClock

    began = float(environment["TORTURE_BEGAN"])
    return sim_devin.open_app(
        env=environment,
        config=Path(environment["SIM_DEVIN_CONFIG"]),
        clock=SimClock(began + (time.time() - began) * SPEED, speed=SPEED),
        discover=False,
    )


@contextmanager
def store_in(folder: str, postgres: bool) -> Iterator[str]:
    """Yield the place of an empty store: a file, or a PostgreSQL server of its own."""
    if not postgres:
        yield f"{folder}/runs.sqlite"
        return
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("postgres_server.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        if not address:
            sys.exit(server.wait())
        yield address
        server.stdin.close()


def over(run: Mapping[str, Any]) -> bool:
    """Return whether a run is over, or left to a person."""
    return run["state"] in ("done", "failed", "cancelled", "uncertain", "held")


def working(sessions: list[dict[str, Any]]) -> int:
    """Return how many sessions work."""
    idle = ("finished", "waiting_for_user")
    return sum(
        item["status"] in ("new", "claimed", "running") and item.get("status_detail") not in idle
        for item in sessions
    )


def count(sessions: list[dict[str, Any]], runs: int, found: Mapping[str, str]) -> list[str]:
    """Return what does not hold."""
    prompts = Counter(session["messages"][0]["message"] for session in sessions)
    messages = Counter(
        message["message"]
        for session in sessions
        for message in session["messages"]
        if message["source"] == "user" and message["message"].startswith("go on")
    )
    wrong = [f"{n} sessions for {prompt!r}" for prompt, n in prompts.items() if n > 1]
    wrong += [f"{n} messages {text!r}" for text, n in messages.items() if n > 1]
    for number in range(runs):
        state = found.get(f"run-{number}")
        if state is None:
            wrong.append(f"run {number} was lost")
        elif state not in ("done", "uncertain"):
            wrong.append(f"run {number} did not end: {state}")
        elif state == "done":
            names = (f"first {number} [scenario: asks]", f"second {number}")
            wrong += [f"no session for {name!r}" for name in names if not prompts[name]]
            if not messages[f"go on {number}"]:
                wrong.append(f"no message for run {number}")
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """Torture, print one line of JSON, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to go on killing")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--no-faults", action="store_true")
    parser.add_argument("--postgres", action="store_true", help="keep the runs in PostgreSQL")
    parser.add_argument("--policy", choices=("retry", "hold"), default="retry")
    parser.add_argument("--max-sessions", default="", help="most sessions under way at once")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--lag", type=float, default=60.0, help="simulated seconds a list lags")
    options = parser.parse_args(arguments)
    if options.worker:
        open_app(os.environ).runs.work()
        return 0
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    service = Service({"list_lag": f"{options.lag:g}"})
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder, store_in(folder, options.postgres) as store:
            torture = Torture(Path(folder), store, service, options.policy, seed)
            torture.environment["SIM_DEVIN_MAX_SESSIONS"] = options.max_sessions
            if not options.no_faults:
                service.post("faults", FAULTS)
            app = open_app(torture.environment)
            for number in range(options.runs):
                app.runs.start(workflow(number), env=torture.environment, run_id=f"run-{number}")
            torture.until_over(app.runs, options.workers, options.seconds)
            found = {run["runId"]: run["state"] for run in app.runs.list(limit=100_000)}
            sessions = service.sessions()
            wrong = count(sessions, options.runs, found)
            app.runs.store.close()
    finally:
        service.close()
    report = {
        "runs": options.runs,
        "kills": torture.kills,
        "sessions": len(sessions),
        "at once": torture.most,
        "states": Counter(found.values()),
        "seconds": round(time.monotonic() - began, 1),
        "seed": seed,
        "wrong": wrong,
    }
    sys.stdout.write(json.dumps(report) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
