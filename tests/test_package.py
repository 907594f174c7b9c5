"""What is built, and what it does where it is installed: in an environment of its own.

One environment serves all tests. Our wheel and two plugins are really installed in it, by pip;
what they depend on is borrowed from the environment the tests run in, so nothing is fetched.
"""

import ast
import graphlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import grimp
import pytest

import sim_devin
from sim_devin.plugins import scaffold

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "tests" / "example_plugin"

LONGEST_MODULE = 400  # lines
NAMES_THAT_SAY_NOTHING = {"utils", "util", "common", "base", "core", "manager", "helpers", "misc"}


def run(command, cwd, **env):
    """Run a command that knows nothing of this checkout or this process's settings."""
    kept = {name: os.environ[name] for name in ("HOME", "PATH", "TMPDIR") if name in os.environ}
    env = {**kept, "SIM_DEVIN_CONFIG": os.devnull, "PYTHONDONTWRITEBYTECODE": "1", **env}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(source, target, *what):
    """Build a source tree with the build back end of this environment; return the files."""
    flags = ["--no-isolation", "--skip-dependency-check"]
    run([sys.executable, "-m", "build", *flags, *what, "--outdir", target, source], source)
    return sorted(target.iterdir())


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Our wheel and our sdist; the wheel is built from the sdist, as it would be elsewhere."""
    wheel, sdist = sorted(
        build(ROOT, tmp_path_factory.mktemp("dist")), key=lambda f: f.suffix != ".whl"
    )
    return wheel, sdist


@pytest.fixture(scope="session")
def installed(built, tmp_path_factory):
    """An environment with our wheel, the example plugin and a scaffolded one."""
    place = tmp_path_factory.mktemp("installed")
    scaffold.create("acme-devin", place / "acme-devin")
    wheels = [built[0]]
    for source in (EXAMPLE, place / "acme-devin"):
        wheels += build(source, place / f"dist-{source.name}", "--wheel")
    venv.create(place / "env", with_pip=True, symlinks=os.name != "nt")
    python = place / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    flags = ["--no-index", "--no-deps", "--no-compile", "--quiet", "--disable-pip-version-check"]
    run([python, "-m", "pip", "install", *flags, *wheels], place)
    # A .pth file inside a folder that a .pth file names is not read, so our own checkout,
    # which is installed that way, stays out.
    (site,) = (place / "env").rglob("site-packages")
    borrowed = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    (site / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    return Installed(python, place)


class Installed:
    def __init__(self, python, place):
        self.python = python
        self.place = place

    def run(self, *arguments, cwd=None, **env):
        return run([self.python, *arguments], cwd or self.place, **env)

    def cli(self, *arguments):
        return self.run("-m", "sim_devin", *arguments)


# -- what is built ---------------------------------------------------------------------------


def names(archive):
    if archive.suffix == ".whl":
        return set(zipfile.ZipFile(archive).namelist())
    with tarfile.open(archive) as tar:
        return {member.name.partition("/")[2] for member in tar.getmembers() if member.isfile()}


def files_of(folder):
    """Return the files of a folder of the checkout, as paths in the checkout."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_wheel_holds_the_package_and_the_specs_and_nothing_else(built):
    content = names(built[0])
    info = {name for name in content if ".dist-info/" in name}
    package = files_of("sim_devin")
    specs = {f"sim_devin/{path}" for path in files_of("tool_specs")}
    templates = {f"sim_devin/examples/{path.name}" for path in (ROOT / "examples").glob("*.json")}
    assert "sim_devin/py.typed" in content
    assert "sim_devin/tool_specs/devin_create_session.tool.json" in content
    assert content - info == package | specs | templates
    assert {name.rpartition("/")[2] for name in info} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "LICENSE",
        "entry_points.txt",
    }


def test_the_sdist_builds_without_the_checkout(built):
    # The wheel was built from it; here it is enough that the needed and no odd files are in it.
    content = names(built[1])
    assert files_of("sim_devin") | files_of("tool_specs") <= content
    assert {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} <= content
    assert not [n for n in content if re.search(r"(^|/)(\.venv|\.git|__pycache__|dist)/|\.pyc$", n)]


# -- where it is installed -------------------------------------------------------------------


