"""OpenTelemetry spans for runs, blocks and calls (extra ``otel``), when ``SIM_DEVIN_OTEL=1``.

One trace a run: the run, its blocks below it, and their HTTP calls below those, one span for
each try. Only the API of OpenTelemetry is used; where spans go is for the program, or for
``opentelemetry-instrument``, to set up. Names of HTTP attributes are those of the semantic
conventions for HTTP client spans. No key, prompt, input or output is ever an attribute.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sim_devin.calls.invoke import Prepared, RetryingSender
from sim_devin.engine import events
from sim_devin.errors import MissingDependency
from sim_devin.plugins.registry import EMPTY, Registry

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from sim_devin.calls.request import Request
    from sim_devin.calls.response import Response
    from sim_devin.calls.transport import Transport
    from sim_devin.clock import Clock
    from sim_devin.engine.events import Event, Listener
    from sim_devin.engine.run import BlockLog
    from sim_devin.specs.models import ToolSpec

SCOPE = "sim_devin"


class Telemetry:
    """Makes spans of what it is shown, or nothing at all without a tracer."""

    def __init__(self, tracer: Tracer | None = None, registry: Registry = EMPTY) -> None:
        self._tracer = tracer
        self._registry = registry

    def listener(self, other: Listener | None) -> Listener | None:
        """Return a listener that makes spans and tells `other`, too; `other` itself when off."""
        if self._tracer is None:
            return other
        spans = RunSpans(self._tracer, self._registry)

        def listen(event: Event) -> None:
            try:
                spans(event)
            finally:
                if other is not None:
                    other(event)

        return listen

    def sender(self, sender: RetryingSender) -> RetryingSender:
        """Return a sender that makes a span of every request; `sender` itself when off."""
        if self._tracer is None:
            return sender
        return TracedSender(sender.transport, sender.clock, sender.policy, tracer=self._tracer)


def open_telemetry(wanted: bool, registry: Registry = EMPTY) -> Telemetry:
    """Return what makes spans with the process's tracer provider, or does nothing.

    `registry` knows the kinds of jobs, whose ids and costs the spans of blocks tell.

    Raises:
        MissingDependency: it is `wanted` and the extra ``otel`` is not installed.
    """
    if not wanted:
        return Telemetry()
    try:
        from opentelemetry import trace
    except ImportError:
        raise MissingDependency("SIM_DEVIN_OTEL=1", "otel") from None
    return Telemetry(trace.get_tracer(SCOPE), registry)


class RunSpans:
    """A listener that makes a span of each run and, below it, of each block.

    The engine tells that a block starts on the thread that hands it to a worker, and the
    worker gets that thread's context; so the block's span is made current there, and
    whatever the block calls finds itself below it.
    """

    def __init__(self, tracer: Tracer, registry: Registry = EMPTY) -> None:
        self._tracer = tracer
        self._registry = registry
        self._runs: dict[str, Span] = {}
        self._blocks: dict[int, tuple[str, BlockLog, Span]] = {}
        self._outside: dict[str, Context] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Take up one event."""
        with self._lock:
            if event.log is None:
                self._hear_of_run(event)
            else:
                self._hear_of_block(event, event.log)

    def _hear_of_run(self, event: Event) -> None:
        if event.kind == events.RUN_STARTED:
            span = self._run(event)
            span.set_attribute("sim_devin.workflow.name", str((event.data or {})["workflow"]))
        elif event.kind in events.RUN_ENDS:
            self._end_run(event)

    def _end_run(self, event: Event) -> None:
        from opentelemetry.context import attach

        span = self._run(event)
        open_blocks = [key for key, item in self._blocks.items() if item[0] == event.run_id]
        for key in open_blocks:
            _, log, block = self._blocks.pop(key)
            self._finish(block, log, "waiting" if log.ended else "unfinished", event.time)
        span.set_attribute("sim_devin.outcome", events.RUN_ENDS[event.kind])
        if event.kind == events.RUN_FAILED:
            _fail(span, str((event.data or {}).get("error") or "The run failed."))
        span.end(_nanoseconds(event.time))
        del self._runs[event.run_id]
        outside = self._outside.pop(event.run_id, None)
        if outside is not None:
            attach(outside)

    def _hear_of_block(self, event: Event, log: BlockLog) -> None:
        known = self._blocks.get(id(log))
        if known is None and event.kind == events.BLOCK_WAITING:
            return  # told of a block whose run is suspended: its span has ended
        if known is None:
            known = event.run_id, log, self._block(event, log)
            self._blocks[id(log)] = known
        if event.kind in (events.BLOCK_FINISHED, events.BLOCK_FAILED):
            del self._blocks[id(log)]
            outcome = "finished" if event.kind == events.BLOCK_FINISHED else "failed"
            self._finish(known[2], log, outcome, event.time)

    def _finish(self, span: Span, log: BlockLog, outcome: str, at: float) -> None:
        output = log.raw_output or {}
        job = self._registry.job_seen(output)
        if job is not None:
            span.set_attribute("sim_devin.session.id", log.redactor.data(job.id_of(output)))
            cost = job.cost_of(output)
            if cost is not None:
                span.set_attribute("sim_devin.acus", cost)
        span.set_attribute("sim_devin.outcome", outcome)
        if log.tries > 1:
            span.set_attribute("sim_devin.block.tries", log.tries)
        if log.error is not None:
            _fail(span, log.redactor.text(log.error))
        span.end(_nanoseconds(at if log.ended is None else log.ended))

    def _run(self, event: Event) -> Span:
        """Return the span of a run; one that is taken up again may come without its start."""
        from opentelemetry.context import get_current
        from opentelemetry.trace import set_span_in_context

        span = self._runs.get(event.run_id)
        if span is None:
            above = [key for key in self._runs if event.run_id.startswith(f"{key}.")]
            if above:  # a child run, which is called after the run that started it
                context = set_span_in_context(self._runs[max(above, key=len)])
            else:
                context = self._outside[event.run_id] = get_current()
            span = self._runs[event.run_id] = self._tracer.start_span(
                "run",
                context,
                attributes={"sim_devin.run.id": event.run_id},
                start_time=_nanoseconds(event.time),
            )
        return span

    def _block(self, event: Event, log: BlockLog) -> Span:
        from opentelemetry.context import attach
        from opentelemetry.trace import set_span_in_context

        attributes = {
            "sim_devin.run.id": event.run_id,
            "sim_devin.block.id": log.block_id,
            "sim_devin.block.name": log.block_name,
            "sim_devin.block.type": log.block_type,
        }
        if log.iteration_index is not None:
            attributes["sim_devin.block.iteration"] = str(log.iteration_index)
        span = self._tracer.start_span(
            f"block {log.block_type}",
            set_span_in_context(self._run(event)),
            attributes=attributes,
            start_time=_nanoseconds(log.started),
        )
        if event.run_id in self._outside:  # a child run is told of on its parent's thread
            attach(set_span_in_context(span))
        return span


