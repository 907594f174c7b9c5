"""The MCP server in memory: the official client, both eras of the protocol."""

import contextlib
import json
import threading
import time

import anyio
import pytest
from third_party import Plugin

pytest.importorskip("mcp")

import mcp_types as types
from mcp import Client, MCPError

import sim_devin
from sim_devin.calls.intents import Settle
from sim_devin.calls.response import Response
from sim_devin.errors import TransportError
from sim_devin.mcp import server as mcp_server
from sim_devin.mcp import worker as mcp_worker
from sim_devin.policy.rules import COSTS_MONEY, DESTRUCTIVE, Policy
from sim_devin.simulated import SimulatedTransport
from sim_devin.simulator import SimClock, Simulator

pytestmark = pytest.mark.anyio

ERAS = ["legacy", "auto"]
READS = {
    *("devin_get_session", "devin_list_sessions", "devin_list_session_messages"),
    *("devin_list_session_attachments", "devin_get_session_tags", "devin_wait_for_session"),
}
DESTROYS = {"devin_terminate_session", "devin_archive_session", "devin_replace_session_tags"}


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(params=ERAS)
def era(request):
    return request.param


@pytest.fixture
def app():
    with sim_devin.open_app(
        simulate=True, env={}, discover=False, plugins=[Plugin()], settle=Settle(grace=60)
    ) as app:
        yield app


@pytest.fixture
def connect(app, era):
    """Return a function that connects a client to a server with the given options."""

    def connect(*, client=None, target=app, **options):
        return Client(mcp_server.build(target, **options), mode=era, **(client or {}))

    return connect


async def create(client, prompt="Fix the login"):
    result = await client.call_tool("devin_create_session", {"prompt": prompt})
    assert not result.is_error, result.content
    return result.structured_content["sessionId"]


def text(result):
    return result.content[0].text


# -- listing ---------------------------------------------------------------------------------


async def test_every_tool_is_listed_with_its_schemas_and_hints(app, connect):
    async with connect() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == list(app.registry.tools)
    for name, tool in tools.items():
        hints = tool.annotations
        assert hints.read_only_hint is (name in READS or name == "acme_break")
        assert hints.destructive_hint is (name in DESTROYS)
        assert hints.open_world_hint is True
        assert tool.title == app.registry.tools[name].title
        assert tool.output_schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
        assert "orgId" not in tool.input_schema["properties"]
    limit = tools["devin_list_sessions"].input_schema["properties"]["limit"]["anyOf"][0]
    assert (limit["minimum"], limit["maximum"]) == (1, 200)
    assert "at most 50 seconds" in tools["devin_wait_for_session"].description


async def test_half_a_character_is_replaced(app, connect):
    """The service can cut one in two; UTF-8 has no bytes for it."""
    cut = {"sessionId": "s", "title": "cut \ud83d"}
    async with connect() as client:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(app, "call", lambda *_, **__: cut)
            answer = await client.call_tool("devin_get_session", {"sessionId": "s"})
    assert answer.structured_content["title"] == "cut \ufffd"
    answer.model_dump_json().encode()


async def test_every_tool_completes(connect):
    async with connect() as client:
        session = await create(client)
        only = {"sessionId": session}
        for name, arguments in {
            "devin_get_session": only,
            "devin_list_sessions": {"limit": 5},
            "devin_send_message": {**only, "message": "Go on"},
            "devin_list_session_messages": only,
            "devin_list_session_attachments": only,
            "devin_get_session_tags": only,
            "devin_append_session_tags": {**only, "tags": ["a", "b"]},
            "devin_replace_session_tags": {**only, "tags": "c, d"},
            "devin_wait_for_session": only,
            "devin_archive_session": only,
            "devin_terminate_session": {**only, "archive": "true"},
            "acme_report": {"kind": "report", "who": {"name": "Ada"}},
        }.items():
            result = await client.call_tool(name, arguments)  # the client checks the output
            assert not result.is_error, (name, text(result))
            assert json.loads(text(result)) == result.structured_content


# -- what goes wrong -------------------------------------------------------------------------


async def test_errors_are_told_in_full(connect):
    async with connect() as client:
        wrong = await client.call_tool(
            "devin_create_session", {"prompt": " ", "maxAcuLimit": 0, "method": "PUT"}
        )
        missing = await client.call_tool("devin_get_session", {"sessionId": "devin-nowhere"})
        broken = await client.call_tool("acme_break", {})
        with pytest.raises(MCPError, match="Did you mean 'devin_get_session'"):
            await client.call_tool("devin_get_sesion", {})
    assert wrong.is_error
    assert all(word in text(wrong) for word in ("prompt", "maxAcuLimit", "'method'"))
    assert missing.is_error
    assert "404" in text(missing) or "no session" in text(missing).lower()
    assert broken.is_error
    assert "cog_a_secret" not in text(broken)


