"""The cassettes, played through the real transport; and that the player can say no."""

import json
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from vcr.errors import CannotOverwriteExistingCassetteException

from sim_devin.clock import ManualClock
from sim_devin.errors import SimDevinError
from sim_devin.simulator import Simulator, Switches
from sim_devin.simulator.server import serve

HERE = Path(__file__).parent.parent
sys.path.insert(0, str(HERE / "scripts"))
cases = import_module("cassette_cases")
tapes = import_module("cassette_tapes")
recorder = import_module("record_cassettes")

CASES = {case.path: case for case in cases.CASES}
FILES = sorted(tapes.FOLDER.rglob("*.yaml"))


def play(case, path=None, folder=tapes.FOLDER):
    """Return the outcomes of a case, and the tape it was played from."""
    clock = ManualClock(cases.NOW)
    with (
        recorder.open_app(case, clock) as app,
        tapes.Tapes(folder).play(path or case.path) as tape,
    ):
        return recorder.perform(case, app, clock), tape


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_case_comes_to_what_it_must(case):
    outcomes, tape = play(case)
    assert tape.all_played
    assert tape.play_count == len(tape)
    for step, (outcome, took) in zip(case.steps, outcomes, strict=True):
        assert took >= step.waits
        if step.raises is None:
            assert not isinstance(outcome, SimDevinError), outcome
            assert {name: outcome[name] for name in step.returns} == step.returns
        else:
            assert type(outcome) is step.raises
            assert getattr(outcome, "status", None) == step.status
            assert getattr(outcome, "retry_after", None) == step.retry_after
            assert step.says in str(outcome)


OF_EVERY_OPERATION = {
    *("success", "validation", "unauthorised", "forbidden", "not_found", "server_error"),
    *("rate_limited_seconds", "rate_limited_date", "rate_limited", "rate_limited_for_long"),
}
OF_DRIFT = {
    *("get_session/prefixed_id", "list_sessions/prefixed_id", "list_session_attachments/items"),
    *("get_session/detail_out_of_credits", "get_session/detail_contract_expired"),
    *("get_session/unknown_detail", "get_session/unknown_status", "get_session/extra_fields"),
    *("get_session/null_title", "get_session/absent_optionals", "get_session/html_502"),
    *("create_session/validation_list", "create_session/validation", "create_session/conflict"),
    *("terminate_session/already_exited", "create_session/html_502"),
    *("get_session/truncated_json", "create_session/truncated_json", "get_session/empty"),
    *("send_message/empty", "create_session/empty", "get_session/not_found_after_create"),
    *("create_session/out_of_quota", "create_session/server_error_ambiguous"),
}


def test_every_operation_has_its_cassettes():
    tools = {path.stem.partition(".")[0] for path in (HERE / "tool_specs").glob("*.tool.json")}
    folders = {tool.removeprefix("devin_") for tool in tools}
    assert len(folders) == 11
    present = {str(path.relative_to(tapes.FOLDER).with_suffix("")) for path in FILES}
    wanted = {f"{folder}/{name}" for folder in folders for name in OF_EVERY_OPERATION}
    assert present >= wanted | OF_DRIFT


def test_every_cassette_belongs_to_a_case():
    assert {str(path.relative_to(tapes.FOLDER)) for path in FILES} == set(CASES)


@pytest.mark.thorough
def test_recording_anew_makes_no_difference(tmp_path):
    (tmp_path / "left_over.yaml").write_text("version: 1\n")
    assert recorder.main(["--folder", str(tmp_path)]) == 0
    fresh = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*.yaml")}
    assert set(fresh) == set(CASES)
    for name, path in fresh.items():
        committed = (tapes.FOLDER / name).read_text(encoding="utf-8")
        assert without_version(path.read_text(encoding="utf-8")) == without_version(committed), (
            f"{name} differs: run make record"
        )


def without_version(text):
    return re.sub(r"simulator \S+;", "simulator;", text)


# -- nothing secret, and no false name ----------------------------------------------------------

