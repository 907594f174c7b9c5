"""Which organization a call goes to: the address at which it creates its jobs is its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.specs.jobs import JobSpec
from sim_devin.store.sealing import Seal, read_json
from sim_devin.toolbox import Toolbox


def place_of(app: Toolbox, job: JobSpec, credentials: Mapping[str, str]) -> str:
    """Return where calls for a kind of job go with these credentials, those of the app filled in.

    Secrets in the address are masked: it is stored as it is, and only compared.

    Raises:
        CredentialsError: no usable key or organization.
    """
    return app.redactor.text(app.address_of(job.create.tool, credentials))


def credentials_here(
    app: Toolbox, job: JobSpec, seal: Seal, place: str, closed: str | None
) -> Mapping[str, str] | None:
    """Return credentials that are kept as JSON, or None if they lead elsewhere from here.

    Raises:
        CredentialsError: they are not known here; another process may know them.
    """
    known: Mapping[str, str] = seal.open(read_json(closed)) if closed else {}
    return known if place_of(app, job, known) == place else None


def credentials_in(app: Toolbox, tool_id: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the credentials that the parameters of a call pass in, by name."""
    fields = app.registry.connections[app.registry.tool(tool_id).connection or ""].fields
    return {name: params[name] for name in fields if params.get(name)}


def service_of(app: Toolbox, tool_id: str, params: Mapping[str, Any]) -> str:
    """Return the name of the service that a call goes to: of a job's tools its organization."""
    job = app.registry.job_of(tool_id)
    if job is not None:
        return place_of(app, job, credentials_in(app, tool_id, params))
    return app.registry.tool(tool_id).connection or tool_id