async def test_a_value_of_a_new_kind_does_not_spoil_the_answer(connect):
    class Drifting:
        def send(self, request, *, timeout):
            body = {"session_id": "s", "status": "running", "acus_consumed": "many", "tags": None}
            return Response(200, {}, json.dumps(body).encode())

    app = sim_devin.open_app(
        transport=Drifting(),
        env={},
        discover=False,
        credentials={"apiKey": "cog_test_key_000000", "orgId": "org-test"},
    )
    async with connect(target=app) as client:
        result = await client.call_tool("devin_get_session", {"sessionId": "s"})
    assert "acusConsumed" not in result.structured_content
    assert json.loads(text(result))["acusConsumed"] == "many"


async def test_secrets_are_masked_by_name_and_by_value(connect):
    class Echoing:
        def send(self, request, *, timeout):
            told = {
                "auth": "a1",
                "nested": [{"X-Goog-Api-Key": "b2", "key": "cog_test_key_000000"}],
            }
            told |= {"nextPageToken": "c3", "tokenCount": 4}
            body = {"session_id": "s", "status": "running", "structured_output": told}
            return Response(200, {}, json.dumps(body).encode())

    app = sim_devin.open_app(
        transport=Echoing(),
        env={},
        discover=False,
        credentials={"apiKey": "cog_test_key_000000", "orgId": "org-test"},
    )
    async with connect(target=app) as client:
        result = await client.call_tool("devin_get_session", {"sessionId": "s"})
    masked = {"auth": "***", "nested": [{"X-Goog-Api-Key": "***", "key": "***"}]}
    masked |= {"nextPageToken": "c3", "tokenCount": 4}
    assert result.structured_content["structuredOutput"] == masked
    assert json.loads(text(result))["structuredOutput"] == masked


async def test_without_credentials_the_error_names_the_variables(connect):
    app = sim_devin.open_app(env={}, discover=False)
    async with connect(target=app) as client:
        result = await client.call_tool("devin_list_sessions", {})
    assert result.is_error
    assert "DEVIN_API_KEY" in text(result)


class Losing:
    """The simulator, losing the answer of the first POST after having carried it out."""

    def __init__(self):
        self.inner = SimulatedTransport()
        self.clock = self.inner.clock
        self.posts = 0

    def send(self, request, *, timeout):
        answer = self.inner.send(request, timeout=timeout)
        if request.method == "POST":
            self.posts += 1
            if self.posts == 1:
                raise TransportError("The connection broke.")
        return answer


async def test_a_create_whose_answer_was_lost_happens_once(connect):
    transport = Losing()
    app = sim_devin.open_app(
        transport=transport,
        clock=transport.clock,
        env={},
        discover=False,
        settle=Settle(grace=60),
        credentials={"apiKey": "cog_simulated_key", "orgId": "org-simulated"},
    )
    async with connect(target=app) as client:
        session = await create(client)
        listed = await client.call_tool("devin_list_sessions", {})
    assert transport.posts == 1
    assert [item["sessionId"] for item in listed.structured_content["sessions"]] == [session]


# -- waiting ---------------------------------------------------------------------------------


async def test_a_wait_tells_how_it_goes(connect):
    told = []

    async def hear(progress, total, message):
        told.append((progress, message))

    async with connect() as client:
        session = await create(client)
        result = await client.call_tool(
            "devin_wait_for_session", {"sessionId": session}, progress_callback=hear
        )
    assert result.structured_content["outcome"] == "done"
    values = [progress for progress, _ in told]
    assert values == sorted(set(values))
    assert session in told[0][1]


def at_pace(speed):
    clock = SimClock(speed=speed)
    transport = SimulatedTransport(clock, Simulator(clock=clock))
    return sim_devin.open_app(
        transport=transport,
        clock=clock,
        env={},
        discover=False,
        credentials={"apiKey": "cog_simulated_key", "orgId": "org-simulated"},
    )


