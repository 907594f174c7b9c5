"""Who may do what: API keys, roles and permissions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim_devin.simulator.answers import Problem
from sim_devin.simulator.switches import Switches

PERMISSIONS = frozenset(
    {"UseDevinSessions", "ViewOrgSessions", "ManageOrgSessions", "ImpersonateOrgSessions"}
)
ROLES = {
    "admin": PERMISSIONS,
    "member": PERMISSIONS - {"ImpersonateOrgSessions"},
    "viewer": frozenset({"ViewOrgSessions"}),
}


@dataclass(frozen=True)
class Key:
    """What an API key stands for.

    `role` is one of `ROLES`; `permissions`, when given, take its place. `principal` is
    ``"service_user"`` or ``"pat_user"``, a personal access token.
    """

    org_id: str
    role: str = "admin"
    permissions: frozenset[str] | None = None
    principal: str = "service_user"

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"no role is named {self.role!r}; there are: {', '.join(ROLES)}")
        if self.principal not in ("service_user", "pat_user"):
            raise ValueError(f"no principal is named {self.principal!r}")

    @property
    def granted(self) -> frozenset[str]:
        """Return the permissions of the key."""
        return ROLES[self.role] if self.permissions is None else frozenset(self.permissions)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may."""

    org_id: str
    permissions: frozenset[str]
    user_id: str | None = None
    service_user_id: str | None = None

    def require(self, permission: str) -> None:
        """Raise the 403 `Problem` unless the caller has `permission`."""
        if permission not in self.permissions:
            raise Problem(403, f"Missing permission {permission}")


class Gate:
    """Tells from a request's credentials who the caller is.

    Without `keys` every key that starts with ``cog_`` may do everything everywhere.
    """

    def __init__(self, keys: Mapping[str, Key] | None) -> None:
        self.keys = None if keys is None else dict(keys)

    def caller(self, authorization: str, org_id: str, switches: Switches) -> Caller:
        """Return the caller of an organization's endpoint, or raise the `Problem`."""
        token, key = self._admit(authorization, switches)
        if key is not None and key.org_id != org_id:
            raise Problem(403, "No access to this organization")
        if not org_id.startswith(("org-", "org_")):
            raise Problem(404, "Organization not found")
        pat = key is not None and key.principal == "pat_user"
        return Caller(
            org_id=org_id,
            permissions=PERMISSIONS if key is None else key.granted,
            user_id=f"user-{_digest(token)}" if pat else None,
            service_user_id=None if pat else f"service-user-{_digest(token)}",
        )

    def identity(self, authorization: str, switches: Switches) -> dict[str, Any]:
        """Return who the caller is, as ``GET /self`` tells it, or raise the `Problem`."""
        token, key = self._admit(authorization, switches)
        digest = _digest(token)
        org_id = None if key is None else key.org_id
        if key is not None and key.principal == "pat_user":
            return {
                "principal_type": "pat_user",
                "user_id": f"user-{digest}",
                "user_name": "Simulated user",
                "api_key_id": f"key-{digest}",
                "api_key_name": "simulated",
                "org_id": org_id,
            }
        return {
            "principal_type": "service_user",
            "service_user_id": f"service-user-{digest}",
            "service_user_name": "Simulated service user",
            "org_id": org_id,
        }

    def _admit(self, authorization: str, switches: Switches) -> tuple[str, Key | None]:
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if not token:
            raise Problem(switches.missing_auth_status, "Missing credentials")
        if self.keys is None:
            valid = token.startswith("cog_") and len(token) > len("cog_")
        else:
            valid = token in self.keys
        if scheme.lower() != "bearer" or not valid:
            raise Problem(switches.bad_token_status, "Invalid API key")
        return token, None if self.keys is None else self.keys[token]


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()[:6]
