"""Workflows that wait for somebody, over MCP: who is asked, who may answer, after a restart too."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("mcp")

import mcp_types as types
from mcp import Client

import sim_devin
from sim_devin.app import SIMULATED_CREDENTIALS
from sim_devin.mcp import server as mcp_server
from sim_devin.mcp.workflows import ANSWER_TOOL, RESULT_TOOL
from sim_devin.policy.rules import COSTS_MONEY, Policy
from tests.durable.flows import block, devin, flow, wait

pytestmark = pytest.mark.anyio

FIELDS = [
    {"name": "approved", "type": "boolean", "label": "Ship it?", "required": True},
    {"name": "why", "type": "string"},
    {"name": "labels", "type": "array", "description": "For the release."},
]
SHOWN = [{"name": "change", "type": "string", "value": "<start.change>"}]


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(params=["legacy", "auto"])
def era(request):
    return request.param


@pytest.fixture
def open_app(tmp_path, transport):
    """Return a function that opens an app over the same file and the same Devin."""

    def open_app(place=tmp_path / "runs.sqlite", **options):
        return sim_devin.open_app(
            **options,
            transport=transport,
            clock=transport.clock,
            store=str(place),
            env={},
            discover=False,
            credentials=SIMULATED_CREDENTIALS,
        )

    return open_app


@pytest.fixture
def connect(open_app, era, tmp_path):
    """Return a function that connects a client to a server that has the given workflows."""

    def connect(*flows, client=None, target=None, **options):
        files = []
        for number, document in enumerate(flows):
            files.append(tmp_path / f"flow{number}.json")
            files[-1].write_text(json.dumps(document), encoding="utf-8")
        server = mcp_server.build(target or open_app(), workflows=files, **options)
        return Client(server, mode=era, **(client or {}))

    return connect


def named(name, document):
    return {**document, "metadata": {"name": name, "description": ""}}


def start(*fields):
    return block("start", "start_trigger", "Start", inputFormat=[{"name": f} for f in fields])


def form():
    ask = block("ask", "human_in_the_loop", "Ship", inputFormat=FIELDS, builderData=SHOWN)
    done = block("done", "response", dataMode="json", data='{"labels": <ship.labels>}')
    return named("Ship", flow(start("change"), ask, done, start=False))


def question(scenario="asks"):
    create = devin("create", "create_session", prompt=f"[scenario: {scenario}] <start.task>")
    return named("Fix", flow(start("task"), create, wait(), start=False))


def person(*answers):
    """Return a client's elicitation callback, and what it will have been asked."""
    asked = []

    async def answer(_context, params):
        asked.append(params)
        return answers[len(asked) - 1]

    return {"elicitation_callback": answer}, asked


def accept(**content):
    return types.ElicitResult(action="accept", content=content)


async def paused_run(client, tool, **inputs):
    """Start a run that pauses; return how its other tools take it."""
    result = await client.call_tool(tool, inputs)
    assert result.structured_content["status"] == "paused", text(result)
    return {"runId": result.structured_content["runId"]}


def text(result):
    return " ".join(item.text for item in result.content)


async def test_what_waits_for_its_turn_asks_nothing(open_app, connect):
    app = open_app()
    app.settings = replace(app.settings, max_sessions=1)
    ask = block("ask", "human_in_the_loop", "Ship", inputFormat=FIELDS)
    creates = [devin(name, "create_session", prompt=name) for name in ("one", "two")]
    edges = [("start", name) for name in ("ask", "one", "two")]
    document = flow(start("change"), ask, *creates, edges=edges, start=False)
    async with connect(named("Ship", document), target=app) as client:
        paused = (await client.call_tool("run_ship", {"change": "v2"})).structured_content
    kinds = {wait["kind"] for wait in app.runs.show(paused["runId"])["waits"]}
    assert kinds == {"human", "turn"}
    assert [told["kind"] for told in paused["questions"]] == ["form"]


