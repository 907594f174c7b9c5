"""The forms of Sim's own blocks: start, flow control, code, requests, models, people."""

from __future__ import annotations

from sim_devin.specs.models import BlockField, BlockSpec, Schema

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
ANY: Schema = {}

_MODEL = BlockField(id="model", title="Model", widget="combobox", required=True)
_MODEL_KEY = BlockField(id="apiKey", title="API Key", secret=True)
_START_FORMAT = BlockField(id="inputFormat", title="Inputs", widget="input-format", type="array")


def _options(*ids: str) -> tuple[dict[str, str], ...]:
    return tuple({"id": name, "label": name.replace("_", " ").title()} for name in ids)


def _start(block_type: str, title: str, description: str) -> BlockSpec:
    return BlockSpec(
        type=block_type,
        title=title,
        description=description,
        category="triggers",
        color="#2fb3ff",
        fields=(_START_FORMAT,),
    )


STARTS = (
    _start("start_trigger", "Start", "Starts a run; declares the inputs of the workflow."),
    _start("api_trigger", "API Start", "Starts a run requested over the API."),
    _start("input_trigger", "Input Form", "Starts a run with typed inputs."),
    _start("manual_trigger", "Manual Start", "Starts a run by hand."),
    _start("chat_trigger", "Chat Start", "Starts a run with a chat message."),
    _start("starter", "Starter", "The start block of older workflows.").model_copy(
        update={
            "fields": (
                BlockField(id="startWorkflow", title="Start", widget="dropdown"),
                _START_FORMAT,
            )
        }
    ),
    _start("webhook", "Webhook", "Starts a run with the payload of a webhook."),
    _start("generic_webhook", "Generic Webhook", "Starts a run with the payload of a webhook."),
    _start("schedule", "Schedule", "Starts a run at scheduled times; workers start it."),
)

CONDITION = BlockSpec(
    type="condition",
    title="Condition",
    description="Follows the first branch whose JavaScript expression is true.",
    category="blocks",
    color="#ff752f",
    fields=(
        BlockField(id="conditions", title="Conditions", widget="condition-input", type="array"),
    ),
    # The block before decides what else is in there, so anything may be asked for.
)

FUNCTION = BlockSpec(
    type="function",
    title="Function",
    description="Runs JavaScript and outputs what it returns.",
    category="blocks",
    color="#ff402f",
    fields=(
        BlockField(
            id="language",
            title="Language",
            widget="dropdown",
            options=_options("javascript", "python"),
            default="javascript",
        ),
        BlockField(id="code", title="Code", widget="code"),
    ),
    outputs={"result": ANY, "stdout": TEXT},
)

RESPONSE = BlockSpec(
    type="response",
    title="Response",
    description="Ends the run with this response.",
    category="blocks",
    color="#2f55ff",
    fields=(
        BlockField(
            id="dataMode",
            title="Response Data Mode",
            widget="dropdown",
            options=_options("structured", "json"),
            default="structured",
        ),
        BlockField(
            id="builderData",
            title="Response Structure",
            widget="response-format",
            shownFor={"dataMode": ("structured",)},
        ),
        BlockField(
            id="data", title="Response Data", widget="code", shownFor={"dataMode": ("json",)}
        ),
        BlockField(id="status", title="Status Code", placeholder="200"),
        BlockField(id="headers", title="Response Headers", widget="table"),
    ),
    outputs={"data": ANY, "status": NUMBER, "headers": ANY},
)

VARIABLES = BlockSpec(
    type="variables",
    title="Variables",
    description="Sets workflow variables.",
    category="blocks",
    color="#8b5cf6",
    fields=(
        BlockField(id="variables", title="Assignments", widget="variables-input", type="array"),
    ),
)

