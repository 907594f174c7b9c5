#!/usr/bin/env bash
# openapi-core 0.23.1: a query parameter whose type is a list (OpenAPI 3.1) ends in a TypeError
#
# Guess: OpenAPI 3.1 takes JSON Schema as it is, so `type: [integer, "null"]` works for a query
# parameter; FastAPI and pydantic write such documents for optional parameters or an `anyOf`.
# Really: Casting the value fails with a TypeError that names neither the parameter nor the
# document, and it is not one of the library's own errors. `anyOf` with the same two types works.
# So: A client or simulator that validates requests with it has to rewrite type lists as `anyOf`
# first.
# The output below the second EOF was seen with these versions; the script fails if it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'openapi-core==0.23.1'

"$work/venv/bin/python" - >"$work/seen" <<'EOF'
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest


def limit(schema):
    parameter = {"name": "limit", "in": "query", "schema": schema}
    get = {"parameters": [parameter], "responses": {"200": {"description": "OK"}}}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Sessions", "version": "1"},
        "servers": [{"url": "http://service"}],
        "paths": {"/sessions": {"get": get}},
    }
    request = MockRequest("http://service", "get", "/sessions", args={"limit": "5"})
    try:
        return repr(OpenAPI.from_dict(document).unmarshal_request(request).parameters.query)
    except Exception as error:
        return f"{type(error).__module__}.{type(error).__name__}: {error}"


for schema in (
    {"type": "integer"},
    {"type": ["integer", "null"]},
    {"anyOf": [{"type": "integer"}, {"type": "null"}]},
):
    print(schema, "->", limit(schema))
EOF

diff - "$work/seen" <<'EOF'
{'type': 'integer'} -> {'limit': 5}
{'type': ['integer', 'null']} -> builtins.TypeError: Expected a string value, got <class 'list'>
{'anyOf': [{'type': 'integer'}, {'type': 'null'}]} -> {'limit': 5}
EOF
cat "$work/seen"
