"""What the blocks that ask a language model share: the call, and reading its reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sim_devin.engine.references import MISSING, parse_json
from sim_devin.handler import BlockContext, BlockError

NO_COST = {"input": 0, "output": 0, "total": 0}


def ask(
    block: BlockContext,
    messages: Sequence[Mapping[str, Any]],
    *,
    model: str,
    tools: Sequence[Mapping[str, Any]] = (),
    response_format: Mapping[str, Any] | None = None,
) -> Mapping[str, Any]:
    """Return the model's reply.

    Raises:
        BlockError: no model was handed in.
    """
    if block.llm is None:
        raise BlockError(
            "there is no language model here",
            hint="Hand one in: open_app(llm=…), an object with complete(messages, …).",
            retry=False,
        )
    reply: Mapping[str, Any] = block.llm.complete(
        list(messages), model=model, tools=list(tools), response_format=response_format
    )
    return reply


def tokens(reply: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reply's token counts, zeros where it has none."""
    given = reply.get("tokens")
    counts = given if isinstance(given, Mapping) else {}
    return {key: counts.get(key, 0) for key in ("input", "output", "total")}


def cost(reply: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reply's cost, zeros where it has none."""
    given = reply.get("cost")
    return dict(given) if isinstance(given, Mapping) else dict(NO_COST)


def json_reply(content: Any) -> Any:
    """Return the JSON object in a model's answer, also inside a code fence; else MISSING."""
    if isinstance(content, Mapping):
        return dict(content)
    text = str(content or "").strip()
    if text.startswith("```"):
        text = text.strip("`").removeprefix("json").strip()
    parsed = parse_json(text)
    if isinstance(parsed, dict):
        return parsed
    start, end = text.find("{"), text.rfind("}")
    parsed = parse_json(text[start : end + 1]) if 0 <= start < end else MISSING
    return parsed if isinstance(parsed, dict) else MISSING