def test_the_installed_package_is_the_wheel_and_works_without_the_source(installed):
    code = """
import json, sim_devin
with sim_devin.open_app(simulate=True) as app:
    session = app.call("devin_create_session", {"prompt": "Fix the login page."})
    print(json.dumps({
        "file": sim_devin.__file__,
        "version": sim_devin.__version__,
        "tools": list(app.registry.tools),
        "owners": dict(app.registry.owners),
        "session": session["sessionId"],
        "states": {plugin.name: plugin.state for plugin in app.registry.report},
    }))
"""
    told = json.loads(installed.run("-c", code, SIM_DEVIN_STRICT="1"))
    assert str(installed.place) in told["file"]
    assert told["version"] == sim_devin.__version__
    assert told["session"]
    assert set(told["states"].values()) == {"ok"}
    assert told["owners"]["tool:devin_create_session"] == "devin"
    assert told["owners"]["tool:acme_tickets_export"] == "acme_tickets"
    assert told["owners"]["tool:acme_devin_session_cost"] == "acme_devin"
    assert told["tools"].index("devin_get_session") < told["tools"].index("acme_tickets_export")


def test_a_scaffolded_plugin_passes_its_own_tests(installed):
    folder = installed.place / "acme-devin"
    flags = ["-q", "-W", "error", "-p", "no:cacheprovider"]
    out = installed.run("-m", "pytest", *flags, cwd=folder)
    assert re.search(r"\b3 passed\b", out), out


def test_the_command_line_shows_a_plugin_s_tool_with_its_owner(installed):
    assert re.search(r"acme_devin_session_cost.*acme_devin\b", installed.cli("tools"))
    report = {entry["name"]: entry for entry in json.loads(installed.cli("plugins", "--json"))}
    assert report["acme_devin"]["distribution"] == "acme-devin"
    assert report["acme_devin"]["tools"] == ["acme_devin_session_cost"]
    assert report["acme_tickets"]["version"] == "1.2.0"
    assert report["acme_tickets"]["handlers"] == ["acme_tickets_prompt"]
    assert "0 broken" in installed.cli("plugins", "doctor")


def test_the_command_is_installed(installed):
    command = installed.python.with_name("sim-devin")
    out = run([command, "--version"], installed.place)
    assert sim_devin.__version__ in out


# -- how it is laid out ----------------------------------------------------------------------


def modules():
    return sorted((ROOT / "sim_devin").rglob("*.py"))


def test_the_public_names_are_there():
    assert all(getattr(sim_devin, name) is not None for name in sim_devin.__all__)
    assert set(sim_devin.__all__) <= set(dir(sim_devin))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = sim_devin.nothing


def test_modules_stay_short():
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules()
    }
    too_long = {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE}
    assert too_long == {}


# What programs call by keywords: its parameters are pinned in golden/persisted_names.json.
CALLED_BY_KEYWORDS = {
    "app.App.call_function",
    "app.App.resume",
    "app.App.run",
    "app.open_app",
    "client.Devin.create_session",
    "client.Devin.list_sessions",
    "runs.runs.Runs.start",
    "simulator.simulator.Simulator.__init__",
    "toolbox.Toolbox.call",
}
MOST_PARAMETERS = 8


def parameters():
    """Yield each function of the package by its name, and how many parameters it has."""

    def found(node, name):
        for child in ast.iter_child_nodes(node):
            inner = f"{name}.{child.name}" if hasattr(child, "name") and child.name else name
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                given = child.args.posonlyargs + child.args.args + child.args.kwonlyargs
                yield inner, len([one for one in given if one.arg not in ("self", "cls")])
            yield from found(child, inner)

    for path in modules():
        if path.is_relative_to(ROOT / "sim_devin"):
            module = ".".join(path.relative_to(ROOT / "sim_devin").with_suffix("").parts)
            yield from found(ast.parse(path.read_text(encoding="utf-8")), module)


def test_no_function_inside_hands_on_a_long_list_of_parameters():
    long = {name for name, count in parameters() if count > MOST_PARAMETERS}
    assert long == CALLED_BY_KEYWORDS


def test_modules_are_named_after_what_is_in_them():
    assert [path for path in modules() if path.stem in NAMES_THAT_SAY_NOTHING] == []


def imports():
    """Return module -> modules that it imports, also where only types are needed."""
    graph = grimp.build_graph("sim_devin", exclude_type_checking_imports=False, cache_dir=None)
    return {name: sorted(graph.find_modules_directly_imported_by(name)) for name in graph.modules}


def test_no_module_imports_itself_by_way_of_others():
    # The layers say this of packages; it holds within each of them, too.
    by_name = imports()
    del by_name["sim_devin"]  # its public names are loaded when they are first used
    order = graphlib.TopologicalSorter(
        {name: [other for other in found if other in by_name] for name, found in by_name.items()}
    )
    order.prepare()


def test_no_two_classes_have_one_name():
    places = {}
    for path in sorted((ROOT / "sim_devin").rglob("*.py")):
        # The simulator shares no code with the rest, nor therefore its names.
        if "simulator" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
