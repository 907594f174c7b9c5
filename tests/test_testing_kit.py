"""The kit for plugin authors, as an author's own test run sees it."""

import pytest

from sim_devin.specs.models import BlockSpec, ToolSpec
from sim_devin.testing import (
    StubTransport,
    assert_block_conforms,
    assert_tool_conforms,
    offline_app,
)

pytest_plugins = ["pytester"]

TOOL = {
    "id": "acme_note",
    "title": "Note",
    "description": "Leave a note in a session.",
    "connection": "devin",
    "request": {
        "method": "POST",
        "path": "/organizations/{orgId}/sessions/{sessionId}/notes",
        "body": {"text": "{text}", "pin": "{pin}"},
    },
    "params": {
        "type": "object",
        "properties": {
            "sessionId": {"type": "string", "description": "The session."},
            "text": {"type": "string", "description": "The note."},
            "pin": {
                "type": "string",
                "writeOnly": True,
                "description": "The secret.",
                "x-visibility": "user-only",
            },
        },
        "required": ["sessionId", "text"],
        "additionalProperties": False,
    },
    "output": {
        "type": "object",
        "properties": {"noteId": {"type": "string", "x-from": "id", "description": "Its id."}},
        "required": ["noteId"],
    },
    "traits": {"retryOn": ["connect", "429"]},
    "examples": [{"sessionId": "devin-1", "text": "Look.", "pin": "made-up"}],
}


def changed(path, value, document=TOOL):
    """Return the document with the value at a dotted path replaced, or removed for None."""
    head, _, rest = path.partition(".")
    result = dict(document)
    if rest:
        result[head] = changed(rest, value, document[head])
    elif value is None:
        del result[head]
    else:
        result[head] = value
    return result


@pytest.fixture(scope="module")
def registry():
    return offline_app().registry


@pytest.mark.parametrize("kind", ["tools", "blocks"])
def test_what_devin_brings_conforms(registry, kind):
    check = {"tools": assert_tool_conforms, "blocks": assert_block_conforms}[kind]
    for name, spec in getattr(registry, kind).items():
        if name.startswith("devin"):
            check(spec, registry)


def test_a_good_tool_conforms(registry):
    assert_tool_conforms(ToolSpec(**TOOL), registry)
    assert_tool_conforms(ToolSpec(**TOOL), registry, answers=[{"id": "n-1"}, b'{"id": "n-2"}'])


PROPERTY = "params.properties.text"


@pytest.mark.parametrize(
    ("document", "violation"),
    [
        (changed("title", " "), "title and description"),
        (changed(f"{PROPERTY}.description", None), f"{PROPERTY}: has no description"),
        (changed("output.properties.noteId.description", None), "output.properties.noteId: has no"),
        (changed("connection", "acme"), "connection: unknown connection 'acme'"),
        (changed("params.required", ["words"]), "params.required: 'words' is not one of"),
        (changed("examples", []), "examples: at least one"),
        (changed("examples", [{"text": "x"}]), "examples.0: sessionId: is required"),
        (changed("examples", [{"sessionId": "..", "text": "x"}]), "examples.0: acme_note: session"),
        (changed("traits.retryOn", ["5xx"]), "traits.retryOn: after 5xx the outcome"),
        (changed("traits", {"readOnly": True, "destructive": True}), "traits: a read-only tool"),
        (changed("traits.modelInput", ["pin"]), "traits.modelInput: pin is a secret"),
        (changed(f"{PROPERTY}.x-visibility", "user_only"), f"{PROPERTY}.x-visibility: must"),
        (changed("params.properties.pin.x-visibility", None), "params.properties.pin: is a secret"),
        (
            changed(f"{PROPERTY}.items", {"x-visibility": "user-only"}),
            f"{PROPERTY}: x-visibility applies to whole parameters only",
        ),
        (changed("output.properties.noteId.type", 5), "output.properties.noteId.type: 5 is not"),
    ],
)
def test_a_tool_that_does_not_conform_is_told_why(registry, document, violation):
    with pytest.raises(AssertionError, match="tool acme_note does not conform:\n- ") as caught:
        assert_tool_conforms(ToolSpec(**document), registry)
    assert f"\n- {violation}" in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "violation"),
    [
        ({"id": 5}, "answers.0: reading it raised UnreadableResponse: acme_note returned"),
        ({"other": 5}, "answers.0: reading it raised UnreadableResponse"),
        (b"<html>", "answers.0: reading it raised UnreadableResponse"),
    ],
)
def test_an_answer_that_does_not_fit_is_shown(registry, answer, violation):
    with pytest.raises(AssertionError) as caught:
        assert_tool_conforms(ToolSpec(**TOOL), registry, answers=[answer])
    assert violation in str(caught.value)


@pytest.mark.parametrize(
    ("functions", "violation"),
    [
        ({"read": lambda response, read: {}}, "answers: read= is Python, so pass answers"),
        ({"read": lambda response, read: response.body[99]}, "reading b'' with status 200 raised"),
        ({"prepare": lambda params, build: 5}, "examples.0: prepare returned a int"),
        ({"prepare": lambda params, build: 1 / 0}, "examples.0: prepare raised ZeroDivisionError"),
    ],
)
def test_functions_are_checked_too(registry, functions, violation):
    with pytest.raises(AssertionError) as caught:
        assert_tool_conforms(ToolSpec(**TOOL, **functions), registry)
    assert violation in str(caught.value)


def test_a_read_function_that_leaves_an_output_out_is_caught(registry):
    spec = ToolSpec(**TOOL, read=lambda response, read: {})
    with pytest.raises(AssertionError, match="the declared output 'noteId' is missing"):
        assert_tool_conforms(spec, registry, answers=[{"id": "n-1"}])


