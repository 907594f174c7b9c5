"""What durable runs wait for: sessions, moments, people; and what people answered."""
# ruff: noqa: S608 - only fixed fragments are put into statements, never values

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sim_devin.store.database import DatabaseConnection
from sim_devin.store.records import ASKING, PARKED, EventRecord, Run, Wait
from sim_devin.store.rows import (
    BY_GROUP,
    GROUP,
    WITH_OWN,
    Group,
    Rows,
    changed,
    group_of,
    marks,
    parked_state,
    text,
)

# When something is due, each found by an index of its own.
_MOMENTS = (
    ("next_look", "open = 1 AND kind = 'session'"),
    ("due", "open = 1 AND kind = 'session' AND due IS NOT NULL"),
    ("due", "open = 1 AND kind = 'sending' AND due IS NOT NULL"),
    ("due", "open = 1 AND kind = 'time' AND due IS NOT NULL"),
    ("due", "open = 1 AND kind = 'service' AND due IS NOT NULL"),
)


SHORTEST_LEFT = 5.0  # seconds that the answer to a question has at the least to be sent
PLAUSIBLE = 60.0  # seconds by which the clocks of two processes may differ unnoticed


class WaitRows(Rows):
    """The tables of waits, of answers, and of leases on what one process does for all."""

    def add_wait(self, run: Run, wait: Wait) -> None:
        """Record what a run waits for; a wait that is recorded already stays as it is."""
        about, credentials = wait.about, wait.about.get("credentials")
        if credentials:
            credentials = self.seals(run.id).close_credentials(credentials)
            about = {**about, "credentials": credentials}
        with self.held(run) as connection:
            self.insert(
                connection,
                "waits",
                replace(wait, about=about),
                run.id,
                once=True,
                without=("id",),
                # What tells sessions of one key from those of another.
                credentials=text(self.closed(connection, run.id, credentials)),
                remind_every=run.chosen.remind_every,
            )
            data = {"blockId": wait.block_id, "reason": wait.kind, "contextId": wait.context_id}
            self.put_event(connection, EventRecord(run.id, wait.created, "block.waiting", data))

    def waits(
        self, run_id: str, *, only_open: bool = False, damaged: list[str] | None = None
    ) -> list[Wait]:
        """Return what a run waits for, or waited for.

        What is wrong with rows that are damaged joins `damaged`.

        Raises:
            DamagedRow: a row is damaged, and there is no such list.
        """
        more = "AND open = 1" if only_open else ""
        query = f"SELECT * FROM waits WHERE run_id = ? {more} ORDER BY id"
        return self.records(Wait, "waits", self.database.read(query, (run_id,)), damaged)

    def kinds_waited_for(self, run_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return run -> the kinds of what it waits for, of those of some runs that wait."""
        found: dict[str, list[str]] = {}
        for row in self.database.read(
            f"SELECT DISTINCT run_id, kind FROM waits WHERE open = 1 AND run_id IN "
            f"({marks(run_ids)}) ORDER BY kind",
            run_ids,
        ):
            found.setdefault(row["run_id"], []).append(row["kind"])
        return found

    def open_waits(self, kind: str, *, limit: int = 1000) -> list[Wait]:
        """Return open waits of one kind, oldest first."""
        query = "SELECT * FROM waits WHERE open = 1 AND kind = ? ORDER BY id LIMIT ?"
        return self.sound_waits(self.database.read(query, (kind, limit)))

    def finish_wait(
        self, wait: Wait, now: float, answer: Any = None, *, error: str | None = None
    ) -> bool:
        """End a wait and wake its run; return False if someone else has ended it."""
        with self.database.write() as connection:
            if not changed(
                connection,
                "UPDATE waits SET open = 0, answer = ?, error = ?, ended = ? "
                "WHERE id = ? AND open = 1 AND kind = ?",
                (
                    text(self.closed(connection, wait.run_id, answer)),
                    self.closed_text(connection, wait.run_id, error),
                    now,
                    wait.id,
                    wait.kind,
                ),
            ):
                return False
            self._wake(connection, wait.run_id, now)
        return True

    def drop_wait(self, wait: Wait, now: float) -> bool:
        """Forget a wait, so that its block is tried again, and wake its run."""
        with self.database.write() as connection:
            if not changed(connection, "DELETE FROM waits WHERE id = ? AND open = 1", (wait.id,)):
                return False
            self._wake(connection, wait.run_id, now)
        return True

    def forget_wait(self, run: Run, wait: Wait) -> None:
        """Forget a wait of a run that is being driven.

        Raises:
            LeaseLost: another process drives it now.
        """
        with self.held(run) as connection:
            connection.execute("DELETE FROM waits WHERE id = ?", (wait.id,))

    def use_wait(self, run: Run, wait: Wait) -> None:
        """Record that a run that is being driven continues from what ended a wait.

        Raises:
            LeaseLost: another process drives it now.
        """
        with self.held(run) as connection:
            connection.execute("UPDATE waits SET used = 1 WHERE id = ?", (wait.id,))

    def mend_looks(self, now: float) -> None:
        """Let sessions be looked at now whose next look is later than its pause explains.

        The clock was set back since, or that of who wrote it is ahead.
        """
        where = (
            "open = 1 AND kind IN ('session', 'sending') AND next_look > ? "
            "AND next_look > ? + pause"
        )
        latest = now + PLAUSIBLE
        if self.database.read(f"SELECT 1 FROM waits WHERE {where} LIMIT 1", (latest, latest)):
            with self.database.write() as connection:
                connection.execute(
                    f"UPDATE waits SET next_look = ? WHERE {where}", (now, latest, latest)
                )

    def finish_due(self, now: float) -> int:
        """End the waits for a moment that has come; return how many."""
        query = "SELECT * FROM waits WHERE open = 1 AND kind = ? AND due <= ? LIMIT 1000"
        over = self.sound_waits(self.database.read(query, ("time", now)))
        again = self.sound_waits(self.database.read(query, ("service", now)))
        ended = [self.finish_wait(wait, now) for wait in over]
        return sum(ended) + sum(self.drop_wait(wait, now) for wait in again)

    def unanswered(self, now: float) -> list[Wait]:
        """Return open questions, forms and approvals that it is too late to answer."""
        query = (
            "SELECT * FROM waits WHERE open = 1 AND kind IN ('human', 'question', 'approval') "
            "AND answer_by <= ? ORDER BY id LIMIT 1000"
        )
        return self.sound_waits(self.database.read(query, (now,)))

    def unsent(self, now: float) -> list[Wait]:
        """Return open waits with answers that it is too late to send."""
        query = "SELECT * FROM waits WHERE open = 1 AND kind = 'sending' AND due <= ? LIMIT 1000"
        return self.sound_waits(self.database.read(query, (now,)))

    def change_wait(self, wait: Wait, was: str, /, **changes: Any) -> bool:
        """Change an open wait of a kind; return False if it is none any more."""
        if "kind" in changes:  # what is asked next has reminders of its own
            changes = {"remind_at": None, "reminders": 0, **changes}
        names = ", ".join(f"{name} = ?" for name in changes)
        with self.database.write() as connection:
            values = [
                self.column(connection, "waits", name, value, wait.run_id)
                for name, value in changes.items()
            ]
            done = changed(
                connection,
                f"UPDATE waits SET {names} WHERE id = ? AND open = 1 AND kind = ?",
                (*values, wait.id, was),
            )
            if done and "kind" in changes:
                connection.execute(
                    f"UPDATE runs SET state = ? WHERE id = ? AND state IN ({marks(PARKED)})",
                    (parked_state(connection, wait.run_id), wait.run_id, *PARKED),
                )
        return done

    def _wake(self, connection: DatabaseConnection, run_id: str, now: float) -> None:
        where = f"id = ? AND state IN ({marks(PARKED)})"
        self.make_ready_where(connection, where, (run_id, *PARKED), now)

    # -- reminders -------------------------------------------------------------------------------

    def unreminded(self, now: float, *, paced: bool, run_id: str | None = None) -> list[Wait]:
        """Return some of what is asked of people and due for a reminder, of one run or of all.

        With `paced` only of runs that say themselves how often they remind.
        """
        more, values = ("AND run_id = ?", (run_id,)) if run_id else ("", ())
        more += " AND remind_every IS NOT NULL" if paced else ""
        query = (
            f"SELECT * FROM waits WHERE open = 1 AND kind IN {ASKING} "
            f"AND (remind_at IS NULL OR remind_at <= ?) {more} ORDER BY id LIMIT 100"
        )
        return self.sound_waits(self.database.read(query, (now, *values)))

    def remind(self, wait: Wait, again: float, event: EventRecord) -> bool:
        """Record a reminder and when the next is due; False if another process did, or no need."""
        with self.database.write() as connection:
            if not changed(
                connection,
                "UPDATE waits SET remind_at = ?, reminders = reminders + 1 "
                "WHERE id = ? AND open = 1 AND kind = ? AND reminders = ?",
                (again, wait.id, wait.kind, wait.reminders),
            ):
                return False
            self.put_event(connection, event)
        return True

    # -- sessions that are waited for ----------------------------------------------------------

    def groups(self, now: float, run_id: str | None = None) -> list[Group]:
        """Return the groups of the session waits that are due for a look."""
        mine, values = ("AND run_id = ?", (run_id,)) if run_id else ("", ())
        rows = self.database.read(
            f"SELECT {GROUP} FROM waits WHERE open = 1 AND kind = 'session' "
            f"AND (next_look <= ? OR due <= ?) {mine} {BY_GROUP}",
            (WITH_OWN, now, now, *values),
        )
        return list(map(group_of, rows))

    def due_sessions(
        self,
        place: str,
        credentials: str | None,
        now: float,
        *,
        after: int,
        limit: int,
        run_id: str | None = None,
    ) -> list[Wait]:
        """Return a batch of session waits to look at, those after the wait of id `after`."""
        mine, values = ("AND run_id = ?", (run_id,)) if run_id else ("", ())
        rows = self.database.read(
            "SELECT * FROM waits WHERE open = 1 AND kind = 'session' AND place = ? "
            "AND coalesce(credentials, '') = ? AND id > ? "
            f"AND (next_look <= ? OR due <= ?) {mine} ORDER BY id LIMIT ?",
            (place, credentials or "", after, now, now, *values, limit),
        )
        return self.sound_waits(rows)

    def overdue_sessions(
        self, place: str, credentials: str | None, now: float, *, run_id: str | None = None
    ) -> list[Wait]:
        """Return the session waits of a group whose time is over."""
        mine, values = ("AND run_id = ?", (run_id,)) if run_id else ("", ())
        rows = self.database.read(
            "SELECT * FROM waits WHERE open = 1 AND kind = 'session' AND place = ? "
            f"AND coalesce(credentials, '') = ? AND due <= ? {mine} ORDER BY id LIMIT 1000",
            (place, credentials or "", now, *values),
        )
        return self.sound_waits(rows)

    def look_now(self, run_id: str, now: float) -> None:
        """Let what a run asks of the service be asked at once."""
        with self.database.write() as connection:
            connection.execute(
                "UPDATE waits SET next_look = ? WHERE run_id = ? AND open = 1 "
                "AND kind IN ('session', 'sending') AND next_look > ?",
                (now, run_id, now),
            )
            connection.execute(
                "UPDATE waits SET due = ? WHERE run_id = ? AND open = 1 AND kind = 'service'",
                (now, run_id),
            )

    def next_moment(self, run_id: str | None = None) -> float | None:
        """Return when the next look, moment or deadline is due; None if there is none."""
        mine, values = ("AND run_id = ?", (run_id,)) if run_id else ("", ())
        moments = [
            self.database.read(f"SELECT min({name}) AS moment FROM waits WHERE {of} {mine}", values)
            for name, of in _MOMENTS
        ]
        return min((row["moment"] for (row,) in moments if row["moment"] is not None), default=None)

    def lease(self, name: str, owner: str, now: float, ttl: float) -> bool:
        """Take or prolong a lease on something that one process does for all.

        One that ends later than any given by our clock could is not waited for: it is by a clock
        that went wrong, or ours was set back.
        """
        query = "SELECT 1 FROM leases WHERE name = ? AND owner = ? AND until > ? AND until <= ?"
        if self.database.read(query, (name, owner, now + ttl / 2, now + ttl)):
            return True
        with self.database.write() as connection:
            return changed(
                connection,
                "INSERT INTO leases (name, owner, until) VALUES (?, ?, ?) ON CONFLICT (name) "
                "DO UPDATE SET owner = excluded.owner, until = excluded.until "
                "WHERE leases.owner = excluded.owner OR leases.until < ? OR leases.until > ?",
                (name, owner, now + ttl, now, now + 2 * ttl),
            )

    # -- answers to questions, and events -------------------------------------------------------

    def put_answer(self, wait: Wait, message: str, now: float) -> bool:
        """Record the answer to a question, to be sent; return False if there is one already.

        The time in which it was asked does not count as time that was waited for the session.
        """
        due = wait.due
        if due is not None:
            due = max(due + now - wait.point.get("since", now), now + SHORTEST_LEFT)
        with self.database.write() as connection:
            changes = {"kind": "sending", "answer": message, "due": due}
            if not self.change_wait(wait, "question", **changes):
                return False
            connection.execute(
                "INSERT INTO answers (run_id, step, number, body, at) "
                "SELECT ?, ?, count(*), ?, ? FROM answers WHERE run_id = ? AND step = ?",
                (
                    wait.run_id,
                    wait.step,
                    text(self.closed(connection, wait.run_id, message)),
                    now,
                    wait.run_id,
                    wait.step,
                ),
            )
        return True

    def answers(self, wait: Wait) -> int:
        """Return how many questions of a wait were answered."""
        rows = self.database.read(
            "SELECT count(*) AS n FROM answers WHERE run_id = ? AND step = ?",
            (wait.run_id, wait.step),
        )
        return int(rows[0]["n"])
