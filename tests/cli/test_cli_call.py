"""``call`` and ``tools``."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

SESSION = "devin-4f1c9a7e2b6d4c0f9e8a1d3b5c7f2a90"


def create(invoke, *args):
    result = invoke("call", "devin_create_session", "prompt=Fix it", *args)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["sessionId"]


def test_output_is_json_and_what_was_done_is_real(devin, invoke):
    session_id = create(invoke, "tags=a,b", "maxAcuLimit=5")
    (session,) = devin.truth()
    assert session["session_id"] == session_id
    assert {"a", "b"} < set(session["tags"])  # and the tag that makes it reconcilable
    shown = invoke("call", "devin_get_session", f"sessionId={session_id}")
    assert json.loads(shown.stdout)["sessionId"] == session_id


def test_no_reconcile_sends_no_further_tag(devin, invoke):
    create(invoke, "tags=a", "--no-reconcile")
    assert devin.truth()[0]["tags"] == ["a"]


@pytest.mark.parametrize("source", ["stdin", "file", "text"])
def test_parameters_as_json(devin, invoke, source):
    text = json.dumps({"prompt": "Größe", "tags": ["a, b"], "extraBody": {"x": 1}})
    Path("params.json").write_text(text, encoding="utf-8")
    given = {"stdin": "-", "file": "params.json", "text": text}[source]
    result = invoke("call", "devin_create_session", "--json", given, "--dry-run", input=text)
    request = json.loads(result.stdout)
    assert request["json"] == {"prompt": "Größe", "tags": ["a, b"], "x": 1}


def test_named_values_win_over_json(devin, invoke):
    result = invoke(
        "call", "devin_create_session", "prompt=b", "--json", '{"prompt": "a"}', "--dry-run"
    )
    assert json.loads(result.stdout)["json"] == {"prompt": "b"}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("prompt=a=b", "a=b"),
        ("prompt=@@home", "@home"),
        ("prompt=@task.md", "From a file\n"),
        ("prompt=@-", "From standard input"),
    ],
)
def test_where_values_come_from(devin, invoke, item, expected):
    Path("task.md").write_text("From a file\n", encoding="utf-8")
    result = invoke("call", "devin_create_session", item, "--dry-run", input="From standard input")
    assert json.loads(result.stdout)["json"]["prompt"] == expected


def test_a_repeated_name_makes_a_list(devin, invoke):
    args = ("prompt=x", "tags=a", "tags=b", "--dry-run")
    result = invoke("call", "devin_create_session", *args)
    assert json.loads(result.stdout)["json"]["tags"] == ["a", "b"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["prompt"],
        ["=x"],
        ["prompt=@missing.md"],
        ["prompt=@."],
        ["prompt=@latin1"],
        ["--json", "missing.json"],
        ["--json", "[1]"],
        ["--json", "{broken"],
        ["--json", "{}"],
        ["prompt=x", "--timeout", "soon"],
        ["prompt=x", "--timeout", "0"],
        ["prompt=x", "--simulate", "--base-url", "http://127.0.0.1:1/v3"],
        ["prompt=x", "maxAcuLimit=many"],
    ],
)
def test_mistakes_are_found_before_anything_is_sent(devin, invoke, arguments):
    Path("latin1").write_bytes(b"\xe4")
    result = invoke("call", "devin_create_session", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert not devin.log


@pytest.mark.parametrize(
    "arguments",
    [["maxAcuLimit="], ["maxAcuLimit= "], ["--json", '{"maxAcuLimit": null}'], ["--dry-run"]],
)
def test_a_cap_that_is_written_without_a_value_is_a_mistake(devin, invoke, arguments):
    """As by ``maxAcuLimit=$CAP`` where CAP is not set."""
    arguments = arguments if arguments != ["--dry-run"] else ["--dry-run", "maxAcuLimit="]
    result = invoke("call", "devin_create_session", "prompt=x", *arguments)
    assert result.exit_code == 2
    assert "maxAcuLimit has no value" in result.stderr
    assert devin.counts["requests"] == 0


def test_dry_run_shows_the_request_with_its_secrets_masked(devin, invoke):
    secrets = '[{"key": "TOKEN", "value": "hush-hush"}]'
    result = invoke(
        "call", "devin_create_session", "prompt=x", f"sessionSecrets={secrets}", "--dry-run"
    )
    request = json.loads(result.stdout)
    assert request["method"] == "POST"
    assert request["url"].endswith("/v3/organizations/org-test/sessions")
    assert request["headers"]["Authorization"] == "***"
    assert "hush-hush" not in result.stdout
    assert not devin.log


def test_dry_run_of_what_is_not_one_request(devin, invoke):
    result = invoke("call", "devin_wait_for_session", f"sessionId={SESSION}", "--dry-run")
    assert result.exit_code == 2


def test_waiting_tells_its_progress(devin, invoke):
    session_id = create(invoke)
    devin.clock.advance(3600)
    loud = invoke("call", "devin_wait_for_session", f"sessionId={session_id}")
    assert json.loads(loud.stdout)["outcome"] == "done"
    assert "done" in loud.stderr
    quiet = invoke("call", "devin_wait_for_session", f"sessionId={session_id}", "-q")
    assert quiet.stderr == ""


def test_org_option_and_config_file(devin, invoke, monkeypatch):
    monkeypatch.delenv("DEVIN_ORG_ID")
    assert invoke("call", "devin_list_sessions").exit_code == 3
    assert invoke("call", "devin_list_sessions", "--org", "org-test").exit_code == 0
    config = Path("other.toml")
    config.write_text('[credentials.devin]\norgId = "org-test"\n', encoding="utf-8")
    config.chmod(0o600)
    assert invoke("call", "devin_list_sessions", "--config", config).exit_code == 0
    assert invoke("call", "devin_list_sessions", "--config", "missing.toml").exit_code == 2


def test_simulate_needs_nothing_and_says_that_it_is_alone(invoke):
    assert invoke("call", "devin_create_session", "prompt=x", "--simulate").exit_code == 0
    result = invoke("call", "devin_get_session", f"sessionId={SESSION}", "--simulate")
    assert result.exit_code == 5
    assert "sim-devin simulate" in result.stderr
    other = invoke("call", "devin_list_sessions", "--simulate", "--org", "org-other")
    assert other.exit_code == 0


def test_text_that_standard_output_cannot_take_is_escaped(devin, invoke):
    session_id = create(invoke, "title=\ud83d", "--json", "{}")
    result = invoke("call", "devin_get_session", f"sessionId={session_id}")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["sessionId"] == session_id


# -- tools -------------------------------------------------------------------------------------


def test_list_of_tools(invoke):
    lines = invoke("tools").stdout.splitlines()
    assert lines[0].split() == ["TOOL", "OWNER", "TITLE", "TRAITS"]
    assert len(lines) == 13
    assert all(line == line.rstrip() for line in lines)
    assert [item["id"] for item in json.loads(invoke("tools", "--json").stdout)] == [
        line.split()[0] for line in lines[1:]
    ]


def test_one_tool(invoke):
    text = invoke("tools", "devin_create_session").stdout
    for expected in ("prompt*", "DEVIN_API_KEY", "UseDevinSessions", "costs money", "acusConsumed"):
        assert expected in text
    assert "devinMode" not in text
    assert "devinMode" in invoke("tools", "devin_create_session", "--advanced").stdout


def test_one_tool_as_json(invoke):
    tool = json.loads(invoke("tools", "devin_create_session", "--json").stdout)
    parameters = {item["name"]: item for item in tool["parameters"]}
    assert parameters["prompt"]["required"]
    assert parameters["apiKey"]["visibility"] == "user-only"
    assert parameters["sessionSecrets"]["visibility"] == "user-only"
    assert tool["traits"]["costsMoney"]
    assert tool["owner"] == "devin"


def test_the_example_of_every_tool_can_be_typed(devin, invoke):
    for tool in json.loads(invoke("tools", "--json").stdout):
        text = invoke("tools", tool["id"]).stdout
        if not tool["examples"] or tool["id"] == "devin_wait_for_session":
            continue
        program, *words = shlex.split(text.splitlines()[-1])
        assert program == "sim-devin"
        result = invoke(*words, "--dry-run")
        assert result.exit_code == 0, result.stderr
