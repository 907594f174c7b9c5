"""The Agent block: a language model with tools of the registry at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sim_devin.blocks.model import (
    DEFAULT_MODEL,
    ask,
    check_model,
    cost,
    json_reply,
    number,
    tokens,
)
from sim_devin.calls.ceilings import is_nothing
from sim_devin.engine.contract import BlockContext, BlockError, Written, handler
from sim_devin.engine.failures import describe
from sim_devin.engine.fields import require_ceiling
from sim_devin.engine.model_input import kept_back
from sim_devin.engine.origins import texts
from sim_devin.engine.problem import Problem
from sim_devin.engine.references import (
    MISSING,
    EnvName,
    json_text,
    parse_json,
    split,
    value_text,
)
from sim_devin.engine.services import Services
from sim_devin.engine.workflow import Block
from sim_devin.errors import Declined, SimDevinError
from sim_devin.specs import json_schema
from sim_devin.specs.forms import NOTHING
from sim_devin.specs.rewriting import as_object

MAX_ROUNDS = 20  # of tool calls, as in Sim
STANDARD = ("content", "model", "tokens", "toolCalls", "providerTiming", "cost")


def response_format(value: Any) -> Mapping[str, Any] | None:
    """Return ``{"name", "schema", "strict"}`` of a response format, in any shape exports have."""
    parsed = parse_json(value) if isinstance(value, str) else value
    schema = json_schema.unwrapped(parsed)
    if not isinstance(parsed, Mapping) or not schema:
        return None
    # {"type": "json_schema", "json_schema": {"name", "schema", "strict"}}, or the inner one.
    outer = parsed.get("json_schema", parsed)
    given = outer if schema is not parsed and isinstance(outer, Mapping) else {}
    strict = {"strict": given["strict"]} if isinstance(given.get("strict"), bool) else {}
    return {"name": given.get("name") or "response", "schema": schema, **strict}


def declared(block: Block) -> dict[str, Any]:
    """Return what may be read of the block: the response format's fields, or the usual ones."""
    wanted = response_format(block.values.get("responseFormat"))
    properties = as_object(wanted["schema"]).get("properties") if wanted else None
    if properties:
        return {**properties, **{name: {} for name in STANDARD if name != "content"}}
    return {name: {} for name in STANDARD}


class ToolEntry:
    """One tool of an agent: what the model sees, and what the user fixed."""

    def __init__(
        self,
        block: BlockContext,
        entry: Mapping[str, Any],
        for_model: Mapping[str, Any],
        written: Mapping[str, Any] | None,
    ) -> None:
        self.forced = entry.get("usageControl") == "force"
        try:
            self.tool_id, bound = _planned(block.services, entry)
            if for_model != entry:
                _, readable = _planned(block.services, for_model)
                model_input = block.services.model_input(self.tool_id)
                kept = {key: readable[key] for key in model_input if key in readable}
                _warn(block, {key: value for key, value in kept.items() if bound[key] != value})
                bound |= kept
            # What the user filled in is settled; a model neither sees nor changes it, and what
            # came to nothing is settled as nothing.
            filled = _filled(block, bound, written)
            for name in block.services.ceilings(self.tool_id):
                if name in filled:
                    place = f"tools.{name}"
                    require_ceiling(block.block.name, place, filled[name], bound.get(name))
            bound |= {name: NOTHING for name in filled if is_nothing(bound.get(name))}
            self.bound = {key: value for key, value in bound.items() if value not in (None, "")}
            self.function = block.services.function(self.tool_id, self.bound)
        except SimDevinError as error:
            raise BlockError(
                f"the agent's tool {entry.get('title') or entry.get('type')!r} cannot be used: "
                f"{error.message}",
                hint=error.hint,
                retry=False,
            ) from error

    def call(self, block: BlockContext, arguments: Any) -> tuple[Any, Any]:
        """Call the tool with the model's arguments under the user's; an error is an answer.

        Returns:
            The answer, and what of it the model may read.

        Raises:
            Declined: approval is needed, and there is none: no model may argue with that.
        """
        try:
            params = block.services.function_params(self.tool_id, arguments, self.bound)
            result = block.call_tool(self.tool_id, params)
        except Declined:
            raise
        except SimDevinError as error:
            result = {"error": True, "message": describe(error).text, "tool": self.tool_id}
            return result, block.without_variables(result)
        told = block.without_variables(result)
        return result, block.services.for_model(self.tool_id, params, told)


