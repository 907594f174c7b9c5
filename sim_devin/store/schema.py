"""The tables of the run store, as what leads from each version to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sim_devin.store.database import DatabaseConnection
from sim_devin.store.marked import give_marks_up

_V1 = """
CREATE TABLE records (run_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE documents (id TEXT PRIMARY KEY, body TEXT NOT NULL);

CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    name TEXT NOT NULL,
    document TEXT NOT NULL REFERENCES documents (id),
    children TEXT NOT NULL,
    inputs TEXT,
    options TEXT NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    started REAL,
    ended REAL,
    deadline REAL,
    owner TEXT,
    fence INTEGER NOT NULL,
    lease_until REAL NOT NULL,
    cancelling INTEGER NOT NULL,
    result TEXT,
    error TEXT
);
CREATE INDEX runs_by_state ON runs (state, updated);
CREATE INDEX runs_by_owner ON runs (owner) WHERE owner IS NOT NULL;

CREATE TABLE blocks (
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    "key" TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    block_id TEXT NOT NULL,
    output TEXT,
    error TEXT,
    hint TEXT NOT NULL,
    retry INTEGER NOT NULL,
    variables TEXT NOT NULL,
    log TEXT NOT NULL,
    started REAL NOT NULL,
    ended REAL NOT NULL,
    PRIMARY KEY (run_id, "key", attempt)
) WITHOUT ROWID;

CREATE TABLE steps (
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    step TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (run_id, step)
) WITHOUT ROWID;

