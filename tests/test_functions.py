"""Tools as functions of a model: what it is shown, and what becomes of what it says."""

import copy
import functools
import json
from dataclasses import replace

import pytest
from dialect_rules import function_problems, parts, walk
from hypothesis import given
from hypothesis import strategies as st
from merge_cases import CASES, Kept, agrees
from third_party import Plugin

import sim_devin
from sim_devin.errors import CallerError, Cancelled, InvalidParams, SimDevinError, UnknownName
from sim_devin.functions import dialects
from sim_devin.functions.calls import FunctionAnswer, carry_out
from sim_devin.policy.gate import Gate
from sim_devin.policy.rules import Allowed, Policy

USERS = {"apiKey", "orgId", "extraBody", "extraQuery", "sessionSecrets", "secretIds"}
EVERY = [(dialect, strict) for dialect in dialects.DIALECTS for strict in (False, True)]


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def app(kept):
    with sim_devin.open_app(
        transport=kept, env={}, discover=False, plugins=[Plugin()], credentials=CREDENTIALS
    ) as app:
        yield app


CREDENTIALS = {"apiKey": "cog_test_key_000000", "orgId": "org-test"}


# -- recorded cases --------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_recorded_merge_of_user_and_model(case):
    kept = Kept()
    app = sim_devin.open_app(transport=kept, env={}, discover=False)
    answer = app.call_function(case["tool"], json.dumps(case["model"]), bind=case["user"])
    agrees(case, kept.requests, answer if answer.is_error else None)


# -- what a model is shown -------------------------------------------------------------------


@pytest.mark.parametrize(("dialect", "strict"), EVERY)
def test_every_function_fits_its_dialect(app, dialect, strict):
    exported = app.function_schemas(dialect, strict=strict)
    assert len(exported) == len(app.registry.tools) == 14
    problems = {
        parts(function, dialect)[0]: list(function_problems(function, dialect, strict))
        for function in exported
    }
    assert not any(problems.values()), problems


@pytest.mark.parametrize(("dialect", "strict"), EVERY)
def test_nothing_of_the_users_is_shown(app, dialect, strict):
    for function in app.function_schemas(dialect, strict=strict):
        _, _, schema = parts(function, dialect)
        assert not USERS & set(schema["properties"])
        names = {name for _, node, _ in walk(schema) for name in node.get("properties", {})}
        assert not {"secret", "token"} & names
        assert "x-visibility" not in json.dumps(schema)


@pytest.mark.parametrize(("dialect", "strict"), EVERY)
def test_what_is_bound_vanishes(app, dialect, strict):
    bind = {"sessionId": "devin-1", "message": "", "apiKey": "cog_user"}
    tools = ["devin_send_message", "devin_get_session"]
    functions = app.function_schemas(dialect, strict=strict, bind=bind, tools=tools)
    send, get = (parts(function, dialect)[2] for function in functions)
    assert "sessionId" not in send["properties"]
    assert "message" in send["properties"]  # an empty value binds nothing
    assert "sessionId" not in send["required"]
    assert get["properties"] == {}
    assert get.get("required", []) == []


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "gemini"])
def test_bounds_are_said_in_words(app, dialect):
    (function,) = app.function_schemas(dialect, tools=["devin_list_sessions"])
    limit = parts(function, dialect)[2]["properties"]["limit"]
    assert limit["type"] == "integer"
    assert "From 1 to 200." in limit["description"]


def test_mcp_keeps_bounds_and_says_all_hints(app):
    (function,) = app.function_schemas("mcp", tools=["devin_list_sessions"])
    limit = function["inputSchema"]["properties"]["limit"]
    assert limit["anyOf"] == [
        {"type": "integer", "minimum": 1, "maximum": 200},
        {"type": "null"},
    ]
    assert function["annotations"] == {
        "title": "List Devin sessions",
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": True,
        "openWorldHint": True,
    }
    assert function["outputSchema"]["properties"]["sessions"]["type"] == "array"


@pytest.mark.parametrize("dialect", ["mcp", "jsonschema"])
def test_what_others_rewrite_lets_optional_be_null_and_says_what_is_open(app, dialect):
    for function in app.function_schemas(dialect):
        name, _, schema = parts(function, dialect)
        for prop, item in schema["properties"].items():
            optional = prop not in schema.get("required", ())
            assert optional is ({"type": "null"} in item.get("anyOf", ())) or prop == "anything"
        assert not any(isinstance(node.get("type"), list) for node in nodes(function)), name
    (create,) = app.function_schemas(dialect, tools=["devin_create_session"])
    free = parts(create, dialect)[2]["properties"]["structuredOutputSchema"]
    assert free["anyOf"][0] == {"type": "object", "additionalProperties": True}


