"""``run``: inputs, what is missing, progress, results, pauses, interrupts."""

from __future__ import annotations

import io
import json
import signal
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from sim_devin.cli.commands import interrupts, run_pauses, run_view
from sim_devin.cli.main import cli
from sim_devin.clock import Clock
from sim_devin.engine import bindings, events
from sim_devin.engine.events import Event
from sim_devin.engine.run import BlockLog
from sim_devin.redaction import Redactor

KEY = "cog_test_canary_0001"
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")


def run(invoke, path, *arguments, input=None):
    return invoke("run", path, "--simulate", "--speed", "0", *arguments, input=input)


def as_json(result):
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_the_main_job(invoke, main_job):
    result = run(invoke, main_job, "--input", "repo=acme/web")
    assert result.exit_code == 0, result.stderr
    for expected in (
        "The run succeeded",
        "https://app.devin.ai/sessions/",
        "done (the task is complete)",
        "running · finished",
        "https://github.com/",
        "Response (status 200)",
        '"outcome": "done"',
    ):
        assert expected in result.stdout
    lines = result.stderr.splitlines()
    assert lines[0] == "Start: started"
    assert any(line.startswith("Wait For It: waiting: ") for line in lines)
    assert lines[-1] == "Answer: done"


def test_result_as_json(invoke, main_job):
    data = as_json(run(invoke, main_job, "--json"))
    assert data["success"] is True
    assert data["output"]["data"]["outcome"] == "done"
    assert [log["blockName"] for log in data["logs"]][:2] == ["Start", "Ask Devin"]


def test_events_as_json_lines(invoke, main_job):
    result = run(invoke, main_job, "--events")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    kinds = [line["event"] for line in lines]
    assert kinds[0] == "run.started"
    assert kinds[-2:] == ["run.finished", "result"]
    assert {"block.started", "block.waiting", "block.finished"} <= set(kinds)
    waits = [line["progress"] for line in lines if line["event"] == "block.waiting"]
    assert all({"sessionId", "outcome", "nextLookSeconds"} <= set(wait) for wait in waits)
    assert lines[-1]["result"]["success"] is True
    assert result.stderr == ""


def test_quiet(invoke, main_job):
    assert run(invoke, main_job, "-q").stderr == ""


def echo(export, block, **values):
    """A workflow that answers with what its start block was given."""
    fields = [{"name": name, "type": kind} for name, kind in values.items()]
    data = json.dumps({name: f"<start.{name}>" for name in values})
    return export(
        block("s", "start_trigger", "Start", inputFormat=fields),
        block("r", "response", "Answer", dataMode="json", data=data),
    )


@pytest.mark.parametrize("source", ["stdin", "file", "text"])
def test_inputs(invoke, export, source, block):
    path = echo(export, block, repo="string", issue="number", note="string")
    text = json.dumps({"repo": "old", "issue": 7})
    Path("inputs.json").write_text(text, encoding="utf-8")
    Path("note.md").write_text("a note", encoding="utf-8")
    given = {"stdin": "-", "file": "inputs.json", "text": text}[source]
    arguments = ("--input-json", given, "--input", "repo=acme/web", "--input", "note=@note.md")
    data = as_json(run(invoke, path, "--json", *arguments, input=text))["output"]["data"]
    assert data["repo"] == "acme/web"
    assert data["note"] == "a note"
    assert str(data["issue"]) == "7"


def test_workflow_from_standard_input(invoke, main_job):
    text = main_job.read_text(encoding="utf-8")
    assert as_json(run(invoke, "-", "--json", input=text))["success"] is True


def test_set_and_bindings(invoke, main_job, tmp_path):
    Path("bindings.json").write_text('{"Ask Devin.prompt": "one", "c.title": "from a file"}')
    arguments = ("--bindings", "bindings.json", "--set", "askdevin.prompt=two", "--json")
    logs = as_json(run(invoke, main_job, *arguments))["logs"]
    given = logs[1]["input"]
    assert (given["prompt"], given["title"]) == ("two", "from a file")


def test_env(invoke, export, block):
    path = export(
        block("s", "start_trigger", "Start"),
        block("r", "response", "Answer", dataMode="json", data='{"a": "{{A_NAME}}"}'),
    )
    data = as_json(run(invoke, path, "--env", "A_NAME=hello", "--json"))
    assert data["output"]["data"] == {"a": "hello"}


def test_missing_credentials_name_the_variables_before_anything_runs(invoke, main_job):
    result = invoke("run", main_job)
    assert result.exit_code == 3
    assert "Set DEVIN_ORG_ID and DEVIN_API_KEY" in result.stderr
    assert "Ask Devin" in result.stderr
    assert "--simulate" in result.stderr


