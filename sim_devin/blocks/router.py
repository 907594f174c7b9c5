"""The Router blocks: a language model chooses the branch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sim_devin.blocks.model import DEFAULT_MODEL, ask, check_model, cost, json_reply, tokens
from sim_devin.engine.contract import BlockContext, BlockError, handler
from sim_devin.engine.graph import option_rows
from sim_devin.engine.references import MISSING

NO_MATCH = "NO_MATCH"


def _route_format(ids: Sequence[str]) -> dict[str, Any]:
    route = {
        "type": "string",
        "enum": [*ids, NO_MATCH],
        "description": f"Id of the selected route, or {NO_MATCH}",
    }
    reasoning = {"type": "string", "description": "The reason, in a sentence or two"}
    return {
        "name": "router_response",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"route": route, "reasoning": reasoning},
            "required": ["route", "reasoning"],
            "additionalProperties": False,
        },
    }


@handler(check=check_model)
def router_v2(block: BlockContext) -> dict[str, Any]:
    """Let the model choose one of the routes for the context."""
    context = block.values.get("context") or ""
    routes = option_rows(block.values.get("routes"))
    ids = [str(route.get("id")) for route in routes]
    listed = "\n".join(
        f"- {route.get('id')}: {route.get('value') or route.get('title') or ''}" for route in routes
    )
    reply = ask(
        block,
        [
            {
                "role": "system",
                "content": "Choose exactly one route for the user's text. Prefer a partial "
                f"match over none; answer {NO_MATCH} only if the text has nothing to "
                f"do with any of them.\n\nRoutes, by id:\n{listed}\n\nRespond with a "
                'JSON object: "route" (the id, copied exactly) and "reasoning" (a '
                "sentence or two).",
            },
            {"role": "user", "content": context},
        ],
        model=str(block.values.get("model") or DEFAULT_MODEL),
        response_format=_route_format(ids),
    )
    content = reply.get("content")
    parsed = json_reply(content)
    chosen = str(content or "").strip() if parsed is MISSING else str(parsed.get("route", ""))
    reasoning = "" if parsed is MISSING else str(parsed.get("reasoning", ""))
    if chosen == NO_MATCH or not chosen:
        reason = f": {reasoning}" if reasoning else ""
        raise BlockError(f"Router could not determine a matching route{reason}")
    if chosen not in ids:
        raise BlockError(
            f'Router could not determine a valid route. LLM response: "{content}". '
            f"Available route IDs: {', '.join(ids)}"
        )
    return {
        "context": context,
        "model": reply.get("model") or block.values.get("model"),
        "tokens": tokens(reply),
        "cost": cost(reply),
        "selectedRoute": chosen,
        "reasoning": reasoning,
        "selectedPath": block.target(f"router-{chosen}") or NO_PATH,
    }


NO_PATH = {"blockId": "", "blockType": "", "blockTitle": ""}


@handler(check=check_model)
def router(block: BlockContext) -> dict[str, Any]:
    """Let the model choose one of the connected blocks (the older block)."""
    prompt = block.values.get("prompt") or ""
    targets = [
        target
        for handle in block.node.targets
        if handle.startswith("router-") and (target := block.target(handle)) is not None
    ]
    listed = "\n".join(
        f"- {target['blockId']}: {target['blockTitle']} ({target['blockType']})"
        for target in targets
    )
    reply = ask(
        block,
        [
            {
                "role": "system",
                "content": "Choose the one block that should handle the user's request. Blocks, "
                f"by id:\n{listed}\n\nRespond with the id alone.",
            },
            {"role": "user", "content": prompt},
        ],
        model=str(block.values.get("model") or DEFAULT_MODEL),
        choices=[target["blockId"] for target in targets],
    )
    chosen = re.sub(r"^[\"'`]|[\"'`.]$", "", str(reply.get("content") or "").strip().lower())
    found = next((item for item in targets if item["blockId"].lower() == chosen), None)
    if found is None:
        raise BlockError(
            f'Invalid routing decision: "{chosen}". '
            f"Available: {', '.join(item['blockId'] for item in targets)}"
        )
    return {
        "prompt": prompt,
        "model": reply.get("model") or block.values.get("model"),
        "tokens": tokens(reply),
        "cost": cost(reply),
        "selectedPath": found,
        "selectedRoute": found["blockId"],
    }
