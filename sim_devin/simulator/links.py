"""Addresses of attachments: the shown ones, and signed ones that need no key."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import quote, unquote

from sim_devin.simulator.answers import Problem
from sim_devin.simulator.model import Attachment

SIGNED_FILES = "/simulated-files/"


class Links:
    """Makes and verifies addresses; `prefix` is the path that the API lies below."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._secret = secrets.token_bytes(16)

    def shown(self, form: str, host: str | None, org_id: str, file: Attachment) -> str:
        """Return the address that lists show, in the `form` of the switch attachment_url."""
        if file.url is not None:
            return file.url
        if form == "signed":
            return self.signed(host, org_id, file)
        tail = f"attachments/{file.attachment_id}/{quote(file.name, safe='')}"
        if form == "api":
            base = f"http://{host}" if host else "https://api.devin.ai"
            return f"{base}{self.prefix}/organizations/{org_id}/{tail}"
        return f"https://app.devin.ai/{tail}"

    def signed(self, host: str | None, org_id: str, file: Attachment) -> str:
        """Return the signed address of `file`, at another origin than `host`."""
        path = "/".join(quote(each, safe="") for each in (org_id, file.attachment_id, file.name))
        origin = _other_origin(host or "127.0.0.1")
        return f"http://{origin}{SIGNED_FILES}{path}?signature={self._signature(path)}"

    def verify(self, path: str, query: Mapping[str, str]) -> tuple[str, str, str]:
        """Return organization, attachment and name of a signed request, or raise the `Problem`."""
        path = path.removeprefix(SIGNED_FILES)
        given = query.get("signature", "").encode("utf-8", "replace")
        parts = [unquote(part) for part in path.split("/")]
        if len(parts) != 3 or not hmac.compare_digest(self._signature(path).encode(), given):
            raise Problem(403, "The signature does not fit")
        return parts[0], parts[1], parts[2]

    def _signature(self, path: str) -> str:
        return hmac.new(self._secret, path.encode(), "sha256").hexdigest()[:32]


def _other_origin(host: str) -> str:
    """Return another name of the same loopback host: the real files lie elsewhere, too."""
    name = host.split(":")[0]
    if name in ("127.0.0.1", "localhost"):
        return ("localhost" if name == "127.0.0.1" else "127.0.0.1") + host[len(name) :]
    return host