CREATE TABLE intents (
    tag TEXT PRIMARY KEY,
    run_id TEXT REFERENCES runs (id) ON DELETE CASCADE,
    step TEXT NOT NULL,
    tool TEXT NOT NULL,
    at REAL NOT NULL,
    state TEXT NOT NULL,
    session_id TEXT,
    position INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX intents_by_step ON intents (run_id, step);
CREATE INDEX intents_missing ON intents (at) WHERE state = 'missing';

CREATE TABLE waits (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    step TEXT NOT NULL,
    kind TEXT NOT NULL,
    block_id TEXT NOT NULL,
    context_id TEXT NOT NULL,
    point TEXT NOT NULL,
    output TEXT,
    "then" TEXT NOT NULL,
    due REAL,
    about TEXT NOT NULL,
    place TEXT,
    next_look REAL NOT NULL,
    pause REAL NOT NULL,
    seen TEXT,
    created REAL NOT NULL,
    ended REAL,
    answer TEXT,
    error TEXT,
    open INTEGER NOT NULL,
    used INTEGER NOT NULL DEFAULT 0,
    UNIQUE (run_id, step)
);
CREATE INDEX waits_to_look_at ON waits (kind, place, next_look) WHERE open = 1;

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX events_by_run ON events (run_id, id);

CREATE TABLE leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
"""

_V2 = """
CREATE TABLE answers (
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    step TEXT NOT NULL,
    number INTEGER NOT NULL,
    body TEXT,
    at REAL NOT NULL,
    PRIMARY KEY (run_id, step, number)
) WITHOUT ROWID;

CREATE TABLE spend (
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    step TEXT NOT NULL,
    ceiling TEXT NOT NULL,
    day TEXT NOT NULL,
    reserved REAL NOT NULL,
    settled REAL,
    PRIMARY KEY (run_id, step, ceiling)
) WITHOUT ROWID;
CREATE INDEX spend_by_day ON spend (day);
"""

_V3 = """
ALTER TABLE waits ADD COLUMN credentials TEXT;
UPDATE waits SET credentials = json_extract(about, '$.credentials');
"""

_V4 = """
ALTER TABLE waits ADD COLUMN answer_by REAL;
CREATE INDEX waits_to_answer ON waits (answer_by) WHERE open = 1 AND answer_by IS NOT NULL;
"""

_V5 = """
ALTER TABLE waits ADD COLUMN remind_every REAL;
ALTER TABLE waits ADD COLUMN remind_at REAL;
ALTER TABLE waits ADD COLUMN reminders INTEGER NOT NULL DEFAULT 0;
CREATE INDEX waits_to_remind ON waits (remind_at)
    WHERE open = 1 AND kind IN ('human', 'question', 'approval', 'uncertain');
"""

# Sessions that were created before this are not known to have been: they hold no slot, and
# what they reserved stays reserved.
_V6 = """
CREATE TABLE sessions (
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    step TEXT NOT NULL,
    place TEXT NOT NULL,
    credentials TEXT,
    created REAL NOT NULL,
    since REAL NOT NULL,
    session_id TEXT,
    working INTEGER NOT NULL,
    over_since REAL,
    next_look REAL,
    PRIMARY KEY (run_id, step)
) WITHOUT ROWID;
CREATE INDEX sessions_working ON sessions (place, since) WHERE working = 1;
CREATE INDEX sessions_created ON sessions (place, created);
CREATE INDEX sessions_to_look_at ON sessions (next_look) WHERE next_look IS NOT NULL;
CREATE INDEX sessions_by_id ON sessions (session_id);
"""

# What is looked up while other things wait costs the same with many runs as with few. PostgreSQL
# compares texts by the rules of a language; looking for a beginning takes the plain order.
_V7 = """
CREATE INDEX runs_by_age ON runs (created, id);
CREATE INDEX runs_by_state_and_age ON runs (state, created, id);
CREATE INDEX runs_by_id ON runs (id COLLATE BINARY, created);
CREATE INDEX runs_under_way ON runs (id COLLATE BINARY) WHERE ended IS NULL;
CREATE INDEX runs_by_deadline ON runs (deadline) WHERE ended IS NULL AND deadline IS NOT NULL;
CREATE INDEX runs_by_end ON runs (ended, id) WHERE ended IS NOT NULL;
CREATE INDEX runs_by_document ON runs (document);
CREATE INDEX waits_by_look ON waits (kind, next_look) WHERE open = 1;
CREATE INDEX waits_by_due ON waits (kind, due) WHERE open = 1 AND due IS NOT NULL;
CREATE INDEX waits_in_order ON waits (kind, id) WHERE open = 1;
CREATE INDEX files_of_runs ON events (run_id, id) WHERE kind = 'run.file';
CREATE INDEX runs_of_files ON events (data, run_id) WHERE kind = 'run.file';
CREATE TABLE children (
    document TEXT NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    PRIMARY KEY (document, run_id)
) WITHOUT ROWID;
CREATE INDEX children_by_run ON children (run_id);
INSERT INTO children SELECT DISTINCT value, runs.id FROM runs, json_each(runs.children)
WHERE runs.children <> '{}';
"""

# The account of a day outlives the runs that draw from it, and calls outside of runs do, too.
_V8 = """
CREATE TABLE account (
    run_id TEXT NOT NULL,
    step TEXT NOT NULL,
    ceiling TEXT NOT NULL,
    day TEXT NOT NULL,
    reserved REAL NOT NULL,
    settled REAL,
    PRIMARY KEY (run_id, step, ceiling)
) WITHOUT ROWID;
INSERT INTO account SELECT run_id, step, ceiling, day, reserved, settled FROM spend;
INSERT INTO account (run_id, step, ceiling, day, reserved)
    SELECT DISTINCT run_id, step, 'sessions', '', 1 FROM intents
    WHERE tool = 'devin_create_session' AND state <> 'rejected' AND run_id IS NOT NULL;
DROP TABLE spend;
ALTER TABLE account RENAME TO spend;
CREATE INDEX spend_by_day ON spend (day);
"""

_V9 = "ALTER TABLE runs ADD COLUMN secrets TEXT NOT NULL DEFAULT '[]'"

_V11 = """
CREATE TABLE acts (
    "key" TEXT PRIMARY KEY,
    request TEXT NOT NULL,
    at REAL NOT NULL,
    answer TEXT
) WITHOUT ROWID;
CREATE INDEX acts_by_age ON acts (at);
"""

_V12 = """
ALTER TABLE intents ADD COLUMN text TEXT;
ALTER TABLE intents ADD COLUMN least INTEGER;
ALTER TABLE intents ADD COLUMN most INTEGER;
ALTER TABLE intents ADD COLUMN sends INTEGER NOT NULL DEFAULT 1;
CREATE INDEX intents_by_session ON intents (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX intents_watched ON intents (at) WHERE state IN ('missing', 'stray') OR sends > 1;
DROP INDEX intents_missing;
"""

_V13 = """
ALTER TABLE sessions ADD COLUMN overtime TEXT;
ALTER TABLE sessions ADD COLUMN overtime_look REAL;
CREATE INDEX sessions_in_time ON sessions (created)
    WHERE over_since IS NULL AND session_id IS NOT NULL;
"""

_V14 = "ALTER TABLE runs ADD COLUMN summary TEXT"

# The time in which a question was asked does not count, and so far was added once it was over.
_V15 = """
UPDATE waits SET due = due - CAST(json_extract(point, '$.since') AS REAL) + (
    SELECT max(at) FROM answers WHERE answers.run_id = waits.run_id AND answers.step = waits.step
) WHERE open = 1 AND kind = 'sending' AND json_extract(point, '$.since') IS NOT NULL
"""

# Until then there was one kind of job.
_V16 = """
ALTER TABLE sessions ADD COLUMN job TEXT NOT NULL DEFAULT 'devin_session';
ALTER TABLE waits ADD COLUMN job TEXT;
UPDATE waits SET job = 'devin_session' WHERE kind IN ('session', 'question', 'sending', 'turn');
"""

_V17 = "ALTER TABLE acts ADD COLUMN claims INTEGER NOT NULL DEFAULT 1"

# Which lock is that of a run. A number is never given again: who stands still may hold the lock of
# a run that is forgotten.
_V18 = """
CREATE TABLE run_locks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL UNIQUE REFERENCES runs (id) ON DELETE CASCADE
);
"""

Migration = str | Callable[[DatabaseConnection], None]  # statements, or what executes them


@dataclass(frozen=True)
class OneMachine:
    """A statement for databases that the processes of one machine use, as it stands."""

    statement: str

    def __call__(self, connection: DatabaseConnection) -> None:
        """Execute it."""
        connection.execute(self.statement)


# Processes of versions before locks do not know about them. One that has the file open continues
# driving its runs until its leases expire, and can neither extend them nor take new ones.
_V19 = OneMachine(
    """
    CREATE TRIGGER no_more_leases BEFORE UPDATE OF lease_until ON runs
    WHEN NEW.state = 'running' AND NEW.lease_until > 0
    BEGIN SELECT RAISE(ABORT, 'a newer version of sim-devin uses it: upgrade, and start again'); END
    """
)

MIGRATIONS: tuple[Migration, ...] = (
    _V1,
    _V2,
    _V3,
    _V4,
    _V5,
    _V6,
    _V7,
    _V8,
    _V9,
    give_marks_up,
    _V11,
    _V12,
    _V13,
    _V14,
    _V15,
    _V16,
    _V17,
    _V18,
    _V19,
)
