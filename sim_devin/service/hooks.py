"""Hooks of the config file, and whether a delivery is one of theirs. Pure: no I/O, no clock.

A hook starts a workflow with what another service delivers::

    [hooks.deploy-failed]
    workflow = "fix-deploy.json"
    secret_env = "DEPLOY_HOOK_SECRET"    # or: secret = "…"
    style = "github"                     # unless given, "timestamp"

Style ``timestamp`` is that of `sim_devin.calls.signature`: the time, the delivery id and the
body are signed; ``v1`` may stand there more than once, as it does while a secret is replaced. Style
``github`` signs the body alone, as GitHub documents for ``X-Hub-Signature-256``.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sim_devin.calls.signature import (
    DELIVERY,
    HEADER,
    content,
    declared_secret,
    parse_signature,
    sign,
)
from sim_devin.errors import CallerError

STYLES = ("timestamp", "github")
REPLAY_WINDOW = 300  # seconds a timestamp may be off, either way
_KEYS = {"workflow", "secret", "secret_env", "style"}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Hook:
    """What a name below ``/hooks/`` starts, and who may. Its repr hides the secret."""

    name: str
    workflow: Path
    secret: str = field(repr=False)
    style: str = "timestamp"

    def accepts(self, headers: Mapping[str, str], body: bytes, now: float) -> bool:
        """Return whether a delivery is signed with the secret, and recently if it says when.

        `headers` have lower-case names; `now` is in seconds since the Unix epoch.
        """
        if self.style == "github":
            given = headers.get("x-hub-signature-256", "")
            return _same(given, "sha256=" + sign(self.secret, body))
        parsed = parse_signature(headers.get(HEADER.lower(), ""))
        if parsed is None:
            return False
        moment, signatures = parsed
        delivery = headers.get(DELIVERY.lower(), "")
        expected = sign(self.secret, content(moment, delivery, body))
        genuine = [_same(signature, expected) for signature in signatures]
        return any(genuine) and abs(now - int(moment)) <= REPLAY_WINDOW

    def run_id(self, headers: Mapping[str, str], body: bytes) -> str:
        """Return the id of the run that a delivery starts: the same for the same delivery.

        Without a delivery id, what was signed stands for it.
        """
        is_github = self.style == "github"
        delivery = headers.get("x-github-delivery" if is_github else DELIVERY.lower())
        if delivery:
            named = b"id:" + delivery.encode()
        else:
            parsed = parse_signature(headers.get(HEADER.lower(), ""))
            moment = "" if parsed is None or is_github else parsed[0]
            named = f"content:{moment}.".encode() + body
        return f"hook-{self.name}-{hashlib.sha256(named).hexdigest()[:32]}"


def read_hooks(table: object, env: Mapping[str, str]) -> dict[str, Hook]:
    """Return the hooks of a config file's ``[hooks]`` table, by name.

    Raises:
        CallerError: one of them cannot be used, or its secret is missing or short.
    """
    if not isinstance(table, Mapping):
        raise CallerError("hooks in the config file must be tables, such as [hooks.deploy].")
    return {str(name): _hook(str(name), declared, env) for name, declared in table.items()}


def _hook(name: str, declared: Any, env: Mapping[str, str]) -> Hook:
    if not _NAME.fullmatch(name):
        raise CallerError(f"The hook {name[:70]!r} needs a name of letters, digits, _ and -.")
    if not isinstance(declared, Mapping):
        raise CallerError(f"The hook {name} must be a table: [hooks.{name}].")
    unknown = sorted(set(declared) - _KEYS)
    if unknown:
        raise CallerError(f"Unknown key {unknown[0]!r} in [hooks.{name}].")
    workflow = declared.get("workflow")
    if not isinstance(workflow, str) or not workflow:
        raise CallerError(f"The hook {name} needs a workflow: the path to a file.")
    path = Path(workflow).expanduser()
    if not path.is_file():
        raise CallerError(f"The hook {name} starts {workflow}, which is not a file.")
    style = declared.get("style", "timestamp")
    if style not in STYLES:
        raise CallerError(f"The hook {name} has the style {style!r}; it must be {STYLES}.")
    return Hook(name, path, declared_secret(f"hook {name}", declared, env), style)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())
