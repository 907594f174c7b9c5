"""Signatures of webhooks: of deliveries that come in, and of reminders that go out. Pure.

What is signed with the time carries ``X-Sim-Devin-Signature: t=<Unix seconds>,v1=<hex>``: the
HMAC-SHA256 over ``<t>.<X-Delivery-Id>.<body>``, so that nobody can pass a delivery off as another.
The delivery id is empty where that header is missing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any

from sim_devin.errors import CallerError

HEADER = "X-Sim-Devin-Signature"
DELIVERY = "X-Delivery-Id"
SHORTEST_SECRET = 16  # characters
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9]{1,12}")


def sign(secret: str, content: bytes) -> str:
    """Return the HMAC-SHA256 of `content` as hexadecimal text."""
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def timestamped(secret: str, moment: int, delivery: str, body: bytes) -> str:
    """Return the value of the header for a body that is sent at a moment (Unix seconds)."""
    return f"t={moment},v1={sign(secret, content(str(moment), delivery, body))}"


def content(moment: str, delivery: str, body: bytes) -> bytes:
    """Return what is signed of a delivery."""
    return f"{moment}.{delivery}.".encode("utf-8", "surrogateescape") + body


def parse_signature(header: str) -> tuple[str, tuple[str, ...]] | None:
    """Return the time and the signatures of ``t=…,v1=…``; None if it is not of that form.

    The time is the text that was signed. Parts of other names are left for later versions.
    """
    moment = ""
    signatures: list[str] = []
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            if moment or not _TIME.fullmatch(value):
                return None
            moment = value
        elif name == "v1":
            if not _SIGNATURE.fullmatch(value):
                return None
            signatures.append(value)
    return (moment, tuple(signatures)) if moment and signatures else None


def declared_secret(owner: str, declared: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """Return the secret that a table of the config file holds, or names the variable of.

    `owner` is what the secret is of, for messages: ``hook deploy``.

    Raises:
        CallerError: it is missing, or short.
    """
    if ("secret" in declared) == ("secret_env" in declared):
        raise CallerError(f"The {owner} must have either secret or secret_env.")
    variable = declared.get("secret_env")
    secret = declared.get("secret") if variable is None else env.get(str(variable), "")
    if not isinstance(secret, str) or len(secret) < SHORTEST_SECRET:
        raise CallerError(
            f"The secret of the {owner} must have at least {SHORTEST_SECRET} characters.",
            hint="Create one: openssl rand -hex 32"
            + ("" if variable is None else f", and set {variable} to it"),
        )
    return secret
