"""Fields that a model reads never get the value of an environment variable."""

import base64
import itertools
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sim_devin
from sim_devin import Specs, hookimpl
from sim_devin.calls.response import Response
from sim_devin.engine import engine
from sim_devin.engine.workflow_check import check
from sim_devin.runs.services import AppServices
from sim_devin.simulated import SimulatedTransport
from sim_devin.simulator import SimClock, Simulator
from sim_devin.specs.models import BlockField, BlockSpec, ToolSpec
from sim_devin.store.sql_store import open_store
from workflow.fakes import block, document, edge

pytest.importorskip("quickjs", reason="functions need the extra [js]")

TOKEN = "made-up/to+ken 1 é"
ENV = {"DEVIN_API_KEY": "cog_made_up", "ORG": "org-env", "TOKEN": TOKEN, "NAME": "main", "N": "42"}
CASES = json.loads((Path(__file__).parents[1] / "conformance" / "secret.json").read_text("utf-8"))


class Kept:
    """Keeps what is sent; answers with a session that repeats what the test says."""

    def __init__(self, answer=None):
        self.requests = []
        self.answer = answer or {}

    def send(self, request, *, timeout):
        self.requests.append(request)
        body = {"session_id": "devin-1", "url": "https://app.devin.ai/sessions/1"}
        body |= {"status": "running", "tags": [], "pull_requests": []} | self.answer
        headers = {"content-type": "application/json"}
        return Response(200, headers, json.dumps(body).encode())

    @property
    def sent(self):
        return [request.json for request in self.requests]


class Asked:
    """A model that keeps what it is asked and calls the given tools first."""

    def __init__(self, *calls, content="{}"):
        self.asked = []
        self.calls = list(calls)
        self.content = content

    def complete(self, messages, *, model, tools, response_format):
        self.asked.append([messages, tools, response_format])
        if self.calls:
            name, arguments = self.calls.pop(0)
            return {"toolCalls": [{"id": "1", "name": name, "arguments": arguments}]}
        return {"content": self.content}

    @property
    def text(self):
        return json.dumps(self.asked, ensure_ascii=False)


def devin(block_id, prompt, **values):
    values = {"operation": "create_session", "apiKey": "{{DEVIN_API_KEY}}", **values}
    return block(block_id, "devin", orgId="{{ORG}}", prompt=prompt, **values)


def chain(*blocks, variables=None):
    ids = ["start", *(item["id"] for item in blocks)]
    edges = [edge(*pair) for pair in itertools.pairwise(ids)]
    return document([block("start", "start_trigger"), *blocks], edges, variables=variables)


def opened(transport=None, llm=None, **options):
    options.setdefault("env", {})
    return sim_devin.open_app(
        transport=transport or Kept(), llm=llm, discover=False, credentials={}, **options
    )


def prompt_of(made, inputs=None, env=None, transport=None, **options):
    transport = transport or Kept()
    result = opened(transport).run(made, inputs, env=ENV if env is None else env, **options)
    assert result.success, result.error
    return transport.sent[-1]["prompt"]


def variable(key):
    return {key: {"id": key, "name": key, "type": "string", "value": ""}}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_what_is_sent_and_shown_agrees_with_the_recording(case):
    kept = Kept(case["answer"])
    made = chain(block("d", "devin", **case["block"]))
    result = opened(kept).run(made, env=case["env"])
    (request,) = kept.requests
    assert result.success
    assert request.method == case["sent"]["method"]
    assert request.url == "https://api.devin.ai" + case["sent"]["path"]
    assert request.json == case["sent"]["body"]
    assert request.headers["Authorization"] == f"Bearer {case['env']['DEVIN_API_KEY']}"
    shown = next(log.input for log in result.logs if log.block_id == "d")
    assert {key: shown[key] for key in case["shown"]} == case["shown"]


