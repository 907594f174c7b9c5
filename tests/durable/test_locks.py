"""Runs on one machine: locks beside the store, which end with their process and nothing else."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest

from sim_devin.clock import boottime
from sim_devin.errors import StoreError, StoreUnavailable
from sim_devin.runs.carrier import BEATS, TURN
from sim_devin.store import lock_file, one_machine
from sim_devin.store.lock_file import LockFile
from sim_devin.store.schema import MIGRATIONS
from sim_devin.store.sql_store import open_store
from sim_devin.store.sqlite_file import SqliteFile
from tests.durable.conftest import ENV
from tests.durable.flows import block, devin, flow

ROOT = Path(__file__).parents[2]
LOOK = flow(devin("look", "list_sessions"))
BEFORE_LOCKS = MIGRATIONS[:14]  # what the last version before them knew


def python(script, *arguments, **options):
    """Start a process; it is given arguments and its output is read line by line."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


# -- the locks themselves ---------------------------------------------------------------------


class Runtime(types.ModuleType):
    """What the C runtime of Windows offers, on top of POSIX."""

    LK_NBLCK, LK_UNLCK = 2, 0

    @staticmethod
    def locking(descriptor, mode, count):
        offset = os.lseek(descriptor, 0, os.SEEK_CUR)
        command = fcntl.LOCK_EX | fcntl.LOCK_NB if mode == Runtime.LK_NBLCK else fcntl.LOCK_UN
        fcntl.lockf(descriptor, command, count, offset, os.SEEK_SET)


SYSTEMS = ["by_description", "by_process", "by_runtime"]


@pytest.fixture(params=SYSTEMS)
def system(request, monkeypatch):
    """Let the locks be those of one system or another."""
    if request.param == "by_description" and sys.platform != "linux":
        pytest.skip("Linux alone has these")
    monkeypatch.setitem(sys.modules, "msvcrt", Runtime("msvcrt"))
    monkeypatch.setattr(lock_file, "SET_LOCK", getattr(lock_file, request.param))
    return request.param


TAKER = """
import sys
from sim_devin.store.lock_file import LockFile
locks, held = LockFile(sys.argv[1]), []
for line in sys.stdin:
    held.append(locks.take(int(line)))
    print("taken" if held[-1] else "held", flush=True)
"""


@pytest.fixture
def elsewhere(tmp_path):
    """Return a function that tries to take a lock in another process, which keeps it."""
    process = python(TAKER, tmp_path / "store")

    def take(number):
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    take.process = process
    yield take
    process.kill()
    process.communicate()


def test_one_holds_a_lock_at_a_time(system, tmp_path, elsewhere):
    locks = LockFile(str(tmp_path / "store"))
    mine = locks.take(7)
    assert mine.is_valid()
    assert elsewhere(7) == "held"
    assert elsewhere(8) == "taken"
    assert locks.take(8) is None
    mine.release()
    assert not mine.is_valid()
    assert elsewhere(7) == "taken"
    assert locks.take(7) is None
    locks.close()


def test_a_lock_is_free_as_soon_as_its_process_was_killed(system, tmp_path, elsewhere):
    locks = LockFile(str(tmp_path / "store"))
    assert elsewhere(7) == "taken"
    assert locks.take(7) is None
    elsewhere.process.kill()
    elsewhere.process.wait()
    assert locks.take(7) is not None
    locks.close()


def test_users_in_one_process_exclude_each_other_and_close_without_harm(
    system, tmp_path, elsewhere
):
    """On most systems closing a file anywhere in a process gives up all its locks on it."""
    one, other = (LockFile(str(tmp_path / "store")) for _ in range(2))
    (tmp_path / "link").symlink_to(tmp_path / "store")
    third = LockFile(str(tmp_path / "link"))
    mine = one.take(7)
    assert mine
    assert other.take(7) is None
    assert third.take(7) is None
    theirs = other.take(8)
    other.close()
    third.close()
    assert mine.is_valid()
    assert elsewhere(7) == "held"
    theirs.release()
    one.close()
    assert elsewhere(7) == "taken"


def test_a_file_that_was_removed_is_made_anew_and_nothing_is_held_in_it(system, tmp_path):
    one, other = (LockFile(str(tmp_path / "store")) for _ in range(2))
    mine = one.take(7)
    Path(one.path).unlink()
    assert not mine.is_valid()
    theirs = other.take(7)
    assert theirs.is_valid()
    mine.release()
    assert theirs.is_valid()
    for locks in (one, other):
        locks.close()


