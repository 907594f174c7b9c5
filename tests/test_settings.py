"""Settings: environment, config file, keyring; and what is wrong with them."""

import re
import sys
import types

import pytest

from sim_devin.app import open_app
from sim_devin.errors import CallerError
from sim_devin.policy.rules import Policy
from sim_devin.settings import load_settings
from sim_devin.specs.models import Connection

CONNECTION = Connection.model_validate(
    {
        "id": "devin",
        "title": "Devin",
        "baseUrl": "https://api.devin.ai/v3",
        "baseUrlEnv": "DEVIN_BASE_URL",
        "fields": {
            "apiKey": {"title": "Key", "description": "", "env": "DEVIN_API_KEY", "secret": True},
            "orgId": {"title": "Org", "description": "", "env": "DEVIN_ORG_ID"},
        },
    }
)


@pytest.fixture
def config(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    return write


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)


FILE = """
[credentials.devin]
apiKey = "cog_from_file_00"
orgId = "org-file"

[settings]
max_acu = 12
retries = 2
"""


def test_the_file_gives_what_the_environment_does_not(config):
    settings = load_settings({"DEVIN_ORG_ID": "org-env"}, config(FILE))
    assert settings.credentials_for(CONNECTION) == {
        "apiKey": "cog_from_file_00",
        "orgId": "org-env",
    }
    assert (settings.max_acu, settings.retries) == (12, 2)


def test_the_environment_wins_over_the_file(config):
    settings = load_settings({"SIM_DEVIN_MAX_ACU": "3"}, config(FILE))
    assert settings.max_acu == 3


@pytest.mark.parametrize(
    "name",
    [
        "max_acu",
        "max_acu_day",
        "max_sessions_run",
        "max_sessions_day",
        "max_minutes",
        "max_sessions",
        "max_creates_per_minute",
    ],
)
def test_a_limit_comes_from_the_environment_or_the_file(config, name):
    file = config(f"[settings]\n{name} = 4\n")
    assert getattr(load_settings({}, file), name) == 4
    variable = f"SIM_DEVIN_{name.upper()}"
    assert getattr(load_settings({variable: "3"}, file), name) == 3
    # Set to nothing, as by a variable that is not set itself, it takes no limit away.
    assert getattr(load_settings({variable: " "}, file), name) == 4
    assert getattr(load_settings({variable: ""}, config("")), name) is None
    with pytest.raises(CallerError, match=variable):
        load_settings({variable: "0"}, file)


def test_the_file_can_be_named_by_a_variable(config):
    settings = load_settings({"SIM_DEVIN_CONFIG": str(config(FILE))})
    assert settings.max_acu == 12


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_file_with_a_key_that_others_can_read_is_refused(config, mode):
    with pytest.raises(CallerError, match="chmod 600"):
        load_settings({}, config(FILE, mode))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_an_address_of_reminders_is_a_secret_and_their_pace_is_none(config):
    paced = '[reminders]\nevery = "1h"\n'
    assert load_settings({}, config(paced, 0o644)).reminders == {"every": "1h"}
    with pytest.raises(CallerError, match="chmod 600"):
        load_settings({}, config(paced + 'url = "https://hooks.example"\n', 0o644))


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_file_without_a_key_may_be_read_by_others(config):
    assert load_settings({}, config("[settings]\nmax_acu = 4\n", 0o644)).max_acu == 4


@pytest.mark.parametrize(
    "text",
    ['[credentials.devin]\napiKey = "cog_secret_12345', "=\n", "\x00", '[a]\n[a]\nkey = "k"'],
)
def test_a_broken_file_is_reported_without_quoting_it(config, text):
    with pytest.raises(CallerError, match="not valid TOML") as caught:
        load_settings({}, config(text))
    assert "cog_secret" not in str(caught.value)


def test_a_named_file_has_to_exist(tmp_path):
    with pytest.raises(CallerError, match="does not exist"):
        load_settings({}, tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("MAX_ACU", "0", "at least 1"),
        ("MAX_ACU", "1.5", "whole number"),
        ("MAX_ACU", "ten", "whole number"),
        ("RETRIES", "-1", "at least 0"),
        ("GRACE", "soon", "seconds"),
        ("GRACE", "-1", "seconds"),
        ("GRACE", "nan", "seconds"),
        ("AMBIGUOUS", "guess", "hold or retry"),
        ("STRICT", "maybe", "1 or 0"),
        ("SIMULATE", "2", "1 or 0"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_name(tmp_path, name, value, match):
    with pytest.raises(CallerError, match=match) as caught:
        load_settings({f"SIM_DEVIN_{name}": value, "SIM_DEVIN_CONFIG": str(tmp_path / "none")})
    assert f"SIM_DEVIN_{name}" in str(caught.value)


def test_everything_has_a_default(tmp_path):
    settings = load_settings({"SIM_DEVIN_CONFIG": str(tmp_path / "none")})
    assert settings.max_acu is None
    assert settings.retries is None
    assert settings.settle.policy == "hold"
    assert not settings.strict
    assert not settings.simulate
    assert settings.base_url_for(CONNECTION, own=True) == "https://api.devin.ai/v3"


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("true", True), ("0", False), ("", False)]
)
def test_flags_are_read_as_people_write_them(tmp_path, text, value):
    env = {"SIM_DEVIN_STRICT": text, "SIM_DEVIN_CONFIG": str(tmp_path / "none")}
    assert load_settings(env).strict is value