@pytest.mark.parametrize(
    ("code", "sent"),
    [
        ("return {{TOKEN}}", "{{TOKEN}}"),
        ("return 'key: ' + {{TOKEN}} + '!'", "key: {{TOKEN}}!"),
        ("return JSON.stringify({a: {{TOKEN}}})", '{"a":"{{TOKEN}}"}'),
        ("return JSON.stringify(JSON.stringify([{{TOKEN}}]))", '"[\\"{{TOKEN}}\\"]"'),
        ("return {a: [{b: {{TOKEN}}}]}", '{"a":[{"b":"{{TOKEN}}"}]}'),
        ("return {[{{TOKEN}}]: 1}", '{"{{TOKEN}}":1}'),
        ("return encodeURIComponent({{TOKEN}})", "{{TOKEN}}"),
        ("return encodeURI({{TOKEN}})", "{{TOKEN}}"),
        ("return {{TOKEN}}.toUpperCase()", "{{TOKEN}}"),
        ("return 'on ' + {{NAME}} + ', maintained'", "on {{NAME}}, maintained"),
        ("return Number({{N}})", "{{N}}"),
        ("return true", "true"),
    ],
)
def test_what_a_function_makes_of_a_variable_is_set_back(code, sent):
    assert prompt_of(chain(block("f", "function", code=code), devin("d", "<f.result>"))) == sent


@pytest.mark.parametrize(
    "code",
    [
        "throw new Error('{{TOKEN}}')",
        "\nconst x = `a {{TOKEN}} b`; nope(x)",
        'const x = "{{TOKEN}}" ( ;',
        "/{{TOKEN}}/.nope()",
        "nope({{TOKEN}})",
    ],
)
def test_the_line_of_an_error_shows_a_variable_by_its_name(code):
    made = document(
        [
            block("start", "start_trigger"),
            block("f", "function", code=code),
            devin("d", "<f.error>"),
        ],
        [edge("start", "f"), edge("f", "d", "error")],
    )
    kept = Kept()
    result = opened(kept).run(made, env=ENV)
    assert result.success, result.error
    for told in (kept.sent[-1]["prompt"], json.dumps([log.to_json() for log in result.logs])):
        assert "made-up" not in told
        assert "Line " in told


def test_a_short_value_is_known_as_a_word_and_does_not_blot_out_others():
    code = "return {branch: {{NAME}}, note: 'maintained'}"
    made = chain(block("f", "function", code=code), devin("d", "<f.result.branch> <f.result.note>"))
    assert prompt_of(made) == "{{NAME}} maintained"


def test_a_value_that_was_cut_up_is_not_put_together_again():
    code = "return [{{TOKEN}}.slice(0, 7), {{TOKEN}}.slice(7)]"
    text = "a <f.result[0]><f.result[1]> <start.x>b, " + TOKEN[:7] + "<f.result[1]>, " + TOKEN
    made = chain(block("f", "function", code=code), devin("d", text))
    assert prompt_of(made, {"x": TOKEN}) == f"a {{{{TOKEN}}}} {TOKEN}b, {{{{TOKEN}}}}, {TOKEN}"


def test_base64_in_a_file_is_set_back():
    encoded = base64.b64encode(TOKEN.encode()).decode()
    code = "return {file: {name: 'a.txt', base64: {{B64}}}}"
    made = chain(
        block("f", "function", code=code.replace("{{B64}}", f"{{{{TOKEN}}}} && '{encoded}'")),
        devin("d", "<f.result.file>"),
    )
    assert prompt_of(made) == '{"name":"a.txt","base64":"{{TOKEN}}"}'


def test_what_a_person_typed_passes():
    # The very text of the variables stands in the field and in the inputs of the run.
    made = chain(
        block("h", "function", code="return {{TOKEN}}.length"),
        devin("d", f"merge main, not {TOKEN}: <start.task> / {{{{NAME}}}}"),
    )
    assert prompt_of(made, {"task": f"main {TOKEN}"}) == (
        f"merge main, not {TOKEN}: main {TOKEN} / {{{{NAME}}}}"
    )


def test_an_input_handed_through_a_function_passes_as_a_whole():
    made = chain(
        block("f", "function", code="return {a: <start.task>, b: {{NAME}}}"),
        devin("d", "<f.result.a> on <f.result.b>"),
    )
    assert prompt_of(made, {"task": "fix the main menu"}) == "fix the main menu on {{NAME}}"


def test_a_workflow_variable_hands_on_no_value():
    rows = [{"variableName": "v", "type": "string", "value": "k={{TOKEN}}"}]
    made = chain(
        block("v1", "variables", variables=rows),
        devin("d", "<variable.v>"),
        variables=variable("v"),
    )
    assert prompt_of(made) == "k={{TOKEN}}"


def test_a_workflow_variable_of_its_own_is_a_way_out():
    rows = [
        {"variableName": "v", "type": "string", "value": "main"},
        {"variableName": "w", "type": "string", "value": "{{NAME}}"},
    ]
    made = chain(
        block("v1", "variables", variables=rows),
        devin("d", "<variable.v>-<variable.w>"),
        variables=variable("v") | variable("w"),
    )
    assert prompt_of(made) == "main-{{NAME}}"