def nodes(value):
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item)


def test_strict_openai_requires_all_and_lets_optional_be_null(app):
    (function,) = app.function_schemas("openai", strict=True, tools=["devin_create_session"])
    assert function["function"]["strict"] is True
    schema = function["function"]["parameters"]
    assert schema["required"] == list(schema["properties"])
    assert schema["properties"]["prompt"]["type"] == "string"
    assert schema["properties"]["title"]["type"] == ["string", "null"]
    free = schema["properties"]["structuredOutputSchema"]
    assert free["type"] == ["string", "null"]
    assert "JSON text" in free["description"]


def test_strict_responses_say_strict_either_way(app):
    strict, loose = (
        app.function_schemas("openai-responses", strict=strict, tools=["devin_get_session"])[0]
        for strict in (True, False)
    )
    assert (strict["strict"], loose["strict"]) == (True, False)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": "x"}, {"type": "string", "enum": ["x"]}),
        ({"enum": [1, 2]}, {"type": "integer", "description": "One of 1, 2."}),
        ({"type": "string", "enum": ["a", None, 1]}, {"type": "string", "enum": ["a"]}),
        (
            {"type": "number", "enum": [1, 2.5]},
            {"type": "number", "description": "One of 1, 2.5."},
        ),
        ({"type": ["integer", "null"]}, {"type": ["integer", "null"]}),
        ({"type": "object"}, {"type": "object", "additionalProperties": True}),
        (
            {"oneOf": [{"const": "a"}, {"enum": ["b"]}]},
            {"type": "string", "enum": ["a", "b"]},
        ),
        (
            {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        ),
        (
            {"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^a", "default": "ab"},
            {
                "type": "string",
                "description": "At least 1 characters. At most 5 characters. Matches ^a. "
                'Default: "ab".',
            },
        ),
        (
            {"type": "array", "items": {"type": "number", "multipleOf": 2}, "uniqueItems": True},
            {
                "type": "array",
                "items": {"type": "number", "description": "A multiple of 2."},
                "description": "Items must be unique.",
            },
        ),
        ({}, {"type": "string", "description": "Pass it as JSON text."}),
    ],
)
def test_rewriting_into_the_portable_subset(schema, expected):
    whole = {"type": "object", "properties": {"p": schema}}
    assert dialects.rewrite(whole, "openai")["properties"]["p"] == expected


def test_recursion_ends_in_json_text():
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}
    whole = {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": node}}
    rewritten = dialects.rewrite(whole, "gemini")
    assert rewritten["properties"]["n"]["properties"]["next"]["type"] == "string"


def test_what_is_made_of_itself_ends():
    node = {"type": "object", "allOf": [{"$ref": "#/$defs/n"}]}
    whole = {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": node}}
    assert dialects.rewrite(whole, "openai")["properties"]["n"]["type"] == "object"


def test_schemas_are_made_once_and_not_for_calls(app, monkeypatch):
    first = app.function_schemas("openai", strict=True)

    def fail(*args, **options):
        raise AssertionError("made anew")

    monkeypatch.setattr(dialects, "rewrite", fail)
    assert app.function_schemas("openai", strict=True) == first
    assert not app.call_function("devin_get_session", {"sessionId": "s"}).is_error


def test_what_is_handed_out_is_a_copy(app):
    first = app.function_schemas("openai")
    first[0]["function"]["parameters"]["properties"].clear()
    assert app.function_schemas("openai")[0]["function"]["parameters"]["properties"]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"dialect": "openia"}, UnknownName, "'openai'"),
        ({"tools": ["devin_get_sesion"]}, UnknownName, "devin_get_session"),
        ({"bind": {"sesionId": "x"}}, CallerError, "Did you mean 'sessionId'"),
        ({"bind": {"prompt": "x"}, "tools": ["devin_get_session"]}, CallerError, "prompt"),
    ],
)
def test_a_slip_of_the_user_is_raised(app, arguments, error, words):
    with pytest.raises(error, match=words):
        app.function_schemas(**arguments)


# -- the providers' own types ----------------------------------------------------------------


