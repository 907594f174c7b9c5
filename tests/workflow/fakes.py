"""What the workflow tests build documents from, and an outside world without a network."""

import threading

from sim_devin.blocks import HANDLERS
from sim_devin.calls.network import NetworkPolicy
from sim_devin.clock import ManualClock
from sim_devin.engine.workflow_blocks import BLOCKS
from sim_devin.runs.services import AppServices
from sim_devin.specs.forms import FormField
from sim_devin.specs.models import BlockField, BlockSpec

SECRETIVE = BlockSpec(
    type="secretive",
    title="Secretive",
    fields=(
        BlockField(id="apiKey", title="Key", secret=True, required=True),
        BlockField(id="text"),
    ),
)
_BLOCKS = {spec.type: spec for spec in (*BLOCKS, SECRETIVE)}


def block(
    block_id, block_type, name=None, /, *, parent=None, container=None, enabled=True, **values
):
    """Return a block of an export; keyword arguments are sub-block values.

    `container` is a loop's or parallel's settings; ``_name=…`` sets a key of the block itself.
    """
    extra = {key[1:]: values.pop(key) for key in list(values) if key.startswith("_")}
    data = dict(container or {})
    if parent is not None:
        data |= {"parentId": parent, "extent": "parent"}
    return {
        "id": block_id,
        "type": block_type,
        "name": name or block_id,
        "position": {"x": 0, "y": 0},
        "subBlocks": {
            key: {"id": key, "type": "short-input", "value": value} for key, value in values.items()
        },
        "outputs": {},
        "enabled": enabled,
        "data": data,
        **extra,
    }


def edge(source, target, handle="source"):
    return {
        "id": f"{source}-{handle}-{target}",
        "source": source,
        "target": target,
        "sourceHandle": handle,
        "targetHandle": "target",
    }


def document(blocks, edges, *, variables=None, name="Test"):
    return {
        "version": "1.0",
        "exportedAt": "2026-01-01T00:00:00.000Z",
        "state": {
            "blocks": {item["id"]: item for item in blocks},
            "edges": list(edges),
            "loops": {},
            "parallels": {},
            "metadata": {"name": name},
            "variables": variables or {},
        },
    }


class FakeServices:
    """Sim's own blocks, the given handlers, and tools that are plain functions.

    A block of an unknown type with a handler has a field for every value it stores.
    """

    def __init__(self, handlers=None, tools=None, *, clock=None, llm=None, transport=None):
        self.handlers = {**HANDLERS, **(handlers or {})}
        self.tools = tools or {}
        self.clock = clock or ManualClock()
        self.llm = llm
        self.transport = transport
        self.allows_python = False
        self.secrets = []
        self.calls = []
        self.workflows = {}
        self.lock = threading.Lock()

    def block(self, block_type):
        return _BLOCKS.get(block_type)

    def form(self, block_type):
        spec = _BLOCKS.get(block_type)
        return tuple(_field(item) for item in spec.fields) if spec else ()

    def plan(self, block_type, values):
        return str(values.get("tool", block_type)), dict(values)

    def outputs(self, block_type, operation):
        return _BLOCKS[block_type].outputs

    def tool_params(self, tool_id):
        return {"maxAcuLimit": {"type": "integer"}} if tool_id.startswith("create") else {}

    def model_input(self, tool_id):
        return ("prompt", "message")

    def ceilings(self, tool_id):
        return ("maxAcuLimit",)

    def filters(self, tool_id):
        return ()

    def refusals(self, tool_id, params):
        return ()

    def function(self, tool_id, bound):
        shown = {key: {} for key in self.tool_params(tool_id) if key not in bound}
        parameters = {"type": "object", "properties": shown}
        return {"name": tool_id, "description": tool_id, "parameters": parameters}

    def function_params(self, tool_id, arguments, bound):
        return {**arguments, **bound}

    def for_model(self, tool_id, params, answer):
        return answer

    def credentials(self, block_type):
        return {"apiKey": "TEST_API_KEY"} if block_type == "secretive" else {}

    def has_credential(self, name):
        return False

    def call_tool(self, tool_id, params, *, cancel, timeout, ceilings, on_progress):
        with self.lock:
            self.calls.append((tool_id, dict(params), dict(ceilings)))
        return self.tools[tool_id](params)

    def check_url(self, url):
        NetworkPolicy().check_url(url)

    def workflow(self, workflow_id):
        return self.workflows.get(workflow_id)


def _field(item):
    return FormField(
        id=item.id,
        title=item.title,
        widget=item.widget,
        type=item.type,
        default=item.default,
        advanced=item.advanced,
        secret=item.secret,
        always_required=item.required,
        conditions=item.shown_for or {},
        model_input=item.model_input,
        ceiling=item.ceiling,
    )


__all__ = ["AppServices", "FakeServices", "block", "document", "edge"]
