"""What is said in the sessions of runs: read and answered, with their blocks' credentials."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from sim_devin.app import App
from sim_devin.devin.verdict import bare
from sim_devin.engine.document import load_workflow
from sim_devin.engine.references import EnvName, Reference, split
from sim_devin.runs.answers import AnsweredAlready
from sim_devin.runs.services import AppServices
from sim_devin.store.records import Run
from sim_devin.store.step_ledger import StepLedger

SHOWN = 100  # messages of a session that the page gets


class Conversations:
    """The conversations of runs with their sessions. Safe for many threads.

    Args:
        app: makes the calls.
        environment: returns what ``{{NAME}}`` stands for.
    """

    def __init__(self, app: App, environment: Callable[[], Mapping[str, str]]) -> None:
        self._app = app
        self._environment = environment
        self._lock = threading.Lock()

    def messages(
        self, run: Run, document: Mapping[str, Any], block_id: str, session_id: str
    ) -> dict[str, Any]:
        """Return what was said in a session.

        Args:
            run: the run that the session belongs to.
            document: its workflow.
            block_id: the block of it whose credentials are used.
            session_id: id of the session.

        Raises:
            SimDevinError: the call failed.
        """
        return self._app.call(
            "devin_list_session_messages",
            {"sessionId": session_id, "limit": SHOWN},
            credentials=self._credentials(run, document, block_id),
        )

    def say(
        self,
        run: Run,
        document: Mapping[str, Any],
        block_id: str,
        session_id: str,
        message: Any,
        *,
        key: str,
        seen: int | None,
    ) -> dict[str, Any]:
        """Send a message to a session, once for each key, and return the session.

        Args:
            run: the run that the session belongs to.
            document: its workflow.
            block_id: the block of it whose credentials are used.
            session_id: id of the session.
            message: what is said.
            key: tells a repeat from another message of the same text.
            seen: how many messages of users there were when this one was written; None where
                it does not matter whether somebody else was first.

        Raises:
            AnsweredAlready: somebody else has said something meanwhile.
            SimDevinError: it could not be sent, or nobody knows whether it was.
        """
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        ledger = StepLedger(
            self._app.runs.store, run, f"page.say/{name}", self._app.clock, driven=False
        )
        with self._lock:
            # What was claimed before may be one of the messages that are there by now.
            if seen is not None and not ledger.earlier():
                found = self.messages(run, document, block_id, session_id)["messages"]
                if sum(item.get("source") == "user" for item in found) > seen:
                    raise AnsweredAlready(
                        "Someone else has answered this session in the meantime. Your answer was "
                        "not sent.",
                        hint="Read the latest messages before you send another.",
                    )
            return self._app.call(
                "devin_send_message",
                {"sessionId": session_id, "message": message},
                credentials=self._credentials(run, document, block_id),
                reconcile=True,
                ledger=ledger,
                settle=self._app.settle,
            )

    def _credentials(self, run: Run, document: Mapping[str, Any], block_id: str) -> dict[str, str]:
        """Return the connection's fields as a block of a workflow has them."""
        block = load_workflow(document).blocks.get(block_id)
        if block is None:
            return {}
        env = self._environment()
        found: dict[str, str] = {}
        for name in AppServices(self._app).credentials(block.type):
            value = self._app.runs.opened(run.id, block.values.get(name))
            segments = split(value) if isinstance(value, str) else ()
            if segments and not any(isinstance(item, Reference) for item in segments):
                found[name] = "".join(
                    env.get(item.name, "") if isinstance(item, EnvName) else str(item)
                    for item in segments
                )
        return {name: value for name, value in found.items() if value}


def is_about(wait: Any, session_id: str) -> bool:
    """Return whether a wait is for a session."""
    return bare(str(wait.about.get("sessionId", ""))) == bare(session_id)
