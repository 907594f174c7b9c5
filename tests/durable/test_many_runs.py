"""What is looked up while others wait costs the same with thousands of runs as with dozens.

Cost is counted in the steps of SQLite's own machine, which depend on rows and not on time.
"""

import sqlite3
import threading
from contextlib import suppress
from functools import partial
from itertools import pairwise

import pytest

from sim_devin.devin.verdict import session_kind
from sim_devin.errors import UnknownName
from sim_devin.store.records import BlockRecord, EventRecord, Run, SessionRecord, Wait
from sim_devin.store.sql_store import open_store
from tests.durable.flows import block, claim, flow

FEW, MANY = 150, 2000
NOW = 1_000_000.0


class Counted(sqlite3.Connection):
    """A connection that counts the steps of its statements."""

    steps = 0

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)

        def count():
            Counted.steps += 1

        self.set_progress_handler(count, 1)


def steps_of(act):
    """Return how many steps the statements of an act take."""
    before = Counted.steps
    act()
    return Counted.steps - before


def ended_runs(store, count, prefix="old"):
    """Put a run that ended into the store, and copies of it with all that belongs to them."""
    document = store.put_document({"blocks": {}})
    for run_id in (f"{prefix}-0", "waiting-1", "ready-1"):
        store.add_run(
            Run(run_id, "ready", document, "w", created=10.0, updated=10.0, options={"a": 1})
        )
        run = claim(store, "me", NOW, 10.0, 10.0, run_id)
        store.record(run, [BlockRecord("a", 1, "a", output={"x": 1})], [])
        store.record_step(run, "a#1/1", "call", {"output": {}})
        store.put_file(run_id, "/flows/a.json", 11.0)
        store.put_session(SessionRecord(run_id, "a#1/1", "place", None, 10.0, 10.0, f"s-{run_id}"))
        store.add_wait(run, Wait(run_id, "a#1", "session", place="place", next_look=NOW + 50))
        store.add_wait(run, Wait(run_id, "b#1", "time", due=NOW + 60))
        if run_id == "waiting-1":
            store.park(run, NOW)
        elif run_id == "ready-1":
            store.release(run, NOW)
        else:
            store.end_run(run, "done", 12.0, result={"output": "x"})
    with store.database.write() as connection:
        for table in ("runs", "blocks", "steps", "waits", "events", "sessions"):
            names = [row["name"] for row in store.database.read(f"PRAGMA table_info({table})")]
            key = "id" if table == "runs" else "run_id"
            kept = [name for name in names if name not in ("id", "run_id")]
            rest = "".join(f', "{name}"' for name in kept)
            taken = rest.replace('"created"', "created + n").replace('"ended"', "ended + n")
            connection.execute(
                "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers "
                f"WHERE n < ?) INSERT INTO {table} ({key}{rest}) "
                f"SELECT '{prefix}-' || n{taken} FROM {table}, numbers WHERE {key} = ?",
                (count - 1, f"{prefix}-0"),
            )


def mistyped(store):
    with pytest.raises(UnknownName):
        store.run("odl-7")


