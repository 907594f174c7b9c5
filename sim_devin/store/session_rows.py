"""The sessions that durable runs create: which hold a slot, and which are to be looked at."""
# ruff: noqa: S608 - only fixed fragments are put into statements, never values

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim_devin.calls.ceilings import CAP
from sim_devin.specs.jobs import JobSpec
from sim_devin.store.damage import DamagedRow
from sim_devin.store.records import PARKED, SessionRecord
from sim_devin.store.rows import (
    BY_GROUP,
    GROUP,
    OF_STEP,
    WITH_OWN,
    Group,
    Rows,
    group_of,
    marks,
    of_step,
    record_of,
)

LONGEST = 24 * 3600.0  # seconds after which a session counts as over, whatever is known of it
UNKNOWN_FOR = 3600.0  # the same for a create whose outcome is unknown
CALLED_FOR = 60.0  # seconds a run that was called keeps the others from its slot
FIRST_LOOK = 60.0  # seconds after which a session that nobody waits for is looked at
LOOKED_AFTER = 60.0  # seconds by which the look of a run that waits for a session may be late

_QUEUE = (
    "FROM waits JOIN runs ON runs.id = waits.run_id "
    "WHERE waits.open = 1 AND waits.kind = 'turn' AND waits.place = ? "
    f"AND (runs.state IN ({marks(PARKED)}) "
    "OR (runs.state IN ('ready', 'running') AND waits.next_look > ?))"
)
# The sum keeps the planner from reading all waits of that kind instead of those of the run.
_LOOKED_AFTER = (
    "EXISTS (SELECT 1 FROM waits WHERE waits.run_id = sessions.run_id AND open = 1 "
    "AND kind || '' = 'session' AND waits.next_look > ? AND about LIKE '%' || session_id || '%')"
)
_SHARES = (
    "SELECT * FROM sessions WHERE next_look <= ? AND session_id IS NOT NULL AND EXISTS ("
    "SELECT 1 FROM spend WHERE spend.run_id = sessions.run_id AND spend.step = sessions.step "
    f"AND ceiling = '{CAP}')"
)
_SLOTS = (
    "SELECT * FROM sessions WHERE place IN (SELECT place FROM waits WHERE open = 1 "
    "AND kind = 'turn') AND working = 1 AND since > ? AND session_id IS NOT NULL "
    f"AND coalesce(next_look, since + {FIRST_LOOK:g}) <= ? AND NOT {_LOOKED_AFTER}"
)


