"""The runs of the canvas: started on threads of their own, watched through feeds."""

from __future__ import annotations

import logging
import re
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sim_devin.app import App
from sim_devin.app_services import AppServices
from sim_devin.engine.events import BLOCK_FAILED, BLOCK_FINISHED, RUN_STARTED, Event
from sim_devin.engine.references import EnvName, Reference, split
from sim_devin.engine.run import BlockLog, RunResult, iso, unix
from sim_devin.engine.workflow import load_workflow
from sim_devin.errors import CallerError, SimDevinError, UnknownName
from sim_devin.redaction import Redactor
from sim_devin.web.feed import Feed

logger = logging.getLogger("sim_devin")

KEPT = 50  # ended runs whose events are kept
ACTIVE = 16  # runs at the same time
RESULT = "run.result"  # the last event of a feed: how the run ended
LONGEST_TEXT = 20_000  # characters of one text shown in the browser
LONGEST_LIST = 500
PATIENCE = 2.0  # seconds that runs get to notice the server's end

_NODE_MARKS = re.compile(r"(__clone[0-9a-f]*)?(__obranch-\d+)?(₍\d+₎)?$")


@dataclass
class Run:
    """One run and everything the page may know of it.

    Attributes:
        status: ``running``, ``paused``, ``finished``, ``failed`` or ``cancelled``.
        workflow: name of the file it was started from; empty for an unsaved one.
        document: what runs, secrets included; never sent anywhere.
        logs: the log entries of the run's own blocks by their order.
    """

    id: str
    workflow: str
    document: Mapping[str, Any] = field(repr=False)
    redactor: Redactor = field(repr=False)
    started: float = 0.0
    ended: float | None = None
    status: str = "running"
    error: str = ""
    feed: Feed = field(default_factory=Feed, repr=False)
    logs: dict[int, BlockLog] = field(default_factory=dict, repr=False)
    result: RunResult | None = field(default=None, repr=False)
    cancel: threading.Event = field(default_factory=threading.Event, repr=False)
    under_way: threading.Event = field(default_factory=threading.Event, repr=False)
    thread: threading.Thread | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the run as a line of the history."""
        return {
            "id": self.id,
            "workflow": self.workflow,
            "status": self.status,
            "startedAt": iso(self.started),
            "endedAt": None if self.ended is None else iso(self.ended),
            "error": self.error or None,
            "events": len(self.feed),
        }


class Runs:
    """Starts, keeps and stops runs.

    Args:
        app: what runs them.
        secrets: returns the local secrets, name -> value.
        allow_python: let Function blocks run Python in a process of their own.
    """

    def __init__(
        self,
        app: App,
        secrets: Callable[[], Mapping[str, str]],
        *,
        allow_python: bool = False,
    ) -> None:
        self._app = app
        self._secrets = secrets
        self._allow_python = allow_python
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    def all(self) -> list[Run]:
        """Return the runs, the newest first."""
        return list(reversed(self._runs.values()))

    def get(self, run_id: str) -> Run:
        """Return a run.

        Raises:
            UnknownName: there is none of that id.
        """
        try:
            return self._runs[run_id]
        except KeyError:
            raise UnknownName("run", run_id, ()) from None

    def redactor(self, literals: list[str] | None = None) -> Redactor:
        """Return what masks the app's credentials, the local secrets and these values."""
        own = AppServices(self._app).secrets
        return Redactor([*own, *self._secrets().values(), *(literals or ())])

    def start(
        self,
        document: Mapping[str, Any],
        inputs: Any = None,
        *,
        workflow: str = "",
        literals: list[str] | None = None,
        from_block: str | None = None,
        earlier: str | None = None,
        stop_after: str | None = None,
        deadline: float | None = None,
        max_acu: int | None = None,
    ) -> Run:
        """Start a run and return it once it is under way.

        Args:
            document: the workflow.
            inputs: what its start block is given.
            workflow: name of the file it came from.
            literals: secrets that stand in the document.
            from_block: run only this block and what follows, on the outputs of `earlier`.
            earlier: id of a run.
            stop_after: id of a block after which nothing new starts.
            deadline: seconds after which the run is cancelled.
            max_acu: ceiling for the ACU limits of all its sessions together.

        Raises:
            SimDevinError: it cannot be run; nothing was.
        """
        snapshot = None
        if earlier is not None:
            before = self.get(earlier).result
            if before is None:
                raise CallerError("The earlier run has not ended yet.")
            snapshot = before.snapshot
        run = Run(
            id=str(uuid.uuid4()),
            workflow=workflow,
            document=document,
            redactor=self.redactor(literals),
            started=self._app.clock.time(),
        )
        self._drive(
            run,
            lambda: self._app.run(
                document,
                inputs,
                env=self._environment(),
                run_id=run.id,
                from_block=from_block,
                snapshot=snapshot,
                stop_after=stop_after,
                deadline=deadline,
                cancel=run.cancel,
                max_acu=max_acu,
                reconcile=True,
                allow_python=self._allow_python,
                on_event=lambda event: self._record(run, event),
            ),
        )
        return run

    def answer(self, run_id: str, answer: Any, *, context_id: str | None = None) -> Run:
        """Answer a pause of a run and let it go on.

        Raises:
            SimDevinError: the run is not paused, or not at that place.
        """
        run = self.get(run_id)
        with self._lock:
            if run.status != "paused" or run.result is None:
                raise CallerError("This run is not paused.")
            paused = run.result
            run.status, run.ended = "running", None
        run.feed.reopen()
        try:
            self._drive(run, lambda: self._resume(run, paused, answer, context_id))
        except SimDevinError:
            run.status = "paused"
            run.feed.close()
            raise
        return run

    def stop(self, run_id: str) -> None:
        """Ask a run to stop; a paused one is over at once."""
        run = self.get(run_id)
        run.cancel.set()
        with self._lock:
            if run.status == "paused" and (run.thread is None or not run.thread.is_alive()):
                run.status = "cancelled"

    def call(
        self, run_id: str, block_id: str, tool_id: str, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Call a tool with the credentials that a block of a run uses.

        Raises:
            SimDevinError: the call failed.
        """
        run = self.get(run_id)
        output = self._app.call(
            tool_id, params, credentials=self._credentials(run, block_id), reconcile=True
        )
        return shortened(run.redactor.data(output))  # type: ignore[no-any-return]

    def block(self, run_id: str, order: int) -> dict[str, Any]:
        """Return the log entry of a block with its input and output, masked.

        Raises:
            UnknownName: there is no such entry.
        """
        run = self.get(run_id)
        if order not in run.logs:
            raise UnknownName("log entry", str(order), ())
        return shortened(run.redactor.data(run.logs[order].to_json()))  # type: ignore[no-any-return]

    def close(self) -> None:
        """Stop everything, giving calls in flight a moment to end."""
        for run in self._runs.values():
            run.cancel.set()
        for run in self._runs.values():
            if run.thread is not None:
                run.thread.join(PATIENCE)
            run.feed.close()

    # -- inside ----------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        return {**self._app.environment(), **self._secrets()}

    def _drive(self, run: Run, begin: Callable[[], RunResult]) -> None:
        """Run `begin` on a thread; return once the first event came.

        Raises:
            SimDevinError: it ended before that, and with what.
        """
        run.under_way.clear()
        refusal: list[BaseException] = []
        before = len(run.feed)

        def work() -> None:
            try:
                result = begin()
                self._ended(run, self._sit_out(run, result))
            except BaseException as error:
                if len(run.feed) == before:
                    refusal.append(error)
                else:
                    self._broke(run, error)
            finally:
                run.under_way.set()

        with self._lock:
            active = sum(1 for other in self._runs.values() if other.status == "running")
            if run.id not in self._runs and active >= ACTIVE:
                raise CallerError(f"{ACTIVE} runs are under way.", hint="Stop one first.")
            self._runs[run.id] = run
            self._forget_oldest()
        run.thread = threading.Thread(target=work, name=f"run {run.id}", daemon=True)
        run.thread.start()
        run.under_way.wait()
        if refusal:
            if before == 0:
                self._runs.pop(run.id, None)
            raise refusal[0]

    def _resume(
        self, run: Run, paused: RunResult, answer: Any = None, context_id: str | None = None
    ) -> RunResult:
        return self._app.resume(
            paused,
            answer,
            context_id=context_id,
            cancel=run.cancel,
            reconcile=True,
            allow_python=self._allow_python,
            on_event=lambda event: self._record(run, event),
        )

    def _sit_out(self, run: Run, result: RunResult) -> RunResult:
        """Wait where a run only waits for a moment to come, and let it go on."""
        clock = self._app.clock
        while result.status == "paused" and all(
            point.get("pauseKind") == "time" for point in result.pause_points
        ):
            due = min(unix(point["resumeAt"]) for point in result.pause_points)
            if clock.wait(run.cancel, max(0.0, due - clock.time())):
                result.success, result.status = False, "cancelled"
                return result
            result = self._resume(run, result)
        return result

    def _record(self, run: Run, event: Event) -> None:
        body = event.to_json()
        if event.log is not None:
            body["block"] = original_id(event.log.block_id)
            if event.run_id == run.id:
                run.logs[event.log.execution_order] = event.log
                if event.kind in (BLOCK_FINISHED, BLOCK_FAILED):
                    body |= _highlights(event.log.output)
        if event.run_id != run.id:
            body["child"] = True
        run.feed.append(shortened(run.redactor.data(body)))
        if event.kind == RUN_STARTED:
            run.under_way.set()

    def _ended(self, run: Run, result: RunResult) -> None:
        run.result = result
        run.ended = self._app.clock.time()
        body = result.to_json()
        body.pop("logs", None)
        body["variables"] = result.variables
        masked = shortened(run.redactor.data(body))
        run.error = masked.get("error") or ""
        run.status = result.status or ("finished" if result.success else "failed")
        run.feed.append({"event": RESULT, "runId": run.id, "status": run.status, "result": masked})
        run.feed.close()

    def _broke(self, run: Run, error: BaseException) -> None:
        """Record an error that no block is to blame for."""
        if not isinstance(error, SimDevinError):
            logger.error("run %s broke", run.id, exc_info=error)
        run.ended = self._app.clock.time()
        run.status = "failed"
        run.error = run.redactor.text(str(error) or type(error).__name__)
        result = {"success": False, "error": run.error, "output": None}
        run.feed.append({"event": RESULT, "runId": run.id, "status": "failed", "result": result})
        run.feed.close()

    def _forget_oldest(self) -> None:
        ended = [run for run in self._runs.values() if run.status not in ("running", "paused")]
        for run in ended[: max(0, len(self._runs) - KEPT)]:
            del self._runs[run.id]

    def _credentials(self, run: Run, block_id: str) -> dict[str, str]:
        """Return the connection's fields as a block of the run has them."""
        block = load_workflow(run.document).blocks.get(block_id)
        if block is None:
            return {}
        env = self._environment()
        found: dict[str, str] = {}
        for name in AppServices(self._app).credentials(block.type):
            value = block.values.get(name)
            segments = split(value) if isinstance(value, str) else ()
            if segments and not any(isinstance(item, Reference) for item in segments):
                found[name] = "".join(
                    env.get(item.name, "") if isinstance(item, EnvName) else str(item)
                    for item in segments
                )
        return {name: value for name, value in found.items() if value}


def original_id(node_id: str) -> str:
    """Return the id of the block that a node of a run stands for.

    Branches of parallels and clones of nested containers carry marks at the end.
    """
    while True:
        shorter = _NODE_MARKS.sub("", node_id)
        if shorter == node_id:
            return node_id
        node_id = shorter


def _highlights(output: Any) -> dict[str, Any]:
    """Return what of an output is worth a place on the card: the session, its cost, its work."""
    if not isinstance(output, Mapping):
        return {}
    wanted = ("sessionId", "url", "acusConsumed", "pullRequests", "structuredOutput", "outcome")
    found = {name: output[name] for name in wanted if output.get(name) not in (None, [], {})}
    return {"highlights": found} if found else {}


def shortened(value: Any) -> Any:
    """Return JSON data with very long texts and lists cut, saying so."""
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:LONGEST_TEXT]}… ({len(value) - LONGEST_TEXT} more characters)"
    if isinstance(value, Mapping):
        return {str(key): shortened(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        cut = [shortened(item) for item in value[:LONGEST_LIST]]
        if len(value) > LONGEST_LIST:
            cut.append(f"… ({len(value) - LONGEST_LIST} more items)")
        return cut
    return value