def test_no_value_comes_out_of_a_child_run():
    child = chain(block("f", "function", code="return {{TOKEN}}"), block("r", "response"))
    child["state"]["blocks"]["r"]["subBlocks"] = {
        "dataMode": {"id": "dataMode", "type": "x", "value": "json"},
        "data": {"id": "data", "type": "x", "value": '{"t": "<f.result>", "n": "{{NAME}}"}'},
    }
    made = chain(
        block("c", "workflow", workflowId="kid"),
        devin("d", "<c.result.data.t> and <c.result.data.n>"),
    )
    assert prompt_of(made, children={"kid": child}) == "{{TOKEN}} and {{NAME}}"


@pytest.mark.parametrize("value", ["{{TOKEN}}", "<f.result>"])
def test_no_value_goes_into_a_child_run(value):
    child = chain(devin("d", "do <start.task>"))
    made = chain(
        block("f", "function", code="return {{TOKEN}}"),
        block("c", "workflow_input", workflowId="kid", inputMapping=json.dumps({"task": value})),
    )
    kept = Kept()
    result = opened(kept).run(made, env=ENV, children={"kid": child})
    assert result.success, result.error
    assert kept.sent[-1]["prompt"] == "do {{TOKEN}}"
    assert [text[:12] for text in result.warnings] == ["c: d.prompt:"]


def test_inputs_of_a_child_run_that_a_person_typed_pass():
    child = chain(block("f", "function", code="return {{NAME}}"), devin("d", "<start.task>"))
    mapping = json.dumps({"task": "<start.task>"})
    made = chain(block("c", "workflow_input", workflowId="kid", inputMapping=mapping))
    assert prompt_of(made, {"task": "the main menu"}, children={"kid": child}) == "the main menu"


def test_no_value_comes_by_way_of_a_loop():
    container = {"loopType": "forEach", "collection": "<f.result>"}
    made = document(
        [
            block("start", "start_trigger"),
            block("f", "function", code="return ['a', {{TOKEN}}]"),
            block("loop", "loop", container=container),
            devin("d", "<loop.currentItem>"),
            devin("e", "<loop.results>"),
        ],
        [
            edge("start", "f"),
            edge("f", "loop"),
            edge("loop", "d", "loop-start-source"),
            edge("loop", "e", "loop-end-source"),
        ],
    )
    made["state"]["blocks"]["d"]["data"] = {"parentId": "loop", "extent": "parent"}
    made["state"]["loops"] = {
        "loop": {"id": "loop", "nodes": ["d"], "loopType": "forEach", "forEachItems": "<f.result>"}
    }
    kept = Kept()
    result = opened(kept).run(made, env=ENV)
    assert result.success, result.error
    assert [body["prompt"] for body in kept.sent[:2]] == ["a", "{{TOKEN}}"]
    assert TOKEN not in json.dumps(kept.sent, ensure_ascii=False)


def test_what_a_service_repeats_is_set_back():
    kept = Kept({"title": f"I got {TOKEN} and cog_made_up"})
    made = chain(
        block("a", "api", url="http://127.0.0.1:1/x?k={{TOKEN}}", method="GET"),
        devin("b", "see <a.data.title>"),
        devin("c", "again <b.title>"),
    )
    result = opened(kept, env={"SIM_DEVIN_NETWORK_ALLOW": "127.0.0.1:1"}).run(made, env=ENV)
    assert result.success, result.error
    assert kept.sent[1]["prompt"] == "see I got {{TOKEN}} and cog_made_up"
    assert kept.sent[2]["prompt"] == f"again I got {TOKEN} and {{{{DEVIN_API_KEY}}}}"


def test_fields_that_only_the_service_reads_get_the_value():
    kept = Kept()
    secrets = [{"key": "T", "value": "{{TOKEN}}"}]
    made = chain(devin("d", "p", playbookId="{{NAME}}", tags="a,{{N}}", sessionSecrets=secrets))
    assert opened(kept).run(made, env=ENV).success
    (sent,) = kept.sent
    assert sent["playbook_id"] == "main"
    assert sent["tags"] == ["a", "42"]
    assert sent["session_secrets"][0]["value"] == TOKEN