WAIT = BlockSpec(
    type="wait",
    title="Wait",
    description="Waits for some seconds in place, or up to 30 days with the run suspended.",
    category="blocks",
    color="#f59e0b",
    fields=(
        BlockField(id="timeValue", title="Wait Amount", default="10"),
        BlockField(
            id="timeUnit",
            title="Unit",
            widget="dropdown",
            options=_options("seconds", "minutes"),
            default="seconds",
        ),
        BlockField(
            id="timeUnitLong",
            title="Unit",
            widget="dropdown",
            options=_options("minutes", "hours", "days"),
            default="minutes",
        ),
        BlockField(id="async", title="Suspend the Run", widget="switch", default=False),
    ),
    outputs={"waitDuration": NUMBER, "status": TEXT, "resumeAt": TEXT},
)

API = BlockSpec(
    type="api",
    title="API",
    description="Sends one HTTP request.",
    category="blocks",
    color="#2f55ff",
    fields=(
        BlockField(id="url", title="URL"),
        BlockField(
            id="method",
            title="Method",
            widget="dropdown",
            options=_options("GET", "POST", "PUT", "DELETE", "PATCH"),
            default="GET",
        ),
        BlockField(id="params", title="Query Params", widget="table"),
        BlockField(id="headers", title="Headers", widget="table"),
        BlockField(id="body", title="Body", widget="code"),
        BlockField(
            id="formData",
            title="Form Data",
            widget="table",
            description="Fields to send as multipart/form-data instead of the body.",
            advanced=True,
        ),
        BlockField(id="timeout", title="Timeout (ms)", advanced=True),
        BlockField(id="retries", title="Retries", description="At most 10.", advanced=True),
        BlockField(id="retryDelayMs", title="Retry Delay (ms)", advanced=True),
        BlockField(id="retryMaxDelayMs", title="Max Retry Delay (ms)", advanced=True),
        BlockField(
            id="retryNonIdempotent",
            title="Retry POST and PATCH",
            widget="switch",
            type="boolean",
            description="Whether they may be resent although they may have taken effect.",
            advanced=True,
        ),
        BlockField(id="pathParams", title="Path Params", widget="table", advanced=True),
        BlockField(
            id="proxyUrl",
            title="Proxy",
            description="http://host:port to send the request through.",
            advanced=True,
        ),
    ),
    outputs={"data": ANY, "status": NUMBER, "headers": ANY},
)


def _child(block_type: str, fields: tuple[BlockField, ...]) -> BlockSpec:
    return BlockSpec(
        type=block_type,
        title="Workflow",
        description="Runs another workflow and outputs its result.",
        category="blocks",
        color="#6366f1",
        fields=(
            BlockField(id="workflowId", title="Workflow", widget="workflow-selector"),
            BlockField(id="manualWorkflowId", title="Workflow ID", advanced=True),
            *fields,
        ),
        outputs={
            "success": {"type": "boolean"},
            "childWorkflowName": TEXT,
            "childWorkflowId": TEXT,
            "childWorkflowSnapshotId": TEXT,
            "result": ANY,
            "error": TEXT,
            "childTraceSpans": ANY,
        },
    )


CHILD = _child("workflow", (BlockField(id="input", title="Input"),))
CHILD_INPUT = _child(
    "workflow_input", (BlockField(id="inputMapping", title="Inputs", widget="input-mapping"),)
)

HUMAN = BlockSpec(
    type="human_in_the_loop",
    title="Human in the Loop",
    description="Suspends the run until a person has answered a form.",
    category="blocks",
    color="#10b981",
    fields=(
        BlockField(id="builderData", title="Shown Data", widget="response-format", type="array"),
        BlockField(id="notification", title="Notification", widget="tool-input"),
        BlockField(id="inputFormat", title="Form", widget="input-format", type="array"),
    ),
)

