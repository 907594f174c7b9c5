"""``--verbose``: the log of the package on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import click

VERBOSE = "sim_devin.verbose"  # key in `Context.meta`: whether --verbose was given


def _turn_on(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if not value or ctx.meta.get(VERBOSE):
        return
    ctx.meta[VERBOSE] = True
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    log = logging.getLogger("sim_devin")
    before = log.level
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)

    def turn_off() -> None:
        log.removeHandler(handler)
        log.setLevel(before)

    ctx.find_root().call_on_close(turn_off)


def verbose_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``-v``/``--verbose`` to a command or group."""
    return click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_turn_on,
        help="Show the log, and tracebacks of unexpected errors.",
    )(function)
