"""The documentation agrees with the code."""

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from sim_devin.plugins import hooks as hookspecs
from sim_devin.plugins import scaffold
from sim_devin.settings import load_settings
from sim_devin.specs.schema import Checker
from sim_devin.testing import offline_app

ROOT = Path(__file__).parent.parent
TOOLS = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
PLUGINS = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks(page, language):
    """Return (title, code) of each fenced block of a language."""
    return [(title, code) for name, title, code in FENCE.findall(page) if name == language]


@pytest.mark.parametrize("script", ["generate.py", "cli_docs.py"])
def test_what_is_generated_is_up_to_date(script):
    command = [sys.executable, ROOT / "scripts" / script, "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


# -- docs/tools.md ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app():
    return offline_app()


def test_every_devin_tool_has_a_section(app):
    assert re.findall(r"^## (\w+)$", TOOLS, re.MULTILINE) == list(app.registry.tools)


def examples():
    return [code.strip() for _, code in blocks(TOOLS, "console")]


@pytest.mark.parametrize("command", examples(), ids=lambda command: command.split()[3])
def test_the_examples_for_the_command_line_mean_those_for_python(app, command):
    _, program, verb, tool, *pairs = shlex.split(command)
    assert (program, verb) == ("sim-devin", "call")
    checker = Checker(app.registry.tools[tool].params)
    given = dict(pair.split("=", 1) for pair in pairs)
    coerced = checker.coerce(given)
    assert checker.problems(coerced, given) == []
    called = {}
    (code,) = (code for _, code in blocks(TOOLS, "python") if f'app.call("{tool}"' in code)
    exec(code, {"app": Calls(called)})
    assert called == {tool: coerced}


class Calls:
    """Stands in for an app and keeps what it was asked to do."""

    def __init__(self, called):
        self.called = called

    def call(self, tool, params):
        self.called[tool] = params


# -- docs/plugins.md -------------------------------------------------------------------------


def hooks():
    return [
        (name, function)
        for name, function in vars(hookspecs).items()
        if name.startswith("sim_devin_")
    ]


def test_every_hook_has_a_part_with_its_signature():
    signatures = {
        name: f"def {name}{inspect.signature(function)}".replace("'", "")
        for name, function in hooks()
    }
    documented = [code.strip() for title, code in blocks(PLUGINS, "python") if title == "hookspec"]
    assert documented == list(signatures.values())
    sections = re.findall(r"^### (sim_devin_\w+)$", PLUGINS, re.MULTILINE)
    assert sections == list(signatures)
    assert all(function.__doc__ for _, function in hooks())


def test_the_page_shows_the_plugin_that_the_scaffold_makes(tmp_path):
    made = {
        path.relative_to(tmp_path).as_posix(): path.read_text()
        for path in scaffold.create("acme-devin", tmp_path)
    }
    (pyproject,) = (code for _, code in blocks(PLUGINS, "toml"))
    assert pyproject in made["pyproject.toml"]
    shown = blocks(PLUGINS, "json") + blocks(PLUGINS, "python")
    shown = [(title, code) for title, code in shown if title in made]
    assert len(shown) == 5
    for title, code in shown:
        assert code in made[title]


def test_the_page_shows_the_example_plugin_as_it_is():
    folder = ROOT / "tests" / "example_plugin"
    shown = [
        (title, code)
        for title, code in blocks(PLUGINS, "python")
        if title.startswith("acme_tickets/")
    ]
    assert len(shown) == 6
    for title, code in shown:
        assert code in (folder / title).read_text()


def test_a_folder_without_python_works_as_the_page_says(tmp_path, monkeypatch):
    (tool,) = (code for title, code in blocks(PLUGINS, "json") if title.endswith(".tool.json"))
    folder = tmp_path / "our-tools"
    folder.mkdir()
    (folder / "cost.tool.json").write_text(tool)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIM_DEVIN_CONFIG", os.devnull)
    (code,) = (code for _, code in blocks(PLUGINS, "python") if "open_app(specs=" in code)
    space = {}
    exec(f"import sim_devin\n{code}", space)
    assert json.loads(tool)["id"] in space["app"].registry.tools
    assert load_settings({"SIM_DEVIN_SPECS": "./our-tools", "SIM_DEVIN_CONFIG": os.devnull}).specs


def test_the_kit_is_named_as_pytest_finds_it():
    (kit,) = (entry for entry in entry_points(group="pytest11") if entry.name == "sim_devin")
    testing = kit.load()
    section = PLUGINS.partition("## Testing")[2].partition("\n## ")[0]
    names = re.findall(r"^\| `(\w+)[`(]", section, re.MULTILINE)
    assert len(names) == 8
    assert [name for name in names if not hasattr(testing, name)] == []


# -- docs/agents.md --------------------------------------------------------------------------


def test_the_policy_of_the_docs_is_one(tmp_path):
    page = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    (text,) = (code for _, code in blocks(page, "toml") if "[policy]" in code)
    config = tmp_path / "config.toml"
    config.write_text(text, encoding="utf-8")
    config.chmod(0o600)
    policy = load_settings({}, config).policy
    assert policy.confirm == ("destructive", "costs-money")
    assert set(tomllib.loads(text)["policy"]) == {item.name for item in fields(policy)}
    assert policy.slips(offline_app().registry.tools) == []


# -- CONTRIBUTING.md and docs/architecture.md ------------------------------------------------

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
LAYERS = CONTRIBUTING.partition("## The layers")[2].partition("```\n")[2].partition("```")[0]
GUIDES = {
    "CONTRIBUTING.md": CONTRIBUTING,
    "architecture.md": (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"),
}
A_PATH = re.compile(r"[\w./*<>-]+(?:/|\.(?:js|json|md|mjs|py|toml|txt))")
NAMED = re.compile(r"((?:`[\w.]+`(?:, | and )?)+)(?: in |,? \()`([^`]+)`")


def found(path, beside=ROOT):
    """Return what a path may mean: from the root, from the package, or `beside` the last one."""
    pattern = re.sub("<.*?>", "*", path)
    folders = dict.fromkeys((ROOT / "sim_devin", ROOT, beside))
    return [item for folder in folders for item in sorted(folder.glob(pattern)) if item.exists()]


def missing(paths):
    """Return the paths that are not there."""
    lost, beside = [], ROOT
    for path in paths:
        items = found(path, beside)
        if not items:
            lost.append(path)
        elif "/" in path:
            beside = items[0] if items[0].is_dir() else items[0].parent
    return lost


def defines(file, name):
    """Return whether a file defines a name, such as ``Toolbox.call``; a JSON file has the key."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        return f'"{name}":' in text
    definition = r"^\s*(?:async )?(?:(?:def|class) {0}\b|{0}\b[^\n=]*=)"
    return all(re.search(definition.format(part), text, re.MULTILINE) for part in name.split("."))


@pytest.mark.parametrize("page", GUIDES)
def test_every_file_that_the_page_names_is_there(page):
    text = re.sub("^```.*?^```", "", GUIDES[page], flags=re.MULTILINE | re.DOTALL)
    words = [word for code in re.findall("`([^`]+)`", text) for word in code.split()]
    paths = list(filter(A_PATH.fullmatch, words))
    assert len(paths) > 10
    assert missing(paths) == []


@pytest.mark.parametrize("page", GUIDES)
def test_every_name_that_the_page_places_in_a_file_is_defined_there(page):
    pairs = [
        (name, path)
        for names, path in NAMED.findall(GUIDES[page])
        for name in re.findall(r"[\w.]+", names.replace(" and ", " "))
    ]
    assert pairs
    assert [
        (name, path)
        for name, path in pairs
        if not any(defines(file, name) for file in found(path) if file.is_file())
    ] == []


def test_the_layers_are_those_that_imports_are_held_to():
    assert missing(A_PATH.findall(LAYERS)) == []
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (
        item for item in config["tool"]["importlinter"]["contracts"] if item["type"] == "layers"
    )
    names = {name for layer in contract["layers"] for name in layer.split(" | ")}
    assert (
        names - {path.removesuffix(".py").rstrip("/") for path in A_PATH.findall(LAYERS)} == set()
    )


def test_a_file_or_a_name_that_is_gone_is_found():
    assert missing(["sim_devin/calls/gone.py", "calls/retry.py", "money.py", "verdict.py"]) == [
        "sim_devin/calls/gone.py",
        "verdict.py",
    ]
    (toolbox,) = found("sim_devin/toolbox.py")
    assert defines(toolbox, "Toolbox.call")
    assert not defines(toolbox, "Toolbox.gone")
