"""Acts that take effect once: which key was given with what, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from sim_devin.store.rows import Rows

KEPT = 7 * 24 * 3600.0  # seconds for which a repeated act is known


@dataclass(frozen=True)
class Act:
    """What is known of one idempotency key.

    Attributes:
        request: what was asked with it, as a digest.
        answer: what was answered; None while it is in progress, or if it failed.
        claims: how often the act was begun.
    """

    request: str
    answer: str | None
    claims: int = 1


class ActRows(Rows):
    """The table of acts, by a digest of their idempotency key."""

    def claim_act(self, key: str, request: str) -> Act | None:
        """Record that an act begins; return what is known of its key, None if it is new."""
        now = self.database.time()
        with self.database.write() as connection:
            connection.execute("DELETE FROM acts WHERE at < ?", (now - KEPT,))
            known = self.act(key)
            if known is not None:
                connection.execute('UPDATE acts SET claims = claims + 1 WHERE "key" = ?', (key,))
                return known
            connection.execute(
                'INSERT INTO acts ("key", request, at) VALUES (?, ?, ?)', (key, request, now)
            )
        return None

    def act(self, key: str) -> Act | None:
        """Return what is known of a key; None if it is new."""
        rows = self.database.read(
            'SELECT request, answer, claims FROM acts WHERE "key" = ?', (key,)
        )
        return Act(**dict(rows[0])) if rows else None

    def finish_act(self, key: str, answer: str) -> None:
        """Record what was answered."""
        with self.database.write() as connection:
            connection.execute('UPDATE acts SET answer = ? WHERE "key" = ?', (answer, key))