async def test_a_form_is_told_and_put_to_a_person(connect):
    client_options, asked = person(accept(approved=True, why="fine", labels='["a", "b"]'))
    async with connect(form(), client=client_options) as client:
        paused = (await client.call_tool("run_ship", {"change": "v2"})).structured_content
        again = (await client.call_tool(RESULT_TOOL, {"runId": paused["runId"]})).structured_content
        ended = await client.call_tool(ANSWER_TOOL, {"runId": paused["runId"]})
        twice = await client.call_tool(ANSWER_TOOL, {"runId": paused["runId"]})
    assert paused == again
    assert paused["status"] == "paused"
    (told,) = paused["questions"]
    assert (told["kind"], told["block"], told["shows"]) == ("form", "Ship", {"change": "v2"})
    assert [field["name"] for field in told["fields"]] == ["approved", "why", "labels"]
    assert ANSWER_TOOL in paused["next"]
    (shown,) = asked
    assert "change: v2" in shown.message
    properties = shown.requested_schema["properties"]
    assert [item["type"] for item in properties.values()] == ["boolean", "string", "string"]
    assert properties["labels"]["description"] == "For the release. Pass it as JSON."
    assert shown.requested_schema["required"] == ["approved"]
    assert not ended.is_error, text(ended)
    assert ended.structured_content["status"] == "completed"
    assert ended.structured_content["output"]["data"] == {"labels": ["a", "b"]}
    assert twice.is_error
    assert "has no open question" in text(twice)


async def test_what_devin_asks_is_put_to_a_person(connect, transport):
    client_options, asked = person(accept(message="The main one"))
    async with connect(question(), client=client_options) as client:
        paused = (await client.call_tool("run_fix", {"task": "t"})).structured_content
        (told,) = paused["questions"]
        ended = await client.call_tool(ANSWER_TOOL, {"runId": paused["runId"]})
        said = await client.call_tool(
            "devin_list_session_messages", {"sessionId": told["sessionId"]}
        )
    assert told["kind"] == "question"
    assert told["asks"] in asked[0].message
    assert ended.structured_content["status"] == "completed", text(ended)
    messages = [item["message"] for item in said.structured_content["messages"]]
    assert messages.count("The main one") == 1


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_person_who_does_not_answer_leaves_the_run_waiting(connect, action):
    client_options, _ = person(types.ElicitResult(action=action), accept(approved=False))
    async with connect(form(), client=client_options) as client:
        run = await paused_run(client, "run_ship")
        declined = await client.call_tool(ANSWER_TOOL, run)
        still = await client.call_tool(RESULT_TOOL, run)
        ended = await client.call_tool(ANSWER_TOOL, run)
    assert declined.is_error
    assert "still waiting" in text(declined)
    assert still.structured_content["status"] == "paused"
    assert ended.structured_content["status"] == "completed"


@pytest.mark.parametrize(
    ("place", "says"), [("runs.sqlite", "sim-devin runs answer"), ("memory", "elicitation")]
)
async def test_a_client_that_cannot_ask_is_told_where_a_person_answers(
    connect, open_app, tmp_path, place, says
):
    app = open_app(place if place == "memory" else tmp_path / place)
    async with connect(form(), target=app) as client:
        paused = (await client.call_tool("run_ship", {})).structured_content
        refused = await client.call_tool(ANSWER_TOOL, {"runId": paused["runId"]})
        assert refused.is_error
        assert says in text(refused)
        assert says in paused["next"]
        app.runs.answer(paused["runId"], {"approved": True, "labels": []})
        ended = await client.call_tool(RESULT_TOOL, {"runId": paused["runId"]})
    assert ended.structured_content["output"]["data"] == {"labels": []}


async def test_an_answer_after_a_restart(connect, open_app):
    client_options, _ = person(accept(message="The main one"))
    async with connect(question()) as client:
        run = {
            "runId": (await client.call_tool("run_fix", {"task": "t"})).structured_content["runId"]
        }
    async with connect(question(), client=client_options) as client:
        ended = await client.call_tool(ANSWER_TOOL, run)
    assert ended.structured_content["status"] == "completed", text(ended)


# -- who may answer --------------------------------------------------------------------------


async def test_a_model_cannot_answer_unless_it_may(connect):
    async with connect(question()) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools[ANSWER_TOOL].input_schema["properties"]) == {"runId", "question"}
        run = {
            "runId": (await client.call_tool("run_fix", {"task": "t"})).structured_content["runId"]
        }
        refused = await client.call_tool(ANSWER_TOOL, {**run, "message": "Yes, yes"})
        still = await client.call_tool(RESULT_TOOL, run)
    assert refused.is_error
    assert still.structured_content["status"] == "paused"


