"""The workflow, inputs and values of a run, from the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim_devin.cli.commands.arguments import json_object
from sim_devin.errors import InvalidWorkflow, MissingCredentials

if TYPE_CHECKING:
    from sim_devin.app import App
    from sim_devin.engine.workflow import Workflow


def document(source: str) -> Workflow:
    """Return the workflow in a file, or on standard input for ``-``.

    Raises:
        CallerError: it cannot be read, or is not a workflow.
    """
    from sim_devin.engine.document import load_workflow

    return load_workflow(json_object("-") if source == "-" else Path(source))


def require_values(
    app: App,
    document: Workflow,
    values: Mapping[str, Any],
    env: Mapping[str, str],
    trigger: str,
) -> None:
    """Check that nothing is missing before anything runs.

    Raises:
        InvalidWorkflow: fields have no value; lists all of them.
        MissingCredentials: only credentials are missing; names the variables to set.
    """
    from sim_devin.engine.bindings import bind, missing
    from sim_devin.runs.services import AppServices

    lost = missing(bind(document, values), AppServices(app), env, kind=trigger)
    unset = dict.fromkeys(item.variable for item in lost if item.variable)
    fields = [f"{item.block}: {item.title} ({item.field})" for item in lost if not item.variable]
    hint = f"Set {' and '.join(unset)}, or try it without an account: --simulate." if unset else ""
    if fields:
        example = next(item for item in lost if not item.variable)
        hint = f'Give them with --set "{example.block}.{example.field}=…" or --bindings. {hint}'
        problems = [f"{field} has no value" for field in fields]
        raise InvalidWorkflow(problems, hint=hint.strip())
    if unset:
        blocks = ", ".join(dict.fromkeys(item.block for item in lost))
        raise MissingCredentials(f"Credentials are missing for: {blocks}.", hint=hint)


def block(workflow: Workflow, name: str | None) -> str | None:
    """Return the id of a block given by id or name.

    Raises:
        UnknownName: there is no such block; suggests the nearest.
    """
    from sim_devin.engine.bindings import named_block

    return None if name is None else named_block(workflow, name).id


def environment(app: App, given: Mapping[str, str], *, simulated: bool) -> dict[str, str]:
    """Return the values of ``{{NAME}}``; a simulated run needs no real credentials."""
    from sim_devin.app import SIMULATED_CREDENTIALS

    made_up: dict[str, str] = {}
    if simulated:
        made_up = {
            field.env: SIMULATED_CREDENTIALS[name]
            for connection in app.registry.connections.values()
            for name, field in connection.fields.items()
            if name in SIMULATED_CREDENTIALS
        }
    return {**os.environ, **made_up, **given}
