"""Folders of spec files: what is read, and how precisely what is wrong is told."""

import json

import pytest

from sim_devin.errors import InvalidSpec, UnknownName
from sim_devin.specs.files import load_specs, read_file
from sim_devin.specs.models import BlockSpec, Connection, ToolSpec
from sim_devin.specs.spec_problems import connection_problems

TOOL = {
    "id": "acme_get",
    "title": "Get",
    "description": "Gets a thing.",
    "connection": "acme",
    "request": {"method": "GET", "path": "/things/{thing}", "query": {"n": "{count}"}},
    "params": {
        "type": "object",
        "properties": {"thing": {"type": "string"}, "count": {"type": "integer"}},
        "required": ["thing"],
    },
    "output": {"type": "object", "properties": {"name": {"type": "string", "x-from": "n"}}},
    "examples": [{"thing": "a", "count": "5"}],
}
CONNECTION = {
    "id": "acme",
    "title": "Acme",
    "baseUrl": "https://example.com",
    "fields": {"token": {"title": "Token", "description": "A token.", "env": "ACME_TOKEN"}},
}
BLOCK = {"type": "acme", "title": "Acme", "operations": {"get": "acme_get"}}
SHAPES = {"thing": {"type": "object", "properties": {"name": {"type": "string"}}}}


def write(folder, **documents):
    for name, document in documents.items():
        kind = {"tool": "acme.tool", "block": "acme.block", "connection": "acme.connection"}
        text = document if isinstance(document, (str, bytes)) else json.dumps(document)
        data = text if isinstance(text, bytes) else text.encode()
        (folder / f"{kind.get(name, name)}.json").write_bytes(data)
    return folder


def changed(**changes):
    return {key: value for key, value in {**TOOL, **changes}.items() if value is not None}


def with_params(**changes):
    return changed(params={**TOOL["params"], **changes}, examples=None)


def with_request(**changes):
    return changed(request={**TOOL["request"], **changes})


def problems(folder, tool, **others):
    specs = load_specs(write(folder, tool=tool, **others))
    (error,) = specs.problems
    assert specs.tools == ()
    assert error.place == "acme.tool.json"
    assert str(error).startswith("acme.tool.json: ")
    return error.problems


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    write(tmp_path, tool=TOOL, connection=CONNECTION, block=BLOCK, shapes=SHAPES)
    (tmp_path / "a.tool.json").write_text(json.dumps(changed(id="acme_a")))
    (tmp_path / "notes.txt").write_text("not a spec")
    (tmp_path / "other.json").write_text("not a spec either")
    (tmp_path / "sub.tool.json").mkdir()
    specs = load_specs(tmp_path)
    assert [tool.id for tool in specs.tools] == ["acme_a", "acme_get"]
    assert [block.type for block in specs.blocks] == ["acme"]
    assert [connection.id for connection in specs.connections] == ["acme"]
    assert specs.problems == ()


def test_an_empty_folder_is_empty(tmp_path):
    specs = load_specs(tmp_path)
    assert (specs.tools, specs.blocks, specs.connections) == ((), (), ())


def test_no_folder(tmp_path):
    (error,) = load_specs(tmp_path / "missing").problems
    assert error.problems == ["is not a folder of spec files"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is not JSON: Expecting value at line 1, column 1"),
        ('{\n "id": }', "is not JSON: Expecting value at line 2, column 8"),
        ("[]", "is not a JSON object"),
        ("5", "is not a JSON object"),
        (b"\xff\xfe", "is not UTF-8 text"),
        ('{"id": ' + "9" * 5000 + "}", "contains a number that is too large: 99999999999999999999"),
        ("[" * 100_000, "is nested too deeply: more than 100 levels"),
    ],
    ids=["empty", "syntax", "list", "number", "bytes", "long number", "deep lists"],
)
def test_files_that_are_no_documents(tmp_path, content, told):
    assert problems(tmp_path, content) == [told]


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        (changed(titel="x"), ["titel: unknown key. Did you mean 'title'"]),
        (changed(color="x"), ["color: unknown key."]),
        (changed(description=None, title=5), ["title: input should be a valid string"]),
        (changed(id="Bad-Id"), ["id: string should match pattern"]),
        (with_request(method="FETCH"), ["request.method: input should be 'GET', 'POST'"]),
        (with_request(headers={}), ["request.headers: unknown key."]),
        (with_request(query=5), ["request.query: input should be a valid dictionary"]),
        (
            changed(traits={"retryOn": ["teapot"], "readonly": True}),
            [
                "traits.retryOn.0: input should be 'connect'",
                "traits.readonly: unknown key.",
            ],
        ),
        (changed(traits={"successOn": [{}]}), ["traits.successOn.0.status: field required"]),
        (changed(params=[]), ["params: input should be a valid dictionary"]),
    ],
)
def test_what_is_not_of_the_language(tmp_path, tool, told):
    found = problems(tmp_path, tool)
    for expected in told:
        assert any(problem.startswith(expected) for problem in found), found