@pytest.mark.parametrize("strict", [False, True])
def test_openai_takes_the_functions(app, strict):
    pytest.importorskip("openai")
    from openai.types.chat import ChatCompletionFunctionToolParam
    from openai.types.responses import FunctionToolParam
    from pydantic import ConfigDict, TypeAdapter

    for dialect, kind in (
        ("openai", ChatCompletionFunctionToolParam),
        ("openai-responses", FunctionToolParam),
    ):
        exported = app.function_schemas(dialect, strict=strict)
        taken = TypeAdapter(list[kind], config=ConfigDict(extra="forbid"))
        assert taken.validate_python(exported) == exported


@pytest.mark.parametrize("dialect", ["openai", "openai-responses"])
def test_openai_has_nothing_to_make_strict(app, dialect):
    """What the SDK would do to a schema for strict use is done already."""
    pytest.importorskip("openai")
    from openai.lib._pydantic import _ensure_strict_json_schema

    for function in app.function_schemas(dialect, strict=True):
        _, _, schema = parts(function, dialect)
        copied = copy.deepcopy(schema)
        assert _ensure_strict_json_schema(copied, path=(), root=copied) == schema


@pytest.mark.parametrize("strict", [False, True])
def test_anthropic_takes_the_functions(app, strict):
    pytest.importorskip("anthropic")
    from anthropic import transform_schema
    from anthropic.types import ToolParam
    from pydantic import TypeAdapter

    exported = app.function_schemas("anthropic", strict=strict)
    TypeAdapter(list[ToolParam]).validate_python(exported)
    if strict:
        # What the SDK would make of a schema for strict use is what it already is, except that
        # it leaves the type of an enum to its values.
        for tool in exported:
            schema = copy.deepcopy(tool["input_schema"])
            for _, node, _ in walk(schema):
                if "enum" in node:
                    del node["type"]
            assert transform_schema(schema) == schema


def test_gemini_takes_the_functions(app):
    types = pytest.importorskip("google.genai.types")
    exported = app.function_schemas("gemini")
    declared = [types.FunctionDeclaration.model_validate(item) for item in exported]
    assert [item.name for item in declared] == list(app.registry.tools)
    assert types.Tool(function_declarations=exported).function_declarations == declared
    # They fit the older field as well, whose schemas are a subset of OpenAPI's.
    for function in exported:
        types.Schema.from_json_schema(
            json_schema=types.JSONSchema.model_validate(function["parametersJsonSchema"]),
            api_option="GEMINI_API",
            raise_error_on_unsupported_field=True,
        )


def test_json_schema_and_mcp_are_valid_schemas(app):
    from jsonschema import Draft202012Validator

    for function in app.function_schemas("mcp"):
        Draft202012Validator.check_schema(function["inputSchema"])
        Draft202012Validator.check_schema(function["outputSchema"])


# -- what a model says -----------------------------------------------------------------------


def test_all_problems_at_once(app, kept):
    answer = app.call_function(
        "devin_create_session",
        {"prompt": "  ", "maxAcuLimit": 0, "tag": ["x"], "method": "DELETE", "extraBody": {"a": 1}},
    )
    told = json.loads(answer)
    assert told["error"] is True
    assert told["tool"] == "devin_create_session"
    places = [problem.partition(":")[0].strip("'") for problem in told["problems"]]
    assert sorted(places) == ["maxAcuLimit", "method", "prompt", "tag"]
    assert "Did you mean 'tags'" in answer
    assert "extraBody" not in answer  # nor is a model told what it may not touch
    assert not kept.requests


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "are a list"),
        ("7", "pass one JSON object"),
        ('{"limit": NaN}', "not JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_arguments_that_are_no_object(app, arguments, words):
    assert words in app.call_function("devin_list_sessions", arguments)


@pytest.mark.parametrize("as_text", [True, False])
@pytest.mark.parametrize("depth", [300, 3000])
def test_arguments_that_are_nested_too_deeply(app, depth, as_text):
    schema = {}
    for _ in range(depth):
        schema = {"a": schema}
    if as_text:
        schema = '{"a":' * depth + "{}" + "}" * depth
    answer = app.call_function(
        "devin_create_session", {"prompt": "p", "structuredOutputSchema": schema}
    )
    assert isinstance(answer.error, InvalidParams)


@pytest.mark.parametrize("arguments", [None, "", "{}", "null", {}, '"{}"'])
def test_no_arguments(app, kept, arguments):
    assert not app.call_function("devin_list_sessions", arguments).is_error
    assert len(kept.requests) == 1


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"structuredOutputSchema": '{"type": "object"}'}, {"type": "object"}),
        ({"structuredOutputSchema": {"default": None}}, {"default": None}),
        ({"maxAcuLimit": "7"}, 7),
        ({"maxAcuLimit": 7.0}, 7),
        ({"tags": '["a", "b"]'}, ["a", "b"]),
        ({"tags": "a, b"}, ["a", "b"]),
        ({"resumable": "false"}, False),
        ({"title": "[1]"}, "[1]"),
    ],
)
def test_stringified_values_are_read(app, kept, said, meant):
    assert not app.call_function("devin_create_session", json.dumps({"prompt": "p", **said})).error
    body = kept.requests[0].json
    del body["prompt"]
    assert list(body.values()) == [meant]


