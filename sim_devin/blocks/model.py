"""What the blocks that ask a language model share: the call, and reading its reply."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sim_devin.engine.contract import BlockContext, BlockError, Written
from sim_devin.engine.problem import Problem
from sim_devin.engine.references import MISSING, parse_json
from sim_devin.engine.services import takes_settings
from sim_devin.errors import MissingCredentials, SimDevinError
from sim_devin.specs.schema import number as as_number

DEFAULT_MODEL = "default"
NO_MODEL = "no language model is available"
HAND_IN = "Pass one: open_app(llm=…), an object with complete(messages, …)."


def check_model(written: Written) -> Iterator[Problem]:
    """Yield what stands in the way of asking the block's model."""
    if written.unknown.intersection(("model", "apiKey")):
        return
    llm = written.services.llm
    if llm is None:
        yield Problem(NO_MODEL, place="model", hint=HAND_IN)
        return
    require = getattr(llm, "require_access", None)
    if require is not None:
        values = written.values
        try:
            require(str(values.get("model") or DEFAULT_MODEL), str(values.get("apiKey") or ""))
        except MissingCredentials as error:
            if written.env is not None:
                yield Problem(error.message, place="model", hint=error.hint)
        except SimDevinError as error:
            yield Problem(error.message, place="model", hint=error.hint)


def ask(
    block: BlockContext,
    messages: Sequence[Mapping[str, Any]],
    *,
    model: str,
    tools: Sequence[Mapping[str, Any]] = (),
    response_format: Mapping[str, Any] | None = None,
    tool_choice: str | None = None,
    choices: Sequence[str] = (),
) -> Mapping[str, Any]:
    """Return the model's reply, under the block's own settings of the model.

    Args:
        block: the block.
        messages: ``{"role", "content"}`` each.
        model: the model's name.
        tools: the functions the model may call.
        response_format: ``{"name", "schema"}`` of the JSON object that is asked for, with
            ``strict`` where it was said.
        tool_choice: the function the model has to call.
        choices: the texts of which the answer has to be one, where the messages say so.

    Raises:
        BlockError: no model was passed in.
        SimDevinError: the model could not be asked.
    """
    if block.llm is None:
        raise BlockError(NO_MODEL, hint=HAND_IN, retry=False)
    options: dict[str, Any] = {}
    if takes_settings(block.llm):
        options["settings"] = _settings(block, tool_choice, choices)
    reply: Mapping[str, Any] = block.llm.complete(
        list(messages), model=model, tools=list(tools), response_format=response_format, **options
    )
    return reply


def _settings(
    block: BlockContext, tool_choice: str | None, choices: Sequence[str]
) -> dict[str, Any]:
    values = block.values
    found = {
        "apiKey": values.get("apiKey"),
        "temperature": number(values.get("temperature"), "temperature", float),
        "maxTokens": number(values.get("maxTokens"), "maxTokens", int),
        "timeout": block.remaining(),
        "toolChoice": tool_choice,
        "choices": list(choices) or None,
        "cancel": block.cancel,
    }
    return {key: value for key, value in found.items() if value not in (None, "")}


def number(value: Any, field: str, kind: type[int] | type[float]) -> int | float | None:
    """Return the value of a block's field as a number; None if it is empty.

    Raises:
        BlockError: it is none: text, true or false, or no finite number.
    """
    if value in (None, ""):
        return None
    found = as_number(value) if isinstance(value, str) else value
    real = not isinstance(found, bool) and isinstance(found, (int, float))
    if found is None or not real or not math.isfinite(found):
        text = f"the block's {field} is not a number: {str(value)[:60]!r}"
        raise BlockError(text, retry=False)
    return kind(found)


def tokens(*replies: Mapping[str, Any]) -> dict[str, Any]:
    """Return the token counts of replies together, zeros where they have none."""
    given = [reply.get("tokens") for reply in replies]
    counts = [item for item in given if isinstance(item, Mapping)]
    return {key: _sum(key, counts) for key in ("input", "output", "total")}


def cost(*replies: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cost of replies together in US dollars, zeros where they have none."""
    given = [reply.get("cost") for reply in replies]
    costs = [item for item in given if isinstance(item, Mapping)]
    others = costs[-1] if costs else {}
    return {**others, **{key: _sum(key, costs) for key in ("input", "output", "total")}}


def _sum(key: str, items: Sequence[Mapping[str, Any]]) -> Any:
    return sum(item.get(key) or 0 for item in items)


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