def _fail(span: Span, text: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_status(Status(StatusCode.ERROR, text))


@dataclass(frozen=True)
class TracedSender(RetryingSender):
    """A sender that makes a span of every try of a call."""

    tracer: Tracer = field(kw_only=True)

    def call(self, prepared: Prepared, **options: Any) -> dict[str, Any]:
        """Carry out a prepared HTTP call, see `Sender.call`."""
        traced = TracedTransport(self.transport, self.clock, self.tracer, prepared.spec)
        return RetryingSender(traced, self.clock, self.policy).call(prepared, **options)


class TracedTransport:
    """A transport for one call, which makes a span of each of its tries."""

    def __init__(self, inner: Transport, clock: Clock, tracer: Tracer, spec: ToolSpec) -> None:
        self._inner = inner
        self._clock = clock
        self._tracer = tracer
        self._spec = spec
        self._sent = 0

    def send(self, request: Request, *, timeout: float) -> Response:
        """Return the answer to `request`, see `Transport.send`."""
        from opentelemetry.trace import SpanKind

        span = self._tracer.start_span(
            f"{request.method} {self._template}".rstrip(),
            kind=SpanKind.CLIENT,
            attributes=self._attributes(request),
            start_time=_nanoseconds(self._clock.time()),
        )
        self._sent += 1
        try:
            response = self._inner.send(request, timeout=timeout)
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)
            _fail(span, type(error).__name__)  # its text may quote what was sent
            raise
        else:
            span.set_attribute("http.response.status_code", response.status)
            if not response.ok:
                span.set_attribute("error.type", str(response.status))
                _fail(span, f"HTTP {response.status}")
            return response
        finally:
            span.end(_nanoseconds(self._clock.time()))

    @property
    def _template(self) -> str:
        return self._spec.request.path if self._spec.request is not None else ""

    def _attributes(self, request: Request) -> dict[str, str | int]:
        address = urlsplit(request.url)
        attributes: dict[str, str | int] = {
            "sim_devin.tool.id": self._spec.id,
            "http.request.method": request.method,
            "url.template": self._template,
            "server.address": address.hostname or "",
        }
        port = address.port or {"https": 443, "http": 80}.get(address.scheme)
        if port is not None:
            attributes["server.port"] = port
        if self._sent:
            attributes["http.request.resend_count"] = self._sent
        return attributes


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