def test_every_problem_of_a_file_is_told_at_once(tmp_path):
    found = problems(tmp_path, changed(id=5, title=None, extra=1))
    assert len(found) == 3


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        (with_params(type="array"), 'params: must be {"type": "object", …}'),
        (
            with_params(properties={"thing": {"type": "txt"}}),
            "params.properties.thing.type: 'txt' is not",
        ),
        (with_params(properties={"thing": True}), "params.properties.thing: must be an object"),
        (
            with_params(properties={"thing": {"type": "array", "items": True}}),
            "params.properties.thing.items: must be an object",
        ),
        (
            with_params(properties={"the-thing": {"type": "string"}}),
            "params.properties.the-thing: the name must match ^[A-Za-z_][A-Za-z0-9_]{0,63}$",
        ),
        (
            with_params(required=["thing", "other"]),
            "params.required: 'other' is not one of the properties",
        ),
        (
            changed(traits={"modelInput": ["thin"]}),
            "traits.modelInput: 'thin' is not a parameter. Did you mean 'thing'",
        ),
        (
            with_params(properties={"thing": {"x-visibility": "user_only"}}),
            "params.properties.thing.x-visibility: must be 'user-only' or absent",
        ),
        (
            with_params(properties={**TOOL["params"]["properties"], "idle": {}}),
            "params.properties.idle: not used in the request",
        ),
        (
            changed(output={"type": "string"}),
            'output: must be {"type": "object", "properties": {…}}',
        ),
        (
            changed(output={"type": "object", "properties": {"a": {"type": "txt"}}}),
            "output.properties.a.type: 'txt' is not",
        ),
        (
            changed(output={"type": "object", "properties": {"a": False}}),
            "output.properties.a: must be an object",
        ),
        (with_request(path="things/{thing}"), "request.path: must start with /"),
        (with_request(body={"n": "{count}"}), "request.body: a GET cannot have a body"),
        (
            with_request(query={"n": "{count}!"}),
            'request.query.n: must be a single "{parameter}"',
        ),
        (
            with_request(query={"n": "5"}),
            'request.query.n: must be a single "{parameter}"',
        ),
        (
            changed(connection=None, request={**TOOL["request"], "path": "/{thin}/{thing}"}),
            "request: {thin} is not a parameter. Did you mean 'thing'?",
        ),
        (
            changed(examples=[{"thing": "a"}, {"count": 5}]),
            "examples.1: thing: is required; pass text",
        ),
        (changed(examples=[{"thing": "a", "count": "x"}]), "examples.0: count: got 'x'; pass a"),
        (
            changed(output={"$ref": "shapes.json#/thin"}),
            "output.$ref: unknown shape 'shapes.json#/thin'. Did you mean 'shapes.json#/thing'",
        ),
        (changed(output={"$ref": "thing"}), "output.$ref: unknown shape 'thing'."),
        (changed(output={"$ref": 5}), "output.$ref: unknown shape 5."),
        (
            changed(output={"$ref": "shapes.json#/thing", "type": "object"}),
            "output: $ref must be the only key",
        ),
    ],
)
def test_what_is_inconsistent(tmp_path, tool, told):
    found = problems(tmp_path, tool, shapes=SHAPES)
    assert any(problem.startswith(told) for problem in found), found


def test_a_shape_that_cannot_be_an_output(tmp_path):
    tool = changed(output={"$ref": "shapes.json#/odd"})
    (problem,) = problems(tmp_path, tool, shapes={"odd": {"type": "array"}})
    assert problem == 'output: must be {"type": "object", "properties": {…}}'


def test_a_reference_is_followed_and_written_back(tmp_path):
    tool = changed(output={"$ref": "shapes.json#/thing"})
    spec = load_specs(write(tmp_path, tool=tool, shapes=SHAPES)).tools[0]
    assert spec.answer == SHAPES["thing"]
    assert spec.to_json() == tool


