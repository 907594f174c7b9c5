"""Kill and freeze the processes of durable runs at random moments; count what Devin really got.

    python scripts/torture.py [--runs 500] [--freezes 100] [--kills 500] [--skew 400]
                              [--workers 2] [--no-faults] [--postgres] [--max-sessions N]
                              [--seconds S] [--policy hold] [--seed N] [--descriptors N]

Serves the simulator in a process of its own, and starts runs that create two sessions, wait for
one, send it a message and wait again, and send the other one and the same text from two
branches. Meanwhile workers, whose clocks are `--skew` seconds apart from the service's, are killed
(-9) and frozen for longer than any time-out at random points, until there were enough of both
and all runs are over. The service answers with errors after it has done the work, too: broken
connections, 500, and 429 and 503 with Retry-After; some of its lists are silent or go round in
circles. Then it counts in the simulator's own record:
one session for each create, one message for each send, no run lost, none stuck. In a file a frozen
worker also keeps every run that it drives. Exits 1 if any of that does not hold. `--seconds` goes
on for so long instead of counting kills and freezes; `--descriptors` lets a worker open no more
than so many files and connections.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
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
FROZEN = (0.5, LEASE + 1.5 * GRACE / SPEED)  # real seconds; lease and window end meanwhile
AT_ONCE = 40  # runs that are under way at the same time
IDLE = 5.0  # seconds without progress after which a worker is struck all the same
HOPELESS = 60.0  # seconds without any progress after which runs count as stuck

FAULTS: list[dict[str, Any]] = [
    {"kind": "reset", "method": "POST", "commit": True, "times": None, "probability": 0.15},
    {"kind": "reset", "method": "POST", "commit": False, "times": None, "probability": 0.1},
    {"kind": "status", "status": 503, "method": "GET", "times": None, "probability": 0.1},
    {"kind": "status", "status": 500, "method": "POST", "times": None, "probability": 0.05},
    *(
        {
            "kind": "status",
            "status": status,
            "retry_after": 1,
            "method": "POST",
            "commit": commit,
            "times": None,
            "probability": 0.04,
        }
        for status in (429, 503)
        for commit in (True, False)
    ),
    {"kind": "slow", "seconds": 0.2, "method": "POST", "times": None, "probability": 0.3},
    {"kind": "timeout", "seconds": 1.0, "method": "GET", "times": None, "probability": 0.02},
    {"kind": "circle", "method": "GET", "times": None, "probability": 0.05},
]


def block(name: str, kind: str, **values: Any) -> dict[str, Any]:
    """Return one block of a workflow document."""
    sub_blocks = {
        key: {"id": key, "type": "short-input", "value": value} for key, value in values.items()
    }
    position = {"x": 0, "y": 0}
    return {"id": name, "type": kind, "name": name, "position": position, "subBlocks": sub_blocks}


def workflow(number: int) -> dict[str, Any]:
    """Return a workflow that creates two sessions side by side and talks to both."""
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
        block(
            "second",
            "devin",
            operation="create_session",
            prompt=f"second {number} [scenario: never-ends]",
            **key,
        ),
        *(
            block(
                name,
                "devin",
                operation="send_message",
                message=f"same {number}",
                sessionId="<second.sessionId>",
                **key,
            )
            for name in ("one", "other")
        ),
        block("wait", "devin_wait", **session),
        block("send", "devin", operation="send_message", message=f"go on {number}", **session),
        block("again", "devin_wait", **session),
    ]
    pairs = [
        ("start", "create"),
        ("start", "second"),
        ("second", "one"),
        ("second", "other"),
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
    """Workers over one store, killed and frozen again and again."""

    def __init__(
        self, folder: Path, store: str, service: Service, policy: str, seed: int, skew: float
    ) -> None:
        self.service = service
        self.most = 0
        self.random = random.Random(seed)
        self.skew = skew
        self.freezes = 0
        self.kept = 0  # runs of frozen workers, in a file
        self.wrong: list[str] = []
        self.started = 0
        self.frozen: set[int] = set()  # process ids
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "PYTHONPATH": str(ROOT),
            "DEVIN_BASE_URL": service.url,
            "DEVIN_API_KEY": "cog_torture_000000",
            "DEVIN_ORG_ID": "org-torture",
            "SIM_DEVIN_STORE": store,
            **({"SIM_DEVIN_LEASE": f"{LEASE:g}"} if "://" in store else {}),
            "SIM_DEVIN_GRACE": f"{GRACE:g}",
            "SIM_DEVIN_AMBIGUOUS": policy,
            "TORTURE_BEGAN": f"{time.time()}",
            "SIM_DEVIN_CONFIG": str(folder / "config.toml"),
        }
        (folder / "config.toml").write_text("")
        self.kills = 0
        # A connection of its own: the other may be waiting for a lock that a frozen worker holds.
        self.watching = open_app(self.environment)
        self.watching.runs.list(limit=1)

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker process, whose clock is ahead or behind."""
        skew = self.random.choice((-self.skew, 0.0, self.skew))
        return subprocess.Popen(
            [sys.executable, __file__, "--worker"],
            env={**self.environment, "TORTURE_SKEW": f"{skew:g}"},
            cwd=ROOT,
        )

    def until_over(self, runs: Any, options: argparse.Namespace) -> None:
        """Start runs, and kill, freeze and restart workers, until there was enough of it all."""
        workers = [self.worker() for _ in range(options.workers)]
        end = None if options.seconds is None else time.monotonic() + options.seconds
        progress, last = (-1, -1), time.monotonic()
        struck, struck_at = progress, last
        try:
            while True:
                enough = self._enough(options) if end is None else time.monotonic() >= end
                left = [run for run in runs.list(limit=100_000) if not over(run)]
                more = options.runs - self.started  # beyond that only until there was enough
                if more <= 0 and end is None and not enough:
                    more = AT_ONCE
                for number in range(self.started, self.started + min(more, AT_ONCE - len(left))):
                    name = f"run-{number}"
                    runs.start(workflow(number), env=self.environment, run_id=name)
                    self.started += 1
                if more > 0 and len(left) < AT_ONCE:
                    continue
                time.sleep(self.random.uniform(0.1, 0.8))
                self.most = max(self.most, working(self.service.sessions()))
                done = sum(len(runs.events(run["runId"])) for run in left)
                if (done, len(left)) != progress:
                    progress, last = (done, len(left)), time.monotonic()
                if (not left and enough) or time.monotonic() - last > HOPELESS:
                    return
                now = time.monotonic()
                if not enough and (progress != struck or now - struck_at > IDLE):
                    self._strike(workers, runs, freeze=self.freezes < options.freezes)
                    struck, struck_at = progress, now
        finally:
            for worker in workers:
                worker.send_signal(signal.SIGKILL)
                worker.wait()

    def _enough(self, options: argparse.Namespace) -> bool:
        struck = self.kills >= options.kills and self.freezes >= options.freezes
        return struck and self.started >= options.runs

    def _strike(self, workers: list[subprocess.Popen[bytes]], runs: Any, *, freeze: bool) -> None:
        number = self.random.randrange(len(workers))
        worker = workers[number]
        if worker.pid in self.frozen:
            return
        if freeze and self.random.random() < 0.5:
            worker.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, worker.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            driven = self._driven(runs, worker)
            self.frozen.add(worker.pid)
            self.freezes += 1
            # Not in the loop above: it may wait for a lock that the worker holds.
            thaw = (worker, self.watching.runs, driven)
            threading.Timer(self.random.uniform(*FROZEN), self._thaw, thaw).start()
        else:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            self.kills += 1
            workers[number] = self.worker()

    @staticmethod
    def _driven(runs: Any, worker: subprocess.Popen[bytes]) -> set[tuple[str, int]]:
        """Return the runs that a worker drives in a file, with their fences."""
        if runs.store.database.locks is None:
            return set()
        running = runs.store.runs(("running",), limit=1000)
        return {(run.id, run.fence) for run in running if f":{worker.pid}:" in (run.owner or "")}

    def _thaw(
        self, worker: subprocess.Popen[bytes], runs: Any, driven: set[tuple[str, int]]
    ) -> None:
        if worker.poll() is None:
            lost = driven - self._driven(runs, worker)
            self.wrong += [f"{run_id} was taken from a frozen worker" for run_id, _ in lost]
            self.kept += len(driven)
        worker.send_signal(signal.SIGCONT)  # does nothing once it has ended
        self.frozen.discard(worker.pid)


