"""Stores that can only be read, are full, or cannot be opened: listed, and named with a remedy."""

import json
import os
import subprocess
import sys

import pytest

from sim_devin.store.schema import MIGRATIONS
from sim_devin.store.sqlite_file import SqliteFile
from tests.durable.flows import claim
from tests.powers import permissions_count


@pytest.fixture
def kept(invoke, main_job, tmp_path, monkeypatch):
    """Return the file of a store in a folder of its own, with one run that ended."""
    file = tmp_path / "store" / "runs.sqlite"
    monkeypatch.setenv("SIM_DEVIN_STORE", str(file))
    store_run(file)
    yield file
    file.parent.chmod(0o700)


def store_run(file):
    from sim_devin.store.records import BlockRecord, Run
    from sim_devin.store.sql_store import open_store

    store = open_store(file)
    store.add_run(Run("run-1", "ready", store.put_document({"blocks": {}}), "w", created=1.0))
    run = claim(store, "me")
    store.record(run, [BlockRecord("a", 1, "a", log={"blockName": "A", "success": True})])
    store.end_run(run, "done", 2.0, result={"output": {"x": 1}})
    store.close()


def can_be_read(invoke):
    for command in (("list",), ("list", "--state", "done"), ("show", "run-1"), ("watch", "run-1")):
        result = invoke("runs", *command)
        assert result.exit_code == 0, (command, result.output, result.exception)
    assert "run-1" in invoke("runs", "list").output
    assert json.loads(invoke("runs", "show", "run-1", "--json").output)["state"] == "done"


def refuses_to_write(invoke, kept, remedy):
    for command in (("cancel", "run-1"), ("prune", "--older-than", "1s"), ("fork", "run-1")):
        more = ("--from-block", "a") if command[0] == "fork" else ()
        result = invoke("runs", *command, *more)
        assert result.exit_code in (1, 2), (command, result.output)
        assert "Traceback" not in result.output
    result = invoke("runs", "prune", "--older-than", "1s")
    assert result.exit_code == 1
    assert str(kept) in result.output
    assert remedy in result.output


def test_a_file_without_the_right_to_write_it(invoke, kept):
    kept.chmod(0o400)
    with permissions_count():
        can_be_read(invoke)
        refuses_to_write(invoke, kept, "Check the permissions")


def test_a_folder_without_the_right_to_write_in_it(invoke, kept):
    kept.parent.chmod(0o500)
    with permissions_count():
        can_be_read(invoke)
        refuses_to_write(invoke, kept, "Check the permissions")


def test_a_file_and_a_folder_without_the_right_to_write(invoke, kept):
    kept.chmod(0o400)
    kept.parent.chmod(0o500)
    with permissions_count():
        can_be_read(invoke)


def test_a_store_that_another_process_writes_can_be_read_without_the_right_to_write(invoke, kept):
    writer = SqliteFile(kept, MIGRATIONS)
    with writer.write() as connection:
        connection.execute("UPDATE runs SET name = 'written meanwhile'")
    for file in kept.parent.iterdir():
        file.chmod(0o400)
    kept.parent.chmod(0o500)
    with permissions_count():
        assert "written meanwhile" in invoke("runs", "list").output
    writer.close()


def test_a_store_of_an_earlier_version_that_can_only_be_read_is_listed(
    invoke, tmp_path, monkeypatch
):
    file = tmp_path / "old" / "runs.sqlite"
    monkeypatch.setenv("SIM_DEVIN_STORE", str(file))
    old = SqliteFile(file, MIGRATIONS[:3])
    with old.write() as connection:
        connection.execute("INSERT INTO documents VALUES ('d', '{}')")
        connection.execute(
            "INSERT INTO runs (id, state, name, document, children, options, created, updated, "
            "fence, lease_until, cancelling) "
            "VALUES ('run-old', 'done', 'w', 'd', '{}', '{}', 1, 1, 0, 0, 0)"
        )
    old.close()
    file.chmod(0o400)
    file.parent.chmod(0o500)
    before = file.read_bytes()
    with permissions_count():
        assert "run-old" in invoke("runs", "list").output
    assert file.read_bytes() == before
    file.parent.chmod(0o700)


def test_a_store_can_be_written_again_as_soon_as_it_may_be(kept):
    kept.chmod(0o400)
    with permissions_count():
        store = SqliteFile(kept, MIGRATIONS)
        assert store.read("SELECT id FROM runs")[0]["id"] == "run-1"
    kept.chmod(0o600)
    with store.write() as connection:
        connection.execute("UPDATE runs SET name = 'again'")
    assert store.read("SELECT name FROM runs")[0]["name"] == "again"
    store.close()


LIMITED = """
import resource, sys
name, limit = sys.argv[1:3]
resource.setrlimit(getattr(resource, name), (int(limit), int(limit)))
from sim_devin.cli.main import main
main(sys.argv[3:])
"""


def limited(name, limit, *arguments):
    return subprocess.run(
        [sys.executable, "-c", LIMITED, name, str(limit), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )


def test_a_file_that_may_not_grow_is_named_with_the_remedy(kept, main_job, monkeypatch):
    for name in ("DEVIN_API_KEY", "DEVIN_ORG_ID"):
        monkeypatch.setenv(name, "made-up")
    command = ("run", main_job, "--detach", "--input", "repo=r")
    done = limited("RLIMIT_FSIZE", 33_000, *command)
    assert done.returncode == 1, done.stderr
    assert str(kept) in done.stderr
    assert "ulimit -f" in done.stderr
    assert "Traceback" not in done.stderr
    done = limited("RLIMIT_FSIZE", "-1", *command)
    assert done.returncode == 0, done.stderr


EXHAUSTED = """
import os, resource, sys
from sim_devin.cli.main import main
from sim_devin.cli.commands import runs
from sim_devin.store.sql_store import open_store
import sim_devin.app, sim_devin.runs.opening, sim_devin.runs.runs
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        os.open(os.devnull, os.O_RDONLY)
except OSError:
    pass
main(["runs", "list"])
"""


def test_a_process_without_descriptors_says_so_and_what_to_do(kept):
    done = subprocess.run(
        [sys.executable, "-c", EXHAUSTED],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "ulimit -n" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Unexpected" not in done.stderr