async def test_a_wait_ends_before_the_client_gives_up_and_can_be_gone_on_with(connect):
    async with connect(target=at_pace(200), longest_call=0.2) as client:
        session = await create(client)
        outcomes = []
        while not outcomes or outcomes[-1] == "in_flight":
            started = time.monotonic()
            result = await client.call_tool("devin_wait_for_session", {"sessionId": session})
            assert time.monotonic() - started < 5
            outcomes.append(result.structured_content["outcome"])
            if outcomes[-1] == "in_flight":
                assert "call this again" in result.content[1].text
    assert len(outcomes) > 1
    assert outcomes[-1] == "done"


async def test_a_cancelled_call_stops(connect):
    app = at_pace(1)
    threads = threading.active_count()
    async with connect(target=app, longest_call=600) as client:
        session = await create(client)
        with anyio.move_on_after(0.3) as scope:
            await client.call_tool("devin_wait_for_session", {"sessionId": session})
        assert scope.cancelled_caught
        other = await client.call_tool("devin_get_session", {"sessionId": session})
        assert not other.is_error
    assert threading.active_count() <= threads + 2  # workers idle, none is waiting for long


async def test_a_silent_call_shows_signs_of_life(monkeypatch):
    monkeypatch.setattr(mcp_worker, "HEARTBEAT", 0.02)
    reports = []

    async def report(gone, words):
        reports.append(gone)

    def work(*, cancel, on_progress):
        cancel.wait(0.2)
        return "done"

    assert await mcp_worker.in_thread(work, report, anyio.CapacityLimiter(1)) == "done"
    assert len(reports) >= 2


# -- policy ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "offered"),
    [
        (Policy(read_only=True), READS | {"acme_break"}),
        (Policy(allow=("devin_get_*",)), {"devin_get_session", "devin_get_session_tags"}),
        (Policy(read_only=True, deny=("acme_*", "*_list_*")), None),
    ],
)
async def test_what_is_not_offered_cannot_be_called(connect, policy, offered):
    async with connect(policy=policy) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        with pytest.raises(MCPError, match="no tool"):
            await client.call_tool("devin_create_session", {"prompt": "p"})
    assert names == (offered or names)
    assert "devin_terminate_session" not in names


def answering(*answers):
    """Return a client's elicitation callback, and the questions it will have been asked."""
    asked = []

    async def answer(_context, params):
        asked.append(params.message)
        return answers[len(asked) - 1]

    return {"elicitation_callback": answer}, asked


YES = types.ElicitResult(action="accept", content={"confirm": True})


@pytest.mark.parametrize(
    ("answer", "goes_on"),
    [
        (YES, True),
        (types.ElicitResult(action="accept", content={"confirm": False}), False),
        (types.ElicitResult(action="decline"), False),
        (types.ElicitResult(action="cancel"), False),
    ],
)
async def test_a_person_decides(connect, answer, goes_on):
    client_options, asked = answering(answer)
    async with connect(client=client_options, policy=Policy(confirm=(DESTRUCTIVE,))) as client:
        session = await create(client)
        result = await client.call_tool("devin_terminate_session", {"sessionId": session})
        state = await client.call_tool("devin_get_session", {"sessionId": session})
    assert len(asked) == 1
    assert session in asked[0]
    assert result.is_error is not goes_on
    assert (state.structured_content["status"] == "exit") is goes_on


async def test_every_call_is_asked_about_anew(connect):
    client_options, asked = answering(YES, types.ElicitResult(action="decline"))
    async with connect(client=client_options, policy=Policy(confirm=(COSTS_MONEY,))) as client:
        first = await client.call_tool("devin_create_session", {"prompt": "p"})
        second = await client.call_tool("devin_create_session", {"prompt": "p"})
    assert (first.is_error, second.is_error) == (False, True)
    assert len(asked) == 2


async def test_a_client_that_cannot_ask_is_refused(connect):
    async with connect(policy=Policy(confirm=(DESTRUCTIVE,))) as client:
        session = await create(client)
        result = await client.call_tool("devin_terminate_session", {"sessionId": session})
    assert result.is_error
    assert "does not support elicitation" in text(result)


async def test_nobody_is_asked_about_a_wrong_call(connect):
    client_options, asked = answering(YES)
    async with connect(client=client_options, policy=Policy(confirm=(DESTRUCTIVE,))) as client:
        result = await client.call_tool("devin_terminate_session", {"sessionId": ".."})
    assert result.is_error
    assert asked == []


