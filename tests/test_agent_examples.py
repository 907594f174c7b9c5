"""The adapters of examples/agents run as they stand, against stubs and the simulator."""

from importlib import import_module
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples" / "agents"


@pytest.mark.parametrize(
    ("name", "needs", "says"),
    [
        ("openai_sdk", "openai", "done: https://github.com/"),
        ("anthropic_sdk", "anthropic", "Devin is at it: https://app.devin.ai/sessions/"),
        ("langchain_tools", "langchain_core", '"tags": ["from-langchain"]'),
        ("pydantic_ai_toolset", "pydantic_ai", "The session is over: exit."),
    ],
)
def test_example(name, needs, says, monkeypatch, capsys, tmp_path):
    pytest.importorskip(needs)
    for variable in ("DEVIN_API_KEY", "DEVIN_ORG_ID", "DEVIN_BASE_URL", "SIM_DEVIN_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.syspath_prepend(EXAMPLES)
    import_module(name).main()
    assert says in capsys.readouterr().out


def test_every_example_is_tested():
    names = {file.stem for file in EXAMPLES.glob("*.py")} - {"stub"}
    assert names == {"openai_sdk", "anthropic_sdk", "langchain_tools", "pydantic_ai_toolset"}