FORKING = """
import os, signal, sys
from sim_devin.store.lock_file import LockFile
locks = LockFile(sys.argv[1])
held = locks.take(7)
child = os.fork()
if child == 0:
    assert not held.is_valid()
    os.write(1, b"taken\\n" if locks.take(7) else b"held\\n")
    signal.pause()
os.write(1, b"%d\\n" % child)
signal.pause()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_holds_nothing_of_its_parents(tmp_path):
    process = python(FORKING, tmp_path / "store")
    lines = [process.stdout.readline().strip() for _ in range(2)]
    child = int(next(line for line in lines if line.isdigit()))
    try:
        assert "held" in lines  # by its parent
        process.kill()
        process.wait()
        locks = LockFile(str(tmp_path / "store"))
        assert locks.take(7) is not None
        locks.close()
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_a_lock_that_the_system_refuses_is_no_lock(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    locks = LockFile(str(tmp_path / "store"))
    locks.open()
    monkeypatch.setattr(lock_file, "SET_LOCK", refuse)
    with pytest.raises(StoreUnavailable, match=r"store\.locks cannot be used: No locks"):
        locks.take(7)
    locks.close()


# -- runs under them ----------------------------------------------------------------------------

WORKER = """
import sys
import sim_devin
app = sim_devin.open_app(discover=False, store=sys.argv[1])
app.runs.work(on_event=lambda event: print(event.kind, event.run_id, flush=True))
"""
ENDLESS = flow(block("spin", "function", code="while (true) {}", timeout="600000"))


@pytest.fixture
def workers(tmp_path):
    """Return a function that starts a real worker over the store."""
    started = []
    env = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **ENV,
        "SIM_DEVIN_CONFIG": os.devnull,
        "DEVIN_ORG_ID": "org-simulated",
        "DEVIN_BASE_URL": "http://127.0.0.1:9/v3",
        "SIM_DEVIN_LEASE": "3600",  # has nothing to do with it
    }

    def start():
        started.append(python(WORKER, tmp_path / "runs.sqlite", env=env, stderr=subprocess.DEVNULL))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def file_app(tmp_path, open_app):
    store = open_store(tmp_path / "runs.sqlite")
    yield open_app(store=store)
    store.close()


@pytest.fixture
def store():
    """Keep the apps here from being made over every kind of store."""
    with_nothing = open_store()
    yield with_nothing
    with_nothing.close()


def test_a_worker_takes_over_when_another_is_killed_whatever_leases_are_given(file_app, workers):
    first = workers()
    run_id = file_app.runs.start(ENDLESS, env=ENV)
    assert first.stdout.readline().split() == ["run.started", run_id]
    second = workers()
    assert file_app.runs.worker.claim(run_id) is None
    first.kill()
    assert second.stdout.readline().split() == ["run.started", run_id]
    assert file_app.runs.worker.claim(run_id) is None
    run = file_app.runs.store.run(run_id)
    assert str(second.pid) in run.owner
    assert run.fence == 2


def test_a_turn_is_one_processes_at_a_time_and_over_when_it_is_taken(file_app, open_app):
    other = open_app(store=open_store(file_app.runs.store.database.path))
    one, two = file_app.runs.worker.carrier, other.runs.worker.carrier
    with one.turn("poll place") as mine:
        assert mine
        with two.turn("poll place") as theirs, two.turn("poll elsewhere") as elsewhere:
            assert not theirs
            assert elsewhere
    with two.turn("poll place") as theirs:
        assert theirs
    other.runs.close()
    other.runs.store.close()


def test_a_process_that_stands_still_does_not_keep_a_turn_for_ever(file_app, open_app, monkeypatch):
    database = file_app.runs.store.database
    other = open_app(store=open_store(database.path))
    one, two = file_app.runs.worker.carrier, other.runs.worker.carrier
    began = (database.time() // TURN + 1) * TURN

    def at(seconds):
        monkeypatch.setattr(type(database), "time", lambda _: began + seconds)

    at(TURN - 1)
    with one.turn("poll place") as mine:
        assert mine
        for seconds in (TURN - 1, TURN, 2 * TURN - 2):  # for all that a poll may take
            at(seconds)
            with two.turn("poll place") as theirs:
                assert not theirs
        for seconds in (2 * TURN, 3 * TURN, 10 * TURN):
            at(seconds)
            with two.turn("poll place") as theirs, one.turn("poll place") as twice:
                assert theirs
                assert not twice
    other.runs.close()
    other.runs.store.close()


def test_no_two_runs_share_a_lock_and_none_is_given_again(file_app):
    store = file_app.runs.store
    numbers = []
    for turn in range(3):
        ids = [file_app.runs.start(LOOK, env=ENV) for _ in range(20)]
        numbers += [store.lock_of(run_id) for run_id in ids]
        file_app.runs.work(once=True)
        file_app.runs.prune(file_app.clock.time() + 1 + turn)
    assert None not in numbers
    assert len(set(numbers)) == 60


def test_nothing_uses_a_store_that_was_closed_under_a_run(open_app, tmp_path, transport):
    store = open_store(tmp_path / "runs.sqlite")
    app = open_app(store=store)
    run = app.runs.worker.claim(app.runs.start(LOOK, env=ENV))
    with app.runs.worker.drives.watch(run, None) as watched:
        assert BEATS in [thread.name for thread in threading.enumerate()]
        app.runs.close()
        store.close()
        assert watched.lost
        assert watched.stop.is_set()
        assert BEATS not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(StoreError, match="closed"):
        store.put_document({})


def test_a_lease_for_a_file_is_said_to_mean_nothing(open_app, tmp_path, caplog):
    store = open_store(tmp_path / "runs.sqlite")
    app = open_app(store=store, env={**ENV, "SIM_DEVIN_LEASE": "5"})
    assert app.runs
    assert "SIM_DEVIN_LEASE means nothing" in caplog.text
    store.close()


# -- beside a version that knew no locks --------------------------------------------------------


@pytest.fixture
def old(tmp_path):
    """Return the file of an older version, open in a process of it that drives two runs."""
    database = SqliteFile(tmp_path / "runs.sqlite", BEFORE_LOCKS)
    with database.write() as connection:
        connection.execute("INSERT INTO documents VALUES ('d', ?)", ('{"blocks": {}}',))
        for name, lease in (("lives", boottime() + 20), ("dead", boottime() - 1)):
            connection.execute(
                "INSERT INTO runs (id, state, name, document, children, options, created, updated, "
                "owner, fence, lease_until, cancelling) VALUES "
                "(?, 'running', 'w', 'd', '{}', '{\"trigger\": \"manual\"}', 1, 1, 'old', 1, ?, 0)",
                (name, lease),
            )
    yield database
    database.close()


def test_what_a_living_older_process_drives_is_left_to_it_until_its_lease_is_over(
    old, file_app, monkeypatch
):
    worker, database = file_app.runs.worker, file_app.runs.store.database
    assert worker.claim().id == "dead"
    assert worker.claim() is None
    assert worker.claim("lives") is None
    later = database.time() + 21
    monkeypatch.setattr(database, "time", lambda: later)
    assert worker.claim().fence == 2


def test_an_older_process_can_neither_take_runs_nor_keep_them_and_is_told_to_be_upgraded(
    old, file_app
):
    assert file_app.runs.worker.claim("dead") is not None
    takes = "UPDATE runs SET state = 'running', owner = 'old', lease_until = 9e9 WHERE id = 'dead'"
    keeps = "UPDATE runs SET lease_until = 9e9 WHERE owner = 'old' AND state = 'running'"
    for statement in (takes, keeps):
        with pytest.raises(StoreError, match=r"newer version of sim-devin uses it: upgrade"):
            execute(old, statement)
    execute(
        old, "UPDATE runs SET state = 'ready', lease_until = 0 WHERE id = 'lives'"
    )  # given back
    assert file_app.runs.worker.claim("lives") is not None


def execute(database, statement):
    with database.write() as connection:
        connection.execute(statement)


# -- more than one machine ----------------------------------------------------------------------

MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / {folder}/with\\040blank rw - {kind} server:/export rw
31 22 0:41 / {folder} rw shared:1 - ext4 /dev/sdb rw
"""


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    """Return a function that lets a folder be on a file system of a kind."""

    def mount(kind):
        table = tmp_path / "mountinfo"
        table.write_text(MOUNTS.format(folder=tmp_path, kind=kind))
        monkeypatch.setattr(one_machine, "MOUNTS", table)
        folder = tmp_path / "with blank"
        folder.mkdir(exist_ok=True)
        return folder

    return mount


