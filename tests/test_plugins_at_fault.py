"""Plugins that misbehave: who and what is named, and what stays as it was."""

import json
import os
import sys
import threading
import types
from importlib.metadata import EntryPoint

import pytest

import sim_devin
from sim_devin import Response, Specs, hookimpl
from sim_devin.errors import (
    AmbiguousResult,
    CallerError,
    Conflict,
    MissingCredentials,
    NotAllowed,
    NotFound,
    PluginError,
    TransportError,
    UnreadableResponse,
)
from sim_devin.plugins import loading
from sim_devin.specs.models import Connection, ToolSpec

ACME = {
    "id": "acme",
    "title": "Acme",
    "baseUrl": "https://acme.example/v1",
    "baseUrlEnv": "ACME_URL",
    "fields": {"token": {"title": "Token", "description": "D.", "env": "ACME_TOKEN"}},
}
OUTPUT = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
ID = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}


def http(method="GET", output=OUTPUT, path="/things/{id}", **changes):
    request = {"method": method, "path": path}
    about = {"title": "T", "description": "D.", "connection": "acme", "params": ID}
    return ToolSpec(id="acme_get", request=request, output=output, **{**about, **changes})


def plugin(tool, name="acme"):
    class Plugin:
        __name__ = name

        @hookimpl
        def sim_devin_specs(self):
            return Specs(tools=(tool,), connections=(Connection(**ACME),))

    return Plugin()


class Answers:
    def __init__(self, *answers):
        self.answers = list(answers)

    def send(self, request, *, timeout):
        said = self.answers.pop(0)
        if isinstance(said, Exception):
            raise said
        return said


@pytest.fixture
def call():
    """Return a function that calls a plugin's tool, which is answered as given."""

    def call(tool, *answers, **options):
        options.setdefault("credentials", {"token": "made-up"})
        with sim_devin.open_app(
            transport=Answers(*answers),
            env={"SIM_DEVIN_CONFIG": os.devnull, "SIM_DEVIN_RETRIES": "0"},
            discover=False,
            plugins=[plugin(tool)],
            **options,
        ) as app:
            return app.call("acme_get", {"id": "x"})

    return call


# -- at call time ----------------------------------------------------------------------------


def raises(*_args):
    raise KeyError("with a made-up secret")


@pytest.mark.parametrize("name", ["prepare", "read", "run"])
def test_what_fails_in_a_plugins_function_names_plugin_and_tool(call, caplog, name):
    function = {name: raises}
    if name == "run":
        tool = ToolSpec(
            id="acme_get", title="T", description="D.", params=ID, output=OUTPUT, run=raises
        )
    else:
        tool = http(**function)
    with pytest.raises(PluginError) as caught:
        call(tool, Response(200, {}, b'{"ok": true}'))
    assert f"acme_get failed with an internal error: KeyError in {name}" in str(caught.value)
    assert "the plugin 'acme'" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "KeyError: 'with a made-up secret'" in caplog.text  # for who writes the plugin


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ({"prepare": lambda params, build: None}, "returned None from prepare, not a Request"),
        ({"prepare": lambda params, build: {}}, "returned a dict from prepare, not a Request"),
        ({"read": lambda response, read: [1]}, "returned a list from read, not a dict"),
        (
            {"read": lambda response, read: {"at": {1, 2}}},
            "returned from read what JSON has no form",
        ),
        ({"run": lambda params, context: None}, "returned None from run, not a dict"),
        ({"run": lambda params, context: "ok"}, "returned a str from run, not a dict"),
        (
            {"run": lambda params, context: {"n": float("nan")}},
            "returned from run what JSON has no",
        ),
    ],
)
def test_a_result_of_the_wrong_type_is_an_error(call, function, words):
    tool = http(**function)
    if "run" in function:
        tool = tool.model_copy(update={"request": None, "connection": None})
    with pytest.raises(PluginError) as caught:
        call(tool, Response(200, {}, b'{"ok": true}'))
    assert f"acme_get {words}" in str(caught.value)
    assert "the plugin 'acme'" in str(caught.value)


def test_an_error_of_ours_passes_as_it_is(call):
    def refuses(params, build):
        raise CallerError("Not like this.")

    with pytest.raises(CallerError, match=r"^Not like this\.$"):
        call(http(prepare=refuses))


# -- an empty answer -------------------------------------------------------------------------

DEFAULTS = {"type": "object", "properties": {"items": {"type": "array", "default": []}}}
NEEDS = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.mark.parametrize(
    ("tool", "output"),
    [
        (http("POST"), {"ok": None}),
        (http("POST", output={**ID, "required": ["id"]}), {"id": "x"}),
        (http(output={**OUTPUT, "required": []}, traits={"readOnly": True}), {"ok": None}),
        (http(output=DEFAULTS, traits={"readOnly": True}), {"items": []}),
    ],
)
def test_an_empty_object_is_readable_where_the_spec_says_so(call, tool, output):
    assert call(tool, Response(200, {}, b"{}")) == output


