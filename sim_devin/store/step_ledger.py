"""The ledger of intents in the store: whoever records one first may send, whatever crashes."""
# ruff: noqa: S608 - only fixed fragments are put into statements, never values

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim_devin.clock import day_of
from sim_devin.reconcile import CREATE, SEND, TAG_PREFIX, Intent, State
from sim_devin.store.account import draw, drawn_on, give_back, require
from sim_devin.store.records import Run
from sim_devin.store.rows import OF_STEP, of_step
from sim_devin.store.sealing import read_text
from sim_devin.store.sql_store import SqlStore
from sim_devin.store.turns import Slot


class StepLedger:
    """The intents of one step of one durable run (`reconcile.Ledger`).

    A tag is a pure function of run, step and number of the try, so that a process that
    takes over finds what its predecessor recorded and sent.

    Args:
        store: where they are kept.
        run: the run, as claimed by this process.
        step: the try of a block, and the number of the call in it.
        shares: what is taken off which ceiling when the intent is recorded: ACUs, sessions.
        driven: whether only the process that drives the run may record.
        limits: the ceilings of a day, see `account.require`.
        day: the day that the shares are taken off; that of the intent unless given.
        slot: what a create takes of its organization's limits; None for anything else.
    """

    def __init__(
        self,
        store: SqlStore,
        run: Run,
        step: str,
        shares: Mapping[str, float] | None = None,
        *,
        driven: bool = True,
        limits: Mapping[str, float] | None = None,
        day: str = "",
        slot: Slot | None = None,
    ) -> None:
        self._store = store
        self._run = run
        self._step = step
        self._shares = shares or {}
        self._driven = driven
        self._limits = limits or {}
        self._day = day
        self._slot = slot

    def tag(self, number: str) -> str:
        """Return the tag of a try of this step."""
        name = "\0".join((self._run.id, self._step, number))
        return TAG_PREFIX + hashlib.sha256(name.encode()).hexdigest()[:24]

    def claim(self, intent: Intent) -> bool:
        """Record an intent; return whether this caller may send.

        An intent that surely came to nothing may be claimed again. Otherwise `at`,
        `position` and `session_id` of `intent` become those of the record.

        Raises:
            LeaseLost: another process drives the run now.
            NotAllowed: a ceiling of the day would be exceeded; nothing is recorded.
            NotYourTurn: a limit of the organization is reached; nothing is recorded.
        """
        store = self._store
        with store.held(self._run) if self._driven else store.database.write() as connection:
            won = connection.execute(
                "INSERT INTO intents (tag, run_id, step, tool, at, state, session_id, position) "
                "VALUES (?, ?, ?, ?, ?, 'open', ?, ?) ON CONFLICT (tag) DO UPDATE SET "
                "state = 'open', at = excluded.at, position = excluded.position, "
                "session_id = excluded.session_id WHERE intents.state = 'rejected' RETURNING 1",
                (
                    intent.tag,
                    self._run.id,
                    self._step,
                    store.closed_text(connection, self._run.id, intent.tool),
                    intent.at,
                    intent.session_id,
                    intent.position,
                ),
            ).fetchone()
            if won is None:
                row = connection.execute(
                    "SELECT * FROM intents WHERE tag = ?", (intent.tag,)
                ).fetchone()
                intent.at, intent.position = row["at"], row["position"]
                intent.state = row["state"]
                intent.session_id = row["session_id"] or intent.session_id
                return False
            if self._shares:
                own, day = (self._run.id, self._step), self._day or day_of(intent.at)
                # Others may have drawn since the shares were worked out.
                require(self._limits, drawn_on(store, day, besides=own), self._shares)
                draw(connection, *own, day, self._shares)
            if self._slot is not None:
                self._slot.take(store, self._run.id, self._step, intent.at)
            if intent.tool == SEND and intent.session_id:
                store.rouse_session(intent.session_id, intent.at)
        return True

    def settle(self, tag: str, state: State, session_id: str | None = None) -> None:
        """Record how an intent ended; what was surely not done gives its share back."""
        with self._store.database.write() as connection:
            connection.execute(
                "UPDATE intents SET state = ?, session_id = coalesce(?, session_id) WHERE tag = ?",
                (state, session_id, tag),
            )
            if state == "rejected":
                give_back(connection, self._run.id, self._step)
            _follow_up(self._store, self._run.id, self._step, state, session_id)

    def missing(self, since: float) -> list[Intent]:
        """Return the ``missing`` creates that were sent after `since`, of every run."""
        rows = self._store.database.read(
            "SELECT * FROM intents WHERE state = 'missing' AND tool = ? AND at >= ?",
            (CREATE, since),
        )
        return [_intent(row) for row in rows]

    def earlier(self) -> list[Intent]:
        """Return what is recorded of this step, oldest first."""
        return intents(self._store, self._run.id, self._step)


def intents(store: SqlStore, run_id: str, step: str) -> list[Intent]:
    """Return the intents of a step, or of all calls of a block's try."""
    rows = store.database.read(
        f"SELECT * FROM intents WHERE run_id = ? AND {OF_STEP} ORDER BY at",
        (run_id, *of_step(step)),
    )
    return [_intent(row) for row in rows]


def resolve(store: SqlStore, run_id: str, step: str, state: State, session: str | None) -> int:
    """Record what a person found out about the open intents of a block; return how many."""
    with store.database.write() as connection:
        _follow_up(store, run_id, step, state, session)
        return connection.execute(
            "UPDATE intents SET state = ?, session_id = coalesce(?, session_id) WHERE run_id = ? "
            f"AND {OF_STEP} AND state IN ('open', 'uncertain', 'missing')",
            (state, session, run_id, *of_step(step)),
        ).rowcount


def _follow_up(
    store: SqlStore, run_id: str, step: str, state: State, session_id: str | None
) -> None:
    """Keep the slot of a create as long as a session may have come of it."""
    if state == "done" and session_id is not None:
        store.name_session(run_id, step, session_id)
    elif state in ("rejected", "uncertain"):
        store.free_slot(run_id, step)


@dataclass(frozen=True)
class Share:
    """What one step of a run has taken off a ceiling.

    Attributes:
        amount: what counts: what was reserved, or, once that is known, used.
        unused: how much of what was reserved has come back.
    """

    step: str
    ceiling: str
    amount: float
    unused: float


def shares_of(store: SqlStore, run_id: str) -> list[Share]:
    """Return what the steps of a run have taken off its ceilings."""
    rows = store.database.read("SELECT * FROM spend WHERE run_id = ?", (run_id,))
    shares = []
    for row in rows:
        reserved = row["reserved"]
        amount = reserved if row["settled"] is None else row["settled"]
        shares.append(Share(row["step"], row["ceiling"], amount, reserved - amount))
    return shares


def _intent(row: Any) -> Intent:
    return Intent(
        tag=row["tag"],
        tool=read_text(row["tool"]),
        at=row["at"],
        state=row["state"],
        session_id=row["session_id"],
        position=row["position"],
    )
