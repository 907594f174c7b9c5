"""The MCP server over standard input and output, and over HTTP: what only the wire can show."""

import functools
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time

import anyio
import pytest
import requests

pytest.importorskip("mcp")

import mcp_types as types
import uvicorn
from click.testing import CliRunner
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

import sim_devin
from sim_devin.cli.main import cli
from sim_devin.errors import CallerError
from sim_devin.listener import listen
from sim_devin.mcp import http as mcp_http
from sim_devin.mcp import server as mcp_server
from sim_devin.policy.rules import DESTRUCTIVE, Policy
from sim_devin.simulator import Key, Simulator
from sim_devin.simulator import server as simulator_server

ERAS = ["legacy", "auto"]
TOKEN = "a-token-for-tests"
KEY = "cog_test_key_000000"
YES = types.ElicitResult(action="accept", content={"confirm": True})
PROMPT = "[scenario: approval] Fix the login"  # soon there, in the command's real time
COMMAND = [sys.executable, "-m", "sim_devin", "mcp"]


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def every_tool(client):
    """Complete each tool once; the client checks each answer against the tool's output schema."""
    created = await client.call_tool("devin_create_session", {"prompt": PROMPT})
    only = {"sessionId": created.structured_content["sessionId"]}
    calls = {
        "devin_get_session": only,
        "devin_list_sessions": {"limit": 5},
        "devin_send_message": {**only, "message": "Go on"},
        "devin_list_session_messages": only,
        "devin_list_session_attachments": only,
        "devin_get_session_tags": only,
        "devin_append_session_tags": {**only, "tags": ["a", "b"]},
        "devin_replace_session_tags": {**only, "tags": ["c"]},
        "devin_wait_for_session": only,
        "devin_archive_session": only,
        "devin_terminate_session": only,
    }
    listed = {tool.name for tool in (await client.list_tools()).tools}
    assert listed == {"devin_create_session", *calls}
    for name, arguments in calls.items():
        result = await client.call_tool(name, arguments)
        assert not result.is_error, (name, result.content)


async def round_trip(client):
    """Create a session, wait for it and terminate it, with progress and a question."""
    told = []

    async def hear(progress, _total, _message):
        told.append(progress)

    tools = {tool.name for tool in (await client.list_tools()).tools}
    assert {"devin_create_session", "devin_wait_for_session"} <= tools
    created = await client.call_tool("devin_create_session", {"prompt": PROMPT})
    only = {"sessionId": created.structured_content["sessionId"]}
    waited = await client.call_tool("devin_wait_for_session", only, progress_callback=hear)
    assert waited.structured_content["outcome"] == "blocked_on_approval"
    ended = await client.call_tool("devin_terminate_session", only)
    assert not ended.is_error, ended.content
    refused = await client.call_tool("devin_create_session", {"prompt": "p", "method": "PUT"})
    assert refused.is_error
    uri = f"devin://sessions/{only['sessionId']}/transcript"
    assert "Fix the login" in (await client.read_resource(uri)).contents[0].text
    return told


async def yes(_context, _params):
    return YES


# -- standard input and output ---------------------------------------------------------------


def environment(tmp_path):
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "SIM_DEVIN_CONFIG": str(tmp_path / "none.toml"),
    }


@pytest.mark.anyio
@pytest.mark.parametrize("era", ERAS)
async def test_over_stdio(era, tmp_path):
    (tmp_path / "none.toml").write_text("")
    server = StdioServerParameters(
        command=COMMAND[0],
        args=[*COMMAND[1:], "--simulate", "--confirm-destructive"],
        env=environment(tmp_path),
    )
    async with Client(server, mode=era, elicitation_callback=yes) as client:
        told = await round_trip(client)
        await every_tool(client)
    assert told


def test_the_day_is_kept_over_restarts(tmp_path):
    (tmp_path / "none.toml").write_text("")
    simulator = Simulator(keys={KEY: Key("org-test")})

    async def create(cap):
        server = StdioServerParameters(
            command=COMMAND[0],
            args=[*COMMAND[1:], "--max-acu-day", "5"],
            env=environment(tmp_path)
            | {"XDG_DATA_HOME": str(tmp_path), "DEVIN_BASE_URL": url}
            | {"DEVIN_API_KEY": KEY, "DEVIN_ORG_ID": "org-test"},
        )
        async with Client(server) as client:
            arguments = {"prompt": "p", "maxAcuLimit": cap}
            return await client.call_tool("devin_create_session", arguments)

    with simulator_server.serve(simulator) as url:
        results = [anyio.run(create, 5), anyio.run(create, 1)]
    assert [result.is_error for result in results] == [False, True]
    assert "of this day" in results[1].content[0].text


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp", None)
    result = CliRunner().invoke(cli, ["mcp", "--simulate"])
    assert result.exit_code == 2
    assert "pip install 'sim-devin[mcp]'" in result.stderr


