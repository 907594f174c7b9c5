"""The block over the tools: its form, its plan, its outputs."""

import os

import pytest

from sim_devin import open_app
from sim_devin.errors import InvalidParams, UnknownName
from sim_devin.specs import forms as blocks
from sim_devin.specs.models import BlockField, BlockSpec, Connection, ToolSpec

APP = open_app(env={"SIM_DEVIN_CONFIG": os.devnull}, discover=False)
BLOCK = APP.registry.block("devin")
FORM = {field.id: field for field in APP.registry.form("devin")}
OPERATIONS = [
    "create_session",
    "get_session",
    "list_sessions",
    "send_message",
    "list_session_messages",
    "list_session_attachments",
    "get_session_tags",
    "append_session_tags",
    "replace_session_tags",
    "archive_session",
    "terminate_session",
]
WITH_SESSION = [name for name in OPERATIONS if name not in ("create_session", "list_sessions")]
PAGED = ["list_sessions", "list_session_messages"]
KEY = {"apiKey": "cog_test_key_000000", "orgId": "org-1"}


def plan(**values):
    return APP.plan_block("devin", values)


# -- the form --------------------------------------------------------------------------------


def test_the_dropdown_has_the_operations_in_order():
    dropdown = APP.registry.form("devin")[0]
    assert (dropdown.id, dropdown.widget, dropdown.default) == (
        "operation",
        "dropdown",
        "create_session",
    )
    assert [option["id"] for option in dropdown.options] == OPERATIONS
    assert dropdown.options[0]["label"] == "Create Session"
    assert dropdown.shown({})
    assert not dropdown.required({})


@pytest.mark.parametrize(
    ("name", "shown", "required", "kind", "advanced"),
    [
        ("prompt", ["create_session"], ["create_session"], "string", False),
        ("playbookId", ["create_session"], [], "string", True),
        ("maxAcuLimit", ["create_session"], [], "integer", True),
        (
            "tags",
            ["create_session", "append_session_tags", "replace_session_tags"],
            ["append_session_tags", "replace_session_tags"],
            "array",
            False,
        ),
        ("sessionId", WITH_SESSION, WITH_SESSION, "string", False),
        ("message", ["send_message"], ["send_message"], "string", False),
        ("limit", PAGED, [], "integer", True),
        ("after", PAGED, [], "string", True),
        ("terminateArchive", ["terminate_session"], [], "boolean", True),
        ("filterTags", ["list_sessions"], [], "array", True),
        ("sessionSecrets", ["create_session"], [], "array", True),
        ("extraQuery", ["create_session", "list_sessions"], [], "object", True),
        ("title", ["create_session"], [], "string", True),
        ("isArchived", ["list_sessions"], [], "boolean", True),
    ],
)
def test_which_field_for_which_operation(name, shown, required, kind, advanced):
    field = FORM[name]
    assert (field.type, field.advanced) == (kind, advanced)
    assert [op for op in OPERATIONS if field.shown({"operation": op})] == shown
    assert [op for op in OPERATIONS if field.required({"operation": op})] == required
    assert not field.shown({})  # conditions look at stored values, before defaults


def test_credentials_come_last_and_are_always_there():
    key, org = APP.registry.form("devin")[-2:]
    assert (key.id, key.title, key.secret) == ("apiKey", "API Key", True)
    assert (org.id, org.title, org.secret) == ("orgId", "Organization ID", False)
    assert all(field.required({"operation": op}) for field in (key, org) for op in OPERATIONS)


def test_every_parameter_of_every_tool_has_one_field():
    for operation in OPERATIONS:
        tool = APP.registry.tool(BLOCK.operations[operation])
        covered = [f.param for f in FORM.values() if f.param and f.shown({"operation": operation})]
        assert sorted(covered) == sorted([*tool.properties, "apiKey", "orgId"])


def test_secret_fields():
    assert {field.id for field in FORM.values() if field.secret} == {"apiKey", "sessionSecrets"}


def test_the_form_is_json():
    told = FORM["terminateArchive"].to_json()
    assert told["param"] == "archive"
    assert told["options"] == [{"id": "false", "label": "No"}, {"id": "true", "label": "Yes"}]
    assert told["shownFor"] == ["terminate_session"]
    assert told["default"] == "false"


def test_a_block_of_its_own_has_the_form_it_says():
    block = BlockSpec(
        type="mine",
        title="Mine",
        fields=(
            BlockField(id="mode", required=True),
            BlockField(id="flag", type="boolean"),
            BlockField(id="how", required=True, shown_for={"mode": ("a", "b"), "flag": ("true",)}),
        ),
        outputs={"out": {"type": "string"}},
    )
    mode, _, how = blocks.form(block, {}, {})
    assert mode.required({})
    assert how.required({"mode": "a", "flag": True})
    assert how.shown({"mode": "b", "flag": "true"})
    assert not how.shown({"mode": "c", "flag": True})
    assert not how.required({"mode": "a", "flag": False})
    assert blocks.outputs(block, {}) == {"out": {"type": "string"}}


# -- the plan --------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_is_its_tool(operation):
    tool, params = plan(operation=operation, sessionId="devin-1", **KEY)
    assert tool == f"devin_{operation}"
    session = {"sessionId": "devin-1"} if operation in WITH_SESSION else {}
    assert params == {**session, **KEY}


