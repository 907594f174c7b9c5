"""Whatever comes in, out come an output or a SimDevinError; whatever happens, no key is told."""

import json
import logging
import os
import pickle
import traceback
from contextlib import contextmanager

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sim_devin import open_app
from sim_devin.calls.response import Response
from sim_devin.errors import NotSent, SimDevinError, TimedOut, TransportError
from tests.lanes import examples

ENV = {"SIM_DEVIN_CONFIG": os.devnull}
CREDENTIALS = {"apiKey": "cog_test_key_000000", "orgId": "org-test"}


class Answering:
    """A transport that gives one answer, or raises one error."""

    def __init__(self, answer):
        self.answer = answer

    def send(self, request, *, timeout):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def app_with(answer=None, key=CREDENTIALS["apiKey"]):
    credentials = {**CREDENTIALS, "apiKey": key}
    return open_app(
        transport=Answering(answer), credentials=credentials, env=ENV, discover=False, retries=0
    )


APP = app_with()
TOOLS = [tool for tool in APP.registry.tools if APP.registry.tools[tool].request]
PARAMS = sorted({name for tool in TOOLS for name in APP.registry.tools[tool].properties})
WIRE_KEYS = [
    *("session_id", "status", "tags", "items", "title", "pull_requests", "end_cursor", "total"),
    *("detail", "error", "message", "errors", "type", "loc", "msg", "structured_output", "url"),
]


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


tools = st.sampled_from(TOOLS)
texts = st.text(max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WIRE_KEYS) | texts, inner, max_size=6)
    ),
    max_leaves=12,
)
odd_values = st.sampled_from(
    [
        b"bytes",
        {1, 2},
        object(),
        (1, 2),
        {1: 2},
        10**400,
        10**5000,
        -(10**5000),
        1j,
        float("nan"),
        nested(100),
        nested(100_000),
        {"a": nested(2000)},
        "9" * 10_000,
        "0x" + "f" * 10_000,
        "[" * 10_000,
        ["a", 10**5000],
        {"a": 10**5000},
        "\ud800",
        print,
    ]
)
param_values = json_values | odd_values
param_maps = st.dictionaries(
    st.sampled_from([*PARAMS, "apiKey", "orgId"]) | texts, param_values, max_size=8
)
bodies = st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode())
headers = st.dictionaries(
    st.sampled_from(["Retry-After", "content-type", "x-request-id"]) | texts, texts, max_size=3
)
statuses = st.integers() | st.sampled_from([200, 201, 204, 302, 400, 401, 402, 403, 404, 409, 429])
answers = st.builds(
    Response, statuses, headers.map(lambda h: {k.lower(): v for k, v in h.items()}), bodies
)
failures = st.builds(
    lambda kind, text: kind(text),
    st.sampled_from([NotSent, TimedOut, TransportError]),
    st.text(min_size=1).filter(str.strip),
)


def outcome(function, *args, **kwargs):
    """Return the output or the SimDevinError; anything else fails the test."""
    try:
        return function(*args, **kwargs)
    except SimDevinError as error:
        told = error
    assert str(told)
    assert json.dumps(told.to_json())
    assert str(pickle.loads(pickle.dumps(told))) == str(told)
    return told


@given(tools, statuses, headers, bodies)
def test_any_answer_is_an_output_or_an_error(tool, status, headers, body):
    output = outcome(APP.read_response, tool, status, body=body, headers=headers)
    if not isinstance(output, SimDevinError):
        assert 200 <= status < 300 or status in (400, 409)
        assert list(output) == list(APP.registry.tools[tool].answer["properties"])
        json.dumps(output, allow_nan=False)


@given(tools, st.integers(200, 599), json_values)
def test_any_payload_is_an_output_or_an_error(tool, status, payload):
    outcome(APP.read_response, tool, status, payload=payload)


@pytest.mark.parametrize("levels", [10, 1000, 100_000])
def test_deeply_nested_answers(levels):
    body = b"[" * levels + b"]" * levels
    for status in (200, 400, 500):
        for text in (body, b'{"detail":' + body + b"}", b'{"session_id":' + body + b"}"):
            outcome(APP.read_response, "devin_get_session", status, body=text)


@given(tools, param_maps)
def test_any_parameters_are_a_request_or_an_error(tool, params):
    request = outcome(APP.build_request, tool, params)
    if not isinstance(request, SimDevinError):
        json.dumps(request.json, allow_nan=False)
        request.url.encode("ascii")
        given = {name for name, value in params.items() if value not in (None, "")}
        assert not given - set(APP.registry.tools[tool].properties) - {"apiKey", "orgId"}


@pytest.mark.parametrize("name", PARAMS)
@settings(max_examples=examples(25))
@given(value=param_values)
def test_any_value_of_each_parameter(name, value):
    good = {
        "sessionId": "devin-1", "prompt": "p", "message": "m", "tags": ["t"],
    }  # fmt: skip
    for tool in TOOLS:
        spec = APP.registry.tools[tool]
        if name in spec.properties:
            params = {need: good[need] for need in spec.required} | {name: value}
            request = outcome(APP.build_request, tool, params)
            if not isinstance(request, SimDevinError):
                json.dumps(request.json, allow_nan=False)
                request.url.encode("ascii")