def test_missing_values_name_the_fields_before_anything_runs(invoke, main_job, monkeypatch):
    lost = [
        bindings.Missing("Ask Devin", "table", "Table"),
        bindings.Missing("Ask Devin", "apiKey", "API Key", "DEVIN_API_KEY"),
    ]
    monkeypatch.setattr(bindings, "missing", lambda *args, **options: lost)
    result = run(invoke, main_job)
    assert result.exit_code == 2
    assert "Ask Devin: Table (table)" in result.stderr
    assert '--set "Ask Devin.table=…"' in result.stderr
    assert "DEVIN_API_KEY" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--set", "Nobody.prompt=x"], "Nobody"),
        (["--set", "prompt"], "NAME=VALUE"),
        (["--stop-after", "Ask Devil"], "'Ask Devin'"),
        (["--from-block", "Lock"], "'Look'"),
        (["--bindings", "missing.json"], "missing.json"),
        (["--input-json", "[1]"], "JSON object"),
        (["--deadline", "soon"], "positive duration"),
    ],
)
def test_mistakes(invoke, main_job, arguments, expected):
    result = run(invoke, main_job, *arguments)
    assert result.exit_code == 2
    assert expected in result.stderr


def test_no_workflow(invoke):
    assert run(invoke, "missing.json").exit_code == 2
    assert run(invoke, "-", input='{"a": 1}').exit_code == 2


def test_a_failing_block_fails_the_run(invoke, main_job):
    result = run(invoke, main_job, "--set", "Look.sessionId=../x")
    assert result.exit_code == 1
    assert "The run failed" in result.stdout
    assert "Error: Look" in result.stdout
    assert any(line.startswith("Look: failed") for line in result.stderr.splitlines())
    failed = run(invoke, main_job, "--set", "Look.sessionId=../x", "--json")
    assert failed.exit_code == 1
    assert json.loads(failed.stdout)["failedBlock"] == "g"


def test_stop_after_then_from_block(invoke, main_job, tmp_path):
    first = run(
        invoke, main_job, "--stop-after", "ask devin", "--save-snapshot", "s.json", "--json"
    )
    assert [log["blockName"] for log in as_json(first)["logs"]] == ["Start", "Ask Devin"]
    snapshot = tmp_path / "s.json"
    if sys.platform != "win32":
        assert snapshot.stat().st_mode & 0o777 == 0o600
    # Another process has a simulator of its own, which does not know the session.
    again = run(invoke, main_job, "--from-block", "Wait For It", "--snapshot", snapshot)
    assert "Ask Devin" not in again.stderr
    assert "Wait For It: started" in again.stderr


def test_a_snapshot_that_cannot_be_written(invoke, main_job):
    assert run(invoke, main_job, "--save-snapshot", "no/folder.json").exit_code == 2


def test_deadline(invoke, main_job):
    result = run(invoke, main_job, "--deadline", "60")
    assert result.exit_code == 1
    assert "timed out" in result.stdout or "failed" in result.stdout


def test_max_acu_is_a_ceiling_of_the_run(invoke, main_job):
    logs = as_json(run(invoke, main_job, "--max-acu", "3", "--json", "--stop-after", "c"))["logs"]
    assert logs[-1]["success"] is True


def test_max_sessions_is_a_ceiling_of_the_run(invoke, export, block):
    key = {"apiKey": "{{DEVIN_API_KEY}}", "orgId": "org-simulated"}
    creates = [
        block(name, "devin", name, operation="create_session", prompt="p", **key)
        for name in ("a", "b")
    ]
    path = export(block("s", "start_trigger", "Start"), *creates)
    result = run(invoke, path, "--max-sessions", "1")
    assert result.exit_code == 1
    assert "the run's ceiling of 1 for sessions is used up" in result.output
    assert run(invoke, path, "--max-sessions", "2").exit_code == 0


def test_child_workflow(invoke, export, block):
    child = echo(export, block, text="string")
    child = child.rename(child.with_name("child.json"))
    path = export(
        block("s", "start_trigger", "Start"),
        block(
            "w",
            "workflow_input",
            "Child",
            workflowId="child-1",
            inputMapping='{"text": "from above"}',
        ),
    )
    result = run(invoke, path, "--child", f"child-1={child}", "--json")
    assert "from above" in json.dumps(as_json(result)["output"])


