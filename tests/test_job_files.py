"""Kinds of jobs: what a file may say, and how a mistake in it is named."""

import json
import shutil

import pytest

import sim_devin
from sim_devin.errors import InvalidSpec, PluginError
from sim_devin.specs.files import builtin_folder, read_folder
from tests.render_farm import FOLDER

GOOD = json.loads((FOLDER / "film.job.json").read_text(encoding="utf-8"))


@pytest.fixture
def folder(tmp_path):
    for file in FOLDER.glob("*.json"):
        shutil.copy(file, tmp_path)
    return tmp_path


def problems(folder, job):
    (folder / "film.job.json").write_text(json.dumps(job), encoding="utf-8")
    found = read_folder(folder)
    assert found.jobs == ()
    (error,) = found.problems
    assert isinstance(error, InvalidSpec)
    assert error.place == "film.job.json"
    return "\n".join(error.problems)


def changed(*path, to=None):
    job = json.loads(json.dumps(GOOD))
    *way, last = path
    part = job
    for key in way:
        part = part[key]
    if to is None:
        del part[last]
    else:
        part[last] = to
    return job


@pytest.mark.parametrize(
    ("path", "to", "told"),
    [
        (("create", "tool"), "farm_oder", "create.tool: its plugin has no tool 'farm_oder'. Did"),
        (("create", "cap"), "credit", "create.cap: farm_order has no parameter 'credit'."),
        (("create", "tag"), "credits", "create.tag: 'credits' must be a text or a list"),
        (("create", "tool"), "farm_look", "farm_look is readOnly or idempotent"),
        (("look", "id"), "ordr", "look.id: farm_look has no parameter 'ordr'. Did you mean"),
        (("lookMany", "ids"), "nos", "lookMany.ids: farm_orders has no parameter 'nos'."),
        (("lookMany", "items"), "films", "lookMany.items: farm_orders has no output 'films'."),
        (("lookMany", "with"), {"size": 1}, "lookMany.with.size: farm_orders has no parameter"),
        (("find", "field"), "lable", "find.field: an item of farm_orders has no output 'lable'."),
        (("find",), None, "find: create.tag puts a tag on a job, and nothing finds it"),
        (("answer", "text"), "words", "answer.text: farm_say has no parameter 'words'."),
        (("messages", "author"), "who", "messages.author: an item of farm_notes has no output"),
        (("fields", "state"), "stag", "fields.state: farm_look has no output 'stag'. Did you mean"),
        (("fields", "stat"), "stage", "fields.stat: unknown key. Did you mean 'state'"),
        (("states", "done"), None, "states.done: no state means that the job is done"),
        (("states", "failed"), ["READY"], "states: 'READY' cannot mean two things"),
        (("states", "ready"), ["READY"], "states.ready"),
        (("states", "in_flight"), ["QUEUED"], "in_flight is what all other values mean"),
        (("wait", "tool"), "farm_look", "wait.tool: 'farm_look' is another tool of the job"),
        (("messages", "users"), [], "messages.users"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_named_with_its_place_and_the_nearest_name(folder, path, to, told):
    assert told in problems(folder, changed(*path, to=to))


def test_a_kind_that_does_not_fit_costs_only_itself(folder):
    (folder / "film.job.json").write_text(json.dumps(changed("look", "id", to="nr")))
    app = sim_devin.open_app(specs=[folder], discover=False, env={})
    assert "farm_film" not in app.registry.jobs
    assert "farm_order" in app.registry.tools
    assert "farm_wait" not in app.registry.tools
    with pytest.raises(PluginError, match=r"look\.id: farm_look has no parameter 'nr'"):
        sim_devin.open_app(specs=[folder], discover=False, env={}, strict=True)


def test_two_kinds_do_not_share_a_tool(folder):
    second = {**GOOD, "id": "farm_other", "wait": {"tool": "farm_wait_2", "block": "farm_wait_2"}}
    (folder / "other.job.json").write_text(json.dumps(second))
    app = sim_devin.open_app(specs=[folder], discover=False, env={})
    (plugin,) = [plugin for plugin in app.registry.report if plugin.state == "broken"]
    assert "farm_order' has to do with 'farm_film' already" in "\n".join(plugin.failures)
    assert list(app.registry.jobs) == ["devin_session", "farm_film"]


def test_devins_sessions_are_described_by_such_a_file():
    found = read_folder(builtin_folder())
    assert [job.id for job in found.jobs] == ["devin_session"]
    assert found.problems == ()
