"""Runs that something outside starts: each of them once, however many workers try."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim_devin.engine.document import load_workflow
from sim_devin.engine.program import Program
from sim_devin.engine.reference_check import reads_input
from sim_devin.engine.start import EXTERNAL_TYPES, START_TYPES, input_fields
from sim_devin.engine.typed_inputs import read_inputs
from sim_devin.engine.workflow import Workflow
from sim_devin.engine.workflow_check import require
from sim_devin.errors import CallerError, CredentialsError
from sim_devin.runs.services import AppServices
from sim_devin.runs.starting import RunRequest

if TYPE_CHECKING:
    from sim_devin.app import App

log = logging.getLogger(__name__)


def start_once(
    app: App, workflow: Path, inputs: Any, run_id: str, *, delivered: bool = False
) -> bool:
    """Start a workflow unless there is a run of that id; return whether it was started here.

    `delivered` says that the inputs are what another service sent, and may hold more than the
    workflow declares.

    Raises:
        CallerError: the workflow cannot be started with this.
        CredentialsError: a credential is missing.
        StoreError: the run cannot be recorded.
    """
    if is_known(app, run_id):
        return False
    try:
        document = load_workflow(workflow)
        request = RunRequest(
            workflow=document,
            inputs=inputs,
            trigger=_trigger(document),
            run_id=run_id,
            undeclared=delivered,
        )
        app.runs.start(request)
        app.runs.store.put_file(run_id, workflow, app.clock.time())
    except (CallerError, CredentialsError):
        if is_known(app, run_id):  # another worker was quicker
            return False
        raise
    return True


def warn_of(app: App, what: str, workflow: Path, inputs: Mapping[str, Any] | None) -> None:
    """Log why a run of a workflow would be refused, before anything starts it.

    `inputs` are those of a schedule; None for a hook, which learns them with each delivery.
    """
    try:
        document = load_workflow(workflow)
        trigger = _trigger(document)
        services = AppServices(app)
        program = Program(document, services, kind=trigger)
        require(program, app.environment())
        fields = input_fields(program.start)
        if inputs is not None and program.start.type in START_TYPES:
            is_read = reads_input(program, everything=False)
            read_inputs(fields, inputs, place=program.start.name, is_read=is_read)
    except CallerError as error:
        log.warning("%s: %s would be refused: %s", what, workflow.name, error)


def is_known(app: App, run_id: str) -> bool:
    """Return whether there is a run of exactly that id."""
    return app.runs.store.is_run(run_id)


def _trigger(workflow: Workflow) -> str:
    """Return how to start a workflow: at a trigger of upstream events, else as a call would."""
    types = {block.type for block in workflow.blocks.values() if block.enabled}
    is_for_events = types.intersection(EXTERNAL_TYPES) or not types.intersection(START_TYPES)
    return "external" if is_for_events else "api"
