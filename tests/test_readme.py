"""What the README says works as it stands there."""

import re
from pathlib import Path

import pytest

from sim_devin.cli import main as cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^\$ sim-devin (\w+)", README, re.MULTILINE)


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_the_python_examples_run(code, monkeypatch, capsys):
    for name in ("DEVIN_API_KEY", "DEVIN_ORG_ID", "SIM_DEVIN_SIMULATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    assert "done" in capsys.readouterr().out


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_the_commands_exist(command):
    assert command in cli.COMMANDS


def test_every_verb_of_the_readme_is_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for verb in re.findall(r"make (\w+)", README):
        assert re.search(rf"^{verb}:", makefile, re.MULTILINE), verb
