"""Keep secrets out of every text and value that leaves: by name and by value."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from sim_devin.errors import SimDevinError

MASK = "***"
SHORTEST = 6  # a shorter value would blot out ordinary text; it is still masked by name

_SECRET_ENDINGS = (
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "secrets",
    "token",
)
_SEPARATORS = str.maketrans("", "", "_-. ")
# Devin's credentials start with cog_ (v3) or apk_ (v1, v2): mask them wherever they come from.
_DEVIN_KEY = re.compile(r"\b(?:cog|apk)_[A-Za-z0-9_\-]{6,}")
_SIGNED_QUERY = re.compile(
    r"(?i)([?&](?:X-Amz-[A-Za-z-]+|Signature|sig|token|access_token|api_key)=)[^&\s\"'<>]+"
)


def _percent(value: str, safe: str = "") -> str:
    return quote(value.encode("utf-8", "replace"), safe=safe)


# The ways a secret is spelled inside other texts, by name: the names are stored.
SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "": lambda value: value,
    "stripped": str.strip,
    "json": lambda value: json.dumps(value)[1:-1],
    "json-utf8": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "json-slash": lambda value: json.dumps(value)[1:-1].replace("/", "\\/"),
    "json-twice": lambda value: json.dumps(json.dumps(value)[1:-1])[1:-1],
    "json-utf8-twice": lambda value: json.dumps(
        json.dumps(value, ensure_ascii=False)[1:-1], ensure_ascii=False
    )[1:-1],
    "url": _percent,
    "url-path": lambda value: _percent(value, safe="/"),
    "url-component": lambda value: _percent(value, safe="!'()*"),  # as JavaScript writes it
    "url-lower": lambda value: re.sub(
        "%[0-9A-F]{2}", lambda found: found[0].lower(), _percent(value)
    ),
    "form": lambda value: quote_plus(value.encode("utf-8", "replace")),
    "html": html.escape,
    "repr": lambda value: repr(value)[1:-1],
    "repr-quoted": lambda value: repr("'\"" + value)[4:-1],  # where both kinds of quotes are
}


def is_secret_name(name: str) -> bool:
    """Return whether a key or header of this name holds a secret."""
    return name.lower().translate(_SEPARATORS).endswith(_SECRET_ENDINGS)


class Credentials(dict[str, str]):
    """Credential fields and their values, with a repr that shows the names alone."""

    def __repr__(self) -> str:
        return f"Credentials({', '.join(self)})"


class Redactor:
    """Masks a set of known secret values, and whatever looks like a secret by its name.

    Values shorter than six characters are masked by name only.
    """

    def __init__(self, secrets: Iterable[object] = ()) -> None:
        forms: set[str] = set()
        for secret in secrets:
            if isinstance(secret, str) and len(secret) >= SHORTEST:
                forms |= spellings(secret)
        self._values = sorted(forms, key=len, reverse=True)

    def __repr__(self) -> str:
        return f"Redactor({len(self._values)} spellings)"

    def text(self, text: str) -> str:
        """Return `text` with every known secret, key-like token and signed query masked."""
        text = self._known(text)
        text = _DEVIN_KEY.sub(MASK, text)
        return _SIGNED_QUERY.sub(rf"\1{MASK}", text)

    def _known(self, text: str) -> str:
        # A mask may complete another secret (one with asterisks in it), so look again.
        while found := [value for value in self._values if value in text]:
            for value in found:
                text = text.replace(value, MASK)
        return text

    def data(self, value: Any) -> Any:
        """Return a copy of JSON data in which secrets are masked."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): MASK
                if isinstance(key, str) and is_secret_name(key) and item not in (None, "", [], {})
                else self.data(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return value

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return headers with the secret ones masked."""
        return {
            name: MASK if is_secret_name(name) else self.text(value)
            for name, value in headers.items()
        }

    def error(self, error: SimDevinError) -> SimDevinError:
        """Mask secrets in an error's texts, in place, and return it."""
        error.args = tuple(self._masked(item) for item in error.args)
        for name, value in list(error.__dict__.items()):
            error.__dict__[name] = self._masked(value)
        return error

    def _masked(self, value: Any) -> Any:
        return self.data(value) if isinstance(value, (str, list, tuple, dict)) else value


def spellings(secret: str) -> set[str]:
    """Return the ways a secret can be spelled in an error text, a URL or a JSON body."""
    plain = {secret, secret.strip()}
    return {
        spell(value)
        for value in plain
        if len(value) >= SHORTEST or value == secret
        for spell in SPELLINGS.values()
    }
