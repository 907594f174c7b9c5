"""Runs in the store: their documents, states and leases."""
# ruff: noqa: S608 - only fixed fragments are put into statements, never values

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sim_devin.errors import CallerError, UnknownName
from sim_devin.store.damage import DamagedRow, naming
from sim_devin.store.database import DatabaseConnection
from sim_devin.store.found_runs import SUGGESTED_FROM, FoundRuns
from sim_devin.store.pruning import Pruning
from sim_devin.store.records import ENDED, PARKED, BlockRecord, EventRecord, Run, RunState
from sim_devin.store.rows import (
    Term,
    changed,
    json_text,
    marks,
    parked_state,
    run_of,
    text,
)
from sim_devin.store.sealing import Seal, names, read_json, to_json

LONGEST_LEASE = 4.0  # times as long as ours a lease of another process may be
OFFERED = 50  # most runs that are offered at a time
FREE: Mapping[str, Any] = {"owner": None, "lease_until": 0}  # columns of what nobody drives


def _over(term: Term) -> tuple[float, float]:
    """Return what the end of a lease that is over is below, or above."""
    return term.now, term.now + LONGEST_LEASE * term.longest


class RunRows(FoundRuns, Pruning):
    """The tables of runs and documents."""

    # -- records of runs that are not durable (`store.RunStore`) ---------------------------------

    def save(self, run_id: str, record: Mapping[str, Any]) -> None:
        """Keep a run's record, replacing an older one."""
        with self.database.write() as connection:
            connection.execute(
                "INSERT INTO records (run_id, body) VALUES (?, ?) "
                "ON CONFLICT (run_id) DO UPDATE SET body = excluded.body",
                (run_id, text(record)),
            )

    def load(self, run_id: str) -> Mapping[str, Any]:
        """Return a run's record.

        Raises:
            UnknownName: there is no such run.
        """
        rows = self.database.read("SELECT body FROM records WHERE run_id = ?", (run_id,))
        if not rows:
            known = self.database.read("SELECT run_id FROM records LIMIT ?", (SUGGESTED_FROM,))
            raise UnknownName("run", run_id, [row["run_id"] for row in known])
        with naming(f"The record of the run {run_id}"):
            record: Mapping[str, Any] = json.loads(rows[0]["body"])
        return record

    # -- documents -----------------------------------------------------------------------------

    def put_document(self, document: Any, seal: Seal | None = None) -> str:
        """Keep a workflow document; return its id, the same for the same document.

        `seal` takes the secrets of the run it is kept for out of it.
        """
        body = json_text(to_json((seal or Seal({})).close(document)))
        key = hashlib.sha256(body.encode()).hexdigest()
        with self.database.write() as connection:
            connection.execute(
                "INSERT INTO documents (id, body) VALUES (?, ?) ON CONFLICT DO NOTHING", (key, body)
            )
        return key

    def document(self, key: str) -> Any:
        """Return a workflow document.

        Raises:
            StoreError: it is missing or damaged.
        """
        rows = self.database.read("SELECT body FROM documents WHERE id = ?", (key,))
        with naming(f"The workflow document {key[:12]}"):
            return read_json(rows[0]["body"])

    # -- runs ------------------------------------------------------------------------------------

    def add_run(self, run: Run, outcomes: Iterable[BlockRecord] = ()) -> None:
        """Record a new run, with what its blocks came to in the run that it is forked from.

        Raises:
            CallerError: there is a run of that id.
        """
        with self.database.write() as connection:
            if connection.execute("SELECT 1 FROM runs WHERE id = ?", (run.id,)).fetchone():
                raise CallerError(f"A run {run.id!r} already exists.")
            used = names(self.seals(run.id).close([run.name, run.inputs, run.options]))
            run.secrets = sorted({*run.secrets, *used})
            self.insert(connection, "runs", run, run.id)
            for document in set(run.children.values()):
                connection.execute(
                    "INSERT INTO children (document, run_id) VALUES (?, ?)", (document, run.id)
                )
            for outcome in outcomes:
                self.insert(connection, "blocks", outcome, run.id, run_id=run.id)
            self.put_event(
                connection, EventRecord(run.id, run.created, "run.created", {"workflow": run.name})
            )
            if run.state == "ready":
                self.carrier.put(connection, [run.id])

    def offered(self, term: Term) -> Iterator[str]:
        """Yield the runs that may be begun: those whose process counts as dead, and ready ones.

        A term that ends implausibly late was given before the machine was started again.
        """
        return (run_id for run_id, _ in self.offered_with_locks(term))

    def offered_with_locks(self, term: Term) -> Iterator[tuple[str, int | None]]:
        """Yield the same with the numbers of their locks."""
        over = "state = 'running' AND (lease_until < ? OR lease_until > ?)"
        for where, values in ((over, _over(term)), ("state = 'ready'", ())):
            query = (
                "SELECT id, number FROM runs LEFT JOIN run_locks ON run_id = id "
                f"WHERE {where} ORDER BY updated LIMIT ?"
            )
            for row in self.database.read(query, (*values, OFFERED)):
                yield row["id"], row["number"]

    def begin_run(self, run_id: str, owner: str, term: Term, moment: float) -> Run | None:
        """Let a process drive a run from now on; None if it may not, by what its row says.

        It may if the run is ready, or its process counts as dead by `term`. The run's fence grows,
        so that nobody else can record or send anything for it. `moment` is the app's time.
        """
        with self.database.write() as connection:
            taken = connection.execute(
                "UPDATE runs SET state = 'running', owner = ?, fence = fence + 1, "
                "lease_until = ?, started = coalesce(started, ?), error = NULL WHERE id = ? AND "
                "(state = 'ready' OR (state = 'running' AND (lease_until < ? OR lease_until > ?))) "
                "RETURNING *",
                (owner, term.until, moment, run_id, *_over(term)),
            ).fetchone()
            if taken is None:
                return None
            try:
                return run_of(taken)
            except DamagedRow as error:  # the others can be driven
                self.hold(connection, run_id, error)
        return None

    def give_locks(self, connection: DatabaseConnection, run_ids: Sequence[str]) -> None:
        """Give runs locks of their own, unless they have some or are gone."""
        for run_id in run_ids:
            connection.execute(
                "INSERT INTO run_locks (run_id) SELECT id FROM runs WHERE id = ? "
                "AND NOT EXISTS (SELECT 1 FROM run_locks WHERE run_id = runs.id)",
                (run_id,),
            )

    def lock_of(self, run_id: str) -> int | None:
        """Return the number of a run's lock; None without one."""
        rows = self.database.read("SELECT number FROM run_locks WHERE run_id = ?", (run_id,))
        return rows[0]["number"] if rows else None

    def driven_by(self, owner: str) -> dict[str, tuple[int, bool]]:
        """Return run -> (fence, whether it is to be cancelled), of what a process drives."""
        rows = self.database.read(
            "SELECT id, fence, cancelling FROM runs WHERE owner = ? AND state = 'running'", (owner,)
        )
        return {row["id"]: (row["fence"], bool(row["cancelling"])) for row in rows}

    def keep_leases(self, owner: str, until: float) -> dict[str, tuple[int, bool]]:
        """Prolong the leases of a process; return run -> (fence, whether it is to be cancelled)."""
        with self.database.write() as connection:
            rows = connection.execute(
                "UPDATE runs SET lease_until = ? WHERE owner = ? AND state = 'running' "
                "RETURNING id, fence, cancelling",
                (until, owner),
            ).fetchall()
        return {row["id"]: (row["fence"], bool(row["cancelling"])) for row in rows}

    def end_run(
        self,
        run: Run,
        state: RunState,
        now: float,
        *,
        result: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """Record how a run ended, or why it is held, and give up its lease.

        One that was to be cancelled meanwhile is cancelled instead of held.

        Raises:
            LeaseLost: another process has taken the run.
        """
        with self.held(run) as connection:
            row = connection.execute(
                "SELECT cancelling FROM runs WHERE id = ?", (run.id,)
            ).fetchone()
            if state == "held" and row["cancelling"]:
                state = "cancelled"
            connection.execute(
                "UPDATE runs SET state = ?, summary = ?, result = ?, error = ?, updated = ?, "
                "ended = ?, owner = NULL, lease_until = 0 WHERE id = ?",
                (
                    state,
                    text(run.summary),
                    text(self.closed(connection, run.id, result)),
                    self.closed_text(connection, run.id, error),
                    now,
                    now if state in ENDED else None,
                    run.id,
                ),
            )
            if state in ENDED:
                connection.execute("UPDATE waits SET open = 0 WHERE run_id = ?", (run.id,))
            data = {"error": error} if error else {}
            self.put_event(connection, EventRecord(run.id, now, f"run.{state}", data))

    def park(self, run: Run, now: float, steps: Collection[str] = ()) -> RunState:
        """Set a run aside until something it waits for is there; return its state.

        It is ready again at once when that came while it was still being driven, when one of
        the `steps` at which it stopped is not waited for any more, or to be cancelled.

        Raises:
            LeaseLost: another process has taken the run.
        """
        with self.held(run) as connection:
            woken = connection.execute(
                "SELECT 1 FROM waits WHERE run_id = ? AND open = 0 AND used = 0 "
                "UNION SELECT 1 FROM runs WHERE id = ? AND cancelling = 1",
                (run.id, run.id),
            ).fetchone()
            rows = connection.execute(
                "SELECT step FROM waits WHERE run_id = ? AND open = 1", (run.id,)
            ).fetchall()
            gone = set(steps).difference(row["step"] for row in rows)
            state: RunState = "ready"
            if woken or gone:
                self.make_ready_where(connection, "id = ?", (run.id,), now, **FREE, error=None)
            else:
                state = parked_state(connection, run.id)
                connection.execute(
                    "UPDATE runs SET state = ?, updated = ?, owner = NULL, lease_until = 0, "
                    "error = NULL WHERE id = ?",
                    (state, now, run.id),
                )
            self.put_event(connection, EventRecord(run.id, now, f"run.{state}", {}))
        return state

    def release(self, run: Run, now: float, why: str | None = None) -> None:
        """Release a run so that any process can claim it at once; `why`, if it could not continue.

        Raises:
            LeaseLost: another process has taken the run.
        """
        with self.held(run) as connection:
            error = self.closed_text(connection, run.id, why)
            self.make_ready_where(connection, "id = ?", (run.id,), now, **FREE, error=error)

    def make_ready(self, run_id: str, states: Sequence[str], now: float) -> bool:
        """Make a run in one of these states ready; return whether it was."""
        with self.database.write() as connection:
            where = f"id = ? AND state IN ({marks(states)})"
            anew = dict.fromkeys(("ended", "result", "summary", "error"))
            return bool(
                self.make_ready_where(
                    connection, where, (run_id, *states), now, **anew, cancelling=0
                )
            )

    def hold_run(self, run_id: str, now: float, why: str) -> bool:
        """Hold a run that waits for something that only a person can fix."""
        with self.database.write() as connection:
            error = self.closed_text(connection, run_id, why)
            held = changed(
                connection,
                f"UPDATE runs SET state = 'held', updated = ?, error = ? "
                f"WHERE id = ? AND state IN ({marks(PARKED)})",
                (now, error, run_id, *PARKED),
            )
            if held:
                self.put_event(connection, EventRecord(run_id, now, "run.held", {"error": why}))
        return held

    def unhold_run(self, run_id: str) -> None:
        """Let a run wait on that was held for what is fixed now."""
        with self.database.write() as connection:
            connection.execute(
                "UPDATE runs SET state = ?, error = NULL WHERE id = ? AND state = 'held'",
                (parked_state(connection, run_id), run_id),
            )

    def cancel_run(self, run_id: str, now: float) -> RunState:
        """Ask for a run to be cancelled; return its state, ``cancelled`` if nobody drives it."""
        with self.database.write() as connection:
            if changed(
                connection,
                f"UPDATE runs SET state = 'cancelled', updated = ?, ended = ? "
                f"WHERE id = ? AND state IN ({marks((*PARKED, 'ready', 'held'))})",
                (now, now, run_id, *PARKED, "ready", "held"),
            ):
                connection.execute("UPDATE waits SET open = 0 WHERE run_id = ?", (run_id,))
                self.put_event(connection, EventRecord(run_id, now, "run.cancelled", {}))
            else:
                connection.execute("UPDATE runs SET cancelling = 1 WHERE id = ?", (run_id,))
            row = connection.execute("SELECT state FROM runs WHERE id = ?", (run_id,)).fetchone()
        state: RunState = row["state"]
        return state

    def wake_overdue(self, now: float) -> int:
        """Make parked runs ready whose deadline has passed; return how many."""
        where = f"deadline <= ? AND ended IS NULL AND state IN ({marks(PARKED)})"
        if not self.database.read(f"SELECT 1 FROM runs WHERE {where} LIMIT 1", (now, *PARKED)):
            return 0
        with self.database.write() as connection:
            return len(self.make_ready_where(connection, where, (now, *PARKED), now))