@pytest.mark.parametrize(
    "tool", [http(traits={"readOnly": True}), http("POST", output=NEEDS), http(output=NEEDS)]
)
def test_an_empty_object_is_not_readable_elsewhere(call, tool):
    with pytest.raises(UnreadableResponse):
        call(tool, Response(200, {}, b"{}"))


def test_an_answer_of_other_keys_is_no_empty_one(call):
    with pytest.raises(UnreadableResponse, match="none of ok"):
        call(http("POST"), Response(200, {}, b'{"other": 1}'))


# -- hints -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Response(404, {}, b""), NotFound),
        (Response(409, {}, b""), Conflict),
        (TransportError("broke"), AmbiguousResult),
    ],
)
def test_hints_for_devin_never_show_for_another_service(call, answer, error):
    with pytest.raises(error) as caught:
        call(http("POST"), answer)
    told = f"{caught.value} {caught.value.hint}".lower()
    assert "session" not in told
    assert "devin" not in told.replace("sim-devin", "")
    if error is NotFound:
        assert "Check id." in caught.value.hint


def test_without_credentials_the_way_without_an_account_is_devins_alone(call):
    with pytest.raises(MissingCredentials) as caught:
        call(http(), credentials={})
    assert caught.value.hint == "Set ACME_TOKEN."
    with (
        sim_devin.open_app(env={"SIM_DEVIN_CONFIG": os.devnull}, discover=False) as app,
        pytest.raises(MissingCredentials, match="--simulate"),
    ):
        app.call("devin_list_sessions")


def test_a_bad_base_url_names_the_services_own_variable():
    env = {"SIM_DEVIN_CONFIG": os.devnull, "ACME_URL": "ftp://acme", "ACME_TOKEN": "made-up"}
    with (
        sim_devin.open_app(env=env, discover=False, plugins=[plugin(http())]) as app,
        pytest.raises(CallerError) as caught,
    ):
        app.build_request("acme_get", {"id": "x"})
    assert caught.value.hint == "Use an address such as https://acme.example/v1 (set by ACME_URL)."


def test_what_cannot_be_simulated_is_said():
    env = {"SIM_DEVIN_CONFIG": os.devnull}
    with sim_devin.open_app(
        simulate=True, env=env, discover=False, plugins=[plugin(http())]
    ) as app:
        with pytest.raises(NotAllowed, match=r"acme_get cannot be simulated: it asks Acme"):
            app.call("acme_get", {"id": "x"})
        answer = app.call_function("acme_get", {"id": "x"})
        assert app.call("devin_list_sessions")["sessions"] == []
    assert "cannot be simulated" in json.loads(answer)["message"]


# -- while it is loaded ----------------------------------------------------------------------

CODE = """
import sim_devin
print("noise at import")

@sim_devin.hookimpl
def sim_devin_specs():
    print("noise in the hook")
    return sim_devin.Specs()
"""


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """Return a function that loads a plugin of the given code and returns its report."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def stranger(code):
        (tmp_path / "a_stranger.py").write_text(code)
        entry = EntryPoint("stranger", "a_stranger", loading.hookspecs.ENTRY_POINTS)
        monkeypatch.setattr(loading, "entry_points", lambda: [entry])
        (report,) = loading.load({})
        return report

    yield stranger
    sys.modules.pop("a_stranger", None)


def test_a_plugin_that_prints_leaves_standard_output_alone(stranger, capsys):
    assert stranger(CODE).state == "ok"
    told = capsys.readouterr()
    assert told.out == ""
    assert "noise at import" in told.err
    assert "noise in the hook" in told.err


def test_a_plugin_that_keeps_us_waiting_is_named(stranger, monkeypatch):
    told = threading.Event()
    said = []

    def warning(text, *args):
        said.append(text % args)
        told.set()

    monkeypatch.setattr(loading, "HANGS_AFTER", 0.01)
    monkeypatch.setattr(loading.log, "warning", warning)
    monkeypatch.setitem(sys.modules, "the_test", types.SimpleNamespace(told=told))
    report = stranger("import the_test\nassert the_test.told.wait(30)\n" + CODE)
    assert report.state == "ok"
    assert said[0].startswith("The plugin 'stranger' has been importing for 0.01 seconds.")
    assert "SIM_DEVIN_DISABLE=stranger" in said[0]


def test_one_that_is_quick_is_not(stranger, monkeypatch, caplog):
    before = threading.active_count()
    stranger(CODE)
    assert not caplog.records
    assert threading.active_count() == before
