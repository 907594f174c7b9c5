"""What is said in the sessions of runs: read and answered, with their blocks' credentials."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from sim_devin.app import App
from sim_devin.calls.jobs.turn import is_users
from sim_devin.engine.document import load_workflow
from sim_devin.engine.references import EnvName, Reference, split
from sim_devin.errors import CallerError
from sim_devin.runs.answers import AnsweredAlready
from sim_devin.runs.services import AppServices
from sim_devin.specs.jobs import JobSpec
from sim_devin.specs.models import ToolSpec
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
        spec = (job := self._job_of(run, document, block_id, session_id)).messages
        if spec is None:
            return {"messages": []}
        answer = self._app.call(
            spec.tool,
            {spec.id: session_id, **spec.with_, **_at_most(self._app.registry.tool(spec.tool))},
            credentials=self._credentials(run, document, block_id),
        )
        shown = [
            {
                **item,
                "source": "user" if is_users(job, item) else item.get(spec.author),
                "message": item.get(spec.text),
            }
            for item in answer[spec.items]
        ]
        return {**answer, "messages": shown}

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
                it does not matter whether someone else was first.

        Raises:
            AnsweredAlready: someone else has said something meanwhile.
            SimDevinError: it could not be sent, or it is unknown whether it was.
        """
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        job = self._job_of(run, document, block_id, session_id)
        if job.answer is None:
            raise CallerError(f"No tool says something to a {job.title}.", hint="Say it there.")
        ledger = StepLedger(
            self._app.runs.store, run, f"page.say/{name}", self._app.clock, driven=False, job=job
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
                job.answer.tool,
                {job.answer.id: session_id, job.answer.text: message},
                credentials=self._credentials(run, document, block_id),
                reconcile=True,
                ledger=ledger,
                settle=self._app.settle,
            )

    def _job_of(
        self, run: Run, document: Mapping[str, Any], block_id: str, session_id: str
    ) -> JobSpec:
        """Return the kind of a job: that of its block's tools, else as the run has recorded it."""
        registry = self._app.registry
        block = load_workflow(document).blocks.get(block_id)
        spec = registry.blocks.get(block.type) if block is not None else None
        for tool in spec.operations.values() if spec is not None else ():
            job = registry.job_of(tool)
            if job is not None:
                return job
        for session in self._app.runs.store.sessions_of(run.id):
            job = registry.job(session.job)
            if job.same(session.session_id, session_id):
                return job
        return registry.job()

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


def _at_most(tool: ToolSpec) -> dict[str, int]:
    """Return the parameter of a list that says how many are wanted, if it has one."""
    return {"limit": SHOWN} if "limit" in tool.properties else {}