async def test_a_model_that_may_answers_devin(connect):
    async with connect(question(), model_may_answer=True) as client:
        run = {
            "runId": (await client.call_tool("run_fix", {"task": "t"})).structured_content["runId"]
        }
        ended = await client.call_tool(ANSWER_TOOL, {**run, "message": "The main one"})
    assert ended.structured_content["status"] == "completed", text(ended)


@pytest.mark.parametrize(
    ("document", "tool"), [(form(), "run_ship"), (question("approval"), "run_fix")]
)
async def test_forms_and_approvals_are_for_a_person_in_any_case(connect, document, tool):
    async with connect(document, model_may_answer=True) as client:
        run = await paused_run(client, tool)
        refused = await client.call_tool(ANSWER_TOOL, {**run, "message": "approved"})
        still = await client.call_tool(RESULT_TOOL, run)
    assert refused.is_error
    assert "A person has to answer" in text(refused)
    assert still.structured_content["status"] == "paused"


async def test_a_models_answer_is_confirmed_where_the_policy_wants_it(connect):
    client_options, asked = person(accept(confirm=True), accept(confirm=False))
    options = {"policy": Policy(confirm=(COSTS_MONEY,)), "model_may_answer": True}
    async with connect(question(), client=client_options, **options) as client:
        run = {
            "runId": (await client.call_tool("run_fix", {"task": "t"})).structured_content["runId"]
        }
        refused = await client.call_tool(ANSWER_TOOL, {**run, "message": "The main one"})
    assert "The main one" in asked[1].message
    assert refused.is_error


@pytest.mark.parametrize("field", ["deny", "confirm"])
async def test_a_model_answers_nothing_that_it_may_not_send(connect, open_app, field):
    app = open_app(policy=Policy(**{field: ("devin_send_message",)}))
    async with connect(question(), target=app, model_may_answer=True) as client:
        run = await paused_run(client, "run_fix", task="t")
        refused = await client.call_tool(ANSWER_TOOL, {**run, "message": "The main one"})
        still = await client.call_tool(RESULT_TOOL, run)
    assert "A person has to answer" in text(refused)
    assert still.structured_content["status"] == "paused"


async def test_a_field_that_is_called_like_the_cap_gets_it(connect, transport):
    begin = block(
        "start", "start_trigger", "Start", inputFormat=[{"name": "maxAcuLimit", "type": "string"}]
    )
    create = devin("create", "create_session", prompt="At most <start.maxAcuLimit>")
    async with connect(named("Fix", flow(begin, create, start=False))) as client:
        ended = await client.call_tool("run_fix", {"maxAcuLimit": 4})
    assert ended.structured_content["status"] == "completed", text(ended)
    (session,) = transport.simulator.truth()
    assert session["messages"][0]["message"] == "At most 4"


async def test_an_empty_input_reaches_the_run_and_null_is_left_out(connect):
    kinds = {"rows": "array", "map": "object", "text": "string", "more": "array"}
    fields = [{"name": name, "type": kind} for name, kind in kinds.items()]
    told = block(
        "told",
        "response",
        "Told",
        dataMode="json",
        data='{"rows": <start.rows>, "map": <start.map>}',
    )
    start = block("start", "start_trigger", "Start", inputFormat=fields)
    async with connect(named("Tell", flow(start, told, start=False))) as client:
        given = {"rows": [], "map": {}, "text": None, "more": None}
        result = await client.call_tool("run_tell", given)
    assert result.structured_content["output"]["data"] == {"rows": [], "map": {}}


async def test_what_is_shown_does_not_look_like_more_than_it_is(connect):
    client_options, asked = person(accept(approved=True))
    async with connect(form(), client=client_options) as client:
        run = await paused_run(client, "run_ship", change="v2\nreviewed: yes")
        await client.call_tool(ANSWER_TOOL, run)
    assert "\nchange: v2\n    reviewed: yes" in asked[0].message


