"""Parameters → request, through `app.build_request`."""

import json
import os
import re
from importlib.metadata import version

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_devin import open_app
from sim_devin.calls.request import encode_query
from sim_devin.errors import InvalidParams, MissingCredentials, UnknownName
from sim_devin.text import text, trim

ENV = {"SIM_DEVIN_CONFIG": os.devnull}
CREDENTIALS = {"apiKey": "cog_test_key_000000", "orgId": "org-1"}
APP = open_app(env=ENV, discover=False, credentials=CREDENTIALS)
ORG = "https://api.devin.ai/v3/organizations/org-1"
BARE = "0123456789abcdef0123456789abcdef"


def build(tool, params=None, **credentials):
    return APP.build_request(f"devin_{tool}", params or {}, credentials=credentials)


def problems(tool, params, **credentials):
    with pytest.raises(InvalidParams) as caught:
        build(tool, params, **credentials)
    return caught.value.problems


def url(path):
    return ORG + path


@pytest.mark.parametrize(
    ("tool", "params", "method", "path", "body"),
    [
        ("create_session", {"prompt": "p"}, "POST", "/sessions", {"prompt": "p"}),
        (
            "create_session",
            {"prompt": " p ", "playbookId": "pb", "maxAcuLimit": "5", "tags": "a, b"},
            "POST",
            "/sessions",
            {"prompt": " p ", "playbook_id": "pb", "max_acu_limit": 5, "tags": ["a", "b"]},
        ),
        ("get_session", {"sessionId": "devin-1"}, "GET", "/sessions/devin-1", None),
        ("list_sessions", {}, "GET", "/sessions", None),
        ("list_sessions", {"limit": 5, "after": " c "}, "GET", "/sessions?first=5&after=c", None),
        (
            "send_message",
            {"sessionId": "devin-1", "message": "m"},
            "POST",
            "/sessions/devin-1/messages",
            {"message": "m"},
        ),
        (
            "list_session_messages",
            {"sessionId": "devin-1", "limit": "20"},
            "GET",
            "/sessions/devin-1/messages?first=20",
            None,
        ),
        (
            "list_session_attachments",
            {"sessionId": "devin-1"},
            "GET",
            "/sessions/devin-1/attachments",
            None,
        ),
        ("get_session_tags", {"sessionId": "devin-1"}, "GET", "/sessions/devin-1/tags", None),
        (
            "append_session_tags",
            {"sessionId": "devin-1", "tags": ["a"]},
            "POST",
            "/sessions/devin-1/tags",
            {"tags": ["a"]},
        ),
        (
            "replace_session_tags",
            {"sessionId": "devin-1", "tags": []},
            "PUT",
            "/sessions/devin-1/tags",
            {"tags": []},
        ),
        ("archive_session", {"sessionId": "devin-1"}, "POST", "/sessions/devin-1/archive", None),
        ("terminate_session", {"sessionId": "devin-1"}, "DELETE", "/sessions/devin-1", None),
    ],
)
def test_each_operation(tool, params, method, path, body):
    request = build(tool, params)
    assert (request.method, request.url, request.json) == (method, url(path), body)
    expected = {
        "Authorization": "Bearer cog_test_key_000000",
        "Accept": "application/json",
        "User-Agent": f"sim-devin/{version('sim-devin')}",
    }
    if body is not None:
        expected["Content-Type"] = "application/json"
    assert request.headers == expected


@pytest.mark.parametrize(
    ("given_id", "segment"),
    [
        (f" {BARE}\n", f"devin-{BARE}"),
        (BARE.upper(), f"devin-{BARE.upper()}"),
        (f"devin-{BARE}", f"devin-{BARE}"),
        (BARE[1:], BARE[1:]),
        ("../../org-2/sessions/x", "..%2F..%2Forg-2%2Fsessions%2Fx"),
        ("a?archive=true", "a%3Farchive%3Dtrue"),
        ("a#b", "a%23b"),
        ("a%2Fb", "a%252Fb"),
        ("a b\\c", "a%20b%5Cc"),
        ("é\u3000", "%C3%A9"),
        ("\ufeffx\u00a0", "x"),
        ("\u200bx", "%E2%80%8Bx"),
        ("\x1cx", "%1Cx"),
        ("\ud800", "%EF%BF%BD"),
        ("...", "..."),
        ("a~b-c_d.e", "a~b-c_d.e"),
    ],
)
def test_an_id_is_one_encoded_segment(given_id, segment):
    assert build("get_session", {"sessionId": given_id}).url == url(f"/sessions/{segment}")