SECRETS = {
    "a key": r"\b(?:cog|apk)_(?!scrubbed\b)[A-Za-z0-9_\-]+",
    "a credential": r"(?i)\b(?:bearer|basic)\s+(?!cog_scrubbed\b)\S{6,}",
    "a signature": r"(?i)[?&](?:X-Amz-[a-z-]+|signature|sig|(?:access_)?token)=(?!scrubbed)",
    "a cookie": r"(?i)^\s*(?:set-)?cookie:",
    "this machine": r"127\.0\.0\.1|localhost|\[::1\]",
    "a mail address": r"[\w.+-]+@(?!example\.com)[\w-]+\.\w+",
}


def leaks(text):
    return [name for name, pattern in SECRETS.items() if re.search(pattern, text, re.MULTILINE)]


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(tapes.FOLDER)) for path in FILES])
def test_a_cassette_holds_no_secret_and_says_where_it_comes_from(path):
    text = path.read_text(encoding="utf-8")
    assert leaks(text) == []
    for line in (text.splitlines()[0], yaml.safe_load(text)["recorded_from"]):
        assert "sim_devin's simulator" in line
        assert "not a recording of the real service" in line
    document = yaml.safe_load(text)
    for interaction in document["interactions"]:
        assert interaction["request"]["uri"].startswith(f"{tapes.HOST}/v3/organizations/")
        authorization = interaction["request"]["headers"].get("Authorization")
        assert authorization in (None, ["Bearer cog_scrubbed"])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("apiKey: cog_test_key_000000", "a key"),
        ("apk_user_000", "a key"),
        ("- Bearer 0123456789", "a credential"),
        ("https://x/a?b=1&Signature=abc", "a signature"),
        ("https://x/a?X-Amz-Credential=abc", "a signature"),
        ("      Set-Cookie:", "a cookie"),
        ("http://127.0.0.1:80/", "this machine"),
        ("somebody@acme.org", "a mail address"),
    ],
)
def test_the_scan_finds_what_it_looks_for(text, name):
    assert leaks(text) == [name]


@pytest.mark.parametrize(
    "text",
    [
        "cog_test_key_000000",
        '{"url": "https://x/a?token=abc&X-Amz-Signature=def"}',
        "apk_user_000000 of somebody@acme.org",
    ],
)
def test_what_is_recorded_is_scrubbed(text):
    assert leaks(tapes.Tapes().scrub(text)) == []


# -- the player can say no ----------------------------------------------------------------------


def mutated(tmp_path, case, change):
    """Return a folder with the case's cassette, changed."""
    document = yaml.safe_load((tapes.FOLDER / case.path).read_text(encoding="utf-8"))
    change(document["interactions"])
    path = tmp_path / case.path
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return tmp_path


def other_body(interactions):
    body = json.loads(interactions[0]["request"]["body"])
    interactions[0]["request"]["body"] = json.dumps({**body, "max_acu_limit": 2})


def no_body(interactions):
    interactions[0]["request"]["body"] = None


def no_key(interactions):
    del interactions[0]["request"]["headers"]["Authorization"]


def other_method(interactions):
    interactions[0]["request"]["method"] = "PUT"


def other_query(interactions):
    interactions[0]["request"]["uri"] += "?devin_id=1"


@pytest.mark.parametrize("change", [other_body, no_body, no_key, other_method, other_query])
def test_a_request_that_differs_is_not_played(tmp_path, change):
    case = CASES["create_session/success.yaml"]
    with pytest.raises(CannotOverwriteExistingCassetteException):
        play(case, folder=mutated(tmp_path, case, change))


def test_the_same_body_written_otherwise_is_played(tmp_path):
    def respell(interactions):
        body = json.loads(interactions[0]["request"]["body"])
        interactions[0]["request"]["body"] = json.dumps(dict(reversed(body.items())), indent=2)

    case = CASES["create_session/success.yaml"]
    (outcome,), _ = play(case, folder=mutated(tmp_path, case, respell))
    assert outcome[0]["status"] == "new"


