"""The account of a day in the store: one for all runs, calls and processes over it.

A row says what one step of a run, or one call outside of runs, has taken off one ceiling. It is
written in the transaction that decides whether there is enough left, and writers take turns, so
no two of them can pass the ceiling together. What a session really used replaces what it
reserved once that is known (`settled`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sim_devin.calls.ceilings import CAP, SESSIONS
from sim_devin.clock import Clock, day_of
from sim_devin.errors import NotAllowed
from sim_devin.policy.spending import Decide, Drawn
from sim_devin.store.database import DatabaseConnection
from sim_devin.store.sql_store import SqlStore

NO_DAY = ""  # the day of what counts for its run alone
OUTSIDE = ""  # stands for the run of what no run draws
KEPT = timedelta(days=2)  # how long rows of calls outside of runs are kept


class StoreSpending:
    """The account in a store (`spending.Spending`), for calls that are no part of a durable run.

    Args:
        store: returns the store, which is opened when something is drawn first.
        clock: the app's clock, see `SqlStore.now`.
    """

    def __init__(self, store: Callable[[], SqlStore], clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def reserve(self, decide: Decide) -> str:
        """Add what `decide` answers to what has been drawn today; return a receipt for it.

        Raises:
            StoreError: the store cannot be read or written; nothing may be sent.
        """
        store, receipt = self._store(), secrets.token_hex(8)
        with store.database.write() as connection:
            day = day_of(store.now(self._clock))
            drawn = decide(drawn_on(store, day))
            shares = {CAP: drawn.acus, SESSIONS: drawn.sessions}
            draw(connection, OUTSIDE, receipt, day, {k: v for k, v in shares.items() if v})
            past = (datetime.fromisoformat(day).replace(tzinfo=UTC) - KEPT).date().isoformat()
            connection.execute("DELETE FROM spend WHERE run_id = ? AND day < ?", (OUTSIDE, past))
        return receipt

    def give_back(self, receipt: str) -> None:
        """Take off again what the receipt stands for."""
        with self._store().database.write() as connection:
            give_back(connection, OUTSIDE, receipt)


def drawn_on(store: SqlStore, day: str, *, besides: tuple[str, str] | None = None) -> Drawn:
    """Return what everything but one step of a run has taken off a day."""
    rows = store.database.read(
        "SELECT ceiling, sum(coalesce(settled, reserved)) AS amount FROM spend "
        "WHERE day = ? AND NOT (run_id = ? AND step = ?) GROUP BY ceiling",
        (day, *(besides or (OUTSIDE, ""))),
    )
    amounts = {row["ceiling"]: row["amount"] for row in rows}
    return Drawn(float(amounts.get(CAP, 0.0)), int(amounts.get(SESSIONS, 0)))


def draw(
    connection: DatabaseConnection, run_id: str, step: str, day: str, shares: Mapping[str, float]
) -> None:
    """Record what a step takes off a day, in the place of what it took before."""
    give_back(connection, run_id, step)
    for ceiling, share in shares.items():
        connection.execute(
            "INSERT INTO spend (run_id, step, ceiling, day, reserved) VALUES (?, ?, ?, ?, ?)",
            (run_id, step, ceiling, day, share),
        )


def give_back(connection: DatabaseConnection, run_id: str, step: str) -> None:
    """Forget what a step took."""
    connection.execute("DELETE FROM spend WHERE run_id = ? AND step = ?", (run_id, step))


def require(limits: Mapping[str, float], drawn: Drawn, shares: Mapping[str, float]) -> None:
    """Check that the shares of a step fit into what is left of a day.

    Args:
        limits: the day's ceilings: of ACUs under `CAP`, of sessions under `SESSIONS`.
        drawn: what the others have taken off the day.
        shares: what the step is to take.

    Raises:
        NotAllowed: they do not; says by how much. Nothing was sent.
    """
    sessions = limits.get(SESSIONS)
    if sessions is not None and shares.get(SESSIONS, 0) > sessions - drawn.sessions:
        raise NotAllowed(
            f"The day's ceiling of {sessions:g} sessions is used up.",
            hint="Nothing was sent. Raise sessions_per_day in [policy], or resume the run "
            "tomorrow (UTC).",
        )
    ceiling, share = limits.get(CAP), shares.get(CAP, 0)
    if ceiling is not None and share > ceiling - drawn.acus:
        left = max(0.0, ceiling - drawn.acus)
        raise NotAllowed(
            f"The day's ceiling of {ceiling:g} ACUs leaves {left:g}, and this session could "
            f"spend {share:g}: {share - left:g} too many.",
            hint="Nothing was sent. Lower the session's maxAcuLimit, raise SIM_DEVIN_MAX_ACU_DAY, "
            "or resume the run tomorrow (UTC).",
        )


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
