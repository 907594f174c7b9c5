#!/usr/bin/env bash
# quickjs-ng 0.17.0.2: a text that is spread into an object vanishes, and Math.cbrt(27) is not 3
#
# Guess: `{..."hi"}` is `{"0": "h", "1": "i"}`, as ECMA-262 says and as `Object.assign` gives here;
# a cube root of a cube is whole.
# Really: the spread gives `{}` without an error, and Math.cbrt(27) is 3.0000000000000004.
# So: Compare an engine's built-ins with V8 over a table before code of others runs in it.
# The output below the second EOF was seen with these versions; the script fails if it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'quickjs-ng==0.17.0.2'

"$work/venv/bin/python" - >"$work/seen" <<'EOF'
import quickjs

context = quickjs.Context()
for code in (
    'JSON.stringify({..."hi"})',
    'JSON.stringify(Object.assign({}, "hi"))',
    "Math.cbrt(27)",
):
    print(code, "gives", context.eval(code))
EOF
cat "$work/seen"
diff "$work/seen" - <<'EOF'
JSON.stringify({..."hi"}) gives {}
JSON.stringify(Object.assign({}, "hi")) gives {"0":"h","1":"i"}
Math.cbrt(27) gives 3.0000000000000004
EOF