@given(
    st.dictionaries(
        st.sampled_from([*PARAMS, "operation", "terminateArchive", "filterTags", "apiKey"]) | texts,
        param_values | st.sampled_from(list(APP.registry.blocks["devin"].operations)),
        max_size=8,
    )
)
def test_any_values_of_the_block_are_a_plan_or_an_error(values):
    planned = outcome(APP.plan_block, "devin", values)
    if not isinstance(planned, SimDevinError):
        tool, params = planned
        assert set(params) <= set(APP.registry.tools[tool].properties) | {"apiKey", "orgId"}
        outcome(APP.build_request, tool, params)


@given(tools, answers | failures, st.booleans())
def test_any_call_is_an_output_or_an_error(tool, answer, sendable):
    good = {"sessionId": "devin-1", "prompt": "p", "message": "m", "tags": ["t"]}
    params = {name: good[name] for name in APP.registry.tools[tool].required} if sendable else {}
    outcome(app_with(answer).call, tool, params)


# -- keys ------------------------------------------------------------------------------------

keys = st.text(min_size=8, max_size=40) | st.builds(
    "".join, st.lists(st.sampled_from(list("'\"\\%\n\t<>&*/ +é\u20ac\U0001f680abc_=")), min_size=8)
)


def echoes(key):
    """Return answers of a service that repeats the key, and failures that do."""
    text = f"the key {key} is no good"
    utf8 = text.encode("utf-8", "surrogatepass")
    plain = {"content-type": "text/plain"}
    told = {"x-request-id": key, "retry-after": key, "content-type": key, "location": key}
    problem = {"type": key, "title": text, "detail": text, "errors": [{"detail": key}]}
    fastapi = {"detail": [{"loc": ["header", key], "msg": text, "input": key}, key]}
    for status in (200, 302, 400, 401, 402, 403, 404, 409, 418, 422, 429, 500, 503):
        yield Response(status, plain, utf8)
        yield Response(status, told, json.dumps({"detail": text}).encode())
    for document in (problem, fastapi, {"error": {"message": key}}, {key: key}, key, [key]):
        yield Response(400, {"content-type": "application/json"}, json.dumps(document).encode())
        yield Response(200, {}, json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
    yield Response(502, {"content-type": "text/html"}, b"<html><p>" + utf8 + b"</p></html>")
    yield Response(502, {}, b"<html><p>" + utf8 + b"</p></html>")
    yield Response(400, plain, b"x" * 480 + utf8 * 3)
    for kind in (NotSent, TimedOut, TransportError):
        yield kind(text)


def told_of(error):
    """Yield every text of an error that could get out, and of those it came from."""
    yield from (str(error), repr(error), *strings(error.args), *strings(error.__dict__))
    yield "".join(traceback.format_exception(error))
    if isinstance(error, SimDevinError):
        yield from strings(error.to_json())
        yield str(pickle.loads(pickle.dumps(error)))
        yield pickle.dumps(error).decode("utf-8", "replace")
    if error.__context__ is not None:
        yield from told_of(error.__context__)


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from strings([*value, *value.values()])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings(item)


class Records(logging.Handler):
    """Keeps what is logged, the fields of the records included."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.texts = []

    def emit(self, record):
        self.texts += [record.getMessage(), str(record.__dict__)]


@contextmanager
def logged():
    logger, records = logging.getLogger("sim_devin"), Records()
    level = logger.level
    logger.addHandler(records)
    logger.setLevel(logging.DEBUG)
    try:
        yield records.texts
    finally:
        logger.removeHandler(records)
        logger.setLevel(level)


def everything_told(key):
    """Return every text that gets out of calls with `key` against a service that repeats it."""
    app = app_with(None, key)
    with logged() as told:
        for answer in echoes(key):
            app.transport.answer = answer
            told += [repr(app), repr(app.settings), repr(app.sender)]
            told += _told_by(app, answer)
    return told


def _told_by(app, answer):
    calls = [
        lambda: app.call("devin_create_session", {"prompt": "p"}),
        lambda: app.call("devin_get_session", {"sessionId": "devin-1"}),
        lambda: app.call("devin_get_session", {"sessionID": "", "limit": [1]}),
        lambda: repr(app.build_request("devin_list_sessions", {})),
    ]
    if isinstance(answer, Response):
        yield repr(answer)
        calls.append(
            lambda: app.read_response(
                "devin_get_session", answer.status, body=answer.body, headers=answer.headers
            )
        )
    for call in calls:
        try:
            result = call()
        except Exception as error:
            yield from told_of(error)
        else:
            if isinstance(result, str):
                yield result


def assert_untold(key, told):
    where = [text for text in told if key in text]
    if where:  # it may be a word we say anyway, such as "sessions"
        innocent = everything_told("\x01" * 40)
        assert any(key in text for text in innocent), where[0]


@settings(max_examples=examples(40))
@given(key=keys)
def test_no_key_is_ever_told(key):
    assume(key.strip())
    assert_untold(key, everything_told(key))


@settings(max_examples=examples(40))
@given(value=keys)
def test_no_session_secret_is_ever_told(value):
    assume(value.strip())
    params = {"prompt": "p", "sessionSecrets": [{"key": "TOKEN", "value": value}]}
    app = app_with()
    with logged() as told:
        for answer in echoes(value):
            app.transport.answer = answer
            for wrong in ({}, {"limit": 1}, {"sessionSecrets": [{"value": value, "no": 1}]}):
                try:
                    app.call("devin_create_session", params | wrong)
                except SimDevinError as error:
                    told += told_of(error)
            told.append(repr(app.build_request("devin_create_session", params)))
    assert_untold(value, told)
