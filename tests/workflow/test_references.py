import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_devin.code import javascript
from sim_devin.engine.javascript_text import Scanner, environment_literal, escaped, literal
from sim_devin.engine.names import is_declared
from sim_devin.engine.references import (
    MISSING,
    EnvName,
    Reference,
    json_text,
    normalize,
    parse_reference,
    split,
    value_text,
    walk,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<a.b>", ["<a.b>"]),
        ("x<a.b>y<c>", ["<a.b>", "<c>"]),
        ("<My Block.x>", ["<My Block.x>"]),
        ("<start.n>>1&&<start.n><9", ["<start.n>", "<start.n>"]),
        ("<a.files[0].name>", ["<a.files[0].name>"]),
        ("{{A}} and <x.y>{{B}}", ["{{A}}", "<x.y>", "{{B}}"]),
        ("{{ A }}", ["{{ A }}"]),
    ],
)
def test_what_is_a_reference(text, found):
    segments = [item for item in split(text) if not isinstance(item, str)]
    assert [item.text for item in segments] == found
    assert "".join(item if isinstance(item, str) else item.text for item in split(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "if (a <= b && c >= d)",
        "</b>",
        "<https://example.com>",
        "<start.n+1>",
        "< start.n>",
        "<start.n >",
        "<x.odd key>",
        "<12>",
        "{A}",
    ],
)
def test_what_is_left_alone(text):
    assert all(isinstance(item, str) for item in split(text))


@pytest.mark.parametrize(
    ("text", "head", "path"),
    [
        ("<a>", "a", ()),
        ("<a.b.c>", "a", ("b", "c")),
        ("<a.b[0][2].c>", "a", ("b", 0, 2, "c")),
        ("<a.0>", "a", (0,)),
        ("<a.b[-1]>", "a", ("b",)),
        ("<a.b[x]>", "a", ("b",)),
    ],
)
def test_paths(text, head, path):
    assert parse_reference(text) == Reference(text, head, path)


DATA = {"list": [{"n": 1}, {"n": None}], "text": "abc", "0": "zero"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((), DATA),
        (("list", 0, "n"), 1),
        (("list", 1, "n"), None),
        (("list", "length"), 2),
        (("list", 5), MISSING),
        (("list", 1, "n", "m"), MISSING),
        (("text", "length"), MISSING),
        ((0,), "zero"),
        (("nope",), MISSING),
    ],
)
def test_walking(path, value):
    assert walk(DATA, path) is value or walk(DATA, path) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        (None, "null"),
        (True, "true"),
        (1.0, "1"),
        (0.5, "0.5"),
        ({"a": [1.0, None, "é"]}, '{"a":[1,null,"é"]}'),
    ],
)
def test_values_as_text(value, text):
    assert value_text(value) == text


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (("any", "x", 0), True),
        (("text",), True),
        (("text", "length"), False),
        (("maybe", "x"), False),
        (("list", 0, "url"), True),
        (("list", 0, "nope"), False),
        (("list", "length"), True),
        (("object", "k"), True),
        (("object", "nope"), False),
        (("missing",), False),
    ],
)
def test_which_paths_a_declaration_allows(path, allowed):
    declared = {
        "any": {},
        "text": {"type": "string"},
        "maybe": {"type": ["integer", "null"]},
        "list": {"type": "array", "items": {"properties": {"url": {"type": "string"}}}},
        "object": {"type": "object", "properties": {"k": {}}},
    }
    assert is_declared(declared, path) == allowed


def test_names_are_compared_without_blanks_dots_and_case():
    assert normalize("My Get.Block 2") == "mygetblock2"


def test_environment_names_are_exact():
    assert split("{{ A }}")[0] == EnvName("{{ A }}", " A ")


@given(st.text())
def test_splitting_loses_nothing(text):
    assert "".join(item if isinstance(item, str) else item.text for item in split(text)) == text


# -- values in JavaScript ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("", "code"),
        ("a = '", "single"),
        ("a = 'it\\'s", "single"),
        ('"x" + "', "double"),
        ("`v: ", "template"),
        ("`v: ${a + ", "code"),
        ("`v: ${ {a: 1}.a } ", "template"),
        ("// it's", "line"),
        ("// it's\n", "code"),
        ("/* ' ", "block"),
        ("a / 2 + '", "single"),
        ("x.replace(/'/g, ", "code"),
        ("'open\n", "code"),
    ],
)
def test_the_scanner_knows_where_it_is(source, place):
    scanner = Scanner()
    scanner.feed(source)
    assert scanner.place == place


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
needs_engine = pytest.mark.skipif(not javascript.available(), reason="needs the extra [js]")


@given(JSON)
def test_a_literal_can_end_no_quotes(value):
    text = literal(value)
    assert text.isascii()
    assert "\n" not in text
    assert "'" not in text
    assert "`" not in text
    assert "*/" not in text
    assert "//" not in text


@needs_engine
@pytest.mark.parametrize(
    "value",
    ['it\'s "x" `y` ${z} \\ \n\u2028 */ // é 😀', {"k'\"": ["`", None, 1.5, True]}, [], "", -3],
)
def test_a_literal_is_read_back_as_the_value(value):
    assert javascript.run(f"return {literal(value)}", {}).value == value
    if isinstance(value, str):
        for quote in "'\"`":
            assert javascript.run(f"return {quote}{escaped(value)}{quote}", {}).value == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("3", "3"),
        ("-1.5", "-1.5"),
        ("true", "true"),
        ("null", "null"),
        ("007", '"007"'),
        ("x", '"x"'),
    ],
)
def test_environment_values_in_conditions(value, written):
    assert environment_literal(value) == written


def test_json_text_is_compact():
    assert json_text({"a": [1, 2]}) == '{"a":[1,2]}'
    assert json.loads(json_text({"a": float("nan")})) == {"a": None}