@pytest.mark.parametrize(
    ("field", "value", "wire"),
    [
        ("title", "t {{TOKEN}}", "title"),
        ("structuredOutputSchema", '{"type": "object", "title": "{{TOKEN}}"}', None),
        ("attachmentUrls", ["https://files.example/{{NAME}}"], "attachment_urls"),
        ("extraBody", {"new_text": "{{TOKEN}}"}, "new_text"),
    ],
)
def test_other_fields_that_devin_reads_do_not(field, value, wire):
    kept = Kept()
    assert opened(kept).run(chain(devin("d", "p", **{field: value})), env=ENV).success
    (sent,) = kept.sent
    wanted = json.loads(value) if wire is None else value
    found = sent["structured_output_schema" if wire is None else wire]
    assert found == (wanted["new_text"] if field == "extraBody" else wanted)


@pytest.mark.parametrize(
    "asking",
    [
        block("m", "agent", systemPrompt="{{TOKEN}}", userPrompt="<f.result>", model="m"),
        block("m", "agent", messages=[{"role": "user", "content": "{{TOKEN}}"}], model="m"),
        block("m", "agent", messages='[{"role": "user", "content": "<f.result.x>"}]', model="m"),
        block(
            "m",
            "agent",
            userPrompt="u",
            model="m",
            responseFormat='{"type": "object", "properties": {"{{TOKEN}}": {"title": "x"}}}',
        ),
        block(
            "m",
            "router_v2",
            context="<f.result>",
            routes=[{"id": "r", "value": "{{TOKEN}}"}],
            model="m",
        ),
        block("m", "router", prompt="<f.result> {{TOKEN}}", model="m"),
        block("m", "evaluator", content="<f.result>", metrics=[{"name": "{{TOKEN}}"}], model="m"),
    ],
    ids=["texts", "messages", "messages as text", "format", "router", "old router", "evaluator"],
)
def test_no_model_is_shown_a_value(asking):
    model = Asked()
    made = chain(block("f", "function", code="return {x: 'k' + {{TOKEN}}}"), asking)
    opened(llm=model).run(made, env=ENV)
    assert model.asked
    assert TOKEN not in model.text
    assert "{{TOKEN}}" in model.text


def test_a_tool_that_an_agent_calls_gets_the_key_and_no_value_in_its_prompt():
    kept = Kept({"title": "you sent cog_made_up"})
    params = {"apiKey": "{{DEVIN_API_KEY}}", "orgId": "{{ORG}}", "prompt": "with {{TOKEN}}"}
    entry = {"type": "devin", "operation": "create_session", "params": params}
    model = Asked(("devin_create_session", {}))
    made = chain(block("m", "agent", userPrompt="go", model="m", tools=[entry]))
    result = opened(kept, llm=model).run(made, env=ENV)
    assert result.success, result.error
    (request,) = kept.requests
    assert request.headers["Authorization"] == "Bearer cog_made_up"
    assert request.url.endswith("/organizations/org-env/sessions")
    assert request.json["prompt"] == "with {{TOKEN}}"
    assert "you sent {{DEVIN_API_KEY}}" in model.text
    (warning,) = result.warnings
    assert warning.startswith("m.tools: ")
    assert "{{TOKEN}}" in warning
    assert "API_KEY" not in warning


def test_an_agent_is_not_told_the_apps_own_key_by_a_service_that_repeats_it():
    key = "cog_made_up"
    kept = Kept({"title": f"you sent {key}"})
    model = Asked(("devin_create_session", {"prompt": "p"}))
    entry = {"type": "tool", "toolId": "devin_create_session", "params": {}}
    app = sim_devin.open_app(
        transport=kept,
        llm=model,
        discover=False,
        env={},
        credentials={"apiKey": key, "orgId": "org-test"},
    )
    made = chain(block("m", "agent", userPrompt="go", model="m", tools=[entry]))
    assert app.run(made, env={}).success
    assert "you sent ***" in model.text
    assert key not in model.text


SESSION = [{"key": "K", "value": "made-up session secret"}]


@pytest.mark.parametrize(
    ("params", "secret"),
    [
        ({"apiKey": "made-up-own-key"}, "made-up-own-key"),
        ({"sessionSecrets": SESSION}, "made-up session secret"),
        ({"sessionSecrets": json.dumps(SESSION)}, "made-up session secret"),
    ],
    ids=["key", "list", "text"],
)
def test_no_model_is_told_what_a_person_fixed_as_a_secret_of_its_tool(params, secret):
    fixed = {"apiKey": "cog_made_up", "orgId": "org-test", **params}
    entry = {"type": "tool", "toolId": "devin_create_session", "params": fixed}
    model = Asked(("devin_create_session", {"prompt": "p"}))
    made = chain(block("m", "agent", userPrompt="go", model="m", tools=[entry]))
    result = opened(Kept({"title": f"you sent {secret}"}), llm=model).run(made, env={})
    assert result.success, result.error
    assert "you sent ***" in model.text
    assert secret not in model.text
    assert secret not in json.dumps([log.to_json() for log in result.logs])