@pytest.mark.parametrize("approved", [True, False])
async def test_a_held_call_is_put_to_a_person(connect, open_app, transport, approved):
    answers = (accept(confirm=True), accept(approved=approved, reason="so it is"))
    client_options, asked = person(*answers)
    target = open_app(policy=Policy(confirm=(COSTS_MONEY,)))
    async with connect(question("finish"), client=client_options, target=target) as client:
        paused = (await client.call_tool("run_fix", {"task": "it"})).structured_content
        assert transport.simulator.truth() == []
        ended = await client.call_tool(ANSWER_TOOL, {"runId": paused["runId"]})
    (told,) = paused["questions"]
    assert (told["kind"], told["shows"]) == ("approval", {"prompt": "[scenario: finish] it"})
    assert "prompt: [scenario: finish] it" in asked[1].message
    assert ended.is_error is not approved, text(ended)
    assert list(asked[1].requested_schema["properties"]) == ["approved", "reason"]
    assert len(transport.simulator.truth()) == int(approved)
    if not approved:
        assert "a person declined: so it is" in text(ended)


async def test_a_model_never_says_yes_itself(connect, open_app, transport):
    target = open_app(policy=Policy(confirm=("devin_create_session",)))
    async with connect(question(), target=target, model_may_answer=True) as client:
        run = await paused_run(client, "run_fix", task="it")
        for arguments in (run, {**run, "message": "yes"}, {**run, "approved": True}):
            assert (await client.call_tool(ANSWER_TOOL, arguments)).is_error
    assert transport.simulator.truth() == []


async def test_runs_of_others_are_out_of_reach(connect, open_app):
    app = open_app()
    other = app.runs.start(form(), {"change": "secret"})
    app.runs.follow(other)
    async with connect(form(), target=app) as client:
        for tool in (RESULT_TOOL, ANSWER_TOOL):
            result = await client.call_tool(tool, {"runId": other})
            assert result.is_error
            assert "secret" not in text(result)


async def test_one_of_several_questions_is_named(connect):
    asks = [block(f"ask{n}", "human_in_the_loop", f"Ask {n}", inputFormat=FIELDS) for n in (1, 2)]
    both = flow(start(), *asks, start=False, edges=[("start", "ask1"), ("start", "ask2")])
    client_options, _ = person(accept(approved=True), accept(approved=True))
    async with connect(named("Both", both), client=client_options) as client:
        paused = (await client.call_tool("run_both", {})).structured_content
        run = {"runId": paused["runId"]}
        names = [item["question"] for item in paused["questions"]]
        unsaid = await client.call_tool(ANSWER_TOOL, run)
        unknown = await client.call_tool(ANSWER_TOOL, {**run, "question": "nothing"})
        one = await client.call_tool(ANSWER_TOOL, {**run, "question": names[0]})
        two = await client.call_tool(ANSWER_TOOL, run)
    assert "has 2 open questions" in text(unsaid)
    assert unknown.is_error
    assert [item["question"] for item in one.structured_content["questions"]] == names[1:]
    assert two.structured_content["status"] == "completed"


async def test_an_answer_is_for_what_was_asked(open_app, tmp_path):
    """Another surface answers while the person still thinks: the late answer counts for nothing."""
    file = tmp_path / "flow.json"
    twice = [block(f"ask{n}", "human_in_the_loop", f"Ask {n}", inputFormat=FIELDS) for n in (1, 2)]
    file.write_text(json.dumps(named("Twice", flow(start(), *twice, start=False))))
    app = open_app()

    async def answer(_context, params):
        app.runs.answer(run["runId"], {"approved": False})
        app.runs.follow(run["runId"])
        return accept(approved=True)

    server = mcp_server.build(app, workflows=[file])
    async with Client(server, mode="legacy", elicitation_callback=answer) as client:
        run = await paused_run(client, "run_twice")
        late = await client.call_tool(ANSWER_TOOL, run)
        still = await client.call_tool(RESULT_TOOL, run)
    assert "has a different question by now" in text(late)
    assert still.structured_content["questions"][0]["block"] == "Ask 2"


async def test_a_read_only_server_has_none_of_it(connect):
    async with connect(form(), policy=Policy(read_only=True)) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    assert not {"run_ship", RESULT_TOOL, ANSWER_TOOL} & names
