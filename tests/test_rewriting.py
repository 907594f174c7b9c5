"""Schemas in other words mean the same, and say it in a way that others keep."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sim_devin.specs import json_schema
from sim_devin.specs.rewriting import as_object, branched

NULL = {"type": "null"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, {"type": "string"}),
        (
            {"type": ["string", "null"], "maxLength": 3, "description": "D", "default": "a"},
            {
                "anyOf": [{"type": "string", "maxLength": 3}, NULL],
                "description": "D",
                "default": "a",
            },
        ),
        ({"enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
        ({"const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"enum": ["a", None]}, {"anyOf": [{"type": "string", "enum": ["a"]}, NULL]}),
        (
            {"type": ["string", "null"], "enum": ["a", None]},
            {"anyOf": [{"type": "string", "enum": ["a"]}, NULL]},
        ),
        ({"type": ["string", "null"], "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
        ({"type": "object"}, {"type": "object", "additionalProperties": True}),
        (
            {"type": "object", "additionalProperties": {"type": ["integer", "null"]}},
            {
                "type": "object",
                "additionalProperties": {"anyOf": [{"type": "integer"}, NULL]},
            },
        ),
        (
            {"type": "object", "additionalProperties": False},
            {"type": "object", "additionalProperties": False},
        ),
        (
            {"oneOf": [{"const": "a"}, {"type": "integer"}]},
            {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "integer"}]},
        ),
        ({"description": "Anything."}, {"description": "Anything."}),
        ({"default": {"type": ["a", "b"]}}, {"default": {"type": ["a", "b"]}}),
    ],
)
def test_a_schema_in_other_words(schema, expected):
    assert branched(schema) == expected


def test_what_is_optional_may_be_null_at_every_depth():
    inner = {"type": "object", "properties": {"b": {"type": "string"}}, "required": []}
    schema = {
        "type": "object",
        "properties": {
            "need": {"type": "string"},
            "may": {"type": "string", "description": "D"},
            "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "already": {"type": ["string", "null"]},
            "any": {},
            "named": {"$ref": "#/$defs/n", "description": "N"},
            "listed": {"type": "array", "items": inner},
        },
        "required": ["need", "listed"],
        "$defs": {"n": {"type": "object", "properties": {"a": {"enum": ["x"]}}}},
    }
    made = branched(schema, optional_null=True)
    assert made["properties"] == {
        "need": {"type": "string"},
        "may": {"anyOf": [{"type": "string"}, NULL], "description": "D"},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}, NULL]},
        "already": {"anyOf": [{"type": "string"}, NULL]},
        "any": {},
        "named": {"anyOf": [{"$ref": "#/$defs/n"}, NULL], "description": "N"},
        "listed": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"b": {"anyOf": [{"type": "string"}, NULL]}},
                "required": [],
            },
        },
    }
    assert made["$defs"]["n"]["properties"]["a"] == {
        "anyOf": [{"type": "string", "enum": ["x"]}, NULL]
    }
    assert made["required"] == ["need", "listed"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "bb", 0.5, 1.0]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "b"]), inner),
    max_leaves=5,
)
TYPES = st.sampled_from(["string", "number", "integer", "boolean", "array", "object", "null"])


def keywords(inner):
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, unique=True),
            "enum": st.lists(VALUES, min_size=1, max_size=3),
            "const": VALUES,
            "maxLength": st.integers(0, 1),
            "minimum": st.integers(-1, 1),
            "maxItems": st.integers(0, 1),
            "items": inner,
            "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner),
            "required": st.lists(st.sampled_from(["a", "b"]), unique=True),
            "additionalProperties": st.booleans() | inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "description": st.just("D"),
        },
    )


SCHEMAS = st.recursive(keywords(st.just({"type": "string"})), keywords, max_leaves=4)


@given(SCHEMAS, VALUES)
@example({"enum": [1, True]}, 1)
@example({"enum": [1, True]}, True)
@example({"enum": [1.0, "a"]}, 1)
@example({"type": ["integer", "null"], "enum": [1.0, None]}, 1)
@example({"type": "string", "enum": ["a"], "const": "b"}, "a")
def test_other_words_accept_the_same_values(schema, value):
    before = json_schema.validator(schema).is_valid(value)
    assert json_schema.validator(branched(schema)).is_valid(value) is before


@given(SCHEMAS, VALUES)
def test_null_for_optional_only_adds_values(schema, value):
    schema = {key: item for key, item in schema.items() if key != "not"}
    if "not" not in repr(schema) and json_schema.validator(schema).is_valid(value):
        assert json_schema.validator(branched(schema, optional_null=True)).is_valid(value)


@given(SCHEMAS, st.dictionaries(st.sampled_from(["a", "b"]), VALUES))
@example({"anyOf": [{"type": "object", "properties": {"a": {}}}, {"type": "string"}]}, {"a": 1})
@example({"allOf": [{"additionalProperties": False}, {"properties": {"a": {}}}]}, {})
def test_an_object_with_a_root_of_its_own_takes_what_the_schema_takes(schema, value):
    made = as_object(schema)
    if json_schema.validator(schema).is_valid(value):
        assert json_schema.validator(made).is_valid(value)
        assert made["type"] == "object"
        assert not {"$ref", "anyOf", "oneOf", "allOf"} & set(made)


def test_a_schema_made_of_itself_by_way_of_all_of_ends():
    node = {"allOf": [{"$ref": "#/$defs/n"}, {"properties": {"a": {"$ref": "#/$defs/n"}}}]}
    assert as_object({"$ref": "#/$defs/n", "$defs": {"n": node}})["type"] == "object"
