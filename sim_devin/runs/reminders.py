"""Reminders that a run asks a person something: at once, and then again and again.

They are declared in the config file, of which a worker that looks after runs goes by its own::

    [reminders]
    every = "30m"
    url = "https://hooks.example/devin"    # unless given, an event of the run and a log line
    secret_env = "REMINDER_SECRET"         # or: secret = "…"
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sim_devin.calls.signature import declared_secret
from sim_devin.calls.transport import is_loopback
from sim_devin.clock import parse_duration
from sim_devin.engine import events
from sim_devin.engine.events import Listener
from sim_devin.engine.run import iso
from sim_devin.errors import CallerError
from sim_devin.runs.notices import Notices
from sim_devin.store.records import EventRecord, Run, Wait
from sim_devin.store.sql_store import SqlStore
from sim_devin.toolbox import Toolbox

log = logging.getLogger("sim_devin")

_KEYS = ("every", "url", "secret", "secret_env")


@dataclass(frozen=True)
class Reminding:
    """How a worker reminds. Its repr hides the address and the secret.

    Attributes:
        every: seconds between two reminders of runs that do not say so themselves.
        url: where reminders are sent; empty for nowhere.
        secret: what they are signed with.
    """

    every: float = math.inf
    url: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)


class Reminders:
    """Reminds people of what the runs of a store ask; any number of processes may.

    A reminder is claimed in the store before it is sent, so that a moment has one, or, when a
    process dies in between, none.
    """

    def __init__(self, app: Toolbox, store: SqlStore, reminding: Reminding) -> None:
        self._app = app
        self._store = store
        self._every = reminding.every
        self._notices: Notices | None = None
        if reminding.url and _may_reach(app, reminding.url):
            self._notices = Notices(reminding.url, reminding.secret, app.clock)

    def remind(self, run_id: str | None = None, on_event: Listener | None = None) -> None:
        """Give the reminders that are due, of one run or of all; takes no time but the store's.

        Raises:
            StoreError: the store cannot be read or written.
        """
        now = self._app.clock.time()
        paced = math.isinf(self._every)
        for wait in self._store.unreminded(now, paced=paced, run_id=run_id):
            again = now + (wait.remind_every or self._every)
            run = self._store.run(wait.run_id)
            data = self._app.redactor.data(about(run, wait))
            recorded = EventRecord(run.id, now, events.RUN_REMINDER, data)
            if self._store.remind(wait, again, recorded):
                self._tell(events.Event(recorded.kind, run.id, now, data=data), wait, on_event)

    def close(self) -> None:
        """Wait for what is being sent, for a while."""
        if self._notices is not None:
            self._notices.close()

    def _tell(self, event: events.Event, wait: Wait, on_event: Listener | None) -> None:
        number = wait.reminders + 1
        log.info("run %s asks a question; reminder %d", event.run_id, number)
        if on_event is not None:
            on_event(event)
        if self._notices is not None:
            delivery = f"{event.run_id}-{wait.id}-{int(event.time * 1000)}"
            self._notices.send(delivery, event.to_json())


def open_reminders(app: Toolbox, store: SqlStore) -> Reminders:
    """Return what reminds people of the runs of a store.

    Raises:
        CallerError: the config file's ``[reminders]`` cannot be used.
    """
    return Reminders(app, store, read_reminders(app.settings.reminders, app.settings.env))


def read_reminders(table: object, env: Mapping[str, str]) -> Reminding:
    """Return what a config file's ``[reminders]`` table says; an empty one reminds of nothing.

    Raises:
        CallerError: it cannot be used; says how to fix it.
    """
    if not isinstance(table, Mapping):
        raise CallerError(
            "reminders in the config file must be a table.", hint="Write [reminders]."
        )
    if not table:
        return Reminding()
    unknown = sorted(set(table) - set(_KEYS))
    if unknown:
        raise CallerError(
            f"Unknown key {unknown[0]!r} in [reminders].", hint=f"Known: {', '.join(_KEYS)}."
        )
    every = str(table.get("every", ""))
    try:
        seconds = parse_duration(every)
    except ValueError:
        raise CallerError(
            f"[reminders] every is not a duration: {every[:60]!r}.",
            hint='Write every = "30m", "2h" or "1d".',
        ) from None
    if "url" not in table:
        return Reminding(seconds)
    return Reminding(seconds, _address(table["url"]), declared_secret("reminders", table, env))


def about(run: Run, wait: Wait) -> dict[str, Any]:
    """Return what there is to say to whoever is to answer, as JSON data."""
    return {
        "workflow": run.name,
        "blockId": wait.block_id,
        "blockName": wait.point.get("blockName", wait.block_id),
        "contextId": wait.context_id,
        "kind": wait.kind,
        "question": _question(wait.point),
        "link": wait.point.get("url"),
        "since": iso(wait.point.get("since", wait.created)),
        "reminders": wait.reminders + 1,
        "deadline": None if wait.answer_by is None else iso(wait.answer_by),
    }


def _question(point: Mapping[str, Any]) -> str:
    """Return what is asked: Devin's words, what is uncertain, or what a form shows and takes."""
    said = point.get("question") or point.get("message")
    if said:
        return str(said)
    response = point.get("response")
    data = response.get("data") if isinstance(response, Mapping) else None
    parts = data if isinstance(data, Mapping) else {}
    shown = [f"{row['name']}: {row['value']}" for row in _rows(parts, "responseStructure", "value")]
    wanted = ", ".join(str(row["label"]) for row in _rows(parts, "inputFormat", "label"))
    return "\n".join([*shown, f"Requested: {wanted}"] if wanted else shown)


def _rows(parts: Mapping[str, Any], name: str, key: str) -> list[Mapping[str, Any]]:
    rows = parts.get(name)
    return [
        row
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, Mapping) and row.get(key) not in (None, "")
    ]


def _may_reach(app: Toolbox, url: str) -> bool:
    """Return whether to send anything: a simulated app keeps to this machine."""
    return not hasattr(app.transport, "simulator") or is_loopback(urlsplit(url).hostname or "")


def _address(url: Any) -> str:
    hint = "Use a URL such as https://hooks.example/devin."
    try:
        parts = urlsplit(str(url))
        _ = parts.port
    except ValueError:
        raise CallerError("The url of the reminders is not a URL.", hint=hint) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CallerError("The url of the reminders is not an http(s) URL.", hint=hint)
    if parts.username or parts.password:
        raise CallerError(
            "The url of the reminders must not contain credentials; reminders are signed.",
            hint=hint,
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise CallerError(
            "The url of the reminders must use https, since http would expose the questions.",
            hint=hint,
        )
    return str(url)
