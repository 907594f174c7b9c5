"""JSON Schema as validators in other languages read it: patterns, multiples, wrappers, numbers."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import sim_devin
from sim_devin.calls.response import Response
from sim_devin.cli.main import cli
from sim_devin.engine.workflow_check import check
from sim_devin.errors import InvalidParams
from sim_devin.runs.services import AppServices
from sim_devin.simulator import SimClock
from sim_devin.simulator.schema_check import fits, matches
from sim_devin.simulator.schema_example import instance
from sim_devin.specs import json_schema, patterns
from sim_devin.specs.helper_process import HelperPool
from sim_devin.specs.schema import Checker
from tests.workflow.fakes import block, document, edge

ENV = {"DEVIN_API_KEY": "cog_made_up", "DEVIN_ORG_ID": "org-test"}
SESSION = {"session_id": "devin-1", "url": "u", "status": "exit", "structured_output": {"a": "1"}}


class Service:
    """Answers everything with a finished session, and keeps the requests."""

    def __init__(self, output=None):
        self.requests = []
        self.session = {**SESSION, "structured_output": output or {"a": "1"}}

    def send(self, request, *, timeout):
        self.requests.append(request)
        body = {"items": [self.session], **self.session}
        return Response(200, {"content-type": "application/json"}, json.dumps(body).encode())


def opened(service, **options):
    return sim_devin.open_app(transport=service, env=ENV, discover=False, **options)


def flow(*blocks):
    ids = ["start", *(item["id"] for item in blocks)]
    edges = [edge(ids[n], ids[n + 1]) for n in range(len(blocks))]
    return document([block("start", "start_trigger"), *blocks], edges)


def devin(operation="create_session", **values):
    credentials = {"apiKey": "{{DEVIN_API_KEY}}", "orgId": "org-test"}
    return block("d", "devin", operation=operation, **{"prompt": "p", **credentials, **values})


def fitting(value, schema, draft="draft 2020-12"):
    return not json_schema.errors(value, schema, "schema", draft)


# What `new RegExp(pattern, "u").test(text)` gives, or without the flag where that throws.
TESTED = [
    (r"^\d+$", "12", True),
    (r"^\d+$", "12\n", False),
    (r"^\d+$", "١٢", False),
    (r"^\w+$", "é", False),
    (r"^\p{L}+$", "éß中", True),
    (r"^\p{L}+$", "e1", False),
    (r"^\p{Script=Greek}$", "λ", True),
    (r"^(?<y>\d{4})-(?<m>\d\d)$", "2026-11", True),
    (r"^.$", "😀", True),
    (r"^[😀-😎]$", "😃", True),
    (r"^\u{1F600}$", "😀", True),
    (r"^a.b$", "a\nb", False),
    (r"^a.b$", "a\u2028b", False),
    (r"^\s$", "\ufeff", True),
    (r"^[\w-.]+$", "a-b.c", True),
    (r"^\-\_$", "-_", True),
    (r"(?<=\$)\d+", "costs $5", True),
    (r"(?<!\$)\b\d+", "costs $5", False),
    (r"^(a)\1$", "aa", True),
    (r"[^]", "\n", True),
    (r"\Z", "Z", True),
    (r"^\cJ$", "\n", True),
    ("^a$", "a\0", False),
    ("^.$", "\ud83d", True),
]


@pytest.mark.parametrize(("pattern", "text", "found"), TESTED)
@pytest.mark.parametrize("draft", ["draft 7", "draft 2020-12"])
def test_patterns_are_those_of_javascript(pattern, text, found, draft):
    assert fitting(text, {"pattern": pattern}, draft) is found
    assert fitting({text: 1}, {"patternProperties": {pattern: {"type": "string"}}}) is not found
    closed = {"patternProperties": {pattern: {}}, "additionalProperties": False}
    assert fitting({text: 1}, closed, draft) is found
    assert fitting({text: 1}, {"propertyNames": {"pattern": pattern}}, draft) is found
    rest = {"allOf": [{"patternProperties": {pattern: {}}}], "unevaluatedProperties": False}
    assert fitting({text: 1}, rest) is found
    assert matches(pattern, text.replace("\ud83d", "x")) is found
    assert list(json_schema.problems({"pattern": pattern}, draft)) == []


@pytest.mark.parametrize("pattern", ["[", "(", "a{2,1}", "(?P<y>a)", "*", "(?<y>a)(?<y>b)"])
def test_what_is_no_pattern_of_javascript_is_refused_with_its_place(pattern):
    for schema, place in (
        ({"properties": {"a": {"pattern": pattern}}}, "properties.a.pattern"),
        ({"allOf": [{"patternProperties": {pattern: {}}}]}, "allOf.0.patternProperties"),
    ):
        ((where, text),) = json_schema.problems(schema, "draft 7")
        assert where == place
        assert "is not a regular expression" in text
        with pytest.raises(InvalidParams, match="pattern"):
            opened(Service()).wait("devin-1", schema=schema)
    assert not fitting("a", {"pattern": pattern})


@pytest.fixture
def quick(monkeypatch):
    """Make the deadline of a pattern short."""
    monkeypatch.setattr(patterns, "DEADLINE", 0.05)
    monkeypatch.setattr(patterns, "_slow", {})
    pool = HelperPool(patterns._start)
    monkeypatch.setattr(patterns, "_pool", pool)
    yield
    pool.close()


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", r"(x+x+)+y", "^(?!(a+)+$)a"])
def test_a_pattern_that_takes_for_ever_ends_at_its_deadline(pattern, quick):
    text = "a" * 60 + "b" + "x" * 60
    (error,) = json_schema.errors(text, {"pattern": pattern}, "schema", "draft 7")
    assert "took longer than 0.05 s" in error.message
    (error,) = json_schema.errors({text: 1}, {"patternProperties": {pattern: {}}}, "s", "draft 7")
    assert "took longer than 0.05 s" in error.message
    checker = Checker(
        {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    )
    (problem,) = checker.problems({"a": text}, {"a": text})
    assert problem.startswith("a: got ")
    assert fitting("b", {"pattern": "^b$"})


def test_a_pattern_that_breaks_the_engine_breaks_a_helper_alone(quick):
    ((_, text),) = json_schema.problems({"pattern": "(" * 200_000 + ")" * 200_000})
    assert "too large for the regular" in text or "took longer" in text
    assert fitting("b", {"pattern": "^b$"})


def test_the_simulator_does_not_try_a_pattern_for_ever():
    slow = {"type": "string", "pattern": "^([0-9a-f-]+)+x$"}
    assert instance({"required": ["a"], "properties": {"a": slow}}) == {}
    made = instance({"required": ["a"], "properties": {"a": {"pattern": r"^\p{Lu}{3}-\d+$"}}})
    assert made == {"a": "ABC-123"}
    assert fits({"a": 19.99}, {"properties": {"a": {"multipleOf": 0.01}}})


def test_the_engine_of_patterns_is_not_loaded_into_the_caller():
    code = (
        "import sys; from sim_devin.specs import json_schema as j;"
        "print(len(j.errors('b', {'pattern': 'a'}, 's', 'draft 7')), 'regress' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


def test_a_helper_for_patterns_that_was_killed_is_replaced():
    assert fitting("a", {"pattern": "^a$"})
    for helper in patterns._pool._idle:
        helper.kill()
    assert fitting("a", {"pattern": "^a$"})


@pytest.mark.parametrize(
    ("step", "value", "is_one"),
    [
        (0.01, 19.99, True),
        (0.01, 19.999, False),
        (0.1, 0.3, True),
        (1e-8, 0.00012345, True),
        (3, 10**400, False),
        (3, 3 * 10**400, True),
        (0.01, 10**400, True),
        (7, 1e308, False),
        (0.3, 1e308, False),
        (2.5, float("inf"), False),
        (0.01, float("nan"), False),
        (1e-300, 1e300, True),
        (0.01, True, True),
        (0.01, "x", True),
    ],
)
@pytest.mark.parametrize("draft", ["draft 7", "draft 2020-12"])
def test_multiples_are_exact_and_never_overflow(step, value, is_one, draft):
    assert fitting(value, {"multipleOf": step}, draft) is is_one


@given(st.integers(-(10**14), 10**14), st.integers(1, 12))
def test_what_has_n_decimals_is_a_multiple_of_the_nth_power_of_ten(number, decimals):
    value = float(f"{number}e-{decimals}")
    assert fitting(value, {"multipleOf": float(f"1e-{decimals}")})
    coarse = {"multipleOf": float(f"1e{1 - decimals}")}
    assert fitting(value, coarse) is (number % 10 == 0)


WHOLE = {"type": "object", "properties": {"a": {"type": "string"}}}
WRAPPED = [
    {"name": "result", "schema": WHOLE, "strict": True},
    {"schema": WHOLE},
    {"type": "json_schema", "json_schema": {"name": "result", "schema": WHOLE}},
]


@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.parametrize("as_text", [True, False])
def test_the_schema_in_a_wrapper_is_the_schema(wrapped, as_text):
    given_as = json.dumps(wrapped) if as_text else wrapped
    for output, fits_schema in (({"a": "1"}, True), ({"a": 1}, False)):
        service = Service(output)
        app = opened(service)
        app.call("devin_create_session", {"prompt": "p", "structuredOutputSchema": given_as})
        assert service.requests[-1].json["structured_output_schema"] == WHOLE
        waited = app.call(
            "devin_wait_for_session", {"sessionId": "1", "structuredOutputSchema": given_as}
        )
        assert (waited["outcome"] == "done") is fits_schema
        found = app.run(flow(devin("get_session", sessionId="1", structuredOutputSchema=given_as)))
        assert found.success is fits_schema
        app.run(flow(devin(structuredOutputSchema=given_as)), env=ENV)
        assert service.requests[-1].json["structured_output_schema"] == WHOLE
        if not as_text:
            assert (app.wait("devin-1", schema=wrapped)[0].state == "done") is fits_schema


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_a_durable_wait_takes_the_schema_out_of_its_wrapper(wrapped):
    app = opened(Service({"a": 1}), clock=SimClock(speed=0))
    waiting = block(
        "w", "devin_wait", sessionId="1", structuredOutputSchema=wrapped,
        apiKey="{{DEVIN_API_KEY}}", orgId="org-test",
    )  # fmt: skip
    run_id = app.runs.start(flow(waiting), env=ENV)
    result = app.runs.follow(run_id)
    assert result.block_outputs["w"]["outcome"] == "ended", result
    app.close()


def test_check_says_what_is_wrong_with_a_schema_before_the_run():
    broken = {"properties": {"a": {"pattern": "["}}}
    legacy = {"properties": {"a": {"pattern": r"[\w-.]"}}}
    asking = [
        block(f"m{n}", "agent", userPrompt="u", model="m", responseFormat={"schema": schema})
        for n, schema in enumerate((broken, legacy))
    ]
    made = flow(devin(structuredOutputSchema=json.dumps(broken)), *asking)
    found = [
        (item.place, item.level, item.text)
        for item in check(made, AppServices(opened(Service())))
        if "schema" in item.text or "pattern" in item.text
    ]
    assert [item[:2] for item in found] == [
        ("d.structuredOutputSchema", "error"),
        ("m0.responseFormat", "warning"),
        ("m1.responseFormat", "warning"),
    ]
    assert "the pattern '['" in found[0][2]
    assert "flag u" in found[2][2]
    assert not opened(Service()).run(flow(devin(structuredOutputSchema=broken)), env=ENV).success


def test_a_number_where_text_is_wanted_is_that_text_on_every_way_in():
    given = {"prompt": "p", "title": 2024, "tags": [7]}
    service = Service()
    app = opened(service)
    app.call("devin_create_session", given)
    assert not app.call_function("devin_create_session", json.dumps(given)).is_error
    run = app.run(flow(devin(title=2024, tags="[7]")), env=ENV)
    assert run.success, run.error
    referred = flow(
        block("f", "function", code="return {year: 2024}"), devin(title="<f.result.year>", tags="7")
    )
    run = app.run(referred, env=ENV)
    assert run.success, run.error
    with sim_devin.Devin(api_key="cog_made_up", org_id="org-test", transport=service) as client:
        client.create_session("p", title=2024, tags=["7"])
    shown = CliRunner().invoke(
        cli,
        ["call", "devin_create_session", "--dry-run", "--json", json.dumps(given)],
        env={**ENV, "SIM_DEVIN_CONFIG": "/dev/null"},
    )
    bodies = [request.json for request in service.requests if request.method == "POST"]
    assert shown.exit_code == 0, shown.output
    bodies.append(json.loads(shown.output)["json"])
    assert [(body["title"], body["tags"][0]) for body in bodies] == [("2024", "7")] * 6