class SessionRows(Rows):
    """The table of sessions, and the queue of those that wait to create one."""

    # -- slots -----------------------------------------------------------------------------------

    def put_session(self, session: SessionRecord) -> None:
        """Record that a session is about to be created; it holds a slot from now on."""
        with self.database.write() as connection:
            connection.execute(
                "DELETE FROM sessions WHERE run_id = ? AND step = ?", (session.run_id, session.step)
            )
            self.insert(connection, "sessions", session, session.run_id)

    def holds_slot(self, run_id: str, step: str) -> bool:
        """Return whether the session of a step is in progress, or about to be created."""
        query = "SELECT 1 FROM sessions WHERE run_id = ? AND step = ? AND working = 1"
        return bool(self.database.read(query, (run_id, step)))

    def slots_used(self, place: str, now: float) -> int:
        """Return how many sessions of an organization are in progress, as far as is known."""
        (row,) = self.database.read(
            "SELECT count(*) AS n FROM sessions WHERE place = ? AND working = 1 AND since > ? "
            "AND (session_id IS NOT NULL OR since > ?)",
            (place, now - LONGEST, now - UNKNOWN_FOR),
        )
        return int(row["n"])

    def created_since(self, place: str, moment: float) -> int:
        """Return how many sessions of an organization were created after a moment."""
        query = "SELECT count(*) AS n FROM sessions WHERE place = ? AND created > ?"
        return int(self.database.read(query, (place, moment))[0]["n"])

    def free_slot(self, run_id: str, step: str) -> None:
        """Record that nothing came of a create, or that nobody knows what did."""
        with self.database.write() as connection:
            connection.execute(
                "UPDATE sessions SET working = 0 WHERE run_id = ? AND session_id IS NULL "
                f"AND {OF_STEP}",
                (run_id, *of_step(step)),
            )

    # -- the queue -------------------------------------------------------------------------------

    def queues(self) -> list[str]:
        """Return the organizations for a slot of which someone waits."""
        rows = self.database.read(
            "SELECT DISTINCT place FROM waits WHERE open = 1 AND kind = 'turn'"
        )
        return [row["place"] for row in rows]

    def is_queued(self, run_id: str) -> bool:
        """Return whether a run waits for its turn."""
        query = "SELECT 1 FROM waits WHERE run_id = ? AND open = 1 AND kind = 'turn' LIMIT 1"
        return bool(self.database.read(query, (run_id,)))

    def ahead(self, place: str, run_id: str, step: str, now: float) -> int:
        """Return how many wait for a slot of an organization before a try of a block.

        Those whose run cannot take its turn now, since it is held, busy, or was called and
        nobody drives it, are passed over.
        """
        own = self.database.read(
            "SELECT id FROM waits WHERE run_id = ? AND step = ? AND open = 1 AND kind = 'turn'",
            (run_id, step),
        )
        before, values = ("AND waits.id < ?", [own[0]["id"]]) if own else ("", [])
        (row,) = self.database.read(
            f"SELECT count(*) AS n {_QUEUE} {before}", (*self._queued(place, now), *values)
        )
        return int(row["n"])

    def call_next(self, place: str, now: float, number: int) -> int:
        """Wake the runs of the first `number` in the queue; return how many of them slept."""
        rows = self.database.read(
            f"SELECT waits.id, runs.id AS run_id, runs.state AS state {_QUEUE} "
            "ORDER BY waits.id LIMIT ?",
            (*self._queued(place, now), number),
        )
        rows = [row for row in rows if row["state"] in PARKED]
        if not rows:
            return 0
        with self.database.write() as connection:
            for row in rows:
                connection.execute("UPDATE waits SET next_look = ? WHERE id = ?", (now, row["id"]))
            runs = sorted({row["run_id"] for row in rows})
            where = f"id IN ({marks(runs)}) AND state IN ({marks(PARKED)})"
            return len(self.make_ready_where(connection, where, (*runs, *PARKED), now))

    def leave_queue(self, run_id: str, step: str) -> None:
        """Forget that a try of a block waits for its turn: it has it."""
        with self.database.write() as connection:
            connection.execute(
                "DELETE FROM waits WHERE run_id = ? AND step = ? AND kind = 'turn'", (run_id, step)
            )

    @staticmethod
    def _queued(place: str, now: float) -> tuple[Any, ...]:
        return (place, *PARKED, now - CALLED_FOR)

    # -- what becomes of them --------------------------------------------------------------------

    def name_session(self, run_id: str, step: str, session_id: str) -> None:
        """Record which session a create led to; it holds a slot."""
        with self.database.write() as connection:
            connection.execute(
                "UPDATE sessions SET session_id = ?, working = 1, next_look = "
                "CASE WHEN EXISTS (SELECT 1 FROM spend WHERE spend.run_id = sessions.run_id "
                f"AND spend.step = sessions.step AND ceiling = '{CAP}') THEN created + ? END "
                f"WHERE run_id = ? AND session_id IS NULL AND {OF_STEP}",
                (session_id, FIRST_LOOK, run_id, *of_step(step)),
            )

    def sessions_named(self, job: JobSpec, job_id: str) -> list[SessionRecord]:
        """Return what is recorded of a job of a kind; nothing if it is none of ours."""
        query = "SELECT * FROM sessions WHERE job = ? AND session_id IN (?, ?)"
        return self._sound(self.database.read(query, (job.id, *job.spellings(job_id))))

    def _sound(self, rows: Sequence[Any]) -> list[SessionRecord]:
        """Return the sessions of rows. A damaged one is looked at no more, and its run is held."""
        found = []
        for row in rows:
            try:
                found.append(record_of(SessionRecord, "sessions", row))
            except DamagedRow as error:
                with self.database.write() as connection:
                    connection.execute(
                        "UPDATE sessions SET working = 0, next_look = NULL, over_since = 0 "
                        "WHERE run_id = ? AND step = ?",
                        (row["run_id"], row["step"]),
                    )
                    self.hold(connection, row["run_id"], error)
        return found

    def sessions_of(self, run_id: str) -> list[SessionRecord]:
        """Return the sessions that a run has created, or was about to, oldest first."""
        rows = self.database.read(
            "SELECT * FROM sessions WHERE run_id = ? ORDER BY created, step", (run_id,)
        )
        return [record_of(SessionRecord, "sessions", row) for row in rows]

    def session_of(self, run_id: str, step: str) -> SessionRecord | None:
        """Return what is recorded of the session that a step creates."""
        query = "SELECT * FROM sessions WHERE run_id = ? AND step = ?"
        rows = self.database.read(query, (run_id, step))
        return record_of(SessionRecord, "sessions", rows[0]) if rows else None

    def change_session(self, session: SessionRecord, **changes: Any) -> None:
        """Change what is recorded of a session."""
        names = ", ".join(f"{name} = ?" for name in changes)
        with self.database.write() as connection:
            connection.execute(
                f"UPDATE sessions SET {names} WHERE run_id = ? AND step = ?",
                (*changes.values(), session.run_id, session.step),
            )

    def rouse_session(self, job: JobSpec, job_id: str, now: float) -> None:
        """Record that a message sets a job going: it holds a slot, and may use its share."""
        with self.database.write():
            for session in self.sessions_named(job, job_id):
                next_look = now + FIRST_LOOK if self.has_share(session) else None
                self.change_session(
                    session, working=1, over_since=None, since=now, next_look=next_look
                )
                self.settle_share(session, None)

    def settle_share(self, session: SessionRecord, used: float | None) -> None:
        """Record what a session has used of what it reserved; None for: it may use it all."""
        with self.database.write() as connection:
            connection.execute(
                "UPDATE spend SET settled = ? WHERE run_id = ? AND step = ? AND ceiling = ?",
                (used, session.run_id, session.step, CAP),
            )

    def has_share(self, session: SessionRecord) -> bool:
        """Return whether a session has reserved something."""
        query = "SELECT 1 FROM spend WHERE run_id = ? AND step = ? AND ceiling = ?"
        return bool(self.database.read(query, (session.run_id, session.step, CAP)))

    # -- those that no run looks after -----------------------------------------------------------

    def leave_to_waits(self, now: float) -> None:
        """Put the looks off that the runs which wait for those sessions take anyway."""
        where, values = f"next_look <= ? AND {_LOOKED_AFTER}", (now, now - LOOKED_AFTER)
        if self.database.read(f"SELECT 1 FROM sessions WHERE {where} LIMIT 1", values):
            with self.database.write() as connection:
                connection.execute(
                    f"UPDATE sessions SET next_look = ? WHERE {where}", (now + FIRST_LOOK, *values)
                )

    def sessions_overdue(self, before: float, now: float, *, limit: int) -> list[SessionRecord]:
        """Return sessions that were created before a moment and are not known to be over.

        Not those that ended for that reason already, or were so old when that was first asked
        for that nobody looks after them any more.
        """
        rows = self.database.read(
            "SELECT * FROM sessions WHERE created <= ? AND created > ? AND over_since IS NULL "
            "AND session_id IS NOT NULL AND coalesce(overtime, 'ending') = 'ending' "
            "AND coalesce(overtime_look, 0) <= ? ORDER BY created LIMIT ?",
            (before, before - LONGEST, now, limit),
        )
        return self._sound(rows)

    def session_groups(self, now: float, *, slots: bool) -> list[Group]:
        """Return the groups of the sessions that `sessions_due` would return."""
        due, values = self._due(now, slots)
        query = f"SELECT {GROUP} FROM ({due}) AS due {BY_GROUP}"
        return list(map(group_of, self.database.read(query, (WITH_OWN, *values))))

    def sessions_due(
        self,
        place: str,
        credentials: str | None,
        now: float,
        *,
        slots: bool,
        limit: int,
        run_id: str | None = None,
    ) -> list[SessionRecord]:
        """Return a batch of sessions to look at that no run looks after.

        Those that reserved something; and, with `slots`, those that hold a slot for which
        someone waits.
        """
        due, values = self._due(now, slots)
        mine, own = ("AND run_id = ?", (run_id,)) if run_id else ("", ())
        rows = self.database.read(
            f"SELECT * FROM ({due}) AS due WHERE place = ? AND coalesce(credentials, '') = ? "
            f"{mine} ORDER BY since LIMIT ?",
            (*values, place, credentials or "", *own, limit),
        )
        return self._sound(rows)

    @staticmethod
    def _due(now: float, slots: bool) -> tuple[str, tuple[float, ...]]:
        if not slots:
            return _SHARES, (now,)
        return f"{_SHARES} UNION {_SLOTS}", (now, now - LONGEST, now, now - LOOKED_AFTER)
