"""The simulated Devin as one object: requests in, answers out, no network."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sim_devin.secret_names import is_secret_name
from sim_devin.simulator.access import Gate, Key
from sim_devin.simulator.answers import Answer
from sim_devin.simulator.api import Api, Request
from sim_devin.simulator.clock import Clock, SimClock
from sim_devin.simulator.faults import CIRCLE, Fault, Faults
from sim_devin.simulator.links import SIGNED_FILES
from sim_devin.simulator.repertoire import Repertoire
from sim_devin.simulator.scenario import Scenario
from sim_devin.simulator.service import Service
from sim_devin.simulator.switches import Switches

logger = logging.getLogger("sim_devin.simulator")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request as it arrived, and what came of it.

    `time` is in simulated seconds since the epoch. Names of `headers` are lower-case, values
    that carry credentials are redacted. `fault` is the kind of the fault that hit the
    request. `status` is None when no answer was meant to arrive.
    """

    time: float
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes = field(repr=False)  # may hold session secrets
    status: int | None
    fault: str | None = None


class Simulator:
    """A simulated Devin API v3: `handle` takes a request and returns the answer. Thread-safe.

    `clock` is anything with ``time()`` in seconds, a `SimClock` in real time when left out.
    `scenarios` are chosen by their ``match``, else `default_scenario` is played; a prompt
    with ``[scenario: NAME]`` picks one by name. Without `keys` every non-empty key that
    starts with ``cog_`` may do everything in every organization. `prefix` is the path up to
    and including the version. A `seed` makes identifiers and probabilities repeatable.

    For tests: `log` (the latest `log_size` requests), `counts` (what really happened),
    `leaks` (requests to signed addresses that carried a key), `truth` (sessions as they
    are), `switches`, `faults`, `clock`, `add_session`, `reset`.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        switches: Switches | None = None,
        scenarios: Iterable[Scenario] = (),
        default_scenario: str = "finish",
        keys: Mapping[str, Key] | None = None,
        prefix: str = "/v3",
        faults: Iterable[Fault] = (),
        seed: int | None = None,
        log_size: int = 10_000,
    ) -> None:
        self.clock = SimClock() if clock is None else clock
        self.prefix = "/" + prefix.strip("/")
        self.faults = Faults(faults, seed=seed)
        self.log: deque[LogEntry] = deque(maxlen=log_size)
        self.leaks: list[LogEntry] = []
        self._service = Service(
            self.clock,
            switches or Switches(),
            Repertoire(scenarios, default_scenario),
            random.Random(seed),  # noqa: S311 - repeatable on purpose
        )
        self._api = Api(self._service, Gate(keys), self.prefix)
        self._lock = threading.RLock()

    @property
    def switches(self) -> Switches:
        """The switches in force; assign to change them."""
        return self._service.switches

    @switches.setter
    def switches(self, switches: Switches) -> None:
        with self._lock:
            self._service.switches = switches

    @property
    def counts(self) -> Counter[str]:
        """What really happened: requests, sessions_created, messages_stored and others."""
        return self._service.counts

    @property
    def scenarios(self) -> dict[str, Scenario]:
        """All scenarios by name; custom ones hide built-in ones."""
        return self._service.repertoire.scenarios

    def handle(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Answer one request.

        `path` is as in the URL, percent-encoded and without the query; `query` has decoded
        pairs in order; header names may be in any case.
        """
        method = method.upper()
        known = {name.lower(): value for name, value in (headers or {}).items()}
        fault = self.faults.take(method, path)
        if fault is None and dict(query).get("after") in CIRCLE:
            fault = Fault("circle")
        delay = 0.0 if fault is None else fault.commit_delay
        request = Request(method, path, query, known, body, delay)
        with self._lock:
            carried_out = fault is None or fault.commits
            answer = self._api.answer(request) if carried_out else Answer(503)
            if fault is not None:
                after = dict(query).get("after")
                answer = fault.spoil(answer, path, self.clock.time(), self.switches, after)
            self._record(request, answer, fault)
        return answer

    def add_scenario(self, scenario: Scenario, *, default: bool = False) -> None:
        """Offer one more scenario, and let it be the `default` one if asked to."""
        with self._lock:
            self._service.repertoire.add(scenario, default=default)

    def add_session(self, org_id: str, prompt: str, **fields: Any) -> str:
        """Put a session there without a request and return its id.

        `fields` are those that no request can set (``origin``, ``parent_session_id``,
        ``schedule_id``, ``automation_id``, ``user_id``, …) and ``title``, ``tags``, ``repos``,
        ``created_at`` (seconds) and ``scenario`` (a name).
        """
        with self._lock:
            return self._service.add(org_id, prompt, **fields).id

    def truth(self) -> list[dict[str, Any]]:
        """Return every session as it really is, oldest first, with messages and scenario."""
        with self._lock:
            return self._service.truth()

    def reset(self) -> None:
        """Forget sessions, files, counts, log, leaks and faults; scenarios and switches stay."""
        with self._lock:
            self._service.reset()
            self.faults.clear()
            self.log.clear()
            self.leaks.clear()

    def _record(self, request: Request, answer: Answer, fault: Fault | None) -> None:
        headers = {
            name: "***" if is_secret_name(name) else value
            for name, value in request.headers.items()
        }
        entry = LogEntry(
            time=self.clock.time(),
            method=request.method,
            path=request.path,
            query=tuple(request.query),
            headers=headers,
            body=request.body,
            status=None if answer.fault in ("reset", "timeout") else answer.status,
            fault=None if fault is None else fault.kind,
        )
        self.log.append(entry)
        self.counts["requests"] += 1
        if request.path.startswith(SIGNED_FILES) and "authorization" in request.headers:
            self.leaks.append(entry)
        logger.debug("%s %s -> %s", request.method, request.path, entry.status)