async def test_an_answer_cannot_be_made_up_used_twice_or_moved(app):
    server = mcp_server.build(app, policy=Policy(confirm=("devin_terminate_session",)))
    client_options, _ = answering()
    answers = {"answer": YES}
    async with Client(server, **client_options) as client:
        ids = [await create(client), await create(client)]
        call = client.session.call_tool
        options = {"allow_input_required": True}

        async def terminate(session, state=None):
            return await call(
                "devin_terminate_session",
                {"sessionId": session},
                input_responses=answers if state else None,
                request_state=state,
                **options,
            )

        asked = types.InputRequiredResult
        question = await terminate(ids[0])
        assert isinstance(question, asked)
        assert isinstance(await terminate(ids[0], "made-up"), asked)
        assert isinstance(await terminate(ids[1], question.request_state), asked)  # moved: spent
        again = await terminate(ids[0])
        done = await terminate(ids[0], again.request_state)
        assert not isinstance(done, asked)
        assert not done.is_error
        assert isinstance(await terminate(ids[0], again.request_state), asked)


async def test_a_budget_holds_over_calls(connect):
    policy = Policy(acu_per_call=5, acu_per_run=8)
    async with connect(policy=policy) as client:
        results = [
            await client.call_tool("devin_create_session", {"prompt": "p", "maxAcuLimit": 100})
            for _ in range(3)
        ]
    assert [result.is_error for result in results] == [False, False, True]
    assert "used up" in text(results[2])


async def test_a_dry_run_sends_nothing_that_changes_anything(connect):
    async with connect(policy=Policy(dry_run=True)) as client:
        shown = await client.call_tool("devin_create_session", {"prompt": "p"})
        listed = await client.call_tool("devin_list_sessions", {})
    assert shown.structured_content["dryRun"] is True
    assert shown.structured_content["request"]["json"] == {"prompt": "p"}
    assert listed.structured_content["sessions"] == []


# -- resources and prompts -------------------------------------------------------------------


async def test_the_transcript_of_a_session(connect):
    async with connect() as client:
        (template,) = (await client.list_resource_templates()).resource_templates
        assert (await client.list_resources()).resources == []
        session = await create(client, "Fix the *login*")
        await client.call_tool("devin_wait_for_session", {"sessionId": session})
        uri = template.uri_template.replace("{sessionId}", session)
        (content,) = (await client.read_resource(uri)).contents
        with pytest.raises(MCPError):
            await client.read_resource("devin://sessions/devin-nowhere/transcript")
        with pytest.raises(MCPError, match="No such resource"):
            await client.read_resource("file:///etc/passwd")
    assert content.mime_type == "text/markdown"
    assert content.text.index("**user**") < content.text.index("**devin**")
    assert "Fix the *login*" in content.text


@pytest.mark.parametrize("field", ["deny", "confirm"])
async def test_a_transcript_needs_the_tools_it_takes(connect, field):
    async with connect(policy=Policy(**{field: ("devin_list_session_messages",)})) as client:
        assert (await client.list_resource_templates()).resource_templates == []
        with pytest.raises(MCPError):
            await client.read_resource("devin://sessions/x/transcript")


async def test_prompts(connect):
    async with connect() as client:
        names = [prompt.name for prompt in (await client.list_prompts()).prompts]
        start = await client.get_prompt("start_task", {"task": "Bump it", "max_acu": "5"})
        check = await client.get_prompt("check_progress")
        with pytest.raises(MCPError, match="needs the argument task"):
            await client.get_prompt("start_task", {"task": " "})
        with pytest.raises(MCPError, match="no prompt"):
            await client.get_prompt("start")
    assert names == ["start_task", "check_progress"]
    said = start.messages[0].content.text
    assert "Bump it" in said
    assert "maxAcuLimit 5" in said
    assert "Change nothing" in check.messages[0].content.text


# -- workflows -------------------------------------------------------------------------------


def workflow(tmp_path, *, prompt="Fix <start.issue>", name="Fix issue"):
    """Return the file of a workflow: start, create a session, wait for it."""

    def block(key, kind, title, **values):
        subs = {key: {"id": key, "type": "short-input", "value": v} for key, v in values.items()}
        return {
            "id": key,
            "type": kind,
            "name": title,
            "position": {"x": 0, "y": 0},
            "subBlocks": subs,
            "outputs": {},
            "enabled": True,
        }

    fields = [{"name": "issue", "type": "string", "description": "Which issue."}]
    blocks = [
        block("a", "start_trigger", "Start", inputFormat=fields),
        block(
            "b",
            "devin",
            "Ask",
            operation="create_session",
            prompt=prompt,
            apiKey="{{DEVIN_API_KEY}}",
            orgId="{{DEVIN_ORG_ID}}",
        ),
        block(
            "c",
            "devin_wait",
            "Wait",
            sessionId="<ask.sessionId>",
            apiKey="{{DEVIN_API_KEY}}",
            orgId="{{DEVIN_ORG_ID}}",
        ),
    ]
    state = {
        "blocks": {item["id"]: item for item in blocks},
        "edges": [
            {"id": "e1", "source": "a", "target": "b"},
            {"id": "e2", "source": "b", "target": "c"},
        ],
        "loops": {},
        "parallels": {},
        "metadata": {"name": name, "description": "Fixes one issue."},
    }
    file = tmp_path / "fix.json"
    file.write_text(json.dumps({"version": "1.0", "state": state}), encoding="utf-8")
    return file


