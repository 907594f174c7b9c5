"""Tickets of a made-up tracker: a connection, three tools, two blocks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any

import sim_devin
from sim_devin.engine.contract import BlockContext, handler
from sim_devin.errors import UnreadableResponse


@sim_devin.hookimpl
def sim_devin_specs() -> sim_devin.Specs:
    specs = sim_devin.load_specs(files(__name__))
    specs = specs.attach("acme_tickets_export", read=read_lines)
    specs = specs.attach("acme_tickets_comment", prepare=sign)
    return specs.attach("acme_tickets_hand_over", run=hand_over)


@sim_devin.hookimpl
def sim_devin_handlers() -> dict[str, Any]:
    return {"acme_tickets_prompt": write_prompt}


def sign(
    params: Mapping[str, Any], build: Callable[[Mapping[str, Any]], sim_devin.Request]
) -> sim_devin.Request:
    """Build the request, with the signature every comment carries."""
    request = build({**params, "text": f"{params['text']}\n-- sim_devin"})
    return replace(request, headers={**request.headers, "X-Acme-Source": "sim_devin"})


def read_lines(
    response: sim_devin.Response, read: Callable[[sim_devin.Response], dict[str, Any]]
) -> dict[str, Any]:
    """Read an export, which is one JSON document a line; errors are read as usual."""
    if not response.ok:
        return read(response)
    try:
        lines = response.body.decode().splitlines()
        return {"tickets": [json.loads(line) for line in lines]}
    except ValueError:
        raise UnreadableResponse("The export is not JSON lines.", status=response.status) from None


def hand_over(params: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Start a Devin session on a ticket and note the session in the ticket."""
    session = context.call("devin_create_session", {"prompt": params["task"]})
    return {"ticket": params["ticket"], "url": session["url"]}


@handler(inline=True)
def write_prompt(block: BlockContext) -> dict[str, Any]:
    """Word a ticket as a task."""
    return {"prompt": f"Solve {block.values['ticket']}, then open a pull request."}