def test_the_run_says_it_once_for_each_field():
    events = []
    made = chain(
        block("f", "function", code="return {{TOKEN}}"),
        devin("d", "{{TOKEN}} {{NAME}} {{UNSET}}"),
        devin("e", "<f.result>"),
        devin("g", "<start.task>"),
    )
    result = opened().run(made, {"task": "main"}, env=ENV, on_event=events.append)
    assert result.success
    assert [text.partition(":")[0] for text in result.warnings] == ["d.prompt", "e.prompt"]
    assert "{{NAME}}, {{TOKEN}}" in result.warnings[0]
    assert "input" in result.warnings[0]
    assert TOKEN not in "".join(result.warnings)
    assert result.to_json()["warnings"] == result.warnings
    told = [event.to_json() for event in events if event.kind == "block.warning"]
    assert [(item["blockId"], item["field"]) for item in told] == [("d", "prompt"), ("e", "prompt")]


def test_a_run_that_nobody_listens_to_says_it_in_the_log(caplog):
    assert opened().run(chain(devin("d", "{{TOKEN}}"), devin("e", "{{TOKEN}}")), env=ENV).success
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [text.partition(": ")[2][:9] for text in warned] == ["d.prompt:", "e.prompt:"]
    assert TOKEN not in caplog.text


def test_check_says_it_once_for_each_field():
    params = {"apiKey": "{{DEVIN_API_KEY}}", "prompt": "{{TOKEN}}"}
    entry = {"type": "devin", "operation": "create_session", "params": params}
    made = chain(
        block("f", "function", code="return {{TOKEN}}"),
        devin("d", "{{TOKEN}} {{NAME}} {{TOKEN}}", tags="{{NAME}}"),
        devin("e", "<f.result> <d.title>"),
        devin("g", "<start.task> <d.title>"),
        block("m", "agent", userPrompt="{{TOKEN}}", model="m", tools=[entry]),
    )
    found = [
        item for item in check(made, AppServices(opened()), env=ENV) if "a model reads" in item.text
    ]
    assert [(item.place, item.level) for item in found] == [
        ("d.prompt", "warning"),
        ("e.prompt", "warning"),
        ("m.tools", "warning"),
        ("m.userPrompt", "warning"),
    ]
    assert all("workflow variable" in item.hint for item in found)


def test_a_run_from_a_block_knows_where_the_earlier_outputs_came_from():
    app = opened()
    before = chain(block("f", "function", code="return {{TOKEN}}"), devin("d", "<f.result>"))
    earlier = app.run(before, env=ENV)
    now = chain(block("f", "function", code="return 1"), devin("d", "now <f.result>"))
    snapshot = json.loads(json.dumps(earlier.snapshot))
    assert prompt_of(now, from_block="d", snapshot=snapshot) == "now {{TOKEN}}"


PAUSED = chain(
    block("f", "function", code="return {t: {{TOKEN}}, n: {{NAME}}}"),
    block("v1", "variables", variables=[{"variableName": "v", "value": "{{TOKEN}}"}]),
    block("h", "human_in_the_loop", inputFormat=[{"name": "ok", "type": "string"}]),
    devin("d", "<f.result.t> <f.result.n> <variable.v> <h.ok>"),
    variables=variable("v"),
)
SENT = "{{TOKEN}} {{NAME}} {{TOKEN}} the main one"


def test_it_holds_after_a_pause_in_another_process():
    paused = opened().run(PAUSED, env=ENV)
    state = json.loads(json.dumps(paused.snapshot))
    kept = Kept()
    services = AppServices(opened(kept))
    result = engine.resume(state, {"ok": "the main one"}, services=services, env=ENV)
    assert result.success, result.error
    assert kept.sent[-1]["prompt"] == SENT


