"""Finding plugins and asking them, on distributions that really lie on sys.path."""

import importlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

import sim_devin
from sim_devin.errors import CallerError, PluginError, UnknownName
from sim_devin.plugins import loading as plugins
from sim_devin.testing import (
    StubTransport,
    assert_block_conforms,
    assert_tool_conforms,
    offline_app,
)

ALONE = {"SIM_DEVIN_CONFIG": os.devnull}  # instead of the user's config file
EXAMPLE = Path(__file__).parent / "example_plugin" / "acme_tickets"

BRINGS_FILES = """
from importlib.resources import files
import sim_devin

@sim_devin.hookimpl
def sim_devin_specs():
    return sim_devin.load_specs(files(__name__))
"""

HEAD = "import sim_devin\nfrom sim_devin import Specs\n"
SPECS = "@sim_devin.hookimpl\ndef sim_devin_specs():\n    "
HANDLERS = "@sim_devin.hookimpl\ndef sim_devin_handlers():\n    "


def tool(tool_id, **changes):
    return {
        "id": tool_id,
        "title": tool_id,
        "description": "Gets a session.",
        "connection": "devin",
        "request": {"method": "GET", "path": "/organizations/{orgId}/sessions/{sessionId}"},
        "params": {
            "type": "object",
            "properties": {"sessionId": {"type": "string"}},
            "required": ["sessionId"],
            "additionalProperties": False,
        },
        "output": {"type": "object", "properties": {"status": {"type": "string"}}},
        **changes,
    }