FORCED = {"tags": [], "repos": [], "structuredOutputSchema": {}, "title": None, "platform": ""}


@pytest.mark.parametrize("said", [FORCED, {**FORCED, "repos": "[]", "tags": " [ ] "}])
def test_what_a_model_was_forced_to_send_is_absent(app, kept, said):
    assert not app.call_function("devin_create_session", {"prompt": "p", **said}).is_error
    assert kept.requests[0].json == {"prompt": "p"}


def test_empty_stays_where_it_has_a_meaning_or_is_required(app, kept):
    said = {"prompt": "p", "knowledgeIds": [], "structuredOutputSchema": {"required": []}}
    assert not app.call_function("devin_create_session", said).is_error
    assert kept.requests[0].json["knowledge_ids"] == []
    assert kept.requests[0].json["structured_output_schema"] == {"required": []}
    app.call_function("devin_replace_session_tags", {"sessionId": "s", "tags": []})
    assert kept.requests[1].json == {"tags": []}


def test_empty_inside_of_a_parameter_is_absent_where_it_is_optional(app):
    said = {"kind": "report", "who": {"name": "Ada"}, "labels": {}, "rows": [{}], "both": None}
    said["tree"] = {"label": "a", "children": []}
    answer = app.call_function("acme_report", said)
    expected = {"kind": "report", "who": {"name": "Ada"}, "rows": [{}], "tree": {"label": "a"}}
    assert answer.output["got"] == expected


@pytest.mark.parametrize("value", [None, "", [], {}])
@pytest.mark.parametrize(
    ("tool", "said", "place"),
    [
        ("devin_create_session", {"prompt": "p", "maxAcuLimitt": ...}, "'maxAcuLimit'"),
        ("acme_report", {"kind": "report", "who": {"name": "Ada", "nam": ...}}, "who: got"),
    ],
)
def test_a_slip_in_a_name_is_told_whatever_its_value(app, kept, tool, said, place, value):
    said = json.loads(json.dumps(said, default=lambda _: value))
    answer = app.call_function(tool, said)
    assert place in json.dumps(json.loads(answer)), answer
    assert not kept.requests


def test_nested_text_nulls_and_user_values(app):
    answer = app.call_function(
        "acme_report",
        {
            "kind": "report",
            "who": '{"name": "Ada", "secret": null}',
            "tree": {"label": "a", "children": '[{"label": "b", "children": null}]'},
            "pair": '["x", 1]',
            "when": None,
            "token": "theirs",
        },
        bind={"token": "mine"},
    )
    assert answer.output["got"] == {
        "kind": "report",
        "who": {"name": "Ada"},
        "tree": {"label": "a", "children": [{"label": "b"}]},
        "pair": ["x", 1],
        "token": "mine",
    }


def test_a_nested_user_value_is_refused(app):
    said = {"kind": "report", "who": {"name": "Ada", "secret": "x"}}
    assert app.call_function("acme_report", said).is_error


OPTIONAL = {
    "playbookId": st.text(min_size=1).filter(str.strip),
    "maxAcuLimit": st.integers(1, 10**6),
    "title": st.text(min_size=1),
    "resumable": st.booleans(),
    "repos": st.lists(st.sampled_from(["a/b", "c/d"]), min_size=1, unique=True),
}


@given(st.fixed_dictionaries({name: st.none() | value for name, value in OPTIONAL.items()}))
def test_null_of_a_strict_model_means_absent(said):
    app = shared_app()
    nulls = app.functions.read("devin_create_session", json.dumps({"prompt": "p", **said}))
    absent = {name: value for name, value in said.items() if value is not None}
    assert nulls == app.functions.read("devin_create_session", {"prompt": "p", **absent})


@functools.cache
def shared_app():
    return sim_devin.open_app(env={}, discover=False)


