"""The reader of JSON from outside: what it takes can go anywhere, the rest is an error."""

import json
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sim_devin
from sim_devin.errors import CallerError
from sim_devin.redaction import Redactor
from sim_devin.specs.json_input import DEEPEST, NotJson, parse_json, problem_of, read_json
from sim_devin.web.json_text import rewrite
from tests.durable.flows import block, flow

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters())
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner)
)


@given(VALUES, st.booleans())
def test_every_json_value_is_read_as_it_is(value, ascii_only):
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only)) == value


@given(st.text(st.characters()) | st.text('[]{}",:0123456789eE+-NaInfity\\u tru', max_size=30))
def test_a_text_is_read_or_refused_in_words(text):
    try:
        value = parse_json(text)
    except NotJson as error:
        value, why = None, str(error)
    else:
        why = ""
    assert why.startswith(
        ("", "is not JSON", "contains a number", "is nested too deeply")[bool(why) :]
    )
    assert problem_of(value) == ""
    json.dumps(value, allow_nan=False)


@given(st.binary())
def test_bytes_are_read_or_refused(data):
    why = ""
    try:
        parse_json(data)
    except NotJson as error:
        why = str(error)
    assert len(why) < 200


BAD = {
    "deep lists": "[" * 200 + "]" * 200,
    "lists without an end": "[" * 100_000,
    "deep objects": '{"a":' * 200 + "1" + "}" * 200,
    "very deep objects": '{"a":' * 5000 + "1" + "}" * 5000,
    "not a number": "[NaN]",
    "infinity": "[Infinity]",
    "minus infinity": '{"a": -Infinity}',
    "a float that is too large": "[1e999]",
    "a negative float that is too large": "[-1e999]",
    "an integer that is too large": "[" + "9" * 400 + "]",
    "an integer of very many digits": "[" + "9" * 6000 + "]",
    "nothing": "",
    "two values": "{}{}",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_cannot_be_taken_is_refused(text):
    with pytest.raises(CallerError, match=r"^The file ") as caught:
        read_json(text, "The file")
    assert len(str(caught.value)) < 200
    with pytest.raises(CallerError):
        read_json(text.encode(), "The file")


def test_what_is_as_deep_as_allowed_can_go_everywhere():
    text = '{"a":' * DEEPEST + "1" + "}" * DEEPEST
    value = parse_json(text)
    assert Redactor(["secret"]).data(value) == value
    assert rewrite(text, json.loads(text)) == text
    assert rewrite("", value)
    with pytest.raises(NotJson):
        parse_json(f"[{text}]")


def test_a_byte_order_mark_is_not_part_of_the_value():
    assert parse_json("\ufeff{}") == parse_json(b"\xef\xbb\xbf{}") == {}


def nested(levels):
    value = "x"
    for _ in range(levels):
        value = [value]
    return value


def circle():
    value = {}
    value["self"] = value
    return value


HANDED_IN = {
    "nan": {"a": math.nan},
    "infinity": [math.inf],
    "a whole number that is too large": {"a": [10**400]},
    "deep": {"a": nested(500)},
    "deeper than Python goes": {"a": nested(sys.getrecursionlimit() * 2)},
    "in a circle": circle(),
}


@pytest.mark.parametrize("value", HANDED_IN.values(), ids=HANDED_IN)
def test_what_a_program_hands_in_is_refused_before_anything_runs(value):
    workflow = flow(block("f", "function", code="return 1"))
    with sim_devin.open_app(simulate=True, env={}, discover=False) as app:
        with pytest.raises(CallerError, match="input"):
            app.run(workflow, value)
        with pytest.raises(CallerError, match="input"):
            app.runs.start(workflow, value)
        with pytest.raises(CallerError):
            app.call("devin_create_session", {"prompt": "x", "structuredOutputSchema": value})
        run_id = app.runs.start(workflow)
        with pytest.raises(CallerError, match="answer"):
            app.runs.answer(run_id, value)
        bad = flow(block("f", "function", code=value))
        with pytest.raises(CallerError, match="the document"):
            app.run(bad)
        with pytest.raises(CallerError, match="the document"):
            app.runs.start(bad)
        assert [run["runId"] for run in app.runs.list()] == [run_id]