ROUTER_V2 = BlockSpec(
    type="router_v2",
    title="Router",
    description="A language model selects the branch.",
    category="blocks",
    color="#28c43f",
    fields=(
        BlockField(
            id="context", title="Context", widget="long-input", required=True, modelInput=True
        ),
        BlockField(
            id="routes", title="Routes", widget="router-input", type="array", modelInput=True
        ),
        _MODEL,
        _MODEL_KEY,
    ),
    outputs={
        "context": TEXT,
        "model": TEXT,
        "tokens": ANY,
        "cost": ANY,
        "selectedRoute": TEXT,
        "reasoning": TEXT,
        "selectedPath": ANY,
    },
)

ROUTER = BlockSpec(
    type="router",
    title="Router (older)",
    description="A language model selects one of the connected blocks.",
    category="blocks",
    color="#28c43f",
    fields=(
        BlockField(
            id="prompt", title="Prompt", widget="long-input", required=True, modelInput=True
        ),
        _MODEL,
        _MODEL_KEY,
    ),
    outputs={
        "prompt": TEXT,
        "model": TEXT,
        "tokens": ANY,
        "cost": ANY,
        "selectedRoute": TEXT,
        "selectedPath": ANY,
    },
)

EVALUATOR = BlockSpec(
    type="evaluator",
    title="Evaluator",
    description="A language model scores a text.",
    category="blocks",
    color="#4d5fff",
    fields=(
        BlockField(
            id="metrics",
            title="Metrics",
            widget="eval-input",
            type="array",
            required=True,
            modelInput=True,
        ),
        BlockField(
            id="content", title="Content", widget="long-input", required=True, modelInput=True
        ),
        _MODEL,
        _MODEL_KEY,
    ),
)

AGENT = BlockSpec(
    type="agent",
    title="Agent",
    description="A language model with tools.",
    category="blocks",
    color="#6f3dfa",
    fields=(
        BlockField(id="messages", title="Messages", widget="messages-input", modelInput=True),
        _MODEL,
        _MODEL_KEY,
        BlockField(id="tools", title="Tools", widget="tool-input"),
        BlockField(id="responseFormat", title="Response Format", widget="code", modelInput=True),
        BlockField(id="temperature", title="Temperature", widget="slider", type="number"),
        BlockField(id="maxTokens", title="Max Output Tokens", ceiling=True),
        BlockField(
            id="maxTotalTokens",
            title="Max Tokens Of All Rounds",
            description="No further round starts once the model has used this many.",
            advanced=True,
            ceiling=True,
        ),
        BlockField(
            id="maxCost",
            title="Max Cost",
            description="US dollars at list prices; no further round starts once they are spent.",
            advanced=True,
            ceiling=True,
        ),
        BlockField(id="systemPrompt", title="System Prompt", widget="long-input", modelInput=True),
        BlockField(id="userPrompt", title="User Prompt", widget="long-input", modelInput=True),
    ),
)

NOTE = BlockSpec(
    type="note",
    title="Note",
    description="A comment on the canvas; it never runs.",
    category="blocks",
    color="#f59e0b",
    fields=(BlockField(id="content", title="Content", widget="long-input"),),
)

LOOP = BlockSpec(
    type="loop",
    title="Loop",
    description="Runs its blocks repeatedly: a count, a collection, or while a condition is true.",
    category="containers",
    color="#2fb3ff",
    outputs={"results": {"type": "array"}},
)

PARALLEL = BlockSpec(
    type="parallel",
    title="Parallel",
    description="Runs its blocks once for each branch, concurrently.",
    category="containers",
    color="#fee12b",
    outputs={"results": {"type": "array"}},
)

BLOCKS: tuple[BlockSpec, ...] = (
    *STARTS,
    CONDITION,
    LOOP,
    PARALLEL,
    RESPONSE,
    VARIABLES,
    WAIT,
    FUNCTION,
    API,
    CHILD,
    CHILD_INPUT,
    HUMAN,
    ROUTER_V2,
    ROUTER,
    EVALUATOR,
    AGENT,
    NOTE,
)