@pytest.mark.parametrize("segment", [".", "..", " .. "])
def test_dots_are_no_id(segment):
    (problem,) = problems("get_session", {"sessionId": segment})
    assert problem.startswith("sessionId: ")
    assert "cannot be part of a URL path" in problem
    (problem,) = problems("list_sessions", {}, orgId=segment)
    assert problem.startswith("orgId: ")


@given(st.text(min_size=1))
def test_no_id_leaves_its_segment(given_id):
    try:
        request = build("get_session_tags", {"sessionId": given_id})
    except InvalidParams:
        assert trim(given_id) in ("", ".", "..")
    else:
        assert re.fullmatch(re.escape(ORG) + r"/sessions/[\w.~%-]+/tags", request.url, re.ASCII)


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({"tags": "a,b c"}, "tags=a&tags=b+c"),
        ({"tags": ["x&y=z"], "limit": 3}, "first=3&tags=x%26y%3Dz"),
        ({"isArchived": "false"}, "is_archived=false"),
        ({"isArchived": True}, "is_archived=true"),
        ({"createdAfter": "1755770000"}, "created_after=1755770000"),
        ({"after": "a~b*c+d"}, "after=a%7Eb*c%2Bd"),
        ({"after": "é"}, "after=%C3%A9"),
        ({"tags": []}, ""),
        ({"limit": None, "after": ""}, ""),
        (
            {"extraQuery": {"new": ["a", 1, True], "n": None, "f": 0.5}},
            "new=a&new=1&new=true&f=0.5",
        ),
        ({"extraQuery": '{"new": "x"}'}, "new=x"),
        ({"repoNames": ["a/b"]}, "repo_names=a%2Fb"),
    ],
)
def test_queries(params, query):
    assert build("list_sessions", params).url == url(f"/sessions?{query}".rstrip("?"))


def test_the_prefix_holds_for_ids_in_paths_only():
    assert build("list_sessions", {"sessionIds": [BARE]}).url.endswith(f"session_ids={BARE}")


@pytest.mark.parametrize(
    ("archive", "query"),
    [(True, "?archive=true"), ("true", "?archive=true"), (False, ""), ("false", ""), ("", "")],
)
def test_archive(archive, query):
    request = build("terminate_session", {"sessionId": "devin-1", "archive": archive})
    assert request.url == url(f"/sessions/devin-1{query}")


@pytest.mark.parametrize("archive", ["yes", "True", 1, 0, [True], " true"])
def test_archive_is_never_a_guess(archive):
    (problem,) = problems("terminate_session", {"sessionId": "devin-1", "archive": archive})
    assert problem.startswith("archive: got ")
    assert problem.endswith("pass true or false")


def test_advanced_fields_keep_their_types():
    params = {
        "prompt": "p",
        "title": "t",
        "repos": "a/b, c/d",
        "knowledgeIds": [],
        "sessionSecrets": '[{"key": "K", "value": "v"}]',
        "resumable": "false",
        "structuredOutputSchema": '{"type": "object"}',
        "extraBody": {"brand_new": {"a": [1]}},
    }
    assert build("create_session", params).json == {
        "prompt": "p",
        "title": "t",
        "repos": ["a/b", "c/d"],
        "knowledge_ids": [],
        "session_secrets": [{"key": "K", "value": "v"}],
        "resumable": False,
        "structured_output_schema": {"type": "object"},
        "brand_new": {"a": [1]},
    }


@pytest.mark.parametrize(
    ("tool", "params", "told"),
    [
        (
            "create_session",
            {"prompt": "p", "extraBody": {"max_acu_limit": 1}},
            "extraBody.max_acu_limit: this field has its own parameter; use maxAcuLimit",
        ),
        (
            "list_sessions",
            {"extraQuery": {"first": 1}},
            "extraQuery.first: this field has its own parameter; use limit",
        ),
        ("list_sessions", {"extraQuery": {"a": {"b": 1}}}, "extraQuery.a: an object cannot be"),
        ("list_sessions", {"extraQuery": {"a": [[1]]}}, "extraQuery.a: an object cannot be"),
        ("list_sessions", {"extraQuery": "a=b"}, "extraQuery: got 'a=b'; pass an object"),
        (
            "create_session",
            {"prompt": "p", "extraBody": {1: 2}},
            "extraBody: got a dict, which JSON",
        ),
        (
            "create_session",
            {"prompt": "p", "extraBody": {"n": float("nan")}},
            "extraBody: got a dict, which JSON cannot represent",
        ),
    ],
)
def test_escape_hatches(tool, params, told):
    (problem,) = problems(tool, params)
    assert problem.startswith(told)


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "nonsense"}, "structuredOutputSchema.type: is not a draft 7 JSON Schema"),
        ({"$ref": "https://example.com/x.json"}, "structuredOutputSchema: refers to "),
        ({"properties": {"a": {"$ref": "other.json"}}}, "structuredOutputSchema: refers to "),
        ({"description": "x" * 70_000}, "structuredOutputSchema: has "),
    ],
)
def test_schemas_the_service_would_refuse(schema, told):
    (problem,) = problems("create_session", {"prompt": "p", "structuredOutputSchema": schema})
    assert problem.startswith(told)


