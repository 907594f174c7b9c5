"""The built-in plugin with Sim's own blocks; it uses the same hooks as anybody's plugin."""

from __future__ import annotations

from collections.abc import Mapping

from sim_devin.engine.tool_block import run_tool
from sim_devin.engine.trigger_block import trigger
from sim_devin.engine.workflow_blocks import BLOCKS, STARTS
from sim_devin.handler import Handler
from sim_devin.handlers.agent import agent
from sim_devin.handlers.api import api
from sim_devin.handlers.child import child_workflow
from sim_devin.handlers.condition import condition
from sim_devin.handlers.evaluator import evaluator
from sim_devin.handlers.function import function
from sim_devin.handlers.human import human
from sim_devin.handlers.response import response
from sim_devin.handlers.router import router, router_v2
from sim_devin.handlers.variables import variables
from sim_devin.handlers.wait import wait
from sim_devin.hookspecs import hookimpl
from sim_devin.spec_files import Specs

HANDLERS: Mapping[str, Handler] = {
    **{block.type: trigger for block in STARTS},
    "agent": agent,
    "api": api,
    "condition": condition,
    "evaluator": evaluator,
    "function": function,
    "human_in_the_loop": human,
    "response": response,
    "router": router,
    "router_v2": router_v2,
    "variables": variables,
    "wait": wait,
    "workflow": child_workflow,
    "workflow_input": child_workflow,
}


@hookimpl
def sim_devin_specs() -> Specs:
    """Return the blocks."""
    return Specs(blocks=BLOCKS)


@hookimpl
def sim_devin_handlers() -> Mapping[str, Handler]:
    """Return what runs them."""
    return HANDLERS


__all__ = ["HANDLERS", "run_tool", "sim_devin_handlers", "sim_devin_specs", "trigger"]
