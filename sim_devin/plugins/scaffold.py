"""Start a plugin: write a small package whose tests pass."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path
from string import Template

from sim_devin.errors import CallerError

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
LONGEST_NAME = 40  # the tool's id has to stay within 56 characters
_TAKEN = {"sim", "sim_devin", "devin", "test", "tests", "pytest", "src"}

_FILES = {
    "pyproject.toml": """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "$package"
version = "0.1.0"
description = "A plugin of sim-devin."
requires-python = ">=3.11"
dependencies = ["sim-devin"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points."sim_devin.plugins"]
$module = "$module"
""",
    "README.md": """\
# $package

A plugin of sim-devin: the tool `${module}_session_cost` and the block `$module`.

    pip install -e '.[test]'
    pytest
    sim-devin tools ${module}_session_cost
    sim-devin plugins

To add a tool, put another `NAME.tool.json` beside the first one. What it may say is in
`tool_specs/tool.schema.json` of the installed sim_devin package, and an editor can check it
with that. `sim-devin check $module` says where a file is wrong.
""",
    "$module/__init__.py": '''\
"""The plugin: its tools and blocks are the JSON files beside this one."""

from importlib.resources import files

import sim_devin


@sim_devin.hookimpl
def sim_devin_specs() -> sim_devin.Specs:
    return sim_devin.load_specs(files(__name__))
''',
    "$module/${module}_session_cost.tool.json": """\
{
  "id": "${module}_session_cost",
  "title": "Cost of a Devin session",
  "description": "Look up how many ACUs one Devin session has used so far.",
  "connection": "devin",
  "request": {"method": "GET", "path": "/organizations/{orgId}/sessions/{sessionId}"},
  "params": {
    "type": "object",
    "properties": {"sessionId": {"type": "string", "description": "Id of the session."}},
    "required": ["sessionId"],
    "additionalProperties": false
  },
  "output": {
    "type": "object",
    "properties": {
      "acus": {"type": "number", "x-from": "acus_consumed", "default": 0, "description": "ACUs."}
    }
  },
  "traits": {"readOnly": true, "retryOn": ["connect", "reset", "timeout", "429", "5xx"]},
  "examples": [{"sessionId": "devin-4f1c9a7e2b6d4c0f9e8a1d3b5c7f2a90"}]
}
""",
    "$module/$module.block.json": """\
{
  "type": "$module",
  "title": "$title",
  "description": "Start a Devin session, or see what one has cost.",
  "operations": {"start": "devin_create_session", "cost": "${module}_session_cost"},
  "labels": {"start": "Start Session", "cost": "Session Cost"}
}
""",
    "tests/test_$module.py": """\
import pytest
from sim_devin.testing import assert_block_conforms, assert_tool_conforms

import $module


@pytest.fixture
def sim_devin_plugins():
    return [$module]


def test_the_tool_conforms(sim_devin_registry):
    tool = sim_devin_registry.tool("${module}_session_cost")
    answers = [{"session_id": "devin-1", "acus_consumed": 2.5}]
    assert_tool_conforms(tool, sim_devin_registry, answers=answers)


def test_the_block_conforms(sim_devin_registry):
    assert_block_conforms(sim_devin_registry.block("$module"), sim_devin_registry)


def test_a_new_session_has_cost_nothing(sim_devin_app):
    session = sim_devin_app.call("devin_create_session", {"prompt": "Fix the login page."})
    cost = sim_devin_app.call("${module}_session_cost", {"sessionId": session["sessionId"]})
    assert cost == {"acus": 0}
""",
}


def create(name: str, folder: Path) -> list[Path]:
    """Write a plugin package called `name` into `folder`; return the files, in order.

    The package has a tool and a block as JSON, the hook that brings them, and tests.

    Raises:
        CallerError: the name cannot be a package's, a file is already there, or the folder
            cannot be written to. Nothing was written then, except in the last case.
    """
    module = _module(name)
    names = {
        "package": name.replace("_", "-"),
        "module": module,
        "title": module.replace("_", " ").title(),
    }
    files = {
        folder / Template(path).substitute(names): Template(text).substitute(names)
        for path, text in _FILES.items()
    }
    present = [path for path in files if path.exists()]
    if present:
        raise CallerError(
            f"{' and '.join(map(str, present))} already exists; nothing was written.",
            hint="Choose another folder.",
        )
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CallerError(f"Cannot write {error.filename}: {error.strerror}.") from None
    return list(files)


def _module(name: str) -> str:
    """Return the module's name for a package's name."""
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise CallerError(
            f"Invalid plugin name {name[:60]!r}.",
            hint="Use lower-case letters, digits and single hyphens, starting with a letter; "
            f"at most {LONGEST_NAME} characters, such as acme-devin.",
        )
    if module in _TAKEN or module in sys.stdlib_module_names or keyword.iskeyword(module):
        raise CallerError(
            f"The name {name!r} is already taken by an installed module.",
            hint="Add a prefix of your own, such as acme-devin.",
        )
    return module