def test_the_keyring_is_asked_for_secrets_alone(tmp_path, monkeypatch):
    asked = []

    def get_password(service, name):
        asked.append((service, name))
        return "cog_from_keyring"

    keyring = types.ModuleType("keyring")
    keyring.get_password = get_password
    keyring.errors = types.ModuleType("keyring.errors")
    keyring.errors.KeyringError = RuntimeError
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    monkeypatch.setitem(sys.modules, "keyring.errors", keyring.errors)
    settings = load_settings({"SIM_DEVIN_CONFIG": str(tmp_path / "none")})
    assert settings.credentials_for(CONNECTION) == {"apiKey": "cog_from_keyring"}
    assert asked == [("sim-devin", "devin.apiKey")]


def test_a_locked_keyring_counts_as_empty(tmp_path, monkeypatch):
    keyring = types.ModuleType("keyring")
    keyring.errors = types.ModuleType("keyring.errors")
    keyring.errors.KeyringError = RuntimeError

    def get_password(service, name):
        raise RuntimeError("locked")

    keyring.get_password = get_password
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    monkeypatch.setitem(sys.modules, "keyring.errors", keyring.errors)
    settings = load_settings({"SIM_DEVIN_CONFIG": str(tmp_path / "none")})
    assert settings.credentials_for(CONNECTION) == {}


def test_the_repr_shows_no_credential(config):
    settings = load_settings({"DEVIN_API_KEY": "cog_from_env_000"}, config(FILE))
    assert "cog_" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "env", "told"),
    [
        ("[setings]\nmax_acu = 3", {}, "'settings'"),
        ("[polcy]\ndeny = ['devin_terminate_session']", {}, "'policy'"),
        ("[settings]\nmax_acuu = 3", {}, "'max_acu'"),
        ("[settings]\nMAX_ACU = 3", {}, "'max_acu'"),
        ("", {"SIM_DEVIN_MAX_ACU_RUN": "3"}, "MAX_ACU"),
        ("", {"SIM_DEVIN_MAX_SESSION_DAY": "3"}, "'SIM_DEVIN_MAX_SESSIONS_DAY'"),
    ],
)
def test_a_limit_that_nothing_reads_is_an_error(config, text, env, told):
    with pytest.raises(CallerError, match="would not be enforced") as refused:
        load_settings(env, config(text))
    assert told in refused.value.hint


@pytest.mark.parametrize(
    ("text", "env", "told"),
    [
        ("[netwrk]\nallow = ['a.example']", {}, "'network'"),
        ("[settings]\nretris = 3", {}, "'retries'"),
        ("[settings]\ncolour = 3", {}, "Known: "),
        ("[credentials.devn]\napiKey = 'k'", {}, "'devin'"),
        ("[credentials.devin]\napikey = 'k'", {}, "'apiKey'"),
        ("", {"SIM_DEVIN_RETRYS": "3"}, "'SIM_DEVIN_RETRIES'"),
        ("[policy]\nallow = ['devin_gt_session']", {}, "'devin_get_session'"),
        ("[policy]\ndeny = ['acme_*']", {}, "matches no tool"),
    ],
)
def test_what_nothing_reads_is_named_with_what_is_near_it(config, caplog, text, env, told):
    open_app(config=config(text), env=env, discover=False)
    [record] = [item for item in caplog.records if item.levelname == "WARNING"]
    assert told in record.getMessage()


def test_settings_that_are_read_are_not_spoken_of(config, caplog):
    env = {"SIM_DEVIN_STORE": "memory", "SIM_DEVIN_LEASE": "9", "SIM_DEVIN_OF_ANOTHER": "x"}
    open_app(config=config(FILE), env=env, discover=False)
    assert caplog.records == []


@pytest.mark.parametrize("name", ["deny", "confirm"])
@pytest.mark.parametrize("pattern", ["devin_terminat_session", "terminate", "devin_x*"])
def test_a_pattern_that_holds_nothing_back_is_an_error(config, name, pattern):
    text = f"[policy]\n{name} = ['{pattern}']"
    with pytest.raises(CallerError, match=f"{name} has '{re.escape(pattern)}'"):
        open_app(config=config(text), env={}, discover=False)
    with pytest.raises(CallerError, match=f"{name} has '{re.escape(pattern)}'"):
        open_app(policy=Policy(**{name: (pattern,)}), env={}, discover=False)