def test_a_pause_of_time_is_sat_out(invoke, export, block):
    path = export(
        block("s", "start_trigger", "Start"),
        block("w", "wait", "Sleep", **{"async": True}, timeValue="2", timeUnitLong="hours"),
        block("r", "response", "Answer", dataMode="json", data='{"slept": true}'),
    )
    data = as_json(run(invoke, path, "--json"))
    assert data["output"]["data"] == {"slept": True}
    assert data["durationMs"] < 1000 or data["success"]


def human(export, block):
    return export(
        block("s", "start_trigger", "Start"),
        block(
            "h",
            "human_in_the_loop",
            "Ask Somebody",
            inputFormat=[{"name": "approved", "type": "boolean"}],
            builderData=[{"name": "plan", "value": "delete \u001b[31meverything"}],
        ),
        block("r", "response", "Answer", dataMode="json", data='{"ok": <asksomebody.approved>}'),
    )


def test_a_pause_nobody_answers_is_not_a_success(invoke, export, block):
    path = human(export, block)
    result = run(invoke, path)
    assert result.exit_code == 1
    assert "The run is paused" in result.stdout
    assert "approved" in result.stdout
    assert "\u001b" not in result.stdout
    paused = run(invoke, path, "--json")
    assert paused.exit_code == 1
    assert json.loads(paused.stdout)["status"] == "paused"


def test_a_pause_is_answered_with_an_option(invoke, export, block):
    path = human(export, block)
    data = as_json(run(invoke, path, "--json", "--answer", '{"approved": true}'))
    assert data["output"]["data"] == {"ok": True}
    data = as_json(run(invoke, path, "--json", "--answer", "go on"))
    assert data["output"]["data"] == {"ok": None}  # the text is the field `value`, as in Sim


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ('{"approvd": true}', "Did you mean 'approved'?"),
        ('{"approved": "perhaps"}', "got 'perhaps'; pass true or false"),
    ],
)
def test_an_answer_that_does_not_fit_the_form_is_refused(invoke, export, block, answer, told):
    refused = run(invoke, human(export, block), "--answer", answer)
    assert refused.exit_code == 2
    assert told in refused.stderr


def test_a_person_at_the_terminal_is_asked(invoke, export, block, monkeypatch):
    monkeypatch.setattr("sim_devin.cli.commands.run_pauses.sys", Terminal)
    result = run(invoke, human(export, block), input="y\n")
    assert result.exit_code == 0, result.stderr
    assert '"ok": true' in result.stdout
    assert "Ask Somebody is waiting for you" in result.stderr
    assert "plan: delete" in result.stderr
    assert "\u001b" not in result.stderr


@pytest.mark.parametrize(("typed", "code"), [("yes\n", 0), ("no\n", 1), ("\n", 1)])
def test_the_terminal_asks_for_a_yes(invoke, main_job, tmp_path, monkeypatch, typed, code):
    (tmp_path / "config.toml").write_text('[policy]\nconfirm = "costs-money"\n')
    monkeypatch.setattr("sim_devin.cli.commands.run_pauses.sys", Terminal)
    result = run(invoke, main_job, "--input", "repo=acme/web", input=typed)
    assert result.exit_code == code, result.stderr
    assert "(devin_create_session)? It costs money." in result.stderr
    assert "  prompt: Fix the build of acme/web" in result.stderr
    assert ("declined" in result.stdout) is (typed == "no\n")
    assert ("is waiting for your approval" in result.stdout) is (typed == "\n")


class Terminal:
    class stdin:
        isatty = staticmethod(lambda: True)

    stderr = stdin


@pytest.mark.parametrize(
    ("field", "typed", "expected"),
    [
        ({"name": "n", "type": "number"}, "4", 4.0),
        ({"name": "n", "type": "number", "value": "2"}, "", 2.0),
        ({"name": "s", "type": "string", "label": "Say"}, "hello", "hello"),
        ({"name": "s", "type": "string", "required": True}, "\nhello", "hello"),
        ({"name": "s", "type": "object", "value": {"a": 1}}, "", '{\n  "a": 1\n}'),
        ({"name": "b", "type": "boolean", "value": "true"}, "", True),
    ],
)
def test_what_is_typed_fits_the_field(field, typed, expected):
    found = []

    @click.command()
    def ask():
        form = {"kind": "human", "contextId": "c", "response": {"data": {"inputFormat": [field]}}}
        found.append(run_pauses.answer_to([form], iter(()), ask=True))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim_devin.cli.commands.run_pauses.sys", Terminal)
        CliRunner().invoke(ask, input=f"{typed}\n", catch_exceptions=False)
    assert found == [("c", {field["name"]: expected})]


