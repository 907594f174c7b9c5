"""The Evaluator block: a language model scores a text by some metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.blocks.model import DEFAULT_MODEL, ask, check_model, cost, json_reply, tokens
from sim_devin.engine.contract import BlockContext, handler
from sim_devin.engine.references import MISSING, parse_json, value_text
from sim_devin.engine.workflow import Block


def _metrics(value: Any) -> list[Mapping[str, Any]]:
    rows = parse_json(value) if isinstance(value, str) else value
    return [
        row
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, Mapping) and row.get("name")
    ]


def _key(metric: Mapping[str, Any]) -> str:
    return str(metric["name"]).lower()


def declared(block: Block) -> dict[str, Any]:
    """Return what may be read of the block: its metrics and what tells of the model."""
    names = [_key(metric) for metric in _metrics(block.values.get("metrics"))]
    return {name: {} for name in ("content", "model", "tokens", "cost", *names)}


@handler(outputs=declared, check=check_model)
def evaluator(block: BlockContext) -> dict[str, Any]:
    """Return a number for each metric."""
    metrics = _metrics(block.values.get("metrics"))
    content = block.values.get("content")
    listed = "\n".join(
        f'- "{_key(metric)}" ({_range(metric)}): {metric.get("description") or ""}'
        for metric in metrics
    )
    reply = ask(
        block,
        [
            {
                "role": "system",
                "content": f"Score the user's text.\nMetrics:\n{listed}\nRespond with a JSON "
                "object that has one number for each metric.",
            },
            {"role": "user", "content": "" if content is None else value_text(content)},
        ],
        model=str(block.values.get("model") or DEFAULT_MODEL),
        response_format={
            "name": "evaluation_response",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {_key(metric): {"type": "number"} for metric in metrics},
                "required": [_key(metric) for metric in metrics],
                "additionalProperties": False,
            },
        },
    )
    scores = json_reply(reply.get("content"))
    found = {} if scores is MISSING else {str(key).lower(): item for key, item in scores.items()}
    return {
        "content": content,
        "model": reply.get("model") or block.values.get("model"),
        "tokens": tokens(reply),
        "cost": cost(reply),
        **{_key(metric): _score(found.get(_key(metric))) for metric in metrics},
    }


def _range(metric: Mapping[str, Any]) -> str:
    bounds = metric.get("range")
    if not isinstance(bounds, Mapping):
        return "any number"
    return f"{bounds.get('min', 0)} to {bounds.get('max', 10)}"


def _score(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0
