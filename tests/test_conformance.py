"""The recorded cases agree, and docs/compatibility.md says what the script finds."""

from importlib import import_module
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def conformance(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return import_module("conformance")


def test_every_case_agrees_or_deviates_with_a_reason(conformance, capsys):
    assert conformance.main([]) == 0, capsys.readouterr().out


def test_the_page_is_up_to_date(conformance):
    fresh = conformance.page(conformance.run(conformance.CASES))
    assert fresh == conformance.PAGE.read_text(encoding="utf-8"), (
        "run python scripts/conformance.py --write"
    )


def test_a_deviation_without_a_reason_fails(conformance, tmp_path, capsys):
    for surface in ("request", "response", "block"):
        text = (conformance.CASES / f"{surface}.json").read_text(encoding="utf-8")
        if surface == "request":
            text = text.replace("api.devin.ai/v3", "api.devin.ai/v4", 1)
        (tmp_path / f"{surface}.json").write_text(text, encoding="utf-8")
    assert conformance.main([str(tmp_path)]) == 1
    assert "WITHOUT A REASON" in capsys.readouterr().out


def test_a_reason_that_accounts_for_nothing_fails(conformance, tmp_path, capsys):
    for surface in ("request", "response", "block"):
        (tmp_path / f"{surface}.json").write_text("[]", encoding="utf-8")
    assert conformance.main([str(tmp_path)]) == 1
    assert "A REASON FOR NOTHING: encoded_id" in capsys.readouterr().out
