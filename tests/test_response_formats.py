"""Response formats on the wire of each provider: the same objects fit them as before."""

import json
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("pydantic_ai")

import sim_devin
from sim_devin.llm.language_model import PydanticAiModel
from sim_devin.simulated import SimulatedModel
from sim_devin.specs import json_schema
from tests.workflow.fakes import block, document, edge

WORDS = "in words"


@pytest.fixture(scope="module")
def wire():
    """Return the environment of a model whose providers are all on loopback, and what they got."""
    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        env = {
            **{"OPENAI_API_KEY": "made-up", "OPENAI_BASE_URL": f"{url}/v1"},
            **{"ANTHROPIC_API_KEY": "made-up", "ANTHROPIC_BASE_URL": url},
            **{"GOOGLE_API_KEY": "made-up", "GOOGLE_GEMINI_BASE_URL": url},
        }
        try:
            yield PydanticAiModel(env, retries=0), got
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def sent(wire):
    """Return a function: what of a response format reaches the provider of a model."""
    return partial(_sent, *wire)


def _sent(llm, got, model, schema, **more):
    """Return (schema or `WORDS`, name, strict) as the provider got them."""
    wanted = {"name": "the report", "schema": schema, **more}
    got.clear()
    with pytest.raises(sim_devin.SimDevinError):
        llm.complete([{"role": "user", "content": "Hi"}], model=model, response_format=wanted)
    (body,) = got
    text = body.get("text", {}).get("format") or body.get("response_format", {})
    if text.get("type") == "json_schema":
        inner = text.get("json_schema", text)
        return inner["schema"], inner["name"], inner["strict"]
    if "output_config" in body:
        return body["output_config"]["format"]["schema"], None, None
    config = body.get("generationConfig", {})
    if "responseJsonSchema" in config:
        return config["responseJsonSchema"], config["responseJsonSchema"]["title"], None
    assert set(schema.get("properties", {})) <= set(json.dumps(body).replace("\\", "").split('"'))
    return WORDS, None, None


PROVIDERS = {
    "OpenAI responses": "gpt-4o",
    "OpenAI chat completions": "openai-chat:gpt-4o",
    "Anthropic": "claude-sonnet-5",
    "Gemini": "gemini-2.5-pro",
}
X = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
FREE = {
    "type": "object",
    "properties": {
        "any": {"type": "object"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["any"],
}
NODE = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "below": {"type": "array", "items": {"$ref": "#/$defs/node"}},
    },
    "required": ["label"],
}
CHOICE = [
    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
    {"properties": {"b": {"type": "integer"}, "a": {"type": "integer"}}, "required": ["b"]},
]
# name -> schema, objects that fit it, objects that do not
TABLE = {
    "plain": (X, [{"x": "a"}], [{}, {"x": 1}]),
    "optional": (
        {"type": "object", "properties": {"x": {"type": "string"}, "y": {"type": "integer"}}},
        [{}, {"x": "a"}, {"y": 1}],
        [{"y": "a"}],
    ),
    "objects of any shape": (
        FREE,
        [{"any": {}}, {"any": {"k": [1]}, "labels": {"l": "v"}}],
        [{"any": 1}, {"any": {}, "labels": {"l": 1}}],
    ),
    "an object of any shape": ({"type": "object"}, [{}, {"k": {"l": 1}}], []),
    "rows of such": (
        {"type": "object", "properties": {"rows": {"type": "array", "items": {"type": "object"}}}},
        [{"rows": []}, {"rows": [{"a": 1}, {}]}],
        [{"rows": [1]}],
    ),
    "a reference": ({"$ref": "#/$defs/x", "$defs": {"x": X}}, [{"x": "a"}], [{}, {"x": 1}]),
    "definitions": (
        {
            "type": "object",
            "properties": {"mode": {"$ref": "#/definitions/mode"}},
            "required": ["mode"],
            "definitions": {"mode": {"type": "string", "enum": ["fast", "slow"]}},
        },
        [{"mode": "fast"}],
        [{"mode": "other"}],
    ),
    "a choice": ({"anyOf": CHOICE}, [{"a": "x"}, {"b": 1}, {"b": 1, "a": 2}], [{"b": "x"}]),
    "one of several": ({"oneOf": CHOICE}, [{"a": "x"}, {"b": 1}], [{"b": "x"}]),
    "all of several": (
        {"allOf": [CHOICE[0], {"properties": {"n": {"type": "integer"}}, "required": ["n"]}]},
        [{"a": "x", "n": 1}],
        [{"a": "x"}, {"n": 1}, {"a": 1, "n": 1}],
    ),
    "all of several inside": (
        {
            "type": "object",
            "properties": {
                "p": {"allOf": [{"$ref": "#/$defs/x"}, {"properties": {"y": {"const": 1}}}]},
                "q": {"allOf": [{"$ref": "#/$defs/x"}], "description": "One."},
            },
            "required": ["p"],
            "$defs": {"x": X},
        },
        [{"p": {"x": "a"}}, {"p": {"x": "a", "y": 1}, "q": {"x": "b"}}],
        [{"p": {}}, {"p": {"x": "a", "y": 2}}],
    ),
    "null": (
        {
            "type": "object",
            "properties": {
                "t": {"type": ["string", "null"], "description": "T"},
                "e": {"enum": ["a", None]},
            },
            "required": ["t", "e"],
        },
        [{"t": None, "e": None}, {"t": "x", "e": "a"}],
        [{"t": 1, "e": "a"}, {"t": "x", "e": "b"}, {"t": "x"}],
    ),
    "constants": (
        {
            "type": "object",
            "properties": {"k": {"oneOf": [{"const": "a"}, {"const": "b"}]}},
            "required": ["k"],
        },
        [{"k": "a"}, {"k": "b"}],
        [{"k": "c"}],
    ),
    "made of itself": (
        {**NODE, "$defs": {"node": NODE}},
        [{"label": "a", "below": [{"label": "b", "below": []}]}],
        [{"label": "a", "below": [{"label": 1, "below": []}]}],
    ),
    "no type": ({"properties": {"x": {"type": "string"}}}, [{}, {"x": "a"}], [{"x": 1}]),
}
EVERY = [(provider, name) for provider in PROVIDERS for name in TABLE]
# Anthropic closes every object that it enforces, and takes no schema that is made of itself.
IN_WORDS = {
    ("Anthropic", "objects of any shape"),
    ("Anthropic", "an object of any shape"),
    ("Anthropic", "rows of such"),
    ("Anthropic", "made of itself"),
}