async def test_a_workflow_is_a_tool(connect, tmp_path):
    told = []

    async def hear(_progress, _total, message):
        told.append(message)

    async with connect(workflows=[workflow(tmp_path)]) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        tool = tools["run_fix_issue"]
        issue = tool.input_schema["properties"]["issue"]
        assert issue["anyOf"] == [{"type": "string"}, {"type": "null"}]
        assert tool.annotations.read_only_hint is False
        result = await client.call_tool("run_fix_issue", {"issue": "42"}, progress_callback=hear)
        assert not result.is_error, text(result)
        refused = await client.call_tool("run_fix_issue", {"isue": "42"})
    assert result.structured_content["status"] == "completed"
    assert result.structured_content["output"]["outcome"] == "done"
    assert any("Ask" in message for message in told)
    assert "Did you mean 'issue'" in text(refused)


async def test_a_long_run_is_asked_for_by_its_id(connect, tmp_path):
    target = at_pace(300)
    options = {"workflows": [workflow(tmp_path)], "longest_call": 0.2}
    async with connect(target=target, **options) as client:
        result = await client.call_tool("run_fix_issue", {"issue": "42"})
        asked = 0
        while result.structured_content["status"] == "running":
            asked += 1
            run = {"runId": result.structured_content["runId"]}
            result = await client.call_tool("workflow_result", run)
        missing = await client.call_tool("workflow_result", {"runId": "nowhere"})
    assert asked
    assert result.structured_content["output"]["outcome"] == "done"
    assert missing.is_error


async def test_a_failing_run_says_why(connect, tmp_path):
    async with connect(workflows=[workflow(tmp_path, prompt=" ")]) as client:
        result = await client.call_tool("run_fix_issue", {"issue": "42"})
    assert result.is_error
    assert "Ask" in text(result)


async def test_a_workflow_obeys_the_policy(connect, tmp_path):
    files = [workflow(tmp_path)]
    async with connect(workflows=files, policy=Policy(read_only=True)) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "run_fix_issue" not in names
    policy = Policy(acu_per_run=3)
    async with connect(workflows=files, policy=policy) as client:
        result = await client.call_tool("run_fix_issue", {"issue": "42"})
        assert not result.is_error
        again = await client.call_tool("devin_create_session", {"prompt": "p"})
        assert "used up" in text(again)


async def test_what_is_offered_is_not_about_blocks(connect, tmp_path):
    files = [workflow(tmp_path)]
    async with connect(workflows=files, policy=Policy(allow=("run_*",))) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"run_fix_issue"}
        assert not (await client.call_tool("run_fix_issue", {"issue": "42"})).is_error


async def test_the_apps_policy_binds_clients(connect):
    target = sim_devin.open_app(
        simulate=True, env={}, discover=False, policy=Policy(deny=("devin_terminate_*",))
    )
    async with connect(target=target, policy=Policy(read_only=True)) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    assert "devin_get_session" in names
    assert not names & {"devin_terminate_session", "devin_create_session"}


async def test_a_cancelled_call_cancels_its_run(app, tmp_path):
    target = at_pace(1)
    server = mcp_server.build(target, workflows=[workflow(tmp_path)])
    async with Client(server) as client:
        with anyio.move_on_after(0.3):
            await client.call_tool("run_fix_issue", {"issue": "42"})
    runs = [thread for thread in threading.enumerate() if thread.name.startswith("run ")]
    for thread in runs:
        thread.join(timeout=5)
        assert not thread.is_alive()


def test_two_tools_of_one_name(app, tmp_path):
    file = workflow(tmp_path)
    with pytest.raises(sim_devin.SimDevinError, match="already a tool"):
        mcp_server.build(app, workflows=[file, file])


def test_a_file_that_is_no_workflow(app, tmp_path):
    file = tmp_path / "x.json"
    file.write_text("{}")
    with contextlib.suppress(KeyError), pytest.raises(sim_devin.SimDevinError):
        mcp_server.build(app, workflows=[file])
