"""The names that other people's code may rely on."""

import importlib
import subprocess
import sys

import pytest

import sim_devin

PUBLIC = [
    "App",
    "BlockContext",
    "BlockError",
    "BlockField",
    "BlockSpec",
    "COSTS_MONEY",
    "DESTRUCTIVE",
    "Devin",
    "Pause",
    "Policy",
    "PydanticAiModel",
    "Request",
    "Response",
    "SimDevinError",
    "Sleep",
    "Specs",
    "ToolSpec",
    "hookimpl",
    "load_specs",
    "open_app",
]

OLD = [
    ("sim_devin.handler", "BlockContext"),
    ("sim_devin.language_model", "PydanticAiModel"),
    ("sim_devin.spec", "BlockField"),
    ("sim_devin.spec", "BlockSpec"),
]


def test_the_package_has_exactly_these_public_names():
    assert sorted(sim_devin.__all__) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_can_be_imported(name):
    assert getattr(sim_devin, name) is not None


@pytest.mark.parametrize(("module", "name"), OLD)
def test_modules_that_moved_are_found_under_their_old_names_with_a_warning(module, name):
    sys.modules.pop(module, None)  # another test may have imported it
    with pytest.warns(DeprecationWarning, match="import its public names from sim_devin"):
        old = importlib.import_module(module)
    assert getattr(old, name) is getattr(sim_devin, name)


def test_policies_are_imported_from_where_they_were():
    from sim_devin.policy import COSTS_MONEY, DESTRUCTIVE, Policy

    assert (COSTS_MONEY, DESTRUCTIVE, Policy) == (
        sim_devin.COSTS_MONEY,
        sim_devin.DESTRUCTIVE,
        sim_devin.Policy,
    )


def test_an_unknown_module_is_still_unknown():
    code = "import sim_devin.handlers_of_old"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "No module named 'sim_devin.handlers_of_old'" in done.stderr
