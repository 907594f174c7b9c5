"""Prompts that MCP clients offer to their users: start a task, check progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

Context = ServerRequestContext[Any, Any]


def _start_task(given: Mapping[str, str]) -> str:
    cap = given.get("max_acu", "").strip()
    repository = given.get("repository", "").strip()
    place = f" in the repository {repository}" if repository else ""
    limit = f" with maxAcuLimit {cap}" if cap else ""
    return (
        f"Give Devin this task{place}:\n\n{given['task']}\n\nWrite a prompt that states what to "
        f"do, where, and how to tell that it is done. Create one session{limit}, tell me its "
        "URL, and wait for it. If it asks something, show me the question and send my answer. "
        "At the end tell me the outcome and the pull requests."
    )


def _check_progress(given: Mapping[str, str]) -> str:
    session = given.get("session_id", "").strip()
    which = f"the Devin session {session}" if session else "my latest Devin sessions"
    return (
        f"Check {which}. For each, tell me what it is doing, whether it is waiting for someone "
        "and why, what it has used so far, and its pull requests. Read the latest messages if "
        "the status alone is not enough. Change nothing."
    )


_PROMPTS: Mapping[str, tuple[types.Prompt, Callable[[Mapping[str, str]], str]]] = {
    "start_task": (
        types.Prompt(
            name="start_task",
            title="Start a task",
            description="Give Devin a task and follow it until the end.",
            arguments=[
                types.PromptArgument(name="task", description="What to do.", required=True),
                types.PromptArgument(
                    name="repository", description="The repository, as owner/name."
                ),
                types.PromptArgument(name="max_acu", description="Maximum ACUs."),
            ],
        ),
        _start_task,
    ),
    "check_progress": (
        types.Prompt(
            name="check_progress",
            title="Check progress",
            description="Show the state of sessions and what they are waiting for.",
            arguments=[
                types.PromptArgument(
                    name="session_id", description="Session id; default: the latest sessions."
                )
            ],
        ),
        _check_progress,
    ),
}


async def list_prompts(
    _ctx: Context, _params: types.PaginatedRequestParams | None
) -> types.ListPromptsResult:
    """Return the prompts."""
    return types.ListPromptsResult(prompts=[prompt for prompt, _ in _PROMPTS.values()])


async def get_prompt(_ctx: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    """Return a prompt with its arguments filled in.

    Raises:
        MCPError: there is no such prompt, or an argument is missing.
    """
    if params.name not in _PROMPTS:
        known = ", ".join(_PROMPTS)
        message = f"There is no prompt called {params.name!r}; there are {known}."
        raise MCPError(code=types.INVALID_PARAMS, message=message)
    prompt, text = _PROMPTS[params.name]
    given = params.arguments or {}
    missing = [
        argument.name
        for argument in prompt.arguments or ()
        if argument.required and not given.get(argument.name, "").strip()
    ]
    if missing:
        message = f"{params.name} needs the argument {', '.join(missing)}."
        raise MCPError(code=types.INVALID_PARAMS, message=message)
    content = types.TextContent(text=text(given))
    return types.GetPromptResult(
        description=prompt.description,
        messages=[types.PromptMessage(role="user", content=content)],
    )
