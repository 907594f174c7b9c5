"""Coercion and checks of parameters: what is taken, what is refused, and how that is told."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_devin import open_app
from sim_devin.errors import InvalidParams
from sim_devin.specs.schema import Checker, coerce, describe, is_json, number, publish, shorten

APP = open_app(
    env={"SIM_DEVIN_CONFIG": os.devnull},
    discover=False,
    credentials={"apiKey": "cog_test_key_000000", "orgId": "org-1"},
)


def sent(tool, name, value, **params):
    body = APP.build_request(f"devin_{tool}", {**params, name: value}).json
    return body[name] if name in body else body.get("max_acu_limit")


def problems(tool, params):
    with pytest.raises(InvalidParams) as caught:
        APP.build_request(f"devin_{tool}", params)
    return caught.value.problems


@pytest.mark.parametrize(
    ("given_tags", "tags"),
    [
        ("a", ["a"]),
        (" a , b,,c ,", ["a", "b", "c"]),
        ("a,b,a", ["a", "b"]),
        ("\ufeffa\u00a0,\u0085b", ["a", "\u0085b"]),
        ('["a", " b ", "a", ""]', ["a", "b"]),
        (' ["x,y"]', ["x,y"]),
        ("[not json", ["[not json"]),
        ("[a, b]", ["[a", "b]"]),
        ("a\uff0cb", ["a\uff0cb"]),
        (["a", " b", "", "b"], ["a", "b"]),
        (("a", "b"), ["a", "b"]),
        ([1, 2.5, True, None, 1e21], ["1", "2.5", "true", "null", "1e+21"]),
        ([["a", "b"], [None, 1], []], ["a,b", ",1"]),
        ([float("nan")], ["NaN"]),
        ([f"t{n}" for n in range(50)] * 2, [f"t{n}" for n in range(50)]),
    ],
)
def test_tags(given_tags, tags):
    assert sent("append_session_tags", "tags", given_tags, sessionId="devin-1") == tags
    assert sent("create_session", "tags", given_tags, prompt="p") == tags


@pytest.mark.parametrize("value", [None, "", 1])
def test_an_unknown_name_is_told_whatever_its_value(value):
    (problem,) = problems("create_session", {"prompt": "p", "maxAcuLimitt": value})
    assert "Did you mean 'maxAcuLimit'?" in problem


@pytest.mark.parametrize("nothing", ["", "  ", ",,", " , ", None, [""], [" ", ""], '[""]'])
def test_tags_of_nothing_are_no_tags(nothing):
    assert sent("create_session", "tags", nothing, prompt="p") is None
    for tool in ("append_session_tags", "replace_session_tags"):
        (problem,) = problems(tool, {"sessionId": "devin-1", "tags": nothing})
        state = "is required" if nothing in (None, "") else "is blank"
        assert problem.startswith(f"tags: {state}; pass comma-separated text or a list of strings")


@pytest.mark.parametrize("empty", [[], "[]", ()])
def test_an_explicit_empty_list_clears(empty):
    assert sent("replace_session_tags", "tags", empty, sessionId="devin-1") == []


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        (5, "got 5"),
        (True, "got true"),
        ({}, "got {}"),
        ([{"a": 1}], 'got {"a": 1}'),
        ([f"t{n}" for n in range(51)], "got a list of 51"),
        (",".join(f"t{n}" for n in range(51)), "got a list of 51"),
    ],
)
def test_tags_that_are_none(tags, told):
    (problem,) = problems("append_session_tags", {"sessionId": "devin-1", "tags": tags})
    assert problem.startswith(("tags: ", "tags[0]: "))
    assert told in problem


@pytest.mark.parametrize(
    ("cap", "number_sent"),
    [
        (5, 5),
        ("5", 5),
        (" 5 ", 5),
        ("5.0", 5),
        (5.0, 5),
        ("0x10", 16),
        ("0b11", 3),
        ("1e2", 100),
        ("+7", 7),
        ("007", 7),
        ("\ufeff8", 8),
        ("5.", 5),
        ("", None),
        (None, None),
    ],
)
def test_caps(cap, number_sent):
    value = sent("create_session", "maxAcuLimit", cap, prompt="p")
    assert value == number_sent
    assert value is None or type(value) is int


@pytest.mark.parametrize(
    "junk",
    [
        0,
        -1,
        2.5,
        "0",
        "-5",
        "abc",
        " ",
        "1_000",
        "5abc",
        "1 2",
        "NaN",
        "Infinity",
        "1e400",
        "٥",
        "0x",
        "true",
        True,
        False,
        [],
        ["7"],
        {},
        float("nan"),
        float("inf"),
        10**400,
        "0x" + "f" * 999,
    ],
)
def test_a_cap_is_never_lost(junk):
    (problem,) = problems("create_session", {"prompt": "p", "maxAcuLimit": junk})
    assert problem.startswith("maxAcuLimit: got ")
    assert problem.endswith("pass a whole number of at least 1")


@pytest.mark.parametrize("limit", [1, "1", 200, "200", 50.0])
def test_limits(limit):
    request = APP.build_request("devin_list_sessions", {"limit": limit})
    assert request.url.endswith(f"first={int(float(limit))}")


@pytest.mark.parametrize("limit", [0, 201, -1, 0.1, "0", "500", "x", " ", False, [5]])
def test_limits_out_of_range(limit):
    (problem,) = problems("list_sessions", {"limit": limit})
    assert problem.startswith("limit: got ")
    assert problem.endswith("; pass a whole number from 1 to 200")


@pytest.mark.parametrize("blank", [None, "", " ", "\t\n", "\u00a0\ufeff", "\u3000"])
def test_blank_is_missing(blank):
    (problem,) = problems("create_session", {"prompt": blank})
    state = "is required" if blank in (None, "") else "is blank"
    assert problem == f"prompt: {state}; pass text"


@pytest.mark.parametrize("text", ["\u200b", "\x1c", "\u0085", "\u180e", "0", "null"])
def test_what_javascript_does_not_trim_is_text(text):
    assert sent("create_session", "prompt", text) == text


@pytest.mark.parametrize("wrong", [True, [], ["a"], {"a": 1}, b"x", {1}, object()])
def test_text_has_to_be_text(wrong):
    (problem,) = problems("create_session", {"prompt": wrong})
    assert problem.startswith("prompt: got ")
    assert problem.endswith("; pass text")


def test_all_problems_at_once():
    params = {"sessionId": " ", "mesage": "hi", "attachmentUrls": {}, "method": "DELETE"}
    assert problems("send_message", params) == [
        "sessionId: is blank; pass text",
        "message: is required; pass text",
        "'mesage': unknown parameter. Did you mean 'message' or 'messageAsUserId'?",
        "'method': unknown parameter. Known: sessionId, message, attachmentUrls, messageAsUserId",
        "attachmentUrls: got {}; pass a list of URLs, or text with one URL per line",
    ]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("promt", "'prompt'"),
        ("max_acu_limit", "'maxAcuLimit'"),
        ("playbookID", "'playbookId'"),
        ("sessionSecret", "'sessionSecrets'"),
    ],
)
def test_unknown_parameters_name_the_nearest(name, nearest):
    (problem,) = problems("create_session", {"prompt": "p", name: "x"})
    assert problem.startswith(f"'{name}': unknown parameter. Did you mean {nearest}")
    assert problem.endswith("?")


@pytest.mark.parametrize("name", ["method", "timeout", "proxyUrl", "zzz", 5])
def test_unknown_parameters_are_never_obeyed(name):
    (problem,) = problems("get_session_tags", {"sessionId": "devin-1", name: "x"})
    assert "unknown parameter" in problem


@pytest.mark.parametrize(
    "secrets",
    [
        [{"key": "K", "value": "hunter2-and-more", "odd": 1}],
        [{"key": "", "value": "hunter2-and-more"}],
        [{"value": "hunter2-and-more"}],
        [{"key": "K", "value": ["hunter2-and-more"]}],
        '[{"key": "K", "value": "hunter2-and-more"',
        "hunter2-and-more",
        {"K": "hunter2-and-more"},
        ["hunter2-and-more"],
    ],
)
def test_secrets_are_masked_in_problems(secrets):
    told = problems("create_session", {"prompt": "p", "sessionSecrets": secrets})
    assert told
    assert all("hunter2" not in problem for problem in told)
    assert all(problem.startswith("sessionSecrets") for problem in told)


def test_nested_secrets_of_other_names_are_masked():
    checker = Checker(
        {
            "type": "object",
            "properties": {
                "vars": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"v": {"type": "string", "writeOnly": True}},
                        "required": ["k"],
                    },
                }
            },
        }
    )
    values = {"vars": [{"v": "pin"}]}
    assert checker.problems(values, values) == ["vars[0]: got ***; pass an object with k"]


def test_rules_over_several_parameters():
    checker = Checker({"type": "object", "properties": {"a": {}, "b": {}}, "minProperties": 1})
    assert checker.problems({}, {}) == ["parameters: the combination must satisfy minProperties 1"]


def test_null_and_empty_text_are_absent():
    checker = Checker({"type": "object", "properties": {"a": {"type": "integer"}}})
    assert checker.coerce({"a": "", "b": None, "c": 0, "d": False}) == {"c": 0, "d": False}


@pytest.mark.parametrize(
    ("schema", "value", "coerced"),
    [
        ({"type": "number"}, "0.5", 0.5),
        ({"type": "number"}, "abc", "abc"),
        ({"type": ["integer", "null"]}, "5", 5),
        ({"type": "integer"}, "5.5", 5.5),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "TRUE", "TRUE"),
        ({"type": "object"}, '{"a": 1}', {"a": 1}),
        ({"type": "object"}, "[1]", "[1]"),
        ({"type": "object"}, "{", "{"),
        ({"type": "array", "items": {"type": "integer"}}, "[1, 2]", [1, 2]),
        ({"type": "array", "items": {"type": "object"}}, '{"a": 1}', '{"a": 1}'),
        ({"type": "array"}, "a,b", "a,b"),
        ({"type": "string"}, 5, "5"),
        ({"type": ["string", "null"]}, 1.5, "1.5"),
        ({"type": "string"}, 1e21, "1e+21"),
        ({"type": ["string", "integer"]}, 5, 5),
        ({"type": "string"}, True, True),
        ({}, "x", "x"),
    ],
)
def test_coercion_by_type(schema, value, coerced):
    result = coerce(schema, value)
    assert result == coerced
    assert type(result) is type(coerced)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        (" 1.5 ", 1.5),
        (".5", 0.5),
        ("5.", 5),
        ("1E3", 1000),
        ("-0", 0),
        ("0XfF", 255),
        ("0o17", 15),
        ("-0x10", None),
        ("", None),
        (".", None),
        ("-", None),
        ("1e", None),
        ("Infinity", None),
        ("1e309", None),
        ("１", None),
        ("1,5", None),
        ("\u200b5", None),
    ],
)
def test_numbers_are_javascripts(text, value):
    assert number(text) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_is_read_back(value):
    assert number(repr(value)) == value


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string", "minLength": 2}, "text of at least 2 characters"),
        ({"type": "string", "maxLength": 2}, "text of at most 2 characters"),
        ({"type": "string", "pattern": "^a"}, "text matching ^a"),
        ({"type": "number", "maximum": 3}, "a number of at most 3"),
        ({"enum": ["a", 1, None]}, 'one of "a", 1, null'),
        ({"type": "array", "items": {"type": "object"}}, "a list of objects"),
        ({"type": "array"}, "a list"),
        ({"type": ["null", "boolean"]}, "true or false"),
        ({}, "a value"),
    ],
)
def test_what_a_schema_accepts_in_words(schema, words):
    assert describe(schema) == words


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("a'b", '"a\'b"'),
        ("x" * 100, "'" + "x" * 59 + "…"),
        ([1, 2, 3, 4, 5, 6], "a list of 6"),
        ({str(n): n for n in range(9)}, "an object of 9"),
        ({1, 2}, "a set"),
        pytest.param(10**5000, "a int", id="huge"),
    ],
)
def test_values_are_told_shortly(value, told):
    assert shorten(value) == told


def nested(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        (None, True),
        ({"a": [1, 0.5, "x", True, None]}, True),
        (nested(64), True),
        (nested(65), False),
        (float("nan"), False),
        ([float("inf")], False),
        (10**400, False),
        ({1: 2}, False),
        (b"x", False),
        ({"a": {1}}, False),
    ],
)
def test_what_json_has_a_form_for(value, holds):
    assert is_json(value) is holds


def test_a_list_that_holds_itself():
    endless = []
    endless.extend([endless, endless])
    assert not is_json(endless)
    (problem,) = problems("create_session", {"prompt": "p", "tags": endless})
    assert problem.startswith("tags: got a list, which JSON cannot represent")


def test_publish_leaves_out_what_is_ours():
    schema = {
        "type": "object",
        "properties": {
            "x-ray": {"type": "string", "x-advanced": True, "default": "a"},
            "hidden": {"type": "object", "properties": {"hidden": {"x-from": "h"}}},
        },
        "required": ["x-ray", "hidden"],
    }
    assert publish(schema, hide=["hidden"], keep_defaults=False) == {
        "type": "object",
        "properties": {"x-ray": {"type": "string"}},
        "required": ["x-ray"],
    }
    assert publish(schema)["properties"] == {
        "x-ray": {"type": "string", "default": "a"},
        "hidden": {"type": "object", "properties": {"hidden": {}}},
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://a.example/x,y", ["https://a.example/x,y"]),
        (
            "https://a.example/1\nhttps://a.example/2",
            ["https://a.example/1", "https://a.example/2"],
        ),
        ('["https://a.example/x,y"]', ["https://a.example/x,y"]),
        (["https://a.example/x,y"], ["https://a.example/x,y"]),
    ],
)
def test_an_address_may_hold_a_comma(given, expected):
    schema = {"type": "array", "items": {"type": "string", "format": "uri"}}
    assert coerce(schema, given) == expected


@pytest.mark.parametrize(
    "value", [{"auth": {"deep": "hush-hush"}}, {"auth": 5}, [{"x-api-key": "hush-hush"}], "hush"]
)
def test_what_a_problem_repeats_is_masked_by_name_at_any_depth(value):
    inner = {"type": "object", "properties": {"auth": {"type": "string"}}}
    checker = Checker({"type": "object", "properties": {"config": inner}})
    (problem,) = checker.problems({"config": value}, {"config": value})
    assert "hush-hush" not in problem
    assert "5" not in problem
    assert ("***" in problem) == (value != "hush")