# -- HTTP ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def serve():
    """Return a function that gives the address of a server; one for the same options."""
    running = []

    @functools.cache
    def serve(token=TOKEN, **options):
        app = sim_devin.open_app(simulate=True, env={}, discover=False)
        server = mcp_server.build(app, policy=Policy(confirm=(DESTRUCTIVE,)))
        listener = listen("127.0.0.1", 0)
        config = uvicorn.Config(
            mcp_http.http_app(server, token=token, **options),
            log_level="error",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        uvicorn_server = uvicorn.Server(config)
        thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((uvicorn_server, thread, listener))
        while not uvicorn_server.started:
            time.sleep(0.01)
        return f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"

    yield serve
    for uvicorn_server, thread, listener in running:
        uvicorn_server.should_exit = True
        thread.join(timeout=10)
        listener.close()
        assert not thread.is_alive()


@pytest.mark.anyio
@pytest.mark.parametrize("era", ERAS)
async def test_over_http(serve, era):
    url = serve()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with create_mcp_http_client(headers=headers) as http:
        transport = streamable_http_client(url, http_client=http)
        async with Client(transport, mode=era, elicitation_callback=yes) as client:
            told = await round_trip(client)
            await every_tool(client)
    assert told


PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


def post(url, **headers):
    return requests.post(url, json=PING, headers={**ACCEPT, **headers}, timeout=5)


@pytest.mark.parametrize(
    "given",
    [None, "", "Bearer", "Bearer wrong", f"bearer {TOKEN}", TOKEN, f"Bearer {TOKEN} ", "Basic x"],
)
def test_without_the_token_nothing_is_answered(serve, given):
    answer = post(serve(), **({} if given is None else {"Authorization": given}))
    # A client library trims trailing blanks, so that one carries the token after all.
    assert answer.status_code == (401 if (given or "").strip() != f"Bearer {TOKEN}" else 400)
    if answer.status_code == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert TOKEN not in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:80"}, 421),
        ({"Host": "127.0.0.1.evil.example:80"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:5173"}, 400),  # known; there is just no session yet
        ({}, 400),
    ],
)
def test_host_and_origin(serve, headers, status):
    url = serve(token=None)
    assert post(url, **headers).status_code == status


def test_further_hosts_and_origins(serve):
    url = serve(token=None, hosts=("box.example:*",), origins=("https://canvas.example",))
    known = {"Host": "box.example:1", "Origin": "https://canvas.example"}
    assert post(url, **known).status_code == 400
    assert post(url, Host="other.example:1").status_code == 421


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "box.example", "::"])
def test_other_machines_need_a_token(host):
    app = sim_devin.open_app(simulate=True, env={}, discover=False)
    with pytest.raises(CallerError, match="other machines"):
        mcp_http.http_app(mcp_server.build(app), token=None, host=host)


def test_the_command_serves_http_with_a_fresh_token(tmp_path):
    (tmp_path / "none.toml").write_text("")
    process = subprocess.Popen(
        [*COMMAND, "--http", "--port", "0", "--simulate"],
        stderr=subprocess.PIPE,
        env=environment(tmp_path),
        text=True,
    )
    try:
        url = process.stderr.readline().removeprefix("MCP at ").strip()
        header = process.stderr.readline().removeprefix("Authorization: ").strip()
        assert url.startswith("http://127.0.0.1:")
        assert len(header) > len("Bearer ") + 32
        assert post(url).status_code == 401
        assert post(url, Authorization=header).status_code == 400
    finally:
        process.terminate()
        process.communicate(timeout=10)


# -- tools of others, where they are installed -----------------------------------------------

APPLICABLE = [
    "server-initialize",
    "ping",
    "tools-list",
    "server-sse-multiple-streams",
    "resources-list",
    "prompts-list",
    "dns-rebinding-protection",
]


@pytest.mark.parametrize("scenario", APPLICABLE)
def test_conformance_suite(serve, scenario):
    """``make mcp`` sets MCP_CONFORMANCE to the command of the suite, which needs Node 22.

    Its other scenarios call tools, resources and prompts of the protocol's own example server
    by name, or want logging, completions and subscriptions, which this server does not offer.
    """
    command = shlex.split(os.environ.get("MCP_CONFORMANCE", ""))
    if not command or shutil.which(command[0]) is None:
        pytest.skip("MCP_CONFORMANCE is not set")
    url = serve(token=None)
    arguments = [*command, "server", "--url", url, "--scenario", scenario]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
