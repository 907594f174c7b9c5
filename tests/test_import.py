"""Importing the package costs little: heavy libraries are loaded when they are first used."""

import subprocess
import sys

import pytest

HEAVY = ["requests", "jsonschema", "click", "rich", "yaml", "uvicorn", "starlette", "pydantic"]


@pytest.mark.parametrize("statement", ["import sim_devin", "from sim_devin.errors import NotFound"])
def test_what_an_import_does_not_load(statement):
    code = f"import sys; {statement}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