def test_a_deadline_also_ends_a_pause(invoke, export, block):
    path = export(
        block("s", "start_trigger", "Start"),
        block("w", "wait", "Sleep", **{"async": True}, timeValue="2", timeUnitLong="hours"),
    )
    result = run(invoke, path, "--deadline", "1h")
    assert result.exit_code == 1
    assert "timed out" in result.stdout


def test_no_key_is_shown(invoke, main_job, devin, monkeypatch):
    for arguments in ([], ["--json"], ["--events"], ["-v"]):
        devin.clock.advance(3600)
        result = invoke("run", main_job, "--deadline", "0.2", *arguments)
        assert KEY not in result.output
        assert KEY not in result.stderr
    assert devin.counts["sessions_created"] > 0


# -- the record --------------------------------------------------------------------------------


def listed(invoke):
    return [json.loads(line) for line in invoke("runs", "list", "--json").stdout.splitlines()]


def test_a_run_is_recorded(invoke, export, block):
    path = echo(export, block, repo="string")
    data = as_json(invoke("run", path, "--input", "repo=acme/web", "--json"))
    (run,) = listed(invoke)
    assert (run["runId"], run["state"]) == (data["runId"], "done")
    assert "acme/web" in invoke("runs", "show", data["runId"]).stdout


def test_a_run_that_is_not_to_be_recorded_leaves_nothing(invoke, export, block, tmp_path):
    path = echo(export, block, repo="string")
    assert as_json(invoke("run", path, "--no-record", "--json"))["success"]
    assert not (tmp_path / "runs.sqlite").exists()


def test_what_is_simulated_is_not_for_real_workers(invoke, export, block):
    result = run(invoke, human(export, block))
    assert "Answer it with --answer" in result.stdout
    assert run(invoke, human(export, block), "--detach").exit_code == 2
    assert listed(invoke) == []


def test_what_nobody_answered_here_is_answered_later(invoke, export, block):
    paused = invoke("run", human(export, block))
    (run,) = listed(invoke)
    assert run["state"] == "asking"
    command = next(line for line in paused.stdout.splitlines() if "sim-devin runs answer" in line)
    words = command.split()[1:-1]
    assert invoke(*words, "approved=true").exit_code == 0
    assert '"ok": true' in invoke("run", "--resume", run["runId"]).stdout


@pytest.mark.parametrize(
    "arguments", [["--env", "A=b"], ["--answer", "x"], ["--no-record"], ["--save-snapshot", "s"]]
)
def test_what_a_worker_cannot_know_is_refused(invoke, main_job, arguments):
    result = invoke("run", main_job, "--detach", *arguments)
    assert result.exit_code == 2
    assert f"{arguments[0]} cannot be used with --detach" in result.stderr
    assert listed(invoke) == []


@posix
def test_a_killed_run_is_gone_on_with(start, invoke, devin, main_job, monkeypatch):
    monkeypatch.setenv("SIM_DEVIN_LEASE", "0.2")
    process = start("run", main_job)
    wait_for_line(process.stderr, "Wait For It: waiting")
    process.kill()
    process.wait()
    devin.clock.advance(3600)
    (run,) = listed(invoke)
    assert run["state"] in ("running", "waiting")
    shown = json.loads(invoke("runs", "resume", run["runId"], "--json").stdout)
    assert shown["state"] == "done"
    assert devin.counts["sessions_created"] == 1


@pytest.mark.parametrize("typed", [False, True])
def test_devin_is_answered_from_here(invoke, main_job, monkeypatch, typed):
    arguments = ["--set", "Ask Devin.prompt=[scenario: asks]", "--on-question", "hold"]
    if typed:
        monkeypatch.setattr("sim_devin.cli.commands.run_pauses.sys", Terminal)
    else:
        arguments += ["--answer", "the main one"]
    result = run(invoke, main_job, *arguments, input="the main one\n")
    assert result.exit_code == 0, result.stderr
    assert "done (the task is complete)" in result.stdout
    if typed:
        assert "Which branch should I target?" in result.stderr


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("repeat", {"repeat": True}),
        ("fail", {"fail": True}),
        ("done\ndevin-1", {"sessionId": "devin-1"}),
        ("", None),
    ],
)
def test_what_is_uncertain_is_asked(monkeypatch, typed, answer):
    found = []

    @click.command()
    def ask():
        wait = {"kind": "uncertain", "contextId": "c", "message": "Was it sent?"}
        found.append(run_pauses.answer_to([wait], iter(()), ask=True))

    monkeypatch.setattr("sim_devin.cli.commands.run_pauses.sys", Terminal)
    shown = CliRunner().invoke(ask, input=f"{typed}\n", catch_exceptions=False)
    assert "Was it sent?" in shown.stderr
    assert found == [None if answer is None else ("c", answer)]


