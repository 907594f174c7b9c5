"""``config``: where settings come from, and a place for the key."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from sim_devin.cli.commands.config_file import write_credential
from sim_devin.errors import CallerError

KEY = "cog_test_canary_0001"
posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")


class KeyringError(Exception):
    pass


@pytest.fixture
def keyring(monkeypatch):
    """A keyring library that keeps passwords in a dict, and can be broken."""
    module, errors = ModuleType("keyring"), ModuleType("keyring.errors")
    errors.KeyringError = KeyringError
    module.errors = errors
    module.kept = {}
    module.broken = False

    def set_password(service, name, value):
        if module.broken:
            raise KeyringError("no backend")
        module.kept[service, name] = value

    module.set_password = set_password
    module.get_password = lambda service, name: module.kept.get((service, name))
    monkeypatch.setitem(sys.modules, "keyring", module)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    return module


def shown(invoke, *arguments):
    rows = json.loads(invoke("config", "show", "--json", *arguments).stdout)
    return {row["name"]: row for row in rows}


def test_path(invoke, tmp_path):
    assert invoke("config", "path").stdout.strip() == str(tmp_path / "config.toml")
    assert invoke("config", "path", "--config", "x.toml").stdout.strip() == "x.toml"


def test_sources_of_settings(invoke, tmp_path, monkeypatch):
    config = tmp_path / "config.toml"
    config.write_text(
        f'[credentials.devin]\napiKey = "{KEY}"\norgId = "org-file"\n[settings]\nmax_acu = 7\n'
    )
    config.chmod(0o600)
    monkeypatch.setenv("DEVIN_ORG_ID", "org-env")
    monkeypatch.setenv("SIM_DEVIN_RETRIES", "1")
    rows = shown(invoke)
    assert (rows["devin.apiKey"]["value"], rows["devin.apiKey"]["source"]) == ("***", "config file")
    assert (rows["devin.orgId"]["value"], rows["devin.orgId"]["source"]) == (
        "org-env",
        "environment",
    )
    assert rows["max_acu"]["source"] == "config file"
    assert rows["retries"]["source"] == "environment"
    assert rows["grace"]["source"] == "default"
    assert rows["devin.base_url"]["value"].startswith("https://api.devin.ai")
    assert KEY not in invoke("config", "show").output


def test_the_policy_is_shown(invoke, tmp_path):
    (tmp_path / "config.toml").write_text('[policy]\nconfirm = ["destructive", "costs-money"]\n')
    rows = shown(invoke)
    assert rows["policy.confirm"]["value"] == "destructive,costs-money"
    assert rows["policy.confirm"]["source"] == "config file"
    assert (rows["policy.deny"]["value"], rows["policy.deny"]["source"]) == ("", "default")


def test_what_workflows_may_reach_is_shown(invoke, tmp_path, monkeypatch):
    assert shown(invoke)["network.allow"] == {
        "name": "network.allow",
        "value": "",
        "source": "default",
        "environment": "SIM_DEVIN_NETWORK_ALLOW",
    }
    (tmp_path / "config.toml").write_text('[network]\nallow = ["10.0.0.0/8", "wiki:80"]\n')
    row = shown(invoke)["network.allow"]
    assert (row["value"], row["source"]) == ("10.0.0.0/8,wiki:80", "config file")
    monkeypatch.setenv("SIM_DEVIN_NETWORK_ALLOW", "[::1]:80")
    row = shown(invoke)["network.allow"]
    assert (row["value"], row["source"]) == ("[::1]:80", "environment")


def test_key_goes_to_the_keyring(invoke, keyring, tmp_path):
    result = invoke("config", "set-key", input=f"{KEY}\n")
    assert result.exit_code == 0
    assert keyring.kept == {("sim-devin", "devin.apiKey"): KEY}
    assert not (tmp_path / "config.toml").exists()
    assert shown(invoke)["devin.apiKey"]["source"] == "keyring"
    assert KEY not in result.output


@posix
@pytest.mark.parametrize("broken", [False, True])
def test_without_a_keyring_the_key_goes_to_a_file_only_its_owner_reads(
    invoke, keyring, tmp_path, monkeypatch, broken
):
    if broken:
        keyring.broken = True
    else:
        monkeypatch.setitem(sys.modules, "keyring", None)
    before = os.umask(0)
    try:
        result = invoke("config", "set-key", "--org", "org-1", input=f"{KEY}\n")
    finally:
        os.umask(before)
    assert result.exit_code == 0
    config = tmp_path / "config.toml"
    assert config.stat().st_mode & 0o777 == 0o600
    stored = tomllib.loads(config.read_text())["credentials"]["devin"]
    assert stored == {"apiKey": KEY, "orgId": "org-1"}
    assert shown(invoke)["devin.apiKey"]["source"] == "config file"
    assert list(tmp_path.iterdir()) == [config]


def test_a_named_store_is_used_or_it_is_an_error(invoke, keyring, tmp_path):
    keyring.broken = True
    result = invoke("config", "set-key", "--store", "keyring", input=f"{KEY}\n")
    assert result.exit_code == 2
    assert "--store file" in result.stderr
    keyring.broken = False
    assert invoke("config", "set-key", "--store", "file", input=f"{KEY}\n").exit_code == 0
    assert keyring.kept == {}
    # The file comes before the keyring, and a key in it would go on being used.
    again = invoke("config", "set-key", input=f"{KEY}2\n")
    assert "takes precedence" in again.stderr


def test_the_environment_wins_and_that_is_said(invoke, monkeypatch):
    monkeypatch.setenv("DEVIN_API_KEY", KEY)
    assert "DEVIN_API_KEY is set" in invoke("config", "set-key", input=f"{KEY}\n").stderr


@pytest.mark.parametrize("text", ["", "\n", "   \n"])
def test_no_key_is_a_mistake(invoke, text):
    assert invoke("config", "set-key", input=text).exit_code == 2


@posix
def test_a_config_file_others_can_read_is_refused(invoke, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(f'[credentials.devin]\napiKey = "{KEY}"\n')
    config.chmod(0o644)
    result = invoke("config", "show")
    assert result.exit_code == 2
    assert "chmod 600" in result.stderr


@pytest.mark.parametrize(
    "before",
    [
        "",
        "# mine\n",
        "[settings]\nretries = 1\n",
        '[credentials.devin]\norgId = "org-1"  # ours\n\n[settings]\nretries = 1\n',
        '[credentials.devin]\napiKey = "old"\n[credentials.other]\napiKey = "theirs"\n',
        '[credentials.other]\napiKey = "theirs"',
        '[ credentials.devin ] # here\n  apiKey="old"\n',
    ],
)
@pytest.mark.parametrize("key", [KEY, 'quo"te\\', "ü€"])
def test_writing_a_key_keeps_the_rest(tmp_path, before, key):
    path = tmp_path / "folder" / "config.toml"
    path.parent.mkdir()
    path.write_text(before, encoding="utf-8")
    write_credential(path, "devin", "apiKey", key)
    expected = tomllib.loads(before)
    expected.setdefault("credentials", {}).setdefault("devin", {})["apiKey"] = key
    text = path.read_text(encoding="utf-8")
    assert tomllib.loads(text) == expected
    assert all(comment in text for comment in ("# mine", "# ours", "# here") if comment in before)


@pytest.mark.parametrize(
    "before",
    [
        'credentials = "none"\n',
        'credentials.devin.apiKey = "old"\n',
        '[credentials]\ndevin = { apiKey = "old" }\n',
        "not toml",
    ],
)
def test_what_cannot_be_changed_is_left_alone(tmp_path, before):
    path = tmp_path / "config.toml"
    path.write_text(before)
    with pytest.raises(CallerError):
        write_credential(path, "devin", "apiKey", KEY)
    assert path.read_text() == before


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CallerError):
        write_credential(tmp_path / "file" / "config.toml", "devin", "apiKey", KEY)
    assert Path(tmp_path / "file").read_text() == ""


def test_a_limit_says_where_it_comes_from(invoke, monkeypatch, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("[settings]\nmax_acu = 4\n[policy]\nsessions_per_run = 9\nacu_per_day = 50\n")
    file.chmod(0o600)
    monkeypatch.setenv("SIM_DEVIN_MAX_ACU", "")
    monkeypatch.setenv("SIM_DEVIN_MAX_SESSIONS_RUN", "2")
    shown = [line.split() for line in invoke("config", "show").stdout.splitlines()]
    rows = {line[0]: line[1:4] for line in shown if line}
    assert rows["max_acu"] == ["4", "config", "file"]
    assert rows["max_sessions_run"][:2] == ["2", "environment"]
    assert rows["policy.sessions_per_run"][:2] == ["2", "settings"]
    assert rows["policy.acu_per_call"][:2] == ["4", "settings"]
    assert rows["policy.acu_per_day"][:1] == ["50"]
    assert rows["policy.acu_per_day"][1:] == ["config", "file"]
