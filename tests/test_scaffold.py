"""A new plugin: what is written, and when nothing is. Its tests run in test_package.py."""

import json
import tomllib

import pytest

from sim_devin.errors import CallerError
from sim_devin.plugins import scaffold
from sim_devin.specs.files import read_folder


@pytest.mark.parametrize(
    ("name", "package", "module"),
    [
        ("acme", "acme", "acme"),
        ("acme-devin", "acme-devin", "acme_devin"),
        ("acme_devin", "acme-devin", "acme_devin"),
        ("a1-b2", "a1-b2", "a1_b2"),
        ("a" * scaffold.LONGEST_NAME, "a" * 40, "a" * 40),
    ],
)
def test_a_package_is_written_with_its_specs_in_order(tmp_path, name, package, module):
    folder = tmp_path / "somewhere" / "new"
    files = scaffold.create(name, folder)
    assert [file.relative_to(folder).as_posix() for file in files] == [
        "pyproject.toml",
        "README.md",
        f"{module}/__init__.py",
        f"{module}/{module}_session_cost.tool.json",
        f"{module}/{module}.block.json",
        f"tests/test_{module}.py",
    ]
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == package
    assert project["entry-points"] == {"sim_devin.plugins": {module: module}}
    specs = read_folder(folder / module)
    assert specs.problems == ()
    assert [tool.id for tool in specs.tools] == [f"{module}_session_cost"]
    assert [block.type for block in specs.blocks] == [module]
    assert not any("$" in file.read_text() for file in files)


def test_tool_block_and_hook_take_under_forty_lines(tmp_path):
    files = scaffold.create("acme", tmp_path)
    brings = [file for file in files if file.parent.name == "acme"]
    assert sum(len(file.read_text().splitlines()) for file in brings) < 40
    assert json.loads(brings[1].read_text())["connection"] == "devin"


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "Acme", "1acme", "acme-", "-acme", "acme--x", "acme x", "../acme", "acme/x"),
        *("äcme", "acme.x", "acme\n", "a" * 41),
    ],
)
def test_a_name_that_is_none_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(CallerError, match="Invalid plugin name"):
        scaffold.create(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["sim-devin", "devin", "json", "class", "tests", "pytest"])
def test_a_name_that_something_else_has_is_refused(tmp_path, name):
    with pytest.raises(CallerError, match="is already taken"):
        scaffold.create(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(CallerError, match=r"README\.md.* already exists; nothing was written"):
        scaffold.create("acme", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "LICENSE").write_text("mine")
    scaffold.create("acme", tmp_path)
    assert (tmp_path / "LICENSE").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_the_caller_s_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CallerError, match="Cannot write"):
        scaffold.create("acme", tmp_path / "file" / "new")
