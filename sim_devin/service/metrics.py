"""A worker's metrics, in the text format of Prometheus (extra ``metrics``)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import TYPE_CHECKING, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sim_devin.engine import events
from sim_devin.store.records import ENDED, RunState

if TYPE_CHECKING:
    from sim_devin.app import App
    from sim_devin.calls.request import Request
    from sim_devin.calls.response import Response
    from sim_devin.calls.transport import Transport
    from sim_devin.engine.events import Event

QUICK = 0.1  # seconds that counting may take whenever the metrics are read
SHARE = 0.01  # of the time that counting takes up at most where it is slower


class Metrics(Collector):
    """What a worker did since it was started, and how the runs of its store stand now.

    Counts what `hear` is told and what goes through a `CountedTransport`; asks the store when
    the metrics are read. Runs that have ended may be very many: where counting them takes long,
    they are counted less often.

    Args:
        app: has the store.
        timer: measures how long counting takes, in seconds.
    """

    def __init__(self, app: App, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._timer = timer
        self._ended: Mapping[str, int] = {}
        self._count_again = float("-inf")
        self._counting = Lock()
        self._started = app.clock.monotonic()
        self._drives: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._lock = Lock()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def hear(self, event: Event) -> None:
        """Count the ends of drives; a listener."""
        outcome = events.RUN_ENDS.get(event.kind)
        if outcome is not None:
            with self._lock:
                self._drives[outcome] += 1

    def count_call(self, outcome: str) -> None:
        """Count one HTTP request to the service."""
        with self._lock:
            self._calls[outcome] += 1

    def _runs(self) -> Mapping[str, int]:
        """Return how many runs are in each state."""
        count, states = self._app.runs.store.count, get_args(RunState)
        with self._counting:  # of several readers at a time one counts
            began = self._timer()
            if began >= self._count_again:
                self._ended = {state: count((state,)) for state in states if state in ENDED}
                ended = self._timer()
                took = ended - began
                self._count_again = ended + (took / SHARE if took > QUICK else 0.0)
            ended_runs = self._ended
        return {state: ended_runs[state] if state in ENDED else count((state,)) for state in states}

    def text(self) -> bytes:
        """Return the metrics in text format 0.0.4.

        Raises:
            StoreError: the store cannot be read.
        """
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Return nothing: registering must not ask the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        with self._lock:
            drives, calls = dict(self._drives), dict(self._calls)
        runs = GaugeMetricFamily("sim_devin_runs", "Runs in the store.", labels=["state"])
        for state, number in self._runs().items():
            runs.add_metric([state], number)
        yield runs
        driven = CounterMetricFamily(
            "sim_devin_drives", "Times this worker drove a run.", labels=["outcome"]
        )
        for outcome in events.RUN_ENDS.values():
            driven.add_metric([outcome], drives.get(outcome, 0))
        yield driven
        sent = CounterMetricFamily(
            "sim_devin_calls", "HTTP requests of this worker to the service.", labels=["outcome"]
        )
        for outcome, number in sorted(calls.items()):
            sent.add_metric([outcome], number)
        yield sent
        up = self._app.clock.monotonic() - self._started
        yield GaugeMetricFamily(
            "sim_devin_uptime_seconds", "Time since this worker started.", value=up
        )


class CountedTransport:
    """A transport that counts what it carries, by HTTP status or kind of failure."""

    def __init__(self, inner: Transport, metrics: Metrics) -> None:
        self._inner = inner
        self._metrics = metrics

    def send(self, request: Request, *, timeout: float) -> Response:
        """Return the answer to `request`, see `Transport.send`."""
        try:
            response = self._inner.send(request, timeout=timeout)
        except Exception as error:
            self._metrics.count_call(type(error).__name__)
            raise
        self._metrics.count_call(str(response.status))
        return response
