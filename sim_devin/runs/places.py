"""Which organization a call goes to: the address of its list of sessions is its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim_devin.store.sealing import Seal, read_json
from sim_devin.toolbox import Toolbox


def place_of(app: Toolbox, credentials: Mapping[str, str]) -> str:
    """Return where a call with these credentials goes, those of the app filled in.

    Raises:
        CredentialsError: no usable key or organization.
    """
    return app.build_request("devin_list_sessions", credentials).url.partition("?")[0]


def credentials_here(
    app: Toolbox, seal: Seal, place: str, closed: str | None
) -> Mapping[str, str] | None:
    """Return credentials that are kept as JSON, or None if they lead elsewhere from here.

    Raises:
        CredentialsError: they are not known here; another process may know them.
    """
    known: Mapping[str, str] = seal.open(read_json(closed)) if closed else {}
    return known if place_of(app, known) == place else None


def credentials_in(app: Toolbox, tool_id: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the credentials that the parameters of a call hand in, by name."""
    fields = app.registry.connections[app.registry.tool(tool_id).connection or ""].fields
    return {name: params[name] for name in fields if params.get(name)}
