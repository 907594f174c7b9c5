"""Why a durable run waits, as the data of an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.calls.jobs.verdict import Verdict, classify
from sim_devin.calls.jobs.wait import Progress
from sim_devin.engine.events import BLOCK_WAITING, Event, Listener
from sim_devin.engine.run import BlockLog
from sim_devin.plugins.registry import Registry
from sim_devin.store.records import Wait
from sim_devin.store.sql_store import SqlStore


def why(wait: Wait, registry: Registry, now: float) -> dict[str, Any]:
    """Return the data of a ``block.waiting`` event: ``reason``, and ``progress`` of a job."""
    if wait.kind in ("session", "question", "sending"):
        session = (wait.seen or {}).get("session", {})
        job = registry.job(wait.job)
        verdict = classify(job, session, schema=wait.about.get("schema"))
        if wait.kind == "question" and wait.point.get("note"):
            verdict = Verdict(verdict.state, str(wait.point["note"]))
        elif not session:
            verdict = Verdict("in_flight", f"for the {job.noun}")
        elif wait.kind == "sending":
            verdict = Verdict("in_flight", "the answer is being sent")
        next_look = max(0.0, wait.next_look - now) if wait.kind == "session" else 0.0
        session_id = str(wait.about.get("sessionId", ""))
        progress = Progress(session_id, verdict, session, now - wait.created, next_look, job)
        return {"reason": "session", "progress": progress.to_json()}
    if wait.kind == "uncertain":
        return {
            "reason": str(
                wait.point.get("message") or "it is uncertain whether the request was carried out"
            )
        }
    if wait.kind == "turn":
        return {"reason": f"in the queue: {wait.point['message']}"}
    if wait.kind == "service":
        return {"reason": f"for the service: {wait.point['message']}"}
    return {"reason": wait.kind}


class WaitReporter:
    """Tells a listener of the looks at what a followed run waits for."""

    def __init__(self, store: SqlStore, registry: Registry, listener: Listener | None) -> None:
        self._registry = registry
        self.logs: Mapping[str, BlockLog] = {}
        self._store = store
        self._listener = listener
        self._told: dict[str, tuple[str, float]] = {}

    def tell(self, run_id: str, now: float) -> None:
        """Tell what is new about the waits of a run that this process suspended."""
        if self._listener is None:
            return
        for wait in self._store.waits(run_id, only_open=True):
            log, news = self.logs.get(wait.step), (wait.kind, wait.next_look)
            if log is not None and self._told.get(wait.step) != news:
                self._told[wait.step] = news
                self._listener(
                    Event(BLOCK_WAITING, run_id, now, log, why(wait, self._registry, now))
                )
