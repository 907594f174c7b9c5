"""Structured output made up from a schema is valid against it."""

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim_devin.simulator.schema_check import fits
from sim_devin.simulator.schema_example import instance

SCHEMAS = {
    "plain": {
        "type": "object",
        "properties": {
            "outcome": {"type": "string", "enum": ["pr_opened", "blocked"]},
            "tests_passed": {"type": ["null", "boolean"]},
        },
        "required": ["outcome"],
        "additionalProperties": False,
    },
    "without a type": {"required": ["a", "b"]},
    "bounds": {
        "properties": {
            "a": {"type": "integer", "minimum": 7, "maximum": 7},
            "b": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5},
            "c": {"type": "number", "multipleOf": 0.25, "minimum": 3.1},
            "d": {"type": "string", "minLength": 40},
            "e": {"type": "string", "maxLength": 2},
            "f": {"type": "array", "minItems": 3, "items": {"type": "integer"}},
            "g": {"type": "array", "minItems": 3, "uniqueItems": True, "items": {"type": "string"}},
            "h": {"type": "array", "contains": {"const": 3}},
            "i": {"type": "array", "items": [{"const": 1}, {"const": 2}]},
            "j": {"type": "integer", "exclusiveMaximum": -5, "multipleOf": 3},
        },
        "required": list("abcdefghij"),
    },
    "formats": {
        "properties": {
            name: {"type": "string", "format": name}
            for name in ("date", "date-time", "uri", "uuid")
        }
    },
    "patterns": {
        "properties": {
            "sha": {"type": "string", "pattern": "^[0-9a-f]{40}$"},
            "pr": {"type": "string", "pattern": "^https://github.com/.+/pull/[0-9]+$"},
            "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
            "year": {"type": "string", "pattern": r"^\d{4}$"},
        },
        "required": ["sha", "pr", "version", "year"],
    },
    "references": {
        "definitions": {
            "tree": {
                "type": "object",
                "properties": {
                    "value": {"type": "integer"},
                    "children": {"type": "array", "items": {"$ref": "#/definitions/tree"}},
                },
                "required": ["value"],
            }
        },
        "$ref": "#/definitions/tree",
    },
    "all of": {
        "allOf": [
            {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"allOf": [{"properties": {"b": {"const": "x"}}, "required": ["b"]}]},
        ]
    },
    "one of": {
        "oneOf": [
            {"properties": {"kind": {"const": "pr"}, "url": {}}, "required": ["kind", "url"]},
            {"properties": {"kind": {"const": "none"}}, "required": ["kind"]},
        ]
    },
    "any of, and one of": {
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
        "oneOf": [{"required": ["c"]}, {"required": ["d"]}],
    },
    "not": {"type": "object", "not": {"required": ["a"]}, "properties": {"a": {}, "b": {}}},
    "if": {
        "properties": {"done": {"const": True}},
        "required": ["done"],
        "if": {"properties": {"done": {"const": True}}},
        "then": {"required": ["url"], "properties": {"url": {"type": "string"}}},
    },
    "sizes": {"type": "object", "minProperties": 2, "additionalProperties": {"type": "integer"}},
    "names": {"propertyNames": {"pattern": "^[a-z]+$"}, "properties": {"a": {}}, "required": ["a"]},
    "dependencies": {"properties": {"a": {}}, "dependencies": {"a": ["b"]}},
    "pattern properties": {
        "patternProperties": {"^x_": {"type": "integer"}},
        "properties": {"x_a": {}},
        "required": ["x_a"],
    },
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_example_is_valid(name):
    schema = SCHEMAS[name]
    jsonschema.Draft7Validator.check_schema(schema)
    made = instance(schema)
    jsonschema.validate(made, schema, cls=jsonschema.Draft7Validator)
    wanted = schema.get("required", [])
    assert set(wanted) <= made.keys()


def test_optional_properties_are_filled_as_well():
    assert instance(SCHEMAS["plain"]) == {"outcome": "pr_opened", "tests_passed": True}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"type": "object", "required": ["a"], "properties": {"a": False}},
        {"type": "object", "required": ["a"], "properties": {"a": {"pattern": "("}}},
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}},
        {"type": 3},
        {"properties": 3, "required": ["a"]},
        {"required": ["a"], "properties": {"a": {"type": "string", "pattern": "^never[^n]{99}$"}}},
        {"required": ["a"], "properties": {"a": {"type": "number", "multipleOf": 0}}},
        {"anyOf": [{"anyOf": [{"anyOf": [{"type": "null"}] * 20}] * 20}] * 20},
    ],
)
def test_what_cannot_be_made_is_an_empty_object(schema):
    assert instance(schema) == {}


def _schemas():
    values = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.text("ab", max_size=3))
    numbers = st.fixed_dictionaries(
        {"type": st.sampled_from(["integer", "number"])},
        optional={"minimum": st.integers(-5, 5), "multipleOf": st.sampled_from([1, 2, 3, 0.5])},
    )
    texts = st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={
            "minLength": st.integers(0, 20),
            "format": st.sampled_from(["date", "email", "unknown"]),
        },
    )
    others = st.one_of(
        st.builds(lambda items: {"enum": items}, st.lists(values, min_size=1, max_size=3)),
        st.builds(lambda value: {"const": value}, values),
        st.sampled_from([{}, True, {"type": "null"}, {"type": ["boolean", "null"]}]),
    )

    def deeper(inner):
        objects = st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(names, inner, max_size=3)},
            optional={
                "required": st.lists(names, max_size=2, unique=True),
                "minProperties": st.integers(0, 3),
            },
        )
        arrays = st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner}, optional={"minItems": st.integers(0, 3)}
        )
        either = st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=2))
        return st.one_of(objects, arrays, either)

    names = st.sampled_from(["a", "b", "c", "d"])
    return st.recursive(st.one_of(numbers, texts, others), deeper, max_leaves=8)


@given(st.dictionaries(st.sampled_from("abc"), _schemas(), min_size=1), st.booleans())
def test_examples_of_random_schemas_are_valid(properties, closed):
    schema = {"type": "object", "properties": properties, "required": sorted(properties)}
    if closed:
        schema["additionalProperties"] = False
    jsonschema.validate(instance(schema), schema, cls=jsonschema.Draft7Validator)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 25), st.text("ab1", max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(_schemas(), JSON)
def test_our_check_agrees_with_a_full_validator(schema, value):
    assert fits(value, schema) == jsonschema.Draft7Validator(schema).is_valid(value)


@given(st.sampled_from(sorted(SCHEMAS)), JSON)
def test_our_check_agrees_on_the_further_keywords(name, value):
    schema = SCHEMAS[name]
    assert fits(value, schema) == jsonschema.Draft7Validator(schema).is_valid(value)