BLOCK = {
    "type": "acme",
    "title": "Acme",
    "description": "Look and wait.",
    "operations": {"look": "devin_get_session", "wait": "devin_wait_for_session"},
    "labels": {"look": "Look"},
    "fields": [
        {"id": "sessionId", "title": "Session"},
        {
            "id": "until",
            "widget": "dropdown",
            "options": [{"id": "over", "label": "Over"}],
            "shownFor": {"operation": ["wait"]},
        },
    ],
}


def test_a_good_block_conforms(registry):
    assert_block_conforms(BlockSpec(**BLOCK), with_block(registry, BLOCK))


def with_block(registry, document):
    from dataclasses import replace

    return replace(registry, blocks={"acme": BlockSpec(**document)})


def field(**more):
    return {**BLOCK, "fields": [*BLOCK["fields"], {"id": "more", **more}]}


@pytest.mark.parametrize(
    ("document", "violation"),
    [
        ({**BLOCK, "description": ""}, "title and description"),
        ({**BLOCK, "operations": {"look": "devin_gone"}}, "operations: unknown tool"),
        ({**BLOCK, "labels": {"gaze": "Gaze"}}, "labels.gaze: not an operation"),
        (field(id="sessionId"), "fields.sessionId: two fields have this id"),
        (field(), "fields.more: none of the block's tools has a parameter 'more'"),
        (field(param="sessionId"), "operations.look: two fields set sessionId"),
        (field(shownFor={"none": ["x"]}), "fields.more.shownFor: unknown field 'none'"),
        (field(widget="dropdown"), "fields.more: a dropdown needs options"),
        (
            field(param="until", options=[{"id": "never", "label": "Never"}]),
            "fields.more.options: until does not accept 'never'",
        ),
        (
            {**BLOCK, "operations": {}, "labels": {}},
            "operations: the block has neither operations nor a handler",
        ),
    ],
)
def test_a_block_that_does_not_conform_is_told_why(registry, document, violation):
    with pytest.raises(AssertionError, match="block acme does not conform:\n- ") as caught:
        assert_block_conforms(BlockSpec(**document), with_block(registry, document))
    assert f"\n- {violation}" in str(caught.value)


def test_the_stub_hands_out_answers_in_order_and_keeps_requests():
    error = ConnectionError("made up")
    transport = StubTransport({"tags": ["a"]}, error)
    app = offline_app(transport=transport)
    assert app.call("devin_get_session_tags", {"sessionId": "devin-1"}) == {"tags": ["a"]}
    with pytest.raises(ConnectionError):
        app.call("devin_get_session_tags", {"sessionId": "devin-2"})
    with pytest.raises(AssertionError, match="no response is left for Request"):
        app.call("devin_get_session_tags", {"sessionId": "devin-3"})
    assert [request.url.rpartition("/sessions/")[2] for request in transport.requests] == [
        "devin-1/tags",
        "devin-2/tags",
        "devin-3/tags",
    ]


# -- in a test run of its own ----------------------------------------------------------------


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a test module in a process of its own, warnings being errors."""
    monkeypatch.setenv("SIM_DEVIN_STRICT", "nonsense")  # the fixtures must not look

    def run(code, *arguments):
        pytester.makepyfile(code)
        return pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", *arguments)

    return run


def test_an_author_uses_the_fixtures(run):
    result = run(
        """
        import pytest
        import sim_devin
        from sim_devin.specs.models import BlockSpec

        class Plugin:
            @sim_devin.hookimpl
            def sim_devin_specs(self):
                look = {"look": "devin_get_session"}
                block = BlockSpec(type="acme", title="Acme", operations=look)
                return sim_devin.Specs(blocks=(block,))

        @pytest.fixture
        def sim_devin_plugins():
            return [Plugin()]

        def test_time_stands_still_until_advanced(sim_devin_app, devin_simulator):
            session = sim_devin_app.call("devin_create_session", {"prompt": "Do it"})["sessionId"]
            before = sim_devin_app.call("devin_get_session", {"sessionId": session})
            assert before["status"] in ("new", "claimed")
            devin_simulator.clock.advance(3600)
            after = sim_devin_app.call("devin_get_session", {"sessionId": session})
            assert after["updatedAt"] > before["updatedAt"]
            assert devin_simulator.log[0].method == "POST"

        def test_the_plugin_is_there(sim_devin_registry):
            assert sim_devin_registry.owners["block:acme"] == "Plugin"
            assert sim_devin_registry.plan("acme", {"sessionId": "x"})[0] == "devin_get_session"
        """
    )
    result.assert_outcomes(passed=2)


def test_a_broken_plugin_is_an_error_that_says_why(run):
    result = run(
        """
        import pytest

        @pytest.fixture
        def sim_devin_plugins():
            return ["nowhere"]

        def test_it(sim_devin_registry):
            pass
        """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*PluginError: The plugin 'nowhere' failed at spec: nowhere:*"])


def test_the_kit_costs_a_test_run_that_does_not_use_it_next_to_nothing(run, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = run(
        """
        import sys

        def test_nothing_else_is_loaded():
            ours = {name for name in sys.modules if name.split(".")[0] == "sim_devin"}
            assert ours == {"sim_devin", "sim_devin.testing"}
            assert not {"requests", "jsonschema", "pydantic", "click"} & set(sys.modules)
        """,
        "-p",
        "sim_devin.testing",
    )
    result.assert_outcomes(passed=1)


def test_the_fixtures_are_documented(run):
    result = run("", "--fixtures")
    for name in ("sim_devin_app", "sim_devin_plugins", "sim_devin_registry", "devin_simulator"):
        result.stdout.fnmatch_lines_random([f"{name} -- *testing.py:*"])
