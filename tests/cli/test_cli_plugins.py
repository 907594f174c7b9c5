"""``plugins``, ``blocks`` and ``check``."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sim_devin.errors import CallerError
from sim_devin.specs.files import builtin_folder


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """A folder of spec files: a tool of somebody else's, on the built-in connection."""
    folder = tmp_path / "specs"
    folder.mkdir()
    shutil.copy(builtin_folder() / "shapes.json", folder)
    text = (builtin_folder() / "devin_get_session.tool.json").read_text(encoding="utf-8")
    document = json.loads(text) | {"id": "acme_look", "title": "Look"}
    (folder / "acme_look.tool.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def change(folder: Path, **values: object) -> None:
    file = folder / "acme_look.tool.json"
    document = json.loads(file.read_text(encoding="utf-8")) | values
    file.write_text(json.dumps(document), encoding="utf-8")


# -- plugins -----------------------------------------------------------------------------------


def test_list_of_plugins(invoke, specs):
    lines = invoke("plugins", "--specs", specs).stdout.splitlines()
    assert lines[0].split() == ["PLUGIN", "PACKAGE", "VERSION", "STATE", "BRINGS"]
    assert lines[1].startswith("devin ")
    assert "12 tools, 2 blocks" in lines[1]
    assert lines[-1].split()[-2:] == ["1", "tool"]
    report = json.loads(invoke("plugins", "--json", "--specs", specs).stdout)
    assert report[-1]["tools"] == ["acme_look"]


def test_doctor_with_nothing_to_do(invoke):
    result = invoke("plugins", "doctor")
    assert result.exit_code == 0
    assert "0 broken" in result.stdout
    assert json.loads(invoke("plugins", "doctor", "--json").stdout)["ok"] is True


@pytest.mark.parametrize("strict", ["0", "1"])
@pytest.mark.parametrize(
    "before", [["plugins", "--specs", "specs", "doctor"], ["plugins", "doctor", "--specs", "specs"]]
)
def test_doctor_explains_what_is_broken(invoke, specs, before, strict, monkeypatch):
    monkeypatch.setenv("SIM_DEVIN_STRICT", strict)
    change(specs, color="red")
    result = invoke(*before)
    assert result.exit_code == 1
    assert "acme_look.tool.json: color: unknown key" in result.stdout
    assert "Traceback" in result.stdout or "InvalidSpec" in result.stdout
    assert "1 broken" in result.stdout
    report = json.loads(invoke(*before, "--json").stdout)
    assert report["ok"] is False
    assert report["plugins"][-1]["state"] == "broken"


def test_a_broken_plugin_shows_in_the_list(invoke, specs):
    change(specs, color="red")
    result = invoke("plugins", "--specs", specs)
    assert result.exit_code == 0
    assert "broken" in result.stdout
    assert "plugins doctor" in result.stderr


def test_a_third_partys_tool_shows_with_its_owner(invoke, specs):
    tools = json.loads(invoke("tools", "--json", "--specs", specs).stdout)
    assert (tools[-1]["id"], tools[-1]["owner"]) == ("acme_look", str(specs))
    assert invoke("call", "acme_look", "--specs", specs, "--simulate").exit_code == 2


def test_new_plugin(invoke, monkeypatch, tmp_path):
    module = ModuleType("sim_devin.plugins.scaffold")

    def create(name: str, folder: Path) -> list[Path]:
        if not name.isidentifier():
            raise CallerError(f"{name!r} is no name.")
        return [folder / "pyproject.toml", folder / "README.md"]

    module.create = create
    monkeypatch.setitem(sys.modules, "sim_devin.plugins.scaffold", module)
    monkeypatch.setattr("sim_devin.plugins.scaffold", module, raising=False)
    result = invoke("plugins", "new", "acme", "--dir", "here")
    assert result.stdout.splitlines() == ["here/pyproject.toml", "here/README.md"]
    assert "pip install" in result.stderr
    assert invoke("plugins", "new", "acme").stdout.startswith("acme")
    assert invoke("plugins", "new", "not a name").exit_code == 2


# -- blocks ------------------------------------------------------------------------------------


def test_list_of_blocks(invoke):
    lines = invoke("blocks").stdout.splitlines()
    assert lines[1].startswith("devin ")
    assert "11 in total" in lines[1]
    assert {"devin", "devin_wait", "condition", "response"} <= {line.split()[0] for line in lines}
    assert json.loads(invoke("blocks", "--json").stdout)[0]["type"] == "devin"


def test_form_of_a_block(invoke):
    text = invoke("blocks", "devin").stdout
    assert text.count("· ") == 12
    one = invoke("blocks", "devin", "--operation", "send_message").stdout
    assert "message*" in one
    assert "sessionId*" in one
    assert "prompt" not in one
    data = json.loads(invoke("blocks", "devin", "--operation", "get_session", "--json").stdout)
    assert "acusConsumed" in data["outputs"]


# -- check -------------------------------------------------------------------------------------


def test_good_spec_files(invoke, specs):
    assert invoke("check", builtin_folder()).exit_code == 0
    result = invoke("check", specs)
    assert result.exit_code == 0
    assert "no problems" in result.stdout


@pytest.mark.parametrize(
    ("values", "place", "problem"),
    [
        ({"color": "red"}, "color", "unknown key"),
        ({"connection": "devon"}, "connection", "Did you mean 'devin'?"),
        ({"examples": [{"sessionId": [1]}]}, "examples.0", "sessionId"),
        (
            {"params": {"type": "object", "properties": {}}, "examples": []},
            "request.path",
            "sessionId",
        ),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_bad_spec_files_say_where_and_why(invoke, specs, values, place, problem, whole):
    change(specs, **values)
    path = specs if whole else specs / "acme_look.tool.json"
    result = invoke("check", path)
    assert result.exit_code == 2
    assert f"acme_look.tool.json: {place}" in result.stdout
    assert problem in result.stdout
    found = json.loads(invoke("check", path, "--json").stdout)
    assert found["ok"] is False
    assert found["problems"][0]["place"].startswith(place)


def test_problems_of_other_files_are_not_shown(invoke, specs):
    change(specs, color="red")
    assert invoke("check", specs / "shapes.json").exit_code == 0


def test_broken_json_and_two_files_of_one_id(invoke, specs):
    shutil.copy(specs / "acme_look.tool.json", specs / "other.tool.json")
    assert "'acme_look'" in invoke("check", specs).stdout
    (specs / "other.tool.json").write_text("{", encoding="utf-8")
    assert "is not JSON" in invoke("check", specs).stdout


def test_a_block_whose_tool_is_missing(invoke, specs):
    block = {"type": "acme", "title": "Acme", "operations": {"look": "acme_lock"}}
    (specs / "acme.block.json").write_text(json.dumps(block), encoding="utf-8")
    result = invoke("check", specs)
    assert result.exit_code == 2
    assert "acme.block.json: operations.look: unknown tool 'acme_lock'" in result.stdout
    assert "Did you mean 'acme_look'" in result.stdout


def test_nothing_to_check(invoke, tmp_path):
    (tmp_path / "empty").mkdir()
    assert invoke("check", "empty").exit_code == 2
    assert invoke("check", "missing").exit_code == 2


def test_good_workflow(invoke, main_job):
    result = invoke("check", main_job)
    assert result.exit_code == 0, result.stdout


def test_bad_workflow(invoke, main_job):
    text = main_job.read_text(encoding="utf-8").replace('"devin_wait"', '"slack"')
    main_job.write_text(text, encoding="utf-8")
    result = invoke("check", main_job)
    assert result.exit_code == 2
    assert "slack" in result.stdout
    assert "Wait For It" in result.stdout
