"""``sim-devin mcp``: the tools for any client of the Model Context Protocol."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sim_devin.cli.commands.examples import CommandWithExamples
from sim_devin.cli.commands.options import AppOptions, Finite, app_options
from sim_devin.errors import Cancelled, MissingDependency

if TYPE_CHECKING:
    from sim_devin.policy.rules import Policy

TOKEN = "SIM_DEVIN_MCP_TOKEN"  # noqa: S105 - the variable's name
LONGEST_CALL = 50.0


@click.command(
    "mcp",
    cls=CommandWithExamples,
    examples=(
        "sim-devin mcp --simulate",
        "sim-devin mcp --confirm-destructive --max-acu 10",
        "sim-devin mcp --http --read-only",
    ),
)
@click.option("--http", is_flag=True, help="Serve over HTTP instead of standard input and output.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8788,
    show_default=True,
    help="Port to listen on; 0 selects a free one.",
)
@click.option(
    "--no-token",
    is_flag=True,
    help=f"Do not require a bearer token; by default it is {TOKEN}, or a new one.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="HOST:PORT",
    help="Additional host name that clients may use. Repeatable.",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="URL",
    help="Web origin allowed to connect. Repeatable.",
)
@click.option("--read-only", is_flag=True, help="Offer only tools that change nothing.")
@click.option(
    "--allow",
    multiple=True,
    metavar="PATTERN",
    help="Offer only these tools, such as 'devin_get_*'. Repeatable.",
)
@click.option(
    "--deny", multiple=True, metavar="PATTERN", help="Do not offer these tools. Repeatable."
)
@click.option(
    "--confirm",
    multiple=True,
    metavar="PATTERN",
    help="Require approval for these tools, requested through the client. Repeatable.",
)
@click.option(
    "--confirm-destructive", is_flag=True, help="Require approval for calls that cannot be undone."
)
@click.option(
    "--confirm-spending", is_flag=True, help="Require approval for calls that cost money."
)
@click.option("--max-acu", type=click.IntRange(min=1), help="Maximum ACUs of one session.")
@click.option(
    "--max-acu-run",
    type=click.IntRange(min=1),
    help="Maximum total ACUs reserved for the sessions of this server.",
)
@click.option(
    "--max-acu-day",
    type=click.IntRange(min=1),
    help="The same for one day (UTC), across restarts and all processes that share the store.",
)
@click.option(
    "--max-sessions-run",
    type=click.IntRange(min=1),
    help="Maximum number of sessions created by this server.",
)
@click.option(
    "--max-sessions-day",
    type=click.IntRange(min=1),
    help="Maximum number of sessions in one day (UTC), across all processes that share the store.",
)
@click.option(
    "--max-minutes",
    type=click.IntRange(min=1),
    help="End a session that is still unfinished this many minutes after its create.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be sent; change nothing.")
@click.option(
    "--workflow",
    "workflows",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Offer a workflow as a tool. Repeatable.",
)
@click.option(
    "--model-may-answer",
    is_flag=True,
    help="Let the model answer Devin's questions in a workflow; otherwise a person is asked.",
)
@click.option(
    "--longest-call",
    type=Finite(min=1),
    default=LONGEST_CALL,
    show_default=True,
    metavar="SECONDS",
    help="Longest duration of a waiting call, which can then be called again; clients time out "
    "after a minute.",
)
@app_options()
def command(
    options: AppOptions,
    http: bool,
    allow: tuple[str, ...],
    workflows: tuple[Path, ...],
    model_may_answer: bool,
    longest_call: float,
    **given: Any,
) -> None:
    """Offer the tools to clients of the Model Context Protocol.

    Serves over standard input and output, for a client that starts it, or over HTTP with --http.

    The policy in the config file applies. The options here can only tighten it, except --allow,
    which replaces the file's.
    """
    try:
        import mcp  # noqa: F401
    except ImportError:
        raise MissingDependency("The MCP server", "mcp") from None
    from sim_devin.mcp import server as mcp_server
    from sim_devin.policy.rules import Policy

    address = {name: given.pop(name) for name in ("host", "port", "hosts", "origins", "no_token")}
    with options.open(policy=_policy(given)) as app:
        for slip in Policy(allow=allow).slips(app.registry.tools):
            click.echo(f"warning: --{slip}", err=True)
        server = mcp_server.build(
            app,
            policy=Policy(allow=allow),  # selects what is offered; blocks of workflows ignore it
            longest_call=longest_call,
            workflows=workflows,
            model_may_answer=model_may_answer,
        )
        try:
            if http:
                _serve_http(server, **address)
            else:
                _serve_stdio(server)
        except KeyboardInterrupt:
            click.get_current_context().exit(Cancelled.exit_code)


def _policy(given: Mapping[str, Any]) -> Policy:
    from sim_devin.policy.rules import COSTS_MONEY, DESTRUCTIVE, Policy

    wanted = {DESTRUCTIVE: given["confirm_destructive"], COSTS_MONEY: given["confirm_spending"]}
    return Policy(
        read_only=given["read_only"],
        deny=given["deny"],
        confirm=(*given["confirm"], *(trait for trait in wanted if wanted[trait])),
        acu_per_call=given["max_acu"],
        acu_per_run=given["max_acu_run"],
        acu_per_day=given["max_acu_day"],
        sessions_per_run=given["max_sessions_run"],
        sessions_per_day=given["max_sessions_day"],
        minutes_per_session=given["max_minutes"],
        dry_run=given["dry_run"],
    )


def _serve_stdio(server: Any) -> None:
    import anyio
    from mcp.server.stdio import stdio_server

    async def run() -> None:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    anyio.run(run)


def _serve_http(
    server: Any,
    host: str,
    port: int,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    *,
    no_token: bool,
) -> None:
    from sim_devin.mcp import http as mcp_http

    given = os.environ.get(TOKEN, "").strip()
    token = None if no_token else given or secrets.token_urlsafe(32)

    def ready(url: str) -> None:
        click.echo(f"MCP at {url}", err=True)
        if token and not given:
            click.echo(f"Authorization: Bearer {token}", err=True)
        click.echo("Ctrl-C stops it.", err=True)

    app = mcp_http.http_app(server, token=token, host=host, hosts=hosts, origins=origins)
    mcp_http.serve(app, host, port, ready)
