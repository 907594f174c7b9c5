"""Blocks over tools, such as Devin: plan the call, make it, check what came back."""

from __future__ import annotations

from typing import Any

from sim_devin.engine.contract import BlockContext, BlockError, handler
from sim_devin.engine.references import parse_json
from sim_devin.specs import json_schema

SCHEMA_FIELD = "structuredOutputSchema"
RESULT = "structuredOutput"


@handler()
def run_tool(block: BlockContext) -> dict[str, Any]:
    """Call the tool that the block's values stand for.

    A structured output that does not fit the JSON Schema given on the block
    (`structuredOutputSchema`) is the failure of the block.
    """
    schema = block.values.get(SCHEMA_FIELD)
    schema = parse_json(schema) if isinstance(schema, str) else schema
    if isinstance(schema, dict):
        schema = json_schema.require(schema, SCHEMA_FIELD, "draft 7")
    tool_id, params = block.plan()
    output = block.call_tool(tool_id, params)
    if isinstance(schema, dict) and output.get(RESULT) is not None:
        _require_fit(output, schema)
    return output


def _require_fit(output: dict[str, Any], schema: dict[str, Any]) -> None:
    problems = [
        f"{'.'.join(map(str, error.absolute_path)) or 'it'}: {error.message[:200]}"
        for error in json_schema.errors(output[RESULT], schema, SCHEMA_FIELD, "draft 7")
    ]
    if problems:
        raise BlockError(
            f"the structured output does not fit its schema: {'; '.join(problems[:10])}",
            output={key: output[key] for key in ("sessionId", RESULT) if key in output},
            hint="Ask the session to correct it with Send Message, or loosen the schema.",
            retry=False,
        )
