"""The sessions that a run has created: how each is by now, and ended if somebody wants it.

Stopping a run ends none of them: they go on at Devin, and what they do may be billed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from sim_devin.app import App
from sim_devin.calls.intents import Intent
from sim_devin.devin.verdict import bare, classify
from sim_devin.errors import CallerError, NotFound, SimDevinError, UnknownName
from sim_devin.runs.places import place_of
from sim_devin.runs.session_watch import note
from sim_devin.store.records import Session
from sim_devin.store.sealing import read_json
from sim_devin.store.step_ledger import StepLedger
from sim_devin.web import verdicts

END = "devin_terminate_session"
_STOPPED = ("exit", "error")  # statuses from which no session comes back


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
        mine = {bare(str(item.session_id)): item for item in store.sessions_of(run.id)}
        session = mine.get(bare(session_id))
        if session is None or session.session_id is None:
            raise UnknownName("session", session_id, list(mine))
        with self._lock:  # a second one sees what the first has done
            ledger = StepLedger(
                store, run, f"page.end/{bare(session_id)}", self._app.clock, driven=False
            )
            intent = Intent(ledger.tag("0"), END, self._app.clock.time())
            if not ledger.claim(intent) and (intent.state == "done" or self._is_over(session)):
                ledger.settle(intent.tag, "done")
                return self._look(session)
            self._call(END, session)
            ledger.settle(intent.tag, "done")
        return self._look(session)

    # -- inside ----------------------------------------------------------------------------------

    def _call(self, tool_id: str, session: Session) -> dict[str, Any]:
        closed = session.credentials
        known = self._app.runs.opened(session.run_id, read_json(closed)) if closed else {}
        if place_of(self._app, known) != session.place:
            raise CallerError(
                "The session belongs to another organization than this server uses.",
                hint="Use the server that started the run, or end it in Devin.",
            )
        return self._app.call(tool_id, {"sessionId": session.session_id, **known})

    def _look(self, session: Session) -> dict[str, Any]:
        body: dict[str, Any] = {"sessionId": session.session_id, "goesOn": True}
        if session.session_id is None:
            told = "It is unknown whether this session was created: look for it in Devin."
            return {**body, "error": told, "goesOn": session.working}
        try:
            found: Mapping[str, Any] = self._call("devin_get_session", session)
        except NotFound:
            return {**body, "error": "The service does not know this session.", "goesOn": False}
        except SimDevinError as error:
            return {**body, "error": self._shown(error.message)}
        note(self._app.runs.store, found, self._app.clock.time())
        verdict = classify(found)
        shown: dict[str, Any] = self._shown(
            {name: found.get(name) for name in ("title", "url", "acusConsumed")}
        )
        return {
            **body,
            **shown,
            "verdict": verdicts.view(verdict),
            "goesOn": found.get("status") not in _STOPPED
            and verdict.state in ("in_flight", "blocked_on_user", "blocked_on_approval", "asleep"),
        }

    def _is_over(self, session: Session) -> bool:
        return self._call("devin_get_session", session).get("status") in _STOPPED