def test_one_broken_file_leaves_the_others(tmp_path):
    write(tmp_path, tool=TOOL, block="{", connection=changed(id=5))
    (tmp_path / "b.tool.json").write_text("[]")
    specs = load_specs(tmp_path)
    assert [tool.id for tool in specs.tools] == ["acme_get"]
    assert sorted(problem.place for problem in specs.problems) == [
        "acme.block.json",
        "acme.connection.json",
        "b.tool.json",
    ]


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({**BLOCK, "defaultOperation": "put"}, "defaultOperation 'put' is not an operation"),
        ({**BLOCK, "feilds": []}, "feilds: unknown key. Did you mean 'fields'?"),
        ({"type": "acme"}, "title: field required"),
        ({**BLOCK, "fields": [{"id": "a", "shown": 1}]}, "fields.0.shown: unknown key"),
    ],
)
def test_broken_blocks(tmp_path, block, told):
    with pytest.raises(InvalidSpec) as caught:
        read_file(write(tmp_path, block=block) / "acme.block.json", BlockSpec)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("connection", "told"),
    [
        ({"id": "acme", "title": "A", "fields": {}}, "baseUrl: field required"),
        (
            {**CONNECTION, "fields": {"token": {"title": "T", "description": "D"}}},
            "fields.token.env: field required",
        ),
    ],
)
def test_broken_connections(tmp_path, connection, told):
    with pytest.raises(InvalidSpec) as caught:
        read_file(write(tmp_path, connection=connection) / "acme.connection.json", Connection)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        (TOOL, []),
        (
            changed(connection="acne"),
            ["connection: unknown connection 'acne'. Did you mean 'acme'?"],
        ),
        (
            with_request(path="/{tokn}/{thing}"),
            [
                "request.path: {tokn} is neither a parameter nor a field of 'acme'. "
                "Did you mean 'token'"
            ],
        ),
        (
            with_params(properties={"thing": {}, "token": {}}),
            ["params.properties.token: the connection 'acme' has a field of that name"],
        ),
        (changed(request=None), []),
        (changed(connection=None), []),
    ],
)
def test_a_tool_fits_its_connection(tool, told):
    connections = [Connection.model_validate(CONNECTION)]
    found = list(connection_problems(ToolSpec.model_validate(tool), connections))
    assert len(found) == len(told)
    for problem, expected in zip(found, told, strict=True):
        assert problem.startswith(expected)


def test_functions_are_attached_to_a_tool(tmp_path):
    specs = load_specs(write(tmp_path, tool=TOOL))
    attached = specs.attach("acme_get", read=lambda response, read: read(response))
    assert attached.tools[0].read is not None
    assert specs.tools[0].read is None
    assert attached.tools[0].to_json() == TOOL


@pytest.mark.parametrize(
    ("tool", "function", "nearest"),
    [("acme_gte", "read", "acme_get"), ("acme_get", "reed", "read")],
)
def test_functions_of_nothing(tmp_path, tool, function, nearest):
    specs = load_specs(write(tmp_path, tool=TOOL))
    with pytest.raises(UnknownName) as caught:
        specs.attach(tool, **{function: print})
    assert nearest in caught.value.nearest


# -- what cannot work, or is unsafe ----------------------------------------------------------

POST = {"method": "POST", "path": "/things/{thing}", "body": {"n": "{count}"}}


def with_output(**properties):
    return changed(output={"type": "object", "properties": properties})


NESTED = {"type": "object", "properties": {"id": {"type": "string", "x-from": "the_id"}}}
ROWS = {"type": "array", "items": {"type": "object", "properties": {"id": {"x-from": "the_id"}}}}
DEEP = {
    "type": "array",
    "items": {"type": "object", "properties": {"who": NESTED, "id": {"x-from": "i"}}},
}