class Site:
    """A folder on sys.path in which distributions can be installed."""

    def __init__(self, folder):
        self.folder = folder
        self.modules = set()

    def install(
        self, distribution, code=BRINGS_FILES, *specs, name=None, value=None, version="1.0"
    ):
        """Install a package whose entry point `name` is the module of that name."""
        module = (name or distribution).replace("-", "_")
        value = value or module
        self.modules.add(module)
        package = self.folder / module
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(code)
        for spec in specs:
            kind = "tool" if "request" in spec else "block"
            (package / f"{spec.get('id') or spec['type']}.{kind}.json").write_text(json.dumps(spec))
        self.metadata(distribution, f"[sim_devin.plugins]\n{module} = {value}\n", version)
        return package

    def metadata(self, distribution, entry_points, version="1.0"):
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        (info / "METADATA").write_text(text)
        (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def site(tmp_path, monkeypatch):
    made = Site(tmp_path / "site")
    made.folder.mkdir()
    monkeypatch.syspath_prepend(str(made.folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield made
    for module in made.modules:
        sys.modules.pop(module, None)


def load(**options):
    """Return the installed plugins by name."""
    return {plugin.name: plugin for plugin in plugins.load({}, **options)}


def ids(plugin):
    return [spec.id for spec in plugin.specs.tools]


def loaded(code, site, **options):
    """Return the report of one installed plugin with this code, beside one that is fine."""
    site.install("fine", BRINGS_FILES, tool("fine_look"))
    site.install("stranger", HEAD + code, tool("stranger_look"))
    found = load(**options)
    assert found["fine"].state == "ok"
    assert ids(found["fine"]) == ["fine_look"]
    return found["stranger"]


# -- what works ------------------------------------------------------------------------------


def test_an_installed_plugin_is_found_with_its_package(site):
    site.install("acme-devin", BRINGS_FILES, tool("acme_look"), version="2.3")
    plugin = load()["acme_devin"]
    assert (plugin.distribution, plugin.version, plugin.state) == ("acme-devin", "2.3", "ok")
    assert ids(plugin) == ["acme_look"]
    assert plugin.to_json() == {
        "name": "acme_devin",
        "distribution": "acme-devin",
        "version": "2.3",
        "state": "ok",
        "tools": ["acme_look"],
        "blocks": [],
        "connections": [],
        "handlers": [],
        "failures": [],
    }


def test_a_tool_from_json_alone_works_on_our_connection(site):
    site.install("acme", BRINGS_FILES, tool("acme_look"))
    with sim_devin.open_app(simulate=True, env=ALONE) as app:
        session = app.call("devin_create_session", {"prompt": "Do it"})
        looked = app.call("acme_look", {"sessionId": session["sessionId"]})
        assert looked["status"] == session["status"]
        assert app.registry.owners["tool:acme_look"] == "acme"


def test_the_order_is_that_of_the_names_whatever_the_order_on_the_path(site):
    for name in ("zebra", "ape", "mole"):
        site.install(name, BRINGS_FILES, tool(f"{name}_look"))
    assert [p.name for p in plugins.load({}) if p.name in ("zebra", "ape", "mole")] == [
        "ape",
        "mole",
        "zebra",
    ]


def test_built_ins_come_first_then_installed_then_given_then_folders(site, tmp_path):
    site.install("acme", BRINGS_FILES, tool("acme_look"))
    given = site.install("given", BRINGS_FILES, tool("given_look"))
    shutil.rmtree(given.parent / "given-1.0.dist-info")
    found = plugins.load(
        {"own": importlib.import_module("given")},
        [importlib.import_module("json"), importlib.import_module("acme")],
        folders=[tmp_path],
    )
    assert [p.name for p in found if p.distribution in ("", "acme")] == [
        "own",
        "acme",
        "json",
        str(tmp_path),
    ]


def test_a_plugin_that_is_handed_in_and_installed_counts_once(site):
    site.install("acme", BRINGS_FILES, tool("acme_look"))
    with sim_devin.open_app(
        simulate=True, env=ALONE, plugins=[importlib.import_module("acme")]
    ) as app:
        (report,) = (p for p in app.registry.report if p.name == "acme")
    assert (report.state, report.distribution) == ("ok", "acme")


@pytest.mark.parametrize("named", ["acme_devin", "acme-devin"])
def test_a_disabled_plugin_is_not_even_imported(site, named):
    site.install("acme-devin", "raise RuntimeError('imported')")
    plugin = load(disabled=[named])["acme_devin"]
    assert (plugin.state, plugin.failures) == ("disabled", [])


def test_a_plugin_is_disabled_by_the_environment(site):
    site.install("acme", BRINGS_FILES, tool("acme_look"))
    with sim_devin.open_app(
        simulate=True, env={**ALONE, "SIM_DEVIN_DISABLE": "acme, other"}
    ) as app:
        assert "acme_look" not in app.registry.tools


def test_a_package_twice_on_the_path_counts_once(site, tmp_path, monkeypatch):
    site.install("acme", BRINGS_FILES, tool("acme_look"))
    shutil.copytree(site.folder, tmp_path / "copy")
    monkeypatch.syspath_prepend(str(tmp_path / "copy"))
    found = [plugin for plugin in plugins.load({}) if plugin.name == "acme"]
    assert [plugin.state for plugin in found] == ["ok"]


def test_a_hook_of_a_later_version_may_be_marked_optional(site):
    later = "@sim_devin.hookimpl(optionalhook=True)\ndef sim_devin_dreams():\n    return 1\n"
    plugin = loaded(later + SPECS + "return Specs()", site)
    assert plugin.state == "ok"


# -- what fails ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("raise RuntimeError('no')", "import: RuntimeError: no"),
        ("raise SystemExit(3)", "import: SystemExit: 3"),
        ("import missing_thing", "import: ModuleNotFoundError: No module named 'missing_thing'"),
        ("def (", "import: SyntaxError: invalid syntax"),
        ("class Odd(BaseException): pass\nraise Odd", "import: stranger.Odd"),
        (
            "class Mute(Exception):\n    def __str__(self): 1 / 0\nraise Mute",
            "import: stranger.Mute: <exception str() failed>",
        ),
        ("x = 1", "register: it has no hooks. Mark its functions with @sim_devin.hookimpl."),
        ("def sim_devin_specs():\n    return Specs()", "register: it has no hooks."),
        (
            "@sim_devin.hookimpl\ndef sim_devin_spec():\n    return 1",
            "register: 'sim_devin_spec' is not a hook. Did you mean 'sim_devin_specs'",
        ),
        (
            "@sim_devin.hookimpl\ndef sim_devin_specs(color):\n    return 1",
            "register: pluggy._manager.PluginValidationError",
        ),
        (SPECS + "raise RuntimeError('no')", "sim_devin_specs: RuntimeError: no"),
        (SPECS + "raise SystemExit", "sim_devin_specs: SystemExit"),
        (SPECS + "pass", "sim_devin_specs: TypeError: must return Specs, returned NoneType"),
        (SPECS + "return [1]", "sim_devin_specs: TypeError: must return Specs, returned list"),
        (
            SPECS + "return Specs(tools=[1, {}])",
            "spec: TypeError: Specs contains a dict, a int instead",
        ),
        (SPECS + "return Specs(blocks=None)", "spec: TypeError: 'NoneType' object is not iterable"),
        (SPECS + "return Specs(problems=['x'])", "spec: TypeError: Specs contains a str"),
        (HANDLERS + "return [1]", "sim_devin_handlers: TypeError: must return Mapping"),
        (HANDLERS + "return {'x': 1}", "handler: TypeError: 'x' is a int, not a function"),
        (
            HANDLERS + "return {1: print}",
            "handler: TypeError: a block type must be a string, got a int",
        ),
    ],
)
def test_a_broken_plugin_is_reported_and_harms_nobody(site, code, failure):
    plugin = loaded(code, site)
    assert plugin.state == "broken"
    assert plugin.failures[0].startswith(failure)
    assert "Traceback" in plugin.details[0] or "Error" in plugin.details[0]
    assert len(plugin.failures) == len(plugin.details)
    with pytest.raises(PluginError, match=r"The plugin 'stranger' \(stranger 1.0\) failed at"):
        load(strict=True)


@pytest.mark.parametrize(
    "value", ["stranger:nothing", "stranger:junk", "stranger:none", "not a ref"]
)
def test_an_entry_point_that_names_no_plugin_is_reported(site, value):
    site.install("fine", BRINGS_FILES, tool("fine_look"))
    site.install("stranger", "junk = 5\nnone = None", value=value)
    found = load()
    assert found["stranger"].state == "broken"
    assert ids(found["fine"]) == ["fine_look"]


def test_ctrl_c_is_not_swallowed(site):
    site.install("stranger", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load()


def test_a_misspelt_hook_does_not_cost_the_others(site):
    code = "@sim_devin.hookimpl\ndef sim_devin_handler():\n    return {}\n"
    plugin = loaded(code + BRINGS_FILES, site)
    assert ids(plugin) == ["stranger_look"]
    assert "Did you mean 'sim_devin_handlers'" in plugin.failures[0]


def test_one_broken_file_costs_only_itself(site):
    package = site.install("acme", BRINGS_FILES, tool("acme_look"), tool("acme_bad", color="red"))
    (package / "acme_worse.tool.json").write_text("{")
    plugin = load()["acme"]
    assert ids(plugin) == ["acme_look"]
    assert [line.partition(".json: ")[0] for line in plugin.failures] == [
        "spec: acme_bad.tool",
        "spec: acme_worse.tool",
    ]


def test_attaching_to_a_tool_whose_file_is_broken_does_not_cost_the_rest(site):
    code = BRINGS_FILES + '    .attach("acme_bad", read=print)\n'
    code = code.replace("files(__name__))\n    .", "files(__name__)).")
    site.install("acme", code, tool("acme_look"), tool("acme_bad", color="red"))
    plugin = load()["acme"]
    assert ids(plugin) == ["acme_look"]
    assert len(plugin.failures) == 1


def test_a_tool_made_in_python_is_checked_like_a_file(site):
    made = tool("stranger_made", params={"type": "object", "properties": {"a": {"type": 5}}})
    imports = "from sim_devin.specs.models import ToolSpec\n"
    code = f"{imports}{SPECS}return Specs((ToolSpec(**{made!r}),))"
    plugin = loaded(code, site)
    assert ids(plugin) == []
    assert plugin.failures[0].startswith("spec: tool stranger_made: params.properties.a.type: ")


def test_one_unusable_handler_costs_only_itself(site):
    plugin = loaded(HANDLERS + "return {'good': print, 'bad': None}", site)
    assert list(plugin.handlers) == ["good"]


def test_a_block_that_nothing_runs_is_left_out(site):
    block = {"type": "acme_greet", "title": "Greet"}
    code = BRINGS_FILES + HANDLERS + "return {'acme_gret': print}"
    site.install("acme", code, block, tool("acme_look"))
    plugin = load()["acme"]
    assert plugin.specs.blocks == ()
    assert plugin.failures == [
        "spec: block acme_greet: operations: there are none, and the plugin provides no handler "
        "for the block. Did you mean 'acme_gret'?"
    ]


def test_two_plugins_of_one_name_are_told_apart_by_their_packages(site):
    site.install("acme-one", BRINGS_FILES, tool("acme_look"), name="acme")
    site.metadata("acme-two", "[sim_devin.plugins]\nacme = acme\n")
    first, second = (p for p in plugins.load({}) if p.name == "acme")
    assert (first.state, second.state) == ("ok", "broken")
    assert second.failures == [
        "name: duplicate name: 'acme' (acme-one 1.0) was loaded, 'acme' (acme-two 1.0) was not. "
        "Disable one by its distribution: SIM_DEVIN_DISABLE=acme-two."
    ]
    other = [p.state for p in plugins.load({}, disabled=["acme-one"]) if p.name == "acme"]
    assert other == ["disabled", "ok"]


def test_a_malformed_entry_points_file_of_a_stranger_harms_nobody(site, tmp_path, monkeypatch):
    site.install("acme-devin", BRINGS_FILES, tool("acme_look"))
    site.metadata("rotten", "[console_scripts]\nno equals sign\n")
    shutil.copytree(site.folder, tmp_path / "copy")
    monkeypatch.syspath_prepend(str(tmp_path / "copy"))
    (plugin,) = (plugin for plugin in plugins.load({}) if plugin.name == "acme_devin")
    assert (ids(plugin), plugin.state) == (["acme_look"], "ok")


def test_a_package_without_metadata_is_loaded_without_a_version(site):
    site.install("acme", BRINGS_FILES, tool("acme_look"))
    (site.folder / "acme-1.0.dist-info" / "METADATA").unlink()
    plugin = load()["acme"]
    assert ids(plugin) == ["acme_look"]
    assert plugin.version == ""


def test_the_strict_variable_makes_a_failure_fatal(site):
    site.install("stranger", "raise RuntimeError('no')")
    with pytest.raises(PluginError, match="import: RuntimeError: no") as caught:
        sim_devin.open_app(simulate=True, env={**ALONE, "SIM_DEVIN_STRICT": "1"})
    assert caught.value.exit_code == 2
    assert "SIM_DEVIN_DISABLE=stranger" in str(caught.value)


def test_an_argument_wins_over_the_strict_variable(site):
    site.install("stranger", "raise RuntimeError('no')")
    app = sim_devin.open_app(simulate=True, env={**ALONE, "SIM_DEVIN_STRICT": "1"}, strict=False)
    with pytest.raises(UnknownName, match="plugins doctor"):
        app.registry.tool("unlike_any_other")


# -- folders and objects ---------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "my specs"
    made.mkdir()
    (made / "acme_look.tool.json").write_text(json.dumps(tool("acme_look")))
    return made


def test_a_folder_of_spec_files_is_a_plugin(folder):
    app = offline_app([folder])
    assert app.registry.owners["tool:acme_look"] == str(folder)


def test_a_folder_named_twice_counts_once(folder):
    env = {**ALONE, "SIM_DEVIN_SPECS": str(folder)}
    with sim_devin.open_app(simulate=True, discover=False, specs=[folder / "."], env=env) as app:
        assert [p.state for p in app.registry.report] == ["ok"] * len(app.registry.report)
        assert "acme_look" in app.registry.tools


def test_a_broken_file_in_a_folder_costs_only_itself(folder):
    (folder / "bad.block.json").write_text('{"type": "Bad"}')
    (folder / "idle.block.json").write_text('{"type": "idle", "title": "Idle"}')
    (report,) = plugins.load({}, folders=[folder], discover=False)
    assert ids(report) == ["acme_look"]
    assert [line.split(":")[1].strip() for line in report.failures] == [
        "bad.block.json",
        "block idle",
    ]


def test_a_folder_that_is_not_there_is_reported(tmp_path):
    (report,) = plugins.load({}, folders=[tmp_path / "none"], discover=False)
    assert report.failures == [f"spec: {tmp_path / 'none'}: is not a folder of spec files."]


def test_objects_of_one_class_are_told_apart():
    class Plugin:
        @sim_devin.hookimpl
        def sim_devin_specs(self):
            return sim_devin.Specs()

    names = [p.name for p in plugins.load({}, [Plugin(), Plugin()], discover=False)]
    assert names == ["Plugin", "Plugin#2"]


# -- the example -----------------------------------------------------------------------------


@pytest.fixture
def acme_tickets(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    yield importlib.import_module("acme_tickets")
    sys.modules.pop("acme_tickets", None)


EXPORT = b'{"key": "WEB-7"}\n{"key": "WEB-8"}\n'


def test_the_example_conforms(acme_tickets):
    registry = offline_app([acme_tickets]).registry
    plugin = registry.report[-1]
    assert plugin.to_json()["handlers"] == ["acme_tickets_prompt"]
    for spec in plugin.specs.tools:
        answers = [EXPORT] if spec.read else []
        assert_tool_conforms(spec, registry, answers=answers)
    for block in plugin.specs.blocks:
        assert_block_conforms(block, registry)


def test_the_functions_of_the_example_are_called(acme_tickets):
    exported = sim_devin.Response(200, {}, EXPORT)
    transport = StubTransport(exported, {"id": "c-1"})
    app = offline_app([acme_tickets], transport=transport, credentials={"token": "made-up-token"})
    assert app.call("acme_tickets_export", {"project": "WEB"}) == {
        "tickets": [{"key": "WEB-7"}, {"key": "WEB-8"}]
    }
    comment = {"ticket": "WEB-7", "text": "On it.", "labels": "devin, bug"}
    assert app.call("acme_tickets_comment", comment) == {"commentId": "c-1"}
    sent = transport.requests[1]
    assert sent.url == "https://tickets.acme.example/api/tickets/WEB-7/comments"
    assert sent.json == {"text": "On it.\n-- sim_devin", "labels": ["devin", "bug"]}
    assert sent.headers["X-Acme-Token"] == "made-up-token"
    assert sent.headers["X-Acme-Source"] == "sim_devin"
    assert "made-up-token" not in repr(sent)


def test_a_tool_of_the_example_carries_out_one_of_ours(acme_tickets):
    app = offline_app([acme_tickets])
    done = app.call("acme_tickets_hand_over", {"ticket": "WEB-7", "task": "Fix the login page."})
    assert done["ticket"] == "WEB-7"
    assert done["url"].startswith("https://")


def test_attach_names_what_is_wrong(acme_tickets):
    specs = sim_devin.load_specs(EXAMPLE)
    with pytest.raises(UnknownName, match="Did you mean 'acme_tickets_export'"):
        specs.attach("acme_ticket_export", read=print)
    with pytest.raises(CallerError, match=r"function of a tool called 'red'.*'read'"):
        specs.attach("acme_tickets_export", red=print)