@pytest.mark.parametrize(("provider", "name"), EVERY)
def test_a_format_keeps_its_meaning(sent, provider, name):
    schema, fit, unfit = TABLE[name]
    got, called, _ = sent(PROVIDERS[provider], schema)
    assert (got == WORDS) is ((provider, name) in IN_WORDS)
    if got == WORDS:
        return
    assert called in ("the_report", None)
    assert got["type"] == "object"
    assert not {"$ref", "anyOf", "oneOf", "allOf", "definitions"} & set(got)
    assert fits(got, fit) == [True] * len(fit)
    assert fits(got, unfit) == [False] * len(unfit)


def fits(schema, values):
    checking = json_schema.validator(schema)
    return [checking.is_valid(value) for value in values]


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_what_is_not_to_be_strict_is_not(sent, provider):
    got, _, strict = sent(PROVIDERS[provider], X, strict=False)
    assert got != WORDS
    assert strict is (False if provider.startswith("OpenAI") else None)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_strict_is_kept_where_it_leaves_the_meaning(sent, name):
    """OpenAI requires every property then: an optional one may be null."""
    schema, fit, unfit = TABLE[name]
    got, _, strict = sent("openai-chat:gpt-4o", schema, strict=True)
    assert strict is ("any shape" not in name and name != "rows of such")
    if strict:
        names = list(got["properties"])
        assert (got["required"], got["additionalProperties"]) == (names, False)
        values = [{**dict.fromkeys(names), **value} for value in fit if not nested(value)]
        assert fits(got, values) == [True] * len(values)
        assert not any(fits(got, unfit))
    else:
        assert all(fits(got, fit))


def nested(value):
    return any(isinstance(item, (dict, list)) for item in value.values())


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_a_format_that_no_object_fits_is_said_in_words_or_sent_as_it_is(sent, provider):
    listed = {"type": "array", "items": {"type": "string"}}
    got, _, _ = sent(PROVIDERS[provider], listed)
    assert got == WORDS or got["type"] == "array"


# -- from the block --------------------------------------------------------------------------


class Kept(SimulatedModel):
    def complete(self, messages, *, response_format=None, **options):
        self.wanted = response_format
        return super().complete(messages, response_format=response_format, **options)


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (X, {"name": "response", "schema": X}),
        ({"name": "n", "schema": X}, {"name": "n", "schema": X}),
        ({"name": "n", "schema": X, "strict": True}, {"name": "n", "schema": X, "strict": True}),
        ({"schema": X, "strict": False}, {"name": "response", "schema": X, "strict": False}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": X, "strict": True}},
            {"name": "n", "schema": X, "strict": True},
        ),
        ("", None),
        ({}, None),
    ],
)
def test_name_and_strict_come_out_of_the_wrapper(written, wanted, as_text):
    llm = Kept()
    run(llm, json.dumps(written) if as_text and written else written)
    assert llm.wanted == wanted


@pytest.mark.parametrize("name", ["a reference", "all of several"])
def test_fields_of_a_rewritten_root_can_be_read(name):
    schema = TABLE[name][0]
    field = next(iter(TABLE[name][1][0]))
    result = run(SimulatedModel(), schema, told=f"<asker.{field}>")
    assert result.success, result.error
    assert isinstance(result.output["data"]["got"], str)


def run(llm, response_format, told="<asker.model>"):
    ask = block(
        "m",
        "agent",
        "Asker",
        model="gpt-4o",
        messages=[{"role": "user", "content": "Hi"}],
        responseFormat=response_format,
    )
    tell = block("t", "response", "Told", dataMode="json", data=json.dumps({"got": told}))
    start = block("s", "start_trigger", "Start")
    flow = document([start, ask, tell], [edge("s", "m"), edge("m", "t")])
    with sim_devin.open_app(simulate=True, llm=llm, env={}, discover=False) as app:
        return app.run(flow)