def _filled(
    block: BlockContext, bound: Mapping[str, Any], written: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return parameter -> what the document fills it with; what was left empty is not there.

    `written` is the entry in the document. Without one, as in tools that a block put out, all
    that are there count.
    """
    unknown = dict.fromkeys(bound, "a value of tools that are not defined in the block")
    if written is None:
        return unknown
    try:
        _, values = _planned(block.services, written)
    except SimDevinError:  # its operation is known only by now
        return unknown
    return {name: value for name, value in values.items() if not is_nothing(value)}


def _warn(block: BlockContext, kept: Mapping[str, Any]) -> None:
    names = {part.text for text in texts(kept) for part in split(text) if isinstance(part, EnvName)}
    if names:
        block.warn(kept_back(names), "tools")


def check(written: Written) -> Iterator[Problem]:
    """Yield what is wrong with the model, the response format and the tools."""
    yield from check_model(written)
    field = written.values.get("responseFormat")
    if isinstance(field, str) and field.strip() and response_format(field) is None:
        yield Problem(
            "the response format is not a JSON object",
            place="responseFormat",
            hint="Write a JSON Schema, or leave it empty.",
        )
    stored = written.block.values.get("tools")
    if stored and not _rows(stored) and stored not in ("[]", []):
        yield Problem(
            "the tools cannot be read: the agent would have none",
            place="tools",
            hint="Write a JSON list of tools.",
            level="warning",
        )
    for entry in _rows(stored):
        if isinstance(entry, Mapping) and entry.get("usageControl") != "none":
            yield from _tool_problems(written, entry)


def _tool_problems(written: Written, entry: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield why the agent could not use a tool."""
    name = str(entry.get("title") or entry.get("toolId") or entry.get("type"))
    place = f"tools.{name}"
    heads = ("type", "toolId", "operation")
    fixed = entry.get("params")
    fixed = fixed if isinstance(fixed, Mapping) else {}
    if any(written.is_open(entry.get(head)) for head in heads) or written.is_open(
        fixed.get("operation")
    ):
        return
    settled = {
        key: value
        for key, value in fixed.items()
        if not written.is_open(value) and not is_nothing(value)
    }
    try:
        tool_id, bound = _planned(written.services, {**entry, "params": settled})
        given = {key: value for key, value in bound.items() if not is_nothing(value)}
        written.services.function(tool_id, given)
    except SimDevinError as error:
        known = "Agents can use blocks with operations, and tools by their ids."
        told = f"the agent's tool {name!r} cannot be used: {error.message}"
        yield Problem(told, place=place, hint=error.hint or known)
        return
    for text in written.services.refusals(tool_id, given):
        field = text.partition(":")[0].partition("[")[0]
        if field in given:
            yield Problem(
                f"the agent's tool {name!r}: {text}",
                place=f"{place}.{field}",
                hint="Correct the value: every call with it is refused.",
            )


def _planned(services: Services, entry: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the tool of an entry and what is fixed: a block's operation, or a tool by its id."""
    block_type = str(entry.get("type") or "")
    fixed = entry.get("params")
    values = dict(fixed) if isinstance(fixed, Mapping) else {}
    if block_type == "tool":
        return str(entry.get("toolId") or ""), values
    if entry.get("operation"):
        values.setdefault("operation", entry["operation"])
    tool_id, params = services.plan(block_type, values)
    credentials = services.credentials(block_type)
    return tool_id, params | {key: values[key] for key in credentials if key in values}


@handler(outputs=declared, also_for_model=("tools",), check=check)
def agent(block: BlockContext) -> dict[str, Any]:
    """Ask the model, carrying out the tools it calls, until it answers."""
    values = block.values
    entries: dict[str, ToolEntry] = {}
    for item, for_model, written in _tool_entries(block):
        entry = ToolEntry(block, item, for_model, written)
        entries.setdefault(entry.tool_id, entry)
    wanted = response_format(values.get("responseFormat"))
    for problem in () if wanted is None else json_schema.outside(wanted["schema"]):
        raise BlockError(f"the response format {problem}", retry=False)
    model = str(values.get("model") or DEFAULT_MODEL)
    messages = _messages(values)
    calls: list[dict[str, Any]] = []
    replies: list[Mapping[str, Any]] = []
    most_tokens = number(values.get("maxTotalTokens"), "maxTotalTokens", float)
    most_cost = number(values.get("maxCost"), "maxCost", float)
    for _ in range(MAX_ROUNDS):
        if replies:
            _check_spent(replies, most_tokens, most_cost)
        reply = ask(
            block,
            messages,
            model=model,
            tools=[entry.function for entry in entries.values()],
            response_format=wanted,
            tool_choice=_forced(entries, calls),
        )
        replies.append(reply)
        asked = _asked(reply)
        if not asked or reply.get("content"):
            for item in asked:
                _carry_out(block, entries, item, calls)
            return _output(replies, model, calls, structured=wanted is not None)
        said = {"role": "assistant", "content": reply.get("content") or "", "toolCalls": asked}
        if reply.get("native") is not None:
            said["native"] = reply["native"]
        messages.append(said)
        for item in asked:
            messages.append(_carry_out(block, entries, item, calls))
    raise BlockError(f"the model still called tools after {MAX_ROUNDS} rounds", retry=False)


def _check_spent(
    replies: Sequence[Mapping[str, Any]], most_tokens: float | None, most_cost: float | None
) -> None:
    """Refuse a further round once a ceiling is reached, or cannot be held."""
    used = ""
    if most_tokens is not None and tokens(*replies)["total"] >= most_tokens:
        used = f"{tokens(*replies)['total']} of at most {most_tokens:g} tokens"
    elif most_cost is not None and not all("cost" in reply for reply in replies):
        raise BlockError(
            "the block has a maxCost, but the price of its model is unknown",
            hint="Use maxTotalTokens instead.",
            retry=False,
        )
    elif most_cost is not None and cost(*replies)["total"] >= most_cost:
        used = f"{cost(*replies)['total']:.4f} of at most {most_cost:g} US dollars"
    if used:
        raise BlockError(
            f"the model used {used} and had not finished after {len(replies)} rounds",
            hint="Raise the block's ceiling, or reduce the task.",
            retry=False,
        )


def _tool_entries(
    block: BlockContext,
) -> list[tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any] | None]]:
    """Return each tool's entry with its values, as a model may read it, and as it was written."""
    value = block.values.get("tools")
    stored = _rows(block.block.values.get("tools"))
    rows, for_model = _rows(value), _rows(block.for_model.get("tools", value))
    if len(rows) != len(for_model):
        raise BlockError(
            "the agent's tools are JSON text that cannot be parsed before its variables are "
            "replaced",
            hint="Put every {{NAME}} of the field between double quotes.",
            retry=False,
        )
    return [
        (row, readable, written if isinstance(written, Mapping) else None)
        for row, readable, written in zip(
            rows, for_model, stored if len(stored) == len(rows) else [None] * len(rows), strict=True
        )
        if isinstance(row, Mapping)
        and isinstance(readable, Mapping)
        and row.get("usageControl") != "none"
    ]


