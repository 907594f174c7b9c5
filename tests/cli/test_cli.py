"""Help, start-up, exit codes, errors and secrets: what holds for every command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from sim_devin import errors
from sim_devin.app import App
from sim_devin.cli.commands.failures import CommandFailure
from sim_devin.cli.main import COMMANDS, cli

ROOT = Path(__file__).parent.parent.parent
KEY = "cog_test_canary_0001"

HEAVY = (
    "jsonschema",
    "pluggy",
    "pydantic",
    "requests",
    "rich",
    "uvicorn",
    "sim_devin.app",
    "sim_devin.engine.engine",
    "sim_devin.settings",
    "sim_devin.simulator",
    "sim_devin.specs.models",
)


def paths(command: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            yield from paths(command.get_command(ctx, name), (*path, name))


@pytest.mark.parametrize("path", list(paths()), ids=" ".join)
def test_every_command_has_help(path, invoke):
    result = invoke(*path, "--help")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"Usage: {' '.join(('sim-devin', *path))}")
    assert lines[2].strip()
    assert "\b" not in result.stdout
    assert invoke(*path, "-h").stdout == result.stdout


@pytest.mark.parametrize("path", list(paths()), ids=" ".join)
def test_every_option_is_explained(path):
    command: click.Command = cli
    for name in path:
        command = command.get_command(click.Context(command), name)
    options = [item for item in command.params if isinstance(item, click.Option)]
    assert not [item.name for item in options if not item.help]
    assert not [item.name for item in options if "key" in (item.name or "").lower()]


def test_help_of_the_whole_lists_every_command(invoke):
    text = invoke("--help").stdout
    assert all(f"  {name} " in text and about in text for name, about in COMMANDS.items())


def test_version(invoke):
    assert invoke("--version").stdout.startswith("sim-devin 0.")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["tools", "--help"]])
def test_help_loads_next_to_nothing(arguments):
    code = (
        "import atexit, sys\n"
        f"heavy = {HEAVY!r}\n"
        "loaded = lambda: [name for name in heavy if name in sys.modules]\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(loaded())))\n"
        "from sim_devin.cli.main import main\n"
        f"main({arguments!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_the_page_of_the_commands_is_up_to_date():
    script = ROOT / "scripts" / "cli_docs.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0


def test_unknown_command_names_the_nearest(invoke):
    result = invoke("toolz")
    assert result.exit_code == 2
    assert "Did you mean 'tools'?" in result.stderr


def test_unknown_option_is_the_callers_mistake(invoke):
    assert invoke("tools", "--jsn").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (["tools", "devin_get_sesion"], "devin_get_session"),
        (["call", "devin_get_sesion"], "devin_get_session"),
        (["blocks", "devim"], "devin"),
        (["blocks", "devin", "--operation", "create_sesion"], "create_session"),
        (["config", "set-key", "--connection", "devim"], "devin"),
    ],
)
def test_unknown_name_names_the_nearest(invoke, arguments, nearest):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert f"'{nearest}'" in result.stderr
    assert result.stdout == ""


def test_missing_credentials_say_what_to_set(invoke):
    result = invoke("call", "devin_get_session", "sessionId=devin-1")
    assert result.exit_code == 3
    assert "DEVIN_API_KEY and DEVIN_ORG_ID" in result.stderr
    assert "--simulate" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.CallerError("no"), 2),
        (errors.MissingCredentials("no"), 3),
        (errors.AuthenticationFailed("no", status=401), 3),
        (errors.TimedOut("no"), 4),
        (errors.NotFound("no", status=404), 5),
        (errors.UnreadableResponse("no"), 5),
        (errors.WaitTimedOut("no"), 1),
        (errors.Cancelled("no"), 130),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("no"), 1),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_errors_leave_with_the_code_of_their_class(invoke, monkeypatch, error, code, as_json):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(App, "call", fail)
    arguments = ["--json", '{"limit": 5}'] if as_json else ["limit=5"]
    result = invoke("call", "devin_list_sessions", *arguments, "--simulate")
    assert result.exit_code == code
    assert result.stdout == ""
    if as_json:
        shown = json.loads(result.stderr)["error"]
        assert shown["exitCode"] == code
        assert shown["message"]
    else:
        assert result.stderr.startswith("error: ")
        assert len(result.stderr.splitlines()) == 1


def test_several_problems_are_a_list(invoke):
    result = invoke("call", "devin_list_sessions", "limit=x", "foo=1", "--simulate")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[0] == "error: devin_list_sessions: 2 problems"
    assert len(result.stderr.splitlines()) == 3


def test_an_unexpected_error_shows_its_traceback_only_when_asked(invoke, monkeypatch):
    def fail(*args, **options):
        raise RuntimeError(f"broken by {KEY}")

    monkeypatch.setenv("DEVIN_API_KEY", KEY)
    monkeypatch.setattr(App, "call", fail)
    short = invoke("call", "devin_list_sessions", "--simulate")
    long = invoke("call", "devin_list_sessions", "--simulate", "-v")
    assert "--verbose" in short.stderr
    assert "Traceback" not in short.stderr
    assert "Traceback" in long.stderr
    assert KEY not in short.stderr + long.stderr


def test_a_closed_pipe_is_quiet(start):
    code = f"{sys.executable} -m sim_devin tools --json | head -c 1 >/dev/null"
    done = subprocess.run(["sh", "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.stderr == ""


def test_failures_are_click_errors_so_that_runners_see_the_code():
    with click.Context(cli) as ctx:
        assert CommandFailure(errors.NotSent("no"), ctx).exit_code == 4


# -- completion --------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(invoke, shell):
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert "_SIM_DEVIN_COMPLETE" in result.stdout


def test_unknown_shell(invoke):
    assert invoke("completion", "tcsh").exit_code == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("sim-devin ch", "check"),
        ("sim-devin call devin_get_session_", "devin_get_session_tags"),
        ("sim-devin tools devin_arch", "devin_archive_session"),
        ("sim-devin run --simu", "--simulate"),
    ],
)
def test_the_shell_completes(invoke, monkeypatch, words, expected):
    monkeypatch.setenv("_SIM_DEVIN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    assert invoke().stdout == f"plain,{expected}\n"


def test_completion_survives_settings_that_cannot_be_used(invoke, monkeypatch):
    monkeypatch.setenv("SIM_DEVIN_RETRIES", "many")
    monkeypatch.setenv("_SIM_DEVIN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "sim-devin call devin_")
    monkeypatch.setenv("COMP_CWORD", "2")
    result = invoke()
    assert (result.exit_code, result.output.strip()) == (0, "")


# -- secrets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["config", "show"],
        ["config", "show", "--json"],
        ["tools", "devin_create_session"],
        ["blocks", "devin", "--json"],
        ["plugins", "doctor"],
        ["call", "devin_create_session", "prompt=x", "--dry-run"],
        ["call", "devin_create_session", f"prompt=say {KEY}", "--dry-run"],
        ["call", "devin_get_session", "sessionId=devin-1", "-v"],
        ["call", "devin_list_sessions", f"apiKey={KEY}x", "-v"],
        ["call", f"devin_{KEY}"],
        ["call", "devin_get_session", KEY],
        ["call", "devin_get_session", "sessionId=a", "--json", f"{KEY}.json"],
        ["wait", "devin-1", "--timeout", "0.01"],
        [KEY],
    ],
)
def test_no_key_is_ever_shown(devin, invoke, arguments):
    result = invoke(*arguments)
    assert KEY not in result.output
    assert KEY not in result.stderr


def test_a_key_on_the_command_line_is_warned_about(devin, invoke):
    loud = invoke("call", "devin_list_sessions", f"apiKey={KEY}")
    assert "shell history" in loud.stderr
    assert loud.exit_code == 0
    Path("key").write_text(KEY, encoding="utf-8")
    quiet = invoke("call", "devin_list_sessions", "apiKey=@key")
    assert quiet.exit_code == 0
    assert quiet.stderr == ""


def test_verbose_shows_the_log_once(devin, invoke):
    result = invoke("-v", "call", "devin_list_sessions", "-v")
    assert result.exit_code == 0
    lines = [line for line in result.stderr.splitlines() if " sim_devin devin_list" in line]
    assert len(lines) == 1
    assert "sim_devin" not in invoke("call", "devin_list_sessions").stderr
