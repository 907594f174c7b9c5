"""The built-in specs hold what the tables of Sim's documentation promise, and our own rules."""

import json
import os

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from sim_devin import open_app
from sim_devin.specs.files import builtin_folder, load_specs
from sim_devin.specs.models import BlockSpec, Connection, ToolSpec
from sim_devin.specs.schema import Checker

SPECS = load_specs(builtin_folder())
TOOLS = {tool.id: tool for tool in SPECS.tools}
CONNECTION = SPECS.connections[0]
KINDS = {"tool": ToolSpec, "block": BlockSpec, "connection": Connection}

# The tables of Sim's documentation: parameter -> (type, required), output -> type.
CREDENTIALS = {"apiKey": ("string", True), "orgId": ("string", True)}
SESSION_ID = {"sessionId": ("string", True)}
PAGE = {"limit": ("number", False), "after": ("string", False)}
SESSION = {
    "sessionId": "string",
    "url": "string",
    "status": "string",
    "statusDetail": "string",
    "title": "string",
    "createdAt": "number",
    "updatedAt": "number",
    "acusConsumed": "number",
    "tags": "json",
    "pullRequests": "json",
    "structuredOutput": "json",
    "playbookId": "string",
    "isArchived": "boolean",
}
LISTED_SESSION = {name: kind for name, kind in SESSION.items() if name != "structuredOutput"}
PAGED = {"endCursor": "string", "hasNextPage": "boolean", "total": "number"}
MESSAGE = {"eventId": "string", "source": "string", "message": "string", "createdAt": "number"}
ATTACHMENT = {
    "attachmentId": "string",
    "name": "string",
    "url": "string",
    "source": "string",
    "contentType": "string",
}
TABLES = {
    "devin_create_session": (
        {
            "prompt": ("string", True),
            "playbookId": ("string", False),
            "maxAcuLimit": ("number", False),
            "tags": ("string", False),
        },
        SESSION,
    ),
    "devin_get_session": (SESSION_ID, SESSION),
    "devin_list_sessions": (PAGE, {"sessions": LISTED_SESSION, **PAGED}),
    "devin_send_message": (SESSION_ID | {"message": ("string", True)}, SESSION),
    "devin_list_session_messages": (SESSION_ID | PAGE, {"messages": MESSAGE, **PAGED}),
    "devin_list_session_attachments": (SESSION_ID, {"attachments": ATTACHMENT}),
    "devin_get_session_tags": (SESSION_ID, {"tags": "json"}),
    "devin_append_session_tags": (SESSION_ID | {"tags": ("string", True)}, {"tags": "json"}),
    "devin_replace_session_tags": (SESSION_ID | {"tags": ("string", True)}, {"tags": "json"}),
    "devin_archive_session": (SESSION_ID, SESSION),
    "devin_terminate_session": (SESSION_ID | {"archive": ("boolean", False)}, SESSION),
}
# On purpose of another type than in the tables: tags are a list (text is taken too), and
# limits are whole numbers.
RETYPED = {"tags": "array", "limit": "integer", "maxAcuLimit": "integer"}
JSON_OUTPUTS = {"tags": "array", "pullRequests": "array", "structuredOutput": "object"}

tables = pytest.mark.parametrize("tool", TABLES)


def plain_type(schema):
    kind = schema.get("type")
    return next(item for item in kind if item != "null") if isinstance(kind, list) else kind


def test_there_are_exactly_these_tools():
    assert set(TOOLS) == set(TABLES)
    app = open_app(env={"SIM_DEVIN_CONFIG": os.devnull}, discover=False)
    assert set(TABLES) < set(app.registry.tools)
    assert [t for t in app.registry.tools if t in TABLES] == list(
        SPECS.blocks[0].operations.values()
    )


@tables
def test_parameters_are_those_of_the_table(tool):
    spec = TOOLS[tool]
    table, _ = TABLES[tool]
    plain = {n: s for n, s in spec.properties.items() if not s.get("x-advanced")}
    if tool == "devin_list_sessions":
        plain = {n: plain[n] for n in PAGE}
    assert set(plain) == set(table)
    for name, (kind, required) in table.items():
        assert plain_type(plain[name]) == RETYPED.get(name, kind), name
        assert (name in spec.required) is required, name
    assert set(spec.required) <= set(table)