def test_an_interaction_that_is_left_over_is_noticed(tmp_path):
    case = CASES["get_session/success.yaml"]
    _, tape = play(case, folder=mutated(tmp_path, case, lambda items: items.append(items[0])))
    assert not tape.all_played


def test_an_interaction_is_played_once(tmp_path):
    case = CASES["get_session/html_502.yaml"]
    with pytest.raises(CannotOverwriteExistingCassetteException):
        play(case, folder=mutated(tmp_path, case, lambda items: items.pop()))


def test_a_changed_answer_changes_the_outcome(tmp_path):
    def rename(interactions):
        body = interactions[0]["response"]["body"]
        body["string"] = body["string"].replace('"status":', '"state":')

    case = CASES["get_session/success.yaml"]
    (outcome,), _ = play(case, folder=mutated(tmp_path, case, rename))
    assert outcome[0]["status"] is None


# -- recording from a live service, which the simulator stands in for ---------------------------

LIVE_KEY = "cog_stand_in_for_a_live_key"
LIVE_ORG = "org-of-somebody"


@pytest.fixture
def live(monkeypatch, tmp_path, capsys):
    """Record "live" from a simulator with some switches; return exit code, lines, simulator."""

    def record(**switches):
        simulator = Simulator(switches=Switches(**switches))
        before = {path: path.read_bytes() for path in FILES}
        with serve(simulator) as url:
            monkeypatch.setenv("DEVIN_API_KEY", LIVE_KEY)
            monkeypatch.setenv("DEVIN_ORG_ID", LIVE_ORG)
            monkeypatch.setenv("DEVIN_BASE_URL", url)
            code = recorder.main(["--live", "--folder", str(tmp_path)])
        assert {path: path.read_bytes() for path in FILES} == before
        return code, capsys.readouterr().out.splitlines(), simulator

    return record


def test_a_service_as_expected_shows_no_drift(live, tmp_path):
    code, lines, simulator = live()
    assert (code, lines[0]) == (0, "no drift")
    (session,) = simulator.truth()
    assert session["status"] == "exit"
    assert simulator.counts["sessions_created"] == 1
    recorded = list(tmp_path.rglob("*.yaml"))
    assert len(recorded) == sum(case.live for case in CASES.values())
    for path in recorded:
        text = path.read_text(encoding="utf-8")
        assert leaks(text) == []
        assert LIVE_ORG not in text
        assert session["session_id"] not in text
        assert text.startswith("# Recorded from a live service")


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ({"extra_fields": True}, "get_session/success.yaml: new field security_profile (string)"),
        ({"optional_fields": "absent"}, "create_session/success.yaml: missing field user_id"),
        (
            {"attachments_envelope": "items"},
            "list_session_attachments/success.yaml: type of the body: array is object",
        ),
        ({"bad_token_status": 403}, "get_session/unauthorised.yaml: status 401 is 403"),
        (
            {"error_body": "legacy"},
            "list_sessions/validation.yaml: type of detail: string is array",
        ),
        ({"bad_cursor_status": 400}, "list_sessions/validation.yaml: status 422 is 400"),
        ({"page_fields": "minimal"}, "list_sessions/success.yaml: missing field total"),
    ],
)
def test_drift_is_told(live, switches, expected):
    code, lines, _ = live(**switches)
    assert code == 1
    assert expected in lines


@pytest.mark.parametrize("missing", ["DEVIN_API_KEY", "DEVIN_ORG_ID"])
def test_live_needs_credentials(monkeypatch, capsys, tmp_path, missing):
    for name in ("DEVIN_API_KEY", "DEVIN_ORG_ID"):
        monkeypatch.setenv(name, "something")
    monkeypatch.delenv(missing)
    assert recorder.main(["--live", "--folder", str(tmp_path)]) == 1
    assert missing in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_creates_no_session(live):
    code, lines, _ = live(out_of_quota=True)
    assert code == 1
    assert "no session could be created" in lines[0]
    assert LIVE_KEY not in "\n".join(lines)
