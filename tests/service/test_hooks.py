"""Which deliveries a hook accepts, and which hooks can be declared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_devin.calls.signature import parse_signature, sign, timestamped
from sim_devin.errors import CallerError
from sim_devin.service.hooks import Hook, read_hooks

SECRET = "made-up-secret-for-tests"
NOW = 1_700_000_000
BODY = b'{"ref": "main"}'
HOOK = Hook("deploy", "deploy.json", SECRET)
GITHUB = Hook("push", "push.json", SECRET, "github")
GOOD = sign(SECRET, f"{NOW}..".encode() + BODY)


def signed(moment=NOW, body=BODY, secret=SECRET):
    return timestamped(secret, moment, "", body)


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (signed(), True),
        (signed(NOW - 300), True),
        (signed(NOW + 300), True),
        (signed(NOW - 301), False),
        (signed(NOW + 301), False),
        (signed(body=BODY + b" "), False),
        (signed(secret="another-secret-altogether"), False),
        (f"t={NOW},v1={'0' * 64},v1={GOOD}", True),
        (f"t={NOW}, v2=x, v1={GOOD}", True),
        (f"t={NOW - 1},v1={GOOD}", False),
        (f"t={NOW},t={NOW},v1={GOOD}", False),
        (f"v1={GOOD}", False),
        (f"t={NOW}", False),
        (f"t={NOW},v1={GOOD.upper()}", False),
        (f"t={NOW},v1=é", False),
        ("", False),
    ],
)
def test_a_timestamped_signature(header, accepted):
    assert HOOK.accepts({"x-sim-devin-signature": header}, BODY, NOW) is accepted


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("sha256=" + sign(SECRET, BODY), True),
        (sign(SECRET, BODY), False),
        ("sha256=" + sign("another-secret-altogether", BODY), False),
        ("sha256=\udcff", False),
        ("", False),
    ],
)
def test_github_s_signature(header, accepted):
    assert GITHUB.accepts({"x-hub-signature-256": header}, BODY, NOW) is accepted


def test_one_style_s_signature_is_not_the_other_s():
    assert not HOOK.accepts({"x-hub-signature-256": "sha256=" + sign(SECRET, BODY)}, BODY, NOW)
    assert not GITHUB.accepts({"x-sim-devin-signature": signed()}, BODY, NOW)


def test_github_s_documented_example():
    # docs.github.com, "Validating webhook deliveries", testing the webhook payload validation
    expected = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert sign("It's a Secret to Everybody", b"Hello, World!") == expected


@given(st.text())
def test_any_header_is_parsed_or_turned_away(header):
    parsed = parse_signature(header)
    if parsed is not None:
        assert parsed[0].isdecimal()
        assert all(len(signature) == 64 for signature in parsed[1])


@given(
    st.integers(0, 10**12 - 1),
    st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), min_size=1, max_size=4),
)
def test_what_is_written_is_read(moment, signatures):
    header = ",".join([f"t={moment}", *(f"v1={item}" for item in signatures)])
    assert parse_signature(header) == (str(moment), tuple(signatures))


def test_the_run_s_id_goes_by_the_delivery_and_the_hook():
    first = HOOK.run_id({"x-delivery-id": "1"}, BODY)
    assert first.startswith("hook-deploy-")
    assert first == HOOK.run_id({"x-delivery-id": "1"}, b"else")
    assert first != HOOK.run_id({"x-delivery-id": "2"}, BODY)
    assert first != HOOK.run_id({"x-github-delivery": "1"}, BODY)
    assert GITHUB.run_id({"x-github-delivery": "1"}, BODY) != GITHUB.run_id({}, BODY)
    assert GITHUB.run_id({"x-delivery-id": "1"}, BODY) == GITHUB.run_id({}, BODY)


def test_a_delivery_cannot_be_passed_off_as_another():
    headers = {
        "x-delivery-id": "1",
        "x-sim-devin-signature": timestamped(SECRET, NOW, "1", BODY),
    }
    assert HOOK.accepts(headers, BODY, NOW)
    assert not HOOK.accepts({**headers, "x-delivery-id": "2"}, BODY, NOW)
    assert not HOOK.accepts({**headers, "x-delivery-id": ""}, BODY, NOW)
    unnamed = {"x-sim-devin-signature": signed()}
    assert HOOK.run_id(unnamed, BODY) == HOOK.run_id(unnamed, BODY)
    assert HOOK.run_id(unnamed, BODY) != HOOK.run_id(
        {"x-sim-devin-signature": signed(NOW + 1)}, BODY
    )


@pytest.fixture
def workflow(tmp_path):
    file = tmp_path / "flow.json"
    file.write_text("{}")
    return str(file)


def test_hooks_are_read(workflow):
    table = {
        "a": {"workflow": workflow, "secret": SECRET},
        "b": {"workflow": workflow, "secret_env": "B", "style": "github"},
    }
    hooks = read_hooks(table, {"B": SECRET})
    assert [(hook.name, hook.style) for hook in hooks.values()] == [
        ("a", "timestamp"),
        ("b", "github"),
    ]
    assert SECRET not in repr(hooks)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ("text", "must be a table"),
        ({"secret": SECRET}, "needs a workflow"),
        ({"workflow": "none.json", "secret": SECRET}, "not a file"),
        ({"workflow": ..., "secret": SECRET, "secret_env": "B"}, "either secret or secret_env"),
        ({"workflow": ...}, "either secret or secret_env"),
        ({"workflow": ..., "secret": "too short"}, "16 characters"),
        ({"workflow": ..., "secret_env": "NOT_SET"}, "16 characters"),
        ({"workflow": ..., "secret": SECRET, "style": "x"}, "style"),
        ({"workflow": ..., "secret": SECRET, "metod": "x"}, "Unknown key 'metod'"),
    ],
)
def test_what_is_wrong_with_a_hook_is_said_without_its_secret(declared, message, workflow):
    if isinstance(declared, dict) and declared.get("workflow") is ...:
        declared = {**declared, "workflow": workflow}
    with pytest.raises(CallerError, match=message) as caught:
        read_hooks({"deploy": declared}, {})
    assert "too short" not in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("table", ["text", {"a/b": {}}, {"": {}}])
def test_odd_tables_and_names(table):
    with pytest.raises(CallerError):
        read_hooks(table, {})