OPERATIONS = {
    "a known id": lambda store: store.is_run("old-7"),
    "an unknown id": lambda store: store.is_run("nothing"),
    "a run by its id": lambda store: store.run("old-7"),
    "a run by the beginning of its id": lambda store: store.run("waiti"),
    "a mistyped id": lambda store: mistyped(store),
    "the newest page": lambda store: store.runs(limit=20),
    "the next page": lambda store: store.runs(limit=20, before="old-30"),
    "a page of one state": lambda store: store.runs(("done",), limit=20),
    "a page of several states": lambda store: store.runs(("waiting", "done", "failed"), limit=20),
    "a page of a state that is rare": lambda store: store.runs(("waiting",), limit=20),
    "whether any run is ready": lambda store: store.is_any("ready"),
    "how many are ready": lambda store: store.count(("ready",)),
    "what runs wait for": lambda store: store.kinds_waited_for(["old-3", "waiting-1"]),
    "the files of runs": lambda store: store.files(["old-3", "old-4", "waiting-1"]),
    "the events of a run": lambda store: store.events("old-3"),
    "the blocks of a run": lambda store: store.outcomes("old-3"),
    "the waits of a run": lambda store: store.waits("old-3"),
    "the last run of a schedule": lambda store: store.last_id("schedule-a-", 25),
    "the last run of a schedule that has not ended": lambda store: store.last_id(
        "old-", 5, unended=True
    ),
    "a claim": lambda store: claim(store, "me", NOW, 10.0, NOW),
    "a claim where nothing is ready": lambda store: [
        claim(store, "me", NOW, 10.0, NOW) for _ in range(2)
    ],
    "a claim of one run": lambda store: claim(store, "me", NOW, 10.0, NOW, "ready-1"),
    "leases": lambda store: store.keep_leases("me", NOW),
    "the next moment": lambda store: store.next_moment(),
    "the next moment of a run": lambda store: store.next_moment("waiting-1"),
    "moments that have come": lambda store: store.finish_due(NOW + 100),
    "deadlines": lambda store: store.wake_overdue(NOW),
    "questions nobody answered": lambda store: store.unanswered(NOW),
    "reminders": lambda store: store.unreminded(NOW, paced=False),
    "groups of sessions": lambda store: store.groups(NOW + 100),
    "sessions to look at": lambda store: store.due_sessions(
        "place", None, NOW + 100, after=0, limit=100
    ),
    "answers to send": lambda store: store.open_waits("sending"),
    "queues": lambda store: store.queues(),
    "slots": lambda store: store.slots_used("nowhere", NOW),
    "creates within a minute": lambda store: store.created_since("place", NOW - 60),
    "sessions nobody looks after": lambda store: store.session_groups(NOW, slots=True),
    "a session by its id": lambda store: store.sessions_named(session_kind(), "s-1"),
    "a new event": lambda store: store.add_event(EventRecord("old-3", NOW, "x", {})),
    "a run to be made ready": lambda store: store.make_ready("old-3", ("done",), NOW),
    "a run to be cancelled": lambda store: store.cancel_run("ready-1", NOW),
}


@pytest.fixture(scope="module")
def sizes(tmp_path_factory):
    """Return what each operation costs, by how many runs there are."""
    folder, connect = tmp_path_factory.mktemp("stores"), sqlite3.connect
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *a, **o: connect(*a, **{**o, "factory": Counted}))
        for count in (FEW, MANY):
            store = open_store(folder / f"{count}.sqlite")
            ended_runs(store, count)
            for name, operation in OPERATIONS.items():
                with suppress(Undone), store.database.write():
                    found[name, count] = steps_of(partial(operation, store))
                    raise Undone
            store.close()
    return found


class Undone(Exception):
    """Ends a transaction, so that nothing of it is kept."""


@pytest.mark.parametrize("name", OPERATIONS)
def test_it_costs_the_same_with_many_runs(sizes, name):
    # A deeper tree of an index may take a few steps more.
    assert sizes[name, MANY] <= 1.2 * sizes[name, FEW] + 60, (sizes[name, FEW], sizes[name, MANY])