@pytest.mark.skipif(sys.platform != "linux", reason="reads the mounts of Linux")
@pytest.mark.parametrize(
    "kind",
    ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "virtiofs", "fuse.glusterfs"],
)
def test_a_store_on_a_network_file_system_is_refused_with_the_remedy(mounted, tmp_path, kind):
    folder = mounted(kind)
    with pytest.raises(StoreError, match=rf"network file system \({kind}\)") as caught:
        open_store(folder / "deep" / "runs.sqlite")
    assert "local disk" in caught.value.hint
    assert "PostgreSQL" in caught.value.hint
    assert list(folder.iterdir()) == []
    link = tmp_path / "link.sqlite"
    link.symlink_to(folder / "runs.sqlite")
    with pytest.raises(StoreError, match="network file system"):
        open_store(link)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the mounts of Linux")
@pytest.mark.parametrize("kind", ["ext4", "overlay", "tmpfs", "fuseblk", "btrfs", "zfs", "fuse.x"])
def test_a_store_on_any_other_file_system_is_not(mounted, kind):
    open_store(mounted(kind) / "runs.sqlite").close()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that makes this another machine, and what it does while it watches."""
    naps = []
    monkeypatch.setattr(one_machine.time, "sleep", lambda seconds: [nap() for nap in naps])

    def become(name, boot="boot", while_watched=None):
        for file, text in (("machine", name), ("boot", f"{boot} of {name}")):
            (tmp_path / f"{name}.{boot}.{file}").write_text(text)
        monkeypatch.setattr(one_machine, "MACHINE", (tmp_path / f"{name}.{boot}.machine",))
        monkeypatch.setattr(one_machine, "BOOT", tmp_path / f"{name}.{boot}.boot")
        naps[:] = [while_watched] if while_watched else []

    return become


OTHER_MACHINE = """
import sys
from pathlib import Path
from sim_devin.store import one_machine
one_machine.MACHINE, one_machine.BOOT = (Path(sys.argv[2]),), Path(sys.argv[3])
one_machine.RENEWED = 0.0
from sim_devin.store.sql_store import open_store
store = open_store(sys.argv[1])
for line in sys.stdin:
    try:
        store.put_document({"line": line})
        print("written", flush=True)
    except Exception as error:
        print(error, flush=True)
