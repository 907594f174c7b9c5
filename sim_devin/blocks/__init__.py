"""The built-in plugin with Sim's own blocks; it uses the same hooks as anybody's plugin."""

from __future__ import annotations

from collections.abc import Mapping

from sim_devin.blocks.agent import agent
from sim_devin.blocks.api import api
from sim_devin.blocks.child import child_workflow
from sim_devin.blocks.condition import condition
from sim_devin.blocks.evaluator import evaluator
from sim_devin.blocks.function import function
from sim_devin.blocks.human import human
from sim_devin.blocks.response import response
from sim_devin.blocks.router import router, router_v2
from sim_devin.blocks.variables import variables
from sim_devin.blocks.wait import wait
from sim_devin.engine.contract import Handler
from sim_devin.engine.tool_block import run_tool
from sim_devin.engine.trigger_block import trigger
from sim_devin.engine.workflow_blocks import BLOCKS, STARTS
from sim_devin.plugins.hooks import hookimpl
from sim_devin.specs.files import Specs

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