def _rows(value: Any) -> list[Any]:
    rows = parse_json(value) if isinstance(value, str) else value
    return rows if isinstance(rows, list) else []


def _forced(entries: Mapping[str, ToolEntry], calls: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the first tool that the model has to call and has not called yet."""
    called = {call["name"] for call in calls}
    waiting = (name for name, entry in entries.items() if entry.forced and name not in called)
    return next(waiting, None)


def _messages(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = values.get("messages")
    rows = parse_json(rows) if isinstance(rows, str) else rows
    messages = [
        {"role": str(row["role"]), "content": value_text(row.get("content") or "")}
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, Mapping) and row.get("role")
    ]
    for role, key in (("system", "systemPrompt"), ("user", "userPrompt")):
        value = values.get(key)
        if value and not any(message["role"] == role for message in messages):
            messages.append({"role": role, "content": value_text(value)})
    return messages


def _asked(reply: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    calls = reply.get("toolCalls")
    if isinstance(calls, Mapping):
        calls = calls.get("list")
    return [
        call
        for call in (calls if isinstance(calls, list) else ())
        if isinstance(call, Mapping) and call.get("name")
    ]


def _carry_out(
    block: BlockContext,
    entries: Mapping[str, ToolEntry],
    asked: Mapping[str, Any],
    calls: list[dict[str, Any]],
) -> dict[str, Any]:
    name = str(asked["name"])
    arguments = asked.get("arguments")
    entry = entries.get(name)
    if entry is None:
        result: Any = {"error": True, "message": f"there is no tool {name}", "tool": name}
        told = result
    else:
        result, told = entry.call(block, arguments)
    failed = isinstance(result, Mapping) and result.get("error") is True
    parsed = parse_json(arguments) if isinstance(arguments, str) else arguments
    said = dict(parsed) if isinstance(parsed, Mapping) else {}
    calls.append({"name": name, "arguments": said, "result": result, "success": not failed})
    return {
        "role": "tool",
        "toolCallId": asked.get("id"),
        "name": name,
        "content": json_text(told),
    }


def _output(
    replies: Sequence[Mapping[str, Any]],
    model: str,
    calls: list[dict[str, Any]],
    *,
    structured: bool,
) -> dict[str, Any]:
    reply = replies[-1]
    about = {
        "model": reply.get("model") or model,
        "tokens": tokens(*replies),
        "toolCalls": {"list": calls, "count": len(calls)},
        "cost": cost(*replies),
    }
    if not structured:
        return {"content": reply.get("content") or "", **about}
    parsed = json_reply(reply.get("content"))
    if parsed is MISSING:
        warning = "the model's response is not the requested JSON"
        return {"content": reply.get("content") or "", **about, "_responseFormatWarning": warning}
    return {**parsed, **about}
