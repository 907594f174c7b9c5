"""MCP Inspector's command line against the MCP server, as somebody would try it by hand.

``make mcp`` sets MCP_INSPECTOR to its command, which needs Node 22; it is skipped without.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys

import pytest

import sim_devin

pytest.importorskip("mcp")

INSPECTOR = shlex.split(os.environ.get("MCP_INSPECTOR", ""))
SERVER = [sys.executable, "-m", "sim_devin", "mcp", "--simulate"]
TOKEN = "a-token-for-tests"
ERAS = ["legacy", "modern"]

pytestmark = pytest.mark.skipif(
    not INSPECTOR or shutil.which(INSPECTOR[0]) is None, reason="MCP_INSPECTOR is not set"
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    config = home / "none.toml"
    config.write_text("")
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "HOME": str(home),
        "SIM_DEVIN_CONFIG": str(config),
        "SIM_DEVIN_MCP_TOKEN": TOKEN,
    }


@pytest.fixture(scope="module")
def url(environment):
    """The address of the command that serves over HTTP."""
    process = subprocess.Popen(
        [*SERVER, "--http", "--port", "0"], stderr=subprocess.PIPE, env=environment, text=True
    )
    try:
        yield process.stderr.readline().removeprefix("MCP at ").strip()
    finally:
        process.terminate()
        process.communicate(timeout=10)


@pytest.fixture(params=["stdio", "http"])
def inspect(request, environment):
    """Return a function that runs the Inspector and gives what it printed, as JSON."""
    if request.param == "stdio":
        server = ["--", *SERVER]
    else:
        address = request.getfixturevalue("url")
        server = ["--server-url", address, "--header", f"Authorization: Bearer {TOKEN}"]

    def inspect(*options):
        done = subprocess.run(
            [*INSPECTOR, "--cli", "--format", "json", *options, *server],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout), done.stderr

    return inspect


@pytest.mark.parametrize("era", ERAS)
def test_it_lists_every_tool(inspect, era):
    printed, remarks = inspect("--method", "tools/list", "--protocol-era", era, "--strict")
    tools = {tool["name"]: tool for tool in printed["result"]["tools"]}
    app = sim_devin.open_app(env={}, discover=False)
    assert list(tools) == list(app.registry.tools)
    for tool in tools.values():
        assert tool["inputSchema"]["type"] == tool["outputSchema"]["type"] == "object"
        assert set(tool["annotations"]) >= {"readOnlyHint", "destructiveHint"}
    assert remarks.strip() == ""  # its portability check has nothing to say


@pytest.mark.parametrize("era", ERAS)
def test_it_reads_and_creates(inspect, era):
    def call(name, **arguments):
        given = json.dumps(arguments)
        options = ["--method", "tools/call", "--tool-name", name, "--tool-args-json", given]
        return inspect(*options, "--protocol-era", era)[0]["result"]

    listed = call("devin_list_sessions", limit=5)
    assert listed["isError"] is False
    assert isinstance(listed["structuredContent"]["sessions"], list)
    created = call("devin_create_session", prompt="Fix the login")
    assert created["structuredContent"]["url"].startswith("https://app.devin.ai/sessions/")
    assert json.loads(created["content"][0]["text"]) == created["structuredContent"]