def test_credentials_are_declared_once_as_fields_of_the_connection():
    assert list(CONNECTION.fields) == list(CREDENTIALS)
    assert CONNECTION.fields["apiKey"].secret
    assert not CONNECTION.fields["orgId"].secret
    for spec in TOOLS.values():
        assert spec.connection == CONNECTION.id
        assert not set(CREDENTIALS) & set(spec.properties)


@tables
def test_outputs_are_those_of_the_table(tool):
    _, table = TABLES[tool]
    assert_outputs(TOOLS[tool].answer["properties"], table)


def assert_outputs(properties, table):
    assert set(properties) == set(table)
    for name, kind in table.items():
        if isinstance(kind, dict):
            assert properties[name]["type"] == "array"
            assert_outputs(properties[name]["items"]["properties"], kind)
        else:
            expected = JSON_OUTPUTS[name] if kind == "json" else kind
            assert plain_type(properties[name]) in (expected, "integer"), name
        assert properties[name]["x-from"]


@tables
def test_everything_is_described_in_words(tool):
    spec = TOOLS[tool]
    assert spec.title
    assert spec.permission
    assert len(spec.description.split()) > 5
    for name, schema in (*spec.properties.items(), *spec.answer["properties"].items()):
        assert schema["description"].endswith("."), name


@tables
def test_examples_pass_the_checks(tool):
    spec = TOOLS[tool]
    assert spec.examples
    checker = Checker(spec.params)
    for example in spec.examples:
        assert checker.problems(checker.coerce(example), example) == []


@tables
def test_parameters_are_closed_and_valid_json_schema(tool):
    spec = TOOLS[tool]
    assert spec.params["additionalProperties"] is False
    Draft202012Validator.check_schema(spec.params)
    Draft202012Validator.check_schema(spec.answer)


@pytest.mark.parametrize("name", ["sessionSecrets", "secretIds", "extraBody", "extraQuery"])
def test_what_no_model_may_set(name):
    holders = [spec for spec in TOOLS.values() if name in spec.properties]
    assert holders
    assert all(spec.properties[name]["x-visibility"] == "user-only" for spec in holders)


def test_the_escape_hatches_are_on_create_and_list():
    assert {t for t, spec in TOOLS.items() if "extraBody" in spec.properties} == {
        "devin_create_session"
    }
    assert {t for t, spec in TOOLS.items() if "extraQuery" in spec.properties} == {
        "devin_create_session",
        "devin_list_sessions",
    }


READS = {name for name in TABLES if "_list_" in name or "_get_" in name}
REPEATABLE = READS | {
    "devin_append_session_tags",
    "devin_replace_session_tags",
    "devin_terminate_session",
}


@tables
def test_traits(tool):
    traits, method = TOOLS[tool].traits, TOOLS[tool].request.method
    assert traits.read_only is (tool in READS)
    assert traits.read_only is (method == "GET")
    assert traits.paginated is ("limit" in TOOLS[tool].properties)
    assert traits.costs_money is (tool in ("devin_create_session", "devin_send_message"))
    if tool in REPEATABLE:
        assert set(traits.retry_on) == {"connect", "reset", "timeout", "429", "5xx"}
    if traits.costs_money:
        assert set(traits.retry_on) == {"connect"}
    if {"reset", "timeout", "5xx"} & set(traits.retry_on):
        assert traits.idempotent


@pytest.mark.parametrize(
    "file",
    [f for f in sorted(builtin_folder().glob("*.json")) if f.name.split(".")[-2] in KINDS],
    ids=lambda file: file.name,
)
def test_specs_go_back_to_the_json_they_came_from(file):
    document = json.loads(file.read_text(encoding="utf-8"))
    spec = KINDS[file.name.split(".")[-2]].model_validate(document)
    assert spec.to_json() == document


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (TOOLS["devin_get_session"], "id"),
        (TOOLS["devin_get_session"].request, "path"),
        (TOOLS["devin_get_session"].traits, "read_only"),
        (SPECS.blocks[0], "operations"),
        (SPECS.blocks[0].fields[0], "title"),
        (CONNECTION, "base_url"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_specs_are_frozen(spec, name):
    with pytest.raises(ValidationError, match="frozen"):
        setattr(spec, name, "other")