# -- interrupts --------------------------------------------------------------------------------


def wait_for_line(stream, text):
    for line in stream:
        if text in line:
            return
    raise AssertionError(f"no line with {text!r}")


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cancels_a_waiting_run(start, main_job, number):
    process = start("run", main_job, "--simulate", "--speed", "1")
    wait_for_line(process.stderr, "Wait For It: waiting")
    process.send_signal(number)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 130
    assert "was cancelled" in out
    assert "sim-devin wait " in out
    assert "Traceback" not in err


@posix
def test_an_interrupt_ends_a_wait(start, devin):
    devin.add_session(prompt="x", org_id="org-test")
    session_id = devin.truth()[0]["session_id"]
    process = start("wait", session_id)
    wait_for_line(process.stderr, session_id)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=15)
    assert process.returncode == 130


@posix
def test_a_second_interrupt_stops_at_once():
    with interrupts.cancelled_by_signals("stopping") as cancel:
        signal.raise_signal(signal.SIGINT)
        assert cancel.wait(5)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# -- the live view -----------------------------------------------------------------------------


class Still:
    """A clock that stands still."""

    def time(self):
        return 1000.0

    monotonic = time

    def wait(self, event, timeout):
        return event.is_set()


def log(name, *, ended=None, error=None):
    entry = BlockLog(name, name, "api", 1, 990.0, Redactor())
    entry.ended, entry.error = ended, error
    return entry


@pytest.fixture
def view():
    clock: Clock = Still()
    screen = Console(file=io.StringIO(), width=200, markup=False, highlight=False)
    return run_view.LiveView(clock, screen)


def test_what_goes_on_is_live_and_what_ended_stays(view):
    running, other = log("Fetch"), log("Other")
    view(Event(events.BLOCK_STARTED, "r", 990.0, running))
    view(Event(events.BLOCK_STARTED, "r", 990.0, other))
    step = {"sessionId": "devin-1", "reason": "running, working", "nextLookSeconds": 12.3}
    view(Event(events.BLOCK_WAITING, "r", 995.0, other, {"progress": step}))
    text = view.render().plain
    assert "Fetch  10s  running" in text
    assert "Other  10s  waiting: running, working · next poll in 12s · devin-1" in text
    running.ended, running.error = 999.0, "no \u001b[2J answer"
    view(Event(events.BLOCK_FAILED, "r", 999.0, running))
    assert "Fetch" not in view.render().plain
    shown = view.screen.file.getvalue()
    assert "Fetch  failed in 9.0s: no [2J answer" in shown
    assert "\u001b[2J" not in shown


def test_a_reminder_stays_on_the_screen(view):
    told = {"blockName": "Ask", "reminders": 2, "question": "Which\nbranch? \u001b[2J" + "x" * 300}
    view(Event(events.RUN_REMINDER, "r", 990.0, data=told))
    (line,) = view.screen.file.getvalue().splitlines()
    assert line == "Ask: reminder 2: Which branch? …"


def test_many_blocks_are_counted_instead_of_listed(view):
    for at in range(40):
        view(Event(events.BLOCK_STARTED, "r", 990.0, log(f"Open {at}")))
    assert "… and 25 more" in view.render().plain
    for at in range(500):
        view(Event(events.BLOCK_FINISHED, "r", 990.0, log(f"Done {at}", ended=991.0)))
    assert "500 blocks done" in view.render().plain
    assert len(view.screen.file.getvalue().splitlines()) == run_view.KEPT


def test_a_reader_that_went_away_does_not_stop_the_run(monkeypatch):
    def broken(*args, **options):
        raise BrokenPipeError

    monkeypatch.setattr(run_view, "echo_json", broken)
    run_view.EventLines()(Event(events.RUN_STARTED, "r", 1.0))


def test_on_a_terminal_progress_is_live(monkeypatch, main_job):
    """A terminal is where ``isatty`` says so."""
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True)
    monkeypatch.setenv("TERM", "xterm")
    began = time.monotonic()
    result = CliRunner().invoke(cli, ["run", str(main_job), "--simulate", "--speed", "0"])
    assert result.exit_code == 0
    assert "Wait For It" in result.stderr
    assert "blocks done" in result.stderr
    assert "Wait For It: waiting" not in result.stderr
    assert time.monotonic() - began < 60
