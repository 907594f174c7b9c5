"""The JSON Schemas of the spec files: what editors accept is what the loader accepts."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from sim_devin.errors import InvalidSpec
from sim_devin.specs.files import builtin_folder, read_file
from sim_devin.specs.jobs import JobSpec
from sim_devin.specs.models import BlockSpec, Connection, ToolSpec

FOLDER = builtin_folder()
EXAMPLES = Path(__file__).parent / "example_plugin" / "acme_tickets"
MODELS = {"tool": ToolSpec, "block": BlockSpec, "connection": Connection, "job": JobSpec}


def document(name):
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


VALIDATORS = {
    kind: Draft202012Validator(document(f"{kind}.schema.json")) for kind in (*MODELS, "shapes")
}


def kind_of(name):
    return "shapes" if name == "shapes.json" else name.split(".")[-2]


def spec_files():
    for folder in (FOLDER, EXAMPLES):
        for file in sorted(folder.glob("*.json")):
            if not file.name.endswith(".schema.json"):
                yield pytest.param(file, id=file.name)


@pytest.mark.parametrize("kind", VALIDATORS)
def test_a_schema_is_a_schema(kind):
    Draft202012Validator.check_schema(VALIDATORS[kind].schema)


@pytest.mark.parametrize("file", list(spec_files()))
def test_every_file_fits_its_schema(file):
    content = json.loads(file.read_text(encoding="utf-8"))
    assert [e.message for e in VALIDATORS[kind_of(file.name)].iter_errors(content)] == []


def test_the_built_in_files_name_their_schemas():
    for file in FOLDER.glob("*.*.json"):
        if not file.name.endswith(".schema.json"):
            assert document(file.name)["$schema"] == f"./{kind_of(file.name)}.schema.json"


@pytest.mark.parametrize("kind", VALIDATORS)
def test_every_key_is_described(kind):
    schema = VALIDATORS[kind].schema
    for part in (schema, *schema.get("$defs", {}).values()):
        for key, item in part.get("properties", {}).items():
            assert item.get("description") or (kind, key) == ("shapes", "$schema"), key
        assert part["description"]


def changed(path, value, document):
    """Return the document with the value at a dotted path replaced, or removed for None."""
    head, _, rest = path.partition(".")
    result = dict(document)
    if rest:
        result[head] = changed(rest, value, document.get(head, {}))
    elif value is None:
        del result[head]
    else:
        result[head] = value
    return result


TOOL = "devin_create_session.tool.json"
BLOCK = "devin.block.json"
CONNECTION = "devin.connection.json"


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        (TOOL, "id", None),
        (TOOL, "id", "Not-An-Id"),
        (TOOL, "color", "red"),
        (TOOL, "request.method", "FETCH"),
        (TOOL, "request.path", "sessions"),
        (TOOL, "request.headers", {"X-A": "b"}),
        (TOOL, "request.body.title", "Dear {title}"),
        (TOOL, "request.body.title", "title"),
        (TOOL, "request.body.title", 5),
        (TOOL, "request.query", {"a": "{b}{c}"}),
        (TOOL, "params", {"type": "array"}),
        (TOOL, "params.properties.prompt.type", "text"),
        (TOOL, "params.properties.prompt.x-visibility", "user_only"),
        (TOOL, "output", {"$ref": "shapes.json#/session", "type": "object"}),
        (TOOL, "output", {"$ref": "other.json#/session"}),
        (TOOL, "output", {"type": "object", "properties": {}}),
        (TOOL, "output", {"type": "object", "properties": {"a": {"type": "text"}}}),
        (TOOL, "traits.retryOn", ["teapot"]),
        (TOOL, "traits.sideEffects", True),
        (TOOL, "traits.successOn", [{"contains": "ended"}]),
        (TOOL, "examples", ["prompt"]),
        (BLOCK, "type", "Devin"),
        (BLOCK, "operations", ["create"]),
        (BLOCK, "fields", [{"title": "No id"}]),
        (BLOCK, "fields", [{"id": "a", "options": ["yes", "no"]}]),
        (BLOCK, "inputs", {}),
        (CONNECTION, "baseUrl", None),
        (CONNECTION, "fields.apiKey.env", None),
        (CONNECTION, "fields.apiKey.value", "x"),
        (CONNECTION, "headers", {"Authorization": 5}),
    ],
)
def test_a_broken_variant_is_refused_by_schema_and_loader_alike(name, path, value, tmp_path):
    broken = changed(path, value, document(name))
    assert not VALIDATORS[kind_of(name)].is_valid(broken)
    file = tmp_path / name
    file.write_text(json.dumps(broken))
    with pytest.raises(InvalidSpec):
        read_file(file, MODELS[kind_of(name)], document("shapes.json"))


@pytest.mark.parametrize("shape", [5, {"type": "array"}, {"type": "object"}])
def test_a_broken_shape_is_refused(shape):
    assert not VALIDATORS["shapes"].is_valid({"session": shape})
