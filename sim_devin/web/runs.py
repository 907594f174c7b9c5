"""The runs of the canvas: durable runs of the app's store, driven here as by any worker.

What the command line starts shows here, and the other way round. A run that waits outlives
the server.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sim_devin.app import App
from sim_devin.engine.document import load_workflow
from sim_devin.engine.events import Event
from sim_devin.errors import CallerError, SimDevinError, UnknownName
from sim_devin.redaction import Redactor
from sim_devin.runs.answers import AnsweredAlready
from sim_devin.runs.fork import origins_of
from sim_devin.runs.overtime import is_about
from sim_devin.runs.services import AppServices
from sim_devin.runs.starting import RunRequest
from sim_devin.store import records
from sim_devin.web import history
from sim_devin.web.conversations import Conversations
from sim_devin.web.environment import Environment
from sim_devin.web.run_feed import RunFeed
from sim_devin.web.run_files import RunFiles
from sim_devin.web.run_view import shortened
from sim_devin.web.sessions import RunSessions

logger = logging.getLogger("sim_devin")

KEPT = 50  # runs whose events are kept in memory; those of others are made again when asked for
LISTED = 100
IDLE = 1.0  # seconds between looks for what other processes do
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between looks while something is waited for
AFTER_FAILURE = 5.0  # seconds until a store that failed is tried again
PATIENCE = 2.0  # seconds that runs get to notice the server's end


class RunBoard:
    """Starts, shows, answers and stops runs, and drives those of the store that can continue.

    Args:
        app: what runs them. Its environment gets the local secrets, so that a run that was
            started before the server was finds them by name.
        secrets: returns the local secrets, name -> value.
        folder: where the workflow files of the page are.
        allow_python: let Function blocks run Python in a process of their own.

    Attributes:
        files: which of those files a run belongs to.
        sessions: what runs have created at Devin.
    """

    def __init__(
        self,
        app: App,
        secrets: Callable[[], Mapping[str, str]],
        folder: Path,
        *,
        allow_python: bool = False,
    ) -> None:
        app.settings = replace(app.settings, env=Environment(app.settings.env, secrets))
        self._app = app
        self._secrets = secrets
        self._allow_python = allow_python
        self._feeds: dict[str, RunFeed] = {}
        self.files = RunFiles(app, folder)
        self._conversations = Conversations(app, self._environment)
        self.sessions = RunSessions(app, self._seen)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._news = threading.Event()
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        """Begin to drive what can continue, and to tell what happens."""
        for act in (self._drive, self._watch):
            thread = threading.Thread(target=act, name=f"canvas {act.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Give the runs back, so that another process or the next server drives them on."""
        self._stop.set()
        self._news.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        for feed in list(self._feeds.values()):
            feed.feed.close()

    def all(self, *, before: str | None = None) -> list[dict[str, Any]]:
        """Return a page of the runs as lines of the history, the newest first.

        `before` is the id of a run; only older ones are returned.

        Raises:
            UnknownName: there is no run `before`.
        """
        return self._lines(self._app.runs.store.runs(limit=LISTED, before=before))

    def get(self, run_id: str) -> dict[str, Any]:
        """Return a run as a line of the history.

        Raises:
            UnknownName: there is none of that id.
        """
        (line,) = self._lines([self._app.runs.store.listed(run_id)])
        return line

    def feed(self, run_id: str) -> RunFeed:
        """Return a run's feed, with what the store knows by now.

        Raises:
            UnknownName: there is no run of that id.
        """
        found = self._feeds.get(run_id)
        if found is None:
            run = self._app.runs.store.listed(run_id)
            with self._lock:
                self._forget_oldest()
                # Counted from the present, so that no reader takes an event for an older one.
                made = RunFeed(
                    run.id,
                    self._app.runs.store,
                    self.redactor(),
                    start=_milliseconds(),
                    registry=self._app.registry,
                )
                found = self._feeds.setdefault(run.id, made)
        found.look(self._app.clock.time())
        return found

    def redactor(self, literals: list[str] | None = None) -> Redactor:
        """Return what masks what the app knows to be secret, the local secrets and these values."""
        own = self._app.secrets(self._app.environment()).values()
        return Redactor([*own, *self._secrets().values(), *(literals or ())])

    def start(
        self,
        request: RunRequest,
        *,
        file: str = "",
        literals: list[str] | None = None,
        earlier: str | None = None,
        key: str | None = None,
    ) -> dict[str, Any]:
        """Record a run, to be driven at once, and return it as a line of the history.

        Args:
            request: what is asked for; its environment, and what runs of the page have in
                common, are added to it.
            file: name of the file that its workflow came from.
            literals: secrets that stand in the document.
            earlier: id of a run on whose outputs one from a block continues.
            key: of this start; the run that was started with it before is returned, if any.

        Raises:
            SimDevinError: it cannot be run; nothing was.
        """
        runs = self._app.runs
        run_id = str(uuid.uuid4() if key is None else uuid.uuid5(uuid.NAMESPACE_OID, key))
        with suppress(UnknownName):
            return self.get(run_id)
        request = replace(
            request,
            run_id=run_id,
            env=self._environment(),
            snapshot=None if earlier is None else self._left_behind(earlier),
            allow_python=self._allow_python,
            on_question="hold",
            secret_names=self._secrets(),
        )
        # Before the run is recorded, since it may be in progress the moment it is.
        masks = self.redactor(literals)
        document, registry = load_workflow(request.workflow).document, self._app.registry
        feed = RunFeed(run_id, runs.store, masks, document=document, registry=registry)
        with self._lock:
            self._forget_oldest()
            self._feeds[run_id] = feed
        try:
            runs.start(request)
        except BaseException as error:
            del self._feeds[run_id]
            if key is not None and isinstance(error, CallerError):
                with suppress(UnknownName):  # else another server was first with this start
                    return self.get(run_id)
            raise
        if file:
            self.files.put(run_id, file)
        self._news.set()
        return self.get(run_id)

    def answer(
        self,
        run_id: str,
        answer: Any,
        *,
        context_id: str | None = None,
        number: int | None = None,
    ) -> dict[str, Any]:
        """Answer what a run asks, and let it continue.

        The arguments are those of `durable.Runs.answer`; `number` says which question of the
        place is meant, if it asks one after the other: how many were answered before.

        Raises:
            AnsweredAlready: someone else was first.
            SimDevinError: the run asks nothing, or not at that place.
        """
        for wait in self._app.runs.store.waits(run_id, only_open=True):
            is_meant = wait.kind == "question" and context_id in (wait.context_id, wait.step)
            if is_meant and number not in (None, self._app.runs.store.answers(wait)):
                raise AnsweredAlready(
                    "Someone else has answered this question. Your answer was not sent.",
                    hint="There is a new question now.",
                )
        self._app.runs.answer(run_id, answer, context_id=context_id)
        return self._moved(run_id)

    def resume(self, run_id: str) -> dict[str, Any]:
        """Let a run continue that failed, is held or is uncertain.

        Raises:
            SimDevinError: it is over.
        """
        self._app.runs.resume(run_id, env=self._environment())
        return self._moved(run_id)

    def stop(self, run_id: str) -> dict[str, Any]:
        """Ask a run to stop; one that waits is over at once.

        Raises:
            UnknownName: there is no run of that id.
        """
        if not history.has_ended(self._app.runs.store.run(run_id)):
            with suppress(CallerError):  # it ended by itself meanwhile
                self._app.runs.cancel(run_id)
        return self._moved(run_id)

    def messages(self, run_id: str, block_id: str, session_id: str) -> dict[str, Any]:
        """Return what was said in a session of a run.

        Raises:
            SimDevinError: the call failed.
        """
        run = self._app.runs.store.run(run_id)
        answer = self._conversations.messages(run, self._document(run), block_id, session_id)
        seen: dict[str, Any] = self._seen(answer)
        return seen

    def say(
        self,
        run_id: str,
        block_id: str,
        session_id: str,
        message: Any,
        *,
        key: str,
        seen: int | None = None,
    ) -> dict[str, Any]:
        """Send a message to a session of a run; if it asks something, that is the answer.

        `key` and `seen` as for `Conversations.say`.

        Raises:
            AnsweredAlready: someone else was first.
            SimDevinError: it could not be sent.
        """
        run = self._app.runs.store.run(run_id)
        for wait in self._app.runs.store.waits(run.id, only_open=True):
            if wait.kind == "question" and self._is_about(wait, session_id):
                self.answer(run.id, message, context_id=wait.step)
                return {}
            if wait.kind == "sending" and self._is_about(wait, session_id):
                raise AnsweredAlready(
                    "Someone else's answer is on its way to this session. Yours was not sent."
                )
        document = self._document(run)
        said = self._conversations.say(
            run, document, block_id, session_id, message, key=key, seen=seen
        )
        answer: dict[str, Any] = self._seen(said)
        return answer

    def _is_about(self, wait: records.Wait, session_id: str) -> bool:
        return is_about(wait, self._app.registry.job(wait.job), session_id)

    # -- driving and telling -----------------------------------------------------------------

    def _drive(self) -> None:
        runs, clock = self._app.runs, self._app.clock
        while not self._stop.is_set():
            self._news.clear()
            try:
                runs.work(once=True, cancel=self._stop, on_event=self._hear)
                self._look()
                moment = runs.store.next_moment()
            except Exception as error:  # the next try may find the store fixed
                logger.error("the runs cannot be driven: %s", self.redactor().text(str(error)))
                self._stop.wait(AFTER_FAILURE)
                continue
            if moment is None:
                self._news.wait(IDLE)
            else:
                pause = max(SHORTEST_PAUSE, min(LONGEST_PAUSE, moment - clock.time()))
                clock.wait(self._news, pause)

    def _watch(self) -> None:
        """Notice what happens while a run here takes long, and what other processes do."""
        while not self._stop.wait(IDLE):
            try:
                self._look()
                if self._app.runs.store.is_any("ready"):
                    self._news.set()
            except SimDevinError as error:
                logger.warning("the runs cannot be looked at: %s", error)

    def _hear(self, event: Event) -> None:
        feed = self._feeds.get(event.run_id)
        if feed is not None:
            feed.hear(event)

    def _look(self) -> None:
        for feed in list(self._feeds.values()):
            if feed.is_needed:
                with suppress(UnknownName):  # not recorded yet, or forgotten
                    feed.look(self._app.clock.time())

    def _moved(self, run_id: str) -> dict[str, Any]:
        """Tell what was done to a run and have it driven on; return it."""
        self.feed(run_id)
        self._news.set()
        return self.get(run_id)

    # -- inside ----------------------------------------------------------------------------------

    def _environment(self) -> dict[str, str]:
        return {**self._app.environment(), **self._secrets()}

    def _lines(self, runs: Sequence[records.Run]) -> list[dict[str, Any]]:
        files = self.files.names(runs)
        lines = []
        for run in runs:
            asks = run.state == "asking"
            store = self._app.runs.store
            waits = store.waits(run.id, only_open=True, damaged=[]) if asks else []
            feed, file = self._feeds.get(run.id), files.get(run.id, "")
            count = 0 if feed is None else len(feed.feed)
            lines.append(
                history.line(run, waits, workflow=file, title=file or run.name, count=count)
            )
        masked: list[dict[str, Any]] = self.redactor().data(lines)
        return masked

    def _left_behind(self, run_id: str) -> Any:
        """Return what a run left behind, for another to continue from one of its blocks.

        A fork would keep more of the record, but it keeps the document, the inputs and the
        ceilings of the earlier run, too. Here what is drawn now has to run, so the outputs
        are taken over and nothing else; two ways that differ by whether someone moved a
        block meanwhile would surprise.
        """
        store = self._app.runs.store
        run = store.run(run_id)
        if not history.has_ended(run):
            raise CallerError("The earlier run has not ended yet.")
        left = self._app.runs.opened(run.id, history.left_behind(run, store.outcomes(run.id)))
        return {**left, "origins": origins_of(store, run, AppServices(self._app))}

    def _forget_oldest(self) -> None:
        idle = [feed for feed in self._feeds.values() if not feed.is_needed]
        for feed in idle[: max(0, len(self._feeds) - KEPT)]:
            if not feed.feed.is_watched:
                del self._feeds[feed.id]

    def _document(self, run: records.Run) -> Mapping[str, Any]:
        feed = self._feeds.get(run.id)
        if feed is not None and feed.document is not None:
            return feed.document
        document: Mapping[str, Any] = self._app.runs.store.document(run.document)
        return document

    def _seen(self, answer: Any) -> Any:
        return shortened(self.redactor().data(answer))


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