def test_pages_follow_each_other_without_gap_or_repetition(store):
    document = store.put_document({})
    for number in range(25):
        state = ("done", "failed", "waiting")[number % 3]
        store.add_run(Run(f"run-{number:02}", state, document, created=float(number // 4)))
    for states in ((), ("done",), ("done", "failed")):
        whole = [run.id for run in store.runs(states, limit=100)]
        assert whole == sorted(whole, reverse=True)
        pages, last = [], None
        while page := store.runs(states, limit=4, before=last):
            pages += [run.id for run in page]
            last = page[-1].id
        assert pages == whole


def test_a_run_is_found_by_the_beginning_of_its_id_whatever_is_in_it(store):
    document = store.put_document({})
    for run_id in ("hook-a%b-1", "hook-a_b-1", "hook-axb-1", "hook-Ä-1", "HOOK-ä-1"):
        store.add_run(Run(run_id, "ready", document))
    assert store.run("hook-a%").id == "hook-a%b-1"
    assert store.run("hook-a_").id == "hook-a_b-1"
    assert store.run("hook-Ä").id == "hook-Ä-1"
    for unknown in ("hook-a", "hook-a%b-2", "hoo", "hook-\udc80"):
        with pytest.raises(UnknownName):
            store.run(unknown)


def test_suggestions_come_from_the_newest_runs(store):
    document = store.put_document({})
    for number in range(200):
        store.add_run(Run(f"run-number-{number}", "ready", document, created=float(number)))
    with pytest.raises(UnknownName) as caught:
        store.run("run-nunber-150")
    assert "run-number-150" in caught.value.hint
    with pytest.raises(UnknownName) as caught:
        store.run("run-nunber-7")
    assert "'run-number-7'" not in caught.value.hint  # too old to be looked at


def test_pruning_takes_small_transactions(tmp_path):
    store = open_store(tmp_path / "runs.sqlite")
    ended_runs(store, MANY)
    changes = []
    with store.database.write() as connection:
        (before,) = connection.execute("SELECT total_changes()").fetchone()
    for _ in store.prune(NOW * 2, "2000-01-01"):
        ((total,),) = store.database.read("SELECT total_changes()")
        changes.append(total - before)
        before = total
    assert max(changes) <= 50 * 11  # eleven rows belong to each of these runs
    assert len(changes) >= MANY / 50
    assert [run.id for run in store.runs(limit=10)] == ["waiting-1", "ready-1"]
    store.close()


def test_others_write_while_runs_are_pruned(tmp_path):
    one, other = (open_store(tmp_path / "runs.sqlite") for _ in range(2))
    ended_runs(one, 200)
    document = one.run("waiting-1").document
    for number, _ in enumerate(one.prune(NOW * 2, "2000-01-01")):
        other.add_run(Run(f"new-{number}", "ready", document))
    assert one.run("new-0").state == "ready"
    assert one.count(("done",)) == 0
    one.close()
    other.close()


def test_a_run_with_very_many_events_is_forgotten_a_part_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("sim_devin.store.pruning.ROWS", 50)
    store = open_store(tmp_path / "runs.sqlite")
    ended_runs(store, 5)
    for number in range(180):
        store.add_event(EventRecord("old-2", float(number), "x", {}))
    deleted = []
    database = store.database
    with database.write() as connection:
        connection.execute("CREATE TABLE counted (n)")
        connection.execute(
            "CREATE TRIGGER counting DELETE ON events BEGIN INSERT INTO counted VALUES (1); END"
        )
    take_turn = database.write

    def write():
        deleted.append(database.read("SELECT count(*) AS n FROM counted")[0]["n"])
        return take_turn()

    monkeypatch.setattr(database, "write", write)
    assert sum(store.prune(NOW * 2, "2000-01-01")) == 5
    assert deleted[-1] >= 180
    assert max(b - a for a, b in pairwise(deleted)) <= 2 * 50
    store.close()


def test_pruning_that_is_stopped_keeps_what_it_did(app, store):
    for number in range(120):
        run = Run(f"r-{number:03}", "done", store.put_document({}), ended=float(number))
        store.add_run(run)
    cancel, told = threading.Event(), []

    def progress(count):
        told.append(count)
        cancel.set()

    assert app.runs.prune(NOW, cancel=cancel, on_progress=progress) == told[0]
    assert 0 < told[0] < 120
    assert store.count(("done",)) == 120 - told[0]
    assert app.runs.prune(NOW) == 120 - told[0]


def test_a_waiting_run_keeps_the_documents_of_its_children(app, store):
    child = flow(block("say", "wait", timeValue="60"))
    parent = flow(block("call", "workflow", workflowId="kid"))
    waiting = app.runs.start(parent, children={"kid": child})
    store.add_run(Run("old", "done", store.put_document({"only": "its own"}), ended=1.0))
    unused = store.run("old").document
    assert app.runs.prune(NOW * 1e6) == 1
    kept = {row["id"] for row in store.database.read("SELECT id FROM documents")}
    run = store.run(waiting)
    assert kept == {run.document, *run.children.values()}
    assert unused not in kept
    assert len(run.children) == 1
    app.runs.follow(waiting)
    assert store.run(waiting).state == "done", store.run(waiting).error
