"""Whatever is handed to the command line: an error in words, or an answer; never a traceback."""

import pytest

from tests.test_json_input import BAD

LINES = {name: text for name, text in BAD.items() if len(text) < 20_000 and text}


@pytest.fixture
def told(invoke):
    """Run a command that has to fail as a caller's mistake; return what it says."""

    def run(*arguments, input=None, code=2):
        result = invoke(*arguments, input=input)
        assert result.exit_code == code, (result.output, result.exception)
        assert isinstance(result.exception, SystemExit)
        assert "Traceback" not in result.output
        assert "Unexpected" not in result.output
        return result.output

    return run


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_files(told, tmp_path, text):
    file = tmp_path / "bad.json"
    file.write_text(text)
    told("run", file, "--simulate")
    told("call", "devin_create_session", "--json", file, "--simulate")
    told("check", file)
    tool = tmp_path / "specs" / "a.tool.json"
    tool.parent.mkdir()
    tool.write_text(text)
    told("check", tool.parent)


@pytest.mark.parametrize("text", LINES.values(), ids=LINES)
def test_arguments_and_standard_input(told, main_job, text):
    told("call", "devin_create_session", "--json", "-", "--simulate", input=text)
    told("run", "-", "--simulate", input=text)
    told("run", main_job, "--input-json", "-", "--simulate", input=text)
    told("run", main_job, "--bindings", "-", "--simulate", input=text)
    told("run", main_job, "--from-block", "c", "--snapshot", "-", "--simulate", input=text)
    if text.startswith("{"):
        told("call", "devin_create_session", "--json", text, "--simulate")
    told("runs", "answer", "nothing", "--json-answer", text, "--simulate")


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999", "9" * 5000])
def test_numbers_of_options(told, main_job, number, tmp_path):
    told("run", main_job, "--simulate", "--speed", number)
    told("run", main_job, "--simulate", "--deadline", number)
    told("call", "devin_get_session", "sessionId=x", "--simulate", "--timeout", number)
    told("mcp", "--longest-call", number)
    told("wait", "x", "--simulate", "--timeout", number)
    told("runs", "prune", "--older-than", number)
    told("call", "devin_create_session", "prompt=x", f"maxAcuLimit={number}", "--simulate")


def test_settings(told, main_job, tmp_path, monkeypatch):
    config = tmp_path / "config.toml"
    for text in ("a = " + "[" * 5000, "[settings]\ngrace = nan", "[settings]\ngrace = inf"):
        config.write_text(text)
        told("runs", "list")
    config.write_text("a = " + "[" * 5000)
    told("config", "set-key", "--store", "file", input="cog_made_up_key\n")
    config.write_text("")
    for value in ("nan", "inf", "-1", "0", "1e999"):
        monkeypatch.setenv("SIM_DEVIN_LEASE", value)
        assert "SIM_DEVIN_LEASE" in told("runs", "list")


def test_ids_that_no_encoding_has(told):
    for run_id in ("hook-\udc80", "\ud800\ud800\ud800", "a\0bcd", "%", "_" * 10):
        told("runs", "show", run_id)
        told("runs", "resume", run_id)


def test_a_link_to_nowhere_and_one_to_itself(told, tmp_path):
    (tmp_path / "nowhere.json").symlink_to(tmp_path / "missing.json")
    (tmp_path / "itself.json").symlink_to(tmp_path / "itself.json")
    told("run", tmp_path / "nowhere.json", "--simulate")
    told("run", tmp_path / "itself.json", "--simulate")


def test_the_config_file_is_written_through_a_link(invoke, tmp_path):
    real = tmp_path / "dotfiles" / "sim-devin.toml"
    real.parent.mkdir()
    real.write_text("# mine\n")
    link = tmp_path / "config.toml"
    link.symlink_to(real)
    result = invoke(
        "config", "set-key", "--store", "file", "--org", "org-new", input="cog_made_up\n"
    )
    assert result.exit_code == 0, result.output
    assert link.is_symlink()
    assert real.read_text().startswith("# mine")
    assert "org-new" in real.read_text()