def open_app(environment: Mapping[str, str]) -> Any:
    """Return an app over the common store, in a simulated time that all processes share."""
    import sim_devin
    from sim_devin.simulator import SimClock

    began = float(environment["TORTURE_BEGAN"])
    skew = float(environment.get("TORTURE_SKEW", "0"))
    return sim_devin.open_app(
        env=environment,
        config=Path(environment["SIM_DEVIN_CONFIG"]),
        clock=SimClock(began + (time.time() - began) * SPEED + skew, speed=SPEED),
        discover=False,
    )


def limit_descriptors(most: int) -> None:
    """Let this process open no more than so many files and connections; 0 for no limit."""
    if most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


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


def reasons(run: Mapping[str, Any]) -> Iterator[str]:
    """Yield why a run asks what was done, without the ids in it."""
    for wait in run["waits"]:
        if wait["kind"] == "uncertain":
            yield re.sub(r"[0-9a-f]{32}", "ID", f"{wait['blockId']}: {wait['message']}")


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
        if message["source"] == "user" and message["message"].startswith(("go on", "same"))
    )
    wrong = [f"{n} sessions for {prompt!r}" for prompt, n in prompts.items() if n > 1]
    most = {"go": 1, "same": 2}  # the second is sent from two branches
    wrong += [f"{n} messages {text!r}" for text, n in messages.items() if n > most[text.split()[0]]]
    for number in range(runs):
        state = found.get(f"run-{number}")
        if state is None:
            wrong.append(f"run {number} was lost")
        elif state not in ("done", "uncertain"):
            wrong.append(f"run {number} did not end: {state}")
        elif state == "done":
            names = (f"first {number} [scenario: asks]", f"second {number} [scenario: never-ends]")
            wrong += [f"no session for {name!r}" for name in names if not prompts[name]]
            if not messages[f"go on {number}"]:
                wrong.append(f"no message for run {number}")
            if messages[f"same {number}"] != 2:
                wrong.append(f"{messages[f'same {number}']} of 2 messages for run {number}")
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """Torture, print one line of JSON, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=500, help="runs at the least")
    parser.add_argument("--kills", type=int, default=500, help="kills at the least")
    parser.add_argument("--freezes", type=int, default=100, help="freezes at the least")
    parser.add_argument(
        "--skew", type=float, default=400.0, help="seconds the workers' clocks are ahead or behind"
    )
    parser.add_argument(
        "--seconds", type=float, default=None, help="go on for so long instead of counting"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--no-faults", action="store_true")
    parser.add_argument("--postgres", action="store_true", help="keep the runs in PostgreSQL")
    parser.add_argument("--policy", choices=("retry", "hold"), default="retry")
    parser.add_argument("--max-sessions", default="", help="most sessions under way at once")
    parser.add_argument(
        "--descriptors", type=int, default=0, help="most files and connections a worker may open"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--lag", type=float, default=60.0, help="simulated seconds a list lags")
    options = parser.parse_args(arguments)
    if options.worker:
        app = open_app(os.environ)
        app.runs  # noqa: B018 - opens the store, and imports what it takes
        limit_descriptors(int(os.environ.get("TORTURE_DESCRIPTORS") or 0))
        app.runs.work()
        return 0
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    service = Service({"list_lag": f"{options.lag:g}"})
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as folder, store_in(folder, options.postgres) as store:
            torture = Torture(Path(folder), store, service, options.policy, seed, options.skew)
            torture.environment["SIM_DEVIN_MAX_SESSIONS"] = options.max_sessions
            torture.environment["TORTURE_DESCRIPTORS"] = str(options.descriptors)
            if not options.no_faults:
                service.post("faults", FAULTS)
            app = open_app(torture.environment)
            torture.until_over(app.runs, options)
            found = {run["runId"]: run["state"] for run in app.runs.list(limit=100_000)}
            sessions = service.sessions()
            wrong = count(sessions, torture.started, found) + torture.wrong
            asked = Counter(
                reason
                for run_id, state in found.items()
                if state == "uncertain"
                for reason in reasons(app.runs.show(run_id))
            )
            app.runs.store.close()
    finally:
        service.close()
    report = {
        "runs": torture.started,
        "kills": torture.kills,
        "freezes": torture.freezes,
        "kept": torture.kept,
        "skew": options.skew,
        "sessions": len(sessions),
        "at once": torture.most,
        "states": Counter(found.values()),
        "uncertain": asked,
        "seconds": round(time.monotonic() - began, 1),
        "seed": seed,
        "wrong": wrong,
    }
    sys.stdout.write(json.dumps(report) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