def test_references_inside_a_schema_are_fine():
    schema = {"$defs": {"a": {}}, "$ref": "#/$defs/a"}
    request = build("create_session", {"prompt": "p", "structuredOutputSchema": schema})
    assert request.json["structured_output_schema"] == schema


@pytest.mark.parametrize("key", ["a\nb" * 4, "a\rb", "a\0b", "key\u20ac0000", "\x7f1234567"])
def test_a_key_no_header_can_carry(key):
    (problem,) = problems("list_sessions", {}, apiKey=key)
    assert problem.startswith("apiKey: contains a character not allowed in HTTP headers")
    assert key not in problem


@pytest.mark.parametrize("key", ["é-key-000", " cog_x ", "a\tb"])
def test_a_key_is_sent_as_it_is(key):
    assert build("list_sessions", {}, apiKey=key).headers["Authorization"] == f"Bearer {key}"


@pytest.mark.parametrize(
    ("params", "missing", "variables"),
    [
        ({}, ["apiKey", "orgId"], ["DEVIN_API_KEY", "DEVIN_ORG_ID"]),
        ({"apiKey": "k", "orgId": " \t"}, ["orgId"], ["DEVIN_ORG_ID"]),
        ({"apiKey": "", "orgId": "o"}, ["apiKey"], ["DEVIN_API_KEY"]),
    ],
)
def test_missing_credentials(params, missing, variables):
    with pytest.raises(MissingCredentials) as caught:
        open_app(env=ENV, discover=False).build_request("devin_list_sessions", params)
    for word in (*missing, *variables, "--simulate"):
        assert word in str(caught.value)


def test_credentials_may_stand_among_the_parameters_and_win():
    request = build("list_sessions", {"apiKey": "other-key-1", "orgId": "org-2"})
    assert request.headers["Authorization"] == "Bearer other-key-1"
    assert "/organizations/org-2/" in request.url


def test_credentials_have_to_be_text():
    assert problems("list_sessions", {"apiKey": 5}) == ["apiKey: got a int; pass text"]


@pytest.mark.parametrize("base", ["https://eu.example.com/v3", "http://localhost:8080/v3/"])
def test_another_base_url(base):
    app = open_app(env=ENV, discover=False, credentials=CREDENTIALS, base_url=base)
    request = app.build_request("devin_list_sessions", {})
    assert request.url == f"{base.rstrip('/')}/organizations/org-1/sessions"


@pytest.mark.parametrize(
    ("asked", "sent"), [(None, 3), ("", 3), (2, 2), (3, 3), (100, 3), ("1e2", 3)]
)
def test_a_ceiling_only_lowers(asked, sent):
    app = open_app(env=ENV, discover=False, credentials=CREDENTIALS, max_acu=3)
    request = app.build_request("devin_create_session", {"prompt": "p", "maxAcuLimit": asked})
    assert request.json["max_acu_limit"] == sent


def test_unknown_tools_name_the_nearest():
    with pytest.raises(UnknownName) as caught:
        APP.build_request("devin_get_sesion", {})
    assert "devin_get_session" in caught.value.nearest


def test_nothing_is_left_of_the_parameters():
    params = {"prompt": "p", "tags": "a", "extraBody": {"x": [1]}}
    before = json.dumps(params)
    build("create_session", params)
    assert json.dumps(params) == before


def test_the_repr_tells_no_values():
    request = build("create_session", {"prompt": "the prompt"})
    assert repr(request) == (
        f"Request(POST {ORG}/sessions, "
        "headers: Accept, User-Agent, Authorization, Content-Type; body: JSON)"
    )


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (-0.0, "0"),
        (0.5, "0.5"),
        (1.0, "1"),
        (1e-7, "1e-7"),
        (123456789.125, "123456789.125"),
        (1e21, "1e+21"),
        (10**21, "1e+21"),
        pytest.param(10**5000, "Infinity", id="huge"),
        pytest.param(-(10**5000), "-Infinity", id="huge and negative"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (1.5e300, "1.5e+300"),
        (None, "null"),
        ("x", "x"),
    ],
)
def test_texts_of_values_are_javascripts(value, told):
    assert text(value) == told


def test_queries_are_encoded_as_forms_are():
    pairs = [("a b", " x "), ("t", "é~*"), ("t", 1.0), ("u", "\ud800")]
    assert encode_query(pairs) == "a+b=x&t=%C3%A9%7E*&t=1&u=%EF%BF%BD"