"""


@pytest.fixture
def other_machine(tmp_path):
    """Return a function that lets a process of another machine write to the store."""
    for file in ("machine", "boot"):
        (tmp_path / f"other.{file}").write_text(f"other {file}")
    process = python(
        OTHER_MACHINE, tmp_path / "runs.sqlite", tmp_path / "other.machine", tmp_path / "other.boot"
    )

    def write():
        process.stdin.write("x\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    yield write
    process.kill()
    process.communicate()


def test_a_store_that_another_machine_uses_is_refused_with_the_remedy(
    machine, other_machine, tmp_path
):
    assert other_machine() == "written"
    machine("here", while_watched=other_machine)
    with pytest.raises(StoreError, match="is used by another machine") as caught:
        open_store(tmp_path / "runs.sqlite")
    assert "PostgreSQL" in caught.value.hint
    assert other_machine() == "written"


def test_a_store_that_was_moved_here_can_be_used_and_the_other_machine_notices(
    machine, other_machine, tmp_path
):
    assert other_machine() == "written"
    machine("here")
    store = open_store(tmp_path / "runs.sqlite")
    store.put_document({})
    assert "is used by another machine" in other_machine()
    store.put_document({"still": "ours"})
    store.close()


def test_a_machine_that_was_started_anew_goes_on_at_once(machine, tmp_path):
    def never():
        raise AssertionError("it has nothing to wait for")

    for boot in ("first", "second"):
        machine("here", boot, while_watched=never)
        open_store(tmp_path / "runs.sqlite").close()
        lock_file._forget()


def test_containers_on_one_machine_share_a_store(tmp_path, monkeypatch, other_machine):
    """They have identities of their own, and the kernel and its locks in common."""

    def never(_):
        raise AssertionError("it has nothing to wait for")

    (tmp_path / "container").write_text("an identity of its own")
    monkeypatch.setattr(one_machine, "MACHINE", (tmp_path / "container",))
    monkeypatch.setattr(one_machine, "BOOT", tmp_path / "other.boot")
    assert other_machine() == "written"
    monkeypatch.setattr(one_machine.time, "sleep", never)
    store = open_store(tmp_path / "runs.sqlite")
    store.put_document({})
    assert other_machine() == "written"
    store.put_document({"again": "too"})
    store.close()


def test_the_identity_of_the_machine_is_not_handed_on(tmp_path):
    open_store(tmp_path / "runs.sqlite").close()
    written = (tmp_path / "runs.sqlite.locks").read_text()
    for path in (*one_machine.MACHINE, one_machine.BOOT):
        if path.exists() and path.read_text().strip():
            assert path.read_text().strip() not in written