@pytest.mark.parametrize("operation", [None, ""])
def test_the_default_operation_keeps_its_fields(operation):
    assert plan(operation=operation, prompt="p") == ("devin_create_session", {"prompt": "p"})
    assert plan(prompt="p") == ("devin_create_session", {"prompt": "p"})


def test_leftovers_of_other_operations_stay_behind():
    leftovers = {
        "prompt": "p",
        "message": "m",
        "playbookId": "pb",
        "tags": "a",
        "limit": "5",
        "maxAcuLimit": "3",
        "terminateArchive": "true",
        "unknown": 1,
    }
    assert plan(operation="get_session", sessionId="s", **leftovers) == (
        "devin_get_session",
        {"sessionId": "s"},
    )
    assert plan(operation="list_sessions", **leftovers)[1] == {"limit": 5}


def test_filters_have_names_of_their_own():
    _, params = plan(operation="list_sessions", filterTags="a, b", filterPlaybookId="pb", tags="x")
    assert params == {"tags": "a, b", "playbookId": "pb"}


@pytest.mark.parametrize(
    ("stored", "planned"),
    [("true", True), ("false", False), (True, True), (False, False), ("", ""), ("yes", "yes")],
)
def test_terminate_archive_is_archive(stored, planned):
    _, params = plan(operation="terminate_session", sessionId="s", terminateArchive=stored)
    assert params == {"sessionId": "s", "archive": planned}


def test_the_fields_choice_wins_over_the_parameters_own_name():
    values = {"operation": "terminate_session", "terminateArchive": "false", "archive": True}
    assert plan(**values)[1] == {"archive": False}
    values["terminateArchive"] = ""
    assert plan(**values)[1] == {"archive": True}
    del values["terminateArchive"]
    assert plan(**values)[1] == {"archive": True}


@pytest.mark.parametrize(
    ("stored", "planned"),
    [("50", 50), (" 0x10 ", 16), ("0.5", 0.5), ("junk", "junk"), ("", ""), (None, None), (7, 7)],
)
def test_numbers_are_converted_if_they_are_some(stored, planned):
    _, params = plan(operation="list_sessions", limit=stored)
    assert params == {"limit": planned}


def test_junk_is_left_for_the_call_to_refuse():
    tool, params = plan(operation="create_session", prompt="p", maxAcuLimit="<block.x>", **KEY)
    with pytest.raises(InvalidParams, match=r"maxAcuLimit: got '<block\.x>'"):
        APP.build_request(tool, params)


def test_tags_wait_for_the_call():
    _, params = plan(operation="create_session", prompt="p", tags=["a", "a"])
    assert params["tags"] == ["a", "a"]


@pytest.mark.parametrize("operation", ["create", "devin_create_session", "__proto__", 5, [], {}])
def test_unknown_operations(operation):
    with pytest.raises(UnknownName, match="operation of the block 'devin'"):
        plan(operation=operation)


def test_unknown_operations_name_the_nearest():
    with pytest.raises(UnknownName) as caught:
        plan(operation="get_sesion")
    assert caught.value.nearest[0] == "get_session"


def test_an_operation_whose_tool_is_missing():
    with pytest.raises(UnknownName, match="no tool called 'devin_get_session'"):
        blocks.plan(BLOCK, {}, {}, {"operation": "get_session"})


def test_a_block_of_one_operation_needs_no_dropdown():
    tool = ToolSpec.model_validate(
        {
            "id": "one_tool",
            "title": "One",
            "description": "One.",
            "request": {"method": "GET", "path": "/x", "query": {"q": "{q}", "n": "{n}"}},
            "params": {
                "type": "object",
                "properties": {"q": {"type": "string"}, "n": {"type": "integer"}},
                "required": ["q"],
            },
            "output": {"type": "object", "properties": {"a": {}}},
        }
    )
    block = BlockSpec(type="one", title="One", operations={"go": "one_tool"})
    query, count = blocks.form(block, {"one_tool": tool}, {})
    assert query.required({})
    assert not count.required({})
    assert (query.title, query.shown_for) == ("Q", None)
    values = {"operation": "something else", "q": "x", "n": "2"}
    assert blocks.plan(block, {"one_tool": tool}, {}, values) == ("one_tool", {"q": "x", "n": 2})


def test_two_tools_of_one_connection_ask_for_its_fields_once():
    connection = Connection.model_validate(
        {
            "id": "c",
            "title": "C",
            "baseUrl": "https://example.com",
            "fields": {"token": {"title": "Token", "description": "T.", "env": "T"}},
        }
    )
    get = APP.registry.tool("devin_get_session").model_copy(update={"connection": "c"})
    block = BlockSpec(type="two", title="Two", operations={"a": "t1", "b": "t2"})
    form = blocks.form(block, {"t1": get, "t2": get}, {"c": connection})
    assert [field.id for field in form] == ["operation", "sessionId", "token"]


# -- outputs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_outputs_of_an_operation_are_its_tools(operation):
    outputs = APP.registry.outputs("devin", operation)
    assert outputs == APP.registry.tool(f"devin_{operation}").answer["properties"]


def test_outputs_of_all_operations_together():
    together = APP.registry.outputs("devin")
    for operation in OPERATIONS:
        assert set(APP.registry.outputs("devin", operation)) <= set(together)
    assert len(together) == 13 + 1 + 3 + 1 + 1
