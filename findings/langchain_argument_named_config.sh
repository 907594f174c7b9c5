#!/usr/bin/env bash
# langchain-core 1.8.3: a tool's argument named `config` is offered to the model and never arrives
#
# Guess: An argument that stands in the tool's schema is passed to the function when the model
# sends it.
# Really: `config` is listed among the arguments, the model fills it in, and the call drops it:
# the function is called without it and raises a TypeError. `run_manager` is kept out of the
# schema as well.
# So: Tools that are generated from an API (Devin's among them) need such parameters renamed or
# handed over under another name.
# The output below the second EOF was seen with these versions; the script fails if it changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'langchain-core==1.8.3'

"$work/venv/bin/python" - >"$work/seen" <<'EOF'
from langchain_core.tools import tool


@tool
def deploy(service: str, config: str) -> str:
    """Deploy a service with the named config."""
    return f"{service} {config}"


@tool
def restart(service: str, run_manager: str) -> str:
    """Restart a service under the named manager."""
    return f"{service} {run_manager}"


for made, name in ((deploy, "config"), (restart, "run_manager")):
    print("offered to the model:", sorted(made.tool_call_schema.model_json_schema()["properties"]))
    try:
        print(made.invoke({"service": "web", name: "staging"}))
    except TypeError as error:
        print(f"TypeError: {error}")
EOF

diff - "$work/seen" <<'EOF'
offered to the model: ['config', 'service']
TypeError: deploy() missing 1 required positional argument: 'config'
offered to the model: ['service']
TypeError: restart() missing 1 required positional argument: 'run_manager'
EOF
cat "$work/seen"