@pytest.mark.parametrize(
    ("said", "sent"), [({}, 5), ({"maxAcuLimit": 3}, 3), ({"maxAcuLimit": 500}, 5)]
)
def test_a_model_can_lower_a_ceiling_and_never_raise_it(app, kept, said, sent):
    ceilings = {"maxAcuLimit": 5}
    app.call_function("devin_create_session", {"prompt": "p", **said}, ceilings=ceilings)
    assert kept.requests[0].json["max_acu_limit"] == sent


@pytest.mark.parametrize("said", [{}, {"maxAcuLimit": 7}])
def test_the_ceiling_of_a_policy_does_not_take_the_place_of_a_lower_one(app, kept, said):
    class Lenient(Policy):  # whatever a policy answers
        def check(self, *_):
            return Allowed({"maxAcuLimit": 10})

    answer = app.call_function(
        "devin_create_session",
        {"prompt": "p", **said},
        ceilings={"maxAcuLimit": 2},
        gate=Gate(Lenient()),
    )
    assert not answer.is_error
    assert kept.requests[0].json["max_acu_limit"] == 2


def test_the_apps_ceiling_holds_too(kept):
    app = sim_devin.open_app(
        transport=kept, env={}, discover=False, max_acu=4, credentials=CREDENTIALS
    )
    app.call_function("devin_create_session", {"prompt": "p", "maxAcuLimit": 99})
    assert kept.requests[0].json["max_acu_limit"] == 4


def test_other_organization_or_host_is_out_of_reach(app, kept):
    for said in (
        {"sessionId": "../../organizations/org-other/sessions/x"},
        {"sessionId": "x", "orgId": "org-other", "apiKey": "cog_evil"},
    ):
        app.call_function("devin_get_session", said)
    for request in kept.requests:
        assert request.url.startswith("https://api.devin.ai/v3/organizations/org-test/sessions/")
        assert request.url.count("/") == 7
        assert request.headers["Authorization"] == "Bearer cog_test_key_000000"


def test_an_answer_is_text_with_the_output_beside_it(app):
    answer = app.call_function("devin_get_session", {"sessionId": "s"})
    assert isinstance(answer, FunctionAnswer)
    assert json.loads(answer) == answer.output
    assert answer.error is None
    assert answer.output["sessionId"] == "s"


def test_an_unknown_function_names_the_nearest(app):
    answer = app.call_function("devin_get_sesion", {"sessionId": "s"})
    assert json.loads(answer)["nearest"][0] == "devin_get_session"


def test_an_error_of_the_service_is_told(simulated):
    answer = simulated.call_function("devin_get_session", {"sessionId": "devin-nowhere"})
    told = json.loads(answer)
    assert (told["type"], told["status"]) == ("NotFound", 404)


@pytest.fixture
def simulated():
    with sim_devin.open_app(simulate=True, env={}, discover=False) as app:
        yield app


@pytest.mark.parametrize("way", ["credentials", "bind"])
def test_what_the_service_repeats_of_a_key_handed_in_is_masked(simulated, way):
    key = "made-up-key-of-a-tenant"
    real = simulated.transport.send
    simulated.transport.send = lambda request, timeout: replace(
        real(request, timeout=timeout), status=200, body=json.dumps({"title": f"K {key}"}).encode()
    )
    answer = simulated.call_function(
        "devin_get_session", {"sessionId": "devin-1"}, **{way: {"apiKey": key}}
    )
    assert json.loads(answer)["title"] == "K ***"
    assert answer.output["title"] == f"K {key}"  # the caller's


def test_a_plugins_mistake_is_told_without_its_text(app, caplog):
    answer = app.call_function("acme_break")
    assert "acme_break failed with an internal error: ZeroDivisionError" in answer
    assert "cog_a_secret" not in answer


def test_a_plugins_mistake_is_logged_without_the_key(app, caplog):
    key = CREDENTIALS["apiKey"]

    def breaks(*_args, **_options):
        raise ValueError(f"refused: {key}")

    with pytest.raises(SimDevinError, match="internal error"):
        carry_out(app, app.functions.read("devin_list_sessions", {}), act=breaks)
    assert "ValueError: refused" in caplog.text
    assert key not in caplog.text


def test_cancelled_is_raised(simulated):
    import threading

    created = simulated.call_function("devin_create_session", {"prompt": "p"})
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        simulated.call_function(
            "devin_wait_for_session", {"sessionId": created.output["sessionId"]}, cancel=cancel
        )


def test_a_slip_in_bind_is_not_blamed_on_the_model(app):
    with pytest.raises(CallerError, match="sesionId"):
        app.call_function("devin_get_session", {"sessionId": "s"}, bind={"sesionId": "t"})