@pytest.mark.parametrize(
    ("tool", "place"),
    [
        (
            changed(request=POST, traits={"retryOn": ["connect", "5xx"]}),
            "traits.retryOn: after 5xx",
        ),
        (changed(request=POST, traits={"retryOn": ["reset"]}), "traits.retryOn: after reset"),
        (changed(request=POST, traits={"retryOn": ["timeout"]}), "traits.retryOn: after timeout"),
        (
            changed(request={**POST, "method": "PATCH"}, traits={"readOnly": True}),
            "traits.readOnly: a PATCH",
        ),
        (changed(traits={"readOnly": True, "destructive": True}), "traits: a read-only tool"),
        (with_request(path="/things/{thing}?all=1"), "request.path: must have no ? or #"),
        (with_request(path="/things/{thing}#x"), "request.path: must have no ? or #"),
        (with_output(a={"x-from": "data.id"}), "output.properties.a.x-from: 'data.id' is a path"),
        (with_output(a={"x-from": "$.id"}), "output.properties.a.x-from: '$.id' is a path"),
        (with_output(a={"x-from": "/id"}), "output.properties.a.x-from: '/id' is a path"),
        (with_output(a={"x-from": "ids[0]"}), "output.properties.a.x-from: 'ids[0]' is a path"),
        (with_output(a={"x-from": ""}), "output.properties.a.x-from: must be a key"),
        (with_output(a={"x-from": 1}), "output.properties.a.x-from: must be a key"),
        (with_output(a=NESTED), "output.properties.a.properties.id.x-from: is never read"),
        (
            with_output(a=DEEP),
            "output.properties.a.items.properties.who.properties.id.x-from: is never read",
        ),
        (
            with_output(a={"x-form": "b"}),
            "output.properties.a.x-form: unknown key. Did you mean 'x-",
        ),
        (
            with_params(properties={"thing": {"x-visibilty": "user-only"}, "count": {}}),
            "params.properties.thing.x-visibilty: unknown key. Did you mean 'x-visibility'",
        ),
    ],
)
def test_what_cannot_work_or_is_unsafe_is_refused(tmp_path, tool, place):
    (problem,) = problems(tmp_path, tool)
    assert problem.startswith(place)


@pytest.mark.parametrize(
    "tool",
    [
        changed(request=POST, traits={"retryOn": ["connect", "429"]}),
        changed(request=POST, traits={"retryOn": ["5xx"], "idempotent": True}),
        changed(request=POST, traits={"readOnly": True, "retryOn": ["timeout"]}),
        with_output(a={"x-from": "@odata.count"}, b=ROWS, c={"x-mine": 1}),
    ],
)
def test_what_works_is_not_refused(tmp_path, tool):
    assert load_specs(write(tmp_path, tool=tool)).problems == ()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"baseUrl": "https://{site}.example.com"}, "baseUrl: {site} is not filled in"),
        ({"baseUrl": "api.example.com"}, "baseUrl: must be an address"),
        ({"baseUrl": "https://example.com/v1?key=1"}, "baseUrl: must be an address"),
        (
            {"headers": {"Authorization": "Bearer {tokn}"}},
            "headers.Authorization: {tokn} is not a field. Did you mean 'token'?",
        ),
    ],
)
def test_what_a_connection_cannot_be(tmp_path, changes, told):
    found = load_specs(write(tmp_path, connection={**CONNECTION, **changes}))
    (error,) = found.problems
    assert found.connections == ()
    assert error.problems[0].startswith(told)


@pytest.mark.parametrize(
    ("tool", "told"),
    [
        (
            changed(traits={"retryOnn": ["connect"]}),
            "traits.retryOnn: unknown key. Did you mean 'ret",
        ),
        (with_request(paht="/x"), "request.paht: unknown key. Did you mean 'path'"),
        (changed(traits={"titel": 1}), "traits.titel: unknown key. Known: readOnly, "),
        (
            changed(traits={"successOn": [{"status": 404, "contain": "x"}]}),
            "traits.successOn.0.contain: unknown key. Did you mean 'contains'",
        ),
    ],
)
def test_a_suggestion_is_of_the_object_that_the_key_stands_in(tmp_path, tool, told):
    assert problems(tmp_path, tool)[0].startswith(told)


def test_a_suggestion_in_a_connection_and_in_a_block(tmp_path):
    field = {"title": "T", "description": "D", "env": "ACME", "secrt": True}
    connection = {**CONNECTION, "fields": {"token": field}}
    block = {**BLOCK, "fields": [{"id": "a", "plaecholder": "x"}]}
    found = load_specs(write(tmp_path, connection=connection, block=block))
    first, second = sorted(error.problems[0] for error in found.problems)
    assert first == "fields.0.plaecholder: unknown key. Did you mean 'placeholder'?"
    assert second.startswith("fields.token.secrt: unknown key. Did you mean 'secret'")
