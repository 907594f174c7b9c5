#!/usr/bin/env bash
# openapi-pydantic 0.6.0: the bounds of an int64 come back as other numbers, `const: null` vanishes
#
# Guess: reading an OpenAPI 3.1 description and writing it again keeps every number, and
# `exclude_none=True`, which the documentation recommends, leaves out only what was not there.
# Really: `minimum` and `maximum` are held as floats, so the largest int64, 2^63 - 1, is written as
# 9.223372036854776e+18, which is 2^63 and no int64. `const: null` and `default: null` are left out.
# So: A generator that passes a description through it publishes bounds that its own integers break,
# and a schema that took null alone takes anything.
# The output below the second EOF was seen with these versions; the script fails if it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    'openapi-pydantic==0.6.0'

"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import json

from openapi_pydantic.v3.v3_1 import Schema

for written in (
    {"type": "integer", "maximum": 2**63 - 1},
    {"type": "integer", "minimum": -(2**63) + 1},
    {"const": None},
    {"type": ["string", "null"], "default": None},
):
    again = Schema.model_validate(written).model_dump_json(by_alias=True, exclude_none=True)
    print(json.dumps(written), "->", again)
EOF

diff - "$work/seen" <<'EOF'
{"type": "integer", "maximum": 9223372036854775807} -> {"type":"integer","maximum":9.223372036854776e+18}
{"type": "integer", "minimum": -9223372036854775807} -> {"type":"integer","minimum":-9.223372036854776e+18}
{"const": null} -> {}
{"type": ["string", "null"], "default": null} -> {"type":["string","null"]}
EOF
cat "$work/seen"
