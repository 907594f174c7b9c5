"""``do``: one task, from the prompt to the pull request."""

from __future__ import annotations

import json

import pytest

SIMULATED = ("--simulate", "--speed", "0")


def test_a_task_ends_with_its_pull_request(invoke):
    result = invoke("do", "Fix the build of acme/web", *SIMULATED, "--max-acu", 5)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("The task is done after ")
    assert any(line.startswith("Pull request") and "(open)" in line for line in lines)
    assert "Output" not in lines


@pytest.mark.parametrize(
    ("scenario", "code", "outcome"),
    [
        ("finish", 0, "done"),
        ("fails", 1, "failed"),
        ("sleeps", 1, "asleep"),
        ("out_of_credits", 7, "out_of_money"),
    ],
)
def test_the_exit_code_and_the_json_say_how_it_ended(invoke, scenario, code, outcome):
    result = invoke("do", f"Fix it [scenario: {scenario}]", *SIMULATED, "--json")
    body = json.loads(result.stdout)
    assert (result.exit_code, body["outcome"]) == (code, outcome)
    assert body["runId"]
    assert body["sessionId"]


def test_a_question_without_an_answer_is_told_from_a_failure(invoke):
    result = invoke("do", "Fix it [scenario: asks]", *SIMULATED, "--json")
    body = json.loads(result.stdout)
    assert (result.exit_code, body["state"]) == (6, "asking")
    assert body["waits"][0]["question"] == "Which branch should I target?"


def test_a_question_is_answered(invoke):
    task = ("do", "Fix it [scenario: asks]", *SIMULATED)
    assert invoke(*task, "--answer", "main").exit_code == 0
    assert invoke(*task, "--answer", "main", "--answer", "never asked").exit_code == 0


def test_what_was_written_reaches_devin_as_it_was_written(invoke, devin, tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", "canary")
    (tmp_path / "schema.json").write_text('{"type": "object", "properties": {"a": {}}}')
    (tmp_path / "task.md").write_text("Fix <start.prompt> and {{TOKEN}} & co")
    result = invoke(
        *("do", "@task.md", "--max-acu", 5, "--repo", "acme/web", "--repo", "acme/api"),
        *("--tag", "ci", "--title", "<create.sessionId>", "--schema", "schema.json"),
        *("--timeout", "0.1", "--json"),
    )
    assert (result.exit_code, json.loads(result.stdout)["timedOut"]) == (1, True)
    (sent,) = [entry.body for entry in devin.log if entry.method == "POST"]
    body = json.loads(sent)
    assert body.pop("tags")[0] == "ci"
    assert body == {
        "prompt": "Fix <start.prompt> and {{TOKEN}} & co",
        "title": "<create.sessionId>",
        "max_acu_limit": 5,
        "repos": ["acme/web", "acme/api"],
        "structured_output_schema": {"type": "object", "properties": {"a": {}}},
    }


def test_a_task_that_is_left_to_a_worker_is_recorded_and_not_begun(invoke, devin):
    result = invoke("do", "Fix it", "--detach")
    run = json.loads(invoke("runs", "show", result.stdout.strip(), "--json").stdout)
    assert (result.exit_code, run["state"]) == (0, "ready")
    assert devin.counts["requests"] == 0
    assert invoke("do", "Fix it", "--detach", "--simulate").exit_code == 2


def test_a_task_that_was_killed_is_resumed_and_not_created_again(start, invoke, devin, monkeypatch):
    process = start("do", "Fix it")
    line = process.stderr.readline()
    assert line.startswith("To continue if interrupted: sim-devin do --resume ")
    while "Wait: waiting" not in process.stderr.readline():
        assert process.poll() is None
    process.kill()
    process.wait()
    devin.clock.advance(3600)
    result = invoke(*line.split(": ", 1)[1].split()[1:])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("The task is done")
    assert devin.counts["sessions_created"] == 1


@pytest.mark.parametrize("args", [(), ("Fix it", "--resume", "x")])
def test_either_a_task_or_a_run_is_given(invoke, args):
    result = invoke("do", *args)
    assert result.exit_code == 2
    assert "Give a task, or --resume RUN." in result.stderr


def test_without_a_key_the_simulator_is_offered(invoke):
    result = invoke("do", "Fix it")
    assert result.exit_code == 3
    assert "--simulate" in result.stderr


def test_a_schema_that_is_none_is_refused_before_anything_is_sent(invoke, devin):
    result = invoke("do", "Fix it", "--schema", '{"type": "objekt"}')
    assert result.exit_code == 2
    assert devin.counts["sessions_created"] == 0