def test_it_holds_in_a_durable_run_another_process_goes_on_with_and_in_a_fork(tmp_path):
    clock = SimClock(speed=0)
    simulator = Simulator(clock=clock, seed=1)

    def process():
        return sim_devin.open_app(
            transport=SimulatedTransport(clock, simulator),
            clock=clock,
            env=ENV,
            discover=False,
            store=open_store(tmp_path / "runs.sqlite"),
        )

    first = process()
    run_id = first.runs.start(PAUSED, env=ENV)
    first.runs.follow(run_id)
    first.close()
    second = process()
    second.runs.answer(run_id, {"ok": "the main one"})
    result = second.runs.follow(run_id)
    assert result.success, result.error
    assert [text.partition(":")[0] for text in result.warnings] == ["d.prompt"]
    fork = second.runs.fork(run_id, "d")
    assert second.runs.follow(fork).success
    sessions = second.call("devin_list_sessions", {"orgId": "org-env"})["sessions"]
    texts = [
        second.call(
            "devin_list_session_messages", {"sessionId": item["sessionId"], "orgId": "org-env"}
        )["messages"][0]["message"]
        for item in sessions
    ]
    assert texts == [SENT, SENT]


def test_blocks_and_tools_of_plugins_say_what_models_read():
    heard = []
    text = {"type": "object", "properties": {"ask": {"type": "string"}, "to": {"type": "string"}}}
    tool = ToolSpec(
        id="acme_ask",
        title="Ask",
        description="Asks.",
        params=text,
        output={"type": "object", "properties": {"said": {}}},
        traits={"modelInput": ["ask"]},
        run=lambda params, _: heard.append(params) or {},
    )
    over_it = BlockSpec(type="acme", title="Acme", operations={"ask": "acme_ask"})
    fields = (BlockField(id="ask", modelInput=True), BlockField(id="to"))
    own = BlockSpec(type="acme_own", title="Own", fields=fields, outputs={"x": {}})

    class Plugin:
        @hookimpl
        def sim_devin_specs(self):
            return Specs(tools=(tool,), blocks=(over_it, own))

        @hookimpl
        def sim_devin_handlers(self):
            return {"acme_own": lambda block: heard.append(dict(block.values)) or {}}

    texts = {"ask": "{{TOKEN}}", "to": "{{TOKEN}}"}
    made = chain(block("a", "acme", **texts), block("b", "acme_own", **texts))
    result = opened(plugins=[Plugin()]).run(made, env=ENV)
    assert result.success, result.error
    assert heard == [{"ask": "{{TOKEN}}", "to": TOKEN}] * 2


def test_events_of_a_pause_are_masked_by_name():
    events = []
    shown = [{"name": "auth", "type": "string", "value": "typed by hand"}]
    made = chain(block("h", "human_in_the_loop", builderData=shown))
    result = opened().run(made, on_event=events.append)
    assert "***" in json.dumps(result.pause_points)
    assert "typed by hand" not in json.dumps(result.pause_points)
    told = json.dumps([event.to_json() for event in events])
    assert "pausePoints" in told
    assert "typed by hand" not in told


def test_the_trait_stands_in_no_schema_that_is_sent_out():
    app = opened()
    for dialect in ("openai", "anthropic", "gemini", "mcp", "jsonschema"):
        assert "modelInput" not in json.dumps(app.function_schemas(dialect))


def test_a_literal_call_is_sent_as_it_was_typed():
    kept = Kept()
    app = opened(kept, env={"TOKEN": TOKEN})
    credentials = {"apiKey": "cog_made_up", "orgId": "o"}
    app.call("devin_create_session", {"prompt": f"{{{{TOKEN}}}} {TOKEN}", **credentials})
    assert kept.sent[0]["prompt"] == f"{{{{TOKEN}}}} {TOKEN}"


@given(
    st.text(min_size=6).filter(
        lambda text: text.strip() and "\x00" not in text and "{" not in text
    ),
    st.sampled_from(["", "json", "url", "nested"]),
)
def test_no_spelling_of_a_value_gets_through(secret, spelling):
    answer = {
        "": secret,
        "json": json.dumps({"k": secret}),
        "url": quote(secret, safe=""),
        "nested": [{"k": ["x" + secret + "y"]}],
    }[spelling]
    kept = Kept({"structured_output": {"echo": answer}})
    made = chain(devin("a", "p", tags=["{{SECRET}}"]), devin("b", "<a.structuredOutput.echo>"))
    env = ENV | {"SECRET": secret}
    result = opened(kept).run(made, env=env)
    if result.success:  # a tag may be too odd to be sent
        assert answer == "" or secret not in kept.sent[-1]["prompt"].replace("{{SECRET}}", "")
