"""The sessions that a run has created: how each is by now, and ended if someone wants it.

Stopping a run ends none of them: they continue there, and what they do may be billed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from sim_devin.app import App
from sim_devin.calls.intents import Intent
from sim_devin.calls.jobs.looking import single
from sim_devin.calls.jobs.verdict import BLOCKED, classify
from sim_devin.errors import CallerError, SimDevinError, UnknownName
from sim_devin.runs.places import place_of
from sim_devin.runs.session_watch import note
from sim_devin.specs.jobs import JobSpec
from sim_devin.store.records import SessionRecord
from sim_devin.store.sealing import read_json
from sim_devin.store.step_ledger import StepLedger
from sim_devin.web import verdicts

_MAY_WORK = ("in_flight", "asleep", *BLOCKED)


class RunSessions:
    """Looks at the sessions of runs, and ends them. Safe for many threads.

    Args:
        app: makes the calls.
        shown: returns data as the page may have it.
    """

    def __init__(self, app: App, shown: Callable[[Any], Any]) -> None:
        self._app = app
        self._shown = shown
        self._lock = threading.Lock()

    def all(self, run_id: str) -> list[dict[str, Any]]:
        """Return the sessions of a run as JSON data, with what the service says of each now.

        ``goesOn`` says whether it may still work, and so cost something. A session that
        cannot be looked at may.

        Raises:
            UnknownName: there is no run of that id.
        """
        run = self._app.runs.store.run(run_id)
        return [self._look(session) for session in self._app.runs.store.sessions_of(run.id)]

    def end(self, run_id: str, session_id: str) -> dict[str, Any]:
        """End a session of a run for good, once however often it is asked for; return how it is.

        Raises:
            UnknownName: there is no such run, or it has created no such session.
            SimDevinError: the service did not end it.
        """
        store = self._app.runs.store
        run = store.run(run_id)
        recorded = [one for one in store.sessions_of(run.id) if one.session_id is not None]
        mine = [one for one in recorded if self._kind(one).same(one.session_id, session_id)]
        if not mine:
            known = [self._kind(one).bare(one.session_id) for one in recorded]
            raise UnknownName("session", session_id, known)
        session, job = mine[-1], self._kind(mine[-1])
        if job.end is None:
            raise CallerError(f"No tool ends a {job.title}.", hint="End it there.")
        with self._lock:  # a second one sees what the first has done
            ledger = StepLedger(
                store, run, f"page.end/{job.bare(session_id)}", self._app.clock, driven=False
            )
            intent = Intent(ledger.tag("0"), job.end.tool, self._app.clock.time())
            if not ledger.claim(intent) and (intent.state == "done" or self._is_over(session)):
                ledger.settle(intent.tag, "done")
                return self._look(session)
            self._caller(session)(job.end.tool, {job.end.id: session.session_id})
            ledger.settle(intent.tag, "done")
        return self._look(session)

    # -- inside ----------------------------------------------------------------------------------

    def _kind(self, session: SessionRecord) -> JobSpec:
        return self._app.registry.job(session.job)

    def _caller(self, session: SessionRecord) -> Callable[[str, Mapping[str, Any]], dict[str, Any]]:
        """Return what calls tools with the credentials of a session.

        Raises:
            CallerError: it is another organization's.
        """
        closed, job = session.credentials, self._kind(session)
        known = self._app.runs.opened(session.run_id, read_json(closed)) if closed else {}
        if place_of(self._app, job, known) != session.place:
            raise CallerError(
                f"The {job.noun} belongs to another organization than this server uses.",
                hint="Use the server that started the run, or end it there.",
            )
        return lambda tool_id, params: self._app.call(tool_id, {**params, **known})

    def _look(self, session: SessionRecord) -> dict[str, Any]:
        body: dict[str, Any] = {"sessionId": session.session_id, "goesOn": True}
        job = self._kind(session)
        if session.session_id is None:
            told = f"It is unknown whether this {job.noun} was created: look for it there."
            return {**body, "error": told, "goesOn": session.working}
        try:
            found = single(job, session.session_id, self._caller(session))
        except SimDevinError as error:
            return {**body, "error": self._shown(error.message)}
        if found is None:
            told = f"The service does not know this {job.noun}."
            return {**body, "error": told, "goesOn": False}
        note(self._app.runs.store, job, found, self._app.clock.time())
        verdict = classify(job, found)
        fields = {"title": "title", "url": "url", "acusConsumed": "cost"}
        shown: dict[str, Any] = self._shown(
            {name: job.field(found, field) for name, field in fields.items()}
        )
        return {
            **body,
            **shown,
            "verdict": verdicts.view(verdict),
            "goesOn": not job.is_final(found) and verdict.state in _MAY_WORK,
        }

    def _is_over(self, session: SessionRecord) -> bool:
        job = self._kind(session)
        found = single(job, str(session.session_id), self._caller(session))
        return found is None or job.is_final(found)
