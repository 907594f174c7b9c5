"""Keys, organizations and permissions."""

import pytest

from sim_devin.simulator import Key, Simulator

VIEW, USE, MANAGE = "ViewOrgSessions", "UseDevinSessions", "ManageOrgSessions"
OPERATIONS = {
    "create": ("POST", "/sessions", {"prompt": "x"}, USE),
    "get": ("GET", "/sessions/{id}", None, VIEW),
    "list": ("GET", "/sessions", None, VIEW),
    "send message": ("POST", "/sessions/{id}/messages", {"message": "x"}, MANAGE),
    "list messages": ("GET", "/sessions/{id}/messages", None, VIEW),
    "list attachments": ("GET", "/sessions/{id}/attachments", None, VIEW),
    "get tags": ("GET", "/sessions/{id}/tags", None, VIEW),
    "append tags": ("POST", "/sessions/{id}/tags", {"tags": []}, MANAGE),
    "replace tags": ("PUT", "/sessions/{id}/tags", {"tags": []}, MANAGE),
    "archive": ("POST", "/sessions/{id}/archive", None, MANAGE),
    "unarchive": ("POST", "/sessions/{id}/unarchive", None, MANAGE),
    "terminate": ("DELETE", "/sessions/{id}", None, MANAGE),
    "download": ("GET", "/attachments/0/a.txt", None, VIEW),
}
KEYS = {
    f"cog_{name}": Key("org-test", permissions=frozenset({VIEW, USE, MANAGE} - {name}))
    for name in (VIEW, USE, MANAGE)
} | {
    "cog_admin": Key("org-test"),
    "cog_member": Key("org-test", role="member"),
    "cog_viewer": Key("org-test", role="viewer"),
    "cog_person": Key("org-test", role="member", principal="pat_user"),
    "cog_other": Key("org-other"),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_takes_its_permission(make, name):
    method, path, body, permission = OPERATIONS[name]
    admin = make("cog_admin", keys=KEYS)
    session_id = admin.create()
    admin.headers = {"Authorization": f"Bearer cog_{permission}"}
    answer = admin.call(method, path.format(id=session_id), body=body)
    assert answer.status == 403
    assert permission in answer.json()["detail"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_permission_is_checked_before_existence_and_body(make, name):
    method, path, body, permission = OPERATIONS[name]
    broken = None if body is None else {"nonsense": 1}
    client = make(f"cog_{permission}", keys=KEYS)
    assert client.call(method, path.format(id="nobody"), body=broken).status == 403


@pytest.mark.parametrize("name", [n for n in OPERATIONS if "{id}" in OPERATIONS[n][1]])
def test_with_the_permission_the_unknown_is_not_found(make, name):
    method, path, body, _ = OPERATIONS[name]
    client = make("cog_admin", keys=KEYS)
    assert client.call(method, path.format(id="nobody"), body=body).status == 404


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 403), ("", 403), ("Bearer", 403), ("Bearer ", 403), ("Bearer apk_user_x", 401),
        ("Bearer cog_", 401), ("Basic cog_x", 401), ("Bearer cog_unknown", 401),
        ("bearer cog_admin", 200),
    ],
)  # fmt: skip
def test_credentials(make, header, status):
    client = make(None, keys=KEYS)
    headers = {} if header is None else {"Authorization": header}
    assert client.call("GET", "/sessions", headers=headers).status == status
    assert client.call("GET", "/v3/self", headers=headers).status == status


def test_any_cog_key_is_taken_when_none_are_named(make):
    assert make("cog_whatever").create()


def test_a_key_of_another_organization_is_refused(make):
    assert make("cog_other", keys=KEYS).call("GET", "/sessions").status == 403


@pytest.mark.parametrize(
    ("path", "field"), [("/sessions", "create_as_user_id"), ("messages", "message_as_user_id")]
)
def test_acting_for_others_takes_impersonation(make, path, field):
    client = make("cog_admin", keys=KEYS)
    if path == "messages":
        path = f"/sessions/{client.create()}/messages"
    body = {"prompt": "x", "message": "x", field: "user-1"}
    assert client.call("POST", path, body=body).status == 200
    client.headers = {"Authorization": "Bearer cog_member"}
    answer = client.call("POST", path, body=body)
    assert answer.status == 403
    assert "ImpersonateOrgSessions" in answer.json()["detail"]


def test_a_personal_token_acts_as_its_user(make):
    client = make("cog_person", keys=KEYS)
    identity = client.ok("GET", "/v3/self")
    session = client.get(client.create())
    assert identity["principal_type"] == "pat_user"
    assert identity["org_id"] == "org-test"
    assert session["user_id"] == identity["user_id"]
    assert session["service_user_id"] is None


def test_self_of_a_named_service_user_tells_the_organization(make):
    assert make("cog_admin", keys=KEYS).ok("GET", "/v3/self")["org_id"] == "org-test"


@pytest.mark.parametrize("wrong", [{"role": "king"}, {"principal": "robot"}])
def test_a_key_must_make_sense(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        Key("org-test", **wrong)


def test_the_default_scenario_must_exist():
    with pytest.raises(ValueError, match="never-heard"):
        Simulator(default_scenario="never-heard")
